#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

// Converters spell a layer normalisation in a dozen ways: MEAN, or SUM over a count; the variance by SQUARED_DIFFERENCE, or as the mean of
// the squares less the square of the mean; ADD, RSQRT, and then the factors in any order. So the arithmetic itself is followed: what is
// computed of x, its mean and its factor 1 / sqrt(variance + epsilon) is kept as a polynomial of them, and where it becomes
// scale * x * factor - scale * mean * factor + shift, it is the normalisation.
namespace sigrun::passes {
namespace {

enum Term : size_t { kOne, kX, kMean, kFactor, kXFactor, kMeanFactor, kTerms };

using Coefficients = std::vector<float>;  // none for 0, one for all channels, or one a channel

/// A value as a polynomial of `x`.
struct Form {
  int32_t x = -1;  // none: a constant
  std::optional<float> epsilon;
  bool is_row = false;    // one number a row
  bool keeps_dim = true;  // a row value: of the shape of x with a last dimension of 1
  std::array<Coefficients, kTerms> terms;
};

/// What is on the way to the factor, one number a row but for the squares: of x, and of x less its mean.
struct Statistic {
  enum Kind { kSquares, kCentredSquares, kSquareOfMean, kMeanOfSquares, kVariance, kStabilised, kDeviation } kind;
  int32_t x;
  float epsilon = 0;
  bool keeps_dim = true;
  float weight = 1;  // times the mean, as a sum is that times the count
};

template <class F>
Coefficients Combine(const Coefficients& a, const Coefficients& b, const F& f) {
  Coefficients result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) result[i] = f(a[a.size() == 1 ? 0 : i], b[b.size() == 1 ? 0 : i]);
  return result;
}

Coefficients Sum(const Coefficients& a, const Coefficients& b, float sign) {
  if (b.empty()) return a;
  return Combine(a.empty() ? Coefficients{0.0f} : a, b, [sign](float l, float r) { return l + sign * r; });
}

// A sum times one over its count is the mean, whatever the rounding.
float Snap(float weight) { return std::abs(weight - 1.0f) < 1e-6f ? 1.0f : weight; }

std::optional<Term> ProductOf(size_t a, size_t b) {
  if (a > b) std::swap(a, b);
  if (a == kOne) return static_cast<Term>(b);
  if (a == kX && b == kFactor) return kXFactor;
  if (a == kMean && b == kFactor) return kMeanFactor;
  return std::nullopt;
}

class Matcher {
 public:
  explicit Matcher(Graph& graph) : graph_(graph) {}

  bool Run() {
    for (Node& node : graph_.nodes) Follow(node);
    const std::vector<int32_t> uses = UseCounts(graph_);
    bool changed = false;
    for (Node& node : graph_.nodes) {
      if (node.outputs.size() != 1 || matches_.count(node.outputs[0]) == 0) continue;
      const int32_t output = node.outputs[0];
      // A longer match that alone reads this one takes it in.
      if (uses[Index(output)] == 1 && taken_.count(output) != 0) continue;
      Replace(node, matches_.at(output));
      changed = true;
    }
    return changed;
  }

 private:
  static size_t Index(int32_t i) { return static_cast<size_t>(i); }
  const Value& ValueOf(int32_t v) const { return graph_.values[Index(v)]; }

  Form Constant(int32_t v) const {
    Form form;
    const float* values = reinterpret_cast<const float*>(ValueOf(v).constant);
    form.terms[kOne].assign(values, values + ValueOf(v).constant_bytes / sizeof(float));
    return form;
  }

  static Form Of(int32_t x, Term term, bool is_row, bool keeps_dim) {
    Form form;
    form.x = x;
    form.is_row = is_row;
    form.keeps_dim = keeps_dim;
    form.terms[term] = {1.0f};
    return form;
  }

  // An operand beside another one.
  std::optional<Form> Operand(int32_t v, int32_t other) const {
    const auto beside = forms_.find(other);
    if (beside != forms_.end() && beside->second.x == v) return Of(v, kX, false, true);
    if (const auto found = forms_.find(v); found != forms_.end()) return found->second;
    constexpr size_t kMostChannels = 1 << 16;
    const Value& value = ValueOf(v);
    const size_t n = value.constant_bytes / sizeof(float);
    if (value.constant == nullptr || n == 0 || n > kMostChannels) return std::nullopt;
    if (n > 1 && (value.shape.empty() || static_cast<size_t>(value.shape.back()) != n)) return std::nullopt;
    return Constant(v);
  }

  // Whether an elementwise operator keeps one number a row, or gives one an element of x; nullopt if shapes do not fit.
  std::optional<Form> Shaped(const Node& node, const Form& a, const Form& b) const {
    Form result;
    result.x = std::max(a.x, b.x);
    if (result.x < 0 || (a.x >= 0 && b.x >= 0 && a.x != b.x) || (a.epsilon && b.epsilon && *a.epsilon != *b.epsilon)) return std::nullopt;
    result.epsilon = a.epsilon ? a.epsilon : b.epsilon;
    const Value &left = ValueOf(node.inputs[0]), &right = ValueOf(node.inputs[1]);
    const size_t depth = Index(ValueOf(result.x).shape.back());
    if (a.x >= 0 && b.x >= 0) {
      const bool fits =
          a.is_row == b.is_row ? (!a.is_row || (a.keeps_dim == b.keeps_dim && left.shape == right.shape)) : (a.is_row ? a : b).keeps_dim;
      if (!fits) return std::nullopt;
      result.is_row = a.is_row && b.is_row;
      result.keeps_dim = a.keeps_dim && b.keeps_dim;
      return result;
    }
    const Form& form = a.x >= 0 ? a : b;
    const Coefficients& constant = (a.x >= 0 ? b : a).terms[kOne];
    const Value &value = a.x >= 0 ? left : right, &other = a.x >= 0 ? right : left;
    if (other.shape.size() > value.shape.size()) return std::nullopt;
    const bool spreads = constant.size() > 1;
    if (spreads && (constant.size() != depth || (form.is_row && !form.keeps_dim))) return std::nullopt;
    result.is_row = form.is_row && !spreads;
    result.keeps_dim = form.keeps_dim;
    return result;
  }

  std::optional<Form> Add(const Node& node, const Form& a, const Form& b, float sign) const {
    std::optional<Form> result = Shaped(node, a, b);
    if (!result) return std::nullopt;
    for (size_t t = 0; t < kTerms; ++t) result->terms[t] = Sum(a.terms[t], b.terms[t], sign);
    return result;
  }

  std::optional<Form> Multiply(const Node& node, const Form& a, const Form& b) const {
    std::optional<Form> result = Shaped(node, a, b);
    if (!result) return std::nullopt;
    for (size_t i = 0; i < kTerms; ++i) {
      for (size_t j = 0; j < kTerms; ++j) {
        if (a.terms[i].empty() || b.terms[j].empty()) continue;
        const std::optional<Term> term = ProductOf(i, j);
        if (!term) return std::nullopt;
        result->terms[*term] = Sum(result->terms[*term], Combine(a.terms[i], b.terms[j], [](float l, float r) { return l * r; }), 1.0f);
      }
    }
    return result;
  }

  // --- the operators that are followed ---

  bool IsOfLastDimension(const Node& mean) const {
    if (mean.inputs.size() != 2) return false;
    const Value &x = ValueOf(mean.inputs[0]), &axes = ValueOf(mean.inputs[1]);
    if (x.shape.empty() || x.shape.back() < 1 || axes.constant == nullptr || axes.type != TensorType::kInt32) return false;
    const int32_t rank = static_cast<int32_t>(x.shape.size());
    bool has_last = false;
    for (size_t i = 0; i < axes.constant_bytes / sizeof(int32_t); ++i) {
      int32_t axis;
      std::memcpy(&axis, axes.constant + i * sizeof(axis), sizeof(axis));
      if (axis < -rank || axis >= rank) return false;
      axis = axis < 0 ? axis + rank : axis;
      has_last |= axis == rank - 1;
      if (axis != rank - 1 && x.shape[Index(axis)] != 1) return false;
    }
    return has_last;
  }

  bool IsDeviation(int32_t v, int32_t* x) const {
    const auto found = forms_.find(v);
    if (found == forms_.end()) return false;
    const Form& f = found->second;
    *x = f.x;
    for (size_t t = 0; t < kTerms; ++t) {
      if (t != kX && t != kMean && !f.terms[t].empty()) return false;
    }
    return f.terms[kX] == Coefficients{1.0f} && f.terms[kMean] == Coefficients{-1.0f};
  }

  // nullptr if v is not the mean of anything.
  const Form* MeanOf(int32_t v) const {
    const auto found = forms_.find(v);
    if (found == forms_.end()) return nullptr;
    const Form& f = found->second;
    for (size_t t = 0; t < kTerms; ++t) {
      if (t != kMean && !f.terms[t].empty()) return nullptr;
    }
    return f.terms[kMean] == Coefficients{1.0f} ? &f : nullptr;
  }

  bool IsMean(int32_t v, int32_t x) const {
    const Form* mean = MeanOf(v);
    return mean != nullptr && mean->x == x && mean->keeps_dim;
  }

  const Statistic* StatisticOf(int32_t v, Statistic::Kind kind) const {
    const auto found = statistics_.find(v);
    return found == statistics_.end() || found->second.kind != kind ? nullptr : &found->second;
  }

  void FollowMean(const Node& node, int32_t out, bool is_sum) {
    constexpr int kKeepDims = 0;
    if (!IsOfLastDimension(node)) return;
    const int32_t v = node.inputs[0];
    if (ValueOf(node.inputs[1]).constant_bytes > sizeof(int32_t)) {
      takes_ones_.insert(v);
      for (const auto kind : {Statistic::kCentredSquares, Statistic::kSquares}) {
        if (const Statistic* s = StatisticOf(v, kind)) takes_ones_.insert(s->x);
      }
    }
    const bool keeps_dim = node.info->options.Bool(kKeepDims);
    const float weight = is_sum ? static_cast<float>(ValueOf(v).shape.back()) : 1.0f;
    if (const Statistic* centred = StatisticOf(v, Statistic::kCentredSquares)) {
      statistics_[out] = {Statistic::kVariance, centred->x, 0, keeps_dim, weight};
    } else {
      if (const Statistic* squares = StatisticOf(v, Statistic::kSquares)) {
        statistics_[out] = {Statistic::kMeanOfSquares, squares->x, 0, keeps_dim, weight};
      }
      forms_[out] = Of(v, kMean, true, keeps_dim);
      forms_[out].terms[kMean] = {weight};
    }
  }

  // A sum becomes a mean by its count.
  bool FollowWeight(int32_t v, int32_t constant, int32_t out, bool divides) {
    const auto found = statistics_.find(v);
    const std::optional<float> number = NumberBeside(ValueOf(v), ValueOf(constant));
    if (found == statistics_.end() || !number) return false;
    Statistic s = found->second;
    if (s.kind != Statistic::kMeanOfSquares && s.kind != Statistic::kVariance) return false;
    s.weight = Snap(divides ? s.weight / *number : s.weight * *number);
    statistics_[out] = s;
    return true;
  }

  // The mean of the squares less the square of the mean.
  bool FollowVariance(int32_t squares, int32_t square, int32_t out) {
    const Statistic *a = StatisticOf(squares, Statistic::kMeanOfSquares), *b = StatisticOf(square, Statistic::kSquareOfMean);
    if (a == nullptr || b == nullptr || a->x != b->x || a->weight != 1.0f || a->keeps_dim != b->keeps_dim) return false;
    if (ValueOf(squares).shape != ValueOf(square).shape) return false;
    statistics_[out] = {Statistic::kVariance, a->x, 0, a->keeps_dim};
    return true;
  }

  // A variance plus epsilon, or no less than 0.
  bool FollowVarianceBeside(std::string_view op, int32_t variance, int32_t constant, int32_t out) {
    const Statistic* s = StatisticOf(variance, Statistic::kVariance);
    const std::optional<float> number = NumberBeside(ValueOf(variance), ValueOf(constant));
    if (s == nullptr || s->weight != 1.0f || !number || (op == "MAXIMUM" && *number != 0.0f)) return false;
    Statistic next = *s;
    if (op == "ADD") {
      next.kind = Statistic::kStabilised;
      next.epsilon = *number;
    }
    statistics_[out] = next;
    return true;
  }

  Form Factor(const Statistic& s) const {
    Form form = Of(s.x, kFactor, true, s.keeps_dim);
    form.epsilon = s.epsilon;
    return form;
  }

  // Whether a reshaped row value has the shape of x with a last dimension of 1; nullopt if shapes are not known yet.
  std::optional<bool> KeepsDim(int32_t x, int32_t v) const {
    Shape kept = ValueOf(x).shape;
    for (const int32_t extent : kept) {
      if (extent < 1) return std::nullopt;
    }
    kept.back() = 1;
    return ValueOf(v).shape == kept;
  }

  void FollowReshape(int32_t in, int32_t out) {
    if (const auto s = statistics_.find(in); s != statistics_.end() && s->second.kind > Statistic::kCentredSquares) {
      if (const auto keeps = KeepsDim(s->second.x, out)) {
        statistics_[out] = s->second;
        statistics_[out].keeps_dim = *keeps;
      }
    }
    if (const auto f = forms_.find(in); f != forms_.end() && f->second.is_row) {
      if (const auto keeps = KeepsDim(f->second.x, out)) {
        Form form = f->second;
        form.keeps_dim = *keeps;
        forms_[out] = std::move(form);
      }
    }
  }

  void FollowSquare(int32_t v, int32_t out) {
    int32_t x = -1;
    if (IsDeviation(v, &x)) {
      statistics_[out] = {Statistic::kCentredSquares, x};
    } else if (const Form* mean = MeanOf(v)) {
      statistics_[out] = {Statistic::kSquareOfMean, mean->x, 0, mean->keeps_dim};
    } else {
      statistics_[out] = {Statistic::kSquares, v};
    }
  }

  void FollowUnary(std::string_view op, const Node& node, int32_t out) {
    const int32_t v = node.inputs[0];
    if (op == "RESHAPE") return FollowReshape(v, out);
    if (op == "SQUARE") return FollowSquare(v, out);
    if (op == "NEG") {
      const auto found = forms_.find(v);
      if (found == forms_.end()) return;
      Form form = found->second;
      for (Coefficients& term : form.terms) {
        for (float& c : term) c = -c;
      }
      forms_[out] = std::move(form);
      return;
    }
    const Statistic* s = StatisticOf(v, Statistic::kStabilised);
    if (s == nullptr) return;
    if (op == "RSQRT") forms_[out] = Factor(*s);
    if (op == "SQRT") {
      Statistic deviation = *s;
      deviation.kind = Statistic::kDeviation;
      statistics_[out] = deviation;
    }
  }

  void FollowBinary(std::string_view op, const Node& node, int32_t out) {
    const int32_t a = node.inputs[0], b = node.inputs[1];
    if (op == "SQUARED_DIFFERENCE") {
      if (IsMean(b, a)) statistics_[out] = {Statistic::kCentredSquares, a};
      if (IsMean(a, b)) statistics_[out] = {Statistic::kCentredSquares, b};
      return;
    }
    if (op == "MUL" && a == b) return FollowSquare(a, out);
    if (op == "SUB" && FollowVariance(a, b, out)) return;
    if (op == "ADD" || op == "MAXIMUM") {
      if (FollowVarianceBeside(op, a, b, out) || FollowVarianceBeside(op, b, a, out)) return;
    }
    if (op == "MUL" && (FollowWeight(a, b, out, false) || FollowWeight(b, a, out, false))) return;
    if (op == "DIV" && FollowWeight(a, b, out, true)) return;
    const Statistic* deviation = op == "DIV" ? StatisticOf(b, Statistic::kDeviation) : nullptr;
    if (deviation == nullptr && forms_.count(a) == 0 && forms_.count(b) == 0) return;
    const std::optional<Form> left = deviation != nullptr && a == deviation->x ? Of(a, kX, false, true) : Operand(a, b);
    const std::optional<Form> right = deviation != nullptr ? Factor(*deviation) : Operand(b, a);
    if (!left || !right) return;
    std::optional<Form> form;
    if (op == "ADD") form = Add(node, *left, *right, 1.0f);
    if (op == "SUB") form = Add(node, *left, *right, -1.0f);
    if (op == "MUL" || deviation != nullptr) form = Multiply(node, *left, *right);
    if (op == "DIV" && deviation == nullptr && right->x < 0) form = Multiply(node, *left, Inverse(*right));
    if (!form) return;
    if (form->is_row && form->terms[kMean].size() == 1) form->terms[kMean][0] = Snap(form->terms[kMean][0]);
    if (IsNormalisation(*form)) {
      matches_[out] = *form;
      for (const int32_t v : {a, b}) {
        if (matches_.count(v) != 0) taken_[v] = out;
      }
    }
    forms_[out] = std::move(*form);
  }

  static Form Inverse(Form constant) {
    for (float& c : constant.terms[kOne]) c = 1.0f / c;
    return constant;
  }

  static bool IsNormalisation(const Form& f) {
    if (f.is_row || !f.epsilon || f.terms[kXFactor].empty()) return false;
    if (!f.terms[kX].empty() || !f.terms[kMean].empty() || !f.terms[kFactor].empty()) return false;
    const Coefficients rest = Sum(f.terms[kXFactor], f.terms[kMeanFactor], 1.0f);
    return std::all_of(rest.begin(), rest.end(), [](float c) { return c == 0.0f; });
  }

  void Follow(const Node& node) {
    if (node.outputs.size() != 1 || node.outputs[0] < 0 || node.inputs.empty()) return;
    const int32_t out = node.outputs[0];
    for (const int32_t v : node.inputs) {
      if (v < 0) return;
    }
    if (ValueOf(out).type != TensorType::kFloat32 || ValueOf(node.inputs[0]).type != TensorType::kFloat32) return;
    const std::string_view op = node.op->name;
    const bool is_plain = node.activation == schema::Activation::kNone;
    if (is_plain && (op == "MEAN" || op == "SUM")) return FollowMean(node, out, op == "SUM");
    if (is_plain && (op == "RESHAPE" || op == "NEG" || op == "RSQRT" || op == "SQRT" || op == "SQUARE")) return FollowUnary(op, node, out);
    if (node.inputs.size() != 2) return;
    if (!is_plain) {  // a variance that is no less than 0
      if (op == "SUB" && node.activation == schema::Activation::kRelu) FollowVariance(node.inputs[0], node.inputs[1], out);
      return;
    }
    constexpr std::string_view kBinary[] = {"ADD", "SUB", "MUL", "DIV", "SQUARED_DIFFERENCE", "MAXIMUM"};
    if (std::ranges::find(kBinary, op) != std::end(kBinary)) FollowBinary(op, node, out);
  }

  // The extents of x without which it would be no layer normalisation, or another; -1 where any will do.
  std::vector<int32_t> ReliedOn(int32_t x) const {
    const Shape& shape = ValueOf(x).shape;
    std::vector<int32_t> extents(shape.size(), -1);
    for (size_t d = 0; d + 1 < shape.size(); ++d) {
      if (shape[d] == 1 && takes_ones_.count(x) != 0) extents[d] = 1;
    }
    extents.back() = shape.back();
    return extents;
  }

  void Replace(Node& node, const Form& form) {
    const Coefficients shift = form.terms[kOne].empty() ? Coefficients{0.0f} : form.terms[kOne];
    node.op = ops::FindOp("sigrun.layer_norm");
    node.inputs = {form.x, AddConstant(graph_, form.terms[kXFactor]), AddConstant(graph_, shift), AddConstant(graph_, {*form.epsilon}),
                   AddConstant(graph_, TensorType::kInt32, ReliedOn(form.x))};
  }

  Graph& graph_;
  std::map<int32_t, Form> forms_;
  std::map<int32_t, Statistic> statistics_;
  std::map<int32_t, Form> matches_;   // by output
  std::map<int32_t, int32_t> taken_;  // matches that a longer one reads
  std::set<int32_t> takes_ones_;      // values the mean of which is taken along dimensions of 1 as well
};

}  // namespace

bool FuseLayerNorms(Graph& graph) {
  const bool changed = Matcher(graph).Run();
  if (changed) RemoveDeadNodes(graph);
  return changed;
}

}  // namespace sigrun::passes
