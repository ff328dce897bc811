#include <algorithm>
#include <cstring>
#include <string_view>

#include "ops/op.h"
#include "ops/support/subgraph.h"
#include "run/runner.h"

// WHILE, IF, STABLEHLO_CASE, CALL, STABLEHLO_COMPOSITE and CALL_ONCE: subgraphs that run inside a step. Where all shapes are known while
// planning, a subgraph is a plan bound to memory once, and what runs are its steps; inputs and outputs are handed over as pointers. Where
// they depend on data, a runner plans it with the shapes that are there, and the node's outputs come late.
namespace sigrun::ops {
namespace {

// --- CALL and IF
// --------------------------------------------------------------------------------------------------------------------------

// A subgraph as a frame, with the slots of the node that its inputs and outputs are.
struct Branch {
  struct Pointed {
    int32_t slot;
    Slot from;
    size_t offset;
  };
  struct Copied {
    TensorType type;
    const std::byte* constant;  // or from `from`
    Slot from, to;
    size_t bytes;
  };
  int frame = -1;
  std::vector<Pointed> pointed;
  std::vector<Copied> copied;
  std::vector<std::shared_ptr<const void>> owners;

  void operator()(RunContext& run) const noexcept {
    Frame& inner = run.frame(frame);
    for (const Pointed& p : pointed) inner.slots[static_cast<size_t>(p.slot)] = run.get<std::byte>(p.from) + p.offset;
    if (!run.Run(inner)) return;
    for (const Copied& c : copied)
      CopyOperand(c.type, c.constant != nullptr ? c.constant : run.get<const std::byte>(c.from), run.get<std::byte>(c.to), c.bytes);
  }
};

// The node's outputs have the plan's shapes already.
Branch MakeBranch(Prepare& p, const std::shared_ptr<const Plan>& plan, int first) {
  const Interface face = InterfaceOf(*plan);
  Branch branch;
  branch.frame = p.AddFrame(plan);
  branch.owners = face.owners;
  for (const Patch& patch : face.inputs) branch.pointed.push_back({patch.slot, p.in(first + patch.position), patch.offset});
  for (const Patch& patch : face.outputs) branch.pointed.push_back({patch.slot, p.out(patch.position), patch.offset});
  for (int o = 0; o < p.outputs(); ++o) {
    const OutputSource& source = face.sources[static_cast<size_t>(o)];
    if (source.kind == OutputSource::kOwn) continue;
    const Slot from = source.kind == OutputSource::kInput    ? p.in(first + source.position)
                      : source.kind == OutputSource::kOutput ? p.out(source.position)
                                                             : Slot{};
    branch.copied.push_back({p.output_type(o), source.constant, from, p.out(o), BytesOf(p.output_type(o), p.output_elements(o))});
  }
  return branch;
}

Shape OutputShape(const Plan& plan, int o) { return plan.shapes[static_cast<size_t>(plan.graph->outputs[static_cast<size_t>(o)])]; }

// The operands `first`... of a node for a runner.
struct Operands {
  std::vector<Slot> slots;
  std::vector<Shape> shapes;

  std::vector<Operand> At(const RunContext& run) const {
    std::vector<Operand> operands;
    for (size_t i = 0; i < slots.size(); ++i) operands.push_back({shapes[i], run.get<std::byte>(slots[i])});
    return operands;
  }
};

Operands MakeOperands(Prepare& p, int first) {
  Operands operands;
  operands.shapes = InputShapes(p, first);
  for (int i = first; i < p.inputs(); ++i) operands.slots.push_back(p.in(i));
  return operands;
}

std::vector<Slot> LateOutputs(Prepare& p) {
  std::vector<Slot> slots;
  for (int o = 0; o < p.outputs(); ++o) {
    p.SetShapeLater(o);
    slots.push_back(p.out(o));
  }
  return slots;
}

// Runs f, which may throw, in a step.
template <class F>
void RunGuarded(RunContext& run, const F& f) noexcept {
  if (Status status = Guard(f); !status.ok()) run.Fail(status.message());
}

// One of several subgraphs, as `choose(run)` says.
template <class Choose>
void PrepareChoice(Prepare& p, const std::vector<uint32_t>& subgraphs, int first, const Choose& choose) {
  std::vector<std::shared_ptr<const Plan>> plans;
  bool fixed = true;
  for (const uint32_t subgraph : subgraphs) {
    CheckSubgraph(p, subgraph, first);
    plans.push_back(p.PlanSubgraph(subgraph, InputShapes(p, first)));
    fixed = fixed && plans.back()->whole();
    for (int o = 0; fixed && o < p.outputs(); ++o) fixed = OutputShape(*plans.back(), o) == OutputShape(*plans[0], o);
  }
  if (fixed) {
    for (int o = 0; o < p.outputs(); ++o) p.SetShape(o, OutputShape(*plans[0], o));
    std::vector<Branch> branches;
    for (const auto& plan : plans) branches.push_back(MakeBranch(p, plan, first));
    p.Emit([=](RunContext& run) noexcept { branches[choose(run)](run); });
    return;
  }
  std::vector<int> runners;
  for (const uint32_t subgraph : subgraphs) runners.push_back(p.AddRunner(subgraph));
  p.Emit([=, inputs = MakeOperands(p, first), outputs = LateOutputs(p)](RunContext& run) noexcept {
    RunGuarded(run, [&] {
      Runner& runner = run.runner(runners[choose(run)]);
      Feed(runner, inputs.At(run));
      RunFed(runner);
      for (size_t o = 0; o < outputs.size(); ++o) TakeOutput(runner, o, *run.get<LateValue>(outputs[o]));
    });
  });
}

void PrepareCall(Prepare& p, uint32_t subgraph, int first) {
  PrepareChoice(p, {subgraph}, first, [](const RunContext&) { return size_t{0}; });
}

void PrepareCallOp(Prepare& p) { PrepareCall(p, p.options().Scalar<uint32_t>(0), 0); }

void PrepareComposite(Prepare& p) { PrepareCall(p, static_cast<uint32_t>(p.options_2().Scalar<int32_t>(1)), 0); }

void PrepareIf(Prepare& p) {
  p.Check(p.inputs() >= 1, "it has no condition");
  p.CheckType(0, {TensorType::kBool});
  p.Check(p.elements(0) == 1, "its condition has the shape ", ToString(p.shape(0)));
  const auto then_graph = static_cast<uint32_t>(p.options().Scalar<int32_t>(0)),
             else_graph = static_cast<uint32_t>(p.options().Scalar<int32_t>(1));
  if (const bool* known = p.constant_as<bool>(0)) return PrepareCall(p, *known ? then_graph : else_graph, 1);
  PrepareChoice(p, {then_graph, else_graph}, 1,
                [condition = p.in(0)](const RunContext& run) { return size_t{*run.get<uint8_t>(condition) == 0}; });
}

void PrepareCase(Prepare& p) {
  p.Check(p.inputs() >= 1, "it has no branch index");
  p.CheckType(0, {TensorType::kInt32});
  p.Check(p.elements(0) == 1, "its branch index has the shape ", ToString(p.shape(0)));
  const auto listed = p.options_2().Scalars<int32_t>(0, "branch_subgraph_indices");
  p.Check(!listed.empty(), "it has no branches");
  std::vector<uint32_t> subgraphs;
  for (uint32_t i = 0; i < listed.size(); ++i) subgraphs.push_back(static_cast<uint32_t>(listed[i]));
  // Out of range means the last.
  PrepareChoice(p, subgraphs, 1, [index = p.in(0), n = subgraphs.size()](const RunContext& run) {
    const int32_t i = *run.get<int32_t>(index);
    return i < 0 || static_cast<size_t>(i) >= n ? n - 1 : static_cast<size_t>(i);
  });
}

// --- WHILE
// --------------------------------------------------------------------------------------------------------------------------------

// A loop whose values keep their shapes. A value that the body hands on untouched is never copied, and one that the body updates in place
// has one memory; any other has two, which swap their roles after each turn.
struct Loop {
  struct Carried {
    Slot in, now, next;  // `next` is `now` where there is only one memory
    size_t bytes;
  };
  struct Copied {
    const std::byte* constant;
    int32_t from;   // position
    bool from_now;  // an input of the turn, else an output
    int32_t to;
    size_t bytes;
  };
  int condition = -1, body = -1;
  std::vector<Carried> carried;
  std::vector<Patch> condition_inputs, body_inputs, body_outputs;           // of all values
  std::vector<Patch> condition_swaps, body_input_swaps, body_output_swaps;  // of those that have two memories
  std::vector<int32_t> swapped;
  std::vector<Copied> copied;
  Slot table;  // pointers: carried.size() of now, as many of next
  // Where the condition is found.
  const std::byte* constant_verdict = nullptr;
  int32_t carried_verdict = -1;
  Slot verdict;
  std::vector<Patch> verdict_slots;

  void operator()(RunContext& run) const noexcept;
};

void Point(Frame& frame, const std::vector<Patch>& patches, std::byte* const* to) noexcept {
  std::byte** slots = frame.slots.data();
  for (const Patch& patch : patches) slots[patch.slot] = to[patch.position] + patch.offset;
}

void Loop::operator()(RunContext& run) const noexcept {
  Frame& condition_frame = run.frame(condition);
  Frame& body_frame = run.frame(body);
  std::byte** now = run.get<std::byte*>(table);
  std::byte** next = now + carried.size();
  for (size_t j = 0; j < carried.size(); ++j) {
    const Carried& c = carried[j];
    now[j] = run.get<std::byte>(c.now);
    next[j] = run.get<std::byte>(c.next);
    const std::byte* in = run.get<const std::byte>(c.in);
    if (in != now[j] && c.bytes > 0) std::memcpy(now[j], in, c.bytes);
  }
  Point(condition_frame, condition_inputs, now);
  Point(body_frame, body_inputs, now);
  Point(body_frame, body_outputs, next);
  for (const Patch& patch : verdict_slots)
    condition_frame.slots[static_cast<size_t>(patch.slot)] = run.get<std::byte>(verdict) + patch.offset;
  for (;;) {
    if (!run.Run(condition_frame)) return;
    const std::byte* goes_on = constant_verdict != nullptr ? constant_verdict
                               : carried_verdict >= 0      ? now[carried_verdict]
                                                           : run.get<const std::byte>(verdict);
    if (*goes_on == std::byte{0}) break;
    if (!run.Run(body_frame)) return;
    for (const Copied& c : copied) {
      if (c.bytes > 0) std::memcpy(next[c.to], c.constant != nullptr ? c.constant : c.from_now ? now[c.from] : next[c.from], c.bytes);
    }
    for (const int32_t j : swapped) std::swap(now[j], next[j]);
    Point(condition_frame, condition_swaps, now);
    Point(body_frame, body_input_swaps, now);
    Point(body_frame, body_output_swaps, next);
  }
  for (const int32_t j : swapped) {
    const Carried& c = carried[static_cast<size_t>(j)];
    std::byte* out = run.get<std::byte>(c.now);
    if (now[j] != out && c.bytes > 0) std::memcpy(out, now[j], c.bytes);
  }
}

std::vector<Patch> Among(const std::vector<Patch>& patches, const std::vector<int32_t>& positions) {
  std::vector<Patch> found;
  std::copy_if(patches.begin(), patches.end(), std::back_inserter(found),
               [&](const Patch& patch) { return std::find(positions.begin(), positions.end(), patch.position) != positions.end(); });
  return found;
}

// Memory for the value carried at position j.
Loop::Carried MakeCarried(Prepare& p, int j, const OutputSource& source, bool& swaps) {
  const size_t bytes = BytesOf(p.type(j), p.elements(j));
  p.SetShape(j, p.shape(j));
  const bool same = source.kind == OutputSource::kInput && source.position == j;
  const Graph& body = p.graph_of(static_cast<uint32_t>(p.options().Scalar<int32_t>(1)));
  swaps = !same;
  if (same && body.inputs[static_cast<size_t>(j)] == body.outputs[static_cast<size_t>(j)]) {
    p.Alias(j, j);
    const Slot in = p.in(j);
    return {in, in, in, bytes};
  }
  const auto& inputs = p.node().inputs;
  if (std::count(inputs.begin(), inputs.end(), inputs[static_cast<size_t>(j)]) == 1) p.MayOverwrite(j, j);
  const Slot in = p.in(j), now = p.out(j);
  return {in, now, same ? now : p.Scratch(bytes), bytes};
}

Loop MakeLoop(Prepare& p, const std::shared_ptr<const Plan>& condition, const std::shared_ptr<const Plan>& body) {
  const Interface body_face = InterfaceOf(*body), condition_face = InterfaceOf(*condition);
  Loop loop;
  for (int j = 0; j < p.inputs(); ++j) {
    const OutputSource& source = body_face.sources[static_cast<size_t>(j)];
    bool swaps = false;
    loop.carried.push_back(MakeCarried(p, j, source, swaps));
    if (!swaps) continue;
    loop.swapped.push_back(j);
    if (source.kind != OutputSource::kOwn) {
      loop.copied.push_back({source.constant, source.position, source.kind == OutputSource::kInput, j, loop.carried.back().bytes});
    }
  }
  loop.table = p.Scratch(2 * loop.carried.size() * sizeof(std::byte*));
  const OutputSource& verdict = condition_face.sources[0];
  loop.constant_verdict = verdict.constant;
  loop.carried_verdict = verdict.kind == OutputSource::kInput ? verdict.position : -1;
  loop.verdict = p.Scratch(1);
  loop.verdict_slots = condition_face.outputs;
  loop.condition_inputs = condition_face.inputs;
  loop.body_inputs = body_face.inputs;
  loop.body_outputs = body_face.outputs;
  loop.condition_swaps = Among(loop.condition_inputs, loop.swapped);
  loop.body_input_swaps = Among(loop.body_inputs, loop.swapped);
  loop.body_output_swaps = Among(loop.body_outputs, loop.swapped);
  loop.condition = p.AddFrame(condition);
  loop.body = p.AddFrame(body);
  return loop;
}

// A loop whose values change their shapes. The late outputs hold the values between the turns.
struct LateLoop {
  int condition, body;
  Operands inputs;
  std::vector<Slot> outputs;
  std::vector<TensorType> types;
  std::vector<char> stays;  // by position: the body hands it on untouched
  std::vector<char> asked;  // by position: the condition reads it

  void operator()(RunContext& run) const noexcept {
    RunGuarded(run, [&] { Run(run); });
  }

  void Run(RunContext& run) const {
    Runner& condition_runner = run.runner(condition);
    Runner& body_runner = run.runner(body);
    std::vector<Operand> operands = inputs.At(run);
    for (size_t j = 0; j < outputs.size(); ++j) Keep(*run.get<LateValue>(outputs[j]), operands[j], types[j]);
    for (bool first = true;; first = false) {
      for (size_t j = 0; j < outputs.size(); ++j) operands[j] = Current(run, j, first || !stays[j]);
      std::vector<Operand> for_condition = operands;
      for (size_t j = 0; j < outputs.size(); ++j) {
        if (!first && !asked[j]) for_condition[j].data = nullptr;
      }
      Feed(condition_runner, for_condition);
      RunFed(condition_runner);
      const Tensor& verdict = *condition_runner.tensor(condition_runner.graph().outputs[0]);
      if (verdict.bytes() != 1) Fail(StatusCode::kDataError, "its condition has the shape ", ToString(verdict.shape()));
      if (*verdict.data_as<uint8_t>() == 0) return;
      Feed(body_runner, operands);
      RunFed(body_runner);
      for (size_t j = 0; j < outputs.size(); ++j) {
        if (!stays[j]) TakeOutput(body_runner, j, *run.get<LateValue>(outputs[j]));
      }
    }
  }

  Operand Current(const RunContext& run, size_t j, bool changed) const {
    LateValue& value = *run.get<LateValue>(outputs[j]);
    std::byte* data = types[j] == TensorType::kString ? reinterpret_cast<std::byte*>(&value.strings) : value.bytes.data();
    return {value.shape, changed ? data : nullptr};
  }

  static void Keep(LateValue& value, const Operand& operand, TensorType type) {
    if (type == TensorType::kString) {
      value.shape = operand.shape;
      value.strings = *reinterpret_cast<const Strings*>(operand.data);
      return;
    }
    const size_t bytes = BytesOf(type, ElementCount(operand.shape, "a value of a loop"));
    CopyOperand(type, operand.data, value.Resize(operand.shape, bytes), bytes);
  }
};

LateLoop MakeLateLoop(Prepare& p, uint32_t condition, uint32_t body) {
  LateLoop loop;
  const Graph& asking = p.graph_of(condition);
  const Graph& turning = p.graph_of(body);
  const std::vector<int32_t> uses = UseCounts(asking);
  loop.condition = p.AddRunner(condition);
  loop.body = p.AddRunner(body);
  loop.inputs = MakeOperands(p, 0);
  loop.outputs = LateOutputs(p);
  for (int j = 0; j < p.inputs(); ++j) {
    const size_t at = static_cast<size_t>(j);
    loop.types.push_back(p.type(j));
    loop.stays.push_back(turning.inputs[at] == turning.outputs[at]);
    loop.asked.push_back(uses[static_cast<size_t>(asking.inputs[at])] > 0);
  }
  return loop;
}

// Strings are copied by value: only those that stay as they are can be pointed at.
bool StringsStay(const Graph& body) {
  for (size_t j = 0; j < body.inputs.size(); ++j) {
    if (body.values[static_cast<size_t>(body.inputs[j])].type == TensorType::kString && body.inputs[j] != body.outputs[j]) return false;
  }
  return true;
}

void PrepareWhile(Prepare& p) {
  const flatbuffer::Table& options = p.op_name() == "STABLEHLO_WHILE" ? p.options_2() : p.options();
  const auto condition_graph = static_cast<uint32_t>(options.Scalar<int32_t>(0)),
             body_graph = static_cast<uint32_t>(options.Scalar<int32_t>(1));
  CheckSubgraph(p, body_graph, 0);
  const Graph& asking = p.graph_of(condition_graph);
  p.Check(asking.inputs.size() == static_cast<size_t>(p.inputs()), "its condition, subgraphs[", condition_graph, "], has ",
          asking.inputs.size(), " inputs, the loop ", p.inputs());
  p.Check(asking.outputs.size() == 1 && asking.values[static_cast<size_t>(asking.outputs[0])].type == TensorType::kBool,
          "its condition, subgraphs[", condition_graph, "], has not one BOOL output");
  for (int j = 0; j < p.inputs(); ++j) {
    p.Check(asking.values[static_cast<size_t>(asking.inputs[static_cast<size_t>(j)])].type == p.type(j), "input ", j,
            " of its condition, subgraphs[", condition_graph, "], is not ", TensorTypeName(p.type(j)));
    p.Check(p.output_type(j) == p.type(j), "output ", j, " is ", TensorTypeName(p.output_type(j)), ", the input ",
            TensorTypeName(p.type(j)));
  }
  const auto condition = p.PlanSubgraph(condition_graph, InputShapes(p, 0)), body = p.PlanSubgraph(body_graph, InputShapes(p, 0), true);
  bool fixed = condition->whole() && body->whole() && StringsStay(*body->graph);
  for (int j = 0; fixed && j < p.inputs(); ++j) fixed = OutputShape(*body, j) == p.shape(j);
  if (!fixed) {
    p.Emit(MakeLateLoop(p, condition_graph, body_graph));
    return;
  }
  p.Check(ElementCount(OutputShape(*condition, 0), "its condition") == 1, "its condition has the shape ",
          ToString(OutputShape(*condition, 0)));
  p.Emit(MakeLoop(p, condition, body));
}

// --- CALL_ONCE
// ----------------------------------------------------------------------------------------------------------------------------

void PrepareCallOnce(Prepare& p) {
  p.CheckCounts(0, 0, 0);
  const auto subgraph = static_cast<uint32_t>(p.options().Scalar<int32_t>(0));
  const Graph& graph = p.graph_of(subgraph);
  p.Check(graph.inputs.empty() && graph.outputs.empty(), "subgraphs[", subgraph, "], which it runs, has inputs or outputs");
  p.UseState();
  p.Emit([subgraph, runner = p.AddRunner(subgraph)](RunContext& run) noexcept {
    RunGuarded(run, [&] {
      if (!run.state().TakeFirstTurn(subgraph)) return;
      const Status status = Guard([&] {
        run.runner(runner).AllocateTensors();
        RunFed(run.runner(runner));
      });
      if (status.ok()) return;
      run.state().GiveBackTurn(subgraph);
      throw Error(status.code(), status.message());
    });
  });
}

// What a subgraph does is not known here: none is folded or dropped.
constexpr OpDef kOps[] = {
    {.name = "CALL", .prepare = PrepareCallOp, .traits = kImpure},
    {.name = "CALL_ONCE", .prepare = PrepareCallOnce, .traits = kImpure},
    {.name = "IF", .prepare = PrepareIf, .traits = kImpure},
    {.name = "STABLEHLO_CASE", .prepare = PrepareCase, .traits = kImpure},
    {.name = "STABLEHLO_COMPOSITE", .prepare = PrepareComposite, .traits = kImpure},
    {.name = "STABLEHLO_WHILE", .prepare = PrepareWhile, .traits = kImpure},
    {.name = "WHILE", .prepare = PrepareWhile, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> control_flow_ops() { return kOps; }

}  // namespace sigrun::ops
