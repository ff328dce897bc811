#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graph/passes/passes.h"
#include "plan/plan.h"
#include "run/limits.h"
#include "run/profiler.h"
#include "run/thread_pool.h"
#include "sigrun/interpreter.h"
#include "sigrun/plan_report.h"

namespace sigrun {

struct RunnerOptions {
  const kernels::Kernels* kernels = &kernels::Best();
  Precision precision = Precision::kHighest;
  bool preserve_all_tensors = false;
};

/// A subgraph with memory of its own: plan + arena + inputs and outputs. Calls are serialised by its mutex.
class Runner {
 public:
  /// `depth` counts the runners around a runner of IF or WHILE; throws Error if subgraphs are nested too deep.
  Runner(std::shared_ptr<const Model> model, uint32_t subgraph, std::shared_ptr<ThreadPool> pool, std::shared_ptr<State> state,
         const RunnerOptions& options, int depth = 0, std::shared_ptr<Limits> limits = nullptr);
  ~Runner();

  /// By tensor index; throws Error. Only records: AllocateTensors plans.
  void ResizeInput(int32_t tensor, const Shape& shape, bool strict);
  /// Throws Error, and then leaves everything as it was.
  void AllocateTensors();
  /// What ResizeInput of all inputs and AllocateTensors would do, if that takes no more than a look: a plan is bound of which
  /// `fits(shapes of the graph's inputs)`, and no view is held. Otherwise false, and nothing has happened. mutex() must be held.
  template <class F>
  bool SwitchTo(const F& fits) {
    for (Part& part : parked_) {
      if (fits(part.frame.plan->input_shapes)) return SwitchTo(part);
    }
    return false;
  }
  /// Not thread-safe against a live writer of the inputs, but against other calls of this runner.
  Status Invoke(const InvokeOptions& options = {}) noexcept;
  bool CanLend(const Tensor& tensor) const;
  /// From now on these outputs are the next values of these inputs, and no others are. Throws Error, and then leaves everything as it was.
  void BindState(std::vector<NextState> states);
  /// Fills the bound inputs with zeros.
  void ResetState();
  /// From any thread.
  void Cancel() { limits_->Cancel(); }
  Limits& limits() const { return *limits_; }
  /// Invokes once to warm up and then `count` times with an eye on the clock. kInvalidArgument unless count is positive.
  Status ProfileRuns(int count, Profile& profile) noexcept;

  /// Of the current plan; empty before AllocateTensors. Throws std::bad_alloc.
  PlanReport Report();

  bool allocated() const { return !parts_.empty() && !resized_; }
  /// Null for intermediates.
  Tensor* tensor(int32_t index);
  /// The tensor's shape: of an input as last asked for, else as planned, else as the file has it.
  Shape shape(int32_t index) const;
  const Graph& graph() const { return *graph_; }
  /// The plan of the graph's first part: all of it, unless shapes depend on data.
  const Plan* plan() const { return parts_.empty() ? nullptr : parts_[0].frame.plan.get(); }
  State& state() { return *state_; }
  /// A runner of another subgraph, for a step of this one.
  std::shared_ptr<Runner> MakeInner(uint32_t subgraph) const {
    return std::make_shared<Runner>(model_, subgraph, pool_, state_, options_, depth_ + 1, limits_);
  }
  /// Held while the runner's tensors are read, written or run as one action (a call with keyword arguments).
  std::recursive_mutex& mutex() { return mutex_; }

 private:
  // A plan bound to memory. There is one, and further ones where shapes depend on data.
  struct Part {
    Frame frame;
    std::shared_ptr<AlignedBytes> arena;
  };
  // Memory of an input or output. It stands outside the arena, so that a view of one is not moved when another changes.
  struct Boundary {
    std::shared_ptr<AlignedBytes> bytes;
    std::shared_ptr<Strings> strings;
  };

  std::shared_ptr<const Graph> GraphOf(uint32_t subgraph, passes::Reliance reliance) const;
  PlanContext Context(passes::Reliance reliance) const;
  std::shared_ptr<const Plan> PlanStates() const;
  std::shared_ptr<const Plan> PlanStates(const std::shared_ptr<const Graph>& graph, passes::Reliance reliance) const;
  void CheckStates(const Plan& plan) const;
  void Adopt(std::shared_ptr<const Plan> plan);
  void CarryStates();
  Part Bind(std::shared_ptr<const Plan> plan, const Part* reused, const Prior& prior, std::vector<Boundary>& boundary) const;
  bool SwitchTo(Part& parked);
  void Use(Part& parked);
  void Park(const Part& next, const std::vector<Boundary>& boundary);
  void Show(const Plan& plan, const std::shared_ptr<const Plan>& owner);
  void RefuseMovingHeldTensors(const Plan& plan) const;
  Frame BindFrame(std::shared_ptr<const Plan> plan, std::byte* arena, const Prior* prior, const std::vector<Boundary>* boundary) const;
  void Point(int32_t tensor, std::byte* data);
  Status RunPart(Part& part) noexcept;
  void RunPartTimed(Part& part);
  void RunRest();
  void LeaveBehind(const Part& part, Prior& prior) const;
  void ShowLate(const Part& part);
  std::byte* VariableTensor(const Plan& plan, int32_t value) const;

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Graph> graph_;
  std::shared_ptr<ThreadPool> pool_;
  std::shared_ptr<State> state_;
  RunnerOptions options_;
  int depth_;
  std::shared_ptr<Limits> limits_;  // shared with the runners of its subgraphs
  std::recursive_mutex mutex_;
  std::unique_lock<std::recursive_mutex> state_lock_;  // of the call under way, once it has used state

  std::vector<int32_t> boundary_ids_;  // inputs and outputs, each once
  std::vector<Shape> input_shapes_;    // as asked for, in the graph's order
  std::vector<NextState> states_;      // that BindState was given
  bool resized_ = false;               // since the plan was made
  PlanCache plans_;
  std::vector<std::unique_ptr<Tensor>> tensors_;  // by tensor index; null for intermediates
  std::vector<Boundary> boundary_;                // by tensor index
  Profiler* profiler_ = nullptr;                  // while ProfileRuns is at work
  std::vector<Part> parked_;                      // of other shapes, bound to the same memory as parts_[0]
  std::vector<Part> parts_;                       // in the order in which they run; empty before AllocateTensors
};

}  // namespace sigrun
