#include "graph/passes/passes.h"
#include "model/error.h"
#include "plan/plan.h"

namespace sigrun::passes {

bool FoldConstants(Graph& graph, const kernels::Kernels& kernels) {
  std::vector<Node> kept;
  bool changed = false;
  for (Node& node : graph.nodes) {
    Folded folded;
    bool done = false;
    try {
      done = FoldNode(graph, node, kernels, folded);
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
    }
  }
  graph.nodes = std::move(kept);
  return changed;
}

}  // namespace sigrun::passes
