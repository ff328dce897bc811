#pragma once

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "plan/plan.h"
#include "sigrun/profile.h"

namespace sigrun {

/// Gathers the times of a runner's steps by operator. A runner that has none reads no clock.
class Profiler {
 public:
  using Clock = std::chrono::steady_clock;

  /// A run begins.
  void Begin(Clock::time_point now) { began_ = now; }
  /// The run's steps of `plan` ended at laps[1], laps[2] ...; the first began at laps[0].
  void Add(const Plan& plan, const std::vector<Clock::time_point>& laps);
  void End(Clock::time_point now);

  Profile Result() const;

 private:
  struct Times {
    const Node* node = nullptr;
    std::string op;
    std::vector<double> seconds;  // by run
    double begin = 0;
    int64_t multiply_adds = 0, bytes = 0;
    Shape shape;
  };
  Times& TimesOf(const Plan& plan, const Step& step);

  std::shared_ptr<const Graph> graph_;
  std::map<const Node*, size_t> position_;
  std::vector<Times> times_;  // in the order in which the operators first ran
  std::vector<double> runs_;
  Clock::time_point began_;
};

}  // namespace sigrun
