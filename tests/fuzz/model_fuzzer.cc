#include <cstddef>
#include <cstdint>

#include "sigrun/interpreter.h"

// Whatever the bytes are: loading, listing, planning and running them ends in results or in a Status. Start it with the models of
// tests/models as corpus:
//     sigrun_fuzz_model -max_len=65536 -timeout=20 -rss_limit_mb=4096 CORPUS tests/models
namespace {

// A small file can ask for much memory and work; that is no fault of the reader.
constexpr size_t kMostElements = size_t{1} << 20;

bool IsSmall(const sigrun::Model& model, size_t subgraph) {
  for (size_t i = 0; i < model.tensors_size(subgraph); ++i) {
    size_t elements = 1;
    for (const int32_t d : model.tensor_description(subgraph, i).shape) {
      if (d > 0 && static_cast<size_t>(d) > kMostElements / elements) return false;
      if (d > 0) elements *= static_cast<size_t>(d);
    }
  }
  return true;
}

void RunAll(sigrun::Interpreter& interpreter) {
  for (const std::string* key : interpreter.signature_keys()) {
    const auto runner = interpreter.GetSignatureRunner(key->c_str());
    if (runner == nullptr || !runner->AllocateTensors().ok()) continue;
    static_cast<void>(runner->Invoke());
  }
  if (interpreter.AllocateTensors().ok()) static_cast<void>(interpreter.Invoke());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::shared_ptr<const sigrun::Model> model = sigrun::Model::BuildFromBuffer(data, size);
  if (model == nullptr) return 0;
  for (size_t subgraph = 0; subgraph < model->subgraphs_size(); ++subgraph) {
    if (!IsSmall(*model, subgraph)) return 0;
  }
  RunAll(*sigrun::Interpreter::Create(model));
  return 0;
}
