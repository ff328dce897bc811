#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"
// The vocabulary above comes first.
#include "kernels/common/tile_end_i8.h"

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
  const auto half = [&](int r, int n) __attribute__((always_inline)) {
    const int32x4_t first = acc[r / 2][n], second = acc[r / 2][n + 1];
    return r % 2 == 0 ? vcombine_s32(vget_low_s32(first), vget_low_s32(second)) : vcombine_s32(vget_high_s32(first), vget_high_s32(second));
  };
  const auto sum = [&](int r) __attribute__((always_inline)) { return I32{half(r, 0), half(r, 2)}; };
  if (run.end != nullptr) return StoreEnds<kRows>(run, 0, sum);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) Store(sums + r * kLanes, sum(r));
}

}  // namespace
}  // namespace sigrun::kernels
