#include "sigrun/plan_report.h"

#include <algorithm>

#include "run/model_impl.h"
#include "run/runner.h"

namespace sigrun {
namespace {

PlannedStep Describe(const Plan& plan, const Step& step) {
  const Node& node = *static_cast<const Node*>(step.node);
  PlannedStep row;
  row.index = node.index;
  row.op = OpsOf(plan, step);
  const std::string& kernel = plan.kernels[static_cast<size_t>(&node - plan.graph->nodes.data())];
  row.kernel = step.first == nullptr ? kernel : "bands of lines, or blocks of channels, that stay in the cache";
  if (node.outputs.empty() || node.outputs[0] < 0) return row;
  const size_t output = static_cast<size_t>(node.outputs[0]);
  row.name = plan.graph->values[output].name;
  if (plan.has_shape[output]) row.shape = plan.shapes[output];
  return row;
}

// Steps of one node are one row.
void AddSteps(const Plan& plan, std::vector<PlannedStep>& rows) {
  const void* last = nullptr;
  for (const Step& step : plan.steps) {
    if (step.node != last) rows.push_back(Describe(plan, step));
    last = step.node;
  }
}

std::string NameOf(const Plan& plan, const Plan::Block& block) {
  std::string names;
  for (const int32_t v : block.values) {
    if (!names.empty()) names += ", ";
    names += plan.graph->values[static_cast<size_t>(v)].name;
  }
  if (!names.empty()) return names;
  return "scratch of " + plan.graph->Describe(plan.graph->nodes[static_cast<size_t>(block.first)]);
}

}  // namespace

PlanReport Runner::Report() {
  const std::lock_guard lock(mutex_);
  PlanReport report;
  report.tier = options_.kernels->tier;
  report.threads = pool_->threads();
  for (const Part& part : parts_) {
    const Plan& plan = *part.frame.plan;
    AddSteps(plan, report.steps);
    report.whole = plan.whole();
    report.memory.arena += part.arena->size();
    for (const Plan::Block& block : plan.blocks) {
      report.memory.blocks.push_back({NameOf(plan, block), block.offset, block.bytes, block.first, block.last});
    }
  }
  for (const Boundary& boundary : boundary_) {
    if (boundary.bytes != nullptr) report.memory.inputs_and_outputs += boundary.bytes->size();
  }
  for (const auto& buffer : model_->impl().flat->buffers) report.memory.weights += buffer.size();
  report.memory.packed = model_->impl().packed().bytes();
  std::sort(report.memory.blocks.begin(), report.memory.blocks.end(),
            [](const ArenaBlock& a, const ArenaBlock& b) { return a.offset < b.offset; });
  return report;
}

}  // namespace sigrun
