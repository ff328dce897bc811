#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model/error.h"
#include "plan/plan.h"
#include "run/model_impl.h"
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
    const auto graph = model.impl().graph(subgraph, sigrun::kernels::Best(), false);
    std::vector<sigrun::Shape> shapes;
    for (const int32_t v : graph->inputs) shapes.push_back(model.tensor_description(subgraph, static_cast<size_t>(v)).shape);
    const auto graph_of = [&](uint32_t other) { return model.impl().graph(other, sigrun::kernels::Best(), false); };
    const auto plan = sigrun::MakePlan(graph, shapes, {&sigrun::kernels::Best(), &model.impl().packed(), kWorkers, graph_of});
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

void Fill(sigrun::Tensor* tensor) {
  if (tensor == nullptr || tensor->is_constant()) return;
  if (tensor->data() != nullptr) std::memset(tensor->data(), 0, tensor->bytes());
  const size_t bytes = static_cast<size_t>(sigrun::TensorTypeBits(tensor->type())) / 8;
  if (tensor->data() != nullptr && bytes > 0) {
    for (size_t at = 0; at < tensor->bytes(); at += bytes) tensor->data_as<char>()[at] = 1;
  }
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

// Nobody can say whether a loop ends: models that have one are planned only.
bool HasLoop(const Model& model) {
  const auto& codes = model.impl().flat->operator_codes;
  return std::any_of(codes.begin(), codes.end(), [](const auto& code) { return code.name().find("WHILE") != std::string::npos; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::shared_ptr<const Model> model = Model::BuildFromBuffer(data, size);
  if (model == nullptr) return 0;
  if (HasLoop(*model)) {
    for (size_t subgraph = 0; subgraph < model->subgraphs_size(); ++subgraph) IsSmall(*model, static_cast<uint32_t>(subgraph));
    return 0;
  }
  const auto interpreter = sigrun::Interpreter::Create(model, {kWorkers});
  if (IsSmall(*model, 0)) RunSubgraph0(*interpreter);
  for (const sigrun::Signature& signature : model->signatures()) {
    if (IsSmall(*model, signature.subgraph)) RunSignature(*interpreter, signature);
  }
  return 0;
}
