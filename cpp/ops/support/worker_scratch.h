#pragma once

#include "ops/op.h"

namespace sigrun::ops {

/// Scratch of its own for each worker of a step; none if there are no bytes.
struct WorkerScratch {
  Slot slot;
  size_t bytes;
  WorkerScratch(Prepare& p, size_t each) : slot(each == 0 ? Slot{} : p.Scratch(each * static_cast<size_t>(p.workers()))), bytes(each) {}
  std::byte* of(const RunContext& run, int worker) const { return run.get<std::byte>(slot) + static_cast<size_t>(worker) * bytes; }
};

}  // namespace sigrun::ops
