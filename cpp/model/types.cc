#include "sigrun/types.h"

#include "model/error.h"

namespace sigrun {
namespace {

struct TypeRow {
  const char* name;
  int bits;
};

constexpr TypeRow kTypes[kTensorTypeCount] = {
    {"FLOAT32", 32},  {"FLOAT16", 16},  {"INT32", 32},     {"UINT8", 8},         {"INT64", 64},      {"STRING", 0},
    {"BOOL", 8},      {"INT16", 16},    {"COMPLEX64", 64}, {"INT8", 8},          {"FLOAT64", 64},    {"COMPLEX128", 128},
    {"UINT64", 64},   {"RESOURCE", 32}, {"VARIANT", 0},    {"UINT32", 32},       {"UINT16", 16},     {"INT4", 4},
    {"BFLOAT16", 16}, {"INT2", 2},      {"UINT4", 4},      {"FLOAT8_E4M3FN", 8}, {"FLOAT8_E5M2", 8},
};

bool Known(TensorType type) { return static_cast<int>(type) >= 0 && static_cast<int>(type) < kTensorTypeCount; }

}  // namespace

const char* TensorTypeName(TensorType type) { return Known(type) ? kTypes[static_cast<int>(type)].name : "UNKNOWN"; }

int TensorTypeBits(TensorType type) { return Known(type) ? kTypes[static_cast<int>(type)].bits : 0; }

std::string ToString(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace sigrun
