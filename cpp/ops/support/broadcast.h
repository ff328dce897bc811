#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <utility>

#include "kernels/elements.h"
#include "ops/op.h"
#include "ops/support/elements.h"

// Elementwise operators over operands of different shapes: the dimensions are collapsed into few loops around runs, in each of which an
// operand is either a vector or one value.
namespace sigrun::ops {

inline constexpr int kMaxLoops = 12;

/// The shape that both broadcast to; throws naming the two if there is none.
Shape BroadcastShapes(const Prepare& p, const Shape& a, const Shape& b);

/// How `operands` tensors are walked beside a dense output.
struct BroadcastPlan {
  static constexpr int kMaxOperands = 3;
  int operands = 0;
  int loops = 0;                            // around the runs, outermost first
  int32_t extent[kMaxLoops];                // of each loop
  int64_t stride[kMaxOperands][kMaxLoops];  // elements an operand moves per step of a loop
  int64_t runs = 0;                         // product of the extents; 0 if the output is empty
  int64_t run = 0;                          // elements of the output in one run
  bool fixed[kMaxOperands] = {};            // the operand is one value throughout a run
};
BroadcastPlan PlanBroadcast(const Prepare& p, std::initializer_list<Shape> operands, const Shape& output);

using Offsets = std::array<int64_t, BroadcastPlan::kMaxOperands>;

/// A place in a plan that has loops, from which it goes on without a division.
class LoopWalk {
 public:
  LoopWalk(const BroadcastPlan& plan, int64_t run_index) : plan_(plan) {
    for (int d = plan.loops - 1; d >= 0; run_index /= plan.extent[d], --d) {
      index_[d] = run_index % plan.extent[d];
      Move(d, index_[d]);
    }
  }
  /// Where the run of each operand begins.
  const Offsets& at() const { return at_; }
  /// Runs of the innermost loop up to its end.
  int64_t left() const { return plan_.extent[plan_.loops - 1] - index_[plan_.loops - 1]; }
  /// So many runs on, at most left().
  void Go(int64_t count) {
    for (int d = plan_.loops - 1; d >= 0; --d, count = 1) {
      index_[d] += count;
      Move(d, count);
      if (index_[d] < plan_.extent[d]) return;
      index_[d] = 0;
      Move(d, -plan_.extent[d]);
    }
  }

 private:
  void Move(int d, int64_t count) {
    for (int i = 0; i < plan_.operands; ++i) at_[static_cast<size_t>(i)] += count * plan_.stride[i][d];
  }
  const BroadcastPlan& plan_;
  Offsets at_ = {};
  int64_t index_[kMaxLoops];
};

/// Calls f(offsets of the operands, offset of the output, elements of a run, runs) for pieces of the innermost loop, or of a single run.
template <class F>
void ForLoops(const RunContext& run, const BroadcastPlan& plan, int64_t cost, const F& f) {
  if (plan.runs <= 1) {
    ForElements(run, plan.runs * plan.run, cost, [&](int64_t begin, int64_t count) {
      Offsets at = {};
      for (int i = 0; i < plan.operands; ++i) at[static_cast<size_t>(i)] = plan.fixed[i] ? 0 : begin;
      f(at, begin, count, int64_t{1});
    });
    return;
  }
  run.Parallel(static_cast<int32_t>(plan.runs), cost * plan.run, [&](kernels::Range runs, int) {
    LoopWalk walk(plan, runs.begin);
    for (int64_t k = runs.begin, count = 0; k < runs.end; k += count, walk.Go(count)) {
      count = std::min(runs.end - k, walk.left());
      f(walk.at(), k * plan.run, plan.run, count);
    }
  });
}

/// The same run by run: f(offsets of the operands, offset of the output, count).
template <class F>
void ForRuns(const RunContext& run, const BroadcastPlan& plan, int64_t cost, const F& f) {
  ForLoops(run, plan, cost, [&](Offsets at, int64_t to, int64_t n, int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      f(at, to + k * n, n);
      for (int i = 0; i < plan.operands && plan.loops > 0; ++i) at[static_cast<size_t>(i)] += plan.stride[i][plan.loops - 1];
    }
  });
}

inline kernels::Operands OperandsOf(const BroadcastPlan& plan) {
  return plan.fixed[0]   ? kernels::Operands::kScalarVector
         : plan.fixed[1] ? kernels::Operands::kVectorScalar
                         : kernels::Operands::kVectorVector;
}

/// Runs of a loop: `count` of n elements, an operand moving by so many elements from one to the next.
struct LoopRuns {
  int64_t n, count;
  std::array<int64_t, 2> step;
  kernels::Operands operands;
};

/// Runs of a binary operator on untyped elements.
using BinaryRun = std::function<void(const void* a, const void* b, void* y, const LoopRuns& runs)>;

/// A binary operator over inputs 0 and 1, whose elements take `operand_bytes`: sets the output's shape and emits the step. f reads an
/// element before it writes the one in its place.
void EmitBinaryRuns(Prepare& p, size_t operand_bytes, size_t result_bytes, int64_t cost, BinaryRun f);

/// The same for f(const A* a, const A* b, Y* y, size_t n, Operands).
template <class A, class Y, class F>
void EmitBinary(Prepare& p, int64_t cost, F f) {
  EmitBinaryRuns(p, sizeof(A), sizeof(Y), cost, [f = std::move(f)](const void* from_a, const void* from_b, void* to, const LoopRuns& runs) {
    const A *a = static_cast<const A*>(from_a), *b = static_cast<const A*>(from_b);
    Y* y = static_cast<Y*>(to);
    for (int64_t k = 0; k < runs.count; ++k, a += runs.step[0], b += runs.step[1], y += runs.n) {
      f(a, b, y, static_cast<size_t>(runs.n), runs.operands);
    }
  });
}

/// The same for a kernel on elements, which `swapped` gives them the other way round.
void EmitPairs(Prepare& p, size_t operand_bytes, size_t result_bytes, kernels::PairsKernel kernel, bool swapped = false);

/// The same for a float32 kernel, with the node's activation.
void EmitBinaryF32(Prepare& p, kernels::Binary op);

/// The same for an operation on one pair of elements.
template <class A, class Y, class Op>
void EmitBinaryOp(Prepare& p, int64_t cost, Op op) {
  EmitBinary<A, Y>(p, cost, [op](const A* a, const A* b, Y* y, size_t n, kernels::Operands operands) {
    switch (operands) {
      case kernels::Operands::kVectorScalar: {
        const A& right = *b;
        for (size_t i = 0; i < n; ++i) y[i] = op(a[i], right);
        break;
      }
      case kernels::Operands::kScalarVector: {
        const A& left = *a;
        for (size_t i = 0; i < n; ++i) y[i] = op(left, b[i]);
        break;
      }
      default:
        for (size_t i = 0; i < n; ++i) y[i] = op(a[i], b[i]);
    }
  });
}

}  // namespace sigrun::ops
