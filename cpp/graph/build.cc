#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "graph/graph.h"
#include "model/error.h"
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
      if (bytes > budget_) Fail(StatusCode::kInvalidArgument, "invalid model: subgraphs[", graph_.subgraph, "].tensors: too many constants are misaligned");
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
  }
  return value;
}

const OpDef* OpOf(const OperatorCode& code) {
  const OpDef* own = code.custom.empty() ? nullptr : ops::FindCustomOp(code.custom);
  return own != nullptr ? own : ops::FindOp(code.name());
}

void RefuseMissing(const FlatModel& model, const SubgraphInfo& subgraph) {
  std::set<std::string> missing;
  for (const OperatorInfo& op : subgraph.operators) {
    const OperatorCode& code = model.operator_codes[op.code];
    if (OpOf(code) == nullptr) missing.insert(Concat(code.name(), " (version ", code.version, ")"));
  }
  if (missing.empty()) return;
  std::string list;
  for (const std::string& name : missing) list += (list.empty() ? "" : ", ") + name;
  Fail(StatusCode::kUnimplemented, "the model uses operators that this build does not have: ", list);
}

Node MakeNode(const FlatModel& model, const OperatorInfo& info, int32_t index) {
  Node node;
  node.op = OpOf(model.operator_codes[info.code]);
  node.index = index;
  node.version = model.operator_codes[info.code].version;
  node.inputs = info.inputs;
  node.outputs = info.outputs;
  node.intermediates = info.intermediates;
  node.info = &info;
  if (node.op->activation_field >= 0) node.activation = static_cast<schema::Activation>(info.options.Scalar<int8_t>(node.op->activation_field));
  return node;
}

// Every value must be written once, before it is read.
void CheckOrder(Graph& graph) {
  const std::string where = Concat("subgraphs[", graph.subgraph, "]");
  std::vector<char> written(graph.values.size(), 0);
  for (size_t v = 0; v < graph.values.size(); ++v) written[v] = graph.values[v].constant != nullptr || graph.values[v].is_variable;
  for (const int32_t v : graph.inputs) {
    Value& value = graph.values[static_cast<size_t>(v)];
    if (value.constant != nullptr) Fail(StatusCode::kInvalidArgument, "invalid model: ", where, ".inputs: tensor ", v, " '", value.name, "' is a constant");
    written[static_cast<size_t>(v)] = 1;
  }
  for (const Node& node : graph.nodes) {
    const std::string path = Concat(where, ".operators[", node.index, "]");
    for (const int32_t v : node.inputs) {
      if (v < 0 || written[static_cast<size_t>(v)]) continue;
      Value& value = graph.values[static_cast<size_t>(v)];
      if (std::find(value.shape.begin(), value.shape.end(), 0) == value.shape.end()) {
        Fail(StatusCode::kInvalidArgument, "invalid model: ", path, ".inputs: tensor ", v, " '", value.name, "' is read before anything writes it");
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
      Fail(StatusCode::kInvalidArgument, "invalid model: ", where, ".outputs: nothing writes tensor ", v, " '", graph.values[static_cast<size_t>(v)].name, "'");
    }
  }
}

// The bytes of a sparse constant are fewer than its shape says: only DENSIFY knows how to read them.
void CheckSparse(const Graph& graph) {
  const std::vector<TensorInfo>& tensors = graph.model->subgraphs[graph.subgraph].tensors;
  const auto is_sparse = [&](int32_t v) { return v >= 0 && graph.values[static_cast<size_t>(v)].constant != nullptr && tensors[static_cast<size_t>(v)].sparsity; };
  for (const Node& node : graph.nodes) {
    if (std::string_view(node.op->name) == "DENSIFY") continue;
    const auto sparse = std::find_if(node.inputs.begin(), node.inputs.end(), is_sparse);
    if (sparse != node.inputs.end()) {
      Fail(StatusCode::kUnimplemented, graph.Describe(node), ": its input ", sparse - node.inputs.begin(), " is sparse");
    }
  }
  for (const int32_t v : graph.outputs) {
    if (is_sparse(v)) Fail(StatusCode::kUnimplemented, "invalid model: subgraphs[", graph.subgraph, "].outputs: tensor ", v, " is sparse");
  }
}

}  // namespace

Graph BuildGraph(const FlatModel& model, uint32_t subgraph) {
  const SubgraphInfo& info = model.subgraphs[subgraph];
  RefuseMissing(model, info);
  Graph graph;
  graph.model = &model;
  graph.subgraph = subgraph;
  AlignedCopies copies(model, graph);
  for (const TensorInfo& tensor : info.tensors) graph.values.push_back(MakeValue(model, tensor, copies));
  for (size_t i = 0; i < info.operators.size(); ++i) graph.nodes.push_back(MakeNode(model, info.operators[i], static_cast<int32_t>(i)));
  graph.inputs = info.inputs;
  graph.outputs = info.outputs;
  CheckOrder(graph);
  CheckSparse(graph);
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
    if (node.padding) out << " padding=" << ToString(Shape(node.padding->begin(), node.padding->end()));
  }
  out << "\noutputs";
  list(graph.outputs);
  out << "\n";
  return out.str();
}

}  // namespace sigrun
