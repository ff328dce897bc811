#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace sigrun::passes {

/// A new constant of the graph, as a vector unless it is given a shape; its id is beyond those of the file's tensors.
template <class T>
int32_t AddConstant(Graph& graph, TensorType type, const std::vector<T>& values, Shape shape = {}) {
  static const Quantization kNone;
  const size_t bytes = values.size() * sizeof(T);
  auto owner = std::make_shared<AlignedBytes>(bytes);
  std::memcpy(owner->data(), values.data(), bytes);
  Value value;
  value.name = "fused";
  value.type = type;
  value.shape = shape.empty() ? Shape{static_cast<int32_t>(values.size())} : std::move(shape);
  value.quantization = &kNone;
  value.constant = owner->data();
  value.constant_bytes = bytes;
  graph.folded.push_back(std::move(owner));
  graph.values.push_back(std::move(value));
  return static_cast<int32_t>(graph.values.size()) - 1;
}
inline int32_t AddConstant(Graph& graph, const std::vector<float>& values) { return AddConstant(graph, TensorType::kFloat32, values); }

/// The elements of a constant of INT32 or INT64; nothing of other values.
inline std::vector<int64_t> ReadInts(const Value& value) {
  const auto read = [&]<class T>(T x) {
    std::vector<int64_t> ints(value.constant_bytes / sizeof(T));
    for (size_t i = 0; i < ints.size(); ++i) {
      std::memcpy(&x, value.constant + i * sizeof(T), sizeof(T));
      ints[i] = x;
    }
    return ints;
  };
  if (value.constant == nullptr) return {};
  if (value.type == TensorType::kInt32) return read(int32_t{});
  if (value.type == TensorType::kInt64) return read(int64_t{});
  return {};
}

/// The number of a constant of one float32 that leaves the shape of `other` as it is where an elementwise operator takes both.
inline std::optional<float> NumberBeside(const Value& other, const Value& constant) {
  if (constant.constant == nullptr || constant.type != TensorType::kFloat32 || constant.constant_bytes != sizeof(float))
    return std::nullopt;
  if (constant.shape.size() > other.shape.size()) return std::nullopt;
  float number;
  std::memcpy(&number, constant.constant, sizeof(number));
  return number;
}

}  // namespace sigrun::passes
