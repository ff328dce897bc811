#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "graph/passes/passes.h"

namespace sigrun::passes {

/// What a pass that recognises a computation step by step keeps: for each value that may be part of one its Form, of which Form::kind says
/// how far it has come.
template <class Form>
class FormMatcher {
 protected:
  using Kind = typename Form::Kind;

  explicit FormMatcher(Graph& graph) : graph_(graph), uses_(UseCounts(graph)) {}

  static size_t Index(int32_t i) { return static_cast<size_t>(i); }
  const Value& ValueOf(int32_t v) const { return graph_.values[Index(v)]; }

  const Form* FormOf(int32_t v, Kind kind) const {
    const auto found = forms_.find(v);
    return found == forms_.end() || found->second.kind != kind ? nullptr : &found->second;
  }

  /// `out` is one step further than `in`. False if that is not of the form that comes before.
  bool FollowAs(int32_t in, Kind from, int32_t out, Kind to) {
    const Form* form = FormOf(in, from);
    if (form == nullptr) return false;
    Form next = *form;
    next.kind = to;
    forms_[out] = std::move(next);
    return true;
  }

  /// One output of float32 from operands that are all there, the first float32 as well, and no activation.
  bool IsPlainStep(const Node& node) const {
    if (node.outputs.size() != 1 || node.outputs[0] < 0 || node.inputs.empty() || node.activation != schema::Activation::kNone)
      return false;
    if (std::ranges::any_of(node.inputs, [](int32_t v) { return v < 0; })) return false;
    return ValueOf(node.outputs[0]).type == TensorType::kFloat32 && ValueOf(node.inputs[0]).type == TensorType::kFloat32;
  }

  Graph& graph_;
  std::vector<int32_t> uses_;
  std::map<int32_t, Form> forms_;
  bool changed_ = false;
};

/// Lets Matcher(graph).Follow(node) look at all nodes in order; what it has taken in is removed. Whether anything has changed.
template <class Matcher>
bool FollowAll(Graph& graph) {
  Matcher matcher(graph);
  for (Node& node : graph.nodes) matcher.Follow(node);
  if (matcher.changed()) RemoveDeadNodes(graph);
  return matcher.changed();
}

}  // namespace sigrun::passes
