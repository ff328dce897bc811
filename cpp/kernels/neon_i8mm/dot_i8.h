#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"

// Dot products of eight by smmla: two rows of activations times two output channels, a 2x2 block of sums a register. An odd last row is
// paired with itself.
namespace sigrun::kernels {
namespace {

using Activation = int8_t;
constexpr int kGroup = 8;
constexpr int kPanelVectors = 1;
constexpr int kTileRows = 8;

template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  const ptrdiff_t a_stride = run.a_stride;
  const int8_t* weights = run.weights;
  constexpr int kPairs = (kRows + 1) / 2;
  int32x4_t acc[kPairs][4];
  SIGRUN_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    SIGRUN_UNROLL
    for (int n = 0; n < 4; ++n) {
      const int32x2_t b = vld1_s32(run.bias + 2 * n);
      acc[p][n] = vcombine_s32(b, b);
    }
  }
  const int8_t* line = reinterpret_cast<const int8_t*>(run.a);
  for (int32_t segment = 0; segment < run.segments; ++segment, line += run.segment_step) {
    const int8_t* in = line;
    for (int32_t k = 0; k < run.k_groups; ++k, in += 8, weights += 64) {
      int8x16_t w[4];
      SIGRUN_UNROLL
      for (int n = 0; n < 4; ++n) w[n] = vld1q_s8(weights + 16 * n);
      SIGRUN_UNROLL
      for (int p = 0; p < kPairs; ++p) {
        const int second = 2 * p + 1 < kRows ? 2 * p + 1 : 2 * p;
        const int8x16_t x = vcombine_s8(vld1_s8(in + 2 * p * a_stride), vld1_s8(in + second * a_stride));
        SIGRUN_UNROLL
        for (int n = 0; n < 4; ++n) acc[p][n] = vmmlaq_s32(acc[p][n], x, w[n]);
      }
    }
  }
  SIGRUN_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    SIGRUN_UNROLL
    for (int n = 0; n < 4; ++n) {
      vst1_s32(sums + 2 * p * kLanes + 2 * n, vget_low_s32(acc[p][n]));
      if (2 * p + 1 < kRows) vst1_s32(sums + (2 * p + 1) * kLanes + 2 * n, vget_high_s32(acc[p][n]));
    }
  }
}

}  // namespace
}  // namespace sigrun::kernels
