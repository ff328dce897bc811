#include "plan/plan.h"

#include "plan/plan_builder.h"

namespace sigrun {

std::shared_ptr<const Plan> MakePlan(std::shared_ptr<const Graph> graph, std::vector<Shape> input_shapes, const kernels::Kernels& kernels,
                                     PackedStore& packed, int workers) {
  PlanBuilder builder(*graph, kernels, &packed, workers);
  for (size_t i = 0; i < graph->inputs.size(); ++i) builder.SetInputShape(graph->inputs[i], input_shapes[i]);
  for (size_t i = 0; i < graph->nodes.size(); ++i) builder.Add(graph->nodes[i], static_cast<int32_t>(i));
  std::shared_ptr<Plan> plan = builder.Finish();
  plan->graph = std::move(graph);
  plan->input_shapes = std::move(input_shapes);
  return plan;
}

bool FoldNode(const Graph& graph, const Node& node, const kernels::Kernels& kernels, size_t budget, Folded& result) {
  PlanBuilder builder(graph, kernels, nullptr, 1);
  builder.SetFoldingBudget(budget);
  if (!builder.IsFoldable(node)) return false;
  builder.Add(node, 0);
  for (const int32_t v : node.outputs) {
    const size_t at = static_cast<size_t>(v);
    if (v < 0 || builder.constants_[at] == nullptr) return false;
    result.shapes.push_back(builder.shapes_[at]);
    // An alias of an input has no memory of its own; every other output is among the builder's owners.
    auto bytes = std::make_shared<AlignedBytes>(builder.BytesOfValue(v));
    std::copy_n(builder.constants_[at], bytes->size(), bytes->data());
    result.bytes.push_back(std::move(bytes));
  }
  return true;
}

std::shared_ptr<const Plan> PlanCache::Find(const std::vector<Shape>& input_shapes) {
  for (auto it = plans_.begin(); it != plans_.end(); ++it) {
    if ((*it)->input_shapes != input_shapes) continue;
    plans_.splice(plans_.begin(), plans_, it);
    return plans_.front();
  }
  return nullptr;
}

void PlanCache::Add(std::shared_ptr<const Plan> plan) {
  plans_.push_front(std::move(plan));
  if (plans_.size() > kCapacity) plans_.pop_back();
}

}  // namespace sigrun
