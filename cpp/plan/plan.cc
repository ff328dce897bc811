#include "plan/plan.h"

#include <algorithm>
#include <cstring>

#include "plan/plan_builder.h"

namespace sigrun {

namespace {

// Adds nodes from `first` on, until one has to wait for data.
std::shared_ptr<Plan> AddNodes(PlanBuilder& builder, std::shared_ptr<const Graph> graph, size_t first) {
  size_t next = first;
  while (next < graph->nodes.size() && builder.Add(graph->nodes[next], static_cast<int32_t>(next))) ++next;
  std::shared_ptr<Plan> plan = builder.Finish(static_cast<int32_t>(next));
  plan->first_node = first;
  plan->next_node = next;
  plan->graph = std::move(graph);
  return plan;
}

}  // namespace

std::shared_ptr<const Plan> MakePlan(std::shared_ptr<const Graph> graph, std::vector<Shape> input_shapes, const PlanContext& context) {
  PlanBuilder builder(*graph, context);
  std::vector<const Shape*> given(graph->values.size());  // a file may list a tensor twice
  for (size_t i = 0; i < graph->inputs.size(); ++i) {
    const size_t v = static_cast<size_t>(graph->inputs[i]);
    if (given[v] != nullptr && *given[v] != input_shapes[i]) {
      Fail(StatusCode::kInvalidArgument, "input '", graph->values[v].name, "' is listed twice, and given the shapes ", ToString(*given[v]),
           " and ", ToString(input_shapes[i]));
    }
    given[v] = &input_shapes[i];
    builder.SetInputShape(graph->inputs[i], input_shapes[i]);
  }
  std::shared_ptr<Plan> plan = AddNodes(builder, graph, 0);
  plan->input_shapes = std::move(input_shapes);
  return plan;
}

std::shared_ptr<const Plan> ContinuePlan(const Prior& prior, const PlanContext& context) {
  const Plan& last = *prior.last;
  PlanBuilder builder(*last.graph, context);
  builder.SetPrior(prior);
  std::shared_ptr<Plan> plan = AddNodes(builder, last.graph, last.next_node);
  if (plan->next_node == plan->first_node) {
    const Node& node = plan->graph->nodes[plan->first_node];
    Fail(StatusCode::kUnimplemented, plan->graph->Describe(node), ": it waits for values that are not there");
  }
  plan->input_shapes = last.input_shapes;
  plan->prior_shapes = prior.shapes;
  plan->owners.push_back(prior.last);  // of its constants
  return plan;
}

bool StillHolds(const Plan& plan, const Prior& prior) {
  if (plan.first_node != prior.last->next_node || plan.graph != prior.last->graph) return false;
  if (plan.prior_shapes != prior.shapes) return false;
  return std::all_of(plan.assumed.begin(), plan.assumed.end(), [&](const Plan::Assumed& a) {
    const std::byte* now = prior.pointers[static_cast<size_t>(a.value)];
    if (now == nullptr) return false;
    if (plan.graph->values[static_cast<size_t>(a.value)].type == TensorType::kString)
      return *reinterpret_cast<const Strings*>(now) == a.strings;
    return std::memcmp(now, a.bytes.data(), a.bytes.size()) == 0;
  });
}

bool FoldNode(const Graph& graph, const Node& node, const kernels::Kernels& kernels, size_t budget, Folded& result) {
  // Most are not, and a builder goes through the whole graph.
  const auto is_known = [&](int32_t v) { return v < 0 || graph.values[static_cast<size_t>(v)].constant != nullptr; };
  if ((node.op->traits & kReadsShapes) == 0 && !std::all_of(node.inputs.begin(), node.inputs.end(), is_known)) return false;
  const PlanContext context{.kernels = &kernels, .packed = nullptr, .workers = 1, .graph_of = nullptr};
  PlanBuilder builder(graph, context);
  builder.SetFoldingBudget(budget);
  if (!builder.IsFoldable(node)) return false;
  if (!builder.Add(node, 0)) return false;
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
