#pragma once

#include <arm_neon.h>

#include "kernels/neon/simd.h"
// The vocabulary above comes first.
#include "kernels/common/tile_bf16.h"

// Tiles of 8 rows and 8 channels by BFMMLA, which multiplies two rows of A by two channels over four elements of k. Its sums are blocks of
// 2 x 2, set in order once at the end.
namespace sigrun::kernels {
namespace {

constexpr int kGroupBf16 = 4;
constexpr int32_t kDepthUnit = 4;
constexpr int32_t kPanelBf16 = 8, kLeastPanelBf16 = 8;
constexpr int32_t kTileRowsBf16 = 8;
constexpr bool kPartsByUnits = false;
using ThreeParts = NoThreeParts;
constexpr int32_t kBlockElements = 64 << 10;  // of a block of A

constexpr int32_t kRowsInPlace = 0;  // rows are read in pairs

// A tile ends when it has run.
struct UnfinishedTile {
  SIGRUN_INLINE void Finish() {}
};

// Needs no setting up.
struct TileUnit {
  SIGRUN_INLINE TileUnit() {}
};

SIGRUN_INLINE void StoreBf16(Bf16* to, bfloat16x4_t x) { vst1_u16(to, vreinterpret_u16_bf16(x)); }

SIGRUN_INLINE F32 Load(const Bf16* p) { return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))}; }
SIGRUN_INLINE F32 LoadPartial(const Bf16* p, int n) {
  Bf16 words[F32::lanes] = {};
  for (int i = 0; i < n; ++i) words[i] = p[i];
  return Load(words);
}
SIGRUN_INLINE void Store(Bf16* p, F32 x) { StoreBf16(p, vcvt_bf16_f32(x.v)); }
SIGRUN_INLINE void StorePartial(Bf16* p, F32 x, int n) {
  Bf16 words[F32::lanes];
  Store(words, x);
  for (int i = 0; i < n; ++i) p[i] = words[i];
}

SIGRUN_INLINE void RoundRow(const float* x, int32_t n, Bf16* to) {
  for (; n >= 4; n -= 4, x += 4, to += 4) StoreBf16(to, vcvt_bf16_f32(vld1q_f32(x)));
  for (int32_t i = 0; i < n; ++i) to[i] = RoundToBf16(x[i]);
}

SIGRUN_INLINE void SplitRow(const float* x, int32_t n, Bf16* to, Bf16* rest) {
  for (; n >= 4; n -= 4, x += 4, to += 4, rest += 4) {
    const float32x4_t value = vld1q_f32(x);
    const bfloat16x4_t rounded = vcvt_bf16_f32(value);
    const float32x4_t whole = vcvt_f32_bf16(rounded);
    // What rounding left; where that is infinite the rest would be NaN, and is 0.
    const uint32x4_t finite = vcaltq_f32(whole, vdupq_n_f32(kInfinity));
    const float32x4_t left = vreinterpretq_f32_u32(vandq_u32(finite, vreinterpretq_u32_f32(vsubq_f32(value, whole))));
    StoreBf16(to, rounded);
    StoreBf16(rest, vcvt_bf16_f32(left));
  }
  for (int32_t i = 0; i < n; ++i) {
    to[i] = RoundToBf16(x[i]);
    rest[i] = RestAfter(x[i], to[i]);
  }
}

}  // namespace
}  // namespace sigrun::kernels

// The rows above come first.
#include "kernels/common/finish_bf16.h"

namespace sigrun::kernels {
namespace {

// Four rows of weights, `stride` apart, as groups of four.
SIGRUN_INLINE void PackRows(const float* rows, ptrdiff_t stride, int32_t width, Bf16* to) {
  for (int32_t j = 0; j < width; j += 4, to += 16) {
    uint16x4x4_t four;
    for (int i = 0; i < 4; ++i) four.val[i] = vreinterpret_u16_bf16(vcvt_bf16_f32(vld1q_f32(rows + i * stride + j)));
    vst4_u16(to, four);
  }
}

SIGRUN_INLINE bfloat16x8_t LoadWeights(const Bf16* p) { return vreinterpretq_bf16_u16(vld1q_u16(p)); }
SIGRUN_INLINE bfloat16x8_t LoadTwoRows(const Bf16* p, ptrdiff_t stride) {
  return vreinterpretq_bf16_u16(vcombine_u16(vld1_u16(p), vld1_u16(p + stride)));
}

// Pairs of rows by pairs of channels.
template <int kPairs>
void RunTileOf(const TileBf16& t, int32_t height) {
  float32x4_t sum[kPairs][4];
  SIGRUN_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    SIGRUN_UNROLL
    for (int j = 0; j < 4; ++j) sum[i][j] = vdupq_n_f32(0.0f);
  }
  for (int pair = FirstPartPair(t.parts); pair < 3; ++pair) {
    const Bf16* a = t.rows + kPartPairs[pair].rows * t.part_stride;
    const Bf16* w = t.weights + kPartPairs[pair].weights * t.weights_part_stride;
    for (int32_t k = 0; k < t.depth; k += kGroupBf16, a += kGroupBf16, w += kGroupBf16 * kPanelBf16) {
      bfloat16x8_t weights[4];
      SIGRUN_UNROLL
      for (int j = 0; j < 4; ++j) weights[j] = LoadWeights(w + 8 * j);
      bfloat16x8_t rows[kPairs];
      SIGRUN_UNROLL
      for (int i = 0; i < kPairs; ++i) rows[i] = LoadTwoRows(a + 2 * i * t.row_stride, t.row_stride);
      SIGRUN_UNROLL
      for (int i = 0; i < kPairs; ++i) {
        SIGRUN_UNROLL
        for (int j = 0; j < 4; ++j) sum[i][j] = vbfmmlaq_f32(sum[i][j], rows[i], weights[j]);
      }
    }
  }
  float products[2 * kPairs * kPanelBf16];
  SIGRUN_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    SIGRUN_UNROLL
    for (int j = 0; j < 4; ++j) {
      vst1_f32(products + 2 * i * kPanelBf16 + 2 * j, vget_low_f32(sum[i][j]));
      vst1_f32(products + (2 * i + 1) * kPanelBf16 + 2 * j, vget_high_f32(sum[i][j]));
    }
  }
  FinishTile(t, products, kPanelBf16, height);
}

SIGRUN_INLINE int32_t TileHeight(int32_t rows) { return rows < kTileRowsBf16 ? rows : kTileRowsBf16; }
SIGRUN_INLINE int32_t PanelsAtOnceBf16(int32_t, int32_t) { return 1; }

SIGRUN_INLINE void RunTileBf16(const TileBf16& t, int32_t height, int32_t, int32_t, UnfinishedTile&) {
  if (height > 6) return RunTileOf<4>(t, height);
  if (height > 4) return RunTileOf<3>(t, height);
  if (height > 2) return RunTileOf<2>(t, height);
  RunTileOf<1>(t, height);
}

}  // namespace
}  // namespace sigrun::kernels
