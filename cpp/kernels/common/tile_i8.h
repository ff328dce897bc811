#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_end_i8.h"
#include "kernels/common/tile_run_i8.h"

// The register tile of the x86 tiers, over LoadWeights(weights), Broadcast(a) and Dot(sum, a, w).
namespace sigrun::kernels {
namespace {

// Vector i: all of its lanes or `left`.
template <int i>
SIGRUN_INLINE void StoreOne(uint8_t* out, FourBytes x, bool all, int32_t left) {
  if (all) {
    StoreLanes(out, One<i>(x));
  } else {
    StoreLanes(out, One<i>(x), left);
  }
}

// Rows r and r + 1 of panels of two vectors, or the last row.
template <bool kWhole>
SIGRUN_INLINE void StoreRows(const TileRun& run, FourBytes four, int rows, uint8_t* out) {
  const ByteOutput& bytes = run.end->bytes;
  const ptrdiff_t stride = run.end->out_stride;
  const int32_t last = run.end->channels - kLanes;
  if (!kWhole && !bytes.whole) four = Limit(four, bytes.min, bytes.max, bytes.flip);
  if (kWhole || last >= kLanes) {
    StoreTwo<0>(out, four);
    if (rows > 1) StoreTwo<2>(out + stride, four);
    return;
  }
  StoreLanes(out, One<0>(four));
  StoreLanes(out + kLanes, One<1>(four), last);
  if (rows == 1) return;
  StoreLanes(out + stride, One<2>(four));
  StoreLanes(out + stride + kLanes, One<3>(four), last);
}

// Rows of `ends` as bytes: four vectors are narrowed, clamped and flipped together, those of two rows or of four.
template <bool kWhole, int kRows, int kVectors>
SIGRUN_INLINE void StoreFours(const TileRun& run, const I32 (&ends)[kRows][kVectors]) {
  constexpr int kStep = 4 / kVectors;
  const ByteOutput bytes = run.end->bytes;
  const ptrdiff_t stride = run.end->out_stride;
  const int32_t last = run.end->channels;
  uint8_t* out = run.out;
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; r += kStep, out += kStep * stride) {
    const int rows = kRows - r < kStep ? kRows - r : kStep;
    if constexpr (kVectors == 2) {
      const int second = rows > 1 ? r + 1 : r;
      StoreRows<kWhole>(run, SaturateFour(ends[r][0], ends[r][1], ends[second][0], ends[second][1]), rows, out);
    } else {
      const auto end = [&](int i) SIGRUN_INLINE_LAMBDA { return ends[rows > i ? r + i : r][0]; };
      FourBytes four = SaturateFour(end(0), end(1), end(2), end(3));
      if (!kWhole && !bytes.whole) four = Limit(four, bytes.min, bytes.max, bytes.flip);
      const bool all = kWhole || last >= kLanes;
      StoreOne<0>(out, four, all, last);
      if (rows > 1) StoreOne<1>(out + stride, four, all, last);
      if (rows > 2) StoreOne<2>(out + 2 * stride, four, all, last);
      if (rows > 3) StoreOne<3>(out + 3 * stride, four, all, last);
    }
  }
}

// The same with a residual, which is added to both vectors of a row at once.
template <bool kWhole, int kRows>
SIGRUN_INLINE void StoreSums(const TileRun& run, const I32 (&ends)[kRows][2]) {
  const ptrdiff_t stride = run.end->out_stride;
  const int32_t channels = kWhole ? 2 * kLanes : run.end->channels;
  const Linear linear = run.end->linear;
  const Words min = SaturateWords(run.end->min, run.end->min), max = SaturateWords(run.end->max, run.end->max);
  const auto sum = [&](int r, const int8_t* residual) SIGRUN_INLINE_LAMBDA {
    return LinearSum(Clamp(SaturateWords(ends[r][0], ends[r][1]), min, max), LoadWords(residual, channels), linear);
  };
  uint8_t* out = run.out;
  const int8_t* residual = run.residual;
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; r += 2, out += 2 * stride, residual += 2 * stride) {
    const Words first = sum(r, residual);
    StoreRows<kWhole>(run, SaturateFour(first, r + 1 < kRows ? sum(r + 1, residual + stride) : first), kRows - r, out);
  }
}

// Rescales vector v of all rows.
template <class Scale, int kRows, int kVectors>
SIGRUN_INLINE void RescaleRows(const Scale& scale, bool rectified, int v, I32 (&sums)[kRows][kVectors]) {
  if constexpr (sizeof(I32) == 64) {  // with 16 registers it saves nothing
    const Scale positive = Rectified(scale);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows && rectified; ++r) sums[r][v] = RectifiedUnsigned(sums[r][v], positive);
    if (rectified) return;
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) sums[r][v] = RescaledUnsigned(sums[r][v], scale);
}

// The ends of a tile whose sums are offset.
template <int kRows, int kVectors>
SIGRUN_INLINE void EndTile(const TileRun& run, I32 (&sums)[kRows][kVectors]) {
  static_assert(kVectors <= 2);
  const bool rectified = run.end->bytes.rectified && run.residual == nullptr;
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const Rescale rescale = run.end->rescale[v];
    RescaleRows(rescale, rectified, v, sums);
  }
  const bool whole = run.end->bytes.whole && run.end->channels == kVectors * kLanes;
  if constexpr (kVectors == 2) {
    if (run.residual != nullptr) return whole ? StoreSums<true>(run, sums) : StoreSums<false>(run, sums);
  } else if (run.residual != nullptr) {
    const int8_t* residual = run.residual;
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r, residual += run.end->out_stride) {
      sums[r][0] = AddResidual(sums[r][0], residual, run.end->channels, *run.end);
    }
  }
  whole ? StoreFours<true>(run, sums) : StoreFours<false>(run, sums);
}

template <int kRows, int kVectors>
SIGRUN_INLINE void EndLoaded(const TileRun& run, const int32_t* from) {
  I32 sums[kRows][kVectors];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = Load(from + (r * kVectors + v) * kLanes);
  }
  EndTile(run, sums);
}

template <int kRows, int kVectors>
SIGRUN_INLINE void EndWhole(TileRun& run, int32_t& rows, const int32_t*& sums) {
  for (; rows >= kRows; rows -= kRows, sums += kRows * kVectors * kLanes) {
    EndLoaded<kRows, kVectors>(run, sums);
    run.out += kRows * run.end->out_stride;
    if (run.residual != nullptr) run.residual += kRows * run.end->out_stride;
  }
}

/// The ends of rows of offset sums in memory, of a panel of one vector or two. Rows taken together share the parameters of the panel.
template <int kVectors = kPanelVectors>
SIGRUN_INLINE void EndSums(TileRun run, int32_t rows, int32_t width, const int32_t* sums) {
  if constexpr (kVectors > 1) {
    if (width == kLanes) return EndSums<1>(run, rows, width, sums);
  }
  EndWhole<kEndsTogether, kVectors>(run, rows, sums);
  EndWhole<1, kVectors>(run, rows, sums);
}

constexpr bool kTilesEndInFloats = true;

// Products of a zero point and a sum of weights by one step of dot products, where vpmulld takes two: zero_point * sum = 128 * zero_point *
// (sum >> 7) + zero_point * (sum & 127), all of which are int16 if the zero point is a byte and |sum| < 2^22.
template <int kRows>
SIGRUN_INLINE void ZeroPointPairs(const int32_t* zero_points, int32_t* pairs) {
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; r += kLanes) {
    Store(pairs + r, NegatedPairs(kRows - r < kLanes ? LoadFew(zero_points + r, kRows - r) : Load(zero_points + r)));
  }
}

enum class FloatForm { kPlain, kClamped, kAny };  // kClamped: all vectors are full, nothing is added; kPlain: nothing is clamped either

// kOneScale: all rows have the same scale and zero point, which FirstSum has taken out.
template <FloatForm kForm, bool kOneScale, int kRows, int kVectors>
SIGRUN_INLINE void EndInFloats(const FloatEnd& end, const I32 (&sums)[kRows][kVectors]) {
  I32 offsets[kVectors];
  F32 factors[kVectors], addends[kVectors];
  alignas(64) int32_t zero_points[(kRows + kLanes - 1) / kLanes * kLanes];
  if (!kOneScale) ZeroPointPairs<kRows>(end.row_zero_point, zero_points);
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    offsets[v] = SplitInPairs(Load(end.weight_sums + v * kLanes));
    factors[v] = Load(end.scale + v * kLanes);
    addends[v] = Load(end.addend + v * kLanes);
    if (kOneScale) factors[v] = Set1(*end.row_scale) * factors[v];
  }
  const F32 min = Set1(end.clamp.min), max = Set1(end.clamp.max);
  const int32_t channels = end.channels;
  const float* residual = end.residual;
  float* out = end.out;
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r, out += end.stride) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const I32 sum = kOneScale ? sums[r][v] : DotPairs(sums[r][v], Set1(zero_points[r]), offsets[v]);
      const F32 factor = kOneScale ? factors[v] : Set1(end.row_scale[r]) * factors[v];
      F32 y = ToFloat(sum) * factor + addends[v];
      if (kForm == FloatForm::kAny) {
        const int32_t left = channels - v * kLanes;
        if (residual != nullptr) y = y + LoadUpTo(residual + r * end.stride + v * kLanes, left);
        StoreUpTo(out + v * kLanes, Min(max, Max(min, y)), left);
      } else {
        Store(out + v * kLanes, kForm == FloatForm::kClamped ? Min(max, Max(min, y)) : y);
      }
    }
  }
}
template <FloatForm kForm, int kRows, int kVectors>
SIGRUN_INLINE void EndAllInFloats(const FloatEnd& end, const I32 (&sums)[kRows][kVectors]) {
  end.row_step == 0 ? EndInFloats<kForm, true>(end, sums) : EndInFloats<kForm, false>(end, sums);
}

// What becomes of the sums, which began with FirstSum.
template <int kRows, int kVectors>
SIGRUN_INLINE void FinishTile(const TileRun& run, I32 (&acc)[kRows][kVectors], int32_t* sums) {
  if (run.end != nullptr) return EndTile(run, acc);
  if (run.float_end != nullptr) {
    const FloatEnd& end = *run.float_end;
    if (end.residual != nullptr || end.channels != kVectors * kLanes) return EndAllInFloats<FloatForm::kAny>(end, acc);
    return end.plain ? EndAllInFloats<FloatForm::kPlain>(end, acc) : EndAllInFloats<FloatForm::kClamped>(end, acc);
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) Store(sums + (r * kVectors + v) * kLanes, acc[r][v]);
  }
}

// What the sums of vector v begin with.
SIGRUN_INLINE I32 FirstSum(const TileRun& run, int v) {
  const I32 bias = Load(run.bias + v * kLanes);
  if (run.end != nullptr) return bias + Set1(INT32_MIN);  // as RescaledUnsigned wants it
  const FloatEnd* end = run.float_end;
  if (end == nullptr || end->row_step != 0) return bias;
  return bias - Set1(*end->row_zero_point) * Load(end->weight_sums + v * kLanes);
}

template <>
constexpr bool kHalvesApart<Activation> = true;

/// Where the rows of a tile are read: a pointer for every four of them, or of each half of a tile of all rows; all go on by a step. Left
/// alone, compilers keep an offset for every row, which are more than there are registers and take longer to set up than a short k to
/// multiply.
template <int kRows>
class TileRows {
 public:
  SIGRUN_INLINE explicit TileRows(const TileRun& run) : stride_(run.a_stride), three_(3 * stride_) {
    asm("" : "+r"(three_));
    SIGRUN_UNROLL
    for (int i = 0; i < kPointers; ++i) at_[i] = run.a + i / kPointersOfPart * run.half_step + i % kPointersOfPart * 4 * stride_;
    Hide();
  }
  SIGRUN_INLINE const uint8_t* Row(int r) const {
    const int row = r % kPart;
    return at_[r / kPart * kPointersOfPart + row / 4] + (row % 4 == 3 ? three_ : row % 4 * stride_);
  }
  SIGRUN_INLINE void Go(ptrdiff_t bytes) {
    SIGRUN_UNROLL
    for (int i = 0; i < kPointers; ++i) at_[i] += bytes;
    Hide();
  }

 private:
  static_assert(kTileRows % 2 == 0);
  static constexpr int kParts = kRows == kTileRows ? 2 : 1, kPart = kRows / kParts;
  static constexpr int kPointersOfPart = (kPart + 3) / 4, kPointers = kParts * kPointersOfPart;
  SIGRUN_INLINE void Hide() {
    SIGRUN_UNROLL
    for (int i = 0; i < kPointers; ++i) asm("" : "+r"(at_[i]));
  }
  const uint8_t* at_[kPointers];
  ptrdiff_t stride_, three_;
};

template <bool kFlips, class X>
SIGRUN_INLINE X Read(X x) {
  if constexpr (kFlips) {
    return Flipped(x);
  } else {
    return x;
  }
}

/// Tile over a panel of pairs of groups.
template <class Pairs, int kRows, int kPairs, bool kFlips = false>
void PairTile(const TileRun& run, int32_t* sums) {
  constexpr int kVectors = (kPairs + 1) / 2;
  constexpr ptrdiff_t kPairBytes = kLanes * kGroup;
  const ptrdiff_t a_stride = run.a_stride;
  const int8_t* weights = run.weights;
  const int32_t steps = (run.k_groups + 1) / 2;
  constexpr int kSplit = kRows * kPairs > 6 ? 1 : kRows * kPairs > 2 ? 2 : 4;  // as Tile's
  constexpr ptrdiff_t kWeightStep = kPairs * kPairBytes;
  I32 acc[kSplit][kRows][kPairs];
  const auto each = [](const auto& f) SIGRUN_INLINE_LAMBDA {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      SIGRUN_UNROLL
      for (int i = 0; i < kPairs; ++i) f(r, i);
    }
  };
  SIGRUN_UNROLL
  for (int s = 0; s < kSplit; ++s) each([&](int r, int i) SIGRUN_INLINE_LAMBDA { acc[s][r][i] = Set1(0); });
  const auto step = [&](I32(&to)[kRows][kPairs], const uint8_t* from, const int8_t* w) SIGRUN_INLINE_LAMBDA {
    Weights panel[kPairs];
    SIGRUN_UNROLL
    for (int i = 0; i < kPairs; ++i) panel[i] = LoadWeights(w + i * kPairBytes);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Broadcasted x = Read<kFlips>(Pairs::Load(from + r * a_stride));
      SIGRUN_UNROLL
      for (int i = 0; i < kPairs; ++i) to[r][i] = Dot(to[r][i], x, panel[i]);
    }
  };
  SegmentStart start(run);
  if constexpr (kSplit == 1) {
    // One loop, since segments may be as short as a step.
    const uint8_t* from = run.a;
    for (int32_t left = steps, all = run.segments * steps; all > 0; --all, weights += kWeightStep) {
      step(acc[0], from, weights);
      from += 2 * kGroup;
      if (--left > 0) continue;
      start.Next();
      from = run.a + start.at();
      left = steps;
    }
  } else {
    for (int32_t segments = run.segments; segments > 0; --segments, start.Next()) {
      const uint8_t* from = run.a + start.at();
      int32_t k = 0;
      for (; k + kSplit <= steps; k += kSplit, from += kSplit * 2 * kGroup, weights += kSplit * kWeightStep) {
        SIGRUN_UNROLL
        for (int i = 0; i < kSplit; ++i) step(acc[i], from + i * 2 * kGroup, weights + i * kWeightStep);
      }
      for (; k < steps; ++k, from += 2 * kGroup, weights += kWeightStep) step(acc[0], from, weights);
    }
  }
  SIGRUN_UNROLL
  for (int s = 1; s < kSplit; ++s) each([&](int r, int i) SIGRUN_INLINE_LAMBDA { acc[0][r][i] = acc[0][r][i] + acc[s][r][i]; });
  I32 joined[kRows][kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const I32 first = FirstSum(run, v);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const I32 second = 2 * v + 1 < kPairs ? acc[0][r][(2 * v + 1) % kPairs] : Set1(0);
      joined[r][v] = Pairs::Joined(acc[0][r][2 * v], second) + first;
    }
  }
  FinishTile(run, joined, sums);
}

/// sums[r][v * kLanes + n] = bias[..] + sum over k of a[r][k] * weights[k][..]. A small tile keeps several sums of one element, since a dot
/// product takes longer than the few of them need to issue.
template <int kRows, int kVectors, bool kFlips = false>
void Tile(const TileRun& run, int32_t* sums) {
  constexpr int kSplit = kRows * kVectors > 6 ? 1 : kRows * kVectors > 2 ? 2 : 4;
  constexpr ptrdiff_t kActivationStep = kGroup * static_cast<ptrdiff_t>(sizeof(Activation)), kWeightStep = kVectors * kLanes * kGroup;
  TileRows<kRows> a(run);
  const ptrdiff_t ahead_step = run.ahead_step;
  const int8_t *weights = run.weights, *ahead = run.ahead;
  const int32_t k_groups = run.k_groups;
  I32 acc[kSplit][kRows][kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const I32 first = FirstSum(run, v);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      acc[0][r][v] = first;
      SIGRUN_UNROLL
      for (int i = 1; i < kSplit; ++i) acc[i][r][v] = Set1(0);
    }
  }
  const auto step = [&](I32(&to)[kRows][kVectors], ptrdiff_t at, const int8_t* w) SIGRUN_INLINE_LAMBDA {
    __builtin_prefetch(ahead, 0, 2);
    ahead += ahead_step;
    Weights panel[kVectors];
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) panel[v] = LoadWeights(w + v * kLanes * kGroup);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Broadcasted x = Read<kFlips>(Broadcast(a.Row(r) + at));
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) to[r][v] = Dot(to[r][v], x, panel[v]);
    }
  };
  SegmentStart start(run);
  for (int32_t segments = run.segments; segments > 0; --segments, a.Go(start.Next() - k_groups * kActivationStep)) {
    int32_t k = 0;
    for (; k + kSplit <= k_groups; k += kSplit, a.Go(kSplit * kActivationStep), weights += kSplit * kWeightStep) {
      SIGRUN_UNROLL
      for (int i = 0; i < kSplit; ++i) step(acc[i], i * kActivationStep, weights + i * kWeightStep);
    }
    for (; k < k_groups; ++k, a.Go(kActivationStep), weights += kWeightStep) step(acc[0], 0, weights);
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      SIGRUN_UNROLL
      for (int i = 1; i < kSplit; ++i) acc[0][r][v] = acc[0][r][v] + acc[i][r][v];
    }
  }
  FinishTile(run, acc[0], sums);
}

/// Panels so short that to begin and to end them takes as long as their products are taken several at once, enough to hide how long a dot
/// product takes. Longer ones are as fast as memory one by one.
template <>
struct RowPanels<Activation> {
  static constexpr bool kUsed = true;
  SIGRUN_INLINE static void Run(TileRun& run, int32_t count, ptrdiff_t bytes, int32_t* sums) {
    constexpr int32_t kAtOnce = 8 / kPanelVectors;
    constexpr ptrdiff_t kShort = 9 << 10;
    while (count > 0) {
      const int32_t panels = count >= kAtOnce && bytes <= kShort ? kAtOnce : 1;
      panels == 1 ? Tile<1, kPanelVectors>(run, sums) : RunSeveral<kAtOnce>(run, bytes, sums);
      run.bias += panels * (bytes / static_cast<ptrdiff_t>(sizeof(int32_t)));
      run.weights += panels * bytes;
      run.ahead = run.weights;
      sums += panels * kPanelVectors * kLanes;
      count -= panels;
    }
  }

 private:
  template <int kPanels>
  [[gnu::noinline]] static void RunSeveral(const TileRun& run, ptrdiff_t bytes, int32_t* sums) {
    constexpr ptrdiff_t kActivationStep = kGroup * static_cast<ptrdiff_t>(sizeof(Activation)), kVectorBytes = kLanes * kGroup;
    const auto each = [](const auto& f) SIGRUN_INLINE_LAMBDA {
      SIGRUN_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        SIGRUN_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) f(p, v);
      }
    };
    I32 acc[kPanels][kPanelVectors];
    each([&](int p, int v) SIGRUN_INLINE_LAMBDA { acc[p][v] = Load(run.bias + p * (bytes / 4) + v * kLanes); });
    const int8_t* weights = run.weights;
    SegmentStart start(run);
    for (int32_t segments = run.segments; segments > 0; --segments, start.Next()) {
      const uint8_t* from = run.a + start.at();
      for (int32_t k = run.k_groups; k > 0; --k, from += kActivationStep, weights += kPanelVectors * kVectorBytes) {
        const Broadcasted x = Broadcast(from);
        each([&](int p, int v)
                 SIGRUN_INLINE_LAMBDA { acc[p][v] = Dot(acc[p][v], x, LoadWeights(weights + p * bytes + v * kVectorBytes)); });
      }
    }
    each([&](int p, int v) SIGRUN_INLINE_LAMBDA { Store(sums + (p * kPanelVectors + v) * kLanes, acc[p][v]); });
  }
};

}  // namespace
}  // namespace sigrun::kernels
