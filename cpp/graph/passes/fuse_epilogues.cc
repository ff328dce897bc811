#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "graph/passes/passes.h"
#include "ops/op.h"

namespace sigrun::passes {
namespace {

using kernels::ActivationF32;
using schema::Activation;

constexpr size_t kOwnOperands = 3;  // input, weights, bias

class EpilogueFuser {
 public:
  explicit EpilogueFuser(Graph& graph) : graph_(graph), uses_(UseCounts(graph)), producer_(graph.values.size(), -1) {}

  bool Run() {
    bool changed = false;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const bool whole = graph_.nodes[i].outputs.size() == 1 && graph_.nodes[i].outputs[0] >= 0;
      changed = (whole && Fuse(i)) || changed;
      for (const int32_t v : graph_.nodes[i].outputs) {
        if (v >= 0) producer_[Index(v)] = static_cast<int32_t>(i);
      }
    }
    if (changed) RemoveDeadNodes(graph_);
    return changed;
  }

 private:
  static size_t Index(int32_t i) { return static_cast<size_t>(i); }
  static bool HasScalesOfChannels(const Value& weights) { return weights.quantization != nullptr && weights.quantization->block_size == 0; }

  bool Fuse(size_t i) {
    Node& node = graph_.nodes[i];
    const std::string_view op = node.op->name;
    const size_t operands = node.inputs.size();
    if (operands == 0 || std::any_of(node.inputs.begin(), node.inputs.end(), [](int32_t v) { return v < 0; })) return false;
    if (op == "ADD" && operands == 2) return FuseResidual(i);
    if (op == "MUL" && operands == 2) return FuseSilu(node, 0) || FuseSilu(node, 1);
    if (operands == 1 && op == "HARD_SWISH") return FuseFunction(node, ActivationF32::kHardSwish);
    if (operands == 1 && op == "LOGISTIC") return FuseFunction(node, ActivationF32::kLogistic);
    if (operands == 1 && op == "TANH") return FuseFunction(node, ActivationF32::kTanh);
    if (operands == 1 && op == "LEAKY_RELU") return FuseFunction(node, ActivationF32::kLeakyRelu, node.info->options.Scalar<float>(0));
    return op == "PRELU" && operands == 2 && FusePrelu(node);
  }

  // The node that computes value v by float products which nothing but `readers` operands reads, and to which something may still be done.
  Node* Open(int32_t v, int32_t readers, OpTraits trait = kFusesEpilogue) {
    if (producer_[Index(v)] < 0 || uses_[Index(v)] != readers) return nullptr;
    Node& node = graph_.nodes[Index(producer_[Index(v)])];
    const auto is = [&](size_t k, TensorType type) {
      return node.inputs.size() > k && node.inputs[k] >= 0 && graph_.values[Index(node.inputs[k])].type == type;
    };
    const TensorType weights = trait == kFusesHybridSum ? TensorType::kInt8 : TensorType::kFloat32;
    const bool fits = (node.op->traits & trait) != 0 && node.outputs.size() == 1 && is(0, TensorType::kFloat32) && is(1, weights) &&
                      graph_.values[Index(v)].type == TensorType::kFloat32 &&
                      (weights == TensorType::kFloat32 || HasScalesOfChannels(graph_.values[Index(node.inputs[1])]));
    return fits && node.activation == Activation::kNone && node.function == ActivationF32::kNone ? &node : nullptr;
  }

  // `last` is dead from now on, and its result the source's.
  void Replace(Node& source, Node& last) {
    source.activation = last.activation;
    source.outputs = last.outputs;
    producer_[Index(source.outputs[0])] = static_cast<int32_t>(&source - graph_.nodes.data());
    last.outputs.clear();
  }

  int32_t AddOperand(Node& node, int32_t v) {
    if (node.inputs.size() < kOwnOperands) node.inputs.resize(kOwnOperands, -1);
    node.inputs.push_back(v);
    return static_cast<int32_t>(node.inputs.size()) - 1;
  }

  bool FuseFunction(Node& node, ActivationF32 function, float alpha = 0.0f) {
    Node* source = Open(node.inputs[0], 1);
    if (source == nullptr) return false;
    source->function = function;
    source->alpha = alpha;
    Replace(*source, node);
    return true;
  }

  // x * LOGISTIC(x); operand k is x.
  bool FuseSilu(Node& mul, size_t k) {
    const int32_t x = mul.inputs[k], gate = mul.inputs[1 - k];
    const int32_t at = producer_[Index(gate)];
    if (at < 0 || uses_[Index(gate)] != 1 || std::string_view(graph_.nodes[Index(at)].op->name) != "LOGISTIC") return false;
    Node& logistic = graph_.nodes[Index(at)];
    if (logistic.inputs.size() != 1 || logistic.inputs[0] != x) return false;
    Node* source = Open(x, 2);
    if (source == nullptr) return false;
    source->function = ActivationF32::kSilu;
    Replace(*source, mul);
    logistic.outputs.clear();
    return true;
  }

  bool FusePrelu(Node& node) {
    const Value& slope = graph_.values[Index(node.inputs[1])];
    Node* source = Open(node.inputs[0], 1);
    const Shape& shape = graph_.values[Index(node.inputs[0])].shape;
    if (source == nullptr || slope.constant == nullptr || slope.type != TensorType::kFloat32 || shape.empty() || slope.shape.empty())
      return false;
    // One slope a channel.
    const bool leading_ones = std::all_of(slope.shape.begin(), slope.shape.end() - 1, [](int32_t d) { return d == 1; });
    if (!leading_ones || slope.shape.back() != shape.back() || slope.shape.size() > shape.size()) return false;
    source->function = ActivationF32::kPrelu;
    source->slope = AddOperand(*source, node.inputs[1]);
    Replace(*source, node);
    return true;
  }

  // Whether adding a residual of this shape gives a result of it: a matrix product's may have more leading ones.
  static bool TakesResidual(const Node& source, const Shape& sum, const Shape& residual) {
    if (sum == residual) return true;
    if (std::string_view(source.op->name) != "FULLY_CONNECTED" || sum.size() > residual.size()) return false;
    const auto tail = residual.end() - static_cast<ptrdiff_t>(sum.size());
    return std::equal(sum.begin(), sum.end(), tail) && std::all_of(residual.begin(), tail, [](int32_t d) { return d == 1; });
  }

  // Of two producers the later one adds what the other has computed.
  bool FuseResidual(size_t i) {
    const std::vector<int32_t> operands = graph_.nodes[i].inputs;
    // Shapes that only the inputs' shapes decide are equal for all sizes of one input, but may not be for several.
    if (operands[0] == operands[1] || graph_.inputs.size() != 1) return false;
    const size_t first = producer_[Index(operands[0])] > producer_[Index(operands[1])] ? 0 : 1;
    for (const size_t sum : {first, 1 - first}) {
      const int32_t v = operands[sum], residual = operands[1 - sum];
      Node* source = Open(v, 1);
      if (source == nullptr) source = Open(v, 1, kFusesHybridSum);
      if (source == nullptr) source = OpenBytes(v, residual, graph_.nodes[i].outputs[0]);
      if (FuseResidual(i, source, residual)) return true;
    }
    return false;
  }

  // The node that computes value v, which nothing else reads, by int8 products; the sum with the residual is int8 as well.
  Node* OpenBytes(int32_t v, int32_t residual, int32_t result) {
    if (producer_[Index(v)] < 0 || uses_[Index(v)] != 1) return nullptr;
    Node& node = graph_.nodes[Index(producer_[Index(v)])];
    const bool fits = (node.op->traits & kFusesSum) != 0 && node.outputs.size() == 1 && node.inputs.size() >= 2;
    if (!fits || !node.intermediates.empty()) return nullptr;
    const std::array<int32_t, 5> bytes = {node.inputs[0], node.inputs[1], v, residual, result};
    const bool all =
        std::all_of(bytes.begin(), bytes.end(), [&](int32_t k) { return k >= 0 && graph_.values[Index(k)].type == TensorType::kInt8; });
    const bool scaled = all && std::all_of(bytes.begin() + 2, bytes.end(),
                                           [&](int32_t k) { return graph_.values[Index(k)].quantization->scale.size() == 1; });
    return scaled ? &node : nullptr;
  }

  bool FuseResidual(size_t i, Node* source, int32_t residual) {
    if (source == nullptr || source->residual >= 0 || graph_.values[Index(residual)].constant != nullptr) return false;
    if (!TakesResidual(*source, graph_.values[Index(source->outputs[0])].shape, graph_.values[Index(residual)].shape)) return false;
    Node& add = graph_.nodes[i];
    Node fused = std::move(*source);
    if (graph_.values[Index(residual)].type == TensorType::kInt8) {
      fused.intermediates = fused.outputs;
      fused.inner_activation = fused.activation;
    }
    fused.residual = AddOperand(fused, residual);
    fused.activation = add.activation;
    fused.outputs = add.outputs;
    // Where the ADD stands, the residual has been computed.
    *source = Node(add);
    source->inputs.clear();
    source->outputs.clear();
    add = std::move(fused);
    return true;
  }

  Graph& graph_;
  std::vector<int32_t> uses_;
  std::vector<int32_t> producer_;  // position of the node by value; -1 for inputs and constants
};

}  // namespace

bool FuseEpilogues(Graph& graph) { return EpilogueFuser(graph).Run(); }

}  // namespace sigrun::passes
