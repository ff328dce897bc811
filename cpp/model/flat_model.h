#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/flatbuffer.h"
#include "sigrun/types.h"

// A .tflite file as plain structs. Everything here has been checked: indices lie in range, names and bytes lie inside the file. Strings and
// spans point into the file, which must outlive the structs.
namespace sigrun {

struct TensorInfo {
  std::string_view name;
  TensorType type = TensorType::kFloat32;
  Shape shape;            // as stored: unknown dimensions are 1 (or 0)
  Shape shape_signature;  // -1 where unknown; equal to shape where the file has none
  bool has_rank = true;   // false: nothing says that no dimensions mean a scalar
  bool is_variable = false;
  uint32_t buffer = 0;
  Quantization quantization;
  flatbuffer::Table sparsity;  // null for a dense tensor
};

struct OperatorCode {
  int32_t builtin = 0;      // schema::kCustomOperator for custom operators
  std::string_view custom;  // the custom operator's name
  int32_t version = 1;

  /// "CONV_2D", "FlexAsString"; "BUILTIN_<n>" for codes that the schema does not know.
  std::string name() const;
};

struct OperatorInfo {
  uint32_t code = 0;                                    // index of FlatModel::operator_codes
  std::vector<int32_t> inputs, outputs, intermediates;  // tensor indices; -1 for an optional tensor that is absent
  flatbuffer::Table options;                            // builtin_options, null if absent
  flatbuffer::Table options_2;                          // builtin_options_2, null if absent
  std::span<const uint8_t> custom_options;
};

struct SubgraphInfo {
  std::string_view name;
  std::vector<TensorInfo> tensors;
  std::vector<int32_t> inputs, outputs;
  std::vector<OperatorInfo> operators;
};

struct SignatureInfo {
  std::string key;
  uint32_t subgraph = 0;
  std::vector<std::pair<std::string, int32_t>> inputs, outputs;  // name -> tensor index, sorted by name as LiteRT lists them
};

struct FlatModel {
  flatbuffer::Source source;
  std::string_view description;
  uint32_t version = 0;
  std::vector<OperatorCode> operator_codes;
  std::vector<SubgraphInfo> subgraphs;
  std::vector<std::span<const uint8_t>> buffers;
  std::vector<std::pair<std::string_view, uint32_t>> metadata;  // name -> buffer index
  std::vector<SignatureInfo> signatures;                        // as in the file; may be empty

  FlatModel() = default;
  FlatModel(const FlatModel&) = delete;
  FlatModel& operator=(const FlatModel&) = delete;
};

/// Parses and checks `bytes`, which must outlive the result. Throws Error (kInvalidArgument) with the path to the first fault.
std::unique_ptr<const FlatModel> ParseModel(std::span<const uint8_t> bytes);

/// The signature that a model without any is given: subgraph 0, key "serving_default", names from the tensors, made unique,
/// "input0".../"output0"... where a tensor has no name.
SignatureInfo DefaultSignature(const FlatModel& model);

/// Product of the dimensions; none if a dimension is negative or the product, zeros left out, exceeds 2^40.
std::optional<int64_t> CountElements(const Shape& shape);
/// The same, but throws, naming `what`: a text, or what makes one if it is needed.
int64_t ElementCount(const Shape& shape, const std::string& what);
template <std::invocable What>
int64_t ElementCount(const Shape& shape, const What& what) {
  const auto count = CountElements(shape);
  return count ? *count : ElementCount(shape, what());
}
/// The same for what is asked with every call: the text, "tensor 'NAME'", is made only if it is needed.
int64_t TensorElementCount(const Shape& shape, std::string_view name);

/// Bytes that `elements` of a fixed-size type take: packed for 4- and 2-bit types.
size_t BytesOf(TensorType type, int64_t elements);

}  // namespace sigrun
