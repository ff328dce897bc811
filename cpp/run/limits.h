#pragma once

#include <atomic>
#include <chrono>

#include "sigrun/status.h"

namespace sigrun {

/// What ends a run early: a cancellation from any thread, a point in time, or an operator. Asked before every step.
class Limits {
 public:
  /// Of the thread that runs. No timeout if `timeout_seconds` is not above 0.
  void Begin(double timeout_seconds) {
    cancelled_.store(false, std::memory_order_relaxed);
    timed_ = timeout_seconds > 0;
    late_ = false;
    ended_ = false;
    if (!timed_) return;
    constexpr double kLongest = 1e9;
    deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(timeout_seconds < kLongest ? timeout_seconds : kLongest));
  }
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  /// The run ends here, and this is no error.
  void End() { ended_ = true; }
  bool ended() const { return ended_; }

  bool Reached() const {
    if (ended_) return true;
    if (timed_ && !late_) late_ = Clock::now() >= deadline_;
    return late_ || cancelled_.load(std::memory_order_relaxed);
  }
  Status status() const {
    if (ended_) return Status();
    if (late_) return Status(StatusCode::kDeadlineExceeded, "the run took longer than its timeout");
    return Status(StatusCode::kCancelled, "the run was cancelled");
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::atomic<bool> cancelled_{false};
  bool timed_ = false;
  bool ended_ = false;
  mutable bool late_ = false;
  Clock::time_point deadline_;
};

}  // namespace sigrun
