#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"
// The vocabulary above comes first.
#include "kernels/common/tile_end_i8.h"

// Dot products of four by sdot: sixteen activations of a row are loaded at once and taken by lane.
namespace sigrun::kernels {
namespace {

using Activation = int8_t;
constexpr int kGroup = 4;
constexpr int kPanelVectors = 1;
constexpr int kTileRows = 8;

template <int kLane>
SIGRUN_INLINE I32 DotLane(I32 acc, int8x16_t a, int8x16_t w0, int8x16_t w1) {
  return {vdotq_laneq_s32(acc.lo, w0, a, kLane), vdotq_laneq_s32(acc.hi, w1, a, kLane)};
}

template <int kRows, int kLane, int kEnd>
SIGRUN_INLINE void FewSteps(I32 (&acc)[kRows], const int8x16_t (&a)[kRows], const int8_t* weights) {
  const int8x16_t w0 = vld1q_s8(weights + kLane * 32), w1 = vld1q_s8(weights + kLane * 32 + 16);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = DotLane<kLane>(acc[r], a[r], w0, w1);
  if constexpr (kLane + 1 < kEnd) FewSteps<kRows, kLane + 1, kEnd>(acc, a, weights);
}

template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  const ptrdiff_t a_stride = run.a_stride;
  const int8_t* weights = run.weights;
  I32 acc[kRows];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = Load(run.bias);
  const int8_t* line = reinterpret_cast<const int8_t*>(run.a);
  for (int32_t segment = 0; segment < run.segments; ++segment, line += run.segment_step) {
    const int8_t* in = line;
    int32_t k = 0;
    for (; k + 4 <= run.k_groups; k += 4, in += 16, weights += 4 * 32) {
      int8x16_t x[kRows];
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) x[r] = vld1q_s8(in + r * a_stride);
      FewSteps<kRows, 0, 4>(acc, x, weights);
    }
    for (; k + 2 <= run.k_groups; k += 2, in += 8, weights += 2 * 32) {
      int8x16_t x[kRows];
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) x[r] = vcombine_s8(vld1_s8(in + r * a_stride), vdup_n_s8(0));
      FewSteps<kRows, 0, 2>(acc, x, weights);
    }
    for (; k < run.k_groups; ++k, in += 4, weights += 32) {
      const int8x16_t w0 = vld1q_s8(weights), w1 = vld1q_s8(weights + 16);
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        std::memcpy(&four, in + r * a_stride, sizeof(four));
        acc[r] = DotLane<0>(acc[r], vreinterpretq_s8_s32(vdupq_n_s32(four)), w0, w1);
      }
    }
  }
  if (run.end != nullptr) {
    return StoreEnds<kRows>(
        run, 0, [&](int r) __attribute__((always_inline)) { return acc[r]; });
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) Store(sums + r * kLanes, acc[r]);
}

}  // namespace
}  // namespace sigrun::kernels
