#include "run/runner.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "model/error.h"
#include "plan/string_buffer.h"
#include "run/model_impl.h"

namespace sigrun {

// The runner's own memory for one plan. Inputs and outputs stand outside the arena, so that a view of one is not moved when another changes.
struct Runner::Memory {
  std::shared_ptr<AlignedBytes> arena;
  std::vector<std::shared_ptr<AlignedBytes>> boundary;  // by tensor index
  std::vector<std::unique_ptr<Strings>> strings;
  std::vector<std::byte*> slots;
};

Runner::Runner(std::shared_ptr<const Model> model, uint32_t subgraph, std::shared_ptr<ThreadPool> pool)
    : model_(std::move(model)), graph_(model_->impl().graph(subgraph)), pool_(std::move(pool)), memory_(std::make_unique<Memory>()) {
  const SubgraphInfo& info = model_->impl().flat->subgraphs[subgraph];
  tensors_.resize(info.tensors.size());
  memory_->boundary.resize(info.tensors.size());
  for (const int32_t v : graph_->inputs) {
    Shape shape = info.tensors[static_cast<size_t>(v)].shape;
    for (int32_t& d : shape) d = std::max(d, 0);
    input_shapes_.push_back(std::move(shape));
  }
  std::set<int32_t> visible(graph_->inputs.begin(), graph_->inputs.end());
  visible.insert(graph_->outputs.begin(), graph_->outputs.end());
  for (size_t i = 0; i < info.tensors.size(); ++i) {
    const TensorInfo& source = info.tensors[i];
    const bool constant = !model_->impl().flat->buffers[source.buffer].empty() && !source.is_variable && !source.sparsity;
    if (!constant && visible.count(static_cast<int32_t>(i)) == 0) continue;
    auto tensor = std::make_unique<Tensor>();
    tensor->name_ = source.name;
    tensor->index_ = static_cast<int32_t>(i);
    tensor->type_ = source.type;
    tensor->shape_ = source.shape;
    tensor->quantization_ = &source.quantization;
    tensor->constant_ = constant;
    if (constant && source.type != TensorType::kString) {
      const auto bytes = model_->impl().flat->buffers[source.buffer];
      tensor->data_ = const_cast<uint8_t*>(bytes.data());
      tensor->bytes_ = BytesOf(source.type, ElementCount(source.shape, tensor->name_));
      tensor->memory_ = model_;
    }
    tensors_[i] = std::move(tensor);
  }
}

Runner::~Runner() = default;

Tensor* Runner::tensor(int32_t index) {
  return index >= 0 && static_cast<size_t>(index) < tensors_.size() ? tensors_[static_cast<size_t>(index)].get() : nullptr;
}

Shape Runner::shape(int32_t index) const {
  const size_t at = static_cast<size_t>(index);
  const auto input = std::find(graph_->inputs.begin(), graph_->inputs.end(), index);
  if (input != graph_->inputs.end()) return input_shapes_[static_cast<size_t>(input - graph_->inputs.begin())];
  if (tensors_[at] != nullptr) return tensors_[at]->shape();
  if (plan_ != nullptr && !plan_->shapes[at].empty()) return plan_->shapes[at];
  return model_->impl().flat->subgraphs[graph_->subgraph].tensors[at].shape;
}

void Runner::ResizeInput(int32_t index, const Shape& shape, bool strict) {
  const std::lock_guard lock(mutex_);
  const auto at = std::find(graph_->inputs.begin(), graph_->inputs.end(), index);
  if (at == graph_->inputs.end()) Fail(StatusCode::kInvalidArgument, "tensor ", index, " is not an input");
  const size_t position = static_cast<size_t>(at - graph_->inputs.begin());
  const TensorInfo& info = model_->impl().flat->subgraphs[graph_->subgraph].tensors[static_cast<size_t>(index)];
  ElementCount(shape, Concat("input '", info.name, "'"));
  if (strict) {
    const Shape& known = info.shape_signature;
    bool fits = known.size() == shape.size();
    for (size_t d = 0; fits && d < shape.size(); ++d) fits = known[d] == -1 || known[d] == shape[d];
    if (!fits) {
      Fail(StatusCode::kFailedPrecondition, "input '", info.name, "' has the shape signature ", ToString(known), ", it cannot be resized to ", ToString(shape),
           ": ResizeInputTensorStrict only allows mutating unknown dimensions identified by -1.");
    }
  }
  if (input_shapes_[position] == shape) return;
  input_shapes_[position] = shape;
  resized_ = true;
}

void Runner::AllocateTensors() {
  const std::lock_guard lock(mutex_);
  if (plan_ != nullptr && (!resized_ || plan_->input_shapes == input_shapes_)) {
    resized_ = false;
    return;
  }
  std::shared_ptr<const Plan> plan = plans_.Find(input_shapes_);
  const bool cached = plan != nullptr;
  if (!cached) plan = MakePlan(graph_, input_shapes_, kernels::Best(), model_->impl().packed(), pool_->threads());
  RefuseMovingHeldTensors(*plan);
  Bind(plan);
  if (!cached) plans_.Add(std::move(plan));
  resized_ = false;
}

void Runner::RefuseMovingHeldTensors(const Plan& plan) const {
  std::string held;
  for (const auto& tensor : tensors_) {
    if (tensor == nullptr || tensor->constant_ || tensor->lease_.expired()) continue;
    if (tensor->shape_ != plan.shapes[static_cast<size_t>(tensor->index_)]) held += (held.empty() ? "'" : ", '") + tensor->name_ + "'";
  }
  if (!held.empty()) {
    Fail(StatusCode::kFailedPrecondition, "There is at least 1 reference to internal data in the form of a view of ", held,
         ", which the new shapes would move. Release the views first.");
  }
}

// Takes memory for the plan, all of it before anything is changed.
void Runner::Bind(std::shared_ptr<const Plan> plan) {
  Memory fresh;
  fresh.arena = memory_->arena != nullptr && memory_->arena->size() >= plan->arena_bytes ? memory_->arena : std::make_shared<AlignedBytes>(plan->arena_bytes);
  fresh.boundary = memory_->boundary;
  fresh.slots.resize(plan->slots.size());
  std::set<int32_t> boundary(graph_->inputs.begin(), graph_->inputs.end());
  boundary.insert(graph_->outputs.begin(), graph_->outputs.end());
  for (const int32_t v : boundary) {
    const size_t at = static_cast<size_t>(v);
    if (plan->constants[at] != nullptr || tensors_[at]->type_ == TensorType::kString) continue;
    const size_t bytes = BytesOf(tensors_[at]->type_, ElementCount(plan->shapes[at], tensors_[at]->name_));
    if (fresh.boundary[at] == nullptr || fresh.boundary[at]->size() < bytes) {
      fresh.boundary[at] = std::make_shared<AlignedBytes>(bytes);
      std::memset(fresh.boundary[at]->data(), 0, bytes);
    }
  }
  std::map<int32_t, Strings*> strings_of;  // graph inputs and outputs
  for (const Plan::StringsOf& s : plan->strings) {
    fresh.strings.push_back(std::make_unique<Strings>(static_cast<size_t>(s.elements)));
    if (s.value >= 0) strings_of[s.value] = fresh.strings.back().get();
  }
  for (const int32_t v : boundary) {
    const Value& value = graph_->values[static_cast<size_t>(v)];
    if (value.type != TensorType::kString || strings_of.count(v) != 0) continue;
    // No step reads or writes it, but the caller may.
    const auto count = static_cast<size_t>(ElementCount(plan->shapes[static_cast<size_t>(v)], Concat("tensor '", value.name, "'")));
    Strings all(count);
    if (value.constant != nullptr) all = ParseStrings({value.constant, value.constant_bytes}, Concat("tensor '", value.name, "'"));
    all.resize(count);
    fresh.strings.push_back(std::make_unique<Strings>(std::move(all)));
    strings_of[v] = fresh.strings.back().get();
  }
  for (size_t i = 0; i < plan->slots.size(); ++i) {
    const SlotSource& source = plan->slots[i];
    switch (source.kind) {
      case SlotSource::kArena: fresh.slots[i] = fresh.arena->data() + source.offset; break;
      case SlotSource::kConstant: fresh.slots[i] = const_cast<std::byte*>(source.pointer); break;
      case SlotSource::kBoundary: fresh.slots[i] = fresh.boundary[static_cast<size_t>(source.index)]->data(); break;
      case SlotSource::kStrings: fresh.slots[i] = reinterpret_cast<std::byte*>(fresh.strings[static_cast<size_t>(source.index)].get()); break;
    }
  }
  for (const int32_t v : boundary) {
    const size_t at = static_cast<size_t>(v);
    Tensor& tensor = *tensors_[at];
    tensor.shape_ = plan->shapes[at];
    tensor.bytes_ = BytesOf(tensor.type_, ElementCount(tensor.shape_, tensor.name_));
    if (tensor.type_ == TensorType::kString) {
      tensor.strings_ = strings_of.at(v);
      continue;
    }
    tensor.constant_ = plan->constants[at] != nullptr;
    if (tensor.constant_) {
      tensor.data_ = const_cast<std::byte*>(plan->constants[at]);
      tensor.memory_ = plan;
    } else {
      tensor.data_ = fresh.boundary[at]->data();
      tensor.memory_ = fresh.boundary[at];
    }
  }
  *memory_ = std::move(fresh);
  plan_ = std::move(plan);
}

Status Runner::Invoke() noexcept {
  const std::lock_guard lock(mutex_);
  if (!allocated()) {
    return Status(StatusCode::kFailedPrecondition,
                  plan_ == nullptr ? "Invoke called on model that is not ready. Call AllocateTensors first."
                                   : "Invoke called on model that is not ready. An input was resized: call AllocateTensors again.");
  }
  RunContext context(memory_->slots.data(), pool_->threads() > 1 ? pool_.get() : nullptr);
  for (const Step& step : plan_->steps) {
    step.run(step.self, context);
    if (context.failed()) [[unlikely]] {
      return Guard([&] { Fail(StatusCode::kDataError, graph_->Describe(*static_cast<const Node*>(step.node)), ": ", context.message()); });
    }
  }
  return Status();
}

}  // namespace sigrun
