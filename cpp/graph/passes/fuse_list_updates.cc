#include <algorithm>
#include <string_view>

#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "ops/op.h"
#include "ops/support/list_item.h"

namespace sigrun::passes {
namespace {

// The graph seen from a value: what made it, and what is known of it.
class View {
 public:
  explicit View(const Graph& graph) : graph_(graph), producer_(graph.values.size(), nullptr) {
    for (const Node& node : graph.nodes) {
      for (const int32_t v : node.outputs) {
        if (v >= 0) producer_[static_cast<size_t>(v)] = &node;
      }
    }
  }

  /// The node that makes `v`, if it is an `op` of `inputs` inputs.
  const Node* Made(int32_t v, std::string_view op, size_t inputs) const {
    const Node* node = v < 0 ? nullptr : producer_[static_cast<size_t>(v)];
    return node != nullptr && node->op->name == op && node->inputs.size() == inputs ? node : nullptr;
  }

  /// Whether `v` is a constant of integers that are all `wanted`.
  bool IsAll(int32_t v, int64_t wanted) const {
    const auto known = Integers(v);
    return !known.empty() && std::all_of(known.begin(), known.end(), [&](int64_t x) { return x == wanted; });
  }

  std::vector<int64_t> Integers(int32_t v) const {
    return v < 0 ? std::vector<int64_t>{} : ReadInts(graph_.values[static_cast<size_t>(v)]);
  }

  /// The scalar index i of a vector [i, rest, rest...], or -1.
  int32_t FirstOf(int32_t vector, int64_t rest) const {
    const Node* joined = Made(vector, "CONCATENATION", 2);
    if (joined == nullptr || !IsAll(joined->inputs[1], rest)) return -1;
    const Node* first = Made(joined->inputs[0], "RESHAPE", 2);
    return first != nullptr && Integers(first->inputs[1]) == std::vector<int64_t>{1} ? first->inputs[0] : -1;
  }

 private:
  const Graph& graph_;
  std::vector<const Node*> producer_;
};

// [list, item, index] of a concatenation of list[: i], an item and list[i + 1 :]; empty if it is none.
std::vector<int32_t> MatchUpdate(const View& view, const Node& node) {
  const bool joins = std::string_view(node.op->name) == "CONCATENATION" && node.inputs.size() == 3 && node.outputs.size() == 1;
  constexpr int kAxis = 0;  // field id
  if (!joins || node.info->options.Scalar<int32_t>(kAxis) != 0 || node.activation != schema::Activation::kNone) return {};
  const Node* before = view.Made(node.inputs[0], "SLICE", 3);
  const Node* item = view.Made(node.inputs[1], "RESHAPE", 2);
  const Node* behind = view.Made(node.inputs[2], "SLICE", 3);
  if (before == nullptr || item == nullptr || behind == nullptr || before->inputs[0] != behind->inputs[0]) return {};
  const std::vector<int64_t> item_shape = view.Integers(item->inputs[1]);
  if (item_shape.empty() || item_shape[0] != 1) return {};
  if (!view.IsAll(before->inputs[1], 0) || !view.IsAll(behind->inputs[2], -1)) return {};
  const int32_t index = view.FirstOf(before->inputs[2], -1), next = view.FirstOf(behind->inputs[1], 0);
  const Node* add = view.Made(next, "ADD", 2);
  if (index < 0 || add == nullptr || add->inputs[0] != index || !view.IsAll(add->inputs[1], 1)) return {};
  return {before->inputs[0], node.inputs[1], index};
}

}  // namespace

bool FuseListUpdates(Graph& graph) {
  const View view(graph);
  std::vector<std::pair<Node*, std::vector<int32_t>>> found;
  for (Node& node : graph.nodes) {
    if (std::vector<int32_t> inputs = MatchUpdate(view, node); !inputs.empty()) found.emplace_back(&node, std::move(inputs));
  }
  for (auto& [node, inputs] : found) {
    node->op = &ops::kSetListItem;
    node->inputs = std::move(inputs);
  }
  if (!found.empty()) RemoveDeadNodes(graph);
  return !found.empty();
}

}  // namespace sigrun::passes
