#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sigrun/types.h"

namespace sigrun {

/// What one operator of a model did in the profiled runs.
struct OperatorProfile {
  int32_t index = 0;  // its place among the operators of its subgraph in the file
  std::string op;     // "CONV_2D"; "CONV_2D+DEPTHWISE_CONV_2D" for several that ran as one
  std::string name;   // of its first output
  Shape shape;        // of its first output
  int32_t calls = 0;
  double seconds = 0;         // of one call: the median of all
  double begin = 0;           // seconds from the last run's start to this operator's
  double last = 0;            // seconds that it took in the last run
  int64_t multiply_adds = 0;  // of one call, as the operator is defined; 0 where it is no sum of products
  int64_t bytes = 0;          // that one call reads and writes: its inputs, weights and outputs, each once
};

/// Operators in the order in which they run. Those that were folded, fused into others or merely rename memory are not there.
struct Profile {
  std::vector<OperatorProfile> operators;
  std::string tier;  // of the kernels in use
  int threads = 1;
  double seconds = 0;  // of one run, the median of all; with what lies between the operators
};

}  // namespace sigrun
