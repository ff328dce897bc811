#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model/error.h"
#include "plan/plan.h"
#include "run/model_impl.h"
#include "sigrun/interpreter.h"

// Whatever the bytes are: loading, listing, planning and running them ends in results or in a Status. tests/fuzz/README.md says how to run
// it.
namespace {

using sigrun::Model;

// A small file can ask for much memory; that is no fault of the reader. So it is planned first, and run if the plan is small.
constexpr size_t kMostBytes = size_t{64} << 20;
constexpr int kWorkers = 2;

using Shapes = std::vector<sigrun::Shape>;

Shapes DeclaredShapes(const Model& model, uint32_t subgraph) {
  Shapes shapes;
  for (const int32_t v : model.inputs(subgraph)) shapes.push_back(model.tensor_description(subgraph, static_cast<size_t>(v)).shape);
  return shapes;
}

bool IsSmall(const Model& model, uint32_t subgraph, const Shapes& shapes) {
  bool small = false;
  static_cast<void>(sigrun::Guard([&] {
    const auto graph = model.impl().graph(subgraph, sigrun::kernels::Best(), false);
    const auto graph_of = [&](uint32_t other) { return model.impl().graph(other, sigrun::kernels::Best(), false); };
    sigrun::PlanContext context{
        .kernels = &sigrun::kernels::Best(), .packed = &model.impl().packed(), .workers = kWorkers, .graph_of = graph_of};
    const auto plan = sigrun::MakePlan(graph, shapes, context);
    size_t bytes = plan->arena_bytes;
    for (const auto& strings : plan->strings) bytes += static_cast<size_t>(strings.elements) * sizeof(std::string);
    constexpr size_t kMostOfAnElement = 32;
    for (const auto* values : {&graph->inputs, &graph->outputs}) {
      for (const int32_t v : *values) {
        if (!plan->has_shape[static_cast<size_t>(v)]) continue;
        bytes += kMostOfAnElement * static_cast<size_t>(sigrun::ElementCount(plan->shapes[static_cast<size_t>(v)], "")) + 64;
      }
    }
    small = bytes <= kMostBytes;
  }));
  return small;
}

// What calls are made of: the same for the same file.
class Dice {
 public:
  Dice(const uint8_t* data, size_t size) {
    for (size_t i = 0; i < size; ++i) state_ = (state_ ^ data[i]) * 0x100000001b3u;
  }
  uint32_t Below(uint32_t end) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>((state_ >> 33) % end);
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325u;
};

enum class Content : uint32_t { kOnes, kSmall, kAnything };

void Fill(sigrun::Tensor* tensor, Content content, Dice& dice) {
  if (tensor == nullptr || tensor->is_constant()) return;
  if (tensor->strings() != nullptr) return tensor->strings()->assign(tensor->strings()->size(), content == Content::kAnything ? "" : "1.5");
  if (tensor->data() == nullptr) return;
  std::memset(tensor->data(), 0, tensor->bytes());
  const size_t bytes = std::max<size_t>(1, static_cast<size_t>(sigrun::TensorTypeBits(tensor->type())) / 8);
  for (size_t at = 0; at + bytes <= tensor->bytes(); at += bytes) {
    char* element = tensor->data_as<char>() + at;
    if (content == Content::kAnything) {
      for (size_t i = 0; i < bytes; ++i) element[i] = static_cast<char>(dice.Below(256));
    } else if (tensor->type() == sigrun::TensorType::kFloat32) {
      const float value = content == Content::kOnes ? 1.0f : static_cast<float>(dice.Below(64)) / 16.0f - 2.0f;
      std::memcpy(element, &value, sizeof(value));
    } else {
      *element = static_cast<char>(content == Content::kOnes ? 1 : dice.Below(4));
    }
  }
}

Shapes Changed(Shapes shapes, Dice& dice) {
  for (sigrun::Shape& shape : shapes) {
    if (shape.empty() || dice.Below(2) == 0) continue;
    int32_t& dimension = shape[dice.Below(static_cast<uint32_t>(shape.size()))];
    switch (dice.Below(4)) {
      case 0: dimension = static_cast<int32_t>(dice.Below(6)); break;
      case 1: dimension = std::min(dimension, 1 << 20) * 2; break;
      case 2: dimension = std::min(dimension, 1 << 20) + 1; break;
      default: shape.insert(shape.begin(), 1);
    }
  }
  return shapes;
}

// As the file declares it, then in other shapes with other content, then as at first.
template <class Resize, class Run>
void Call(const Model& model, uint32_t subgraph, Dice& dice, Resize resize, Run run) {
  const Shapes declared = DeclaredShapes(model, subgraph);
  if (IsSmall(model, subgraph, declared)) run(Content::kOnes);
  for (int i = 0; i < 3; ++i) {
    const Shapes shapes = i == 2 ? declared : Changed(declared, dice);
    if (!IsSmall(model, subgraph, shapes)) continue;
    for (size_t k = 0; k < shapes.size(); ++k) resize(k, shapes[k]);
    run(static_cast<Content>(1 + dice.Below(2)));
  }
}

void RunSubgraph0(sigrun::Interpreter& interpreter, Dice& dice) {
  const auto resize = [&](size_t k, const sigrun::Shape& shape) {
    static_cast<void>(interpreter.ResizeInputTensor(interpreter.inputs()[k], shape));
  };
  Call(interpreter.model(), 0, dice, resize, [&](Content content) {
    if (!interpreter.AllocateTensors().ok()) return;
    for (const int32_t v : interpreter.inputs()) Fill(interpreter.tensor(v), content, dice);
    static_cast<void>(interpreter.Invoke());
  });
}

void RunSignature(sigrun::Interpreter& interpreter, const sigrun::Signature& signature, Dice& dice) {
  const auto runner = interpreter.GetSignatureRunner(signature.key.c_str());
  if (runner == nullptr) return;
  const std::vector<int32_t>& inputs = interpreter.model().inputs(signature.subgraph);
  const auto resize = [&](size_t k, const sigrun::Shape& shape) {
    for (const auto& [name, index] : signature.inputs) {
      if (index == inputs[k]) static_cast<void>(runner->ResizeInputTensor(name.c_str(), shape));
    }
  };
  Call(interpreter.model(), signature.subgraph, dice, resize, [&](Content content) {
    if (!runner->AllocateTensors().ok()) return;
    for (const std::string& name : runner->input_names()) Fill(runner->input_tensor(name.c_str()), content, dice);
    static_cast<void>(runner->Invoke({.timeout_seconds = 2}));  // nobody can say whether a loop ends
  });
}

bool HasLoop(const Model& model) {
  const auto& codes = model.impl().flat->operator_codes;
  return std::any_of(codes.begin(), codes.end(), [](const auto& code) { return code.name().find("WHILE") != std::string::npos; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::shared_ptr<const Model> model = Model::BuildFromBuffer(data, size);
  if (model == nullptr) return 0;
  Dice dice(data, size);
  const auto precision = static_cast<sigrun::Precision>(dice.Below(3));
  const auto interpreter = sigrun::Interpreter::Create(model, {.num_threads = kWorkers, .precision = precision});
  if (interpreter == nullptr) return 0;
  if (!HasLoop(*model)) RunSubgraph0(*interpreter, dice);
  for (const sigrun::Signature& signature : model->signatures()) RunSignature(*interpreter, signature, dice);
  return 0;
}
