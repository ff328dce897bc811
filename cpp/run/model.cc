#include <algorithm>

#include "model/error.h"
#include "model/mapped_file.h"
#include "run/model_impl.h"

namespace sigrun {
namespace {

Signature ToPublic(const SignatureInfo& info) { return {info.key, info.subgraph, info.inputs, info.outputs}; }

std::unique_ptr<Model::Impl> MakeImpl(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner) {
  auto impl = std::make_unique<Model::Impl>();
  impl->owner = std::move(owner);
  impl->bytes = bytes;
  impl->flat = ParseModel(bytes);
  const FlatModel& flat = *impl->flat;
  for (const SignatureInfo& info : flat.signatures) impl->signatures.push_back(ToPublic(info));
  impl->default_signature = ToPublic(DefaultSignature(flat));
  impl->description = flat.description;
  for (const auto& [name, buffer] : flat.metadata) {
    const auto data = flat.buffers[buffer];
    impl->metadata.emplace_back(name, std::string_view(reinterpret_cast<const char*>(data.data()), data.size()));
  }
  return impl;
}

const SubgraphInfo& SubgraphAt(const Model& model, size_t subgraph) { return model.impl().flat->subgraphs.at(subgraph); }

void Report(Status* to, Status status) {
  if (to != nullptr) *to = std::move(status);
}

}  // namespace

namespace {

void OutputEverything(Graph& graph) {
  for (const Node& node : graph.nodes) {
    for (const int32_t v : node.outputs) {
      const bool known = v < 0 || std::find(graph.outputs.begin(), graph.outputs.end(), v) != graph.outputs.end();
      if (!known) graph.outputs.push_back(v);
    }
  }
}

}  // namespace

std::shared_ptr<const Graph> Model::Impl::graph(uint32_t subgraph, const kernels::Kernels& kernels, bool preserve_all,
                                                passes::Reliance reliance) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const Graph>& cached = graphs_[{subgraph, &kernels, preserve_all, reliance}];
  if (cached == nullptr) {
    auto graph = std::make_shared<Graph>(BuildGraph(*flat, subgraph));
    if (preserve_all) OutputEverything(*graph);
    passes::Run(*graph, kernels, reliance);
    // Folded constants are read once: what they were folded from need not stay in memory.
    if (file != nullptr && !graph->folded.empty()) file->Release(file->bytes());
    cached = std::move(graph);
  }
  return cached;
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

std::shared_ptr<const Model> Model::BuildFromFile(const char* path, Status* status) {
  std::shared_ptr<const Model> model;
  Report(status, Guard([&] {
           if (path == nullptr) Fail(StatusCode::kInvalidArgument, "the path is null");
           auto file = std::make_shared<MappedFile>(path);
           const auto bytes = file->bytes();
           auto impl = MakeImpl(bytes, file);
           impl->packed().SetFile(file);
           impl->file = std::move(file);
           model.reset(new Model(std::move(impl)));
         }));
  return model;
}

std::shared_ptr<const Model> Model::BuildFromBuffer(const void* data, size_t size, std::shared_ptr<const void> owner, Status* status) {
  std::shared_ptr<const Model> model;
  Report(status, Guard([&] {
           if (data == nullptr) Fail(StatusCode::kInvalidArgument, "the model's bytes are null");
           model.reset(new Model(MakeImpl({static_cast<const uint8_t*>(data), size}, std::move(owner))));
         }));
  return model;
}

const std::vector<Signature>& Model::signatures() const { return impl_->signatures; }
const Signature& Model::default_signature() const { return impl_->default_signature; }
const std::string& Model::description() const { return impl_->description; }
const std::vector<std::pair<std::string, std::string_view>>& Model::metadata() const { return impl_->metadata; }

size_t Model::subgraphs_size() const { return impl_->flat->subgraphs.size(); }
size_t Model::tensors_size(size_t subgraph) const { return SubgraphAt(*this, subgraph).tensors.size(); }
const std::vector<int32_t>& Model::inputs(size_t subgraph) const { return SubgraphAt(*this, subgraph).inputs; }
const std::vector<int32_t>& Model::outputs(size_t subgraph) const { return SubgraphAt(*this, subgraph).outputs; }

TensorDescription Model::tensor_description(size_t subgraph, size_t index) const {
  const TensorInfo& info = SubgraphAt(*this, subgraph).tensors.at(index);
  TensorDescription d;
  d.name = info.name;
  d.index = static_cast<int32_t>(index);
  d.type = info.type;
  d.shape = info.shape;
  d.shape_signature = info.shape_signature;
  d.is_variable = info.is_variable;
  d.quantization = info.quantization;
  return d;
}

}  // namespace sigrun
