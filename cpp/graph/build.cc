#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "graph/graph.h"
#include "model/error.h"
#include "model/warn.h"
#include "ops/op.h"

namespace sigrun {
namespace {

// What stands for the bytes of a constant that has none: a tensor with a dimension of 0.
alignas(64) constexpr std::byte kNoBytes[64] = {};

// The bytes of constants that the file keeps at an address where their elements cannot be read.
class AlignedCopies {
 public:
  AlignedCopies(const FlatModel& model, Graph& graph) : graph_(graph), budget_(2 * model.source.bytes.size()) {}

  const std::byte* Get(const std::byte* constant, size_t bytes, const TensorInfo& tensor) {
    const size_t alignment = std::clamp<size_t>(static_cast<size_t>(TensorTypeBits(tensor.type)) / 8, 1, 8);
    if (reinterpret_cast<uintptr_t>(constant) % alignment == 0) return constant;
    auto& copy = copies_[{constant, bytes}];
    if (copy == nullptr) {
      if (bytes > budget_)
        Fail(StatusCode::kInvalidArgument, "invalid model: subgraphs[", graph_.subgraph, "].tensors: too many constants are misaligned");
      budget_ -= bytes;
      copy = std::make_shared<AlignedBytes>(bytes);
      std::memcpy(copy->data(), constant, bytes);
      graph_.folded.push_back(copy);
    }
    return copy->data();
  }

 private:
  Graph& graph_;
  size_t budget_;
  std::map<std::pair<const std::byte*, size_t>, std::shared_ptr<AlignedBytes>> copies_;
};

Value MakeValue(const FlatModel& model, const TensorInfo& tensor, AlignedCopies& copies) {
  Value value;
  value.name = tensor.name;
  value.type = tensor.type;
  value.shape = tensor.shape_signature.size() == tensor.shape.size() ? tensor.shape_signature : tensor.shape;
  value.quantization = &tensor.quantization;
  value.is_variable = tensor.is_variable;
  if (tensor.is_variable) value.shape = tensor.shape;
  const auto bytes = model.buffers[tensor.buffer];
  if (!bytes.empty() && !tensor.is_variable) {
    value.shape = tensor.shape;
    value.constant = copies.Get(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), tensor);
    value.constant_bytes = bytes.size();
    value.sparsity = tensor.sparsity;
  }
  return value;
}

// STABLEHLO_COMPOSITE: a name, and the subgraph that computes what it stands for.
struct Composite {
  std::string_view name;
  int32_t decomposition;
};

std::optional<Composite> CompositeOf(const FlatModel& model, const OperatorInfo& op) {
  enum Field : int { kName, kDecomposition };
  if (model.operator_codes[op.code].name() != "STABLEHLO_COMPOSITE") return std::nullopt;
  return Composite{op.options_2.String(kName, "name"), op.options_2.Scalar<int32_t>(kDecomposition)};
}

// The name under which an operator is looked for. A call of foreign code is what its target says.
std::string NameOf(const FlatModel& model, const OperatorInfo& op) {
  constexpr int kTarget = 0;
  const std::string name = model.operator_codes[op.code].name();
  return name == "STABLEHLO_CUSTOM_CALL" ? Concat("custom_call.", op.options_2.String(kTarget, "call_target_name")) : name;
}

// Null for a composite as well: its name promises nothing that its decomposition does not say, from which the passes learn as much.
const OpDef* FindOp(const FlatModel& model, const OperatorInfo& op) {
  if (CompositeOf(model, op)) return nullptr;
  const OperatorCode& code = model.operator_codes[op.code];
  const OpDef* own = code.custom.empty() ? nullptr : ops::FindCustomOp(code.custom);
  return own != nullptr ? own : ops::FindOp(NameOf(model, op));
}

const SubgraphInfo& DecompositionOf(const FlatModel& model, const Composite& composite) {
  if (composite.decomposition < 0 || static_cast<size_t>(composite.decomposition) >= model.subgraphs.size()) {
    Fail(StatusCode::kInvalidArgument, "invalid model: STABLEHLO_COMPOSITE '", composite.name, "': its decomposition is subgraph ",
         composite.decomposition, " of ", model.subgraphs.size());
  }
  return model.subgraphs[static_cast<size_t>(composite.decomposition)];
}

// --- operators that are missing ---

struct Missing {
  int count = 0;
  std::string first;  // where, and what it works on
};

std::string DescribeTensors(const SubgraphInfo& subgraph, const std::vector<int32_t>& tensors) {
  std::string list;
  for (const int32_t t : tensors) {
    list += list.empty() ? "" : ", ";
    if (t < 0) {
      list += "-";
      continue;
    }
    const TensorInfo& tensor = subgraph.tensors[static_cast<size_t>(t)];
    list += TensorTypeName(tensor.type) + ToString(tensor.shape_signature.empty() ? tensor.shape : tensor.shape_signature);
  }
  return list;
}

void CollectMissing(const FlatModel& model, const SubgraphInfo& subgraph, std::set<const SubgraphInfo*>& seen,
                    std::map<std::string, Missing>& missing) {
  if (!seen.insert(&subgraph).second) return;
  for (size_t i = 0; i < subgraph.operators.size(); ++i) {
    const OperatorInfo& op = subgraph.operators[i];
    if (FindOp(model, op) != nullptr) continue;
    if (const std::optional<Composite> composite = CompositeOf(model, op)) {
      CollectMissing(model, DecompositionOf(model, *composite), seen, missing);
      continue;
    }
    const OperatorCode& code = model.operator_codes[op.code];
    Missing& m = missing[Concat(NameOf(model, op), " (version ", code.version)];
    if (m.count++ > 0) continue;
    m.first = Concat("#", i, ": ", DescribeTensors(subgraph, op.inputs), " -> ", DescribeTensors(subgraph, op.outputs));
    if (!op.custom_options.empty()) m.first += Concat(", ", op.custom_options.size(), " bytes of options");
  }
}

// Throws if an operator of the subgraph is missing, and then names those of the other subgraphs, too.
void RefuseMissing(const FlatModel& model, const SubgraphInfo& subgraph) {
  std::set<const SubgraphInfo*> seen;
  std::map<std::string, Missing> missing;
  CollectMissing(model, subgraph, seen, missing);
  if (missing.empty()) return;
  for (const SubgraphInfo& other : model.subgraphs) CollectMissing(model, other, seen, missing);
  std::string list;
  for (const auto& [name, m] : missing) {
    list += Concat(list.empty() ? "" : ", ", name, m.count > 1 ? Concat(", ", m.count, " times, first ") : "; ", m.first, ")");
  }
  Fail(StatusCode::kUnimplemented, "the model uses operators that this build does not have: ", list);
}

// --- nodes and values ---

// A node that is not in the file.
const OperatorInfo kNoInfo;

class Builder {
 public:
  Builder(const FlatModel& model, Graph& graph) : model_(model), graph_(graph), copies_(model, graph) {}

  void AddSubgraph(uint32_t subgraph) {
    const SubgraphInfo& info = model_.subgraphs[subgraph];
    std::vector<int32_t> ids;
    for (const TensorInfo& tensor : info.tensors) ids.push_back(AddValue(tensor));
    graph_.inputs = info.inputs;
    graph_.outputs = info.outputs;
    AddOperators(info, ids, std::nullopt);
  }

 private:
  static constexpr size_t kMostNodes = 1 << 20;  // a small hostile file may nest composites in composites
  static constexpr size_t kDeepest = 64;

  int32_t AddValue(const TensorInfo& tensor) {
    graph_.values.push_back(MakeValue(model_, tensor, copies_));
    return static_cast<int32_t>(graph_.values.size()) - 1;
  }

  Value& ValueAt(int32_t v) { return graph_.values[static_cast<size_t>(v)]; }

  // Adds the operators of `subgraph`, the tensors of which are the values `ids`; -1 where there is none. `index` is the place that inlined
  // ones take in messages.
  void AddOperators(const SubgraphInfo& subgraph, const std::vector<int32_t>& ids, std::optional<int32_t> index) {
    const auto map = [&](std::vector<int32_t> tensors) {
      for (int32_t& t : tensors) t = t < 0 ? -1 : ids[static_cast<size_t>(t)];
      return tensors;
    };
    for (size_t i = 0; i < subgraph.operators.size(); ++i) {
      const OperatorInfo& info = subgraph.operators[i];
      Node node;
      node.op = FindOp(model_, info);
      node.index = index.value_or(static_cast<int32_t>(i));
      node.version = model_.operator_codes[info.code].version;
      node.inputs = map(info.inputs);
      node.outputs = map(info.outputs);
      node.intermediates = map(info.intermediates);
      node.info = &info;
      if (node.op == nullptr) {
        Inline(node, *CompositeOf(model_, info));
        continue;
      }
      node.activation = ActivationOf(node, info);
      MakeInputsDense(node);
      if (KnowsOnlyBytes(node)) {
        AddWithBytes(std::move(node));
      } else {
        AddNode(std::move(node));
      }
    }
  }

  // The arithmetic of LiteRT passes over a fused function that is no bound, other operators are refused.
  schema::Activation ActivationOf(const Node& node, const OperatorInfo& info) const {
    using schema::Activation;
    if (node.op->activation_field < 0) return Activation::kNone;
    const Activation activation = static_cast<Activation>(info.options.Scalar<int8_t>(node.op->activation_field));
    if (activation != Activation::kTanh && activation != Activation::kSignBit) return activation;
    static constexpr std::string_view kArithmetic[] = {"ADD", "DIV", "MUL", "SUB"};
    if (!std::ranges::binary_search(kArithmetic, std::string_view(node.op->name))) return activation;
    WarnOnce(Concat(graph_.Describe(node), ": its fused activation ", activation == Activation::kTanh ? "TANH" : "SIGN_BIT",
                    " is passed over, as in LiteRT"));
    return Activation::kNone;
  }

  static bool IsPacked(TensorType type) { return type == TensorType::kInt4 || type == TensorType::kInt2; }

  // Whether an operator moves or converts elements that are integers of 4 or 2 bits.
  bool KnowsOnlyBytes(const Node& node) const {
    static constexpr std::string_view kMovers[] = {"BROADCAST_TO", "CAST",  "CONCATENATION", "DYNAMIC_UPDATE_SLICE", "GATHER", "GATHER_ND",
                                                   "PACK",         "PAD",   "PADV2",         "REVERSE_V2",           "SELECT", "SELECT_V2",
                                                   "SLICE",        "SPLIT", "SPLIT_V",       "STRIDED_SLICE",        "TILE",   "TRANSPOSE",
                                                   "UNPACK"};
    if (std::find(std::begin(kMovers), std::end(kMovers), node.op->name) == std::end(kMovers)) return false;
    const auto packed = [this](int32_t v) { return v >= 0 && IsPacked(graph_.values[static_cast<size_t>(v)].type); };
    return std::any_of(node.inputs.begin(), node.inputs.end(), packed) || std::any_of(node.outputs.begin(), node.outputs.end(), packed);
  }

  int32_t AsBytes(int32_t v) {
    Value value = ValueAt(v);
    value.type = TensorType::kInt8;
    value.constant = nullptr;
    value.constant_bytes = 0;
    graph_.values.push_back(std::move(value));
    return static_cast<int32_t>(graph_.values.size()) - 1;
  }

  void AddWithBytes(Node node) {
    std::vector<Node> packing;
    for (int32_t& v : node.inputs) {
      if (v < 0 || !IsPacked(ValueAt(v).type)) continue;
      const int32_t bytes = AsBytes(v);
      AddNode(NewNode("sigrun.unpack_ints", node.index, v, bytes));
      v = bytes;
    }
    for (int32_t& v : node.outputs) {
      if (v < 0 || !IsPacked(ValueAt(v).type)) continue;
      const int32_t bytes = AsBytes(v);
      packing.push_back(NewNode("sigrun.pack_ints", node.index, bytes, v));
      v = bytes;
    }
    AddNode(std::move(node));
    for (Node& pack : packing) AddNode(std::move(pack));
  }

  void AddNode(Node node) {
    if (graph_.nodes.size() >= kMostNodes) Fail(StatusCode::kInvalidArgument, "invalid model: more than ", kMostNodes, " operators");
    graph_.nodes.push_back(std::move(node));
  }

  // A tensor of a decomposition and the output of the composite that is the same, where one value cannot be both.
  using Copies = std::vector<std::pair<int32_t, int32_t>>;

  // The operators of a decomposition, which read the composite's inputs and write its outputs.
  void Inline(const Node& composite, const Composite& what) {
    const SubgraphInfo& body = DecompositionOf(model_, what);
    const std::string where = Concat("invalid model: STABLEHLO_COMPOSITE #", composite.index, " '", what.name, "': ");
    if (std::find(inlined_.begin(), inlined_.end(), &body) != inlined_.end())
      Fail(StatusCode::kInvalidArgument, where, "its decomposition contains it");
    if (inlined_.size() >= kDeepest) Fail(StatusCode::kInvalidArgument, where, "it is nested more than ", kDeepest, " deep");
    Copies copies;
    const std::vector<int32_t> ids = ValuesOfBody(body, composite, where, copies);
    inlined_.push_back(&body);
    AddOperators(body, ids, composite.index);
    inlined_.pop_back();
    for (const auto& [from, to] : copies) AddNode(NewNode("IDENTITY", composite.index, ids[static_cast<size_t>(from)], to));
  }

  std::vector<int32_t> ValuesOfBody(const SubgraphInfo& body, const Node& composite, const std::string& where, Copies& copies) {
    if (body.inputs.size() != composite.inputs.size() || body.outputs.size() != composite.outputs.size()) {
      Fail(StatusCode::kInvalidArgument, where, "its decomposition has ", body.inputs.size(), " inputs and ", body.outputs.size(),
           " outputs, it has ", composite.inputs.size(), " and ", composite.outputs.size());
    }
    std::vector<int32_t> ids(body.tensors.size(), -1);
    std::vector<char> placed(body.tensors.size(), 0);
    const auto place = [&](int32_t tensor, int32_t value) {
      const TensorType type = body.tensors[static_cast<size_t>(tensor)].type;
      if (value >= 0 && ValueAt(value).type != type) {
        Fail(StatusCode::kInvalidArgument, where, "'", ValueAt(value).name, "' is ", TensorTypeName(ValueAt(value).type),
             ", its decomposition has ", TensorTypeName(type));
      }
      ids[static_cast<size_t>(tensor)] = value;
      placed[static_cast<size_t>(tensor)] = 1;
    };
    for (size_t i = 0; i < body.inputs.size(); ++i) place(body.inputs[i], composite.inputs[i]);
    for (size_t o = 0; o < body.outputs.size(); ++o) {
      const int32_t tensor = body.outputs[o];
      const bool is_constant = !model_.buffers[body.tensors[static_cast<size_t>(tensor)].buffer].empty();
      if (composite.outputs[o] < 0) continue;
      if (placed[static_cast<size_t>(tensor)] || is_constant) {
        copies.emplace_back(tensor, composite.outputs[o]);
      } else {
        place(tensor, composite.outputs[o]);
      }
    }
    for (size_t t = 0; t < ids.size(); ++t) {
      if (!placed[t]) ids[t] = AddValue(body.tensors[t]);
    }
    return ids;
  }

  static Node NewNode(const char* op, int32_t index, int32_t input, int32_t output) {
    Node node;
    node.op = ops::FindOp(op);
    node.index = index;
    node.inputs = {input};
    node.outputs = {output};
    node.info = &kNoInfo;
    return node;
  }

  // The bytes of a sparse constant are fewer than its shape says: only DENSIFY knows how to read them.
  void MakeInputsDense(Node& node) {
    if (std::string_view(node.op->name) == "DENSIFY") return;
    for (int32_t& input : node.inputs) {
      if (input < 0 || !ValueAt(input).sparsity) continue;
      auto [dense, fresh] = dense_.try_emplace(input, static_cast<int32_t>(graph_.values.size()));
      if (fresh) {
        Value value = ValueAt(input);
        value.constant = nullptr;
        value.constant_bytes = 0;
        value.sparsity = {};
        graph_.values.push_back(std::move(value));
        AddNode(NewNode("DENSIFY", node.index, input, dense->second));
      }
      input = dense->second;
    }
  }

  const FlatModel& model_;
  Graph& graph_;
  AlignedCopies copies_;
  std::vector<const SubgraphInfo*> inlined_;  // around what is being added
  std::map<int32_t, int32_t> dense_;          // sparse constants and what DENSIFY makes of them
};

// Every value must be written once, before it is read.
void CheckOrder(Graph& graph) {
  const std::string where = Concat("subgraphs[", graph.subgraph, "]");
  std::vector<char> written(graph.values.size(), 0);
  for (size_t v = 0; v < graph.values.size(); ++v) written[v] = graph.values[v].constant != nullptr || graph.values[v].is_variable;
  for (const int32_t v : graph.inputs) {
    Value& value = graph.values[static_cast<size_t>(v)];
    if (value.constant != nullptr)
      Fail(StatusCode::kInvalidArgument, "invalid model: ", where, ".inputs: tensor ", v, " '", value.name, "' is a constant");
    written[static_cast<size_t>(v)] = 1;
  }
  for (const Node& node : graph.nodes) {
    const std::string path = Concat(where, ".operators[", node.index, "]");
    for (const int32_t v : node.inputs) {
      if (v < 0 || written[static_cast<size_t>(v)]) continue;
      Value& value = graph.values[static_cast<size_t>(v)];
      if (std::find(value.shape.begin(), value.shape.end(), 0) == value.shape.end()) {
        Fail(StatusCode::kInvalidArgument, "invalid model: ", path, ".inputs: tensor ", v, " '", value.name,
             "' is read before anything writes it");
      }
      value.constant = kNoBytes;
      written[static_cast<size_t>(v)] = 1;
    }
    for (const int32_t v : node.outputs) {
      if (v < 0) continue;
      if (written[static_cast<size_t>(v)]) {
        Fail(StatusCode::kInvalidArgument, "invalid model: ", path, ".outputs: tensor ", v, " '", graph.values[static_cast<size_t>(v)].name,
             "' is written a second time, or is an input or a constant");
      }
      written[static_cast<size_t>(v)] = 1;
    }
  }
  for (const int32_t v : graph.outputs) {
    if (graph.values[static_cast<size_t>(v)].is_variable) {
      Fail(StatusCode::kUnimplemented, where, ".outputs: tensor ", v, " '", graph.values[static_cast<size_t>(v)].name, "' is a variable");
    }
    if (!written[static_cast<size_t>(v)]) {
      Fail(StatusCode::kInvalidArgument, "invalid model: ", where, ".outputs: nothing writes tensor ", v, " '",
           graph.values[static_cast<size_t>(v)].name, "'");
    }
  }
}

// Old quantisers left FLOAT32 on the results of arithmetic between quantised tensors: these have the type of the operands.
void CorrectTypes(Graph& graph) {
  for (const Node& node : graph.nodes) {
    const std::string_view op = node.op->name;
    if ((op != "ADD" && op != "SUB" && op != "MUL") || node.inputs.size() != 2 || node.outputs.size() != 1) continue;
    const int32_t input = node.inputs[1], output = node.outputs[0];
    if (input < 0 || output < 0 || std::find(graph.outputs.begin(), graph.outputs.end(), output) != graph.outputs.end()) continue;
    Value& value = graph.values[static_cast<size_t>(output)];
    const TensorType type = graph.values[static_cast<size_t>(input)].type;
    const bool quantized = type == TensorType::kInt8 || type == TensorType::kUInt8 || type == TensorType::kInt16;
    if (value.type == TensorType::kFloat32 && quantized && !value.quantization->empty()) value.type = type;
  }
}

void CheckOutputs(const Graph& graph) {
  for (const int32_t v : graph.outputs) {
    if (!graph.values[static_cast<size_t>(v)].sparsity) continue;
    Fail(StatusCode::kUnimplemented, "invalid model: subgraphs[", graph.subgraph, "].outputs: tensor ", v, " is sparse");
  }
}

}  // namespace

Graph BuildGraph(const FlatModel& model, uint32_t subgraph) {
  RefuseMissing(model, model.subgraphs[subgraph]);
  Graph graph;
  graph.model = &model;
  graph.subgraph = subgraph;
  Builder(model, graph).AddSubgraph(subgraph);
  CheckOrder(graph);
  CorrectTypes(graph);
  CheckOutputs(graph);
  return graph;
}

std::string Graph::Describe(const Node& node) const {
  std::string_view name;
  for (const int32_t v : node.outputs) {
    if (v >= 0 && name.empty()) name = values[static_cast<size_t>(v)].name;
  }
  return Concat(node.op->name, " #", node.index, " '", name, "'");
}

std::vector<int32_t> UseCounts(const Graph& graph) {
  std::vector<int32_t> uses(graph.values.size(), 0);
  for (const Node& node : graph.nodes) {
    for (const int32_t v : node.inputs) {
      if (v >= 0) ++uses[static_cast<size_t>(v)];
    }
  }
  for (const int32_t v : graph.outputs) ++uses[static_cast<size_t>(v)];
  return uses;
}

std::string Dump(const Graph& graph) {
  std::ostringstream out;
  const auto list = [&](const std::vector<int32_t>& values) {
    for (const int32_t v : values) {
      if (v < 0) {
        out << " -";
        continue;
      }
      const Value& value = graph.values[static_cast<size_t>(v)];
      out << " %" << v << ":" << TensorTypeName(value.type) << ToString(value.shape) << (value.constant != nullptr ? "=const" : "");
    }
  };
  out << "inputs";
  list(graph.inputs);
  for (const Node& node : graph.nodes) {
    out << "\n" << graph.Describe(node) << ":";
    list(node.inputs);
    out << " ->";
    list(node.outputs);
    if (node.activation != schema::Activation::kNone) out << " activation=" << static_cast<int>(node.activation);
    if (node.function != kernels::ActivationF32::kNone) out << " function=" << static_cast<int>(node.function);
    if (node.slope >= 0) out << " slope=#" << node.slope;
    if (node.residual >= 0) out << " residual=#" << node.residual;
    if (node.dilation != std::array<int32_t, 2>{1, 1}) out << " dilation=" << node.dilation[0] << "x" << node.dilation[1];
    if (node.padding) out << " padding=" << ToString(Shape(node.padding->begin(), node.padding->end()));
  }
  out << "\noutputs";
  list(graph.outputs);
  out << "\n";
  return out.str();
}

}  // namespace sigrun
