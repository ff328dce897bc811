#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "run/state.h"
#include "sigrun/interpreter.h"

namespace sigrun {

struct Plan;
class Runner;
class ThreadPool;
class RunContext;

/// An output whose shape only the step that writes it knows. The step sets all that applies; the memory is the runner's, and is kept.
struct LateValue {
  Shape shape;
  AlignedBytes bytes;
  Strings strings;

  /// Memory for `count` bytes; what was there is lost if it grows. Throws Error.
  std::byte* Resize(Shape new_shape, size_t count) {
    if (bytes.data() == nullptr || bytes.size() < count) bytes = AlignedBytes(count);
    shape = std::move(new_shape);
    return bytes.data();
  }
};

/// A plan bound to memory: its table of pointers, and what its steps own beside the arena. The frame of a subgraph has its inputs and
/// outputs pointed at by the step that runs it.
struct Frame {
  std::shared_ptr<const Plan> plan;
  std::vector<std::byte*> slots;
  std::vector<std::shared_ptr<Strings>> strings;
  std::vector<std::unique_ptr<LateValue>> late;  // as Plan::late
  std::vector<Frame> frames;                     // of the subgraphs that steps run, as Plan::subgraphs
  std::vector<std::shared_ptr<Runner>> runners;  // as Plan::runners; null until the first use
};

}  // namespace sigrun
