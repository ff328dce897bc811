#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "run/frame.h"
#include "run/thread_pool.h"
#include "sigrun/interpreter.h"

// What a step sees while it runs.
namespace sigrun {

/// Index of the runner's pointer table; -1 is the null slot. The slot of a string tensor points at its Strings, that of an output whose
/// shape comes late at its LateValue.
struct Slot {
  int32_t index = -1;
};

class RunContext {
 public:
  /// For steps that run no subgraph and use no state.
  RunContext(std::byte* const* slots, ThreadPool* pool) : slots_(slots), pool_(pool) {}
  /// `runner` is the one that runs the frame, or the frame around it.
  RunContext(Frame& frame, ThreadPool* pool, Runner* runner) : slots_(frame.slots.data()), pool_(pool), frame_(&frame), runner_(runner) {}

  template <class T>
  T* get(Slot slot) const {
    return slot.index < 0 ? nullptr : reinterpret_cast<T*>(slots_[slot.index]);
  }

  /// What Prepare::AddFrame and Prepare::AddRunner asked for. runner() throws Error if a runner cannot be made.
  Frame& frame(int handle) const { return frame_->frames[static_cast<size_t>(handle)]; }
  Runner& runner(int handle) const;
  /// Runs the steps of a frame of this step. False if one has failed; then this context has failed as well.
  bool Run(Frame& frame) noexcept;
  /// The Interpreter's, held by this call. Only for operators that asked for it with Prepare::UseState.
  State& state() const;

  /// Reports bad data in a tensor; the first report wins, and the runner stops after this step. The runner adds the op's name.
  void Fail(std::string message) noexcept {
    if (!failed_) message_ = std::move(message);
    failed_ = true;
  }
  /// Ends the run behind this step: what would come later keeps its values. Only for operators with effects (kImpure).
  void Stop() noexcept;
  bool failed() const { return failed_; }
  const std::string& message() const { return message_; }

  /// Calls f(kernels::Range, int worker) on ranges that cover [0, n), maybe from several threads; worker counts from 0 and stays below
  /// Prepare::workers(). `cost` is the rough number of elementary operations of one item: small jobs stay on this thread. Range borders are
  /// multiples of `grain`; there are at most `most` ranges a thread, and the same n is cut at the same places. f must not throw.
  template <class F>
  void Parallel(int32_t n, int64_t cost, const F& f, int32_t grain = 1, int32_t most = 4) const noexcept {
    constexpr int64_t kWorthAThread = 1 << 14;
    const int threads = pool_ == nullptr ? 1 : pool_->threads();
    const int64_t grains = (int64_t{n} + grain - 1) / grain;
    int64_t pieces = threads == 1 ? 1 : std::min({int64_t{most} * threads, n * cost / kWorthAThread, grains});
    if (pieces <= 1) {
      if (n > 0) f(kernels::Range{0, n}, 0);
      return;
    }
    if (pieces > threads) pieces -= pieces % threads;
    const auto border = [&](int64_t i) { return static_cast<int32_t>(std::min<int64_t>(grains * i / pieces * grain, n)); };
    pool_->Run(static_cast<int32_t>(pieces), [&](int32_t i, int worker) { f(kernels::Range{border(i), border(i + 1)}, worker); });
  }

 private:
  std::byte* const* slots_;
  ThreadPool* pool_;
  Frame* frame_ = nullptr;
  Runner* runner_ = nullptr;
  bool failed_ = false;
  std::string message_;
};

/// One call of a plan: a function on its own arguments.
struct Step {
  void (*run)(const void* self, RunContext& context) noexcept;
  const void* self;
  const void* node;             // for messages and profiles
  const void* first = nullptr;  // of the nodes that run in this step, where there are several; `node` is the last
  bool flushes_denormals = false;
};

}  // namespace sigrun
