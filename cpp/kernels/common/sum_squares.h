#pragma once

#include <cstddef>
#include <cstring>

#include "kernels/common/inline.h"

// Sums of squares in double precision, of every tier by the same bits: sixteen sums side by side, which a compiler makes as many vectors
// as its tier has lanes, joined in one order.
namespace sigrun::kernels {
namespace {

SIGRUN_INLINE double SumSquaresInDouble(const float* x, size_t n) {
  constexpr size_t kLanes = 16;
  typedef float Floats __attribute__((vector_size(kLanes / 2 * sizeof(float))));
  typedef double Doubles __attribute__((vector_size(kLanes / 2 * sizeof(double))));
  Doubles low = {}, high = {};
  const auto add = [&](const float* from) SIGRUN_INLINE_LAMBDA {
    Floats a, b;
    std::memcpy(&a, from, sizeof(a));
    std::memcpy(&b, from + kLanes / 2, sizeof(b));
    const Doubles wide_a = __builtin_convertvector(a, Doubles), wide_b = __builtin_convertvector(b, Doubles);
    low += wide_a * wide_a;
    high += wide_b * wide_b;
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) add(x + i);
  if (i < n) {
    float rest[kLanes] = {};
    std::memcpy(rest, x + i, (n - i) * sizeof(float));
    add(rest);
  }
  low += high;
  const double quarter[4] = {low[0] + low[4], low[1] + low[5], low[2] + low[6], low[3] + low[7]};
  return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

}  // namespace
}  // namespace sigrun::kernels
