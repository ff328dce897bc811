#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"
#include "kernels/neon/tile_end.h"

// Products of 16 k in two registers of int16 that are summed by pairs into int32: two products fit int16 if no weight is -128, which the
// packed weights tell. A tile is two rows by eight channels, each of their sums in four parts; taller ones are several of these.
namespace sigrun::kernels {
namespace {

using Activation = int8_t;
constexpr int kGroup = 8;
constexpr int kPanelVectors = 1;
constexpr int kTileRows = 8;
template <>
constexpr bool kTellsLeast<Activation> = true;

// Four channels of a row: [group][two channels] weights, activations of both groups in both halves.
template <bool kFits, bool kFirst>
SIGRUN_INLINE void FourChannels(int32x4_t* acc, const int8x16_t (&w)[2][2], int8x16_t a0, int8x16_t a1) {
  int16x8_t x[4];
  SIGRUN_UNROLL
  for (int i = 0; i < 2; ++i) {
    x[2 * i] = vmull_s8(vget_low_s8(w[0][i]), vget_low_s8(a0));
    x[2 * i + 1] = vmull_high_s8(w[0][i], a0);
  }
  if (!kFits) {
    SIGRUN_UNROLL
    for (int i = 0; i < 4; ++i) acc[i] = kFirst ? vpaddlq_s16(x[i]) : vpadalq_s16(acc[i], x[i]);
  }
  SIGRUN_UNROLL
  for (int i = 0; i < 2; ++i) {
    x[2 * i] = kFits ? vmlal_s8(x[2 * i], vget_low_s8(w[1][i]), vget_low_s8(a1)) : vmull_s8(vget_low_s8(w[1][i]), vget_low_s8(a1));
    x[2 * i + 1] = kFits ? vmlal_high_s8(x[2 * i + 1], w[1][i], a1) : vmull_high_s8(w[1][i], a1);
  }
  SIGRUN_UNROLL
  for (int i = 0; i < 4; ++i) acc[i] = kFirst && kFits ? vpaddlq_s16(x[i]) : vpadalq_s16(acc[i], x[i]);
}

SIGRUN_INLINE int8x16_t LoadTwice(const uint8_t* a) { return vreinterpretq_s8_s64(vld1q_dup_s64(reinterpret_cast<const int64_t*>(a))); }

template <int kRows, bool kFits, bool kFirst>
SIGRUN_INLINE void TwoGroups(const uint8_t* (&a)[kRows], const int8_t* weights, int32x4_t (&acc)[kRows][kLanes]) {
  int8x16_t a0[kRows], a1[kRows];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    a0[r] = LoadTwice(a[r]);
    a[r] = Step(a[r], kGroup);
    a1[r] = LoadTwice(a[r]);
    a[r] = Step(a[r], kGroup);
  }
  SIGRUN_UNROLL
  for (int n = 0; n < kLanes; n += 4) {
    const int8_t *first = weights + n * kGroup, *second = first + kLanes * kGroup;
    const int8x16_t w[2][2] = {{vld1q_s8(first), vld1q_s8(first + 16)}, {vld1q_s8(second), vld1q_s8(second + 16)}};
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) FourChannels<kFits, kFirst>(acc[r] + n, w, a0[r], a1[r]);
  }
}
template <int kRows>
SIGRUN_INLINE void LastGroup(const uint8_t* (&a)[kRows], const int8_t* weights, int32x4_t (&acc)[kRows][kLanes]) {
  SIGRUN_UNROLL
  for (int n = 0; n < kLanes; n += 2, weights += 2 * kGroup) {
    const int8x16_t w = vld1q_s8(weights);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const int8x16_t x = LoadTwice(a[r]);
      acc[r][n] = vpadalq_s16(acc[r][n], vmull_s8(vget_low_s8(w), vget_low_s8(x)));
      acc[r][n + 1] = vpadalq_s16(acc[r][n + 1], vmull_high_s8(w, x));
    }
  }
}

// The sums of kRows rows from `line` on.
template <int kRows, bool kFits>
SIGRUN_INLINE void SumRows(const TileRun& run, const uint8_t* line, int32_t* sums) {
  const int8_t* weights = run.weights;
  const uint8_t* a[kRows];
  int32x4_t acc[kRows][kLanes];
  SegmentStart start(run);
  const auto begin_line = [&]() __attribute__((always_inline)) {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) a[r] = line + start.at() + r * run.a_stride;
  };
  begin_line();
  int32_t left = run.k_groups / 2;
  if (left > 0) {
    TwoGroups<kRows, kFits, true>(a, weights, acc);
    weights += 2 * kLanes * kGroup;
    --left;
  } else {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      SIGRUN_UNROLL
      for (int n = 0; n < kLanes; ++n) acc[r][n] = vdupq_n_s32(0);
    }
  }
  for (int32_t segment = 0;;) {
    if (left > 0) {
      do {
        TwoGroups<kRows, kFits, false>(a, weights, acc);
        weights += 2 * kLanes * kGroup;
      } while (--left > 0);
    }
    if (run.k_groups % 2 != 0) {
      LastGroup<kRows>(a, weights, acc);
      weights += kLanes * kGroup;
    }
    if (++segment == run.segments) break;
    start.Next();
    begin_line();
    left = run.k_groups / 2;
  }
  const I32 bias = Load(run.bias);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const int32x4_t* x = acc[r];
    const int32x4_t lo = vpaddq_s32(vpaddq_s32(x[0], x[1]), vpaddq_s32(x[2], x[3]));
    const int32x4_t hi = vpaddq_s32(vpaddq_s32(x[4], x[5]), vpaddq_s32(x[6], x[7]));
    Store(sums + r * kLanes, I32{lo, hi} + bias);
  }
}
template <bool kFits>
void SumTile(const TileRun& run, int32_t rows, int32_t* sums) {
  const uint8_t* a = run.a;
  for (; rows >= 2; rows -= 2, a += 2 * run.a_stride, sums += 2 * kLanes) SumRows<2, kFits>(run, a, sums);
  if (rows > 0) SumRows<1, kFits>(run, a, sums);
}

template <int kPanels>
SIGRUN_INLINE void RunRowPanels(const TileRun& run, ptrdiff_t, int32_t* sums) {
  static_assert(kPanels == 1);
  run.has_least ? SumRows<1, false>(run, run.a, sums) : SumRows<1, true>(run, run.a, sums);
}
template <>
struct RowPanels<int8_t> : RowPanelsOf<1> {};

template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  const bool ends = run.end != nullptr || run.float_end != nullptr;
  int32_t own[kRows * kLanes];
  int32_t* const to = ends ? own : sums;
  run.has_least ? SumTile<false>(run, kRows, to) : SumTile<true>(run, kRows, to);
  if (ends)
    EndTile<kRows>(
        run, sums, [&](int r) __attribute__((always_inline)) { return Load(own + r * kLanes); });
}

}  // namespace
}  // namespace sigrun::kernels
