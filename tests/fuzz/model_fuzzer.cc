#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model/error.h"
#include "run/model_impl.h"
#include "plan/plan.h"
#include "sigrun/interpreter.h"

// Whatever the bytes are: loading, listing, planning and running them ends in results or in a Status. tests/fuzz/README.md says how to run it.
namespace {

using sigrun::Model;

// A small file can ask for much memory; that is no fault of the reader. So it is planned first, and run if the plan is small.
constexpr size_t kMostBytes = size_t{64} << 20;
constexpr int kWorkers = 2;

bool IsSmall(const Model& model, uint32_t subgraph) {
  bool small = false;
  static_cast<void>(sigrun::Guard([&] {
    const auto graph = model.impl().graph(subgraph);
    std::vector<sigrun::Shape> shapes;
    for (const int32_t v : graph->inputs) shapes.push_back(model.tensor_description(subgraph, static_cast<size_t>(v)).shape);
    const auto plan = sigrun::MakePlan(graph, shapes, sigrun::kernels::Best(), model.impl().packed(), kWorkers);
    size_t bytes = plan->arena_bytes;
    for (const auto& strings : plan->strings) bytes += static_cast<size_t>(strings.elements) * sizeof(std::string);
    for (const auto* values : {&graph->inputs, &graph->outputs}) {
      for (const int32_t v : *values) {
        bytes += sigrun::BytesOf(graph->values[static_cast<size_t>(v)].type, sigrun::ElementCount(plan->shapes[static_cast<size_t>(v)], "")) + 64;
      }
    }
    small = bytes <= kMostBytes;
  }));
  return small;
}

void Fill(sigrun::Tensor* tensor) {
  if (tensor == nullptr || tensor->is_constant()) return;
  if (tensor->data() != nullptr) std::memset(tensor->data(), 1, tensor->bytes());
  if (tensor->strings() != nullptr) tensor->strings()->assign(tensor->strings()->size(), "1.5");
}

void RunSubgraph0(sigrun::Interpreter& interpreter) {
  if (!interpreter.AllocateTensors().ok()) return;
  for (const int32_t v : interpreter.inputs()) Fill(interpreter.tensor(v));
  static_cast<void>(interpreter.Invoke());
}

void RunSignature(sigrun::Interpreter& interpreter, const sigrun::Signature& signature) {
  const auto runner = interpreter.GetSignatureRunner(signature.key.c_str());
  if (runner == nullptr || !runner->AllocateTensors().ok()) return;
  for (const std::string& name : runner->input_names()) Fill(runner->input_tensor(name.c_str()));
  static_cast<void>(runner->Invoke());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::shared_ptr<const Model> model = Model::BuildFromBuffer(data, size);
  if (model == nullptr) return 0;
  const auto interpreter = sigrun::Interpreter::Create(model, {kWorkers});
  if (IsSmall(*model, 0)) RunSubgraph0(*interpreter);
  for (const sigrun::Signature& signature : model->signatures()) {
    if (IsSmall(*model, signature.subgraph)) RunSignature(*interpreter, signature);
  }
  return 0;
}
