#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "graph/passes/conditions.h"
#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

namespace sigrun::passes {
namespace {

// Rows of a [4, 2] int32 or int64 paddings constant.
std::optional<std::array<std::array<int64_t, 2>, 4>> ReadPaddings(const Value& value) {
  const std::vector<int64_t> ints = ReadInts(value);
  if (value.shape != Shape{4, 2} || ints.size() != 8) return std::nullopt;
  std::array<std::array<int64_t, 2>, 4> rows{};
  for (size_t i = 0; i < 8; ++i) {
    if (ints[i] < 0 || ints[i] > INT16_MAX) return std::nullopt;
    rows[i / 2][i % 2] = ints[i];
  }
  return rows;
}

// Whether what the node computes is nowhere below zero, or the zero point.
bool IsNotNegative(const Node* node) {
  using schema::Activation;
  return node != nullptr && (node->activation == Activation::kRelu || node->activation == Activation::kRelu6);
}

// Zeros that a maximum of such numbers may pass over: some tap of each window lies in the image.
bool MaySkip(const Node& pool, const Node* source, const std::array<int64_t, 2>& lines, const std::array<int64_t, 2>& columns) {
  constexpr int kWidth = 3, kHeight = 4;
  return IsNotNegative(source) && std::max(lines[0], lines[1]) < pool.info->options.Scalar<int32_t>(kHeight) &&
         std::max(columns[0], columns[1]) < pool.info->options.Scalar<int32_t>(kWidth);
}

}  // namespace

bool FusePads(Graph& graph) {
  std::vector<const Node*> producer(graph.values.size(), nullptr);
  bool changed = false;
  for (Node& node : graph.nodes) {
    for (const int32_t v : node.outputs) {
      if (v >= 0) producer[static_cast<size_t>(v)] = &node;
    }
    if ((node.op->traits & (kFusesPadding | kSkipsPadding)) == 0 || node.inputs.empty() || node.inputs[0] < 0 || !IsUnpadded(node))
      continue;
    const size_t input = static_cast<size_t>(node.inputs[0]);
    const Node* pad = producer[input];
    // PAD fills with zero, or with the zero point where the tensor is quantised: what convolutions pad with.
    if (pad == nullptr || std::string_view(pad->op->name) != "PAD" || pad->inputs.size() != 2 || pad->inputs[0] < 0 || pad->inputs[1] < 0) {
      continue;
    }
    const Value& before = graph.values[static_cast<size_t>(pad->inputs[0])];
    const Value& after = graph.values[input];
    if (before.type != after.type || before.quantization->scale != after.quantization->scale ||
        before.quantization->zero_point != after.quantization->zero_point) {
      continue;
    }
    const auto rows = ReadPaddings(graph.values[static_cast<size_t>(pad->inputs[1])]);
    if (!rows || (*rows)[0] != std::array<int64_t, 2>{} || (*rows)[3] != std::array<int64_t, 2>{}) continue;
    const Node* source = producer[static_cast<size_t>(pad->inputs[0])];
    if ((node.op->traits & kSkipsPadding) != 0 && !MaySkip(node, source, (*rows)[1], (*rows)[2])) continue;
    // A fused dilation has brought padding of its own.
    auto padding = node.padding.value_or(std::array<int32_t, 4>{});
    for (size_t i = 0; i < 4; ++i) padding[i] += static_cast<int32_t>((*rows)[1 + i / 2][i % 2]);
    node.padding = padding;
    node.inputs[0] = pad->inputs[0];
    changed = true;
  }
  if (changed) RemoveDeadNodes(graph);
  return changed;
}

}  // namespace sigrun::passes
