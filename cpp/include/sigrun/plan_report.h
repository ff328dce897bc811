#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sigrun/types.h"

// What a runner's plan looks like from outside.
namespace sigrun {

/// One step of a plan: an operator, or several that run as one.
struct PlannedStep {
  int32_t index = 0;   // of its last operator among those of its subgraph in the file
  std::string op;      // "CONV_2D"; "CONV_2D+DEPTHWISE_CONV_2D" for several
  std::string name;    // of its output
  Shape shape;         // of its output; empty if only the run will tell
  std::string kernel;  // how it is computed, and why so where there was a choice
};

/// Memory of the arena from step `first` to step `last`, both included.
struct ArenaBlock {
  std::string name;  // the tensors that share it, or whose operator's scratch it is
  size_t offset = 0, bytes = 0;
  int32_t first = 0, last = 0;
};

/// What a runner takes, in bytes.
struct MemoryReport {
  size_t arena = 0;                // intermediates and scratch
  size_t inputs_and_outputs = 0;   // of this runner; less where the caller lends memory
  size_t weights = 0;              // constants of the model's file, which is mapped and shared
  size_t packed = 0;               // weights in the kernels' layouts, shared by all runners of the Model
  std::vector<ArenaBlock> blocks;  // of the arena, by offset
};

struct PlanReport {
  std::vector<PlannedStep> steps;
  std::string tier;  // of the kernels in use
  int threads = 1;
  bool whole = true;  // false if shapes depend on data: further steps are planned while running, and listed after a run
  MemoryReport memory;
};

}  // namespace sigrun
