#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/neon/depthwise_i8.h"

// 8-bit depthwise convolution with windows of 3x3 and 5x5 by sdot, over blocks of 16 channels. Trick: four lines of a column of the input
// are interleaved once, channel by channel, and serve every window that the column is in; the fifth line is interleaved along the line.
// Columns of the padding are columns as well, so that no pixel is special. 50 instructions for 16 outputs of a 3x3 window.
namespace sigrun::kernels {
namespace {

constexpr int32_t kQuadBytes = 4 * kPairChannels;  // four taps of a block
constexpr int32_t kMostColumns = 64;               // interleaved at a time

SIGRUN_INLINE bool HasQuads(const ConvShape& s) {
  const bool known = s.kernel_height == s.kernel_width && (s.kernel_height == 3 || s.kernel_height == 5);
  return HasPairs(s) && known && s.dilation_w == 1 && (s.stride_w == 1 || s.stride_w == 2);
}

// As PairLayout, but a block's weights are int8 [column][16][4 lines], and for the fifth line [2][16][4 columns].
SIGRUN_INLINE PairLayout QuadLayout(const ConvShape& s) {
  PairLayout layout(s);
  const size_t quads = s.kernel_width == 5 ? 7 : 3;
  layout.block_bytes = kPairChannels * sizeof(int32_t) + quads * kQuadBytes;
  layout.bytes = layout.blocks + static_cast<size_t>(layout.count) * layout.block_bytes;
  return layout;
}

size_t PackQuadsBytes(const ConvShape& s) { return HasQuads(s) ? QuadLayout(s).bytes : PackPairsBytes(s); }

void PackQuads(const ConvShape& s, const int8_t* filter, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
               int32_t weight_zero_point, std::byte* packed) {
  if (!HasQuads(s)) return PackPairs(s, filter, flip_weights, bias, input_zero_point, weight_zero_point, packed);
  PackDepthwise(s, filter, flip_weights, bias, input_zero_point, weight_zero_point, packed);
  const PairLayout layout = QuadLayout(s);
  std::memset(packed + layout.flag, 0, layout.bytes - layout.flag);
  int32_t fits = 1;
  std::byte* block = packed + layout.blocks;
  for (int32_t b = 0; b < layout.count; ++b, block += layout.block_bytes) {
    const int32_t first = PairLayout::First(s, b);
    std::memcpy(block, reinterpret_cast<const int32_t*>(packed) + first, kPairChannels * sizeof(int32_t));
    int8_t* weights = reinterpret_cast<int8_t*>(block + kPairChannels * sizeof(int32_t));
    for (int32_t tap = 0; tap < s.taps(); ++tap) {
      const int32_t y = tap / s.kernel_width, x = tap % s.kernel_width;
      int8_t* to = weights + (y < 4 ? x * kQuadBytes + y : (5 + x / 4) * kQuadBytes + x % 4);
      for (int32_t i = 0; i < kPairChannels; ++i) {
        const uint8_t raw = static_cast<uint8_t>(filter[static_cast<ptrdiff_t>(tap) * s.out_channels + first + i]);
        const int32_t w = static_cast<int8_t>(raw ^ (flip_weights ? 0x80 : 0)) - weight_zero_point;
        if (w < -128 || w > 127) fits = 0;
        to[4 * i] = static_cast<int8_t>(w);
      }
    }
  }
  std::memcpy(packed + layout.flag, &fits, sizeof(fits));
}

SIGRUN_INLINE int8x16x4_t Interleave(int8x16_t a, int8x16_t b, int8x16_t c, int8x16_t d) {
  const int16x8_t ab0 = vreinterpretq_s16_s8(vzip1q_s8(a, b)), ab1 = vreinterpretq_s16_s8(vzip2q_s8(a, b));
  const int16x8_t cd0 = vreinterpretq_s16_s8(vzip1q_s8(c, d)), cd1 = vreinterpretq_s16_s8(vzip2q_s8(c, d));
  return {{vreinterpretq_s8_s16(vzip1q_s16(ab0, cd0)), vreinterpretq_s8_s16(vzip2q_s16(ab0, cd0)),
           vreinterpretq_s8_s16(vzip1q_s16(ab1, cd1)), vreinterpretq_s8_s16(vzip2q_s16(ab1, cd1))}};
}

struct Columns {
  alignas(64) int8_t quads[kMostColumns * kQuadBytes];
  alignas(64) int8_t fifth[(kMostColumns + 3) * kPairChannels];  // the fifth line as it is, three columns longer,
  alignas(64) int8_t fifth_quads[kMostColumns * kQuadBytes];     // and interleaved
};

/// Input columns [first, first + count) of the block of channels from `channel` on.
template <int kSize, bool kFlip>
void InterleaveColumns(const WindowLines& from, ptrdiff_t channel, int32_t width, int32_t first, int32_t count, int8x16_t zeros,
                       uint8x16_t flip, Columns* to) {
  int32_t i = 0;
  const auto fill = [&](int32_t end) {
    for (; i < end; ++i) {
      for (int v = 0; v < 4; ++v) vst1q_s8(to->quads + i * kQuadBytes + v * 16, zeros);
      if (kSize == 5) vst1q_s8(to->fifth + i * kPairChannels, zeros);
    }
  };
  const int32_t begin = first < 0 ? -first : 0, end = width - first < count ? width - first : count;
  fill(begin < count ? begin : count);
  const uint8_t* p[kSize];
  for (int r = 0; r < kSize; ++r) p[r] = from.line[r] + (first + i) * from.move[r] + channel;
  int8_t* quads = to->quads + i * kQuadBytes;
  for (; i < end; ++i, quads += kQuadBytes) {
    int8x16_t x[kSize];
    SIGRUN_UNROLL
    for (int r = 0; r < kSize; ++r, p[r - 1] += from.move[r - 1]) x[r] = LoadTap<kFlip>(p[r], flip);
    vst1q_s8_x4(quads, Interleave(x[0], x[1], x[2], kSize == 5 ? x[3] : zeros));
    if (kSize == 5) vst1q_s8(to->fifth + i * kPairChannels, x[kSize - 1]);
  }
  fill(count);
  for (; kSize == 5 && i < count + 3; ++i) vst1q_s8(to->fifth + i * kPairChannels, zeros);
}

// What a window sees of the fifth line, from every `stride`th column on.
void InterleaveFifth(Columns* columns, int32_t count, int32_t stride) {
  const int8_t* x = columns->fifth;
  int8_t* to = columns->fifth_quads;
  for (int32_t i = 0; i < count; ++i, x += stride * kPairChannels, to += kQuadBytes) {
    vst1q_s8_x4(to, Interleave(vld1q_s8(x), vld1q_s8(x + 16), vld1q_s8(x + 32), vld1q_s8(x + 48)));
  }
}

SIGRUN_INLINE void AddQuad(PairSums& sums, const int8_t* a, const int8x16x4_t& w) {
  const int8x16x4_t x = vld1q_s8_x4(a);
  SIGRUN_UNROLL
  for (int v = 0; v < 4; ++v) sums.v[v] = vdotq_s32(sums.v[v], x.val[v], w.val[v]);
}

template <int kSize, PairEnd kEnd>
void QuadPixels(const PairBlock& block, const Columns& columns, int32_t stride, int32_t count, uint8_t* out, ptrdiff_t out_step) {
  const PairBlock b = block;
  const int8_t *quads = columns.quads, *fifth = columns.fifth_quads, *weights = b.weights;
  const ptrdiff_t step = stride * kQuadBytes, last = 4 / stride * kQuadBytes;
  int8x16x4_t w[3];
  if (kSize == 3) {
    SIGRUN_UNROLL
    for (int i = 0; i < 3; ++i) w[i] = vld1q_s8_x4(weights + i * kQuadBytes);
  }
  for (; count > 0; --count, quads += step, fifth += kQuadBytes, out += out_step) {
    PairSums sums = b.bias;
    const int8_t *quad = quads, *weight = weights;
    SIGRUN_UNROLL
    for (int i = 0; i < kSize; ++i, quad = Step(quad, kQuadBytes)) {
      AddQuad(sums, quad, kSize == 3 ? w[i % 3] : vld1q_s8_x4(weight));
      if (kSize == 5) weight = Step(weight, kQuadBytes);
    }
    if (kSize == 5) {
      AddQuad(sums, fifth, vld1q_s8_x4(weight));
      AddQuad(sums, fifth + last, vld1q_s8_x4(weight + kQuadBytes));
    }
    StorePairs<kEnd>(b, sums, out);
  }
}

template <int kSize, bool kFlip>
void QuadLine(PairTask& t, const WindowLines& from, uint8_t* out) {
  const ConvShape& s = t.shape;
  const ptrdiff_t channels = s.out_channels;
  const int8x16_t zeros = LoadTap<kFlip>(t.zeros, t.block.flip_in);
  const int32_t most = (kMostColumns - kSize) / s.stride_w + 1;
  Columns columns;
  for (int32_t i = 0; i < t.layout.count; ++i) {
    const int32_t channel = t.LoadBlock(i);
    const auto run = t.block.end == PairEnd::kShortAboveZero ? QuadPixels<kSize, PairEnd::kShortAboveZero>
                     : t.block.end == PairEnd::kShort        ? QuadPixels<kSize, PairEnd::kShort>
                                                             : QuadPixels<kSize, PairEnd::kAny>;
    for (int32_t x = 0; x < s.out_width; x += most) {
      const int32_t count = s.out_width - x < most ? s.out_width - x : most;
      InterleaveColumns<kSize, kFlip>(from, channel, s.in_width, x * s.stride_w - s.pad_left, (count - 1) * s.stride_w + kSize, zeros,
                                      t.block.flip_in, &columns);
      if (kSize == 5) InterleaveFifth(&columns, count + 4 / s.stride_w, s.stride_w);
      run(t.block, columns, s.stride_w, count, out + x * channels + channel, channels);
    }
  }
}

template <int kSize, bool kFlip>
void RunQuads(PairTask& t, const uint8_t* input, uint8_t* out, Range lines) {
  const ConvShape& s = t.shape;
  const ptrdiff_t channels = s.out_channels, image_bytes = static_cast<ptrdiff_t>(s.in_height) * s.in_width * channels;
  for (int32_t line = lines.begin; line < lines.end; ++line, out += s.out_width * channels) {
    const uint8_t* image = input + line / s.out_height * image_bytes;
    const WindowLines from(t, image, line % s.out_height * s.stride_h - s.pad_top);
    QuadLine<kSize, kFlip>(t, from, out);
  }
}

void DepthwiseQuads(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                    Range lines) {
  if (!HasQuads(s)) return DepthwisePairs(s, input, packed, output, requantize, lines);
  const ByteOutput bytes = MakeByteOutput(requantize);
  const PairLayout layout = QuadLayout(s);
  if (!CanUsePairs(s, requantize, bytes, packed + layout.flag)) return Depthwise(s, input, packed, output, requantize, lines);
  PairTask task = MakePairTask(s, layout, input.is_unsigned, packed, requantize, bytes);
  const auto run = s.kernel_width == 3 ? (input.is_unsigned ? RunQuads<3, true> : RunQuads<3, false>)
                                       : (input.is_unsigned ? RunQuads<5, true> : RunQuads<5, false>);
  run(task, static_cast<const uint8_t*>(input.data),
      static_cast<uint8_t*>(output) + static_cast<ptrdiff_t>(lines.begin) * s.out_width * s.out_channels, lines);
}

inline void OverlayDepthwiseQuads(Kernels& table) {
  table.pack_depthwise_i8_bytes = PackQuadsBytes;
  table.pack_depthwise_i8 = PackQuads;
  table.depthwise_i8 = DepthwiseQuads;
}

}  // namespace
}  // namespace sigrun::kernels
