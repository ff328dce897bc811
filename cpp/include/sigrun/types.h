#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sigrun {

/// Element types, with the numbers of the .tflite schema.
enum class TensorType : int8_t {
  // clang-format off
  kFloat32 = 0, kFloat16 = 1, kInt32 = 2, kUInt8 = 3, kInt64 = 4, kString = 5, kBool = 6, kInt16 = 7, kComplex64 = 8, kInt8 = 9,
  kFloat64 = 10, kComplex128 = 11, kUInt64 = 12, kResource = 13, kVariant = 14, kUInt32 = 15, kUInt16 = 16, kInt4 = 17, kBFloat16 = 18,
  kInt2 = 19, kUInt4 = 20, kFloat8E4M3FN = 21, kFloat8E5M2 = 22,
  // clang-format on
};
inline constexpr int kTensorTypeCount = 23;

/// "FLOAT32", "INT8", ...; "UNKNOWN" outside the enumeration.
const char* TensorTypeName(TensorType type);

/// Bits of one element in memory: 4 and 2 for the packed integers, 0 for strings, resources and variants.
int TensorTypeBits(TensorType type);

/// How exactly products of float32 matrices and convolutions are computed; sums are always float32. kHighest: in float32, or no less
/// exactly. kHigh: each number as two bfloat16, three products. kMedium: each number rounded to bfloat16. The lesser two are permissions:
/// where this machine would not gain by them, float32 is used. GetBuildInfo says what each comes to.
enum class Precision : uint8_t { kHighest, kHigh, kMedium };

/// Dimensions, outermost first; empty for a scalar.
using Shape = std::vector<int32_t>;

/// Affine quantisation: real = scale * (value - zero_point). One entry a tensor, or one an index of `dimension`; empty where there is none.
struct Quantization {
  std::vector<float> scale;
  std::vector<int64_t> zero_point;
  int32_t dimension = 0;
  int32_t block_size = 0;  // > 0: blockwise; the scales are the tensor `scales_tensor`
  int32_t scales_tensor = -1;
  int32_t zero_points_tensor = -1;

  bool empty() const { return scale.empty(); }
};

}  // namespace sigrun
