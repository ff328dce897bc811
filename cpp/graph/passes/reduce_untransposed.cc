#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

namespace sigrun::passes {
namespace {

std::optional<std::vector<int32_t>> ReadAxes(const Value& value, size_t rank) {
  if (value.constant == nullptr || value.type != TensorType::kInt32) return std::nullopt;
  std::vector<int32_t> axes(value.constant_bytes / sizeof(int32_t));
  std::memcpy(axes.data(), value.constant, axes.size() * sizeof(int32_t));
  for (int32_t& axis : axes) {
    if (axis < 0) axis += static_cast<int32_t>(rank);
    if (axis < 0 || axis >= static_cast<int32_t>(rank)) return std::nullopt;
  }
  return axes;
}

bool IsPermutation(std::vector<int32_t> axes, size_t rank) {
  std::sort(axes.begin(), axes.end());
  for (size_t d = 0; d < axes.size(); ++d) {
    if (axes[d] != static_cast<int32_t>(d)) return false;
  }
  return axes.size() == rank;
}

// The axes of what was transposed, if the dimensions that are kept are in the same order there.
std::optional<std::vector<int32_t>> Untransposed(const std::vector<int32_t>& axes, const std::vector<int32_t>& permutation) {
  std::vector<int32_t> before;
  int32_t last_kept = -1;
  for (size_t d = 0; d < permutation.size(); ++d) {
    if (std::find(axes.begin(), axes.end(), static_cast<int32_t>(d)) != axes.end()) {
      before.push_back(permutation[d]);
    } else if (permutation[d] < last_kept) {
      return std::nullopt;
    } else {
      last_kept = permutation[d];
    }
  }
  return before;
}

}  // namespace

bool ReduceUntransposed(Graph& graph) {
  constexpr int kKeepDims = 0;
  std::vector<const Node*> producer(graph.values.size(), nullptr);
  bool changed = false;
  for (Node& node : graph.nodes) {
    for (const int32_t v : node.outputs) {
      if (v >= 0) producer[static_cast<size_t>(v)] = &node;
    }
    if (std::string_view(node.op->name) != "MEAN" || node.inputs.size() != 2 || node.inputs[0] < 0 || node.inputs[1] < 0 ||
        node.info->options.Bool(kKeepDims)) {
      continue;
    }
    const Node* transpose = static_cast<size_t>(node.inputs[0]) < producer.size() ? producer[static_cast<size_t>(node.inputs[0])] : nullptr;
    if (transpose == nullptr || std::string_view(transpose->op->name) != "TRANSPOSE" || transpose->inputs.size() != 2 ||
        transpose->inputs[0] < 0 || transpose->inputs[1] < 0) {
      continue;
    }
    const Value& source = graph.values[static_cast<size_t>(transpose->inputs[0])];
    const size_t rank = source.shape.size();
    // Integers have a scale that may not be the same on both sides of the transposition.
    if (source.type != TensorType::kFloat32) continue;
    const auto permutation = ReadAxes(graph.values[static_cast<size_t>(transpose->inputs[1])], rank);
    const auto axes = ReadAxes(graph.values[static_cast<size_t>(node.inputs[1])], rank);
    if (!permutation || !axes || !IsPermutation(*permutation, rank)) continue;
    const auto before = Untransposed(*axes, *permutation);
    if (!before) continue;
    node.inputs = {transpose->inputs[0], AddConstant(graph, TensorType::kInt32, *before)};
    changed = true;
  }
  if (changed) RemoveDeadNodes(graph);
  return changed;
}

}  // namespace sigrun::passes
