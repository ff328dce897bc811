#include "plan/plan_builder.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>

#include "plan/arena.h"
#include "plan/string_buffer.h"

namespace sigrun {

PlanBuilder::PlanBuilder(const Graph& graph, const PlanContext& context) : graph_(graph), context_(context), kernels_(*context.kernels) {
  const size_t n = graph.values.size();
  shapes_.resize(n);
  has_shape_.assign(n, 0);
  is_input_.assign(n, 0);
  is_output_.assign(n, 0);
  is_bf16_.assign(n, 0);
  constants_.assign(n, nullptr);
  last_use_.assign(n, -1);
  storage_of_.assign(n, -1);
  offset_of_.assign(n, 0);
  slot_of_.assign(n, -1);
  carried_.assign(n, -1);
  may_change_.assign(n, 0);
  kernels_used_.resize(graph.nodes.size());
  for (size_t v = 0; v < n; ++v) {
    constants_[v] = graph.values[v].constant;
    if (constants_[v] == nullptr && !graph.values[v].is_variable) continue;  // what holds state has the shape that the file says
    shapes_[v] = graph.values[v].shape;
    has_shape_[v] = 1;
  }
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const int32_t v : graph.nodes[i].inputs) {
      if (v >= 0) last_use_[Index(v)] = static_cast<int32_t>(i);
    }
  }
  for (const int32_t v : graph.inputs) is_input_[Index(v)] = 1;
  for (const int32_t v : graph.outputs) {
    is_output_[Index(v)] = 1;
    last_use_[Index(v)] = INT_MAX;
  }
  for (size_t o = 0; context.loop && o < graph.outputs.size(); ++o) {
    const int32_t input = graph.inputs[o], output = graph.outputs[o];
    if (!is_output_[Index(input)] && std::count(graph.outputs.begin(), graph.outputs.end(), output) == 1) carried_[Index(output)] = input;
  }
  for (const NextState& s : context.next_states) {
    if (is_output_[Index(s.input)]) continue;
    carried_[Index(s.output)] = s.input;
    may_change_[Index(s.input)] = 1;
  }
}

void PlanBuilder::SetInputShape(int32_t value, const Shape& shape) {
  ElementCount(shape, Concat("input '", graph_.values[Index(value)].name, "'"));
  shapes_[Index(value)] = shape;
  has_shape_[Index(value)] = 1;
  CheckFitsMachine(FootprintOfValue(value), Concat("input '", graph_.values[Index(value)].name, "'"));
}

void PlanBuilder::SetPrior(const Prior& prior) {
  prior_ = prior.pointers;
  shapes_ = prior.shapes;
  has_shape_ = prior.has_shape;
  is_bf16_ = prior.last->is_bf16;
  constants_ = prior.last->constants;
  position_ = static_cast<int32_t>(prior.last->next_node);
}

// The bytes of a value that shapes depend on: constant, or computed by an earlier part of the graph.
const std::byte* PlanBuilder::Known(int32_t value) {
  const size_t at = Index(value);
  if (IsHalf(value)) return Widened(value);
  if (constants_[at] != nullptr) return constants_[at];
  if (prior_.empty() || prior_[at] == nullptr || graph_.values[at].type == TensorType::kString) throw Wait();
  const size_t bytes = BytesOfValue(value);
  auto copy = std::make_shared<AlignedBytes>(bytes);
  std::memcpy(copy->data(), prior_[at], bytes);
  assumed_.push_back({value, {copy->data(), copy->data() + bytes}, {}});
  constants_[at] = copy->data();
  owners_.push_back(std::move(copy));
  return constants_[at];
}

void PlanBuilder::Widen(int32_t value, std::byte* to) const {
  const Value& v = graph_.values[Index(value)];
  kernels_.f16_to_f32(reinterpret_cast<const uint16_t*>(v.constant), reinterpret_cast<float*>(to), v.constant_bytes / sizeof(uint16_t));
}

// Memory for one at a time: most are read once, to be packed.
const std::byte* PlanBuilder::Widened(int32_t value) {
  if (widened_.data() == nullptr) {
    size_t most = 0;
    for (const Value& v : graph_.values) most = std::max(most, v.is_half ? v.constant_bytes / sizeof(uint16_t) * sizeof(float) : 0);
    widened_ = AlignedBytes(most);
  }
  if (widened_value_ != value) Widen(value, widened_.data());
  widened_value_ = value;
  return widened_.data();
}

const Strings& PlanBuilder::KnownStrings(int32_t value) {
  const size_t at = Index(value);
  if (graph_.values[at].constant != nullptr) return *reinterpret_cast<const Strings*>(storages_[Index(StorageOf(value))].pointer);
  if (prior_.empty() || prior_[at] == nullptr) throw Wait();
  const Strings& now = *reinterpret_cast<const Strings*>(prior_[at]);
  assumed_.push_back({value, {}, now});
  return now;
}

size_t PlanBuilder::FootprintOfValue(int32_t value) const {
  if (graph_.values[Index(value)].type != TensorType::kString) return BytesOfValue(value);
  return static_cast<size_t>(ElementCount(shapes_[Index(value)], "string tensor")) * sizeof(Strings::value_type);
}

size_t PlanBuilder::BytesOfValue(int32_t value) const {
  int64_t elements = 1;
  for (const int32_t d : shapes_[Index(value)]) elements *= d;
  if (is_bf16_[Index(value)] != 0) return static_cast<size_t>(elements) * sizeof(uint16_t);
  return BytesOf(graph_.values[Index(value)].type, elements);
}

const std::vector<int32_t>& PlanBuilder::ReadersOf(int32_t value) {
  if (readers_.empty()) {
    readers_.resize(graph_.values.size());
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const int32_t v : graph_.nodes[i].inputs) {
        if (v >= 0 && (readers_[Index(v)].empty() || readers_[Index(v)].back() != static_cast<int32_t>(i))) {
          readers_[Index(v)].push_back(static_cast<int32_t>(i));
        }
      }
    }
  }
  return readers_[Index(value)];
}

int32_t PlanBuilder::NewStorage(Storage storage) {
  storages_.push_back(storage);
  return static_cast<int32_t>(storages_.size()) - 1;
}

int32_t PlanBuilder::NewSlot(int32_t storage, size_t offset) {
  slots_.push_back({storage, offset});
  return static_cast<int32_t>(slots_.size()) - 1;
}

int32_t PlanBuilder::StorageOf(int32_t value) {
  int32_t& at = storage_of_[Index(value)];
  if (at >= 0) return at;
  const Value& v = graph_.values[Index(value)];
  Storage s;
  s.first = position_;
  s.last = std::max(position_, last_use_[Index(value)]);
  s.bytes = BytesOfValue(value);
  s.value = value;
  const bool prior = !prior_.empty() && prior_[Index(value)] != nullptr;
  if (IsLate(value)) {
    s.kind = Storage::kLate;
  } else if (v.is_variable && !is_input_[Index(value)]) {
    s.kind = Storage::kState;
    uses_state_ = true;
  } else if (prior && !IsBoundary(value) && (constants_[Index(value)] == nullptr || v.type == TensorType::kString)) {
    s.kind = Storage::kPrior;
  } else if (v.type == TensorType::kString) {
    s.elements = ElementCount(shapes_[Index(value)], "string tensor");
    s.kind = Storage::kStrings;
    if (v.constant != nullptr) {
      auto parsed = std::make_shared<Strings>(ParseStrings({v.constant, v.constant_bytes}, Concat("tensor '", v.name, "'")));
      if (static_cast<int64_t>(parsed->size()) != s.elements) {
        Fail(StatusCode::kInvalidArgument, "invalid model: tensor '", v.name, "' of shape ", ToString(shapes_[Index(value)]), " holds ",
             parsed->size(), " strings");
      }
      s.kind = Storage::kConstant;
      s.pointer = reinterpret_cast<const std::byte*>(parsed.get());
      owners_.push_back(std::move(parsed));
    }
  } else if (constants_[Index(value)] != nullptr) {
    s.kind = Storage::kConstant;
    s.pointer = constants_[Index(value)];
    if (v.is_half) {
      auto wide = std::make_shared<AlignedBytes>(s.bytes);
      Widen(value, wide->data());
      s.pointer = wide->data();
      owners_.push_back(std::move(wide));
    }
  } else if (IsBoundary(value)) {
    s.kind = Storage::kBoundary;
  }
  return at = NewStorage(s);
}

int32_t PlanBuilder::SlotOf(int32_t value) {
  int32_t& slot = slot_of_[Index(value)];
  if (slot < 0) slot = NewSlot(StorageOf(value), offset_of_[Index(value)]);
  return slot;
}

// Makes `output` another view of `storage`, which then lives as long as either is needed.
void PlanBuilder::Share(int32_t output, int32_t storage, size_t offset) {
  Storage& s = storages_[Index(storage)];
  s.last = std::max(s.last, last_use_[Index(output)]);
  if (is_output_[Index(output)] && s.kind == Storage::kArena) {
    s.kind = Storage::kBoundary;
    s.value = output;
  }
  storage_of_[Index(output)] = storage;
  offset_of_[Index(output)] = offset;
}

bool PlanBuilder::IsFoldable(const Node& node) const {
  if (node.op->traits & kImpure) return false;
  const auto is_string = [&](int32_t v) { return v >= 0 && graph_.values[Index(v)].type == TensorType::kString; };
  if (std::any_of(node.outputs.begin(), node.outputs.end(), is_string)) return false;
  if (node.op->traits & kReadsShapes) return true;
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [&](int32_t v) { return v < 0 || (constants_[Index(v)] != nullptr && !is_string(v)); });
}

bool PlanBuilder::Add(const Node& node, int32_t position) {
  position_ = position;
  node_ = &node;
  const auto has_shape = [&](int32_t v) { return v < 0 || has_shape_[Index(v)] != 0; };
  if (!std::all_of(node.inputs.begin(), node.inputs.end(), has_shape)) return false;
  const size_t first_step = steps_.size(), first_subgraph = subgraphs_.size(), first_runner = runners_.size(), first_late = late_.size();
  try {
    Prepare prepare(*this, graph_, node);
    node.op->prepare(prepare);
  } catch (const Wait&) {
    TruncateSteps(first_step);
    kernels_used_[Index(position)].clear();
    subgraphs_.resize(first_subgraph);
    runners_.resize(first_runner);
    late_.resize(first_late);
    for (const int32_t v : node.outputs) {
      if (v < 0) continue;
      has_shape_[Index(v)] = is_bf16_[Index(v)] = 0;
      storage_of_[Index(v)] = slot_of_[Index(v)] = -1;
      offset_of_[Index(v)] = 0;
    }
    return false;
  }
  for (const int32_t v : node.outputs) {
    if (!has_shape(v) && !IsLate(v))
      Fail(StatusCode::kInternal, graph_.Describe(node), ": no shape was set for '", graph_.values[Index(v)].name, "'");
  }
  if (IsFoldable(node)) RunNow(node, first_step);
  return true;
}

namespace {

// Whether a node that is run while planning needs new bytes for it.
template <class Storage>
bool HasOwnBytes(const Storage& s) {
  return s.kind == Storage::kArena || s.kind == Storage::kBoundary || s.kind == Storage::kPrior;
}

}  // namespace

// Runs the steps from `first_step` on in memory of their own and turns the node's outputs into constants. False, and no change, if an op
// refuses its data: then it is left to fail when it runs.
bool PlanBuilder::RunNow(const Node& node, size_t first_step) {
  size_t bytes_needed = 0;
  for (const Storage& s : storages_) {
    if (HasOwnBytes(s) && s.first == position_) bytes_needed += s.bytes;
  }
  if (bytes_needed > folding_budget_) return false;
  folding_budget_ -= bytes_needed;
  std::vector<std::byte*> pointers(slots_.size(), nullptr);
  std::vector<std::shared_ptr<AlignedBytes>> fresh(storages_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Storage& s = storages_[Index(slots_[i].storage)];
    if (s.kind == Storage::kConstant) {
      pointers[i] = const_cast<std::byte*>(s.pointer) + slots_[i].offset;  // read only: an input of the node
    } else if (s.first == position_ && HasOwnBytes(s)) {
      auto& bytes = fresh[Index(slots_[i].storage)];
      if (bytes == nullptr) bytes = std::make_shared<AlignedBytes>(s.bytes);
      pointers[i] = bytes->data() + slots_[i].offset;
    }
  }
  // An input may have become known only after its memory was chosen.
  for (const int32_t v : node.inputs) {
    if (v >= 0 && slot_of_[Index(v)] >= 0 && constants_[Index(v)] != nullptr && !IsHalf(v) &&
        graph_.values[Index(v)].type != TensorType::kString) {
      pointers[Index(slot_of_[Index(v)])] = const_cast<std::byte*>(constants_[Index(v)]);
    }
  }
  RunContext context(pointers.data(), nullptr);
  for (size_t i = first_step; i < steps_.size() && !context.failed(); ++i) steps_[i].run(steps_[i].self, context);
  if (context.failed()) return false;
  for (const int32_t v : node.outputs) {
    if (v < 0 || storage_of_[Index(v)] < 0) continue;
    Storage& s = storages_[Index(storage_of_[Index(v)])];
    const auto& bytes = fresh[Index(storage_of_[Index(v)])];
    if (bytes != nullptr) {
      s.kind = Storage::kConstant;
      s.pointer = bytes->data();
      owners_.push_back(bytes);
    }
    if (s.kind == Storage::kConstant) constants_[Index(v)] = s.pointer + offset_of_[Index(v)];
  }
  TruncateSteps(first_step);
  kernels_used_[Index(position_)].clear();
  return true;
}

std::shared_ptr<Plan> PlanBuilder::Finish(int32_t next) {
  auto plan = std::make_shared<Plan>();
  // What later parts read must be found by its value.
  for (size_t v = 0; v < graph_.values.size(); ++v) {
    if (next < static_cast<int32_t>(graph_.nodes.size()) && last_use_[v] >= next && has_shape_[v]) SlotOf(static_cast<int32_t>(v));
  }
  FuseLines();
  std::vector<Interval> intervals;
  std::vector<SlotSource> sources(storages_.size());
  for (size_t i = 0; i < storages_.size(); ++i) {
    const Storage& s = storages_[i];
    SlotSource& source = sources[i];
    switch (s.kind) {
      case Storage::kArena:
        source.kind = SlotSource::kArena;
        source.index = static_cast<int32_t>(intervals.size());
        intervals.push_back({s.bytes, s.first, s.last});
        break;
      case Storage::kConstant:
        source.kind = SlotSource::kConstant;
        source.pointer = s.pointer;
        break;
      case Storage::kBoundary:
        source.kind = SlotSource::kBoundary;
        source.index = s.value;
        break;
      case Storage::kStrings:
        source.kind = SlotSource::kStrings;
        source.index = static_cast<int32_t>(plan->strings.size());
        plan->strings.push_back({IsBoundary(s.value) ? s.value : -1, s.elements});
        break;
      case Storage::kPrior:
        source.kind = SlotSource::kPrior;
        source.index = s.value;
        break;
      case Storage::kLate:
        source.kind = SlotSource::kLate;
        source.index = static_cast<int32_t>(std::find(late_.begin(), late_.end(), s.value) - late_.begin());
        break;
      case Storage::kState:
        source.kind = SlotSource::kState;
        source.index = s.value;
        break;
    }
  }
  const ArenaLayout layout = PlaceIntervals(intervals);
  for (SlotSource& source : sources) {
    if (source.kind == SlotSource::kArena) source.offset = layout.offsets[Index(source.index)];
  }
  plan->arena_bytes = layout.bytes;
  plan->blocks = Blocks(layout, sources);
  for (const SlotOrigin& slot : slots_) {
    plan->slots.push_back(sources[Index(slot.storage)]);
    plan->slots.back().offset += slot.offset;
  }
  plan->steps = std::move(steps_);
  plan->shapes = std::move(shapes_);
  plan->has_shape = std::move(has_shape_);
  plan->is_bf16 = std::move(is_bf16_);
  plan->slot_of = std::move(slot_of_);
  plan->late = std::move(late_);
  plan->subgraphs = std::move(subgraphs_);
  plan->runners = std::move(runners_);
  plan->uses_state = uses_state_;
  for (const NextState& s : context_.next_states) {
    const int32_t storage = storage_of_[Index(s.output)];
    if (storage < 0 || s.input == s.output || offset_of_[Index(s.output)] != 0) continue;
    if (storages_[Index(storage)].kind == Storage::kBoundary && storages_[Index(storage)].value == s.input)
      plan->in_place.push_back(s.output);
  }
  plan->assumed = std::move(assumed_);
  // What was looked at is no constant: it stands where it was computed, or where the caller writes it.
  for (const Plan::Assumed& a : plan->assumed) constants_[Index(a.value)] = nullptr;
  plan->constants = std::move(constants_);
  plan->owners = std::move(owners_);
  plan->kernels = std::move(kernels_used_);
  return plan;
}

std::vector<Plan::Block> PlanBuilder::Blocks(const ArenaLayout& layout, const std::vector<SlotSource>& sources) const {
  std::vector<Plan::Block> blocks;
  std::vector<int32_t> block_of(storages_.size(), -1);
  for (size_t i = 0; i < storages_.size(); ++i) {
    const Storage& s = storages_[i];
    if (s.kind != Storage::kArena || s.bytes == 0) continue;
    block_of[i] = static_cast<int32_t>(blocks.size());
    blocks.push_back({layout.offsets[Index(sources[i].index)], s.bytes, s.first, s.last, {}});
  }
  for (size_t v = 0; v < storage_of_.size(); ++v) {
    const int32_t block = storage_of_[v] < 0 ? -1 : block_of[Index(storage_of_[v])];
    if (block >= 0) blocks[Index(block)].values.push_back(static_cast<int32_t>(v));
  }
  return blocks;
}

std::vector<const Node*> NodesOf(const Plan& plan, const Step& step) {
  const auto* last = static_cast<const Node*>(step.node);
  std::vector<const Node*> nodes;
  for (const auto* node = step.first == nullptr ? last : static_cast<const Node*>(step.first); node <= last; ++node) {
    // Nodes that were computed while planning, or that rename memory, may stand between those of a chain.
    const bool runs = node == last || !plan.kernels[static_cast<size_t>(node - plan.graph->nodes.data())].empty();
    if (runs) nodes.push_back(node);
  }
  return nodes;
}

std::string OpsOf(const Plan& plan, const Step& step) {
  std::string names;
  for (const Node* node : NodesOf(plan, step)) {
    if (!names.empty()) names += '+';
    names += node->op->name;
  }
  return names;
}

// --- Prepare
// ------------------------------------------------------------------------------------------------------------------------------

std::string_view Prepare::op_name() const { return node_.op->name; }
const FlatModel& Prepare::model() const { return *graph_.model; }
const kernels::Kernels& Prepare::kernels() const { return builder_.kernels_; }
Precision Prepare::precision() const { return builder_.context_.precision; }
void Prepare::Explain(std::string kernel) { builder_.kernels_used_[PlanBuilder::Index(builder_.position_)] = std::move(kernel); }
int Prepare::workers() const { return builder_.context_.workers; }

bool Prepare::has_input(int i) const {
  return i >= 0 && i < static_cast<int>(node_.inputs.size()) && node_.inputs[static_cast<size_t>(i)] >= 0;
}

void Prepare::CheckCounts(int least, int most, int outputs_wanted) const {
  Check(inputs() >= least && inputs() <= most, "it has ", inputs(), " inputs, expected ",
        least == most ? std::to_string(least) : Concat(least, " to ", most));
  for (int i = 0; i < least; ++i) Check(has_input(i), "its input ", i, " is missing");
  Check(outputs() == outputs_wanted, "it has ", outputs(), " outputs, expected ", outputs_wanted);
  for (int o = 0; o < outputs_wanted; ++o) Check(node_.outputs[static_cast<size_t>(o)] >= 0, "its output ", o, " is missing");
}

namespace {

const Value& InputValue(const Prepare& p, const Graph& graph, int i) {
  p.Check(p.has_input(i), "its input ", i, " is missing");
  return graph.values[static_cast<size_t>(p.node().inputs[static_cast<size_t>(i)])];
}

const Value& OutputValue(const Prepare& p, const Graph& graph, int o) {
  p.Check(o >= 0 && o < p.outputs() && p.node().outputs[static_cast<size_t>(o)] >= 0, "its output ", o, " is missing");
  return graph.values[static_cast<size_t>(p.node().outputs[static_cast<size_t>(o)])];
}

Prepare::Affine AffineOf(const Prepare& p, const Quantization& q, const char* role, int i) {
  p.Check(q.scale.size() == 1, role, " ", i, " has ", q.scale.size(), " quantisation scales, expected 1");
  p.Check(std::isfinite(q.scale[0]) && q.scale[0] > 0, role, " ", i, " has the quantisation scale ", q.scale[0]);
  p.Check(q.zero_point[0] >= INT32_MIN / 2 && q.zero_point[0] <= INT32_MAX / 2, role, " ", i, " has the zero point ", q.zero_point[0]);
  return {q.scale[0], static_cast<int32_t>(q.zero_point[0])};
}

void CheckTypeIn(const Prepare& p, TensorType type, std::initializer_list<TensorType> allowed, const char* role, int i) {
  if (std::find(allowed.begin(), allowed.end(), type) != allowed.end()) return;
  std::string list;
  for (const TensorType t : allowed) list += std::string(list.empty() ? "" : ", ") + TensorTypeName(t);
  p.Refuse(StatusCode::kUnimplemented, Concat(role, " ", i, " is ", TensorTypeName(type), ", supported here: ", list));
}

}  // namespace

TensorType Prepare::type(int i) const { return InputValue(*this, graph_, i).type; }
TensorType Prepare::output_type(int o) const { return OutputValue(*this, graph_, o).type; }
const Quantization& Prepare::quantization(int i) const { return *InputValue(*this, graph_, i).quantization; }
const Quantization& Prepare::output_quantization(int o) const { return *OutputValue(*this, graph_, o).quantization; }
const Quantization& Prepare::intermediate_quantization(int i) const {
  const std::vector<int32_t>& all = node_.intermediates;
  Check(i >= 0 && static_cast<size_t>(i) < all.size() && all[static_cast<size_t>(i)] >= 0, "its intermediate tensor ", i, " is missing");
  return *graph_.values[static_cast<size_t>(all[static_cast<size_t>(i)])].quantization;
}
Prepare::Affine Prepare::affine(int i) const { return AffineOf(*this, quantization(i), "input", i); }
Prepare::Affine Prepare::output_affine(int o) const { return AffineOf(*this, output_quantization(o), "output", o); }
Prepare::Affine Prepare::intermediate_affine(int i) const {
  return AffineOf(*this, intermediate_quantization(i), "intermediate tensor", i);
}
void Prepare::CheckType(int i, std::initializer_list<TensorType> allowed) const { CheckTypeIn(*this, type(i), allowed, "input", i); }
void Prepare::CheckOutputType(int o, std::initializer_list<TensorType> allowed) const {
  CheckTypeIn(*this, output_type(o), allowed, "output", o);
}

const Shape& Prepare::shape(int i) const {
  InputValue(*this, graph_, i);
  return builder_.shapes_[static_cast<size_t>(node_.inputs[static_cast<size_t>(i)])];
}

bool Prepare::is_variable(int i) const {
  const int32_t v = node_.inputs[static_cast<size_t>(i)];
  return InputValue(*this, graph_, i).is_variable && !builder_.is_input_[PlanBuilder::Index(v)];
}

int64_t Prepare::elements(int i) const { return ElementsOf(shape(i)); }

int64_t Prepare::ElementsOf(const Shape& shape) const {
  return ElementCount(shape, [&] { return graph_.Describe(node_); });
}

const std::byte* Prepare::constant(int i) const {
  if (!has_input(i)) return nullptr;
  const int32_t v = node_.inputs[static_cast<size_t>(i)];
  return builder_.IsHalf(v) ? builder_.Widened(v) : builder_.constants_[PlanBuilder::Index(v)];
}

bool Prepare::is_constant(int i) const {
  return has_input(i) && builder_.constants_[PlanBuilder::Index(node_.inputs[static_cast<size_t>(i)])] != nullptr;
}

const uint16_t* Prepare::halves(int i) const {
  if (!has_input(i)) return nullptr;
  const int32_t v = node_.inputs[static_cast<size_t>(i)];
  return builder_.IsHalf(v) ? reinterpret_cast<const uint16_t*>(builder_.constants_[PlanBuilder::Index(v)]) : nullptr;
}

Prepare::Blocks Prepare::blocks(int i) const {
  const Quantization& q = quantization(i);
  const Shape& of = shape(i);
  Check(q.block_size > 0 && !of.empty() && of.back() % q.block_size == 0, "input ", i, " of the shape ", ToString(of),
        " is quantised by blocks of ", q.block_size);
  // The file names the scales by their tensor; values beyond the file's tensors have other numbers.
  const size_t own = static_cast<size_t>(node_.inputs[static_cast<size_t>(i)]);
  if (own >= graph_.model->subgraphs[graph_.subgraph].tensors.size()) Refuse(StatusCode::kUnimplemented, "blocks in a decomposition");
  const auto constant_of = [&](int32_t tensor, const char* what) -> const Value& {
    const bool there =
        tensor >= 0 && static_cast<size_t>(tensor) < graph_.values.size() && graph_.values[static_cast<size_t>(tensor)].constant != nullptr;
    Check(there, "the ", what, " of input ", i, "'s blocks (tensor ", tensor, ") are no constants");
    return graph_.values[static_cast<size_t>(tensor)];
  };
  const Value& scales = constant_of(q.scales_tensor, "scales");
  const size_t count = static_cast<size_t>(elements(i) / q.block_size);
  if (scales.type != TensorType::kFloat16 && scales.type != TensorType::kFloat32) {
    Refuse(StatusCode::kUnimplemented, Concat("blocks with ", TensorTypeName(scales.type), " scales"));
  }
  Check(scales.constant_bytes >= BytesOf(scales.type, static_cast<int64_t>(count)), "input ", i, " has ", count,
        " blocks, and fewer scales");
  if (q.zero_points_tensor >= 0) {
    const Value& zeros = constant_of(q.zero_points_tensor, "zero points");
    const bool all = std::all_of(zeros.constant, zeros.constant + zeros.constant_bytes, [](std::byte b) { return b == std::byte{0}; });
    if (!all) Refuse(StatusCode::kUnimplemented, "blocks with zero points");
  }
  Blocks blocks{q.block_size, std::vector<float>(count)};
  if (scales.type == TensorType::kFloat16) {
    kernels().f16_to_f32(reinterpret_cast<const uint16_t*>(scales.constant), blocks.scale.data(), count);
  } else {
    std::memcpy(blocks.scale.data(), scales.constant, count * sizeof(float));
  }
  return blocks;
}

const std::byte* Prepare::Known(int i) const {
  Check(has_input(i), "its input ", i, " is missing");
  return builder_.Known(node_.inputs[static_cast<size_t>(i)]);
}

const Strings& Prepare::KnownStrings(int i) const {
  CheckType(i, {TensorType::kString});
  return builder_.KnownStrings(node_.inputs[static_cast<size_t>(i)]);
}

std::vector<int64_t> Prepare::ConstantInts(int i, const char* what) const {
  CheckType(i, {TensorType::kInt32, TensorType::kInt64});
  Check(has_input(i), "its ", what, " (input ", i, ") is missing");
  const std::byte* bytes = elements(i) == 0 ? nullptr : Known(i);
  std::vector<int64_t> out(static_cast<size_t>(elements(i)));
  for (size_t k = 0; k < out.size(); ++k) {
    if (type(i) == TensorType::kInt64) {
      std::memcpy(&out[k], bytes + 8 * k, 8);
    } else {
      int32_t small;
      std::memcpy(&small, bytes + 4 * k, 4);
      out[k] = small;
    }
  }
  return out;
}

void Prepare::Refuse(StatusCode code, const std::string& what) const { Fail(code, graph_.Describe(node_), ": ", what); }

void Prepare::SetShape(int o, Shape shape) {
  OutputValue(*this, graph_, o);
  const auto what = [&] { return graph_.Describe(node_) + ": its output"; };
  ElementCount(shape, what);
  const int32_t value = node_.outputs[static_cast<size_t>(o)];
  builder_.shapes_[PlanBuilder::Index(value)] = std::move(shape);
  builder_.has_shape_[PlanBuilder::Index(value)] = 1;
  // Said before the op builds tables for an output that can never be.
  if (const size_t bytes = builder_.FootprintOfValue(value); !FitsMachine(bytes)) CheckFitsMachine(bytes, what());
}

std::optional<Shape> Prepare::fixed_output_shape(int o) const {
  const Shape& shape = OutputValue(*this, graph_, o).shape;
  const size_t v = static_cast<size_t>(node_.outputs[static_cast<size_t>(o)]);
  const std::vector<TensorInfo>& tensors = graph_.model->subgraphs[graph_.subgraph].tensors;
  const bool open = v >= tensors.size() || !tensors[v].has_rank || std::any_of(shape.begin(), shape.end(), [](int32_t d) { return d < 0; });
  return open ? std::nullopt : std::optional(shape);
}

const Shape& Prepare::output_shape(int o) const {
  OutputValue(*this, graph_, o);
  return builder_.shapes_[static_cast<size_t>(node_.outputs[static_cast<size_t>(o)])];
}

const Shape& Prepare::model_shape(int o) const { return OutputValue(*this, graph_, o).shape; }

int64_t Prepare::output_elements(int o) const { return ElementsOf(output_shape(o)); }

Slot Prepare::in(int i) { return has_input(i) ? Slot{builder_.SlotOf(node_.inputs[static_cast<size_t>(i)])} : Slot{}; }

Slot Prepare::out(int o) {
  OutputValue(*this, graph_, o);
  return Slot{builder_.SlotOf(node_.outputs[static_cast<size_t>(o)])};
}

Slot Prepare::Scratch(size_t bytes) {
  PlanBuilder::Storage s;
  s.bytes = bytes;
  s.first = s.last = builder_.position_;
  return Slot{builder_.NewSlot(builder_.NewStorage(s), 0)};
}

schema::Activation Prepare::input_activation(int i) const {
  const int32_t value = node_.inputs[PlanBuilder::Index(i)];
  for (int32_t position = builder_.position_; position-- > 0;) {
    const Node& node = graph_.nodes[PlanBuilder::Index(position)];
    if (std::find(node.outputs.begin(), node.outputs.end(), value) != node.outputs.end()) return node.activation;
  }
  return schema::Activation::kNone;
}

Prepare::Derived Prepare::Derive(int i, const std::string& key, std::initializer_list<size_t> bytes) {
  const int32_t value = node_.inputs[PlanBuilder::Index(i)];
  // A variable may change between two readers; what reads only constants runs while planning.
  const bool lasts = !graph_.values[PlanBuilder::Index(value)].is_variable && constant(i) == nullptr;
  auto& kept = builder_.derived_;
  if (const auto found = kept.find({value, key}); lasts && found != kept.end()) {
    for (const Slot slot : found->second) {
      builder_.storages_[PlanBuilder::Index(builder_.slots_[PlanBuilder::Index(slot.index)].storage)].last = builder_.position_;
    }
    return {found->second, false};
  }
  Derived fresh{{}, true};
  for (const size_t size : bytes) fresh.slots.push_back(Scratch(size));
  if (lasts) kept[{value, key}] = fresh.slots;
  return fresh;
}

void Prepare::Alias(int o, int i) {
  const int32_t input = node_.inputs[PlanBuilder::Index(i)], output = node_.outputs[PlanBuilder::Index(o)];
  const size_t bytes = builder_.BytesOfValue(output);
  const bool strings = type(i) == TensorType::kString;
  Check(strings || bytes == builder_.BytesOfValue(input), "its output ", ToString(output_shape(o)), " is not the size of its input ",
        ToString(shape(i)));
  if (Share(o, i, 0)) return;
  const Slot from = in(i), to = out(o);
  if (strings) {
    Emit([=](RunContext& run) noexcept { *run.get<Strings>(to) = *run.get<Strings>(from); });
  } else {
    Emit([=](RunContext& run) noexcept { std::memcpy(run.get<std::byte>(to), run.get<std::byte>(from), bytes); });
  }
}

bool Prepare::AliasPart(int o, int i, size_t offset) {
  const int32_t input = node_.inputs[PlanBuilder::Index(i)], output = node_.outputs[PlanBuilder::Index(o)];
  if (type(i) == TensorType::kString || TensorTypeBits(type(i)) % 8 != 0 || builder_.storage_of_[PlanBuilder::Index(output)] >= 0)
    return false;
  Check(offset + builder_.BytesOfValue(output) <= builder_.BytesOfValue(input), "its output ", ToString(output_shape(o)),
        " is no part of its input ", ToString(shape(i)));
  return Share(o, i, offset);
}

// Makes an output another name of bytes of the input. False if it needs memory of its own, which no input and no other output may share.
bool Prepare::Share(int o, int i, size_t offset) {
  using Storage = PlanBuilder::Storage;
  const int32_t input = node_.inputs[PlanBuilder::Index(i)], output = node_.outputs[PlanBuilder::Index(o)];
  const bool strings = type(i) == TensorType::kString, leaves = builder_.is_output_[PlanBuilder::Index(output)];
  const int32_t storage = builder_.StorageOf(input);
  offset += builder_.offset_of_[PlanBuilder::Index(input)];
  if (const std::byte* known = constant(i); known != nullptr && !(strings && leaves)) {
    if (!strings) builder_.constants_[PlanBuilder::Index(output)] = known + offset - builder_.offset_of_[PlanBuilder::Index(input)];
    builder_.storage_of_[PlanBuilder::Index(output)] = storage;
    builder_.offset_of_[PlanBuilder::Index(output)] = offset;
    return true;
  }
  const Storage& s = builder_.storages_[PlanBuilder::Index(storage)];
  if (s.kind == Storage::kState) return false;  // its content may change while the output is still in use
  const bool next = s.kind == Storage::kBoundary && builder_.may_change_[PlanBuilder::Index(s.value)] != 0 &&
                    s.value == builder_.carried_[PlanBuilder::Index(output)];
  if (leaves && ((s.kind != Storage::kArena && !next) || s.bytes != builder_.BytesOfValue(output))) return false;
  builder_.Share(output, storage, offset);
  return true;
}

bool Prepare::is_bf16(int i) const {
  return has_input(i) && builder_.is_bf16_[PlanBuilder::Index(node_.inputs[PlanBuilder::Index(i)])] != 0;
}

bool Prepare::ReadersTakeBf16(int o) const {
  const Value& value = OutputValue(*this, graph_, o);
  const int32_t output = node_.outputs[PlanBuilder::Index(o)];
  if (value.type != TensorType::kFloat32 || value.is_variable || builder_.IsBoundary(output) || builder_.IsFoldable(node_)) return false;
  const std::vector<int32_t>& readers = builder_.ReadersOf(output);
  return !readers.empty() && std::all_of(readers.begin(), readers.end(), [&](int32_t position) {
    const Node& node = graph_.nodes[PlanBuilder::Index(position)];
    const Prepare reader(builder_, graph_, node);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == output && (node.op->takes_bf16 == nullptr || !node.op->takes_bf16(reader, static_cast<int>(i)))) return false;
    }
    return true;
  });
}

void Prepare::StoreAsBf16(int o) {
  OutputValue(*this, graph_, o);
  builder_.is_bf16_[PlanBuilder::Index(node_.outputs[PlanBuilder::Index(o)])] = 1;
}

void Prepare::MayOverwrite(int o, int i) {
  using Storage = PlanBuilder::Storage;
  if (!has_input(i)) return;
  const int32_t input = node_.inputs[static_cast<size_t>(i)], output = node_.outputs[static_cast<size_t>(o)];
  if (constant(i) != nullptr || builder_.storage_of_[PlanBuilder::Index(output)] >= 0 || type(i) == TensorType::kString) return;
  const int32_t at = builder_.StorageOf(input);
  const Storage& s = builder_.storages_[PlanBuilder::Index(at)];
  const bool leaves = builder_.is_output_[PlanBuilder::Index(output)] != 0;
  const bool carried = s.kind == Storage::kBoundary && (s.value == builder_.carried_[PlanBuilder::Index(output)] ||
                                                        (!leaves && builder_.may_change_[PlanBuilder::Index(s.value)] != 0));
  const size_t bytes = builder_.BytesOfValue(output);
  if ((s.kind != Storage::kArena && !carried) || s.last != builder_.position_ || builder_.BytesOfValue(input) != bytes) return;
  if (leaves && s.bytes != bytes) return;
  for (const int32_t other : node_.inputs) {
    if (other >= 0 && other != input && builder_.storage_of_[PlanBuilder::Index(other)] == at) return;
  }
  builder_.Share(output, at, builder_.offset_of_[PlanBuilder::Index(input)]);
}

const std::byte* Prepare::Pack(int i, const std::string& key, size_t bytes, const std::function<void(std::byte*)>& fill) {
  if (!is_constant(i)) Refuse(StatusCode::kInternal, "packs an input that is not constant");
  const size_t at = static_cast<size_t>(node_.inputs[static_cast<size_t>(i)]);
  const Value& value = graph_.values[at];
  const std::byte* known = builder_.constants_[at];
  // Constants that this plan computed die with it: what is packed from them is the plan's own.
  if (builder_.context_.packed != nullptr && value.constant == known) {
    return builder_.context_.packed->Get({known, value.constant_bytes}, Concat(kernels().tier, "/", op_name(), "/", key), bytes, fill);
  }
  auto own = std::make_shared<AlignedBytes>(bytes);
  fill(own->data());
  const std::byte* data = own->data();
  builder_.owners_.push_back(std::move(own));
  return data;
}

void Prepare::SetShapeLater(int o) {
  OutputValue(*this, graph_, o);
  builder_.late_.push_back(node_.outputs[PlanBuilder::Index(o)]);
}

const Graph& Prepare::graph_of(uint32_t subgraph) const {
  const auto& find = builder_.context_.graph_of;
  if (find == nullptr) Refuse(StatusCode::kUnimplemented, "it runs another subgraph");
  Check(subgraph < graph_.model->subgraphs.size(), "it runs subgraph ", subgraph, " of ", graph_.model->subgraphs.size());
  return *find(subgraph);
}

std::shared_ptr<const Plan> Prepare::PlanSubgraph(uint32_t subgraph, std::vector<Shape> input_shapes, bool loop) const {
  constexpr int kMostDepth = 16, kMostSubgraphs = 4096;
  const Graph& graph = graph_of(subgraph);
  Check(input_shapes.size() == graph.inputs.size(), "it has ", input_shapes.size(), " inputs for subgraphs[", subgraph, "], which has ",
        graph.inputs.size());
  PlanContext context = builder_.context_;
  context.loop = loop;
  context.next_states.clear();  // they are values of the graph around it
  if (context.subgraphs_left == nullptr) context.subgraphs_left = builder_.subgraphs_left_;
  if (++context.depth > kMostDepth)
    Refuse(StatusCode::kInvalidArgument, Concat("subgraphs[", subgraph, "] is nested more than ", kMostDepth, " deep"));
  if (context.subgraphs_left == nullptr) context.subgraphs_left = builder_.subgraphs_left_ = std::make_shared<int>(kMostSubgraphs);
  if (--*context.subgraphs_left < 0)
    Refuse(StatusCode::kInvalidArgument, Concat("the model runs more than ", kMostSubgraphs, " subgraphs"));
  return MakePlan(context.graph_of(subgraph), std::move(input_shapes), context);
}

int Prepare::AddFrame(std::shared_ptr<const Plan> plan) {
  const Slot arena = Scratch(plan->arena_bytes);
  builder_.uses_state_ = builder_.uses_state_ || plan->uses_state;
  builder_.subgraphs_.push_back({std::move(plan), arena.index});
  return static_cast<int>(builder_.subgraphs_.size()) - 1;
}

int Prepare::AddRunner(uint32_t subgraph) {
  builder_.runners_.push_back(subgraph);
  return static_cast<int>(builder_.runners_.size()) - 1;
}

State& Prepare::UseState() {
  if (builder_.context_.state == nullptr) Refuse(StatusCode::kUnimplemented, "it uses state");
  builder_.uses_state_ = true;
  return *builder_.context_.state;
}

void Prepare::AddLineStep(int i, LineStep step, std::shared_ptr<const void> owner) {
  step.input = node_.inputs[static_cast<size_t>(i)];
  step.output = node_.outputs[0];
  step.input_slot = in(i);
  step.output_slot = out(0);
  builder_.line_forms_.push_back({builder_.steps_.size() - 1, builder_.position_, step});
  builder_.owners_.push_back(std::move(owner));
}

LineStep& Prepare::LastLineStep(std::shared_ptr<const void> owner) {
  builder_.owners_.push_back(std::move(owner));
  return builder_.line_forms_.back().lines;
}

void Prepare::AddStep(Step step, std::shared_ptr<const void> owner) {
  step.node = &node_;
  step.flushes_denormals = (node_.op->traits & kFlushesDenormals) != 0;
  if (std::string& kernel = builder_.kernels_used_[PlanBuilder::Index(builder_.position_)]; kernel.empty()) kernel = kernels().tier;
  builder_.steps_.push_back(step);
  builder_.owners_.push_back(std::move(owner));
}

}  // namespace sigrun
