#pragma once

#include <type_traits>
#include <utility>

#include "kernels/common/epilogue_f32.h"
#include "kernels/common/math.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// Depthwise convolution of Elements, floats or bfloat16 with float32 sums: the file around says which, and how they are loaded and stored.
// Packed: one block a vector of channels, [bias][tap][lane]; with a depth multiplier above 1, which broadcasts an input over its output
// channels, one block of all channels. Trick: a tile of two lines and four pixels takes every column of the input in which its windows
// overlap once, all channels of a pixel one after the other, as they lie in memory. Pixels at the left and right find their columns through
// a table of pointers, in which a column outside the image points at zeros. On one core of a Zen 5: 3x3 65 % and 5x5 76 % of the FMA peak
// with AVX-512 where the images lie in L2, 83 and 91 % where a line is one tile, 80 and 75 % of half of that with AVX2; from L3 the memory
// decides, and bfloat16 is up to 1.5 times as fast. NEON, by llvm-mca for Neoverse N1: 5x5 86 % of the FMA peak, 3x3 69 %, with clamps
// and stores all that the vector units take.
namespace sigrun::kernels {
namespace {

constexpr int32_t kMaxChunk = 512;                          // channels: the size of the zeros
constexpr int32_t kMaxHeight = 16;                          // of windows that have tile functions
constexpr int32_t kMaxLines = 18;                           // of input under a tile
constexpr int kPixels = 4;                                  // of a whole tile
constexpr int kLinePixels = F32::lanes == 8 ? kPixels : 7;  // of a line that is one tile, if the registers allow
constexpr int kAnyPixels = 5;                               // of a tile of windows that have no tile functions

alignas(64) constexpr Element kZeroColumn[kMaxChunk] = {};

SIGRUN_INLINE int32_t PaddedChannels(int32_t channels) { return (channels + F32::lanes - 1) / F32::lanes * F32::lanes; }

size_t PackDepthwiseBytes(const ConvShape& s) {
  const size_t floats = static_cast<size_t>(PaddedChannels(s.out_channels)) * static_cast<size_t>(s.kernel_height * s.kernel_width + 1);
  return floats * sizeof(float);
}

void PackDepthwise(const ConvShape& s, const float* filter, const float* bias, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  const int32_t taps = s.kernel_height * s.kernel_width;
  const int32_t width = s.in_channels == s.out_channels ? F32::lanes : PaddedChannels(s.out_channels);
  for (int32_t first = 0; first < s.out_channels; first += width) {
    for (int32_t tap = -1; tap < taps; ++tap, to += width) {
      const float* from = tap < 0 ? bias : filter + static_cast<ptrdiff_t>(tap) * s.out_channels;
      for (int32_t c = 0; c < width; ++c) to[c] = from != nullptr && first + c < s.out_channels ? from[first + c] : 0.0f;
    }
  }
}

template <bool kPartial>
SIGRUN_INLINE F32 LoadChannels(const Element* p, int rest) {
  return kPartial ? LoadPartial(p, rest) : Load(p);
}

template <bool kPartial>
SIGRUN_INLINE void StoreChannels(Element* p, F32 x, int rest) {
  if (kPartial) {
    StorePartial(p, x, rest);
  } else {
    Store(p, x);
  }
}

// The compiler computes what depends on x anew: addresses kept for all taps and pixels of a tile would not fit the registers.
template <class T>
SIGRUN_INLINE T Anew(T x) {
  asm("" : "+r"(x));
  return x;
}

/// Pointers `stride` apart. ARM adds one register to another as it loads or stores, so that kCount distances serve all lines of a tile.
template <class T, int kCount>
struct Spaced {
  ptrdiff_t distance[kCount];
  SIGRUN_INLINE explicit Spaced(ptrdiff_t stride) {
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) {
      distance[i] = i * stride * static_cast<ptrdiff_t>(sizeof(T));
      if (F32::lanes == 4 && i > 0) distance[i] = Anew(distance[i]);
    }
  }
  SIGRUN_INLINE T* At(T* first, int i) const { return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(first) + distance[i]); }
};

/// The bounds of the stores, and where the residual stands from the output, in floats. bfloat16 has neither residual nor activation.
template <class T>
struct DepthwiseEndOf {
  static constexpr bool kIsFloat = std::is_same_v<T, float>;
  F32 low, high;
  bool bounded_below, bounded_above, has_residual;
  const EpilogueF32& epilogue;
  ptrdiff_t residual;

  DepthwiseEndOf(const EpilogueF32& e, const T* output)
      : low(Set1(StoreClamp(e).min)),
        high(Set1(StoreClamp(e).max)),
        bounded_below(StoreClamp(e).min != -kInfinity),
        bounded_above(StoreClamp(e).max != kInfinity),
        has_residual(kIsFloat && e.residual != nullptr),
        epilogue(e),
        residual(0) {
    if constexpr (kIsFloat) residual = has_residual ? e.residual - output : 0;
  }

  // Finishes and stores the sums of one vector of channels. Bounds that are none take no slots of multiply-adds.
  template <bool kPartial, int kRows, int kCount>
  SIGRUN_INLINE void Finish(F32 (&sum)[kRows][kCount], T* output, const Spaced<T, kCount>& pixels, ptrdiff_t line, int rest) const {
    const auto each = [&](const auto& change) SIGRUN_INLINE_LAMBDA {
      SIGRUN_UNROLL
      for (int row = 0; row < kRows; ++row) {
        T* first = Anew(output + row * line);
        SIGRUN_UNROLL
        for (int i = 0; i < kCount; ++i) change(sum[row][i], pixels.At(first, i));
      }
    };
    if constexpr (kIsFloat) {
      if (has_residual) [[unlikely]] {
        each([&](F32& x, T* to) SIGRUN_INLINE_LAMBDA { x = x + LoadChannels<kPartial>(to + residual, rest); });
      }
    }
    if (bounded_below) [[likely]] {
      each([&](F32& x, T*) SIGRUN_INLINE_LAMBDA { x = AtLeast(x, low); });
    }
    if (bounded_above) [[likely]] {
      each([&](F32& x, T* to) SIGRUN_INLINE_LAMBDA { StoreChannels<kPartial>(to, AtMost(x, high), rest); });
    } else {
      each([&](F32& x, T* to) SIGRUN_INLINE_LAMBDA { StoreChannels<kPartial>(to, x, rest); });
    }
  }
  // After the channels from `first` on of some pixels are stored.
  SIGRUN_INLINE void Activate(T* out, ptrdiff_t stride, int32_t pixels, int32_t channels, int32_t first) const {
    if constexpr (kIsFloat) {
      if (epilogue.activation != ActivationF32::kNone) ActivateRows(epilogue, out, stride, pixels, channels, first);
    }
  }
};
using DepthwiseEnd = DepthwiseEndOf<Element>;

/// A chunk of channels of one or two lines of output.
struct DepthwiseRows {
  const float* packed;
  ptrdiff_t line_stride, column_stride;  // of the input, between taps
  ptrdiff_t output_pixel, output_line;
  int32_t height, channels;
  const DepthwiseEnd& end;
};

/// Where the columns of a tile lie: evenly spaced, ...
template <int kCount>
struct EvenColumns {
  const Element* first;
  ptrdiff_t line_stride;
  Spaced<const Element, kCount> columns;
  struct Line {
    const Element* first;
    SIGRUN_INLINE void Anew() { first = kernels::Anew(first); }
    SIGRUN_INLINE const Element* At(const EvenColumns& all, int column) const { return all.columns.At(first, column); }
  };
  SIGRUN_INLINE Line At(int line, ptrdiff_t c) const { return {Anew(first + line * line_stride + c)}; }
};
/// ... or anywhere.
template <int kCount>
struct ListedColumns {
  const Element* const* pointers;  // [line][column]
  struct Line {
    const Element* const* pointers;
    ptrdiff_t c;
    const Element* columns[kCount];  // as far as the registers allow
    SIGRUN_INLINE void Anew() {
      pointers = kernels::Anew(pointers);
      SIGRUN_UNROLL
      for (int i = 0; i < kCount; ++i) columns[i] = pointers[i] + c;
    }
    SIGRUN_INLINE const Element* At(const ListedColumns&, int column) const {
      return F32::lanes == 4 ? columns[column] : pointers[column] + c;
    }
  };
  SIGRUN_INLINE Line At(int line, ptrdiff_t c) const {
    Line at = {pointers + line * kCount, c, {}};
    if (F32::lanes == 4) at.Anew();
    return at;
  }
};

constexpr int ColumnsOf(int pixels, int width, int step) { return (pixels - 1) * step + width; }

// kRows lines of kCount pixels, whose windows are kStep taps apart in both directions. A kHeight of 0 is known only while running.
template <int kRows, int kCount, int kHeight, int kWidth, int kStep>
struct DepthwiseTile {
  static constexpr int kColumns = ColumnsOf(kCount, kWidth, kStep);
  static_assert(kHeight > 0 || kRows == 1);
  static constexpr int kLines = kHeight + (kRows - 1) * kStep;
  // 32 registers of 4 floats hold the sums and the weights of a line, but are no operands from memory.
  static constexpr bool kColumnsPass = F32::lanes == 4 && kHeight > 0;
  static constexpr int kAhead = kStep;                                               // steps between a load and its use
  static constexpr int kLocate = kColumns > kAhead + 2 ? kColumns - kAhead - 2 : 0;  // the step before the next line's first load
  // Columns of a line that stay in registers until the first line of output needs what the second had.
  static constexpr int kStay = (32 - kRows * kCount - kWidth - 6) / kStep;

  // One line of the window after the other, of the lines of input for each line of output. A step is a column for all of its taps: its
  // sums come in turns, so that none waits for itself.
  template <bool kPartial, class Columns>
  SIGRUN_INLINE static void AddColumns(F32 (&sum)[kRows][kCount], const Columns& columns, ptrdiff_t c, const float* packed, int rest) {
    F32 inputs[kRows][kHeight][kColumns], taps[kHeight][kWidth];
    typename Columns::Line lines[kLines];
    const auto load = [&](int y, int i) SIGRUN_INLINE_LAMBDA {
      if (y >= kHeight) return;
      SIGRUN_UNROLL
      for (int row = 0; row < kRows; ++row) {
        if (y > 0 || i % kStep != 0 || i / kStep >= kCount) continue;
        packed = Anew(packed);  // loads, where copies would take slots of multiply-adds
        sum[row][i / kStep] = Load(packed);
      }
      SIGRUN_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const bool stays = row + 1 < kRows && y >= kStep && i < kStay;
        inputs[row][y][i] = stays ? inputs[row + 1][y - kStep][i] : LoadChannels<kPartial>(lines[y + row * kStep].At(columns, i), rest);
      }
      if (i < kWidth) taps[y][i] = Load(packed + (1 + y * kWidth + i) * F32::lanes);
    };
    const auto locate = [&](int y) SIGRUN_INLINE_LAMBDA {
      if (y >= kHeight) return;
      SIGRUN_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const int line = y + row * kStep;
        if (row + 1 == kRows || y < kStep) {
          lines[line] = columns.At(line, c);
        } else if (kStay < kColumns) {
          lines[line].Anew();
        }
      }
    };
    locate(0);
    SIGRUN_UNROLL
    for (int i = 0; i < kAhead; ++i) load(0, i);
    SIGRUN_UNROLL
    for (int y = 0; y < kHeight; ++y) {
      SIGRUN_UNROLL
      for (int i = 0; i < kColumns; ++i) {
        if (i == kLocate) locate(y + 1);
        load(y + (i + kAhead) / kColumns, (i + kAhead) % kColumns);
        SIGRUN_UNROLL
        for (int x = 0; x < kWidth; ++x) {
          const int pixel = (i - x) / kStep;
          if (i < x || pixel >= kCount || pixel * kStep != i - x) continue;
          SIGRUN_UNROLL
          for (int row = 0; row < kRows; ++row) Accumulate(sum[row][pixel], inputs[row][y][i], taps[y][x]);
        }
      }
    }
  }

  template <bool kPartial, class Columns>
  SIGRUN_INLINE static void AddLine(F32 (&sum)[kRows][kCount], const Columns& columns, ptrdiff_t c, int line, const float* weights,
                                    int height, int rest) {
    const typename Columns::Line at = columns.At(line, c);
    F32 inputs[kColumns];
    SIGRUN_UNROLL
    for (int i = 0; i < kColumns; ++i) inputs[i] = LoadChannels<kPartial>(at.At(columns, i), rest);
    SIGRUN_UNROLL
    for (int row = 0; row < kRows; ++row) {
      const int tap_line = line - row * kStep;
      if (tap_line < 0 || tap_line >= height) continue;
      SIGRUN_UNROLL
      for (int x = 0; x < kWidth; ++x) {
        const F32 weight = Load(weights + (tap_line * kWidth + x) * F32::lanes);
        SIGRUN_UNROLL
        for (int i = 0; i < kCount; ++i) sum[row][i] = Fma(inputs[i * kStep + x], weight, sum[row][i]);
      }
    }
  }

  // One vector of channels.
  template <bool kPartial, class Columns>
  SIGRUN_INLINE static void Run(const Columns& columns, ptrdiff_t c, const float* packed, int height, Element* output,
                                const Spaced<Element, kCount>& pixels, ptrdiff_t output_line, const DepthwiseEnd& end, int rest) {
    F32 sum[kRows][kCount];
    if constexpr (kColumnsPass) {
      AddColumns<kPartial>(sum, columns, c, packed, rest);
    } else {
      const F32 bias = Load(packed);
      const float* weights = packed + F32::lanes;
      SIGRUN_UNROLL
      for (int i = 0; i < kRows * kCount; ++i) sum[i / kCount][i % kCount] = bias;
      if constexpr (kHeight > 0) {
        SIGRUN_UNROLL
        for (int line = 0; line < kLines; ++line) AddLine<kPartial>(sum, columns, c, line, weights, kHeight, rest);
      } else {
        for (int line = 0; line < height; ++line) AddLine<kPartial>(sum, columns, c, line, weights, height, rest);
      }
    }
    end.Finish<kPartial>(sum, output + c, pixels, output_line, rest);
  }

  // All channels of the chunk.
  template <class Columns>
  SIGRUN_INLINE static void RunChannels(const DepthwiseRows& d, const Columns& columns, Element* output) {
    const float* packed = d.packed;
    const DepthwiseEnd end = d.end;
    const ptrdiff_t channels = d.channels, output_line = d.output_line;
    const Spaced<Element, kCount> pixels(d.output_pixel);
    const int height = kHeight > 0 ? kHeight : d.height;
    const ptrdiff_t packed_stride = static_cast<ptrdiff_t>(height * kWidth + 1) * F32::lanes;
    ptrdiff_t c = 0;
    for (; c + F32::lanes <= channels; c += F32::lanes, packed += packed_stride) {
      Run<false>(columns, c, packed, height, output, pixels, output_line, end, 0);
    }
    if (c < channels) Run<true>(columns, c, packed, height, output, pixels, output_line, end, static_cast<int>(channels - c));
  }
};

// `tiles` whole tiles side by side, all of their taps in the image.
template <int kRows, int kHeight, int kWidth, int kStep>
void DepthwiseInside(const DepthwiseRows& d, const Element* input, Element* output, int32_t tiles) {
  constexpr int kColumns = ColumnsOf(kPixels, kWidth, kStep);
  EvenColumns<kColumns> columns = {nullptr, d.line_stride, Spaced<const Element, kColumns>(d.column_stride)};
  for (int32_t i = 0; i < tiles; ++i) {
    columns.first = input;
    DepthwiseTile<kRows, kPixels, kHeight, kWidth, kStep>::RunChannels(d, columns, output);
    input += kPixels * kStep * d.column_stride;
    output += kPixels * d.output_pixel;
  }
}

template <int kRows, int kCount, int kHeight, int kWidth, int kStep>
void DepthwiseEdge(const DepthwiseRows& d, const Element* const* pointers, Element* output) {
  const ListedColumns<ColumnsOf(kCount, kWidth, kStep)> columns = {pointers};
  DepthwiseTile<kRows, kCount, kHeight, kWidth, kStep>::RunChannels(d, columns, output);
}

struct DepthwiseTileFunctions {
  void (*inside)(const DepthwiseRows&, const Element* input, Element* output, int32_t tiles);
  void (*edge[kLinePixels])(const DepthwiseRows&, const Element* const* pointers, Element* output);  // by the number of pixels
};
/// Of one line, and of two lines if `pairs`.
struct DepthwiseFunctions {
  DepthwiseTileFunctions of_rows[2];
  bool pairs;
  int32_t line_pixels;  // that have functions at an edge
};
template <int kRows, int kHeight, int kWidth, int kStep, int... kCount>
constexpr DepthwiseTileFunctions MakeDepthwiseFunctions(std::integer_sequence<int, kCount...>) {
  return {DepthwiseInside<kRows, kHeight, kWidth, kStep>, {DepthwiseEdge<kRows, kCount + 1, kHeight, kWidth, kStep>...}};
}
// With 16 registers, two lines of more taps than these would spill.
template <int kSide, int kStep>
constexpr bool kPairsFit = F32::lanes != 8 || (kSide == 3 && kStep == 1);
// Steps of 2 read so many columns that more pixels meet in the same sets of L1.
template <int kStep>
constexpr int kMostPixels = kStep == 1 ? kLinePixels : kPixels;
template <int kSide, int kStep, bool kPairs = kPairsFit<kSide, kStep>>
constexpr DepthwiseFunctions kSquareFunctions = {
    {MakeDepthwiseFunctions<1, kSide, kSide, kStep>(std::make_integer_sequence<int, kMostPixels<kStep>>{}),
     MakeDepthwiseFunctions<2, kSide, kSide, kStep>(std::make_integer_sequence<int, kMostPixels<kStep>>{})},
    true,
    kMostPixels<kStep>};
template <int kSide, int kStep>
constexpr DepthwiseFunctions kSquareFunctions<kSide, kStep, false> = {
    {MakeDepthwiseFunctions<1, kSide, kSide, kStep>(std::make_integer_sequence<int, kMostPixels<kStep>>{}), {}}, false, kMostPixels<kStep>};
template <int kWidth, int kStep>
constexpr DepthwiseFunctions kAnyHeightFunctions = {
    {MakeDepthwiseFunctions<1, 0, kWidth, kStep>(std::make_integer_sequence<int, kPixels>{}), {}}, false, kPixels};

/// How the windows of a line lie to each other: `phases` interleaved sets of pixels, in each of which neighbours are `step` taps apart.
struct Interleaving {
  int32_t phases, step;
};
SIGRUN_INLINE Interleaving Interleave(int32_t stride, int32_t dilation) {
  if (dilation % stride == 0) return {dilation / stride, 1};
  return {1, stride % dilation == 0 ? stride / dilation : 0};
}

template <int kSide, int kStep>
const DepthwiseFunctions* FunctionsOf(const ConvShape& s) {
  return s.kernel_height == kSide && s.stride_h == kStep * s.dilation_h ? &kSquareFunctions<kSide, kStep>
                                                                        : &kAnyHeightFunctions<kSide, kStep>;
}

/// Null if the windows are not of a kind that has functions.
const DepthwiseFunctions* ChooseFunctions(const ConvShape& s) {
  const int32_t step = Interleave(s.stride_w, s.dilation_w).step;
  if (s.kernel_height > kMaxHeight) return nullptr;
  if (s.kernel_width == 3) return step == 1 ? FunctionsOf<3, 1>(s) : step == 2 ? FunctionsOf<3, 2>(s) : nullptr;
  if (s.kernel_width == 5) return step == 1 ? FunctionsOf<5, 1>(s) : step == 2 ? FunctionsOf<5, 2>(s) : nullptr;
  return nullptr;
}

/// Tiles of a line, of nearly equal width; the narrower ones stand at its ends, where whole tiles do not lie inside anyway. A line of up to
/// `most` pixels is one tile.
struct Tiling {
  int32_t count, narrow, narrow_width;
  Tiling(int32_t pixels, int32_t most) : count(pixels <= most ? 1 : (pixels + kPixels - 1) / kPixels) {
    narrow_width = pixels / count;
    narrow = count - pixels % count;
  }
  SIGRUN_INLINE int32_t Width(int32_t tile) const {
    const int32_t before = narrow / 2;
    return tile < before || tile >= count - (narrow - before) ? narrow_width : narrow_width + 1;
  }
};

/// One phase of the pixels of one or two lines.
struct DepthwisePhase {
  const Element* input;  // at the first tap of the first window, which may lie outside the image
  Element* output;
  int32_t left, pixels;  // `left` is the column of the first tap
  int32_t step;
  Range lines_inside;  // of `lines` lines of the input, in taps
  int32_t lines;
  int32_t line_pixels;  // of a line that is one tile
};

void DepthwiseEdgeTile(const ConvShape& s, const DepthwiseRows& d, const DepthwiseTileFunctions& functions, const DepthwisePhase& p,
                       int32_t pixels, int32_t left, const Element* input, Element* output) {
  static_assert(ColumnsOf(kPixels, 5, 2) >= ColumnsOf(kLinePixels, 5, 1));
  const Element* pointers[kMaxLines * ColumnsOf(kPixels, 5, 2)];
  const int32_t columns = ColumnsOf(pixels, s.kernel_width, p.step);
  const Range across = TapsInside(left, s.dilation_w, columns, s.in_width);
  const Element** to = pointers;
  for (int32_t y = 0; y < p.lines; ++y) {
    const bool inside = y >= p.lines_inside.begin && y < p.lines_inside.end;
    const Range taps = inside ? across : Range{columns, columns};
    const Element* column = input + y * d.line_stride + taps.begin * d.column_stride;
    for (int32_t x = 0; x < taps.begin; ++x) *to++ = kZeroColumn;
    for (int32_t x = taps.begin; x < taps.end; ++x, column += d.column_stride) *to++ = column;
    for (int32_t x = taps.end; x < columns; ++x) *to++ = kZeroColumn;
  }
  functions.edge[pixels - 1](d, pointers, output);
}

void RunPhase(const ConvShape& s, const DepthwiseRows& d, const DepthwiseTileFunctions& functions, const DepthwisePhase& p) {
  const Tiling tiling(p.pixels, p.line_pixels);
  const int32_t last_column = (ColumnsOf(kPixels, s.kernel_width, p.step) - 1) * s.dilation_w;
  const bool lines_inside = p.lines_inside.begin == 0 && p.lines_inside.end == p.lines;
  int32_t left = p.left;
  const Element* input = p.input;
  Element* output = p.output;
  for (int32_t tile = 0; tile < tiling.count;) {
    int32_t pixels = tiling.Width(tile), inside = 0;
    for (int32_t at = left; lines_inside && tile + inside < tiling.count && tiling.Width(tile + inside) == kPixels; ++inside) {
      if (at < 0 || at + last_column >= s.in_width) break;
      at += kPixels * p.step * s.dilation_w;
    }
    if (inside > 0) {
      functions.inside(d, input, output, inside);
      pixels = inside * kPixels;
      tile += inside;
    } else {
      DepthwiseEdgeTile(s, d, functions, p, pixels, left, input, output);
      ++tile;
    }
    left += pixels * p.step * s.dilation_w;
    input += pixels * p.step * d.column_stride;
    output += pixels * d.output_pixel;
  }
}

/// A chunk of channels: what all lines have in common.
struct DepthwiseChunk {
  const Element* input;
  const float* packed;
  Element* output;
  int32_t first, channels;
  const DepthwiseEnd& end;
};

// `rows` lines of output from `row` on, in one image.
void DepthwiseTileRows(const ConvShape& s, const DepthwiseChunk& chunk, const DepthwiseFunctions& functions, int32_t row, int32_t rows) {
  const ptrdiff_t channels = s.in_channels;
  const int32_t image = row / s.out_height, top = (row % s.out_height) * s.stride_h - s.pad_top;
  const Interleaving across = Interleave(s.stride_w, s.dilation_w);
  const DepthwiseRows d = {chunk.packed,
                           s.dilation_h * s.in_width * channels,
                           s.dilation_w * channels,
                           across.phases * s.output_stride(),
                           s.out_width * s.output_stride(),
                           s.kernel_height,
                           chunk.channels,
                           chunk.end};
  const int32_t lines = s.kernel_height + (rows - 1) * across.step;
  const Range inside = TapsInside(top, s.dilation_h, lines, s.in_height);
  for (int32_t phase = 0; phase < across.phases && phase < s.out_width; ++phase) {
    const int32_t left = phase * s.stride_w - s.pad_left;
    const DepthwisePhase p = {chunk.input + ((static_cast<ptrdiff_t>(image) * s.in_height + top) * s.in_width + left) * channels,
                              chunk.output + (static_cast<ptrdiff_t>(row) * s.out_width + phase) * s.output_stride(),
                              left,
                              (s.out_width - phase + across.phases - 1) / across.phases,
                              across.step,
                              inside,
                              lines,
                              functions.line_pixels};
    RunPhase(s, d, functions.of_rows[rows - 1], p);
    for (int32_t i = 0; i < rows; ++i)
      chunk.end.Activate(p.output + i * d.output_line, d.output_pixel, p.pixels, chunk.channels, chunk.first);
  }
}

/// The taps of one or more neighbouring pixels, for one vector of channels; pointers stand at the first tap that lies in the image.
struct DepthwiseTaps {
  const Element* input;
  ptrdiff_t line_stride, tap_stride, pixel_stride;
  const float* weights;
  ptrdiff_t weight_line_stride, weight_stride;
  int32_t height, width;
};

// kCount neighbouring pixels of any window, one vector of channels.
template <int kCount, bool kPartial>
SIGRUN_INLINE void DepthwisePixels(const DepthwiseTaps& t, const float* bias, Element* out, ptrdiff_t out_stride, const DepthwiseEnd& end,
                                   int rest) {
  F32 sum[1][kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) sum[0][i] = Load(bias);
  for (int32_t y = 0; y < t.height; ++y) {
    const Element* in = t.input + y * t.line_stride;
    const float* w = t.weights + y * t.weight_line_stride;
    for (int32_t x = 0; x < t.width; ++x, in += t.tap_stride, w += t.weight_stride) {
      const F32 weight = Load(w);
      SIGRUN_UNROLL
      for (int i = 0; i < kCount; ++i) sum[0][i] = Fma(LoadChannels<kPartial>(in + i * t.pixel_stride, rest), weight, sum[0][i]);
    }
  }
  end.Finish<kPartial>(sum, out, Spaced<Element, kCount>(out_stride), 0, rest);
}

template <int kCount>
void DepthwiseAnyChannels(DepthwiseTaps t, const float* packed, ptrdiff_t packed_stride, int32_t channels, Element* out,
                          ptrdiff_t out_stride, const DepthwiseEnd& end) {
  for (int32_t c = 0; c < channels; c += F32::lanes) {
    const int32_t rest = channels - c;
    if (rest >= F32::lanes) {
      DepthwisePixels<kCount, false>(t, packed, out + c, out_stride, end, 0);
    } else {
      DepthwisePixels<kCount, true>(t, packed, out + c, out_stride, end, rest);
    }
    t.input += F32::lanes;
    t.weights += packed_stride;
    packed += packed_stride;
  }
}

/// One line of output pixels and the taps of the window's lines that lie in the image.
struct DepthwiseLine {
  const Element* input;  // the window's first line in the image
  Element* output;
  int32_t first_tap, height;
};

DepthwiseLine LineAt(const ConvShape& s, const Element* input, Element* output, int32_t row) {
  const int32_t image = row / s.out_height, top = (row % s.out_height) * s.stride_h - s.pad_top;
  const Range ky = TapsInside(top, s.dilation_h, s.kernel_height, s.in_height);
  const ptrdiff_t first_line = static_cast<ptrdiff_t>(image) * s.in_height + top + ky.begin * s.dilation_h;
  return {input + first_line * s.in_width * s.in_channels, output + static_cast<ptrdiff_t>(row) * s.out_width * s.output_stride(), ky.begin,
          ky.end - ky.begin};
}

// A line of windows of any kind.
void DepthwiseAnyLine(const ConvShape& s, const DepthwiseLine& line, const float* packed, const DepthwiseEnd& end) {
  const ptrdiff_t channels = s.in_channels, tap_stride = s.dilation_w * channels;
  const ptrdiff_t packed_stride = static_cast<ptrdiff_t>(s.kernel_height * s.kernel_width + 1) * F32::lanes;
  const float* weights = packed + static_cast<ptrdiff_t>(1 + line.first_tap * s.kernel_width) * F32::lanes;
  DepthwiseTaps t = {nullptr,       s.dilation_h * s.in_width * channels,
                     tap_stride,    s.stride_w * channels,
                     weights,       static_cast<ptrdiff_t>(s.kernel_width) * F32::lanes,
                     F32::lanes,    line.height,
                     s.kernel_width};
  const Range whole = WholeWindows(s.pad_left, s.stride_w, s.dilation_w, s.kernel_width, s.in_width, s.out_width);
  for (int32_t ox = 0; ox < s.out_width;) {
    const int32_t left = ox * s.stride_w - s.pad_left;
    Element* out = line.output + ox * s.output_stride();
    if (ox >= whole.begin && ox + kAnyPixels <= whole.end) {
      t.input = line.input + left * channels;
      DepthwiseAnyChannels<kAnyPixels>(t, packed, packed_stride, s.in_channels, out, s.output_stride(), end);
      ox += kAnyPixels;
      continue;
    }
    const Range kx = TapsInside(left, s.dilation_w, s.kernel_width, s.in_width);
    DepthwiseTaps one = t;
    one.input = line.input + left * channels + kx.begin * tap_stride;
    one.weights = weights + kx.begin * F32::lanes;
    one.width = kx.end - kx.begin;
    DepthwiseAnyChannels<1>(one, packed, packed_stride, s.in_channels, out, s.output_stride(), end);
    ++ox;
  }
}

// The outputs of one input channel at one pixel: multiplier sums over the same inputs.
SIGRUN_INLINE void MultiplyChannel(const DepthwiseTaps& t, const float* bias, Element* out, int32_t multiplier, const DepthwiseEnd& end) {
  for (int32_t m = 0; m < multiplier; m += F32::lanes) {
    const int rest = multiplier - m < F32::lanes ? multiplier - m : F32::lanes;
    F32 sum[1][1] = {{LoadPartial(bias + m, rest)}};
    for (int32_t y = 0; y < t.height; ++y) {
      const Element* in = t.input + y * t.line_stride;
      const float* w = t.weights + y * t.weight_line_stride + m;
      for (int32_t x = 0; x < t.width; ++x, in += t.tap_stride, w += t.weight_stride) {
        sum[0][0] = Fma(Set1(FloatOf(*in)), LoadPartial(w, rest), sum[0][0]);
      }
    }
    end.Finish<true>(sum, out + m, Spaced<Element, 1>(0), 0, rest);
  }
}

void DepthwiseMultiplierLine(const ConvShape& s, const DepthwiseLine& line, const float* packed, const DepthwiseEnd& end) {
  const ptrdiff_t channels = s.in_channels, width = PaddedChannels(s.out_channels), tap_stride = s.dilation_w * channels;
  const int32_t multiplier = s.out_channels / s.in_channels;
  for (int32_t ox = 0; ox < s.out_width; ++ox) {
    const int32_t left = ox * s.stride_w - s.pad_left;
    const Range kx = TapsInside(left, s.dilation_w, s.kernel_width, s.in_width);
    DepthwiseTaps t = {line.input + left * channels + kx.begin * tap_stride,
                       s.dilation_h * s.in_width * channels,
                       tap_stride,
                       0,
                       packed + width * (1 + line.first_tap * s.kernel_width + kx.begin),
                       width * s.kernel_width,
                       width,
                       line.height,
                       kx.end - kx.begin};
    Element* out = line.output + ox * s.output_stride();
    for (int32_t c = 0; c < s.in_channels; ++c, ++t.input, t.weights += multiplier) {
      MultiplyChannel(t, packed + c * multiplier, out + c * multiplier, multiplier, end);
    }
    end.Activate(out, 0, 1, s.out_channels, 0);
  }
}

// Pixels are read as wholes, as far as they fit a chunk: cut so that a window's lines stay in L1, they come from L2 at half the speed.
void DepthwiseTiles(const ConvShape& s, const DepthwiseFunctions& functions, const Element* input, const float* packed, Element* output,
                    const DepthwiseEnd& end, Range lines) {
  const bool pairs = functions.pairs;
  const int32_t chunks = (s.in_channels + kMaxChunk - 1) / kMaxChunk, width = PaddedChannels((s.in_channels + chunks - 1) / chunks);
  for (int32_t first = 0; first < s.in_channels; first += width) {
    const DepthwiseChunk chunk = {input + first,
                                  packed + static_cast<ptrdiff_t>(first) * (s.kernel_height * s.kernel_width + 1),
                                  output + first,
                                  first,
                                  s.in_channels - first < width ? s.in_channels - first : width,
                                  end};
    for (int32_t row = lines.begin; row < lines.end;) {
      const int32_t rows = pairs && row + 1 < lines.end && (row + 1) % s.out_height != 0 ? 2 : 1;
      DepthwiseTileRows(s, chunk, functions, row, rows);
      row += rows;
    }
  }
}

void Depthwise(const ConvShape& s, const Element* input, const std::byte* packed, Element* output, const EpilogueF32& epilogue,
               Range lines) {
  const DepthwiseEnd end(epilogue, output);
  const float* weights = reinterpret_cast<const float*>(packed);
  const bool multiplies = s.in_channels != s.out_channels;
  const DepthwiseFunctions* functions = ChooseFunctions(s);
  if (!multiplies && functions != nullptr) return DepthwiseTiles(s, *functions, input, weights, output, end, lines);
  for (int32_t row = lines.begin; row < lines.end; ++row) {
    const DepthwiseLine line = LineAt(s, input, output, row);
    if (multiplies) {
      DepthwiseMultiplierLine(s, line, weights, end);
    } else {
      DepthwiseAnyLine(s, line, weights, end);
      end.Activate(line.output, s.output_stride(), s.out_width, s.out_channels, 0);
    }
  }
}

}  // namespace
}  // namespace sigrun::kernels
