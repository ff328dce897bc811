#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"
#include "kernels/neon/tile_end.h"

// One k at a time: int16 activations by lane times 8 widened weights, smlal into int32.
namespace sigrun::kernels {
namespace {

using Activation = int16_t;
constexpr int kGroup = 1;
constexpr int kPanelVectors = 1;
constexpr int kTileRows = 8;
constexpr bool kTilesEndInFloats = false;

template <int kLane>
SIGRUN_INLINE I32 MultiplyLane(I32 acc, int16x8_t a, int16x8_t w) {
  return {vmlal_laneq_s16(acc.lo, vget_low_s16(w), a, kLane), vmlal_high_laneq_s16(acc.hi, w, a, kLane)};
}

template <int kRows, int kLane>
SIGRUN_INLINE void EightSteps(I32 (&acc)[kRows], const int16x8_t (&a)[kRows], const int8_t* weights) {
  const int8x16_t two = vld1q_s8(weights + kLane * kLanes);
  const int16x8_t w0 = vmovl_s8(vget_low_s8(two)), w1 = vmovl_high_s8(two);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = MultiplyLane<kLane>(acc[r], a[r], w0);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = MultiplyLane<kLane + 1>(acc[r], a[r], w1);
  if constexpr (kLane < 6) EightSteps<kRows, kLane + 2>(acc, a, weights);
}

template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  const ptrdiff_t a_stride = run.a_stride;
  const int8_t* weights = run.weights;
  I32 acc[kRows];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = Load(run.bias);
  const uint8_t* line = run.a;
  for (int32_t segment = 0; segment < run.segments; ++segment, line += run.segment_step) {
    const uint8_t* a = line;
    int32_t k = 0;
    for (; k + 8 <= run.k_groups; k += 8, a += 8 * sizeof(Activation), weights += 8 * kLanes) {
      int16x8_t x[kRows];
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) x[r] = vld1q_s16(reinterpret_cast<const int16_t*>(a + r * a_stride));
      EightSteps<kRows, 0>(acc, x, weights);
    }
    for (; k < run.k_groups; ++k, a += sizeof(Activation), weights += kLanes) {
      const int16x8_t w = vmovl_s8(vld1_s8(weights));
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) {
        acc[r] = MultiplyLane<0>(acc[r], vld1q_dup_s16(reinterpret_cast<const int16_t*>(a + r * a_stride)), w);
      }
    }
  }
  if (run.end != nullptr) {
    return StoreEnds<kRows>(
        run, [&](int r) __attribute__((always_inline)) { return acc[r]; });
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) Store(sums + r * kLanes, acc[r]);
}

}  // namespace
}  // namespace sigrun::kernels
