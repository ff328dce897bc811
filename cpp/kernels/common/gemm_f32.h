#pragma once

#include <string.h>

#include <utility>

#include "kernels/common/math.h"
#include "kernels/common/sums_f32.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// GEMM and convolution. Packed: panels of kPanel output channels (the last as narrow as whole vectors allow), each [bias][k][channel],
// weights as float or as binary16.
// Trick: implicit GEMM. K is cut into segments, runs of a row of A that lie contiguous in the input; a tile of output pixels is a table
// of pointers, one a pixel and segment, with padded taps pointing at zeros, so that no im2col buffer is filled. Pixels are walked in
// blocks that keep their inputs and one panel in L2, and the tiles of one panel fetch the next. Every sum runs over k in the same order
// whatever tile its row falls into. On one core of a Zen 5, 268 GFLOP/s: 92 to 97 % of the FMA peak in the caches with AVX-512, 93 % of
// half of that with AVX2; 85 to 90 % where the weights of 49 pixels come from memory; a single row takes weights at 39 GB/s from there, on
// two cores at 64.
namespace sigrun::kernels {
namespace {

constexpr int kPanel = kTileVectors * F32::lanes;
constexpr int32_t kMaxRun = 1024;        // floats of a segment that one pass reads: the size of the zeros
constexpr int32_t kMaxSegments = 128;    // segments of one pass
constexpr int32_t kMaxPointers = 2048;   // pointers of one block of pixels
constexpr int32_t kBlockFloats = 65536;  // inputs of one block of pixels
constexpr int32_t kScratchFloats = 8192;
constexpr int32_t kMaxMergedChannels = 16;
constexpr int32_t kLeastDepthAhead = 64;  // k from which on a tile takes long enough to fetch its output
static_assert(kMaxSegments * kTileRows <= kMaxPointers);

alignas(64) constexpr float kZeros[kMaxRun] = {};

template <class W>
size_t PackBytes(int32_t k, int32_t n) {
  const size_t channels = static_cast<size_t>((n + F32::lanes - 1) / F32::lanes * F32::lanes);
  const size_t bytes = channels * (static_cast<size_t>(k) * sizeof(W) + sizeof(float));
  return (bytes + 63) / 64 * 64;
}
size_t PackF32Bytes(int32_t k, int32_t n) { return PackBytes<float>(k, n); }

// A channel's bias and k weights.
template <class W>
SIGRUN_INLINE ptrdiff_t PanelBytes(ptrdiff_t k) {
  return static_cast<ptrdiff_t>(sizeof(float)) + k * static_cast<ptrdiff_t>(sizeof(W));
}

SIGRUN_INLINE int32_t PanelWidth(int32_t channels) {
  return channels >= kPanel ? kPanel : (channels + F32::lanes - 1) / F32::lanes * F32::lanes;
}

// k rows of a panel from weights of any strides, in short runs along k, so that a line of weights is read once even if the channels are
// far apart.
template <class W>
SIGRUN_INLINE void PackPanel(int32_t k, int32_t width, int32_t count, const WeightView<W>& from, W* to) {
  constexpr int32_t kRun = 16;
  for (int32_t first = 0; first < k; first += kRun, to += kRun * width) {
    const int32_t run = k - first < kRun ? k - first : kRun;
    for (int32_t j = 0; j < count; ++j) {
      const W* p = from.data + j * from.stride_n + first * from.stride_k;
      for (int32_t i = 0; i < run; ++i) to[i * width + j] = p[i * from.stride_k];
    }
    for (int32_t j = count; j < width; ++j) {
      for (int32_t i = 0; i < run; ++i) to[i * width + j] = 0;
    }
  }
}

// The same where the k of a channel lie side by side: squares of channels and k are turned in registers.
SIGRUN_INLINE void PackTurned(int32_t k, int32_t width, int32_t count, const WeightView<float>& from, float* to) {
  constexpr int kLanes = F32::lanes;
  for (int32_t first = 0; first < k; first += kLanes, to += kLanes * width) {
    const int rows = k - first < kLanes ? k - first : kLanes;
    for (int32_t column = 0; column < width; column += kLanes) {
      F32 square[kLanes];
      SIGRUN_UNROLL
      for (int j = 0; j < kLanes; ++j) {
        const float* p = from.data + (column + j) * from.stride_n + first;
        square[j] = column + j >= count ? Set1(0.0f) : rows == kLanes ? Load(p) : LoadPartial(p, rows);
      }
      Transpose(square);
      if (rows == kLanes) {
        SIGRUN_UNROLL
        for (int i = 0; i < kLanes; ++i) Store(to + i * width + column, square[i]);
      } else {
        for (int i = 0; i < rows; ++i) Store(to + i * width + column, square[i]);
      }
    }
  }
}

template <class W>
void Pack(int32_t k, int32_t n, WeightView<W> weights, const float* bias, std::byte* packed) {
  for (int32_t first = 0; first < n; first += kPanel, weights.data += kPanel * weights.stride_n) {
    const int32_t width = PanelWidth(n - first), count = n - first < width ? n - first : width;
    float* to = reinterpret_cast<float*>(packed);
    for (int32_t j = 0; j < width; ++j) to[j] = bias != nullptr && j < count ? bias[first + j] : 0.0f;
    W* panel = reinterpret_cast<W*>(to + width);
    if (weights.stride_n == 1 && count == kPanel) {
      for (int32_t i = 0; i < k; ++i) memcpy(panel + i * kPanel, weights.data + i * weights.stride_k, kPanel * sizeof(W));
    } else if constexpr (sizeof(W) == sizeof(float)) {
      weights.stride_k == 1 ? PackTurned(k, width, count, weights, panel) : PackPanel(k, width, count, weights, panel);
    } else {
      PackPanel(k, width, count, weights, panel);
    }
    packed = reinterpret_cast<std::byte*>(panel + static_cast<ptrdiff_t>(k) * width);
  }
}

/// How K is cut: `segments` runs of `length` floats. A merged segment is a whole line of the window, copied where it leaves the image
/// sideways.
struct Segments {
  int32_t count, length;
  bool merged = false, copies = false;
};

Segments CutK(const ConvShape& s) {
  const ptrdiff_t taps = static_cast<ptrdiff_t>(s.kernel_height) * s.kernel_width,
                  line = static_cast<ptrdiff_t>(s.kernel_width) * s.in_channels;
  if (taps * s.in_channels == 0) return {0, 1};
  const bool copies = s.pad_left > 0 || (s.out_width - 1) * s.stride_w - s.pad_left + s.kernel_width > s.in_width;
  const bool fits = copies ? s.in_channels <= kMaxMergedChannels && taps * s.in_channels <= kScratchFloats / kTileRows : line <= kMaxRun;
  const bool merged = s.kernel_width > 1 && s.dilation_w == 1 && s.groups == 1 && fits && s.kernel_height <= kMaxSegments;
  if (merged) return {s.kernel_height, static_cast<int32_t>(line), true, copies};
  return {static_cast<int32_t>(taps), s.in_channels};
}

SIGRUN_INLINE int32_t SegmentsPerPass(const Segments& cut) {
  const int32_t fitting = cut.length < kMaxRun ? kMaxRun / cut.length : 1;
  const int32_t most = fitting < kMaxSegments ? fitting : kMaxSegments, count = cut.count > 0 ? cut.count : 1;
  return count < most ? count : most;
}

/// The part of K that one pass over a block adds: floats [offset, offset + length) of segments [first, first + count).
struct Pass {
  int32_t first, count, offset, length;
  int32_t first_ky, first_kx;
  bool begins, ends;  // starts from the bias; clamps the finished sum
};

/// A pixel of the output, walked row by row.
struct Pixel {
  int32_t image, y, x;
};

SIGRUN_INLINE Pixel PixelAt(const ConvShape& s, int32_t row) {
  return {row / (s.out_height * s.out_width), row / s.out_width % s.out_height, row % s.out_width};
}

SIGRUN_INLINE void Advance(const ConvShape& s, Pixel& p) {
  if (++p.x < s.out_width) return;
  p.x = 0;
  if (++p.y < s.out_height) return;
  p.y = 0;
  ++p.image;
}

/// Pointers of one group's pixels into the input.
struct Gather {
  const ConvShape& shape;
  Segments segments;
  const float* input;  // at the group's first channel
};

// One pixel's pointers, `step` apart, for the segments of a pass.
void TapPointers(const Gather& g, const Pass& pass, const Pixel& at, const float** to, ptrdiff_t step) {
  const ConvShape& s = g.shape;
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const int32_t top = at.y * s.stride_h - s.pad_top, left = at.x * s.stride_w - s.pad_left;
  int32_t ky = pass.first_ky, kx = pass.first_kx;
  for (int32_t i = 0; i < pass.count; ++i, to += step) {
    const int32_t y = top + ky * s.dilation_h, x = left + kx * s.dilation_w;
    const bool inside = y >= 0 && y < s.in_height && x >= 0 && x < s.in_width;
    const ptrdiff_t position = (static_cast<ptrdiff_t>(at.image) * s.in_height + y) * s.in_width + x;
    *to = inside ? g.input + position * depth + pass.offset : kZeros;
    if (++kx == s.kernel_width) {
      kx = 0;
      ++ky;
    }
  }
}

// One pixel's pointers where a segment is a line of the window. A line that leaves the image sideways is copied between zeros, to
// `scratch`, which is returned behind what was used.
float* LinePointers(const Gather& g, const Pass& pass, const Pixel& at, const float** to, ptrdiff_t step, float* scratch) {
  const ConvShape& s = g.shape;
  const int32_t top = at.y * s.stride_h - s.pad_top, left = at.x * s.stride_w - s.pad_left;
  const Range kx = TapsInside(left, 1, s.kernel_width, s.in_width);
  const bool whole = kx.begin == 0 && kx.end == s.kernel_width;
  const int32_t begin = kx.begin * s.in_channels, end = kx.end * s.in_channels;  // floats inside
  for (int32_t i = 0; i < pass.count; ++i, to += step) {
    const int32_t y = top + (pass.first_ky + i) * s.dilation_h;
    if (y < 0 || y >= s.in_height || kx.begin == kx.end) {
      *to = kZeros;
      continue;
    }
    const float* line = g.input + ((static_cast<ptrdiff_t>(at.image) * s.in_height + y) * s.in_width + left) * s.in_channels;
    *to = whole ? line : scratch;
    if (whole) continue;
    for (int32_t j = 0; j < begin; ++j) scratch[j] = 0.0f;
    for (int32_t j = begin; j < end; ++j) scratch[j] = line[j];
    for (int32_t j = end; j < g.segments.length; ++j) scratch[j] = 0.0f;
    scratch += g.segments.length;
  }
  return scratch;
}

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

constexpr ptrdiff_t kFewWeightBytes = 32 << 10;  // that stay in L1 from rows to rows

// Rows of the tiles of a matrix by whole panels: of 24 sums in 32 registers, compilers keep some in memory. 3136 x 24 x 144 takes 6 % less.
constexpr int32_t kMatrixRows = kTileRows < 10 ? kTileRows : 10;

/// Pixels of a block, cut into tiles of nearly equal height.
struct Block {
  int32_t rows, tiles, low, high;  // so many of the first tiles have a row more than `low`
  explicit Block(int32_t count, int32_t most = kTileRows)
      : rows(count), tiles((count + most - 1) / most), low(count / tiles), high(count % tiles) {}
  SIGRUN_INLINE int32_t Height(int32_t tile) const { return low + (tile < high ? 1 : 0); }
};

/// The tiles of a block fetch weights that come next, each its part.
SIGRUN_INLINE void LookAhead(Tile& t, const Block& block, const std::byte* weights, ptrdiff_t bytes_of_k) {
  const ptrdiff_t part = 4 * bytes_of_k / block.tiles;
  t.ahead = weights;
  t.ahead_bytes = part < kTileAhead * kLine ? part : kTileAhead * kLine;
}

/// Where the segments of a pass lie, from the first tap of a window that is wholly in the image.
struct TapOffsets {
  ptrdiff_t of_segment[kMaxSegments];
  TapOffsets(const Gather& g, const Pass& pass) {
    const ConvShape& s = g.shape;
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    int32_t ky = pass.first_ky, kx = pass.first_kx;
    for (int32_t i = 0; i < pass.count; ++i) {
      of_segment[i] = (static_cast<ptrdiff_t>(ky) * s.dilation_h * s.in_width + kx * s.dilation_w) * depth + pass.offset;
      if (g.segments.merged || ++kx == s.kernel_width) {
        kx = 0;
        ++ky;
      }
    }
  }
};

// The pointers of one tile's pixels, as if all windows lay in the image; those that do not follow one by one.
float* GatherTile(const Gather& g, const Pass& pass, const TapOffsets& offsets, Pixel& at, int32_t height, const float** pointers,
                  float* scratch) {
  const ConvShape& s = g.shape;
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const int32_t last_y = s.in_height - 1 - (s.kernel_height - 1) * s.dilation_h;
  const int32_t last_x = s.in_width - 1 - (s.kernel_width - 1) * s.dilation_w;
  const uintptr_t step = static_cast<uintptr_t>(s.stride_w * depth) * sizeof(float);
  uintptr_t windows[kTileRows];
  Pixel crossing[kTileRows];
  int32_t crossing_row[kTileRows], crossings = 0;
  for (int32_t i = 0; i < height;) {
    const int32_t top = at.y * s.stride_h - s.pad_top, left = at.x * s.stride_w - s.pad_left;
    const int32_t of_line = s.out_width - at.x, count = height - i < of_line ? height - i : of_line;
    const ptrdiff_t position = ((static_cast<ptrdiff_t>(at.image) * s.in_height + top) * s.in_width + left) * depth;
    const uintptr_t window = reinterpret_cast<uintptr_t>(g.input) + static_cast<uintptr_t>(position) * sizeof(float);
    for (int32_t j = 0; j < count; ++j) windows[i + j] = window + static_cast<uintptr_t>(j) * step;
    if (top < 0 || top > last_y || left < 0 || left + (count - 1) * s.stride_w > last_x) {
      for (int32_t j = 0; j < count; ++j) {
        const int32_t x = left + j * s.stride_w;
        if (top >= 0 && top <= last_y && x >= 0 && x <= last_x) continue;
        crossing[crossings] = {at.image, at.y, at.x + j};
        crossing_row[crossings++] = i + j;
      }
    }
    i += count;
    at.x += count - 1;
    Advance(s, at);
  }
  for (int32_t k = 0; k < pass.count; ++k) {
    const uintptr_t offset = static_cast<uintptr_t>(offsets.of_segment[k]) * sizeof(float);
    for (int32_t i = 0; i < height; ++i) pointers[k * height + i] = reinterpret_cast<const float*>(windows[i] + offset);
  }
  for (int32_t i = 0; i < crossings; ++i) {
    if (g.segments.merged) {
      scratch = LinePointers(g, pass, crossing[i], pointers + crossing_row[i], height, scratch);
    } else {
      TapPointers(g, pass, crossing[i], pointers + crossing_row[i], height);
    }
  }
  return scratch;
}

void GatherBlock(const Gather& g, const Pass& pass, Pixel at, const Block& block, const float** pointers, float* scratch) {
  const TapOffsets offsets(g, pass);
  for (int32_t tile = 0; tile < block.tiles; ++tile) {
    const int32_t height = block.Height(tile);
    scratch = GatherTile(g, pass, offsets, at, height, pointers, scratch);
    pointers += pass.count * height;
  }
}

/// The same convolution over an input that has its padding, and no more than the windows see.
ConvShape WithPadding(const ConvShape& s) {
  ConvShape padded = s;
  padded.in_height = (s.out_height - 1) * s.stride_h + (s.kernel_height - 1) * s.dilation_h + 1;
  padded.in_width = (s.out_width - 1) * s.stride_w + s.kernel_width;
  padded.pad_top = padded.pad_left = 0;
  return padded;
}

// True for an image so small that a copy between zeros costs less than looking after the pixels at its edges.
SIGRUN_INLINE bool CopiesImage(const ConvShape& s, const Segments& cut) {
  if (!cut.merged || s.batch != 1) return false;
  const ConvShape padded = WithPadding(s);
  const bool crosses = s.pad_top > 0 || s.pad_left > 0 || padded.in_height > s.in_height || padded.in_width > s.in_width;
  return crosses && static_cast<int64_t>(padded.in_height) * padded.in_width * s.in_channels <= kScratchFloats;
}

SIGRUN_INLINE void CopyFloats(const float* from, ptrdiff_t n, float* to) {
  ptrdiff_t i = 0;
  for (; i + F32::lanes <= n; i += F32::lanes) Store(to + i, Load(from + i));
  if (i < n) StorePartial(to + i, LoadPartial(from + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

void CopyImage(const ConvShape& s, const ConvShape& padded, const float* input, float* to) {
  const ptrdiff_t line = static_cast<ptrdiff_t>(s.in_width) * s.in_channels;
  const ptrdiff_t padded_line = static_cast<ptrdiff_t>(padded.in_width) * s.in_channels;
  const ptrdiff_t before = static_cast<ptrdiff_t>(s.pad_left) * s.in_channels;
  const ptrdiff_t count = line < padded_line - before ? line : padded_line - before;
  memset(to, 0, static_cast<size_t>(padded.in_height * padded_line) * sizeof(float));
  for (int32_t i = 0; i < padded.in_height; ++i, to += padded_line) {
    const int32_t y = i - s.pad_top;
    if (y >= 0 && y < s.in_height && count > 0) CopyFloats(input + y * line, count, to + before);
  }
}

/// Groups of a convolution that share pointers, in sets of those that are packed as one.
struct Group {
  Gather gather;
  const std::byte* packed;
  float* output;  // at the first channel
  ptrdiff_t output_stride;
  const EpilogueF32* epilogue;
  ptrdiff_t residual;
  int32_t first;  // channel of all groups
  int32_t sets;
  int32_t in_channels, out_channels;  // of a set
  size_t set_bytes;
  const Lanes* lanes;
};

// Panels that one or two pixels take side by side: enough independent sums to hide the latency of the FMA. A single pixel reads `bytes` of
// weights as fast as they come: from memory, a core fetches two streams by itself at twice the speed of four.
constexpr ptrdiff_t kCachedBytes = ptrdiff_t{1} << 19;
SIGRUN_INLINE int32_t PanelsAtOnce(const Block& block, int32_t channels, ptrdiff_t bytes) {
  const int32_t panels = block.rows > 2 ? 1 : block.rows == 2 || bytes > kCachedBytes ? 2 : 4;
  return channels >= panels * kPanel ? panels : 1;
}

template <class W>
TileFunction ChooseTile(int32_t height, int32_t width, int32_t panels, bool shared = false) {
  constexpr TileFunctions kShared = MakeSharedFunctions<W>(std::make_integer_sequence<int, kTileRows>{});
  if (shared) return kShared.of_rows[height - 1];
  if (panels == 4) return RunTile<1, 4 * kTileVectors, W>;
  if (panels == 2) return height == 1 ? RunTile<1, 2 * kTileVectors, W> : RunTile<2, 2 * kTileVectors, W>;
  return (width == kPanel ? kTileFunctions<kTileVectors, W> : kTileFunctions<1, W>).of_rows[height - 1];
}

// Rows packed for the tiles, where a tier's F32 says how: NEON takes 73 instructions for 64 multiply-adds instead of 80, and fewer between
// tiles. By llvm-mca that is all of a Neoverse N1's peak either way, and 86 % of a Cortex-A55's instead of 94 %. The rows of a tile are
// packed in halves of four, and so are four steps of k: [k / 4][half][4 k][4 rows], what is left of k one by one.
constexpr int32_t kPackedFloats = 10240;
constexpr int64_t kLeastPanels = 2, kMostRepeated = int64_t{640} << 10;

// Weights that are read again for every part of a block that fits had better be in L2.
SIGRUN_INLINE bool PaysToPack(int32_t out_channels, const Pass& pass, const Block& block, ptrdiff_t k, ptrdiff_t room) {
  const int64_t tile = int64_t{kTileRows} * pass.count * pass.length;
  const bool near = block.tiles * tile <= room || k * out_channels * static_cast<int64_t>(sizeof(float)) <= kMostRepeated;
  return block.rows > kTileRows / 2 && out_channels >= kLeastPanels * kPanel && tile <= room && near;
}

template <class V, int kHalves>
float* PackRows(const float* const* pointers, ptrdiff_t offset, int32_t height, const Pass& pass, float* to) {
  for (int32_t segment = 0; segment < pass.count; ++segment, pointers += height) {
    const float* row[4 * kHalves];
    for (int32_t i = 0; i < 4 * kHalves; ++i) row[i] = pointers[i < height ? i : height - 1] + offset;
    ptrdiff_t k = 0;
    for (; k + 4 <= pass.length; k += 4) {
      SIGRUN_UNROLL
      for (int h = 0; h < kHalves; ++h, to += 16) {
        V::StoreTurned(to, row[4 * h] + k, row[4 * h + 1] + k, row[4 * h + 2] + k, row[4 * h + 3] + k);
      }
    }
    for (; k < pass.length; ++k) {
      for (int32_t i = 0; i < 4 * kHalves; ++i) *to++ = row[i][k];
    }
  }
  return to;
}

template <int kRows, int kVectors, int kRow = 0>
SIGRUN_INLINE void PackedStep(F32 (&sum)[kRows][kVectors], F32 low, F32 high, F32 w0, F32 w1) {
  sum[kRow][0] = FmaLeft<kRow % 4>({kRow < 4 ? low.v : high.v}, w0, sum[kRow][0]);
  if constexpr (kVectors > 1) sum[kRow][1] = FmaLeft<kRow % 4>({kRow < 4 ? low.v : high.v}, w1, sum[kRow][1]);
  if constexpr (kRow + 1 < kRows) PackedStep<kRows, kVectors, kRow + 1>(sum, low, high, w0, w1);
}

// Steps of k from kStep on, of four. Four vectors of weights are loaded at once where the tile leaves registers for them.
template <int kRows, int kVectors>
constexpr bool kLoadsFour = kVectors == 2 && kRows < kTileRows;
template <int kStep, class V, int kRows, int kVectors, class Four>
SIGRUN_INLINE void PackedSteps(F32 (&sum)[kRows][kVectors], const Four& low, const Four& high, const float*& weights) {
  static_assert(kVectors <= 2);
  if constexpr (kLoadsFour<kRows, kVectors>) {
    const Four w = V::LoadFour(weights);
    PackedStep(sum, low.template At<kStep>(), high.template At<kStep>(), w.template At<0>(), w.template At<1>());
    PackedStep(sum, low.template At<kStep + 1>(), high.template At<kStep + 1>(), w.template At<2>(), w.template At<3>());
    if constexpr (kStep == 0) PackedSteps<2, V>(sum, low, high, weights);
  } else {
    constexpr ptrdiff_t kStepFloats = kVectors * F32::lanes;
    const float* from = weights + kStep * kStepFloats;
    PackedStep(sum, low.template At<kStep>(), high.template At<kStep>(), Load(from), Load(from + kStepFloats - F32::lanes));
    if constexpr (kStep < 3) {
      PackedSteps<kStep + 1, V>(sum, low, high, weights);
    } else {
      weights += 4 * kStepFloats;
    }
  }
}

/// `count` tiles of packed rows that follow each other.
template <int kRows, int kVectors, class V>
void RunPackedTiles(Tile t, const float* a, int32_t count) {
  for (; count > 0; --count, t.sums.output += kRows * t.sums.output_stride) {
    F32 sum[kRows][kVectors];
    LoadSums(t.sums, sum);
    const std::byte* segment = t.weights;
    for (int32_t s = 0; s < t.segments; ++s, segment += t.segment_bytes) {
      const float* weights = reinterpret_cast<const float*>(segment);
      for (int32_t k = t.length / 4; k > 0; --k) {
        const auto low = V::LoadFour(a);
        if constexpr (kRows > 4) {
          const auto high = V::LoadFour(a);
          PackedSteps<0, V>(sum, low, high, weights);
        } else {
          PackedSteps<0, V>(sum, low, low, weights);
        }
      }
      for (int32_t k = t.length % 4; k > 0; --k, weights += kVectors * F32::lanes) {
        const F32 low = Load(a), high = Load(a + (kRows > 4 ? 4 : 0));
        PackedStep(sum, low, high, Load(weights), Load(weights + (kVectors - 1) * F32::lanes));
        a += kRows > 4 ? 8 : 4;
      }
    }
    StoreSums(t.sums, sum);
  }
}

using PackedFunction = void (*)(Tile, const float*, int32_t);
template <int kVectors, class V, int... kRow>
SIGRUN_INLINE PackedFunction ChoosePacked(int32_t height, std::integer_sequence<int, kRow...>) {
  constexpr PackedFunction kOfRows[] = {RunPackedTiles<kRow + 1, kVectors, V>...};
  return kOfRows[height - 1];
}

template <class V>
void RunPacked(const Group& g, const Pass& pass, const Block& block, const Tile& begin, const float* const* pointers, float* packed,
               ptrdiff_t room) {
  const ptrdiff_t k = static_cast<ptrdiff_t>(g.gather.segments.count) * g.gather.segments.length;
  const int32_t depth = pass.count * pass.length;
  Tile t = begin;
  for (int32_t tile = 0; tile < block.tiles;) {
    float* to = packed;
    int32_t end = tile, rows = 0;
    for (; end < block.tiles && to - packed + kTileRows * depth <= room; ++end) {
      const int32_t height = block.Height(end);
      to = height > 4 ? PackRows<V, 2>(pointers, t.offset, height, pass, to) : PackRows<V, 1>(pointers, t.offset, height, pass, to);
      pointers += pass.count * height;
      rows += height;
    }
    Tile of_panel = t;
    for (int32_t n = 0; n < g.out_channels; n += kPanel) {
      const int32_t left = g.out_channels - n, width = PanelWidth(left);
      const ptrdiff_t first = of_panel.weights - of_panel.sums.bias, panel_bytes = width * PanelBytes<float>(k);
      of_panel.sums.panel_bytes = panel_bytes;
      of_panel.sums.channels = left < width ? left : width;
      of_panel.sums.first = begin.sums.first + n;
      of_panel.segment_bytes = begin.segment_bytes / kPanel * width;
      of_panel.weights = of_panel.sums.bias + first / kPanel * width;
      Tile run = of_panel;
      const float* from = packed;
      for (int32_t i = tile; i < end;) {
        const int32_t height = block.Height(i);
        int32_t count = 1;
        while (i + count < end && block.Height(i + count) == height) ++count;
        const std::make_integer_sequence<int, kTileRows> heights;
        (width == kPanel ? ChoosePacked<kTileVectors, V>(height, heights) : ChoosePacked<1, V>(height, heights))(run, from, count);
        run.sums.output += static_cast<ptrdiff_t>(count) * height * g.output_stride;
        from += static_cast<ptrdiff_t>(count) * (height > 4 ? 8 : 4) * depth;
        i += count;
      }
      of_panel.sums.bias += panel_bytes;
      of_panel.weights = of_panel.sums.bias + first;
      of_panel.sums.output += kPanel;
    }
    tile = end;
    t.sums.output += rows * g.output_stride;
  }
}

// Rows of a matrix of few k: all panels for the rows of a tile, so that lines of the output are written from one end to the other.
template <class W>
void RunRows(const Block& block, const Tile& begin, int32_t out_channels, ptrdiff_t k) {
  const int32_t panels = out_channels / kPanel, rest = out_channels % kPanel, width = PanelWidth(rest);
  const float* const* pointers = begin.pointers;
  float* output = begin.sums.output;
  for (int32_t tile = 0; tile < block.tiles; ++tile) {
    const int32_t height = block.Height(tile);
    Tile t = begin;
    t.pointers = pointers;
    t.sums.output = output;
    ChoosePanels<W>(height, std::make_integer_sequence<int, kTileRows>{})(t, panels);
    if (rest > 0) {
      t.sums.panel_bytes = width * PanelBytes<W>(k);
      t.sums.channels = rest;
      t.weights = t.sums.bias + width * PanelBytes<W>(0);
      ChooseTile<W>(height, width, 1)(t);
    }
    pointers += height;
    output += height * begin.sums.output_stride;
  }
}

// The panels of a set over the tiles of a block; `packed` has room for packed rows.
template <class W>
void RunSet(const Group& g, int32_t set, const Pass& pass, int32_t row, const Block& block, const float* const* pointers,
            [[maybe_unused]] float* packed, [[maybe_unused]] ptrdiff_t room) {
  const Segments& cut = g.gather.segments;
  const ptrdiff_t k = static_cast<ptrdiff_t>(cut.count) * cut.length;
  const ptrdiff_t first_k = static_cast<ptrdiff_t>(pass.first) * cut.length + pass.offset;
  const ptrdiff_t offset = static_cast<ptrdiff_t>(set) * g.in_channels;
  const int32_t channel = set * g.out_channels;
  const std::byte* panel = g.packed + set * g.set_bytes;
  float* const first_output = g.output + row * g.output_stride + channel;
  const auto tile_of = [&](int32_t n, int32_t width, int32_t channels) {
    const Sums sums = {
        panel,      width * PanelBytes<W>(k), first_output + n, g.output_stride, channels, pass.begins, pass.ends, g.epilogue,
        g.residual, g.first + channel + n};
    return Tile{sums,
                pointers,
                pass.count,
                pass.length,
                panel + width * PanelBytes<W>(first_k),
                static_cast<ptrdiff_t>(cut.length) * width * static_cast<ptrdiff_t>(sizeof(W)),
                offset,
                g.lanes};
  };
  if constexpr (kPacksRows<F32> && sizeof(W) == sizeof(float)) {
    if (PaysToPack(g.out_channels, pass, block, k, room)) {
      return RunPacked<F32>(g, pass, block, tile_of(0, kPanel, kPanel), pointers, packed, room);
    }
  }
  if constexpr (kEndsShort) {
    const bool single = pass.begins && pass.ends && pass.count == 1 && g.lanes == nullptr;
    if (single && block.tiles > 1 && g.out_channels >= 2 * kPanel && g.out_channels * PanelBytes<W>(k) <= kFewWeightBytes) {
      return RunRows<W>(block, tile_of(0, kPanel, kPanel), g.out_channels, k);
    }
  }
  for (int32_t n = 0; n < g.out_channels;) {
    const int32_t width = PanelWidth(g.out_channels - n);
    const int32_t panels = PanelsAtOnce(block, g.out_channels - n, g.out_channels * PanelBytes<W>(k));
    const int32_t channels = g.out_channels - n < width * panels ? g.out_channels - n : width * panels;
    const ptrdiff_t panel_bytes = width * PanelBytes<W>(k);
    Tile t = tile_of(n, width, channels);
    const ptrdiff_t steps = static_cast<ptrdiff_t>(pass.count) * (pass.length / 4);
    if (block.rows > 1 && n + channels < g.out_channels) {
      LookAhead(t, block, t.weights + panel_bytes * panels, width * static_cast<ptrdiff_t>(sizeof(W)));
    }
    for (int32_t tile = 0; tile < block.tiles; ++tile) {
      const int32_t height = block.Height(tile);
      ChooseTile<W>(height, width, panels, g.lanes != nullptr)(t);
      t.pointers += pass.count * height;
      t.sums.output += height * g.output_stride;
      t.ahead += steps * t.ahead_bytes;
    }
    panel += panel_bytes * panels;
    n += channels;
  }
}

template <class W>
void RunPass(const Group& g, const Pass& pass, int32_t row, const Block& block) {
  const ConvShape& s = g.gather.shape;
  const Segments& cut = g.gather.segments;
  constexpr bool packs = kPacksRows<F32> && sizeof(W) == sizeof(float);
  const float* pointers[kMaxPointers];
  float scratch[kScratchFloats + (packs ? kPackedFloats : 0)];
  const bool is_matrix = IsMatrix(s);
  if (is_matrix) {
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    const float* from = g.gather.input + row * depth + pass.offset;
    for (int32_t i = 0; i < block.rows; ++i, from += depth) pointers[i] = from;
  } else if (CopiesImage(s, cut)) {
    const ConvShape padded = WithPadding(s);
    CopyImage(s, padded, g.gather.input, scratch);
    GatherBlock({padded, cut, scratch}, pass, PixelAt(s, row), block, pointers, nullptr);
  } else {
    GatherBlock(g.gather, pass, PixelAt(s, row), block, pointers, scratch);
  }
  const ptrdiff_t gathered = is_matrix ? 0 : kScratchFloats;
  for (int32_t set = 0; set < g.sets; ++set) {
    RunSet<W>(g, set, pass, row, block, pointers, scratch + gathered, kScratchFloats + kPackedFloats - gathered);
  }
}

// The passes follow from the shape alone, so that neither threads nor blocks change the order of a sum. There is one even if K is 0: it
// stores the bias.
template <class W>
void RunBlock(const Group& g, int32_t row, const Block& block) {
  const Segments& cut = g.gather.segments;
  const int32_t kernel_width = g.gather.segments.merged ? 1 : g.gather.shape.kernel_width;
  const int32_t parts = (cut.length + kMaxRun - 1) / kMaxRun, run = (cut.length + parts - 1) / parts;
  const int32_t count = SegmentsPerPass(cut);
  for (int32_t offset = 0; offset < cut.length; offset += run) {
    for (int32_t first = 0; first == 0 || first < cut.count; first += count) {
      Pass pass;
      pass.first = first;
      pass.first_ky = first / kernel_width;
      pass.first_kx = first % kernel_width;
      pass.count = cut.count - first < count ? cut.count - first : count;
      pass.offset = offset;
      pass.length = cut.length - offset < run ? cut.length - offset : run;
      pass.begins = offset == 0 && first == 0;
      pass.ends = offset + pass.length == cut.length && first + pass.count == cut.count;
      RunPass<W>(g, pass, row, block);
    }
  }
}

int32_t RowsPerBlock(const Segments& cut, int32_t depth) {
  const int32_t segments = SegmentsPerPass(cut), run = cut.length < kMaxRun ? cut.length : kMaxRun;
  const int32_t floats = segments * run > depth ? segments * run : depth;
  int32_t rows = kMaxPointers / segments;
  if (rows > kBlockFloats / floats) rows = kBlockFloats / floats;
  if (cut.copies && rows > kScratchFloats / (segments * run)) rows = kScratchFloats / (segments * run);
  return rows / kTileRows * kTileRows;
}

Lanes LanesOf(const ConvShape& s) {
  Lanes lanes = {{}, s.packed_groups * s.in_channels};
  for (int32_t n = 0; n < s.packed_groups * s.out_channels; ++n) lanes.first[n] = n / s.out_channels * s.in_channels;
  return lanes;
}

// As many groups share the pointers of windows as are padded by the same zeros.
template <class W>
void Conv(const ConvShape& s, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue, Range rows) {
  const Segments cut = CutK(s);
  const bool shares = s.packed_groups > 1;
  const Lanes lanes = shares ? LanesOf(s) : Lanes{};
  const size_t set_bytes = PackBytes<W>(cut.count * cut.length, s.packed_groups * s.out_channels);
  const ptrdiff_t output_stride = s.output_stride();
  const ptrdiff_t residual = epilogue.residual == nullptr ? 0 : epilogue.residual - output;
  const int32_t sets = s.groups / s.packed_groups, in = s.packed_groups * s.in_channels, out = s.packed_groups * s.out_channels;
  const int32_t most = !IsMatrix(s) && in > 0 && in < kMaxRun ? kMaxRun / in : 1, at_once = most < sets ? most : sets;
  const int32_t step = RowsPerBlock(cut, at_once > 1 ? at_once * in : 0);
  const int32_t tile_rows = IsMatrix(s) && out >= kPanel ? kMatrixRows : kTileRows;
  for (int32_t set = 0; set < sets; set += at_once) {
    const Group group = {{s, cut, input + set * in},
                         packed + static_cast<size_t>(set) * set_bytes,
                         output + set * out,
                         output_stride,
                         &epilogue,
                         residual,
                         set * out,
                         sets - set < at_once ? sets - set : at_once,
                         in,
                         out,
                         set_bytes,
                         shares ? &lanes : nullptr};
    for (int32_t row = rows.begin; row < rows.end; row += step) {
      RunBlock<W>(group, row, Block(rows.end - row < step ? rows.end - row : step, tile_rows));
    }
  }
}

void OverlayGemm(Kernels& t) {
  t.f32_group_channels = F32::lanes;
  t.f32_block_channels = kPanel < 16 ? 16 : kPanel;  // whole lines of cache
  t.pack_f32_bytes = PackF32Bytes;
  t.pack_f32 = Pack<float>;
  t.conv_f32 = Conv<float>;
  t.pack_f16_bytes = PackBytes<uint16_t>;
  t.pack_f16 = Pack<uint16_t>;
  t.conv_f16 = Conv<uint16_t>;
}

}  // namespace
}  // namespace sigrun::kernels
