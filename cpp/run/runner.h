#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "run/thread_pool.h"
#include "sigrun/interpreter.h"

namespace sigrun {

/// A subgraph with memory of its own: plan + arena + inputs and outputs. Calls are serialised by its mutex.
class Runner {
 public:
  Runner(std::shared_ptr<const Model> model, uint32_t subgraph, std::shared_ptr<ThreadPool> pool);
  ~Runner();

  /// By tensor index; throws Error. Only records: AllocateTensors plans.
  void ResizeInput(int32_t tensor, const Shape& shape, bool strict);
  /// Throws Error, and then leaves everything as it was.
  void AllocateTensors();
  /// Not thread-safe against a live writer of the inputs, but against other calls of this runner.
  Status Invoke() noexcept;

  bool allocated() const { return plan_ != nullptr && !resized_; }
  /// Null for intermediates.
  Tensor* tensor(int32_t index);
  /// The tensor's shape: of an input as last asked for, else as planned, else as the file has it.
  Shape shape(int32_t index) const;
  const Graph& graph() const { return *graph_; }
  const Plan* plan() const { return plan_.get(); }
  /// Held while the runner's tensors are read, written or run as one action (a call with keyword arguments).
  std::recursive_mutex& mutex() { return mutex_; }

 private:
  struct Memory;
  void Bind(std::shared_ptr<const Plan> plan);
  void RefuseMovingHeldTensors(const Plan& plan) const;

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Graph> graph_;
  std::shared_ptr<ThreadPool> pool_;
  std::recursive_mutex mutex_;

  std::vector<Shape> input_shapes_;  // as asked for, in the graph's order
  bool resized_ = false;             // since the plan was made
  std::shared_ptr<const Plan> plan_;
  PlanCache plans_;
  std::vector<std::unique_ptr<Tensor>> tensors_;  // by tensor index; null for intermediates
  std::unique_ptr<Memory> memory_;
};

}  // namespace sigrun
