#include <algorithm>
#include <string_view>

#include "graph/passes/passes.h"
#include "model/error.h"
#include "ops/op.h"
#include "plan/plan.h"

namespace sigrun::passes {
namespace {

constexpr size_t kLeastHalf = 1 << 14;  // bytes: below, two copies do no harm

// By value: whether nobody reads it but operators that pack it as their weights.
std::vector<char> FindWeights(const Graph& graph) {
  constexpr std::string_view kPacking[] = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"};
  constexpr size_t kWeights = 1;
  std::vector<char> found(graph.values.size(), 1);
  for (const Node& node : graph.nodes) {
    const bool packs = std::find(std::begin(kPacking), std::end(kPacking), node.op->name) != std::end(kPacking);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] >= 0 && !(packs && i == kWeights)) found[static_cast<size_t>(node.inputs[i])] = 0;
    }
  }
  for (const int32_t v : graph.outputs) found[static_cast<size_t>(v)] = 0;
  return found;
}

// A DEQUANTIZE of large float16 weights: its result is a constant that is widened where it is packed, so that not all weights are in memory
// twice.
bool KeepHalf(Graph& graph, const Node& node, const std::vector<char>& is_weights) {
  if (std::string_view(node.op->name) != "DEQUANTIZE" || node.inputs.size() != 1 || node.outputs.size() != 1) return false;
  if (node.inputs[0] < 0 || node.outputs[0] < 0) return false;  // said when the node is planned
  const size_t from = static_cast<size_t>(node.inputs[0]), to = static_cast<size_t>(node.outputs[0]);
  const Value& half = graph.values[from];
  Value& wide = graph.values[to];
  const bool dense = half.constant != nullptr && !half.sparsity &&
                     half.constant_bytes == BytesOf(TensorType::kFloat16, TensorElementCount(half.shape, half.name));
  if (half.type != TensorType::kFloat16 || wide.type != TensorType::kFloat32 || !dense || half.constant_bytes < kLeastHalf ||
      reinterpret_cast<uintptr_t>(half.constant) % sizeof(uint16_t) != 0 || is_weights[to] == 0) {
    return false;
  }
  wide.shape = half.shape;
  wide.constant = half.constant;
  wide.constant_bytes = half.constant_bytes;
  wide.is_half = true;
  return true;
}

}  // namespace

bool FoldConstants(Graph& graph, const kernels::Kernels& kernels) {
  // Enough for every float16 or sparse weight of the file; a few bytes that ask for gigabytes are left to the plan.
  size_t budget = 16 * graph.model->source.bytes.size() + (size_t{64} << 20);
  const std::vector<char> is_weights = FindWeights(graph);
  std::vector<Node> kept;
  bool changed = false;
  for (Node& node : graph.nodes) {
    if (KeepHalf(graph, node, is_weights)) {
      changed = true;
      continue;
    }
    Folded folded;
    bool done = false;
    try {
      done = FoldNode(graph, node, kernels, budget, folded);
    } catch (const Error&) {
      // What is wrong with the node is said when it is planned.
    }
    if (!done) {
      kept.push_back(std::move(node));
      continue;
    }
    changed = true;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      Value& value = graph.values[static_cast<size_t>(node.outputs[i])];
      value.shape = folded.shapes[i];
      value.constant = folded.bytes[i]->data();
      value.constant_bytes = folded.bytes[i]->size();
      graph.folded.push_back(folded.bytes[i]);
      budget -= std::min(budget, folded.bytes[i]->size());
    }
  }
  graph.nodes = std::move(kept);
  return changed;
}

}  // namespace sigrun::passes
