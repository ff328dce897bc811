#include "run/profiler.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "ops/op.h"
#include "ops/support/attention.h"

namespace sigrun {
namespace {

double Seconds(Profiler::Clock::duration d) { return std::chrono::duration<double>(d).count(); }

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// How many products an element of a sum of products takes: over all of operand `operand` but its dimension `kept`, or over that one.
struct SumOfProducts {
  std::string_view op;
  int operand;
  enum Of : uint8_t { kOutput, kInput } of;  // of which tensor an element takes so many
  enum Over : uint8_t { kAllBut, kOnly } over;
  int dimension;  // counted from the end if negative
};

constexpr SumOfProducts kSumsOfProducts[] = {
    {"CONV_2D", 1, SumOfProducts::kOutput, SumOfProducts::kAllBut, 0},
    {"DEPTHWISE_CONV_2D", 1, SumOfProducts::kOutput, SumOfProducts::kAllBut, 3},
    {"CONV_3D", 1, SumOfProducts::kOutput, SumOfProducts::kAllBut, 4},
    {"FULLY_CONNECTED", 1, SumOfProducts::kOutput, SumOfProducts::kAllBut, 0},
    {"TRANSPOSE_CONV", 1, SumOfProducts::kInput, SumOfProducts::kAllBut, 3},
    {"BATCH_MATMUL", 0, SumOfProducts::kOutput, SumOfProducts::kOnly, -1},
};

constexpr int kTransposeConvInput = 2;

int64_t Elements(const Shape& shape) {
  int64_t n = 1;
  for (const int32_t d : shape) n *= d;
  return n;
}

// Every query meets every key and every value.
int64_t AttentionProducts(const Plan& plan, const Node& node) {
  const auto shape = [&](size_t i) -> const Shape& { return plan.shapes[static_cast<size_t>(node.inputs[i])]; };
  const std::byte* fields = plan.constants[static_cast<size_t>(node.inputs[4])];
  if (fields == nullptr) return 0;
  const bool side_by_side = ops::AttentionOptions::Read(reinterpret_cast<const float*>(fields)).side_by_side;
  const int32_t queries = side_by_side ? shape(0)[1] : shape(0)[shape(0).size() - 2];
  return queries * (Elements(shape(1)) + Elements(shape(2)));
}

int64_t MultiplyAdds(const Plan& plan, const Node& node) {
  if (std::string_view(node.op->name) == "sigrun.attention") return AttentionProducts(plan, node);
  const auto found =
      std::find_if(std::begin(kSumsOfProducts), std::end(kSumsOfProducts), [&](const auto& s) { return s.op == node.op->name; });
  if (found == std::end(kSumsOfProducts)) return 0;
  const auto shape = [&](int32_t v) -> const Shape& { return plan.shapes[static_cast<size_t>(v)]; };
  const Shape& operand = shape(node.inputs[static_cast<size_t>(found->operand)]);
  const int rank = static_cast<int>(operand.size());
  const int at = found->dimension < 0 ? rank + found->dimension : found->dimension;
  if (at >= rank || at < 0) return 0;
  const int64_t along = std::max(operand[static_cast<size_t>(at)], 1);
  const int64_t products = found->over == SumOfProducts::kOnly ? along : Elements(operand) / along;
  return products * Elements(shape(found->of == SumOfProducts::kInput ? node.inputs[kTransposeConvInput] : node.outputs[0]));
}

// What a step reads and writes: not what its nodes hand to each other.
int64_t OperandBytes(const Plan& plan, const std::vector<const Node*>& nodes) {
  std::set<int32_t> operands, inner;
  for (const Node* node : nodes) {
    operands.insert(node->inputs.begin(), node->inputs.end());
    if (node != nodes.back()) inner.insert(node->outputs.begin(), node->outputs.end());
  }
  for (const int32_t v : inner) operands.erase(v);
  operands.insert(nodes.back()->outputs.begin(), nodes.back()->outputs.end());
  int64_t bytes = 0;
  for (const int32_t v : operands) {
    if (v < 0 || !plan.has_shape[static_cast<size_t>(v)]) continue;
    bytes += static_cast<int64_t>(BytesOf(plan.graph->values[static_cast<size_t>(v)].type, Elements(plan.shapes[static_cast<size_t>(v)])));
  }
  return bytes;
}

}  // namespace

Profiler::Times& Profiler::TimesOf(const Plan& plan, const Step& step) {
  const Node& node = *static_cast<const Node*>(step.node);
  const auto [at, is_new] = position_.try_emplace(&node, times_.size());
  if (is_new) {
    Times& times = times_.emplace_back();
    times.node = &node;
    times.op = OpsOf(plan, step);
    for (const Node* n : NodesOf(plan, step)) times.multiply_adds += MultiplyAdds(plan, *n);
    times.bytes = OperandBytes(plan, NodesOf(plan, step));
    if (!node.outputs.empty() && node.outputs[0] >= 0) times.shape = plan.shapes[static_cast<size_t>(node.outputs[0])];
  }
  return times_[at->second];
}

void Profiler::Add(const Plan& plan, const std::vector<Clock::time_point>& laps) {
  graph_ = plan.graph;
  const Node* last = nullptr;
  for (size_t i = 0; i + 1 < laps.size(); ++i) {
    const Node& node = *static_cast<const Node*>(plan.steps[i].node);
    Times& times = TimesOf(plan, plan.steps[i]);
    const double seconds = Seconds(laps[i + 1] - laps[i]);
    if (&node == last) {
      times.seconds.back() += seconds;
    } else {
      times.seconds.push_back(seconds);
      times.begin = Seconds(laps[i] - began_);
    }
    last = &node;
  }
}

void Profiler::End(Clock::time_point now) { runs_.push_back(Seconds(now - began_)); }

Profile Profiler::Result() const {
  Profile profile;
  profile.tier = kernels::Best().tier;
  profile.seconds = Median(runs_);
  for (const Times& times : times_) {
    const Node& node = *times.node;
    OperatorProfile& row = profile.operators.emplace_back();
    row.index = node.index;
    row.op = times.op;
    if (!node.outputs.empty() && node.outputs[0] >= 0) row.name = graph_->values[static_cast<size_t>(node.outputs[0])].name;
    row.shape = times.shape;
    row.calls = static_cast<int32_t>(times.seconds.size());
    row.seconds = Median(times.seconds);
    row.begin = times.begin;
    row.last = times.seconds.back();
    row.multiply_adds = times.multiply_adds;
    row.bytes = times.bytes;
  }
  return profile;
}

}  // namespace sigrun
