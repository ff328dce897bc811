#pragma once

#include <utility>

#include "kernels/common/gather_f32.h"
#include "kernels/common/pack_f32.h"
#include "kernels/common/sums_f32.h"

// The register tiles of gemm_f32.h, over FmaLeft(left, weights, sum) of a tier's simd.h.
namespace sigrun::kernels {
namespace {

constexpr int32_t kLeastDepthAhead = 64;  // k from which on a tile takes long enough to fetch its output

/// The lanes of a panel of several groups: from which of `count` input channels on each takes those of its group.
struct Lanes {
  alignas(64) int32_t first[F32::lanes];
  int32_t count;
};

/// One register tile: a pass for a few pixels and one panel, or several panels side by side.
struct Tile {
  Sums sums;
  const float* const* pointers;  // [segment][pixel]
  int32_t segments, length;
  const std::byte* weights;          // the first segment's
  ptrdiff_t segment_bytes;           // of the weights
  ptrdiff_t offset = 0;              // floats from where a pointer points
  const Lanes* lanes = nullptr;      // of panels of several groups
  const std::byte* ahead = weights;  // bytes to have in L2 soon, from here on ...
  ptrdiff_t ahead_bytes = 0;         // ... so many in every four steps of k
};

SIGRUN_INLINE F32 LoadWeights(const float* p) { return Load(p); }
SIGRUN_INLINE F32 LoadWeights(const uint16_t* p) { return LoadF16(p); }

// kVectors vectors of channels lie in panels of kTileVectors.
template <int kVectors, class W>
struct WeightVectors {
  const std::byte* p;
  ptrdiff_t panel_bytes;
  SIGRUN_INLINE F32 At(ptrdiff_t k, int v) const {
    constexpr int width = (kVectors < kTileVectors ? kVectors : kTileVectors) * F32::lanes;
    return LoadWeights(reinterpret_cast<const W*>(p + v / kTileVectors * panel_bytes) + k * width + v % kTileVectors * F32::lanes);
  }
};

template <int kIndex, int kRows, int kVectors, class W>
SIGRUN_INLINE void FmaStep(F32 (&sum)[kRows][kVectors], const Left4 (&left)[kRows], const WeightVectors<kVectors, W>& weights,
                           ptrdiff_t k) {
  F32 w[kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) w[v] = weights.At(k + kIndex, v);
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[i][v] = FmaLeft<kIndex>(left[i], w[v], sum[i][v]);
  }
}

// A tier's F32 may say how rows are packed for tiles, and how four vectors are loaded at once.
template <class V>
constexpr bool kPacksRows = requires {
  V::packs_rows;
};

// Steps of k from kStep on, of four, of few rows and whole panels: two steps of a panel are four vectors.
template <int kStep, class V, int kRows, int kVectors>
SIGRUN_INLINE void FmaPanels(F32 (&sum)[kRows][kVectors], const Left4 (&left)[kRows], const float* (&panels)[kVectors / kTileVectors]) {
  const auto add = [&](int v, const auto& a, const auto& b) SIGRUN_INLINE_LAMBDA {
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      sum[i][v] = FmaLeft<kStep>(left[i], a.template At<0>(), sum[i][v]);
      sum[i][v + 1] = FmaLeft<kStep>(left[i], a.template At<1>(), sum[i][v + 1]);
      sum[i][v + 2] = FmaLeft<kStep>(left[i], b.template At<0>(), sum[i][v + 2]);
      sum[i][v + 3] = FmaLeft<kStep>(left[i], b.template At<1>(), sum[i][v + 3]);
      sum[i][v] = FmaLeft<kStep + 1>(left[i], a.template At<2>(), sum[i][v]);
      sum[i][v + 1] = FmaLeft<kStep + 1>(left[i], a.template At<3>(), sum[i][v + 1]);
      sum[i][v + 2] = FmaLeft<kStep + 1>(left[i], b.template At<2>(), sum[i][v + 2]);
      sum[i][v + 3] = FmaLeft<kStep + 1>(left[i], b.template At<3>(), sum[i][v + 3]);
    }
  };
  const auto a = V::LoadFour(panels[0]), b = V::LoadFour(panels[1]);
  if constexpr (kVectors == 8) {
    const auto c = V::LoadFour(panels[2]), d = V::LoadFour(panels[3]);
    add(0, a, b);
    add(4, c, d);
  } else {
    add(0, a, b);
  }
  if constexpr (kStep == 0) FmaPanels<2, V>(sum, left, panels);
}

template <int kRows, int kVectors, class W, class V = F32>
SIGRUN_INLINE const std::byte* FmaSegment(F32 (&sum)[kRows][kVectors], const float* const* pointers,
                                          const WeightVectors<kVectors, W>& weights, ptrdiff_t offset, ptrdiff_t length,
                                          const std::byte* ahead, ptrdiff_t ahead_bytes) {
  const float* row[kRows];
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) row[i] = pointers[i] + offset;
  ptrdiff_t k = 0;
  if constexpr (kPacksRows<V> && kRows <= 2 && (kVectors == 4 || kVectors == 8) && sizeof(W) == sizeof(float)) {
    const float* panels[kVectors / kTileVectors];
    SIGRUN_UNROLL
    for (int p = 0; p < kVectors / kTileVectors; ++p) panels[p] = reinterpret_cast<const float*>(weights.p + p * weights.panel_bytes);
    for (; k + 4 <= length; k += 4) {
      Left4 left[kRows];
      SIGRUN_UNROLL
      for (int i = 0; i < kRows; ++i) left[i] = LoadLeft4(row[i] + k);
      FmaPanels<0, V>(sum, left, panels);
    }
  }
  for (; k + 4 <= length; k += 4) {
    Left4 left[kRows];
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) left[i] = LoadLeft4(row[i] + k);
    if constexpr (kTileAhead > 0) {  // to L1 as well: a Zen 5 serves requests for L2 alone a quarter slower
      SIGRUN_UNROLL
      for (int i = 0; i < kTileAhead; ++i) __builtin_prefetch(ahead + i * kLine, 0, 3);
      ahead += ahead_bytes;
    }
    FmaStep<0>(sum, left, weights, k);
    FmaStep<1>(sum, left, weights, k);
    FmaStep<2>(sum, left, weights, k);
    FmaStep<3>(sum, left, weights, k);
  }
  for (; k < length; ++k) {
    F32 w[kVectors];
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = weights.At(k, v);
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Fma(Set1(row[i][k]), w[v], sum[i][v]);
    }
  }
  return ahead;
}

template <int kRows, int kVectors, class W>
void RunTile(const Tile& t) {
  F32 sum[kRows][kVectors];
  LoadSums(t.sums, sum);
  WeightVectors<kVectors, W> weights = {t.weights, t.sums.panel_bytes};
  if (kTileAhead > 0 && t.segments * t.length >= kLeastDepthAhead) FetchOutput<kRows, kVectors>(t.sums);
  const float* const* pointers = t.pointers;
  const std::byte* ahead = t.ahead;
  if (kEndsShort && t.segments == 1) {  // what goes from one to the next takes as long to set up as a short k to multiply
    FmaSegment(sum, pointers, weights, t.offset, t.length, ahead, t.ahead_bytes);
    return StoreSums(t.sums, sum);
  }
  for (int32_t s = 0; s < t.segments; ++s, pointers += kRows, weights.p += t.segment_bytes) {
    ahead = FmaSegment(sum, pointers, weights, t.offset, t.length, ahead, t.ahead_bytes);
  }
  StoreSums(t.sums, sum);
}

// Whole panels one after the other over the same rows, for weights that stay in L1: each is set up by a few additions. t is left at the
// panel behind the last.
template <int kRows, class W>
void RunPanels(Tile& t, int32_t panels) {
  for (; panels > 0; --panels) {
    F32 sum[kRows][kTileVectors];
    LoadSums(t.sums, sum);
    FmaSegment(sum, t.pointers, WeightVectors<kTileVectors, W>{t.weights, 0}, t.offset, t.length, t.weights, 0);
    StoreSums(t.sums, sum);
    t.sums.bias += t.sums.panel_bytes;
    t.weights += t.sums.panel_bytes;
    t.sums.output += kPanel;
    t.sums.first += kPanel;
  }
}

using PanelsFunction = void (*)(Tile&, int32_t);
template <class W, int... kRow>
PanelsFunction ChoosePanels(int32_t height, std::integer_sequence<int, kRow...>) {
  static constexpr PanelsFunction kOfRows[] = {RunPanels<kRow + 1, W>...};
  return kOfRows[height - 1];
}

// A panel of several groups: each lane is given the channels of its own group, so that no product is in vain.
template <int kRows, class W>
void RunSharedTile(const Tile& t) {
  F32 sum[kRows][1];
  LoadSums(t.sums, sum);
  const I32 first = Load(t.lanes->first);
  const float* const* pointers = t.pointers;
  WeightVectors<1, W> weights = {t.weights, 0};
  for (int32_t s = 0; s < t.segments; ++s, pointers += kRows, weights.p += t.segment_bytes) {
    F32 x[kRows];
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) x[i] = LoadPartial(pointers[i] + t.offset, t.lanes->count);
    for (int32_t c = 0; c < t.length; ++c) {
      const F32 w = weights.At(c, 0);
      const I32 from = first + Set1(c);
      SIGRUN_UNROLL
      for (int i = 0; i < kRows; ++i) sum[i][0] = Fma(Permute(x[i], from), w, sum[i][0]);
    }
  }
  StoreSums(t.sums, sum);
}

using TileFunction = void (*)(const Tile&);
struct TileFunctions {
  TileFunction of_rows[kTileRows];
};

template <class W, int... kRow>
constexpr TileFunctions MakeSharedFunctions(std::integer_sequence<int, kRow...>) {
  return {{RunSharedTile<kRow + 1, W>...}};
}

template <int kVectors, class W, int... kRow>
constexpr TileFunctions MakeTileFunctions(std::integer_sequence<int, kRow...>) {
  return {{RunTile<kRow + 1, kVectors, W>...}};
}
template <int kVectors, class W>
constexpr TileFunctions kTileFunctions = MakeTileFunctions<kVectors, W>(std::make_integer_sequence<int, kTileRows>{});
static_assert(kTileVectors == 2, "a panel is whole or one vector wide");

}  // namespace
}  // namespace sigrun::kernels
