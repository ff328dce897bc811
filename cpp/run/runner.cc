#include "run/runner.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "model/error.h"
#include "plan/string_buffer.h"
#include "run/float_mode.h"
#include "run/model_impl.h"

namespace sigrun {

namespace {

constexpr int kMaxDepth = 16;  // of subgraphs that run subgraphs

[[noreturn]] void RefuseMoving(const std::string& held) {
  Fail(StatusCode::kHeldView, "There is at least 1 reference to internal data in the form of a view of ", held,
       ", which the new shapes would move. Release the views first.");
}

}  // namespace

Runner::Runner(std::shared_ptr<const Model> model, uint32_t subgraph, std::shared_ptr<ThreadPool> pool, std::shared_ptr<State> state,
               const RunnerOptions& options, int depth, std::shared_ptr<Limits> limits)
    : model_(std::move(model)),
      pool_(std::move(pool)),
      state_(std::move(state)),
      options_(options),
      depth_(depth),
      limits_(limits != nullptr ? std::move(limits) : std::make_shared<Limits>()),
      state_lock_(state_->mutex(), std::defer_lock) {
  if (depth > kMaxDepth)
    Fail(StatusCode::kInvalidArgument, "invalid model: subgraphs[", subgraph, "] is nested more than ", kMaxDepth, " deep");
  graph_ = GraphOf(subgraph, passes::Reliance::kFileShapes);
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
    const Plan& plan = *part->frame.plan;
    if (plan.has_shape[at]) return plan.shapes[at];
  }
  return model_->impl().flat->subgraphs[graph_->subgraph].tensors[at].shape;
}

void Runner::ResizeInput(int32_t index, const Shape& shape, bool strict) {
  const std::lock_guard lock(mutex_);
  const std::vector<int32_t>& inputs = graph_->inputs;
  if (std::find(inputs.begin(), inputs.end(), index) == inputs.end())
    Fail(StatusCode::kInvalidArgument, "tensor ", index, " is not an input");
  const TensorInfo& info = model_->impl().flat->subgraphs[graph_->subgraph].tensors[static_cast<size_t>(index)];
  TensorElementCount(shape, info.name);
  if (strict) {
    const Shape& known = info.shape_signature;
    bool fits = known.size() == shape.size();
    for (size_t d = 0; fits && d < shape.size(); ++d) fits = known[d] == -1 || known[d] == shape[d];
    if (!fits) {
      Fail(StatusCode::kFailedPrecondition, "input '", info.name, "' has the shape signature ", ToString(known),
           ", it cannot be resized to ", ToString(shape),
           ": ResizeInputTensorStrict only allows mutating unknown dimensions identified by -1.");
    }
  }
  for (size_t i = 0; i < inputs.size(); ++i) {  // a file may list a tensor twice
    if (inputs[i] != index || input_shapes_[i] == shape) continue;
    input_shapes_[i] = shape;
    resized_ = true;
  }
}

std::shared_ptr<const Graph> Runner::GraphOf(uint32_t subgraph, passes::Reliance reliance) const {
  return model_->impl().graph(subgraph, *options_.kernels, options_.preserve_all_tensors && depth_ == 0, reliance);
}

PlanContext Runner::Context(passes::Reliance reliance) const {
  PlanContext context{.kernels = options_.kernels,
                      .packed = &model_->impl().packed(),
                      .workers = pool_->threads(),
                      .precision = options_.precision,
                      .state = state_.get(),
                      .graph_of = nullptr};
  context.graph_of = [this, reliance](uint32_t subgraph) { return model_->impl().graph(subgraph, *options_.kernels, false, reliance); };
  return context;
}

void Runner::AllocateTensors() {
  const std::lock_guard lock(mutex_);
  if (!parts_.empty() && (!resized_ || parts_[0].frame.plan->input_shapes == input_shapes_)) {
    resized_ = false;
    return;
  }
  const auto parked =
      std::find_if(parked_.begin(), parked_.end(), [&](const Part& p) { return p.frame.plan->input_shapes == input_shapes_; });
  if (parked != parked_.end()) {
    RefuseMovingHeldTensors(*parked->frame.plan);
    return Use(*parked);
  }
  std::shared_ptr<const Plan> plan = plans_.Find(input_shapes_);
  const bool cached = plan != nullptr;
  if (!cached) plan = PlanStates();
  RefuseMovingHeldTensors(*plan);
  const bool was_allocated = !parts_.empty();
  Adopt(plan);
  if (was_allocated) state_->ResetVariables(graph_->subgraph);  // as LiteRT does
  if (!cached) plans_.Add(std::move(plan));
}

// Where other shapes than the file's do not fit what was fused, the operators are planned as the file has them.
std::shared_ptr<const Plan> Runner::PlanStates() const {
  using passes::Reliance;
  try {
    return PlanStates(graph_, Reliance::kFileShapes);
  } catch (const Error& e) {
    if (e.status().code() == StatusCode::kOutOfMemory) throw;
    return PlanStates(GraphOf(graph_->subgraph, Reliance::kNone), Reliance::kNone);
  }
}

// A plan in which states are changed in place. Where shapes depend on data, they are carried over by copies.
std::shared_ptr<const Plan> Runner::PlanStates(const std::shared_ptr<const Graph>& graph, passes::Reliance reliance) const {
  PlanContext context = Context(reliance);
  context.next_states = states_;
  std::shared_ptr<const Plan> plan = MakePlan(graph, input_shapes_, context);
  if (!plan->in_place.empty() && !plan->whole()) plan = MakePlan(graph, input_shapes_, Context(reliance));
  CheckStates(*plan);
  return plan;
}

void Runner::CheckStates(const Plan& plan) const {
  for (const NextState& s : states_) {
    const size_t input = static_cast<size_t>(s.input), output = static_cast<size_t>(s.output);
    if (!plan.has_shape[output] || plan.shapes[input] == plan.shapes[output]) continue;
    Fail(StatusCode::kInvalidArgument, "the state '", graph_->values[input].name, "' has the shape ", ToString(plan.shapes[input]),
         ", its next value '", graph_->values[output].name, "' has ", ToString(plan.shapes[output]));
  }
}

void Runner::BindState(std::vector<NextState> states) {
  const std::lock_guard lock(mutex_);
  for (const auto& all : {states_, states}) {
    for (const NextState& s : all) {
      const Tensor& output = *tensors_[static_cast<size_t>(s.output)];
      if (!output.lease_.expired()) RefuseMoving("'" + output.name_ + "'");
    }
  }
  std::swap(states_, states);
  if (!parts_.empty()) {
    try {
      std::shared_ptr<const Plan> plan = PlanStates();
      RefuseMovingHeldTensors(*plan);
      Adopt(std::move(plan));
    } catch (...) {
      std::swap(states_, states);
      throw;
    }
  }
  plans_ = PlanCache();
  parked_.clear();
}

void Runner::ResetState() {
  const std::lock_guard lock(mutex_);
  for (const NextState& s : states_) {
    Tensor& input = *tensors_[static_cast<size_t>(s.input)];
    if (allocated() && input.bytes_ > 0) std::memset(input.data_, 0, input.bytes_);
  }
}

// What did not change in place becomes the next value of its input.
void Runner::CarryStates() {
  const std::vector<int32_t>& in_place = parts_[0].frame.plan->in_place;
  for (const NextState& s : states_) {
    if (s.input == s.output || std::find(in_place.begin(), in_place.end(), s.output) != in_place.end()) continue;
    Tensor& input = *tensors_[static_cast<size_t>(s.input)];
    const Tensor& output = *tensors_[static_cast<size_t>(s.output)];
    if (input.shape_ != output.shape_) {
      Fail(StatusCode::kDataError, "the state '", input.name_, "' has the shape ", ToString(input.shape_), ", its next value '",
           output.name_, "' has ", ToString(output.shape_));
    }
    if (input.bytes_ > 0) std::memcpy(input.data_, output.data_, input.bytes_);
  }
}

// Memory is taken before anything is changed.
void Runner::Adopt(std::shared_ptr<const Plan> plan) {
  std::vector<Boundary> boundary = boundary_;
  Part part = Bind(plan, parts_.empty() ? nullptr : &parts_[0], Prior{}, boundary);
  Park(part, boundary);
  boundary_ = std::move(boundary);
  parts_.clear();
  parts_.push_back(std::move(part));
  Show(*plan, plan);
  resized_ = false;
}

bool Runner::SwitchTo(Part& parked) {
  const auto is_held = [&](int32_t v) { return !tensors_[static_cast<size_t>(v)]->lease_.expired(); };
  if (std::any_of(boundary_ids_.begin(), boundary_ids_.end(), is_held)) return false;
  input_shapes_ = parked.frame.plan->input_shapes;
  Use(parked);
  return true;
}

// Trades the current plan for one that is bound to the same memory.
void Runner::Use(Part& parked) {
  std::swap(parked, parts_[0]);
  Show(*parts_[0].frame.plan, parts_[0].frame.plan);
  resized_ = false;
}

// Keeps the current plan bound, for shapes that come back, if the one that takes its place uses the same memory.
void Runner::Park(const Part& next, const std::vector<Boundary>& boundary) {
  constexpr size_t kMostParked = 16;
  const auto is_simple = [](const Part& part) {
    const Plan& plan = *part.frame.plan;
    const auto stays = [](const SlotSource& s) {
      return s.kind == SlotSource::kArena || s.kind == SlotSource::kConstant || s.kind == SlotSource::kBoundary;
    };
    return plan.whole() && !plan.uses_state && plan.subgraphs.empty() && plan.runners.empty() &&
           std::all_of(plan.slots.begin(), plan.slots.end(), stays);
  };
  bool same_memory = parts_.size() == 1 && parts_[0].arena == next.arena && is_simple(parts_[0]) && is_simple(next);
  for (size_t i = 0; i < boundary.size() && same_memory; ++i) same_memory = boundary[i].bytes == boundary_[i].bytes;
  if (!same_memory) return parked_.clear();
  if (parked_.size() == kMostParked) parked_.erase(parked_.begin());
  parked_.push_back(std::move(parts_[0]));
}

void Runner::RefuseMovingHeldTensors(const Plan& plan) const {
  std::string held;
  for (const int32_t v : boundary_ids_) {
    const Tensor& tensor = *tensors_[static_cast<size_t>(v)];
    if (tensor.constant_ || tensor.lease_.expired() || !plan.has_shape[static_cast<size_t>(v)]) continue;
    if (tensor.shape_ != plan.shapes[static_cast<size_t>(v)]) held += (held.empty() ? "'" : ", '") + tensor.name_ + "'";
  }
  if (!held.empty()) RefuseMoving(held);
}

// Memory for a plan: that of `reused` where it suffices. New memory of inputs and outputs goes to `boundary`.
Runner::Part Runner::Bind(std::shared_ptr<const Plan> plan, const Part* reused, const Prior& prior, std::vector<Boundary>& boundary) const {
  Part part;
  const bool roomy = reused != nullptr && reused->arena->size() >= plan->arena_bytes;
  part.arena = roomy ? reused->arena : std::make_shared<AlignedBytes>(plan->arena_bytes);
  const auto stands_in_place = [&](int32_t v) {
    return std::find(plan->in_place.begin(), plan->in_place.end(), v) != plan->in_place.end();
  };
  for (const int32_t output : graph_->outputs) {
    // What stood in an input's memory may do so no longer.
    for (const int32_t input : graph_->inputs) {
      std::shared_ptr<AlignedBytes>& own = boundary[static_cast<size_t>(output)].bytes;
      if (input != output && own != nullptr && own == boundary[static_cast<size_t>(input)].bytes) own = nullptr;
    }
  }
  for (const int32_t v : boundary_ids_) {
    const size_t at = static_cast<size_t>(v);
    const Value& value = graph_->values[at];
    if (!plan->has_shape[at] || stands_in_place(v)) continue;
    const bool is_new = prior.last == nullptr || !prior.has_shape[at];  // to this part of the graph
    const int64_t elements = TensorElementCount(plan->shapes[at], value.name);
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
  for (const NextState& s : states_) {
    if (stands_in_place(s.output)) boundary[static_cast<size_t>(s.output)].bytes = boundary[static_cast<size_t>(s.input)].bytes;
  }
  part.frame = BindFrame(std::move(plan), part.arena->data(), &prior, &boundary);
  return part;
}

// Without `boundary`, the inputs and outputs are left to the step that runs the frame.
Frame Runner::BindFrame(std::shared_ptr<const Plan> plan, std::byte* arena, const Prior* prior,
                        const std::vector<Boundary>* boundary) const {
  Frame frame;
  for (const Plan::StringsOf& s : plan->strings) {
    const bool shared = s.value >= 0 && boundary != nullptr;
    frame.strings.push_back(shared ? (*boundary)[static_cast<size_t>(s.value)].strings
                                   : std::make_shared<Strings>(static_cast<size_t>(s.elements)));
  }
  for (size_t i = 0; i < plan->late.size(); ++i) frame.late.push_back(std::make_unique<LateValue>());
  frame.slots.resize(plan->slots.size());
  for (size_t i = 0; i < plan->slots.size(); ++i) {
    const SlotSource& source = plan->slots[i];
    const size_t index = static_cast<size_t>(source.index);
    switch (source.kind) {
      case SlotSource::kArena: frame.slots[i] = arena + source.offset; break;
      case SlotSource::kConstant: frame.slots[i] = const_cast<std::byte*>(source.pointer) + source.offset; break;
      case SlotSource::kBoundary: frame.slots[i] = boundary == nullptr ? nullptr : (*boundary)[index].bytes->data() + source.offset; break;
      case SlotSource::kStrings: frame.slots[i] = reinterpret_cast<std::byte*>(frame.strings[index].get()); break;
      case SlotSource::kPrior: frame.slots[i] = prior->pointers[index] + source.offset; break;
      case SlotSource::kLate: frame.slots[i] = reinterpret_cast<std::byte*>(frame.late[index].get()); break;
      case SlotSource::kState: frame.slots[i] = VariableTensor(*plan, source.index) + source.offset; break;
    }
  }
  for (const Plan::Subgraph& inner : plan->subgraphs) {
    frame.frames.push_back(BindFrame(inner.plan, frame.slots[static_cast<size_t>(inner.arena)], nullptr, nullptr));
  }
  frame.runners.resize(plan->runners.size());
  frame.plan = std::move(plan);
  return frame;
}

// Memory of a variable tensor, zero at first.
std::byte* Runner::VariableTensor(const Plan& plan, int32_t value) const {
  const Value& v = plan.graph->values[static_cast<size_t>(value)];
  const size_t bytes = BytesOf(v.type, ElementCount(plan.shapes[static_cast<size_t>(value)], Concat("variable tensor '", v.name, "'")));
  return state_->VariableTensor(plan.graph->subgraph, value, bytes, FillOf(v.type, *v.quantization));
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
    tensor.bytes_ = BytesOf(tensor.type_, TensorElementCount(tensor.shape_, tensor.name_));
    tensor.constant_ = plan.constants[at] != nullptr;
    if (tensor.constant_) {
      tensor.data_ = const_cast<std::byte*>(plan.constants[at]);
      tensor.memory_ = owner;
    } else {
      tensor.data_ = boundary_[at].bytes->data();
      if (tensor.memory_ != boundary_[at].bytes) tensor.memory_ = boundary_[at].bytes;
    }
  }
}

Runner& RunContext::runner(int handle) const {
  std::shared_ptr<Runner>& runner = frame_->runners[static_cast<size_t>(handle)];
  if (runner == nullptr) runner = runner_->MakeInner(frame_->plan->runners[static_cast<size_t>(handle)]);
  return *runner;
}

State& RunContext::state() const { return runner_->state(); }

void RunContext::Stop() noexcept { runner_->limits().End(); }

bool RunContext::Run(Frame& frame) noexcept {
  RunContext inner(frame, pool_, runner_);
  FloatMode floats;
  for (const Step& step : frame.plan->steps) {
    if (runner_->limits().Reached()) [[unlikely]] {
      failed_ = true;
      return false;
    }
    floats.FlushDenormals(step.flushes_denormals);
    step.run(step.self, inner);
    if (inner.failed_) [[unlikely]] {
      static_cast<void>(
          Guard([&] { Fail(Concat(frame.plan->graph->Describe(*static_cast<const Node*>(step.node)), ": ", inner.message_)); }));
      failed_ = true;
      return false;
    }
  }
  return true;
}

void Runner::RunPartTimed(Part& part) {
  const Plan& plan = *part.frame.plan;
  RunContext context(part.frame, pool_->threads() > 1 ? pool_.get() : nullptr, this);
  std::vector<Profiler::Clock::time_point> laps;
  laps.reserve(plan.steps.size() + 1);
  FloatMode floats;
  laps.push_back(Profiler::Clock::now());
  for (const Step& step : plan.steps) {
    floats.FlushDenormals(step.flushes_denormals);
    step.run(step.self, context);
    laps.push_back(Profiler::Clock::now());
    if (limits_->ended()) {
      laps.resize(plan.steps.size() + 1, laps.back());
      break;
    }
    if (context.failed()) Fail(StatusCode::kDataError, graph_->Describe(*static_cast<const Node*>(step.node)), ": ", context.message());
  }
  profiler_->Add(plan, laps);
}

Status Runner::RunPart(Part& part) noexcept {
  const Plan& plan = *part.frame.plan;
  if (plan.uses_state && !state_lock_.owns_lock()) state_lock_.lock();
  if (profiler_ != nullptr) [[unlikely]]
    return Guard([&] { RunPartTimed(part); });
  RunContext context(part.frame, pool_->threads() > 1 ? pool_.get() : nullptr, this);
  FloatMode floats;
  for (const Step& step : plan.steps) {
    if (limits_->Reached()) [[unlikely]]
      return limits_->status();
    floats.FlushDenormals(step.flushes_denormals);
    step.run(step.self, context);
    if (context.failed()) [[unlikely]] {
      if (limits_->Reached()) return limits_->status();
      return Guard([&] { Fail(StatusCode::kDataError, graph_->Describe(*static_cast<const Node*>(step.node)), ": ", context.message()); });
    }
  }
  return Status();
}

// Adds where the values of a part stand, and the shapes that it has found.
void Runner::LeaveBehind(const Part& part, Prior& prior) const {
  const Plan& plan = *part.frame.plan;
  prior.last = part.frame.plan;
  prior.shapes = plan.shapes;
  prior.has_shape = plan.has_shape;
  prior.pointers.resize(plan.slot_of.size(), nullptr);
  for (size_t v = 0; v < plan.slot_of.size(); ++v) {
    if (plan.slot_of[v] >= 0) prior.pointers[v] = part.frame.slots[static_cast<size_t>(plan.slot_of[v])];
  }
  for (size_t i = 0; i < plan.late.size(); ++i) {
    const size_t v = static_cast<size_t>(plan.late[i]);
    LateValue& late = *part.frame.late[i];
    prior.shapes[v] = late.shape;
    prior.has_shape[v] = 1;
    prior.pointers[v] = plan.graph->values[v].type == TensorType::kString ? reinterpret_cast<std::byte*>(&late.strings) : late.bytes.data();
  }
}

// Copies late values that are inputs or outputs to where the tensors show them.
void Runner::ShowLate(const Part& part) {
  const Plan& plan = *part.frame.plan;
  for (size_t i = 0; i < plan.late.size(); ++i) {
    const size_t v = static_cast<size_t>(plan.late[i]);
    if (!std::binary_search(boundary_ids_.begin(), boundary_ids_.end(), plan.late[i])) continue;
    LateValue& late = *part.frame.late[i];
    Tensor& tensor = *tensors_[v];
    if (tensor.shape_ != late.shape && !tensor.lease_.expired()) RefuseMoving("'" + tensor.name_ + "'");
    Boundary& boundary = boundary_[v];
    tensor.shape_ = late.shape;
    if (tensor.type_ == TensorType::kString) {
      if (boundary.strings == nullptr) boundary.strings = std::make_shared<Strings>();
      *boundary.strings = late.strings;
      tensor.strings_ = boundary.strings.get();
      continue;
    }
    tensor.bytes_ = BytesOf(tensor.type_, ElementCount(late.shape, tensor.name_));
    if (boundary.bytes == nullptr || boundary.bytes->size() < tensor.bytes_) boundary.bytes = std::make_shared<AlignedBytes>(tensor.bytes_);
    if (tensor.bytes_ > 0) std::memcpy(boundary.bytes->data(), late.bytes.data(), tensor.bytes_);
    tensor.data_ = boundary.bytes->data();
    tensor.memory_ = boundary.bytes;
  }
}

// What comes behind the first part: planned again only if shapes, or the data that decides about shapes, have changed.
void Runner::RunRest() {
  const std::shared_ptr<const Graph> graph = parts_[0].frame.plan->graph;
  const passes::Reliance reliance = graph == graph_ ? passes::Reliance::kFileShapes : passes::Reliance::kNone;
  const size_t nodes = graph->nodes.size();
  Prior prior;
  ShowLate(parts_[0]);
  LeaveBehind(parts_[0], prior);
  for (size_t i = 1; prior.last->next_node < nodes; ++i) {
    if (i == parts_.size() || !StillHolds(*parts_[i].frame.plan, prior)) {
      std::shared_ptr<const Plan> plan = ContinuePlan(prior, Context(reliance));
      RefuseMovingHeldTensors(*plan);
      std::vector<Boundary> boundary = boundary_;
      Part part = Bind(plan, i < parts_.size() ? &parts_[i] : nullptr, prior, boundary);
      boundary_ = std::move(boundary);
      parts_.resize(i);
      parts_.push_back(std::move(part));
      Show(*plan, plan);
    }
    Frame& frame = parts_[i].frame;
    for (size_t slot = 0; slot < frame.slots.size(); ++slot) {  // late values may have moved
      const SlotSource& source = frame.plan->slots[slot];
      if (source.kind == SlotSource::kPrior) frame.slots[slot] = prior.pointers[static_cast<size_t>(source.index)] + source.offset;
    }
    if (Status status = RunPart(parts_[i]); !status.ok()) throw Error(status.code(), status.message());
    if (limits_->ended()) return;
    ShowLate(parts_[i]);
    LeaveBehind(parts_[i], prior);
  }
}

bool Runner::CanLend(const Tensor& tensor) const {
  const size_t at = static_cast<size_t>(tensor.index());
  if (!allocated() || at >= tensors_.size() || tensors_[at].get() != &tensor || !parts_[0].frame.plan->whole()) return false;
  const auto is_state = [&](const NextState& s) { return s.input == tensor.index() || s.output == tensor.index(); };
  if (std::any_of(states_.begin(), states_.end(), is_state)) return false;
  const auto among = [&](const std::vector<int32_t>& values) {
    return std::find(values.begin(), values.end(), tensor.index()) != values.end();
  };
  return !tensor.is_constant() && TensorTypeBits(tensor.type()) > 0 && tensor.lease_.expired() &&
         among(graph_->inputs) != among(graph_->outputs);
}

// Lets the plan's pointers to an input or output point at `data`.
void Runner::Point(int32_t tensor, std::byte* data) {
  Frame& frame = parts_[0].frame;
  for (size_t i = 0; i < frame.slots.size(); ++i) {
    const SlotSource& source = frame.plan->slots[i];
    if (source.kind == SlotSource::kBoundary && source.index == tensor) frame.slots[i] = data + source.offset;
  }
}

Status Runner::Invoke(const InvokeOptions& options) noexcept {
  const std::lock_guard lock(mutex_);
  if (!allocated()) {
    return Status(StatusCode::kFailedPrecondition,
                  parts_.empty() ? "Invoke called on model that is not ready. Call AllocateTensors first."
                                 : "Invoke called on model that is not ready. An input was resized: call AllocateTensors again.");
  }
  for (const Lent& lent : options.lent) {
    if (lent.tensor != nullptr && lent.data != nullptr && CanLend(*lent.tensor)) continue;
    return Guard([&] {
      Fail(StatusCode::kInvalidArgument, "tensor '", lent.tensor == nullptr ? "null" : lent.tensor->name(),
           "' cannot use memory of the caller's");
    });
  }
  if (depth_ == 0) limits_->Begin(options.timeout_seconds);
  for (const Lent& lent : options.lent) Point(lent.tensor->index(), static_cast<std::byte*>(lent.data));
  Status status = RunPart(parts_[0]);
  for (const Lent& lent : options.lent) Point(lent.tensor->index(), boundary_[static_cast<size_t>(lent.tensor->index())].bytes->data());
  if (status.ok() && !limits_->ended() && !parts_[0].frame.plan->whole()) status = Guard([&] { RunRest(); });
  if (status.ok() && !states_.empty() && !limits_->ended()) status = Guard([&] { CarryStates(); });
  if (state_lock_.owns_lock()) state_lock_.unlock();
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
