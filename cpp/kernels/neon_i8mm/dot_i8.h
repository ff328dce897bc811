#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"
#include "kernels/neon/tile_end.h"

// Dot products of eight by smmla: two rows of activations times two output channels, a 2x2 block of sums a register. An odd last row is
// paired with itself.
namespace sigrun::kernels {
namespace {

using Activation = int8_t;
constexpr int kGroup = 8;
constexpr int kPanelVectors = 1;
constexpr int kTileRows = 8;

// Sums of pairs of rows: [pair][two channels], each of both rows.
template <int kRows>
constexpr int kPairsOf = (kRows + 1) / 2;
template <int kRows>
using PairSums = int32x4_t[kPairsOf<kRows>][4];

template <int kRows>
SIGRUN_INLINE void BeginTile(const int32_t* bias, PairSums<kRows>& acc) {
  SIGRUN_UNROLL
  for (int n = 0; n < 4; ++n) {
    const int32x4_t both = vreinterpretq_s32_s64(vld1q_dup_s64(reinterpret_cast<const int64_t*>(bias + 2 * n)));
    SIGRUN_UNROLL
    for (int p = 0; p < kPairsOf<kRows>; ++p) acc[p][n] = both;
  }
}

template <int kRows>
SIGRUN_INLINE void EndPairs(const TileRun& run, const PairSums<kRows>& acc, int32_t* sums) {
  const auto half = [&](int r, int n) __attribute__((always_inline)) {
    const int64x2_t first = vreinterpretq_s64_s32(acc[r / 2][n]), second = vreinterpretq_s64_s32(acc[r / 2][n + 1]);
    return vreinterpretq_s32_s64(r % 2 == 0 ? vzip1q_s64(first, second) : vzip2q_s64(first, second));
  };
  EndTile<kRows>(
      run, sums, [&](int r) __attribute__((always_inline)) {
        return I32{half(r, 0), half(r, 2)};
      });
}

template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  const ptrdiff_t a_stride = run.a_stride;
  const int8_t* weights = run.weights;
  PairSums<kRows> acc;
  BeginTile<kRows>(run.bias, acc);
  const int8_t* line = reinterpret_cast<const int8_t*>(run.a);
  SegmentStart start(run);
  for (int32_t segment = 0; segment < run.segments; ++segment, start.Next()) {
    const int8_t* in = line + start.at();
    for (int32_t k = 0; k < run.k_groups; ++k, in += 8, weights += 64) {
      const int8x16x4_t w = vld1q_s8_x4(weights);
      SIGRUN_UNROLL
      for (int p = 0; p < kPairsOf<kRows>; ++p) {
        const int second = 2 * p + 1 < kRows ? 2 * p + 1 : 2 * p;
        const int8x16_t x = vcombine_s8(vld1_s8(in + 2 * p * a_stride), vld1_s8(in + second * a_stride));
        SIGRUN_UNROLL
        for (int n = 0; n < 4; ++n) acc[p][n] = vmmlaq_s32(acc[p][n], x, w.val[n]);
      }
    }
  }
  EndPairs<kRows>(run, acc, sums);
}

// A single row, paired with itself, times kPanels panels, so that its activations and all else but weights is read once for them.
template <int kPanels>
SIGRUN_INLINE void RunRowPanels(const TileRun& run, ptrdiff_t bytes, int32_t* sums) {
  const int8_t* weights[kPanels];
  PairSums<1> acc[kPanels];
  SIGRUN_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    weights[p] = run.weights + p * bytes;
    const int32_t* bias = PanelAt(run.bias, p * bytes);
    SIGRUN_UNROLL
    for (int n = 0; n < 4; ++n) acc[p][0][n] = vcombine_s32(vld1_s32(bias + 2 * n), vdup_n_s32(0));  // the upper halves are not used
  }
  const int8_t* line = reinterpret_cast<const int8_t*>(run.a);
  SegmentStart start(run);
  for (int32_t segment = run.segments; segment > 0; --segment, start.Next()) {
    const int8_t* in = line + start.at();
    const auto step = [&](int64x2_t x) SIGRUN_INLINE_LAMBDA {
      SIGRUN_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        const int8x16x4_t w = vld1q_s8_x4(weights[p]);
        weights[p] = Step(weights[p], 64);
        SIGRUN_UNROLL
        for (int n = 0; n < 4; ++n) acc[p][0][n] = vmmlaq_s32(acc[p][0][n], vreinterpretq_s8_s64(x), w.val[n]);
      }
    };
    for (int32_t k = run.k_groups / 2; k > 0; --k) {
      const int64x2x2_t x = vld2q_dup_s64(reinterpret_cast<const int64_t*>(in));
      in = Step(in, 16);
      step(x.val[0]);
      step(x.val[1]);
    }
    if (run.k_groups % 2 != 0) step(vld1q_dup_s64(reinterpret_cast<const int64_t*>(in)));
  }
  const auto two = [&](int p, int n) SIGRUN_INLINE_LAMBDA {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(acc[p][0][n]), vreinterpretq_s64_s32(acc[p][0][n + 1])));
  };
  SIGRUN_UNROLL
  for (int p = 0; p < kPanels; ++p) Store(sums + p * kLanes, I32{two(p, 0), two(p, 2)});
}
template <>
struct RowPanels<int8_t> : RowPanelsOf<4> {};

// Packed rows: two groups of each pair of rows, whose other half they are, then of the next; an odd last group follows.
template <int kRows>
void RunPackedTiles(TileRun run, int32_t count, int32_t* sums) {
  constexpr int kPairs = kPairsOf<kRows>;
  FloatEnd float_end;
  const int8_t* a = reinterpret_cast<const int8_t*>(run.a);
  for (; count > 0; --count) {
    const int8_t* weights = run.weights;
    PairSums<kRows> acc;
    BeginTile<kRows>(run.bias, acc);
    for (int32_t segment = 0; segment < run.segments; ++segment) {
      for (int32_t k = run.k_groups / 2; k > 0; --k) {
        const int8x16x4_t first = vld1q_s8_x4(weights);
        weights = Step(weights, 64);
        const int8x16x4_t second = vld1q_s8_x4(weights);
        weights = Step(weights, 64);
        const auto step = [&](int p, int8x16_t x, int8x16_t y) __attribute__((always_inline)) {
          SIGRUN_UNROLL
          for (int n = 0; n < 4; ++n) acc[p][n] = vmmlaq_s32(acc[p][n], x, first.val[n]);
          SIGRUN_UNROLL
          for (int n = 0; n < 4; ++n) acc[p][n] = vmmlaq_s32(acc[p][n], y, second.val[n]);
        };
        SIGRUN_UNROLL
        for (int p = 0; p + 1 < kPairs; p += 2) {
          const int8x16x4_t x = vld1q_s8_x4(a);
          a = Step(a, 64);
          step(p, x.val[0], x.val[1]);
          step(p + 1, x.val[2], x.val[3]);
        }
        if constexpr (kPairs % 2 != 0) {
          step(kPairs - 1, vld1q_s8(a), vld1q_s8(a + 16));
          a += 32;
        }
      }
      if (run.k_groups % 2 != 0) {
        const int8x16x4_t w = vld1q_s8_x4(weights);
        SIGRUN_UNROLL
        for (int p = 0; p < kPairs; ++p) {
          const int8x16_t x = vld1q_s8(a + 16 * p);
          SIGRUN_UNROLL
          for (int n = 0; n < 4; ++n) acc[p][n] = vmmlaq_s32(acc[p][n], x, w.val[n]);
        }
        a += 16 * kPairs;
        weights += 64;
      }
    }
    EndPairs<kRows>(run, acc, sums);
    if (count == 1) return;
    NextEnd<kRows>(&run, &float_end);
  }
}

template <int kPairs>
SIGRUN_INLINE uint8_t* PackRows(const TileRun& run, int32_t rows, uint8_t* to) {
  const uint8_t* a[2 * kPairs];
  for (int32_t r = 0; r < 2 * kPairs; ++r) a[r] = run.a + (r < rows ? r : rows - 1) * run.a_stride;
  SegmentStart start(run);
  for (int32_t segment = 0; segment < run.segments; ++segment, start.Next()) {
    ptrdiff_t at = start.at();
    for (int32_t k = run.k_groups / 2; k > 0; --k, at += 16) {
      SIGRUN_UNROLL
      for (int p = 0; p < kPairs; ++p, to += 32) {
        const uint64x2x2_t x{{vreinterpretq_u64_u8(vld1q_u8(a[2 * p] + at)), vreinterpretq_u64_u8(vld1q_u8(a[2 * p + 1] + at))}};
        vst2q_u64(reinterpret_cast<uint64_t*>(to), x);
      }
    }
    if (run.k_groups % 2 != 0) {
      SIGRUN_UNROLL
      for (int r = 0; r < 2 * kPairs; ++r, to += 8) std::memcpy(to, a[r] + at, 8);
    }
  }
  return to;
}

template <>
struct RowPacker<int8_t> {
  static constexpr bool kUsed = true;
  template <int kPairs = kTileRows / 2>
  static uint8_t* Pack(const TileRun& run, int32_t rows, uint8_t* to) {
    if constexpr (kPairs > 1) {
      if (rows < 2 * kPairs - 1) return Pack<kPairs - 1>(run, rows, to);
    }
    return PackRows<kPairs>(run, rows, to);
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
