#include <algorithm>

#include "graph/passes/passes.h"
#include "ops/op.h"

namespace sigrun::passes {

bool RemoveDeadNodes(Graph& graph) {
  std::vector<char> used(graph.values.size(), 0);
  for (const int32_t v : graph.outputs) used[static_cast<size_t>(v)] = 1;
  const size_t before = graph.nodes.size();
  // Backwards, so that one walk also drops what only dead nodes read.
  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const bool alive = (node->op->traits & kImpure) != 0 || std::any_of(node->outputs.begin(), node->outputs.end(),
                                                                        [&](int32_t v) { return v >= 0 && used[static_cast<size_t>(v)]; });
    if (!alive) continue;
    for (const int32_t v : node->inputs) {
      if (v >= 0) used[static_cast<size_t>(v)] = 1;
    }
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
  return graph.nodes.size() != before;
}

}  // namespace sigrun::passes
