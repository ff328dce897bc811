#include <algorithm>

#include "graph/passes/passes.h"
#include "model/error.h"
#include "plan/plan.h"

namespace sigrun::passes {

bool FoldConstants(Graph& graph, const kernels::Kernels& kernels) {
  // Enough for every float16 or sparse weight of the file; a few bytes that ask for gigabytes are left to the plan.
  size_t budget = 16 * graph.model->source.bytes.size() + (size_t{64} << 20);
  std::vector<Node> kept;
  bool changed = false;
  for (Node& node : graph.nodes) {
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
