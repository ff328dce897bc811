#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/passes/constants.h"
#include "graph/passes/form_matcher.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

// Normalisations of groups, as the decompositions of odml.group_norm and converters spell them: a MEAN, or a SUM over a count, of x along
// some axes, x minus it, the mean of its squares, plus epsilon, RSQRT or SQRT, times or by that, and maybe a RESHAPE, a scale and a shift.
namespace sigrun::passes {
namespace {

/// What has been computed of x so far. kSum to kRoot but for kDeviation and kSquares have one number a group.
struct Form {
  enum Kind { kSum, kDeviation, kSquares, kSquareSum, kStabilised, kFactor, kRoot, kNormal } kind;
  int32_t x;
  std::vector<int32_t> axes;
  float mean_weight = 0.0f, variance_weight = 0.0f;  // of the sums; 0 for one over their count
  float epsilon = 0.0f;
  bool keeps_dims = true;  // of the shape of x with 1 along the axes
  Shape shape = {};        // of kNormal, if it is another than that of x
  std::vector<float> scale = {1.0f}, shift = {0.0f};
  int32_t channel_end = 0;
  bool is_scaled = false, is_shifted = false;
};

class Matcher : FormMatcher<Form> {
 public:
  explicit Matcher(Graph& graph) : FormMatcher(graph) {}

  void Follow(Node& node) {
    if (IsPlainStep(node)) FollowPlain(node, node.inputs[0], node.outputs[0]);
  }
  bool changed() const { return changed_; }

 private:
  bool IsKnown(const Shape& shape) const {
    return std::ranges::all_of(shape, [](int32_t extent) { return extent > 0; });
  }

  // The axes of a reduction, ascending, if they leave a shape that the operator takes: depth, groups, positions and others, in this order
  // from the end.
  std::optional<std::vector<int32_t>> Axes(int32_t v, const Shape& shape) const {
    const Value& value = ValueOf(v);
    if (value.constant == nullptr || value.type != TensorType::kInt32 || !IsKnown(shape) || shape.size() < 2) return std::nullopt;
    const int32_t rank = static_cast<int32_t>(shape.size());
    std::vector<int32_t> axes(value.constant_bytes / sizeof(int32_t));
    std::memcpy(axes.data(), value.constant, axes.size() * sizeof(int32_t));
    for (int32_t& axis : axes) axis = axis < 0 ? axis + rank : axis;
    std::ranges::sort(axes);
    if (axes.empty() || axes.front() < 0 || axes.back() >= rank || std::ranges::adjacent_find(axes) != axes.end()) return std::nullopt;
    int32_t runs = 1;
    for (int32_t d = rank; d-- > 0;) {
      const bool reduced = std::ranges::binary_search(axes, d);
      if (shape[Index(d)] != 1 && reduced != (runs % 2 == 1)) ++runs;
    }
    // The last dimension is reduced: what lies along others alone is better off with the operators as they are.
    return runs <= 4 && axes.back() == rank - 1 ? std::optional(axes) : std::nullopt;
  }

  void FollowReduction(const Node& node, int32_t out, bool mean) {
    constexpr int kKeepDims = 0;
    if (node.inputs.size() != 2) return;
    const int32_t v = node.inputs[0];
    const auto axes = Axes(node.inputs[1], ValueOf(v).shape);
    if (!axes) return;
    const float weight = mean ? 0.0f : 1.0f;
    Form form{.kind = Form::kSum, .x = v, .axes = *axes, .mean_weight = weight};
    if (const Form* squares = FormOf(v, Form::kSquares)) {
      if (squares->axes != *axes) return;
      form = *squares;
      form.kind = Form::kSquareSum;
      form.variance_weight = weight;
    }
    form.keeps_dims = node.info->options.Bool(kKeepDims);
    forms_[out] = std::move(form);
  }

  void FollowReshape(Node& node, int32_t in, int32_t out, bool broadcast) {
    const auto found = forms_.find(in);
    if (found == forms_.end() || found->second.kind == Form::kDeviation || found->second.kind == Form::kSquares) return;
    Form form = found->second;
    const Shape& shape = ValueOf(out).shape;
    if (!IsKnown(shape)) return;
    if (form.kind == Form::kNormal) {
      if (broadcast || form.is_scaled || form.is_shifted || uses_[Index(in)] != 1) return;
      form.shape = shape;
      if (!IsOfRows(form)) return Replace(node, std::move(form), out);
      forms_[out] = std::move(form);
      return;
    }
    Shape kept = ValueOf(form.x).shape;
    if (broadcast) {
      if (!form.keeps_dims || shape != kept) return;
    } else {
      for (const int32_t axis : form.axes) kept[Index(axis)] = 1;
      form.keeps_dims = shape == kept;
    }
    forms_[out] = std::move(form);
  }

  bool FollowWeight(int32_t sum, int32_t constant, int32_t out, bool divides) {
    const auto found = forms_.find(sum);
    const std::optional<float> number = NumberBeside(ValueOf(sum), ValueOf(constant));
    if (found == forms_.end() || !number || *number == 0.0f) return false;
    Form form = found->second;
    if (form.kind != Form::kSum && form.kind != Form::kSquareSum) return false;
    float& weight = form.kind == Form::kSum ? form.mean_weight : form.variance_weight;
    if (weight != 1.0f) return false;
    weight = divides ? 1.0f / *number : *number;
    forms_[out] = std::move(form);
    return true;
  }

  void FollowDeviation(int32_t x, int32_t mean, int32_t out, Form::Kind kind) {
    const Form* sum = FormOf(mean, Form::kSum);
    if (sum == nullptr || sum->x != x || !sum->keeps_dims) return;
    Form form = *sum;
    form.kind = kind;
    forms_[out] = std::move(form);
  }

  // A layer normalisation, which has an operator of its own unless channels are in another shape.
  bool IsOfRows(const Form& form) const {
    const Shape& shape = ValueOf(form.x).shape;
    return std::ranges::all_of(form.axes, [&](int32_t axis) { return Index(axis) + 1 == shape.size() || shape[Index(axis)] == 1; });
  }

  bool FollowNormal(Node& node, int32_t a, int32_t b, int32_t out, Form::Kind kind) {
    const Form *deviation = FormOf(a, Form::kDeviation), *factor = FormOf(b, kind);
    if (deviation == nullptr || factor == nullptr || deviation->x != factor->x || deviation->axes != factor->axes) return false;
    if (!factor->keeps_dims || deviation->mean_weight != factor->mean_weight) return false;
    Form form = *factor;
    form.kind = Form::kNormal;
    if (!IsOfRows(form)) {
      Replace(node, std::move(form), out);
    } else {
      forms_[out] = std::move(form);
    }
    return true;
  }

  // Where the numbers of a constant beside a value of this shape lie: the dimension behind theirs.
  std::optional<int32_t> ChannelEnd(const Value& value, const Shape& shape) const {
    if (value.shape.size() > shape.size() || !IsKnown(shape)) return std::nullopt;
    const size_t before = shape.size() - value.shape.size();
    int32_t first = -1, end = static_cast<int32_t>(shape.size());
    for (size_t d = 0; d < value.shape.size(); ++d) {
      if (value.shape[d] == 1) continue;
      if (first < 0) first = static_cast<int32_t>(d + before);
      end = static_cast<int32_t>(d + before) + 1;
    }
    for (int32_t d = first; first >= 0 && d < end; ++d) {
      if (value.shape[Index(d) - before] != shape[Index(d)]) return std::nullopt;
    }
    return end;
  }

  bool FollowChannels(Node& node, int32_t normal, int32_t constant, int32_t out, bool adds) {
    constexpr size_t kMostChannels = 1 << 16;
    const Form* found = FormOf(normal, Form::kNormal);
    const Value& value = ValueOf(constant);
    const size_t n = value.constant_bytes / sizeof(float);
    if (found == nullptr || uses_[Index(normal)] != 1 || value.constant == nullptr || value.type != TensorType::kFloat32) return false;
    if (n == 0 || n > kMostChannels || found->is_shifted || (!adds && found->is_scaled)) return false;
    if (found->shape.empty() && IsOfRows(*found)) return false;
    const std::optional<int32_t> end = ChannelEnd(value, ValueOf(normal).shape);
    if (!end || (found->scale.size() > 1 && n > 1 && (*end != found->channel_end || n != found->scale.size()))) return false;
    Form form = *found;
    if (n > 1 || form.scale.size() == 1) form.channel_end = *end;
    (adds ? form.shift : form.scale).resize(n);
    std::memcpy((adds ? form.shift : form.scale).data(), value.constant, n * sizeof(float));
    (adds ? form.is_shifted : form.is_scaled) = true;
    Replace(node, std::move(form), out);
    return true;
  }

  void Replace(Node& node, Form form, int32_t out) {
    std::vector<int32_t> shape(form.shape.begin(), form.shape.end());
    if (shape.empty()) shape = {0};
    const Shape& known = ValueOf(form.x).shape;
    std::vector<int32_t> relied_on(known.begin(), known.end());
    if (form.axes[0] != 0) relied_on[0] = -1;  // the batch
    node.op = ops::FindOp("sigrun.group_norm");
    node.inputs = {form.x,
                   AddConstant(graph_, TensorType::kInt32, form.axes),
                   AddConstant(graph_, TensorType::kInt32, shape),
                   AddConstant(graph_, form.scale),
                   AddConstant(graph_, form.shift),
                   AddConstant(graph_, {form.mean_weight, form.variance_weight, form.epsilon}),
                   AddConstant(graph_, TensorType::kInt32, std::vector<int32_t>{form.channel_end}),
                   AddConstant(graph_, TensorType::kInt32, relied_on)};
    forms_[out] = std::move(form);
    changed_ = true;
  }

  void FollowAdd(Node& node, int32_t a, int32_t b, int32_t out) {
    for (const auto& [left, right] : {std::pair{a, b}, std::pair{b, a}}) {
      if (FollowChannels(node, left, right, out, true)) return;
      const Form* squares = FormOf(left, Form::kSquareSum);
      const std::optional<float> epsilon = NumberBeside(ValueOf(left), ValueOf(right));
      if (squares == nullptr || !epsilon) continue;
      Form form = *squares;
      form.kind = Form::kStabilised;
      form.epsilon = *epsilon;
      forms_[out] = std::move(form);
      return;
    }
  }

  void FollowMul(Node& node, int32_t a, int32_t b, int32_t out) {
    if (a == b) {
      FollowAs(a, Form::kDeviation, out, Form::kSquares);
      return;
    }
    for (const auto& [left, right] : {std::pair{a, b}, std::pair{b, a}}) {
      if (FollowNormal(node, left, right, out, Form::kFactor) || FollowWeight(left, right, out, false)) return;
      if (FollowChannels(node, left, right, out, false)) return;
    }
  }

  void FollowPlain(Node& node, int32_t a, int32_t out) {
    const std::string_view op = node.op->name;
    if (op == "MEAN" || op == "SUM") return FollowReduction(node, out, op == "MEAN");
    if (op == "RESHAPE" || op == "BROADCAST_TO") return FollowReshape(node, a, out, op == "BROADCAST_TO");
    if (op == "SQUARE") FollowAs(a, Form::kDeviation, out, Form::kSquares);
    if (op == "RSQRT") FollowAs(a, Form::kStabilised, out, Form::kFactor);
    if (op == "SQRT") FollowAs(a, Form::kStabilised, out, Form::kRoot);
    if (node.inputs.size() != 2) return;
    const int32_t b = node.inputs[1];
    if (op == "SUB") FollowDeviation(a, b, out, Form::kDeviation);
    if (op == "SQUARED_DIFFERENCE") FollowDeviation(a, b, out, Form::kSquares);
    if (op == "DIV" && !FollowNormal(node, a, b, out, Form::kRoot)) FollowWeight(a, b, out, true);
    if (op == "ADD") FollowAdd(node, a, b, out);
    if (op == "MUL") FollowMul(node, a, b, out);
  }
};

}  // namespace

bool FuseGroupNorms(Graph& graph) { return FollowAll<Matcher>(graph); }

}  // namespace sigrun::passes
