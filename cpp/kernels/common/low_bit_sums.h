#pragma once

#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/kernels.h"

namespace sigrun::kernels {
namespace {

/// kernels.h's weight_sum of a channel: what a row with the zero point -1 and nothing else gives.
SIGRUN_INLINE float WeightedSum(const LowBitShape& s, const int8_t* weights, const float* scale) {
  float total = 0.0f;
  for (int32_t first = 0; first < s.k; first += s.block, ++scale) {
    int32_t sum = 0;
    for (int32_t i = 0; i < s.block; ++i) sum += weights[first + i];
    total = static_cast<float>(sum) * *scale + total;
  }
  return total;
}

}  // namespace
}  // namespace sigrun::kernels
