#include <algorithm>
#include <memory>
#include <numeric>
#include <string_view>
#include <vector>

#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "model/error.h"
#include "ops/op.h"
#include "plan/plan.h"

namespace sigrun::passes {
namespace {

constexpr std::string_view kUnary[] = {"ABS",  "CEIL",       "COS",         "DEQUANTIZE",   "ELU",      "EXP",   "FLOOR",
                                       "GELU", "HARD_SWISH", "LEAKY_RELU",  "LOG",          "LOGISTIC", "NEG",   "QUANTIZE",
                                       "RELU", "RELU6",      "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND",    "RSQRT", "SIGN",
                                       "SIN",  "SQRT",       "SQUARE",      "TANH"};
constexpr std::string_view kBinary[] = {"ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "POW", "SQUARED_DIFFERENCE", "SUB"};
constexpr size_t kBytes = 256;

class LookupFuser {
 public:
  LookupFuser(Graph& graph, const kernels::Kernels& kernels)
      : graph_(graph), kernels_(kernels), function_(graph.values.size()), uses_(UseCounts(graph)) {}

  bool Run() {
    for (size_t v = 0; v < function_.size(); ++v) function_[v].root = static_cast<int32_t>(v);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) Trace(static_cast<int32_t>(i));
    bool changed = false;
    for (size_t i = graph_.nodes.size(); i-- > 0;) changed |= Fuse(graph_.nodes[i]);
    if (changed) RemoveDeadNodes(graph_);
    return changed;
  }

 private:
  // What a value is a function of, byte by byte; the node that computes it, and how many operands and nodes a table would save.
  struct Function {
    int32_t root = -1, node = -1;
    int32_t saved = 0;
  };

  static size_t Index(int32_t i) { return static_cast<size_t>(i); }
  bool IsByte(int32_t v) const {
    const Value& value = graph_.values[Index(v)];
    return (value.type == TensorType::kInt8 || value.type == TensorType::kUInt8) && value.quantization->scale.size() <= 1;
  }
  // What may stand between the bytes of the root and those of the end.
  bool IsByteOrFloat(int32_t v) const { return IsByte(v) || graph_.values[Index(v)].type == TensorType::kFloat32; }
  size_t TableBytes(int32_t v) const { return IsByte(v) ? kBytes : kBytes * sizeof(float); }

  void Trace(int32_t i) {
    const Node& node = graph_.nodes[Index(i)];
    const auto is_one_of = [&](const auto& names) { return std::ranges::find(names, std::string_view(node.op->name)) != std::end(names); };
    const bool fits = (node.inputs.size() == 1 && is_one_of(kUnary)) || (node.inputs.size() == 2 && is_one_of(kBinary));
    if (!fits || node.outputs.size() != 1 || node.outputs[0] < 0 || !IsByteOrFloat(node.outputs[0])) return;
    Function f{-1, i, -1};
    size_t rank = 0;
    for (const int32_t v : node.inputs) {
      if (v < 0 || !IsByteOrFloat(v)) return;
      f.saved += 1;
      if (graph_.values[Index(v)].constant != nullptr) continue;
      const Function& of = function_[Index(v)];
      if (!IsByte(of.root) || (f.root >= 0 && of.root != f.root)) return;
      f.root = of.root;
      f.saved += of.saved + (of.node >= 0 ? 1 : 0);
      rank = graph_.values[Index(v)].shape.size();
    }
    const auto keeps_shape = [&](int32_t v) {
      const Value& value = graph_.values[Index(v)];
      const auto is_one = [](int32_t d) { return d == 1; };
      return value.constant == nullptr || (value.shape.size() <= rank && std::ranges::all_of(value.shape, is_one));
    };
    if (f.root < 0 || !std::ranges::all_of(node.inputs, keeps_shape)) return;
    function_[Index(node.outputs[0])] = f;
  }

  /// What value v is for all bytes of its root; none if an operator refuses them.
  std::shared_ptr<AlignedBytes> Table(int32_t v) {
    const Function& f = function_[Index(v)];
    if (f.node < 0) {
      auto identity = std::make_shared<AlignedBytes>(kBytes);
      std::iota(reinterpret_cast<uint8_t*>(identity->data()), reinterpret_cast<uint8_t*>(identity->data()) + kBytes, uint8_t{0});
      return identity;
    }
    // A graph of this node alone.
    Graph trial;
    trial.model = graph_.model;
    trial.subgraph = graph_.subgraph;
    trial.nodes = {graph_.nodes[Index(f.node)]};
    Node& node = trial.nodes[0];
    std::vector<std::shared_ptr<AlignedBytes>> operands;
    for (int32_t& input : node.inputs) {
      Value value = graph_.values[Index(input)];
      if (value.constant == nullptr) {
        operands.push_back(Table(input));
        if (operands.back() == nullptr) return nullptr;
        value.shape = {static_cast<int32_t>(kBytes)};
        value.constant = operands.back()->data();
        value.constant_bytes = operands.back()->size();
      }
      input = static_cast<int32_t>(trial.values.size());
      trial.values.push_back(std::move(value));
    }
    node.outputs[0] = static_cast<int32_t>(trial.values.size());
    trial.values.push_back(graph_.values[Index(v)]);
    trial.values.back().shape = {static_cast<int32_t>(kBytes)};
    Folded folded;
    try {
      if (!FoldNode(trial, node, kernels_, size_t{1} << 16, folded) || folded.bytes[0]->size() != TableBytes(v)) return nullptr;
    } catch (const Error&) {
      return nullptr;  // what is wrong with the node is said when it is planned
    }
    return folded.bytes[0];
  }

  bool Fuse(Node& node) {
    if (node.outputs.size() != 1 || node.outputs[0] < 0) return false;
    const int32_t v = node.outputs[0];
    const Function f = function_[Index(v)];
    if (f.node < 0 || f.saved == 0 || !IsByte(v) || uses_[Index(v)] == 0) return false;
    const std::shared_ptr<AlignedBytes> table = Table(v);
    if (table == nullptr) return false;
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(table->data());
    const int32_t constant = AddConstant(graph_, TensorType::kUInt8, std::vector<uint8_t>(bytes, bytes + kBytes));
    for (const int32_t input : node.inputs) Release(input);
    ++uses_[Index(f.root)];
    node.op = ops::FindOp("sigrun.lookup");
    node.inputs = {f.root, constant};
    node.activation = schema::Activation::kNone;
    return true;
  }

  // One reader of v less; what computes it may be dead by that.
  void Release(int32_t v) {
    if (--uses_[Index(v)] > 0 || function_[Index(v)].node < 0) return;
    for (const int32_t input : graph_.nodes[Index(function_[Index(v)].node)].inputs) Release(input);
  }

  Graph& graph_;
  const kernels::Kernels& kernels_;
  std::vector<Function> function_;  // of a value
  std::vector<int32_t> uses_;       // of a value, those of dead nodes not counted
};

}  // namespace

bool FuseLookups(Graph& graph, const kernels::Kernels& kernels) { return LookupFuser(graph, kernels).Run(); }

}  // namespace sigrun::passes
