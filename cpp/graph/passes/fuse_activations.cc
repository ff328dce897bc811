#include <optional>
#include <string_view>

#include "graph/passes/conditions.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

namespace sigrun::passes {
namespace {

using schema::Activation;

std::optional<Activation> AsActivation(std::string_view op) {
  if (op == "RELU") return Activation::kRelu;
  if (op == "RELU6") return Activation::kRelu6;
  if (op == "RELU_N1_TO_1") return Activation::kReluN1To1;
  return std::nullopt;
}

}  // namespace

bool FuseActivations(Graph& graph) {
  const std::vector<int32_t> uses = UseCounts(graph);
  std::vector<Node*> producer(graph.values.size(), nullptr);
  bool changed = false;
  for (Node& node : graph.nodes) {
    const auto activation = AsActivation(node.op->name);
    const bool whole = node.inputs.size() == 1 && node.outputs.size() == 1 && node.inputs[0] >= 0 && node.outputs[0] >= 0;
    const size_t input = activation && whole ? static_cast<size_t>(node.inputs[0]) : SIZE_MAX;
    Node* source = input == SIZE_MAX ? nullptr : producer[input];
    // Clamping before or after the store is the same only if both tensors have the same type and quantisation.
    if (source != nullptr && source->op->activation_field >= 0 && source->activation == Activation::kNone && source->outputs.size() == 1 &&
        uses[input] == 1 && SameRepresentation(graph.values[input], graph.values[static_cast<size_t>(node.outputs[0])])) {
      source->activation = *activation;
      source->outputs = node.outputs;
      producer[static_cast<size_t>(node.outputs[0])] = source;
      node.outputs.clear();  // dead: nothing of it is used
      changed = true;
      continue;
    }
    for (const int32_t v : node.outputs) {
      if (v >= 0) producer[static_cast<size_t>(v)] = &node;
    }
  }
  if (changed) RemoveDeadNodes(graph);
  return changed;
}

}  // namespace sigrun::passes
