#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "ops/op.h"
#include "ops/support/attention.h"

namespace sigrun::passes {
namespace {

using ops::AttentionLayout;

class Matcher {
 public:
  explicit Matcher(Graph& graph) : graph_(graph), uses_(UseCounts(graph)), producer_(graph.values.size()), reader_(graph.values.size()) {
    for (Node& node : graph_.nodes) {
      for (const int32_t v : node.outputs) {
        if (v >= 0) producer_[Index(v)] = &node;
      }
      for (const int32_t v : node.inputs) {
        if (v >= 0) reader_[Index(v)] = &node;
      }
    }
  }

  bool Run() {
    bool changed = false;
    for (Node& node : graph_.nodes) {
      if (Is(node, "SOFTMAX")) changed |= Fuse(node);
    }
    return changed;
  }

 private:
  static size_t Index(int32_t i) { return static_cast<size_t>(i); }
  static bool Is(const Node& node, std::string_view op) {
    if (node.op->name != op || node.outputs.size() != 1 || node.outputs[0] < 0 || node.activation != schema::Activation::kNone)
      return false;
    for (const int32_t v : node.inputs) {
      if (v < 0) return false;
    }
    return !node.inputs.empty();
  }
  const Value& ValueOf(int32_t v) const { return graph_.values[Index(v)]; }
  const Shape& ShapeOf(int32_t v) const { return ValueOf(v).shape; }
  bool IsFloat(int32_t v) const { return ValueOf(v).type == TensorType::kFloat32; }

  // The node that makes `v`, if it is such an operator and nothing else reads v.
  const Node* OnlyFor(int32_t v, std::string_view op) const {
    const Node* node = producer_[Index(v)];
    return node != nullptr && uses_[Index(v)] == 1 && Is(*node, op) ? node : nullptr;
  }

  Node* OnlyReader(int32_t v, std::string_view op) const {
    Node* node = reader_[Index(v)];
    return node != nullptr && uses_[Index(v)] == 1 && Is(*node, op) ? node : nullptr;
  }

  // Matrices of the same size, in the same order, behind other dimensions.
  bool KeepsMatrices(const Node& reshape) const {
    const Shape &from = ShapeOf(reshape.inputs[0]), &to = ShapeOf(reshape.outputs[0]);
    if (from.size() < 2 || to.size() < 2) return false;
    for (size_t d = 1; d <= 2; ++d) {
      if (from[from.size() - d] < 1 || from[from.size() - d] != to[to.size() - d]) return false;
    }
    return true;
  }

  int32_t BeforeReshape(int32_t v) const {
    const Node* reshape = OnlyFor(v, "RESHAPE");
    return reshape != nullptr && KeepsMatrices(*reshape) ? reshape->inputs[0] : v;
  }

  std::optional<float> Number(int32_t v) const {
    const Value& value = ValueOf(v);
    if (value.constant == nullptr || value.constant_bytes != sizeof(float) || !IsFloat(v)) return std::nullopt;
    float number;
    std::memcpy(&number, value.constant, sizeof(number));
    return number;
  }

  // What `v` is a permutation of, if it is that one.
  std::optional<int32_t> Untransposed(int32_t v, const std::vector<int32_t>& permutation) const {
    const Node* node = producer_[Index(v)];
    if (node == nullptr || !IsTransposition(*node, permutation)) return std::nullopt;
    return node->inputs[0];
  }

  bool IsTransposition(const Node& node, const std::vector<int32_t>& permutation) const {
    if (!Is(node, "TRANSPOSE") || node.inputs.size() != 2) return false;
    const Value& axes = ValueOf(node.inputs[1]);
    return axes.constant != nullptr && axes.type == TensorType::kInt32 && axes.constant_bytes == permutation.size() * sizeof(int32_t) &&
           std::memcmp(axes.constant, permutation.data(), axes.constant_bytes) == 0;
  }

  /// Keys or values, behind what only renames, turns, scales or repeats their matrices.
  struct Operand {
    int32_t v;
    bool transposed = false;
    float scale = 1.0f;
  };
  Operand ReadOperand(int32_t v, bool scales) const {
    Operand operand{v};
    for (const Node* node = producer_[Index(v)]; node != nullptr; node = producer_[Index(operand.v)]) {
      if (Is(*node, "RESHAPE") && KeepsMatrices(*node)) {
        operand.v = node->inputs[0];
      } else if (SwapsLast(*node)) {
        operand.transposed = !operand.transposed;
        operand.v = node->inputs[0];
      } else if (RepeatsMatrices(*node)) {
        operand.v = node->inputs[0];
      } else {
        const Scaled scaled = scales ? ReadScale(operand.v) : Scaled{operand.v, 1.0f};
        if (scaled.v == operand.v) break;
        operand.v = scaled.v;
        operand.scale *= scaled.scale;
      }
    }
    return operand;
  }

  // A transposition of the last two dimensions.
  bool SwapsLast(const Node& node) const {
    const int32_t rank = static_cast<int32_t>(ShapeOf(node.outputs[0]).size());
    std::vector<int32_t> permutation;
    for (int32_t d = 0; d + 2 < rank; ++d) permutation.push_back(d);
    permutation.push_back(rank - 1);
    permutation.push_back(rank - 2);
    return rank >= 2 && IsTransposition(node, permutation);
  }

  // BROADCAST_TO that gives several heads of queries, one after the other, the same keys.
  bool RepeatsMatrices(const Node& node) const {
    if (!Is(node, "BROADCAST_TO")) return false;
    const Shape &from = ShapeOf(node.inputs[0]), &to = ShapeOf(node.outputs[0]);
    if (from.size() != to.size() || from.size() < 3) return false;
    for (size_t d = 0; d < to.size(); ++d) {
      const bool repeated = d + 3 == to.size();
      if (to[d] < 1 || (repeated ? from[d] != 1 : from[d] != to[d])) return false;
    }
    return true;
  }

  int64_t Matrices(int32_t v) const {
    const Shape& s = ShapeOf(v);
    int64_t count = 1;
    for (size_t d = 0; d + 2 < s.size(); ++d) count *= s[d];
    return count;
  }

  struct Product {
    int32_t left, right;
    bool transposes_right;
  };
  std::optional<Product> ReadProduct(const Node* node) const {
    constexpr int kAdjX = 0, kAdjY = 1;
    if (node == nullptr || node->inputs.size() != 2 || node->info->options.Bool(kAdjX)) return std::nullopt;
    const int32_t left = node->inputs[0], right = node->inputs[1];
    if (!IsFloat(left) || !IsFloat(right) || !SameBatch(ShapeOf(left), ShapeOf(right))) return std::nullopt;
    return Product{left, right, node->info->options.Bool(kAdjY)};
  }

  // Every left matrix has a right one of its own. A batch that is not known yet is taken to be the same.
  static bool SameBatch(const Shape& a, const Shape& b) {
    if (a.size() != b.size() || a.size() < 2) return false;
    for (size_t d = 0; d + 2 < a.size(); ++d) {
      if (a[d] != b[d] || (a[d] < 1 && d > 0)) return false;
    }
    return true;
  }

  bool FitsAsMask(int32_t mask, int32_t scores) const {
    const Shape &m = ShapeOf(mask), &s = ShapeOf(scores);
    if (m.size() > 4 || s.size() > 4 || m.empty() || s.empty() || m.back() != s.back()) return false;
    // A mask of more dimensions gives the sum as many: that is a reshape.
    for (size_t d = 1; d <= m.size(); ++d) {
      const int32_t extent = m[m.size() - d], whole = d <= s.size() ? s[s.size() - d] : 1;
      if (extent != whole && extent != 1) return false;
    }
    return true;
  }

  // Whether the mask fits heads whose batch and heads are one dimension, too.
  bool OneForAllHeads(int32_t mask, int32_t scores) const {
    const Shape &m = ShapeOf(mask), &s = ShapeOf(scores);
    if (s.size() == 4 && s[0] == 1) return true;
    return m.size() <= 2 || (m[m.size() - 3] == 1 && m.front() == 1);
  }

  /// Scores in place of which a SELECT_V2 takes a number that leaves no weight: where the constant `kept` is not `value`.
  struct Exclusion {
    int32_t kept;
    bool value;
    float number;
    bool operator==(const Exclusion&) const = default;
  };

  // Adding the number where scores are excluded makes the same of them: they are far from it, as long as a row keeps one.
  std::optional<Exclusion> ReadExclusion(const Node& select, size_t scores) const {
    constexpr float kFar = -1e8f;
    const int32_t kept = select.inputs[0];
    const Value& condition = ValueOf(kept);
    const std::optional<float> number = Number(select.inputs[3 - scores]);
    if (!number || !(*number <= kFar) || condition.type != TensorType::kBool || condition.constant == nullptr) return std::nullopt;
    if (!FitsAsMask(kept, select.inputs[scores]) || ShapeOf(select.outputs[0]) != ShapeOf(select.inputs[scores])) return std::nullopt;
    const bool value = scores == 1;
    const auto* bytes = reinterpret_cast<const uint8_t*>(condition.constant);
    const auto keeps = [=](uint8_t byte) { return (byte != 0) == value; };
    const size_t row = static_cast<size_t>(condition.shape.back());
    for (size_t i = 0; i < condition.constant_bytes; i += row) {
      if (std::none_of(bytes + i, bytes + i + row, keeps)) return std::nullopt;
    }
    return Exclusion{kept, value, *number};
  }

  // What is added to the scores instead.
  int32_t MaskOf(const Exclusion& e) {
    for (const auto& [exclusion, mask] : masks_) {
      if (exclusion == e) return mask;
    }
    const Value& condition = ValueOf(e.kept);
    std::vector<float> addends(condition.constant_bytes);
    for (size_t i = 0; i < addends.size(); ++i) addends[i] = (condition.constant[i] != std::byte{0}) == e.value ? 0.0f : e.number;
    masks_.emplace_back(e, AddConstant(graph_, TensorType::kFloat32, addends, condition.shape));
    return masks_.back().second;
  }

  /// softmax(scale * query key^T + mask)
  struct Scores {
    int32_t query = -1, key = -1, mask = -1;
    float scale = 1.0f;
    bool transposes_key = false;
    std::optional<Exclusion> exclusion = std::nullopt;  // what the mask is made of
  };

  /// A product or quotient of `v` and a number.
  struct Scaled {
    int32_t v;
    float scale;
  };
  Scaled ReadScale(int32_t v) const {
    const Node* node = OnlyFor(v, "MUL");
    const bool divides = node == nullptr;
    if (divides) node = OnlyFor(v, "DIV");
    if (node == nullptr || node->inputs.size() != 2) return {v, 1.0f};
    for (const size_t i : {size_t{0}, size_t{1}}) {
      const int32_t whole = node->inputs[i], number = node->inputs[1 - i];
      const std::optional<float> factor = Number(number);
      if (!factor || (divides && i == 1) || ShapeOf(number).size() > ShapeOf(whole).size()) continue;
      return {whole, divides ? 1.0f / *factor : *factor};
    }
    return {v, 1.0f};
  }

  std::optional<Scores> FindScores(int32_t v, int32_t mask) const {
    const Scaled scaled = ReadScale(v);
    v = mask < 0 || OneForAllHeads(mask, scaled.v) ? BeforeReshape(scaled.v) : scaled.v;
    const std::optional<Product> product = ReadProduct(OnlyFor(v, "BATCH_MATMUL"));
    if (!product) return std::nullopt;
    return Scores{product->left, product->right, mask, scaled.scale, !product->transposes_right};
  }

  std::optional<Scores> FindScores(int32_t v) const {
    v = BeforeReshape(v);
    if (const Node* sum = OnlyFor(v, "ADD"); sum != nullptr && sum->inputs.size() == 2) {
      for (const size_t i : {size_t{0}, size_t{1}}) {
        const int32_t scores = sum->inputs[i], mask = sum->inputs[1 - i];
        if (!IsFloat(mask) || !FitsAsMask(mask, scores)) continue;
        if (const std::optional<Scores> found = FindScores(scores, mask)) return found;
      }
      return std::nullopt;
    }
    if (const Node* select = OnlyFor(v, "SELECT_V2"); select != nullptr && select->inputs.size() == 3) {
      for (const size_t i : {size_t{1}, size_t{2}}) {
        const std::optional<Exclusion> exclusion = ReadExclusion(*select, i);
        std::optional<Scores> found = exclusion ? FindScores(select->inputs[i], exclusion->kept) : std::nullopt;
        if (!found) continue;
        found->exclusion = exclusion;
        return found;
      }
    }
    return FindScores(v, -1);
  }

  bool Fuse(Node& softmax) {
    constexpr int kBeta = 0;
    if (!IsFloat(softmax.inputs[0]) || softmax.info->options.Scalar<float>(kBeta) != 1.0f) return false;
    const std::optional<Scores> scores = FindScores(softmax.inputs[0]);
    if (!scores) return false;
    int32_t weights = softmax.outputs[0];
    if (const Node* reshape = OnlyReader(weights, "RESHAPE"); reshape != nullptr && KeepsMatrices(*reshape)) weights = reshape->outputs[0];
    Node* last = OnlyReader(weights, "BATCH_MATMUL");
    const std::optional<Product> product = ReadProduct(last);
    if (!product || product->left != weights || ShapeOf(scores->query).size() != ShapeOf(product->right).size() ||
        !SameBatch(ShapeOf(scores->query), ShapeOf(product->right))) {
      return false;
    }
    Replace(*scores, *product, last);
    return true;
  }

  void Replace(const Scores& scores, const Product& product, Node* last) {
    static const std::vector<int32_t> kHeads = {0, 2, 1, 3}, kHeadsOfKeys = {0, 2, 3, 1};
    Operand keys = ReadOperand(scores.key, true), values = ReadOperand(product.right, false);
    if (Matrices(keys.v) != Matrices(values.v)) {
      keys = Operand{scores.key};
      values = Operand{product.right};
    }
    int32_t query = scores.query, key = keys.v, value = values.v;
    const bool transposes_key = scores.transposes_key != keys.transposed, transposes_value = product.transposes_right != values.transposed;
    ops::AttentionOptions options;
    options.scale = scores.scale * keys.scale;
    options.key = transposes_key ? AttentionLayout::kTransposed : AttentionLayout::kDense;
    options.value = transposes_value ? AttentionLayout::kTransposed : AttentionLayout::kDense;
    if (const auto from = Untransposed(key, transposes_key ? kHeadsOfKeys : kHeads)) {
      key = *from;
      options.key = AttentionLayout::kSideBySide;
    }
    if (const auto from = Untransposed(value, transposes_value ? kHeadsOfKeys : kHeads)) {
      value = *from;
      options.value = AttentionLayout::kSideBySide;
    }
    Node* behind = reader_[Index(last->outputs[0])];
    const auto from = Untransposed(query, kHeads);
    if (from && behind != nullptr && uses_[Index(last->outputs[0])] == 1 && IsTransposition(*behind, kHeads)) {
      query = *from;
      options.side_by_side = true;
      last = behind;
    }
    const int32_t mask = scores.exclusion ? MaskOf(*scores.exclusion) : scores.mask;
    last->op = ops::FindOp("sigrun.attention");
    last->inputs = {query, key, value, mask, AddConstant(graph_, options.Fields())};
  }

  Graph& graph_;
  std::vector<int32_t> uses_;
  std::vector<Node*> producer_, reader_;
  std::vector<std::pair<Exclusion, int32_t>> masks_;
};

}  // namespace

bool FuseAttention(Graph& graph) {
  const bool changed = Matcher(graph).Run();
  if (changed) RemoveDeadNodes(graph);
  return changed;
}

}  // namespace sigrun::passes
