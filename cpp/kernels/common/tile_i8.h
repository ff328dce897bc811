#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_end_i8.h"
#include "kernels/common/tile_run_i8.h"

// The register tile of the x86 tiers, over LoadWeights(weights), Broadcast(a) and Dot(sum, a, w).
namespace sigrun::kernels {
namespace {

/// sums[r][v * kLanes + n] = bias[..] + sum over k of a[r][k] * weights[k][..]. A small tile keeps several sums of one element, since a dot
/// product takes longer than the few of them need to issue.
template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  constexpr int kSplit = kRows * kVectors > 6 ? 1 : kRows * kVectors > 2 ? 2 : 4;
  constexpr ptrdiff_t kActivationStep = kGroup * static_cast<ptrdiff_t>(sizeof(Activation)), kWeightStep = kVectors * kLanes * kGroup;
  const uint8_t* a = run.a;
  const ptrdiff_t a_stride = run.a_stride, ahead_step = run.ahead_step;
  const int8_t *weights = run.weights, *ahead = run.ahead;
  const int32_t k_groups = run.k_groups;
  I32 acc[kSplit][kRows][kVectors];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[0][r][v] = Load(run.bias + v * kLanes);
      SIGRUN_UNROLL
      for (int i = 1; i < kSplit; ++i) acc[i][r][v] = Set1(0);
    }
  }
  const auto step = [&](I32(&to)[kRows][kVectors], const uint8_t* from, const int8_t* w) __attribute__((always_inline)) {
    __builtin_prefetch(ahead, 0, 2);
    ahead += ahead_step;
    Weights panel[kVectors];
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) panel[v] = LoadWeights(w + v * kLanes * kGroup);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Broadcasted x = Broadcast(from + r * a_stride);
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) to[r][v] = Dot(to[r][v], x, panel[v]);
    }
  };
  for (int32_t segments = run.segments; segments > 0; --segments, a += run.segment_step) {
    const uint8_t* from = a;
    int32_t k = 0;
    for (; k + kSplit <= k_groups; k += kSplit, from += kSplit * kActivationStep, weights += kSplit * kWeightStep) {
      SIGRUN_UNROLL
      for (int i = 0; i < kSplit; ++i) step(acc[i], from + i * kActivationStep, weights + i * kWeightStep);
    }
    for (; k < k_groups; ++k, from += kActivationStep, weights += kWeightStep) step(acc[0], from, weights);
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      SIGRUN_UNROLL
      for (int i = 1; i < kSplit; ++i) acc[0][r][v] = acc[0][r][v] + acc[i][r][v];
    }
  }
  if (run.end != nullptr) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v)
      StoreEnds<kRows>(
          run, v, [&](int r) __attribute__((always_inline)) { return acc[0][r][v]; });
    return;
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) Store(sums + (r * kVectors + v) * kLanes, acc[0][r][v]);
  }
}

}  // namespace
}  // namespace sigrun::kernels
