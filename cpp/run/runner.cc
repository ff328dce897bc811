#include "run/runner.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "model/error.h"
#include "plan/string_buffer.h"
#include "run/model_impl.h"

namespace sigrun {

namespace {

constexpr int kMaxDepth = 16;  // of subgraphs that run subgraphs

}  // namespace

Runner::Runner(std::shared_ptr<const Model> model, uint32_t subgraph, std::shared_ptr<ThreadPool> pool, Precision precision, int depth)
    : model_(std::move(model)), pool_(std::move(pool)), precision_(precision), depth_(depth) {
  if (depth > kMaxDepth) Fail(StatusCode::kInvalidArgument, "invalid model: subgraphs[", subgraph, "] is nested more than ", kMaxDepth, " deep");
  graph_ = model_->impl().graph(subgraph);
  const SubgraphInfo& info = model_->impl().flat->subgraphs[subgraph];
  tensors_.resize(info.tensors.size());
  boundary_.resize(info.tensors.size());
  for (const int32_t v : graph_->inputs) {
    Shape shape = info.tensors[static_cast<size_t>(v)].shape;
    for (int32_t& d : shape) d = std::max(d, 0);
    input_shapes_.push_back(std::move(shape));
  }
  std::set<int32_t> visible(graph_->inputs.begin(), graph_->inputs.end());
  visible.insert(graph_->outputs.begin(), graph_->outputs.end());
  boundary_ids_.assign(visible.begin(), visible.end());
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
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
    if (part->plan->has_shape[at]) return part->plan->shapes[at];
  }
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

PlanContext Runner::Context(bool running) {
  PlanContext context{.kernels = &kernels::Best(),
                      .packed = &model_->impl().packed(),
                      .workers = pool_->threads(),
                      .precision = precision_,
                      .graph_of = nullptr};
  context.graph_of = [this](uint32_t subgraph) { return model_->impl().graph(subgraph); };
  if (running) {
    context.make_runner = [this](uint32_t subgraph) { return std::make_shared<Runner>(model_, subgraph, pool_, precision_, depth_ + 1); };
  }
  return context;
}

void Runner::AllocateTensors() {
  const std::lock_guard lock(mutex_);
  if (!parts_.empty() && (!resized_ || parts_[0].plan->input_shapes == input_shapes_)) {
    resized_ = false;
    return;
  }
  std::shared_ptr<const Plan> plan = plans_.Find(input_shapes_);
  const bool cached = plan != nullptr;
  if (!cached) plan = MakePlan(graph_, input_shapes_, Context(false));
  RefuseMovingHeldTensors(*plan);
  // Memory is taken before anything is changed.
  std::vector<Boundary> boundary = boundary_;
  Part part = Bind(plan, parts_.empty() ? nullptr : &parts_[0], Prior{}, boundary);
  boundary_ = std::move(boundary);
  parts_.clear();
  parts_.push_back(std::move(part));
  Show(*plan, plan);
  if (!cached) plans_.Add(std::move(plan));
  resized_ = false;
}

void Runner::RefuseMovingHeldTensors(const Plan& plan) const {
  std::string held;
  for (const int32_t v : boundary_ids_) {
    const Tensor& tensor = *tensors_[static_cast<size_t>(v)];
    if (tensor.constant_ || tensor.lease_.expired() || !plan.has_shape[static_cast<size_t>(v)]) continue;
    if (tensor.shape_ != plan.shapes[static_cast<size_t>(v)]) held += (held.empty() ? "'" : ", '") + tensor.name_ + "'";
  }
  if (!held.empty()) {
    Fail(StatusCode::kFailedPrecondition, "There is at least 1 reference to internal data in the form of a view of ", held,
         ", which the new shapes would move. Release the views first.");
  }
}

// Memory for a plan: that of `reused` where it suffices. New memory of inputs and outputs goes to `boundary`.
Runner::Part Runner::Bind(std::shared_ptr<const Plan> plan, const Part* reused, const Prior& prior, std::vector<Boundary>& boundary) const {
  Part part;
  const bool roomy = reused != nullptr && reused->arena->size() >= plan->arena_bytes;
  part.arena = roomy ? reused->arena : std::make_shared<AlignedBytes>(plan->arena_bytes);
  for (const int32_t v : boundary_ids_) {
    const size_t at = static_cast<size_t>(v);
    const Value& value = graph_->values[at];
    if (!plan->has_shape[at]) continue;
    const bool is_new = prior.last == nullptr || !prior.last->has_shape[at];  // to this part of the graph
    const int64_t elements = ElementCount(plan->shapes[at], Concat("tensor '", value.name, "'"));
    if (value.type == TensorType::kString) {
      if (!is_new) continue;
      Strings all(static_cast<size_t>(elements));
      if (value.constant != nullptr) all = ParseStrings({value.constant, value.constant_bytes}, Concat("tensor '", value.name, "'"));
      all.resize(static_cast<size_t>(elements));
      boundary[at].strings = std::make_shared<Strings>(std::move(all));
    } else if (const size_t bytes = BytesOf(value.type, elements);
               plan->constants[at] == nullptr && (boundary[at].bytes == nullptr || boundary[at].bytes->size() < bytes)) {
      boundary[at].bytes = std::make_shared<AlignedBytes>(bytes);
      std::memset(boundary[at].bytes->data(), 0, bytes);
    }
  }
  for (const Plan::StringsOf& s : plan->strings) {
    part.strings.push_back(s.value >= 0 ? boundary[static_cast<size_t>(s.value)].strings : std::make_shared<Strings>(static_cast<size_t>(s.elements)));
  }
  for (const uint32_t subgraph : plan->subgraphs) {
    part.subgraphs.push_back(std::make_shared<Runner>(model_, subgraph, pool_, precision_, depth_ + 1));
  }
  part.slots.resize(plan->slots.size());
  for (size_t i = 0; i < plan->slots.size(); ++i) {
    const SlotSource& source = plan->slots[i];
    switch (source.kind) {
      case SlotSource::kArena: part.slots[i] = part.arena->data() + source.offset; break;
      case SlotSource::kConstant: part.slots[i] = const_cast<std::byte*>(source.pointer); break;
      case SlotSource::kBoundary: part.slots[i] = boundary[static_cast<size_t>(source.index)].bytes->data(); break;
      case SlotSource::kStrings: part.slots[i] = reinterpret_cast<std::byte*>(part.strings[static_cast<size_t>(source.index)].get()); break;
      case SlotSource::kPrior: part.slots[i] = prior.pointers[static_cast<size_t>(source.index)]; break;
    }
  }
  part.plan = std::move(plan);
  return part;
}

// Lets the tensors show what the plan has placed.
void Runner::Show(const Plan& plan, const std::shared_ptr<const Plan>& owner) {
  for (const int32_t v : boundary_ids_) {
    const size_t at = static_cast<size_t>(v);
    Tensor& tensor = *tensors_[at];
    if (!plan.has_shape[at]) continue;
    tensor.shape_ = plan.shapes[at];
    if (tensor.type_ == TensorType::kString) {
      tensor.strings_ = boundary_[at].strings.get();
      continue;
    }
    tensor.bytes_ = BytesOf(tensor.type_, ElementCount(tensor.shape_, tensor.name_));
    tensor.constant_ = plan.constants[at] != nullptr;
    if (tensor.constant_) {
      tensor.data_ = const_cast<std::byte*>(plan.constants[at]);
      tensor.memory_ = owner;
    } else {
      tensor.data_ = boundary_[at].bytes->data();
      tensor.memory_ = boundary_[at].bytes;
    }
  }
}

void Runner::RunPartTimed(const Part& part) const {
  RunContext context(part.slots.data(), pool_->threads() > 1 ? pool_.get() : nullptr, part.subgraphs.data());
  std::vector<Profiler::Clock::time_point> laps;
  laps.reserve(part.plan->steps.size() + 1);
  laps.push_back(Profiler::Clock::now());
  for (const Step& step : part.plan->steps) {
    step.run(step.self, context);
    laps.push_back(Profiler::Clock::now());
    if (context.failed()) Fail(StatusCode::kDataError, graph_->Describe(*static_cast<const Node*>(step.node)), ": ", context.message());
  }
  profiler_->Add(*part.plan, laps);
}

Status Runner::RunPart(const Part& part) const noexcept {
  if (profiler_ != nullptr) [[unlikely]] return Guard([&] { RunPartTimed(part); });
  RunContext context(part.slots.data(), pool_->threads() > 1 ? pool_.get() : nullptr, part.subgraphs.data());
  for (const Step& step : part.plan->steps) {
    step.run(step.self, context);
    if (context.failed()) [[unlikely]] {
      return Guard([&] { Fail(StatusCode::kDataError, graph_->Describe(*static_cast<const Node*>(step.node)), ": ", context.message()); });
    }
  }
  return Status();
}

// Adds where the values of a part stand.
void Runner::LeaveBehind(const Part& part, Prior& prior) const {
  const Plan& plan = *part.plan;
  prior.last = part.plan;
  prior.pointers.resize(plan.slot_of.size(), nullptr);
  for (size_t v = 0; v < plan.slot_of.size(); ++v) {
    if (plan.slot_of[v] >= 0) prior.pointers[v] = part.slots[static_cast<size_t>(plan.slot_of[v])];
  }
}

// The parts behind the first: planned again only if the data that decides about shapes has changed.
void Runner::RunRest() {
  const size_t nodes = graph_->nodes.size();
  Prior prior;
  LeaveBehind(parts_[0], prior);
  for (size_t i = 1; prior.last->next_node < nodes; ++i) {
    if (i == parts_.size() || !StillHolds(*parts_[i].plan, prior)) {
      std::shared_ptr<const Plan> plan = ContinuePlan(prior, Context(true));
      RefuseMovingHeldTensors(*plan);
      std::vector<Boundary> boundary = boundary_;
      Part part = Bind(plan, i < parts_.size() ? &parts_[i] : nullptr, prior, boundary);
      boundary_ = std::move(boundary);
      parts_.resize(i);
      parts_.push_back(std::move(part));
      Show(*plan, plan);
    }
    if (Status status = RunPart(parts_[i]); !status.ok()) throw Error(status.code(), status.message());
    LeaveBehind(parts_[i], prior);
  }
}

Status Runner::Invoke() noexcept {
  const std::lock_guard lock(mutex_);
  if (!allocated()) {
    return Status(StatusCode::kFailedPrecondition,
                  parts_.empty() ? "Invoke called on model that is not ready. Call AllocateTensors first."
                                 : "Invoke called on model that is not ready. An input was resized: call AllocateTensors again.");
  }
  Status status = RunPart(parts_[0]);
  if (status.ok() && parts_[0].plan->next_node < graph_->nodes.size()) status = Guard([&] { RunRest(); });
  return status;
}

Status Runner::ProfileRuns(int count, Profile& profile) noexcept {
  const std::lock_guard lock(mutex_);
  if (count < 1) return Status(StatusCode::kInvalidArgument, "a profile takes at least 1 run");
  Profiler profiler;
  Status status = Invoke();
  for (int i = 0; i < count && status.ok(); ++i) {
    profiler.Begin(Profiler::Clock::now());
    profiler_ = &profiler;
    status = Invoke();
    profiler_ = nullptr;
    if (status.ok()) status = Guard([&] { profiler.End(Profiler::Clock::now()); });
  }
  if (!status.ok()) return status;
  return Guard([&] {
    profile = profiler.Result();
    profile.threads = pool_->threads();
  });
}

}  // namespace sigrun
