#include "graph/passes/passes.h"

namespace sigrun::passes {

void Run(Graph& graph, const kernels::Kernels& kernels, Reliance reliance) {
  const bool relies = reliance == Reliance::kFileShapes;
  RemoveDeadNodes(graph);
  FoldConstants(graph, kernels);
  ReduceUntransposed(graph);
  FuseListUpdates(graph);
  if (relies) {
    FuseGroupNorms(graph);
    FuseLayerNorms(graph);
    FuseRmsNorms(graph);
    FuseAttention(graph);
    WidenLines(graph);
  }
  FuseDilations(graph);
  FusePads(graph);
  FuseActivations(graph);
  if (relies) FuseEpilogues(graph);
  FuseActivations(graph);
  FuseLookups(graph, kernels);
  RemoveDeadNodes(graph);
}

}  // namespace sigrun::passes
