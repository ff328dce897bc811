#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/depthwise_i8.h"
#include "kernels/common/rescale_i8.h"

// 8-bit depthwise convolution over blocks of 16 channels: the products of two taps are summed in int16, which they fit if no weight is
// -128, before they are widened. The weights of a 3x3 window stay in registers along a line: 70 instructions for 16 outputs. Pixels of less
// than a block lie side by side as a wide pixel of whole blocks.
namespace sigrun::kernels {
namespace {

constexpr int32_t kPairChannels = 16;

// Packed: what the kernel of depthwise_i8.h packs; from `flag`, int32 whether the weights fit; then blocks of channels, of int32 bias[16]
// and int8 weights[tap][16].
struct PairLayout {
  size_t flag, blocks, block_bytes, bytes;
  int32_t count;
  explicit PairLayout(const ConvShape& s) : count((s.out_channels + kPairChannels - 1) / kPairChannels) {
    flag = DepthwiseLayout(s).bytes;
    blocks = flag + 64;
    block_bytes = kPairChannels * (sizeof(int32_t) + static_cast<size_t>(s.taps()));
    bytes = blocks + static_cast<size_t>(count) * block_bytes;
  }
  // The last block is moved back where it would end beyond the channels.
  static int32_t First(const ConvShape& s, int32_t block) {
    const int32_t first = block * kPairChannels, last = s.out_channels - kPairChannels;
    return first < last ? first : last;
  }
};

SIGRUN_INLINE bool HasPairs(const ConvShape& s) {
  return s.in_channels == s.out_channels && s.out_channels >= kPairChannels && s.taps() <= kMaxTaps;
}

constexpr int32_t kMostWideTaps = 49, kMostWide = 15 * kPairChannels;
/// How many pixels make a wide one, 0 if none do.
SIGRUN_INLINE int32_t WidePixels(const ConvShape& s) {
  const bool few = s.in_channels == s.out_channels && s.out_channels < kPairChannels;
  return few && s.stride_w == 1 && s.taps() <= kMostWideTaps ? kPairChannels / (s.out_channels & -s.out_channels) : 0;
}
SIGRUN_INLINE ConvShape Widened(ConvShape s) {
  s.in_channels = s.out_channels *= WidePixels(s);
  return s;
}

size_t PackPairsBytes(const ConvShape& s) {
  if (WidePixels(s) > 0) return DepthwiseLayout(s).bytes + PairLayout(Widened(s)).bytes;
  return HasPairs(s) ? PairLayout(s).bytes : DepthwiseLayout(s).bytes;
}

void PackPairs(const ConvShape& s, const int8_t* filter, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
               int32_t weight_zero_point, std::byte* packed) {
  PackDepthwise(s, filter, flip_weights, bias, input_zero_point, weight_zero_point, packed);
  if (WidePixels(s) > 0) {
    const ConvShape wide = Widened(s);
    int8_t wide_filter[kMostWideTaps * kMostWide];
    int32_t wide_bias[kMostWide];
    for (int32_t i = 0; i < s.taps() * wide.out_channels; ++i) {
      wide_filter[i] = filter[i / wide.out_channels * s.out_channels + i % s.out_channels];
    }
    for (int32_t i = 0; i < wide.out_channels; ++i) wide_bias[i] = bias != nullptr ? bias[i % s.out_channels] : 0;
    return PackPairs(wide, wide_filter, flip_weights, wide_bias, input_zero_point, weight_zero_point, packed + DepthwiseLayout(s).bytes);
  }
  if (!HasPairs(s)) return;
  const PairLayout layout(s);
  const int32_t* sums = reinterpret_cast<const int32_t*>(packed);
  int32_t fits = 1;
  std::byte* block = packed + layout.blocks;
  for (int32_t b = 0; b < layout.count; ++b, block += layout.block_bytes) {
    const int32_t first = PairLayout::First(s, b);
    std::memcpy(block, sums + first, kPairChannels * sizeof(int32_t));
    int8_t* weights = reinterpret_cast<int8_t*>(block + kPairChannels * sizeof(int32_t));
    for (int32_t tap = 0; tap < s.taps(); ++tap) {
      for (int32_t i = 0; i < kPairChannels; ++i) {
        const uint8_t raw = static_cast<uint8_t>(filter[static_cast<ptrdiff_t>(tap) * s.out_channels + first + i]);
        const int32_t w = static_cast<int8_t>(raw ^ (flip_weights ? 0x80 : 0)) - weight_zero_point;
        if (w < -127 || w > 127) fits = 0;
        *weights++ = static_cast<int8_t>(w);
      }
    }
  }
  std::memcpy(packed + layout.flag, &fits, sizeof(fits));
}

struct PairSums {
  int32x4_t v[4];
};

/// How sums become bytes: any way, or all of int8 by Rescale's short shifts, after a ReLU or not.
enum class PairEnd { kAny, kShort, kShortAboveZero };

// A block of channels while it runs.
struct PairBlock {
  PairSums bias, multiplier, shift;
  int16x8_t short_shift[2];
  const int8_t* weights;
  int16x8_t zero_point;
  int8x16_t min, max;
  uint8x16_t flip_in, flip_out;
  PairEnd end;
};

SIGRUN_INLINE void AddPair(PairSums& sums, int8x16_t a0, int8x16_t w0, int8x16_t a1, int8x16_t w1) {
  const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(a0), vget_low_s8(w0)), vget_low_s8(a1), vget_low_s8(w1));
  const int16x8_t high = vmlal_high_s8(vmull_high_s8(a0, w0), a1, w1);
  sums.v[0] = vaddw_s16(sums.v[0], vget_low_s16(low));
  sums.v[1] = vaddw_high_s16(sums.v[1], low);
  sums.v[2] = vaddw_s16(sums.v[2], vget_low_s16(high));
  sums.v[3] = vaddw_high_s16(sums.v[3], high);
}
SIGRUN_INLINE void AddLast(PairSums& sums, int8x16_t a, int8x16_t w) {
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(w)), high = vmull_high_s8(a, w);
  sums.v[0] = vaddw_s16(sums.v[0], vget_low_s16(low));
  sums.v[1] = vaddw_high_s16(sums.v[1], low);
  sums.v[2] = vaddw_s16(sums.v[2], vget_low_s16(high));
  sums.v[3] = vaddw_high_s16(sums.v[3], high);
}

// Rescaled, RescaledShort.
template <PairEnd kEnd>
SIGRUN_INLINE int8x16_t PairBytes(const PairBlock& b, const PairSums& sums) {
  int32x4_t x[4];
  SIGRUN_UNROLL
  for (int i = 0; i < 4; ++i) {
    x[i] = vqrdmulhq_s32(sums.v[i], b.multiplier.v[i]);
    if (kEnd != PairEnd::kShortAboveZero) x[i] = vsraq_n_s32(x[i], x[i], 31);
    if (kEnd == PairEnd::kAny) x[i] = vrshlq_s32(x[i], b.shift.v[i]);
  }
  int16x8_t half[2];
  SIGRUN_UNROLL
  for (int i = 0; i < 2; ++i) {
    if (kEnd == PairEnd::kAny) {
      half[i] = vqmovn_high_s32(vqmovn_s32(x[2 * i]), x[2 * i + 1]);
    } else {
      half[i] = vrshlq_s16(vqshrn_high_n_s32(vqshrn_n_s32(x[2 * i], kShortShift), x[2 * i + 1], kShortShift), b.short_shift[i]);
    }
    half[i] = vqaddq_s16(half[i], b.zero_point);
  }
  return vqmovn_high_s16(vqmovn_s16(half[0]), half[1]);
}

template <PairEnd kEnd>
SIGRUN_INLINE void StorePairs(const PairBlock& b, const PairSums& sums, uint8_t* out) {
  const int8x16_t bytes = PairBytes<kEnd>(b, sums);
  if (kEnd != PairEnd::kAny) return vst1q_s8(reinterpret_cast<int8_t*>(out), bytes);
  vst1q_u8(out, veorq_u8(vreinterpretq_u8_s8(vminq_s8(vmaxq_s8(bytes, b.min), b.max)), b.flip_out));
}
// By the block's own way, where it is chosen for every pixel.
SIGRUN_INLINE void StorePairs(const PairBlock& b, const PairSums& sums, uint8_t* out) {
  if (b.end == PairEnd::kShortAboveZero) return StorePairs<PairEnd::kShortAboveZero>(b, sums, out);
  if (b.end == PairEnd::kShort) return StorePairs<PairEnd::kShort>(b, sums, out);
  StorePairs<PairEnd::kAny>(b, sums, out);
}

template <bool kFlip>
SIGRUN_INLINE int8x16_t LoadTap(const uint8_t* p, uint8x16_t flip) {
  const uint8x16_t a = vld1q_u8(p);
  return vreinterpretq_s8_u8(kFlip ? veorq_u8(a, flip) : a);
}

/// A pixel given its taps, of which the block begins at channel `first`.
template <bool kFlip>
SIGRUN_INLINE void PairPixel(const PairBlock& b, const uint8_t* const* taps, int32_t count, ptrdiff_t first, uint8_t* out) {
  PairSums sums = b.bias;
  const int8_t* w = b.weights;
  int32_t i = 0;
  for (; i + 2 <= count; i += 2, w += 2 * kPairChannels) {
    AddPair(sums, LoadTap<kFlip>(taps[i] + first, b.flip_in), vld1q_s8(w), LoadTap<kFlip>(taps[i + 1] + first, b.flip_in),
            vld1q_s8(w + kPairChannels));
  }
  if (i < count) AddLast(sums, LoadTap<kFlip>(taps[i] + first, b.flip_in), vld1q_s8(w));
  StorePairs(b, sums, out);
}

/// `count` pixels of a line under 3x3 windows that lie inside: taps[i] is the i-th line of the first window, steps[i] its distance between
/// taps and moves[i] between pixels.
template <bool kFlip, PairEnd kEnd>
void PairPixels3x3(const PairBlock& block, const uint8_t* const (&lines)[3], const ptrdiff_t (&steps)[3], const ptrdiff_t (&moves)[3],
                   int32_t count, uint8_t* out, ptrdiff_t out_step) {
  const PairBlock b = block;
  int8x16_t w[9];
  SIGRUN_UNROLL
  for (int i = 0; i < 9; ++i) w[i] = vld1q_s8(b.weights + i * kPairChannels);
  const uint8_t *p0 = lines[0], *p1 = lines[1], *p2 = lines[2];
  for (; count > 0; --count, p0 += moves[0], p1 += moves[1], p2 += moves[2], out += out_step) {
    // Else the compiler keeps the lower halves of the weights as well.
    SIGRUN_UNROLL
    for (int i = 0; i < 9; ++i) asm("" : "+w"(w[i]));
    PairSums sums = b.bias;
    AddPair(sums, LoadTap<kFlip>(p0, b.flip_in), w[0], LoadTap<kFlip>(p0 + steps[0], b.flip_in), w[1]);
    AddPair(sums, LoadTap<kFlip>(p0 + 2 * steps[0], b.flip_in), w[2], LoadTap<kFlip>(p1, b.flip_in), w[3]);
    AddPair(sums, LoadTap<kFlip>(p1 + steps[1], b.flip_in), w[4], LoadTap<kFlip>(p1 + 2 * steps[1], b.flip_in), w[5]);
    AddPair(sums, LoadTap<kFlip>(p2, b.flip_in), w[6], LoadTap<kFlip>(p2 + steps[2], b.flip_in), w[7]);
    AddLast(sums, LoadTap<kFlip>(p2 + 2 * steps[2], b.flip_in), w[8]);
    StorePairs<kEnd>(b, sums, out);
  }
}

template <bool kFlip>
SIGRUN_INLINE void PairPixels3x3(const PairBlock& b, const uint8_t* const (&lines)[3], const ptrdiff_t (&steps)[3],
                                 const ptrdiff_t (&moves)[3], int32_t count, uint8_t* out, ptrdiff_t out_step) {
  const auto run = b.end == PairEnd::kShortAboveZero ? PairPixels3x3<kFlip, PairEnd::kShortAboveZero>
                   : b.end == PairEnd::kShort        ? PairPixels3x3<kFlip, PairEnd::kShort>
                                                     : PairPixels3x3<kFlip, PairEnd::kAny>;
  run(b, lines, steps, moves, count, out, out_step);
}

// A depthwise convolution while it runs.
struct PairTask {
  const ConvShape& shape;
  PairLayout layout;
  const std::byte* blocks;
  const RequantizeParams& requantize;
  PairBlock block;  // what all have in common, until a block is loaded
  const uint8_t* zeros;
  PairEnd short_end;  // where shifts are short

  SIGRUN_INLINE int32_t LoadBlock(int32_t i) {
    const int32_t first = PairLayout::First(shape, i);
    const std::byte* from = blocks + static_cast<size_t>(i) * layout.block_bytes;
    for (int v = 0; v < 4; ++v) {
      block.bias.v[v] = vld1q_s32(reinterpret_cast<const int32_t*>(from) + 4 * v);
      block.multiplier.v[v] = vld1q_s32(requantize.multiplier + first + 4 * v);
      block.shift.v[v] = vld1q_s32(requantize.shift + first + 4 * v);
    }
    const int16x8_t shifts[2] = {vcombine_s16(vmovn_s32(block.shift.v[0]), vmovn_s32(block.shift.v[1])),
                                 vcombine_s16(vmovn_s32(block.shift.v[2]), vmovn_s32(block.shift.v[3]))};
    for (int v = 0; v < 2; ++v) block.short_shift[v] = vaddq_s16(shifts[v], vdupq_n_s16(kShortShift));
    const bool is_short = vmaxvq_s16(vmaxq_s16(block.short_shift[0], block.short_shift[1])) < 0 &&
                          vminvq_s16(vminq_s16(block.short_shift[0], block.short_shift[1])) >= -7;
    block.end = is_short ? short_end : PairEnd::kAny;
    block.weights = reinterpret_cast<const int8_t*>(from + kPairChannels * sizeof(int32_t));
    return first;
  }
};

// The pixels of `whole` of a line of output, `pixels` of which make a block of channels or several.
template <bool kFlip>
void PairLine3x3(PairTask& t, const ConvShape& s, int32_t pixels, const uint8_t* image, int32_t origin_y, Range whole, uint8_t* out) {
  const ptrdiff_t channels = s.out_channels, origin_x = static_cast<ptrdiff_t>(whole.begin) * s.stride_w - s.pad_left;
  const uint8_t* lines[3];
  ptrdiff_t steps[3], moves[3];
  for (int32_t i = 0; i < 3; ++i) {
    const int64_t y = origin_y + static_cast<int64_t>(i) * s.dilation_h;
    const bool inside = y >= 0 && y < s.in_height;
    lines[i] = inside ? image + (static_cast<ptrdiff_t>(y) * s.in_width + origin_x) * channels : t.zeros;
    steps[i] = inside ? s.dilation_w * channels : 0;
    moves[i] = inside ? s.stride_w * channels : 0;
  }
  out += whole.begin * channels;
  const int32_t all = whole.end - whole.begin;
  for (int32_t i = 0; i < t.layout.count; ++i) {
    const int32_t first = t.LoadBlock(i);
    const auto run = [&](int32_t begin, int32_t count) SIGRUN_INLINE_LAMBDA {
      const uint8_t* const from[3] = {lines[0] + first + begin * moves[0], lines[1] + first + begin * moves[1],
                                      lines[2] + first + begin * moves[2]};
      const ptrdiff_t by[3] = {moves[0] * pixels, moves[1] * pixels, moves[2] * pixels};
      PairPixels3x3<kFlip>(t.block, from, steps, by, count, out + begin * channels + first, channels * pixels);
    };
    run(0, all / pixels);
    if (all % pixels != 0) run(all - pixels, 1);
  }
}

// The lines of a row of windows at channel 0 of the image's first column.
struct WindowLines {
  const uint8_t* line[5];
  ptrdiff_t move[5];  // between columns
  WindowLines(const PairTask& t, const uint8_t* image, int32_t top) {
    const ConvShape& s = t.shape;
    for (int32_t i = 0; i < s.kernel_height; ++i) {
      const int64_t y = top + static_cast<int64_t>(i) * s.dilation_h;
      const bool inside = y >= 0 && y < s.in_height;
      line[i] = inside ? image + static_cast<ptrdiff_t>(y) * s.in_width * s.out_channels : t.zeros;
      move[i] = inside ? s.out_channels : 0;
    }
  }
};

// Where much is padding, or windows are large, the lines of a block are copied and completed first: no pixel is special then, and taps that
// lie side by side are loaded together.
constexpr int32_t kCopiedColumns = 32;
struct CopiedLines {
  alignas(64) int8_t line[5][kCopiedColumns][kPairChannels];
};
SIGRUN_INLINE bool CopiesLines(const ConvShape& s) {
  const bool small = s.kernel_width == 3 && s.out_width <= 16;
  return s.kernel_height == s.kernel_width && (small || s.kernel_width == 5) && s.dilation_w == 1 && s.stride_w <= 2;
}

/// Input columns [first, first + count) of the block of channels from `channel` on.
template <int kSize, bool kFlip>
void CopyColumns(const WindowLines& from, ptrdiff_t channel, int32_t width, int32_t first, int32_t count, int8x16_t zeros, uint8x16_t flip,
                 CopiedLines* to) {
  int32_t i = 0;
  const auto fill = [&](int32_t end) {
    for (; i < end; ++i) {
      for (int r = 0; r < kSize; ++r) vst1q_s8(to->line[r][i], zeros);
    }
  };
  const int32_t begin = first < 0 ? -first : 0, end = width - first < count ? width - first : count;
  fill(begin < count ? begin : count);
  const uint8_t* p[kSize];
  for (int r = 0; r < kSize; ++r) p[r] = from.line[r] + (first + i) * from.move[r] + channel;
  for (; i < end; ++i) {
    SIGRUN_UNROLL
    for (int r = 0; r < kSize; ++r, p[r - 1] += from.move[r - 1]) vst1q_s8(to->line[r][i], LoadTap<kFlip>(p[r], flip));
  }
  fill(count);
}

template <int kSize, PairEnd kEnd>
void CopiedPixels(const PairBlock& block, const CopiedLines& lines, int32_t stride, int32_t count, uint8_t* out, ptrdiff_t out_step) {
  constexpr ptrdiff_t kLine = kCopiedColumns * kPairChannels;
  const PairBlock b = block;
  const int8_t* p = lines.line[0][0];
  const auto tap = [](const int8_t* from, int y, int x) SIGRUN_INLINE_LAMBDA { return vld1q_s8(from + y * kLine + x * kPairChannels); };
  const auto weight = [&](int y, int x) SIGRUN_INLINE_LAMBDA { return vld1q_s8(b.weights + (y * kSize + x) * kPairChannels); };
  for (; count > 0; --count, p += stride * kPairChannels, out += out_step) {
    PairSums sums = b.bias;
    SIGRUN_UNROLL
    for (int y = 0; y < kSize; ++y) {
      SIGRUN_UNROLL
      for (int x = 0; x + 1 < kSize; x += 2) AddPair(sums, tap(p, y, x), weight(y, x), tap(p, y, x + 1), weight(y, x + 1));
    }
    constexpr int kLast = kSize - 1;
    SIGRUN_UNROLL
    for (int y = 0; y + 1 < kSize; y += 2) AddPair(sums, tap(p, y, kLast), weight(y, kLast), tap(p, y + 1, kLast), weight(y + 1, kLast));
    AddLast(sums, tap(p, kLast, kLast), weight(kLast, kLast));
    StorePairs<kEnd>(b, sums, out);
  }
}

template <int kSize, bool kFlip>
void CopiedLine(PairTask& t, const WindowLines& from, uint8_t* out) {
  const ConvShape& s = t.shape;
  const ptrdiff_t channels = s.out_channels;
  const int8x16_t zeros = LoadTap<kFlip>(t.zeros, t.block.flip_in);
  const int32_t most = (kCopiedColumns - kSize) / s.stride_w + 1;
  CopiedLines lines;
  for (int32_t i = 0; i < t.layout.count; ++i) {
    const int32_t channel = t.LoadBlock(i);
    const auto run = t.block.end == PairEnd::kShortAboveZero ? CopiedPixels<kSize, PairEnd::kShortAboveZero>
                     : t.block.end == PairEnd::kShort        ? CopiedPixels<kSize, PairEnd::kShort>
                                                             : CopiedPixels<kSize, PairEnd::kAny>;
    for (int32_t x = 0; x < s.out_width; x += most) {
      const int32_t count = s.out_width - x < most ? s.out_width - x : most;
      CopyColumns<kSize, kFlip>(from, channel, s.in_width, x * s.stride_w - s.pad_left, (count - 1) * s.stride_w + kSize, zeros,
                                t.block.flip_in, &lines);
      run(t.block, lines, s.stride_w, count, out + x * channels + channel, channels);
    }
  }
}

void PlaceTaps(const ConvShape& s, const uint8_t* image, const uint8_t* zeros, int32_t origin_y, int32_t origin_x, const uint8_t** taps) {
  const ptrdiff_t channels = s.in_channels;
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    const int64_t y = origin_y + static_cast<int64_t>(ky) * s.dilation_h;
    const bool inside = y >= 0 && y < s.in_height;
    const uint8_t* line = image + (inside ? static_cast<ptrdiff_t>(y) * s.in_width * channels : 0);
    int64_t x = origin_x;
    for (int32_t kx = 0; kx < s.kernel_width; ++kx, x += s.dilation_w) {
      *taps++ = inside && x >= 0 && x < s.in_width ? line + x * channels : zeros;
    }
  }
}

template <bool kFlip>
void PairLines(PairTask& t, const uint8_t* input, uint8_t* out, Range lines) {
  const ConvShape& s = t.shape;
  const uint8_t* taps[kMaxTaps];
  const Range inside = WholeWindows(s.pad_left, s.stride_w, s.dilation_w, s.kernel_width, s.in_width, s.out_width);
  const bool copies = CopiesLines(s);
  const bool is_3x3 = s.kernel_height == 3 && s.kernel_width == 3 && inside.begin < inside.end;
  const ptrdiff_t channels = s.out_channels, image_bytes = static_cast<ptrdiff_t>(s.in_height) * s.in_width * channels;
  for (int32_t line = lines.begin; line < lines.end; ++line, out += s.out_width * channels) {
    const uint8_t* image = input + line / s.out_height * image_bytes;
    const int32_t origin_y = line % s.out_height * s.stride_h - s.pad_top;
    if (copies) {
      const WindowLines from(t, image, origin_y);
      s.kernel_width == 3 ? CopiedLine<3, kFlip>(t, from, out) : CopiedLine<5, kFlip>(t, from, out);
      continue;
    }
    if (is_3x3) PairLine3x3<kFlip>(t, s, 1, image, origin_y, inside, out);
    for (int32_t x = 0; x < s.out_width; ++x) {
      if (is_3x3 && x == inside.begin) x = inside.end;
      if (x == s.out_width) break;
      PlaceTaps(s, image, t.zeros, origin_y, x * s.stride_w - s.pad_left, taps);
      for (int32_t i = 0; i < t.layout.count; ++i) {
        const int32_t first = t.LoadBlock(i);
        PairPixel<kFlip>(t.block, taps, s.taps(), first, out + x * channels + first);
      }
    }
  }
}

// What all blocks have in common; false if they cannot be used.
SIGRUN_INLINE bool CanUsePairs(const ConvShape& s, const RequantizeParams& requantize, const ByteOutput& bytes, const std::byte* flag) {
  return bytes.fits && AreRescalable(requantize.multiplier, requantize.shift, s.out_channels, bytes.zero_point) &&
         LoadAs<int32_t>(reinterpret_cast<const uint8_t*>(flag)) != 0;
}
SIGRUN_INLINE PairTask MakePairTask(const ConvShape& s, const PairLayout& layout, bool is_unsigned, const std::byte* packed,
                                    const RequantizeParams& requantize, const ByteOutput& bytes) {
  const DepthwiseLayout below(s);
  const uint8_t* zeros = reinterpret_cast<const uint8_t*>(packed + (is_unsigned ? below.flipped_zeros : below.zeros));
  const PairEnd short_end = !bytes.whole || bytes.zero_point < -128 || bytes.zero_point > 127 ? PairEnd::kAny
                            : requantize.min >= requantize.zero_point                         ? PairEnd::kShortAboveZero
                                                                                              : PairEnd::kShort;
  PairTask task{s, layout, packed + layout.blocks, requantize, {}, zeros, short_end};
  task.block.zero_point = vdupq_n_s16(static_cast<int16_t>(bytes.zero_point));
  task.block.min = vreinterpretq_s8_u8(bytes.min.v);
  task.block.max = vreinterpretq_s8_u8(bytes.max.v);
  task.block.flip_in = vdupq_n_u8(0x80);
  task.block.flip_out = bytes.flip.v;
  return task;
}

// The pixels of `inside`, at least one wide pixel, of every line.
template <bool kFlip>
void WideLines(PairTask& t, const ConvShape& s, Range inside, const uint8_t* input, uint8_t* out, Range lines) {
  const uint8_t* taps[kMaxTaps];
  const int32_t pixels = WidePixels(s), last = inside.end - pixels;
  const ptrdiff_t channels = s.out_channels, image_bytes = static_cast<ptrdiff_t>(s.in_height) * s.in_width * channels;
  for (int32_t line = lines.begin; line < lines.end; ++line, out += s.out_width * channels) {
    const uint8_t* image = input + line / s.out_height * image_bytes;
    const int32_t origin_y = line % s.out_height * s.stride_h - s.pad_top;
    if (s.kernel_height == 3 && s.kernel_width == 3) {
      PairLine3x3<kFlip>(t, s, pixels, image, origin_y, inside, out);
      continue;
    }
    for (int32_t i = 0; i < t.layout.count; ++i) {
      const int32_t first = t.LoadBlock(i);
      for (int32_t x = inside.begin; x < inside.end; x += pixels) {
        const int32_t at = x < last ? x : last;
        PlaceTaps(s, image, t.zeros, origin_y, at - s.pad_left, taps);
        PairPixel<kFlip>(t.block, taps, s.taps(), first, out + at * channels + first);
      }
    }
  }
}

void DepthwiseWide(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                   Range lines) {
  const ConvShape wide = Widened(s);
  const PairLayout layout(wide);
  const std::byte* wide_packed = packed + DepthwiseLayout(s).bytes;
  const ByteOutput bytes = MakeByteOutput(requantize);
  const Range inside = WholeWindows(s.pad_left, 1, s.dilation_w, s.kernel_width, s.in_width, s.out_width);
  if (inside.end - inside.begin < WidePixels(s) || !CanUsePairs(s, requantize, bytes, wide_packed + layout.flag)) {
    return Depthwise(s, input, packed, output, requantize, lines);
  }
  int32_t multiplier[kMostWide], shift[kMostWide];
  for (int32_t i = 0, n = 0; i < wide.out_channels; ++i, n = n + 1 < s.out_channels ? n + 1 : 0) {
    multiplier[i] = requantize.multiplier[n];
    shift[i] = requantize.shift[n];
  }
  RequantizeParams repeated = requantize;
  repeated.multiplier = multiplier;
  repeated.shift = shift;
  PairTask task = MakePairTask(wide, layout, input.is_unsigned, wide_packed, repeated, bytes);
  const auto run = input.is_unsigned ? WideLines<true> : WideLines<false>;
  run(task, s, inside, static_cast<const uint8_t*>(input.data),
      static_cast<uint8_t*>(output) + static_cast<ptrdiff_t>(lines.begin) * s.out_width * s.out_channels, lines);
  DepthwiseRest(s, input, packed, output, requantize, lines, inside);
}

void DepthwisePairs(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                    Range lines) {
  if (WidePixels(s) > 0) return DepthwiseWide(s, input, packed, output, requantize, lines);
  const ByteOutput bytes = MakeByteOutput(requantize);
  if (!HasPairs(s) || !CanUsePairs(s, requantize, bytes, packed + PairLayout(s).flag)) {
    return Depthwise(s, input, packed, output, requantize, lines);
  }
  PairTask task = MakePairTask(s, PairLayout(s), input.is_unsigned, packed, requantize, bytes);
  const auto run = input.is_unsigned ? PairLines<true> : PairLines<false>;
  run(task, static_cast<const uint8_t*>(input.data),
      static_cast<uint8_t*>(output) + static_cast<ptrdiff_t>(lines.begin) * s.out_width * s.out_channels, lines);
}

}  // namespace
}  // namespace sigrun::kernels
