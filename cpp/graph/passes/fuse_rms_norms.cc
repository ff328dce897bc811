#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/passes/constants.h"
#include "graph/passes/form_matcher.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

// Root-mean-square and L2 normalisations, as converters and the decompositions of odml.rms_norm and odml.l2_norm spell them: x * x, its
// MEAN or SUM along the last dimension, perhaps times or by a number, plus epsilon, RSQRT or SQRT, times or by that, and maybe times a
// scale.
namespace sigrun::passes {
namespace {

/// What has been computed of x so far. All but kSquares and kNormal have one number a row.
struct Form {
  enum Kind { kSquares, kSum, kStabilised, kFactor, kDeviation, kNormal } kind;
  int32_t x;
  float weight = 1.0f;  // of the sum of squares; 0 for one over their count
  float epsilon = 0.0f;
  bool keeps_dim = true;  // of the shape of x with a last dimension of 1
};

class Matcher : FormMatcher<Form> {
 public:
  explicit Matcher(Graph& graph) : FormMatcher(graph) {}

  void Follow(Node& node) {
    if (IsPlainStep(node)) FollowPlain(node, node.inputs[0], node.outputs[0]);
  }
  bool changed() const { return changed_; }

 private:
  // The numbers of a constant: one, or one a channel of x.
  std::optional<std::vector<float>> Constant(int32_t v, int32_t x) const {
    const Value& value = ValueOf(v);
    const Shape& shape = ValueOf(x).shape;
    const size_t n = value.constant_bytes / sizeof(float);
    if (value.constant == nullptr || value.type != TensorType::kFloat32 || n == 0 || shape.empty()) return std::nullopt;
    if (value.shape.size() > shape.size()) return std::nullopt;
    if (n > 1 && (value.shape.back() != shape.back() || n != Index(shape.back()))) return std::nullopt;
    std::vector<float> numbers(n);
    std::memcpy(numbers.data(), value.constant, n * sizeof(float));
    return numbers;
  }

  void FollowSum(const Node& node, int32_t out, bool mean) {
    constexpr int kKeepDims = 0;
    const Form* squares = FormOf(node.inputs[0], Form::kSquares);
    if (squares == nullptr || node.inputs.size() != 2) return;
    const Value& axes = ValueOf(node.inputs[1]);
    const int32_t rank = static_cast<int32_t>(ValueOf(squares->x).shape.size());
    if (axes.constant == nullptr || axes.type != TensorType::kInt32 || axes.constant_bytes != sizeof(int32_t) || rank == 0) return;
    int32_t axis;
    std::memcpy(&axis, axes.constant, sizeof(axis));
    if (axis != -1 && axis != rank - 1) return;
    forms_[out] = {Form::kSum, squares->x, mean ? 0.0f : 1.0f, 0.0f, node.info->options.Bool(kKeepDims)};
  }

  void FollowReshape(int32_t in, int32_t out) {
    const auto found = forms_.find(in);
    if (found == forms_.end() || found->second.kind == Form::kSquares || found->second.kind == Form::kNormal) return;
    Shape kept = ValueOf(found->second.x).shape;
    for (const int32_t extent : kept) {
      if (extent < 1) return;
    }
    kept.back() = 1;
    Form form = found->second;
    form.keeps_dim = ValueOf(out).shape == kept;
    forms_[out] = form;
  }

  void FollowAdd(int32_t a, int32_t b, int32_t out) {
    const Form* sum = FormOf(a, Form::kSum);
    if (sum == nullptr) return;
    const std::optional<float> epsilon = NumberBeside(ValueOf(a), ValueOf(b));
    if (!epsilon) return;
    Form form = *sum;
    form.kind = Form::kStabilised;
    form.epsilon = *epsilon;
    forms_[out] = form;
  }

  void FollowWeight(int32_t a, int32_t b, int32_t out, bool divides) {
    const Form* sum = FormOf(a, Form::kSum);
    if (sum == nullptr || sum->weight != 1.0f) return;
    const std::optional<float> number = NumberBeside(ValueOf(a), ValueOf(b));
    if (!number || *number == 0.0f) return;
    Form form = *sum;
    form.weight = divides ? 1.0f / *number : *number;
    forms_[out] = form;
  }

  void FollowMul(Node& node, int32_t a, int32_t b, int32_t out) {
    if (a == b) {
      if (!ValueOf(a).shape.empty()) forms_[out] = {Form::kSquares, a};
      return;
    }
    if (const Form* factor = FormOf(b, Form::kFactor)) return Normalise(node, *factor, a, out);
    if (FormOf(a, Form::kSum) != nullptr) return FollowWeight(a, b, out, false);
    const Form* normal = FormOf(a, Form::kNormal);
    if (normal == nullptr || uses_[Index(a)] != 1) return;
    if (const auto scale = Constant(b, normal->x)) Replace(node, *normal, *scale);
  }

  void Normalise(Node& node, const Form& factor, int32_t x, int32_t out) {
    if (factor.x != x || !factor.keeps_dim) return;
    Form form = factor;
    form.kind = Form::kNormal;
    forms_[out] = form;
    Replace(node, form, {1.0f});
  }

  void Replace(Node& node, const Form& form, const std::vector<float>& scale) {
    const int32_t scales = AddConstant(graph_, scale), numbers = AddConstant(graph_, {form.weight, form.epsilon});
    node.op = ops::FindOp("sigrun.rms_norm");
    node.inputs = {form.x, scales, numbers};
    changed_ = true;
  }

  void FollowPlain(Node& node, int32_t a, int32_t out) {
    const std::string_view op = node.op->name;
    if (op == "SQUARE") forms_[out] = {Form::kSquares, a};
    if (op == "MEAN" || op == "SUM") FollowSum(node, out, op == "MEAN");
    if (op == "RESHAPE") FollowReshape(a, out);
    if (op == "RSQRT") FollowAs(a, Form::kStabilised, out, Form::kFactor);
    if (op == "SQRT") FollowAs(a, Form::kStabilised, out, Form::kDeviation);
    if (node.inputs.size() != 2) return;
    const int32_t b = node.inputs[1];
    if (op == "DIV") {
      if (const Form* deviation = FormOf(b, Form::kDeviation)) return Normalise(node, *deviation, a, out);
      return FollowWeight(a, b, out, true);
    }
    if (op != "ADD" && op != "MUL") return;
    for (const auto& [left, right] : {std::pair{a, b}, std::pair{b, a}}) {
      if (forms_.count(out) != 0 || node.op->name != op) return;
      if (op == "ADD") {
        FollowAdd(left, right, out);
      } else {
        FollowMul(node, left, right, out);
      }
    }
  }
};

}  // namespace

bool FuseRmsNorms(Graph& graph) { return FollowAll<Matcher>(graph); }

}  // namespace sigrun::passes
