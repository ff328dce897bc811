#pragma once

#include <cstring>
#include <utility>

#include "kernels/avx512_bf16/rows_bf16.h"
#include "kernels/common/tile_bf16.h"

// Tiles of 12 rows and 32 channels by vdpbf16ps, which adds the products of two pairs to each of 16 sums. A pair of A is broadcast, so that
// weights lie in pairs along k.
namespace sigrun::kernels {
namespace {

constexpr int kGroupBf16 = 2;
constexpr int32_t kDepthUnit = 2;
constexpr int32_t kPanelBf16 = kTileVectors * F32::lanes, kLeastPanelBf16 = F32::lanes;
constexpr int32_t kTileRowsBf16 = kTileRows;
constexpr bool kPartsByUnits = false;
using ThreeParts = NoThreeParts;
constexpr int32_t kBlockElements = 128 << 10;  // of a block of A
constexpr int32_t kLeastDepthAhead = 128;      // k from which on a tile takes long enough to fetch its output

constexpr int32_t kRowsInPlace = 1;  // reads no row beyond the last

// A tile ends when it has run.
struct UnfinishedTile {
  SIGRUN_INLINE void Finish() {}
};

// Needs no setting up.
struct TileUnit {
  SIGRUN_INLINE TileUnit() {}
};

template <int kRows, int kVectors>
SIGRUN_INLINE void DotPairs(const Bf16* const (&row)[kRows], const Bf16* weights, ptrdiff_t panel_stride, ptrdiff_t k,
                            F32 (&sum)[kRows][kVectors]) {
  constexpr int kWidth = (kVectors < kTileVectors ? kVectors : kTileVectors) * F32::lanes;
  __m512bh w[kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const Bf16* p = weights + v / kTileVectors * panel_stride + k * kWidth + v % kTileVectors * 2 * F32::lanes;
    w[v] = Pairs(_mm512_loadu_si512(p));
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    int32_t pair;
    memcpy(&pair, row[i] + k, sizeof(pair));
    const __m512bh a = Pairs(_mm512_set1_epi32(pair));
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[i][v].v = _mm512_dpbf16_ps(sum[i][v].v, a, w[v]);
  }
}

template <int kRows, int kVectors>
SIGRUN_INLINE void AddResidual(const TileBf16& t, F32 (&sum)[kRows][kVectors]) {
  if (t.residual == nullptr && t.bf16_residual == nullptr) return;
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int32_t rest = t.sums.channels - v * F32::lanes;
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const ptrdiff_t at = i * t.sums.output_stride + v * F32::lanes;
      if (t.residual != nullptr) {
        sum[i][v] = sum[i][v] + (rest >= F32::lanes ? Load(t.residual + at) : F32{_mm512_maskz_loadu_ps(First(rest), t.residual + at)});
      } else {
        sum[i][v] = sum[i][v] + (rest >= F32::lanes ? Load(t.bf16_residual + at) : LoadPartial(t.bf16_residual + at, rest));
      }
    }
  }
}

template <int kRows, int kVectors>
SIGRUN_INLINE void FetchRoundedOutput(const TileBf16& t) {
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; v += 2) {
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) __builtin_prefetch(t.output + i * t.sums.output_stride + v * F32::lanes, 1, 3);
  }
}

template <int kRows, int kVectors>
SIGRUN_INLINE void RoundSums(const TileBf16& t, const F32 (&sum)[kRows][kVectors]) {
  const ClampF32 clamp = t.sums.epilogue->clamp;
  const F32 low = Set1(clamp.min), high = Set1(clamp.max);
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; v += 2) {
    const int32_t rest = t.sums.channels - v * F32::lanes;
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const F32 first = Bounded(sum[i][v], low, high), second = v + 1 < kVectors ? Bounded(sum[i][v + 1], low, high) : first;
      const __m512i words = RoundTwo(first.v, second.v);
      Bf16* to = t.output + i * t.sums.output_stride + v * F32::lanes;
      if (rest >= 2 * F32::lanes) {
        _mm512_storeu_si512(to, words);
      } else {
        _mm512_mask_storeu_epi16(to, First32(rest), words);
      }
    }
  }
}

template <int kRows, int kVectors>
void ActivateAndRound(const TileBf16& t, F32 (&sum)[kRows][kVectors]) {
  float rows[kRows][kVectors * F32::lanes];
  SIGRUN_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) Store(rows[i / kVectors] + i % kVectors * F32::lanes, sum[i / kVectors][i % kVectors]);
  ActivateRows(*t.sums.epilogue, rows[0], kVectors * F32::lanes, kRows, t.sums.channels, t.sums.first);
  for (int i = 0; i < kRows; ++i) RoundRow(rows[i], t.sums.channels, t.output + i * t.sums.output_stride);
}

template <int kRows, int kVectors>
void RunTileOf(const TileBf16& t) {
  F32 sum[kRows][kVectors];
  LoadSums(t.sums, sum);
  if (!t.is_plain()) AddResidual(t, sum);
  if (t.depth >= kLeastDepthAhead) {
    t.output == nullptr ? FetchOutput<kRows, kVectors>(t.sums) : FetchRoundedOutput<kRows, kVectors>(t);
  }
  for (int pair = FirstPartPair(t.parts); pair < 3; ++pair) {
    const Bf16* row[kRows];
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) row[i] = t.rows + kPartPairs[pair].rows * t.part_stride + i * t.row_stride;
    const Bf16* weights = t.weights + kPartPairs[pair].weights * t.weights_part_stride;
    ptrdiff_t k = 0;
    const std::byte* ahead = t.ahead;
    for (; k + kDepthAhead <= t.depth; k += kDepthAhead, ahead += t.ahead_bytes) {
      SIGRUN_UNROLL
      for (int i = 0; i < kTileAhead; ++i) __builtin_prefetch(ahead + i * kLine, 0, 2);
      DotPairs(row, weights, t.weights_panel_stride, k, sum);
      DotPairs(row, weights, t.weights_panel_stride, k + 2, sum);
      DotPairs(row, weights, t.weights_panel_stride, k + 4, sum);
      DotPairs(row, weights, t.weights_panel_stride, k + 6, sum);
    }
    for (; k < t.depth; k += 2) DotPairs(row, weights, t.weights_panel_stride, k, sum);
  }
  if (t.output == nullptr) {
    StoreSums(t.sums, sum);
  } else if (t.sums.epilogue->activation == ActivationF32::kNone) {
    RoundSums(t, sum);
  } else {
    ActivateAndRound(t, sum);
  }
}

using TileBf16Function = void (*)(const TileBf16&);
struct TileBf16Functions {
  TileBf16Function of_rows[kTileRows];
};
template <int kVectors, int... kRow>
constexpr TileBf16Functions MakeTileBf16Functions(std::integer_sequence<int, kRow...>) {
  return {{RunTileOf<kRow + 1, kVectors>...}};
}
constexpr TileBf16Functions kWideTiles = MakeTileBf16Functions<2>(std::make_integer_sequence<int, kTileRows>{});
constexpr TileBf16Functions kNarrowTiles = MakeTileBf16Functions<1>(std::make_integer_sequence<int, kTileRows>{});
static_assert(kTileVectors == 2, "a panel is whole or one vector wide");

// The last two tiles share what is left, so that neither is low.
SIGRUN_INLINE int32_t TileHeight(int32_t rows) { return rows >= 2 * kTileRows ? kTileRows : rows > kTileRows ? (rows + 1) / 2 : rows; }

// One or two rows take several panels side by side: enough independent sums to hide the latency, and several streams of weights.
SIGRUN_INLINE int32_t PanelsAtOnceBf16(int32_t rows, int32_t channels) {
  const int32_t panels = rows == 1 ? 4 : rows == 2 ? 2 : 1;
  return channels >= panels * kPanelBf16 ? panels : 1;
}

SIGRUN_INLINE void RunTileBf16(const TileBf16& t, int32_t height, int32_t width, int32_t panels, UnfinishedTile&) {
  if (panels == 4) return RunTileOf<1, 4 * kTileVectors>(t);
  if (panels == 2) return RunTileOf<2, 2 * kTileVectors>(t);
  (width == kPanelBf16 ? kWideTiles : kNarrowTiles).of_rows[height - 1](t);
}

}  // namespace
}  // namespace sigrun::kernels
