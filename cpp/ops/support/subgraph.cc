#include "ops/support/subgraph.h"

#include <algorithm>
#include <cstring>

#include "plan/string_buffer.h"
#include "run/runner.h"

namespace sigrun::ops {
namespace {

// The slots that show `value`, which is an input or output of the plan's graph.
void AddPatches(const Plan& plan, int32_t value, size_t position, std::vector<Patch>& patches) {
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const SlotSource& source = plan.slots[i];
    const bool shows = source.kind == SlotSource::kBoundary  ? source.index == value
                       : source.kind == SlotSource::kStrings ? plan.strings[static_cast<size_t>(source.index)].value == value
                                                             : false;
    if (shows) patches.push_back({static_cast<int32_t>(i), static_cast<int32_t>(position), source.offset});
  }
}

size_t PositionOf(const std::vector<int32_t>& values, int32_t value) {
  return static_cast<size_t>(std::find(values.begin(), values.end(), value) - values.begin());
}

}  // namespace

Interface InterfaceOf(const Plan& plan) {
  const Graph& graph = *plan.graph;
  Interface face;
  for (size_t i = 0; i < graph.inputs.size(); ++i) AddPatches(plan, graph.inputs[i], i, face.inputs);
  for (size_t o = 0; o < graph.outputs.size(); ++o) {
    const int32_t v = graph.outputs[o];
    const Value& value = graph.values[static_cast<size_t>(v)];
    OutputSource source;
    const int32_t slot = plan.slot_of[static_cast<size_t>(v)];
    const int32_t memory =
        slot >= 0 && plan.slots[static_cast<size_t>(slot)].kind == SlotSource::kBoundary ? plan.slots[static_cast<size_t>(slot)].index : v;
    if (const size_t input = PositionOf(graph.inputs, memory); input < graph.inputs.size()) {
      source = {OutputSource::kInput, static_cast<int32_t>(input), nullptr};
    } else if (const size_t earlier = PositionOf(graph.outputs, v); earlier < o) {
      source = {OutputSource::kOutput, static_cast<int32_t>(earlier), nullptr};
    } else if (value.type == TensorType::kString && value.constant != nullptr) {
      auto strings = std::make_shared<Strings>(ParseStrings({value.constant, value.constant_bytes}, Concat("tensor '", value.name, "'")));
      source = {OutputSource::kConstant, -1, reinterpret_cast<const std::byte*>(strings.get())};
      face.owners.push_back(std::move(strings));
    } else if (const std::byte* constant = plan.constants[static_cast<size_t>(v)]; constant != nullptr) {
      source = {OutputSource::kConstant, -1, constant};
    } else {
      AddPatches(plan, v, o, face.outputs);
    }
    face.sources.push_back(source);
  }
  return face;
}

void CheckSubgraph(const Prepare& p, uint32_t subgraph, int first) {
  const Graph& graph = p.graph_of(subgraph);
  const auto check = [&](const char* role, int i, int32_t value, TensorType given) {
    const TensorType wanted = graph.values[static_cast<size_t>(value)].type;
    p.Check(wanted == given, role, " ", i, " is ", TensorTypeName(given), ", in subgraphs[", subgraph, "] it is ", TensorTypeName(wanted));
  };
  const int inputs = static_cast<int>(graph.inputs.size()), outputs = static_cast<int>(graph.outputs.size());
  p.Check(p.inputs() - first == inputs, "it has ", p.inputs() - first, " inputs for subgraphs[", subgraph, "], which has ", inputs);
  p.Check(p.outputs() == outputs, "it has ", p.outputs(), " outputs for subgraphs[", subgraph, "], which has ", outputs);
  for (int i = 0; i < inputs; ++i) check("input", i + first, graph.inputs[static_cast<size_t>(i)], p.type(i + first));
  for (int o = 0; o < outputs; ++o) check("output", o, graph.outputs[static_cast<size_t>(o)], p.output_type(o));
}

std::vector<Shape> InputShapes(const Prepare& p, int first) {
  std::vector<Shape> shapes;
  for (int i = first; i < p.inputs(); ++i) shapes.push_back(p.shape(i));
  return shapes;
}

void CopyOperand(TensorType type, const std::byte* from, std::byte* to, size_t bytes) noexcept {
  if (type == TensorType::kString) {
    *reinterpret_cast<Strings*>(to) = *reinterpret_cast<const Strings*>(from);
  } else if (bytes > 0) {
    std::memcpy(to, from, bytes);
  }
}

void Feed(Runner& runner, const std::vector<Operand>& inputs) {
  const std::vector<int32_t>& values = runner.graph().inputs;
  for (size_t i = 0; i < values.size(); ++i) {
    if (inputs[i].data != nullptr) runner.ResizeInput(values[i], inputs[i].shape, false);
  }
  runner.AllocateTensors();
  for (size_t i = 0; i < values.size(); ++i) {
    if (inputs[i].data == nullptr) continue;
    Tensor& tensor = *runner.tensor(values[i]);
    if (tensor.shape() != inputs[i].shape) {
      Fail(StatusCode::kInvalidArgument, "input '", tensor.name(), "' is listed twice, and given the shapes ", ToString(inputs[i].shape),
           " and ", ToString(tensor.shape()));
    }
    std::byte* to = tensor.strings() != nullptr ? reinterpret_cast<std::byte*>(tensor.strings()) : tensor.data_as<std::byte>();
    CopyOperand(tensor.type(), inputs[i].data, to, tensor.bytes());
  }
}

void RunFed(Runner& runner) {
  if (const Status status = runner.Invoke(); !status.ok()) throw Error(status.code(), status.message());
}

void TakeOutput(Runner& runner, size_t output, LateValue& to) {
  const Tensor& tensor = *runner.tensor(runner.graph().outputs[output]);
  if (tensor.strings() != nullptr) {
    to.shape = tensor.shape();
    to.strings = *tensor.strings();
  } else {
    std::byte* data = to.Resize(tensor.shape(), tensor.bytes());
    if (tensor.bytes() > 0) std::memcpy(data, tensor.data(), tensor.bytes());
  }
}

}  // namespace sigrun::ops
