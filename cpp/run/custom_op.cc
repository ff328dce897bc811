#include "sigrun/custom_op.h"

#include <utility>

#include "ops/op.h"

// Custom operators behind the contract of our own ones.
namespace sigrun {
namespace {

struct RegisteredOp : OpDef {
  std::string text;  // the name
  std::shared_ptr<const CustomOp> op;
};

using Tensors = std::vector<CustomTensor>;

struct Call {
  std::shared_ptr<const CustomOp> op;
  std::vector<uint8_t> options;
  Tensors inputs, outputs;  // without their memory
  std::vector<Slot> input_slots, output_slots;

  void operator()(RunContext& run) const noexcept {
    const Status status = Guard([&] {
      Tensors in = inputs, out = outputs;
      for (size_t i = 0; i < in.size(); ++i) Place(run, input_slots[i], in[i]);
      for (size_t o = 0; o < out.size(); ++o) Place(run, output_slots[o], out[o]);
      for (size_t o = 0; o < out.size(); ++o) {
        if (out[o].strings != nullptr) out[o].strings->assign(out[o].bytes, std::string());
      }
      const Status computed = op->Compute(in, out, options);
      if (!computed.ok()) throw Error(computed.code(), computed.message());
      for (size_t o = 0; o < out.size(); ++o) {
        const size_t wanted = outputs[o].bytes;
        if (out[o].strings != nullptr && out[o].strings->size() != wanted) {
          Fail(StatusCode::kDataError, "it made ", out[o].strings->size(), " strings for output ", o, ", expected ", wanted);
        }
      }
    });
    if (!status.ok()) run.Fail(status.message());
  }

  static void Place(const RunContext& run, Slot slot, CustomTensor& tensor) {
    if (!tensor.present) return;
    if (tensor.type == TensorType::kString) {
      tensor.strings = run.get<Strings>(slot);
    } else {
      tensor.data = run.get<std::byte>(slot);
    }
  }
};

// Bytes; of strings, how many.
size_t SizeOf(const CustomTensor& tensor, const std::string& what) {
  const int64_t elements = ElementCount(tensor.shape, what);
  return tensor.type == TensorType::kString ? static_cast<size_t>(elements) : BytesOf(tensor.type, elements);
}

Tensors Inputs(const Prepare& p) {
  Tensors inputs;
  for (int i = 0; i < p.inputs(); ++i) {
    CustomTensor tensor;
    tensor.present = p.has_input(i);
    if (tensor.present) {
      tensor.type = p.type(i);
      tensor.shape = p.shape(i);
      tensor.bytes = SizeOf(tensor, Concat("input ", i));
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

Tensors InferredOutputs(Prepare& p, const CustomOp& op, const Tensors& inputs) {
  Tensors known = inputs, outputs;
  for (int i = 0; i < p.inputs(); ++i) {
    CustomTensor& tensor = known[static_cast<size_t>(i)];
    if (tensor.present && tensor.type != TensorType::kString) tensor.data = const_cast<std::byte*>(p.constant(i));
  }
  for (int o = 0; o < p.outputs(); ++o) {
    CustomTensor tensor;
    tensor.type = p.output_type(o);
    tensor.shape = p.model_shape(o);
    outputs.push_back(std::move(tensor));
  }
  const Status status = op.InferShapes(known, outputs, p.custom_options());
  if (!status.ok()) p.Refuse(status.code(), status.message());
  p.Check(outputs.size() == static_cast<size_t>(p.outputs()), "it set ", outputs.size(), " shapes for ", p.outputs(), " outputs");
  for (int o = 0; o < p.outputs(); ++o) {
    CustomTensor& tensor = outputs[static_cast<size_t>(o)];
    for (const int32_t extent : tensor.shape) p.Check(extent >= 0, "it set the shape ", ToString(tensor.shape), " for output ", o);
    tensor.bytes = SizeOf(tensor, Concat("output ", o));
  }
  return outputs;
}

void PrepareRegistered(Prepare& p) {
  const auto& registered = static_cast<const RegisteredOp&>(*p.node().op);
  Call call;
  call.op = registered.op;
  call.options.assign(p.custom_options().begin(), p.custom_options().end());
  call.inputs = Inputs(p);
  call.outputs = InferredOutputs(p, *registered.op, call.inputs);
  for (int o = 0; o < p.outputs(); ++o) p.SetShape(o, call.outputs[static_cast<size_t>(o)].shape);
  for (int i = 0; i < p.inputs(); ++i) call.input_slots.push_back(p.has_input(i) ? p.in(i) : Slot{});
  for (int o = 0; o < p.outputs(); ++o) call.output_slots.push_back(p.out(o));
  p.Emit(std::move(call));
}

}  // namespace

CustomOp::~CustomOp() = default;

Status CustomOp::InferShapes(std::span<const CustomTensor> inputs, std::span<CustomTensor> outputs, std::span<const uint8_t>) const {
  for (CustomTensor& output : outputs) {
    for (size_t d = 0; d < output.shape.size(); ++d) {
      if (output.shape[d] >= 0) continue;
      const bool known = !inputs.empty() && inputs[0].present && d < inputs[0].shape.size();
      if (!known) return Status(StatusCode::kInvalidArgument, "the model does not fix its output's shape " + ToString(output.shape));
      output.shape[d] = inputs[0].shape[d];
    }
  }
  return Status();
}

Status RegisterOp(const std::string& name, std::shared_ptr<const CustomOp> op) {
  if (name.empty() || op == nullptr) return Status(StatusCode::kInvalidArgument, "a custom operator needs a name and an implementation");
  return Guard([&] {
    auto registered = std::make_shared<RegisteredOp>();
    registered->text = name;
    registered->op = std::move(op);
    registered->name = registered->text.c_str();
    registered->prepare = PrepareRegistered;
    registered->traits = kImpure;
    ops::RegisterCustomOp(std::move(registered));
  });
}

}  // namespace sigrun
