#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"
#include "kernels/neon/tile_end.h"

// Dot products of four by sdot: sixteen activations of a row, or four of four packed rows, are loaded at once and taken by lane.
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

// Two groups from lane kLane on of every row's activations.
template <int kRows, int kLane>
SIGRUN_INLINE void TwoSteps(I32 (&acc)[kRows], const int8x16_t (&a)[kRows], const int8_t* weights) {
  const int8x16x4_t w = vld1q_s8_x4(weights);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = DotLane<kLane>(acc[r], a[r], w.val[0], w.val[1]);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = DotLane<kLane + 1>(acc[r], a[r], w.val[2], w.val[3]);
}

template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  const ptrdiff_t a_stride = run.a_stride;
  const int8_t* weights = run.weights;
  I32 acc[kRows];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) acc[r] = Load(run.bias);
  const int8_t* line = reinterpret_cast<const int8_t*>(run.a);
  SegmentStart start(run);
  for (int32_t segment = 0; segment < run.segments; ++segment, start.Next()) {
    const int8_t* in = line + start.at();
    int32_t k = 0;
    for (; k + 4 <= run.k_groups; k += 4, in += 16, weights += 4 * 32) {
      int8x16_t x[kRows];
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) x[r] = vld1q_s8(in + r * a_stride);
      TwoSteps<kRows, 0>(acc, x, weights);
      TwoSteps<kRows, 2>(acc, x, weights + 64);
    }
    for (; k + 2 <= run.k_groups; k += 2, in += 8, weights += 2 * 32) {
      int8x16_t x[kRows];
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) x[r] = vcombine_s8(vld1_s8(in + r * a_stride), vdup_n_s8(0));
      TwoSteps<kRows, 0>(acc, x, weights);
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
  EndTile<kRows>(
      run, sums, [&](int r) __attribute__((always_inline)) { return acc[r]; });
}

// A single row times kPanels panels, so that its activations and all else but weights is read once for them.
template <int kPanels>
SIGRUN_INLINE void RunRowPanels(const TileRun& run, ptrdiff_t bytes, int32_t* sums) {
  const int8_t* weights[kPanels];
  I32 acc[kPanels];
  SIGRUN_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    weights[p] = run.weights + p * bytes;
    acc[p] = Load(PanelAt(run.bias, p * bytes));
  }
  const int8_t* line = reinterpret_cast<const int8_t*>(run.a);
  SegmentStart start(run);
  for (int32_t segment = run.segments; segment > 0; --segment, start.Next()) {
    const int8_t* in = line + start.at();
    for (int32_t k = run.k_groups / 4; k > 0; --k) {
      const int8x16_t x = vld1q_s8(in);
      in = Step(in, 16);
      SIGRUN_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        const int8x16x4_t w = vld1q_s8_x4(weights[p]);
        weights[p] = Step(weights[p], 64);
        acc[p] = DotLane<1>(DotLane<0>(acc[p], x, w.val[0], w.val[1]), x, w.val[2], w.val[3]);
      }
      SIGRUN_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        const int8x16x4_t w = vld1q_s8_x4(weights[p]);
        weights[p] = Step(weights[p], 64);
        acc[p] = DotLane<3>(DotLane<2>(acc[p], x, w.val[0], w.val[1]), x, w.val[2], w.val[3]);
      }
    }
    for (int32_t k = run.k_groups % 4; k > 0; --k, in += 4) {
      const int8x16_t x = vreinterpretq_s8_s32(vld1q_dup_s32(reinterpret_cast<const int32_t*>(in)));
      SIGRUN_UNROLL
      for (int p = 0; p < kPanels; ++p, weights[p - 1] += 32) {
        acc[p] = DotLane<0>(acc[p], x, vld1q_s8(weights[p]), vld1q_s8(weights[p] + 16));
      }
    }
  }
  SIGRUN_UNROLL
  for (int p = 0; p < kPanels; ++p) Store(sums + p * kLanes, acc[p]);
}
template <>
struct RowPanels<int8_t> : RowPanelsOf<4> {};

// Packed rows: a group of four rows is a register. Four groups of the first four rows, then of the others; what is less than four groups
// follows one by one.
template <int kRows, int kRow = 0>
SIGRUN_INLINE void PackedStep(I32 (&acc)[kRows], const int8x16_t* halves, int8x16_t w0, int8x16_t w1) {
  acc[kRow] = DotLane<kRow % 4>(acc[kRow], halves[kRow / 4], w0, w1);
  if constexpr (kRow + 1 < kRows) PackedStep<kRows, kRow + 1>(acc, halves, w0, w1);
}

template <int kRows>
void RunPackedTiles(TileRun run, int32_t count, int32_t* sums) {
  constexpr int kHalves = (kRows + 3) / 4;
  FloatEnd float_end;
  const int8_t* a = reinterpret_cast<const int8_t*>(run.a);
  for (; count > 0; --count) {
    const int8_t* weights = run.weights;
    I32 acc[kRows];
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) acc[r] = Load(run.bias);
    for (int32_t segment = 0; segment < run.segments; ++segment) {
      for (int32_t k = run.k_groups / 4; k > 0; --k) {
        const int8x16x4_t low = vld1q_s8_x4(a);
        a = Step(a, 64);
        int8x16x4_t high = low;
        if constexpr (kHalves > 1) {
          high = vld1q_s8_x4(a);
          a = Step(a, 64);
        }
        SIGRUN_UNROLL
        for (int i = 0; i < 4; i += 2) {
          const int8x16x4_t w = vld1q_s8_x4(weights);
          weights = Step(weights, 64);
          const int8x16_t first[2] = {low.val[i], high.val[i]}, second[2] = {low.val[i + 1], high.val[i + 1]};
          PackedStep<kRows>(acc, first, w.val[0], w.val[1]);
          PackedStep<kRows>(acc, second, w.val[2], w.val[3]);
        }
      }
      for (int32_t k = run.k_groups % 4; k > 0; --k, a += 16 * kHalves, weights += 32) {
        const int8x16_t halves[2] = {vld1q_s8(a), vld1q_s8(a + 16 * (kHalves - 1))};
        PackedStep<kRows>(acc, halves, vld1q_s8(weights), vld1q_s8(weights + 16));
      }
    }
    EndTile<kRows>(
        run, sums, [&](int r) __attribute__((always_inline)) { return acc[r]; });
    if (count == 1) return;
    NextEnd<kRows>(&run, &float_end);
  }
}

template <int kHalves>
SIGRUN_INLINE uint8_t* PackRows(const TileRun& run, int32_t rows, uint8_t* to) {
  const uint8_t* a[4 * kHalves];
  for (int32_t r = 0; r < 4 * kHalves; ++r) a[r] = run.a + (r < rows ? r : rows - 1) * run.a_stride;
  SegmentStart start(run);
  for (int32_t segment = 0; segment < run.segments; ++segment, start.Next()) {
    ptrdiff_t at = start.at();
    for (int32_t k = run.k_groups / 4; k > 0; --k, at += 16) {
      SIGRUN_UNROLL
      for (int h = 0; h < kHalves; ++h, to += 64) {
        int32x4x4_t x;
        SIGRUN_UNROLL
        for (int r = 0; r < 4; ++r) x.val[r] = vreinterpretq_s32_u8(vld1q_u8(a[4 * h + r] + at));
        vst4q_s32(reinterpret_cast<int32_t*>(to), x);
      }
    }
    for (int32_t k = run.k_groups % 4; k > 0; --k, at += 4) {
      SIGRUN_UNROLL
      for (int r = 0; r < 4 * kHalves; ++r, to += 4) std::memcpy(to, a[r] + at, 4);
    }
  }
  return to;
}

template <>
struct RowPacker<int8_t> {
  static constexpr bool kUsed = true;
  static uint8_t* Pack(const TileRun& run, int32_t rows, uint8_t* to) {
    return rows > 4 ? PackRows<2>(run, rows, to) : PackRows<1>(run, rows, to);
  }
  template <int kRows = kTileRows>
  static void Run(const TileRun& run, int32_t rows, int32_t count, int32_t* sums) {
    if constexpr (kRows > 0) {
      if (rows == kRows) return RunPackedTiles<kRows>(run, count, sums);
      Run<kRows - 1>(run, rows, count, sums);
    }
  }
};

}  // namespace
}  // namespace sigrun::kernels
