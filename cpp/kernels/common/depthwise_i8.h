#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/fixed_point.h"
#include "kernels/common/inline.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// 8-bit depthwise convolution over a tier's simd_i8.h, included before. Every tap of an output pixel is a pointer; a padded tap points at a
// row of zero points that lies in the packed weights, so that the inner loop knows no border.
namespace sigrun::kernels {
namespace {

constexpr int32_t kMaxTaps = 256;  // of the vector path, whose pointers stand on the stack

// Packed: int32 bias[n] with the input zero point folded in; the row of zero points, int8 and then flipped for uint8 inputs; int16
// (weight - weight_zero_point) as [tap group][n][tap of the group]. The end may be read beyond by a vector.
struct DepthwiseLayout {
  size_t zeros, flipped_zeros, weights, bytes;
  explicit DepthwiseLayout(const ConvShape& s) {
    const size_t n = static_cast<size_t>(s.out_channels), groups = (static_cast<size_t>(s.taps()) + kDepthwiseTaps - 1) / kDepthwiseTaps;
    zeros = RoundUp64(n * sizeof(int32_t));
    flipped_zeros = zeros + RoundUp64(n);
    weights = flipped_zeros + RoundUp64(n);
    bytes = RoundUp64(weights + groups * n * kDepthwiseTaps * sizeof(int16_t)) + 64;
  }
  static size_t RoundUp64(size_t x) { return (x + 63) / 64 * 64; }
};

SIGRUN_INLINE size_t DepthwiseWeight(int32_t tap, int32_t n, int32_t channels) {
  return (static_cast<size_t>(tap / kDepthwiseTaps) * channels + n) * kDepthwiseTaps + tap % kDepthwiseTaps;
}

size_t PackDepthwiseBytes(const ConvShape& s) { return DepthwiseLayout(s).bytes; }

void PackDepthwise(const ConvShape& s, const int8_t* filter, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
                   int32_t weight_zero_point, std::byte* packed) {
  const DepthwiseLayout layout(s);
  std::memset(packed, 0, layout.bytes);
  std::memset(packed + layout.zeros, input_zero_point, static_cast<size_t>(s.out_channels));
  std::memset(packed + layout.flipped_zeros, input_zero_point ^ 0x80, static_cast<size_t>(s.out_channels));
  int32_t* packed_bias = reinterpret_cast<int32_t*>(packed);
  int16_t* weights = reinterpret_cast<int16_t*>(packed + layout.weights);
  for (int32_t n = 0; n < s.out_channels; ++n) packed_bias[n] = bias != nullptr ? bias[n] : 0;
  for (int32_t tap = 0; tap < s.taps(); ++tap) {
    for (int32_t n = 0; n < s.out_channels; ++n) {
      const uint8_t raw = static_cast<uint8_t>(*filter++);
      const int32_t w = static_cast<int8_t>(raw ^ (flip_weights ? 0x80 : 0)) - weight_zero_point;
      weights[DepthwiseWeight(tap, n, s.out_channels)] = static_cast<int16_t>(w);
      packed_bias[n] = WrapSub(packed_bias[n], WrapMul(input_zero_point, w));
    }
  }
}

// Points at channel 0 of the tap, or at the zero points.
SIGRUN_INLINE const uint8_t* TapPointer(const ConvShape& s, const uint8_t* image, int32_t origin_y, int32_t origin_x, int32_t tap,
                                        const uint8_t* zeros) {
  const int64_t y = origin_y + static_cast<int64_t>(tap / s.kernel_width) * s.dilation_h;
  const int64_t x = origin_x + static_cast<int64_t>(tap % s.kernel_width) * s.dilation_w;
  if (y < 0 || y >= s.in_height || x < 0 || x >= s.in_width) return zeros;
  return image + (static_cast<ptrdiff_t>(y) * s.in_width + x) * s.in_channels;
}

struct DepthwiseTask {
  const int32_t* bias;
  const int16_t* weights;
  const int32_t* multiplier;  // at least a vector of them
  const int32_t* shift;
  const RequantizeParams* requantize;
  int32_t channels, groups;
};

SIGRUN_INLINE I32 RequantizeLanes(const DepthwiseTask& t, I32 acc, int32_t c) {
  const I32 shift = Load(t.shift + c), zero = Set1(0), most = Set1(31);
  const I32 scaled = Requantize(acc, Load(t.multiplier + c), Clamp(shift, zero, most), Clamp(zero - shift, zero, most));
  return Clamp(scaled + Set1(t.requantize->zero_point), Set1(t.requantize->min), Set1(t.requantize->max));
}

/// kVectors vectors of channels from c.
template <int kVectors, bool kFlip>
SIGRUN_INLINE void DepthwiseVectors(const DepthwiseTask& t, const uint8_t* const* taps, int32_t c, uint8_t* out) {
  I32 acc[kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) acc[v] = Load(t.bias + c + v * kLanes);
  const int16_t* w = t.weights + static_cast<ptrdiff_t>(c) * kDepthwiseTaps;
  for (int32_t g = 0; g < t.groups; ++g, taps += kDepthwiseTaps, w += static_cast<ptrdiff_t>(t.channels) * kDepthwiseTaps) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      Bytes a[kDepthwiseTaps];
      SIGRUN_UNROLL
      for (int i = 0; i < kDepthwiseTaps; ++i) a[i] = LoadChannels(taps[i] + c + v * kLanes);
      acc[v] = DepthwiseStep<kFlip>(acc[v], a, w + v * kLanes * kDepthwiseTaps);
    }
  }
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) StoreLow8(out + c + v * kLanes, RequantizeLanes(t, acc[v], c + v * kLanes));
}

/// A pixel with fewer channels than a vector has lanes.
template <bool kFlip>
SIGRUN_INLINE void DepthwiseFew(const DepthwiseTask& t, const uint8_t* const* taps, uint8_t* out) {
  I32 acc = Load(t.bias);
  for (int32_t g = 0; g < t.groups; ++g) {
    Bytes a[kDepthwiseTaps];
    SIGRUN_UNROLL
    for (int i = 0; i < kDepthwiseTaps; ++i) a[i] = LoadFew(taps[g * kDepthwiseTaps + i], t.channels);
    acc = DepthwiseStep<kFlip>(acc, a, t.weights + static_cast<ptrdiff_t>(g) * t.channels * kDepthwiseTaps);
  }
  StoreLow8(out, RequantizeLanes(t, acc, 0), t.channels);
}

/// One output pixel, given its taps.
template <bool kFlip>
SIGRUN_INLINE void DepthwisePixel(const DepthwiseTask& t, const uint8_t* const* taps, uint8_t* out) {
  if (t.channels < kLanes) return DepthwiseFew<kFlip>(t, taps, out);
  int32_t c = 0;
  for (; c + 4 * kLanes <= t.channels; c += 4 * kLanes) DepthwiseVectors<4, kFlip>(t, taps, c, out);
  for (; c + kLanes <= t.channels; c += kLanes) DepthwiseVectors<1, kFlip>(t, taps, c, out);
  if (c < t.channels) DepthwiseVectors<1, kFlip>(t, taps, t.channels - kLanes, out);
}

// Taps of a whole window lie at fixed offsets from its first one. The pixels of `done` of every line are left alone.
template <bool kFlip>
void DepthwiseLines(const ConvShape& s, const DepthwiseTask& t, const uint8_t* input, const uint8_t* zeros, uint8_t* out, Range lines,
                    Range done) {
  const uint8_t* taps[kMaxTaps + kDepthwiseTaps];
  ptrdiff_t offsets[kMaxTaps];
  for (int32_t i = 0; i < t.groups * kDepthwiseTaps; ++i) taps[i] = zeros;  // also the one that completes the last group
  for (int32_t i = 0; i < s.taps(); ++i) {
    const ptrdiff_t y = static_cast<ptrdiff_t>(i / s.kernel_width) * s.dilation_h,
                    x = static_cast<ptrdiff_t>(i % s.kernel_width) * s.dilation_w;
    offsets[i] = (y * s.in_width + x) * s.in_channels;
  }
  const ptrdiff_t image_bytes = static_cast<ptrdiff_t>(s.in_height) * s.in_width * s.in_channels;
  const Range whole_y = WholeWindows(s.pad_top, s.stride_h, s.dilation_h, s.kernel_height, s.in_height, s.out_height);
  const Range whole_x = WholeWindows(s.pad_left, s.stride_w, s.dilation_w, s.kernel_width, s.in_width, s.out_width);
  for (int32_t line = lines.begin; line < lines.end; ++line) {
    const uint8_t* image = input + line / s.out_height * image_bytes;
    const int32_t y = line % s.out_height, origin_y = y * s.stride_h - s.pad_top;
    const bool inside_y = y >= whole_y.begin && y < whole_y.end;
    for (int32_t x = 0; x < s.out_width; ++x, out += t.channels) {
      if (x >= done.begin && x < done.end) continue;
      const int32_t origin_x = x * s.stride_w - s.pad_left;
      if (inside_y && x >= whole_x.begin && x < whole_x.end) {
        const uint8_t* first = image + (static_cast<ptrdiff_t>(origin_y) * s.in_width + origin_x) * s.in_channels;
        for (int32_t i = 0; i < s.taps(); ++i) taps[i] = first + offsets[i];
      } else {
        for (int32_t i = 0; i < s.taps(); ++i) taps[i] = TapPointer(s, image, origin_y, origin_x, i, zeros);
      }
      DepthwisePixel<kFlip>(t, taps, out);
    }
  }
}

/// Any depth multiplier and any number of taps.
void DepthwiseAny(const ConvShape& s, const DepthwiseTask& t, const uint8_t* input, bool flip, const uint8_t* zeros, uint8_t* out,
                  Range lines) {
  constexpr int32_t kBlock = 64;
  const int32_t multiplier = s.out_channels / s.in_channels;
  const ptrdiff_t image_bytes = static_cast<ptrdiff_t>(s.in_height) * s.in_width * s.in_channels;
  const RequantizeParams& p = *t.requantize;
  for (int32_t pixel = lines.begin * s.out_width; pixel < lines.end * s.out_width; ++pixel, out += t.channels) {
    const int32_t line = pixel / s.out_width, origin_x = pixel % s.out_width * s.stride_w - s.pad_left;
    const uint8_t* image = input + line / s.out_height * image_bytes;
    for (int32_t first = 0; first < t.channels; first += kBlock) {
      const int32_t n = t.channels - first < kBlock ? t.channels - first : kBlock;
      int32_t acc[kBlock];
      std::memcpy(acc, t.bias + first, static_cast<size_t>(n) * sizeof(int32_t));
      for (int32_t tap = 0; tap < s.taps(); ++tap) {
        const uint8_t* a = TapPointer(s, image, line % s.out_height * s.stride_h - s.pad_top, origin_x, tap, zeros);
        const int16_t* w = t.weights + DepthwiseWeight(tap, first, t.channels);
        int32_t c = first / multiplier, m = first % multiplier;
        for (int32_t i = 0; i < n; ++i) {
          acc[i] = WrapAdd(acc[i], static_cast<int8_t>(a[c] ^ (flip ? 0x80 : 0)) * w[i * kDepthwiseTaps]);
          if (++m == multiplier) m = 0, ++c;
        }
      }
      for (int32_t i = 0; i < n; ++i) {
        const int32_t at = first + i;
        const int32_t y = WrapAdd(MultiplyByQuantizedMultiplier(acc[i], p.multiplier[at], p.shift[at]), p.zero_point);
        out[at] = static_cast<uint8_t>(ClampI32(y, p.min, p.max));
      }
    }
  }
}

// `done` is as for DepthwiseLines, where these are used.
void DepthwiseRest(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                   Range lines, Range done) {
  const DepthwiseLayout layout(s);
  DepthwiseTask task;
  task.bias = reinterpret_cast<const int32_t*>(packed);
  task.weights = reinterpret_cast<const int16_t*>(packed + layout.weights);
  task.requantize = &requantize;
  task.multiplier = requantize.multiplier;
  task.shift = requantize.shift;
  task.channels = s.out_channels;
  task.groups = (s.taps() + kDepthwiseTaps - 1) / kDepthwiseTaps;
  int32_t multiplier[kLanes] = {}, shift[kLanes] = {};
  if (s.out_channels < kLanes) {
    std::memcpy(multiplier, requantize.multiplier, static_cast<size_t>(s.out_channels) * sizeof(int32_t));
    std::memcpy(shift, requantize.shift, static_cast<size_t>(s.out_channels) * sizeof(int32_t));
    task.multiplier = multiplier;
    task.shift = shift;
  }
  const uint8_t* in = static_cast<const uint8_t*>(input.data);
  const uint8_t* zeros = reinterpret_cast<const uint8_t*>(packed + (input.is_unsigned ? layout.flipped_zeros : layout.zeros));
  uint8_t* out = static_cast<uint8_t*>(output) + static_cast<ptrdiff_t>(lines.begin) * s.out_width * s.out_channels;
  if (s.in_channels != s.out_channels || s.taps() > kMaxTaps) {
    DepthwiseAny(s, task, in, input.is_unsigned, zeros, out, lines);
  } else if (input.is_unsigned) {
    DepthwiseLines<true>(s, task, in, zeros, out, lines, done);
  } else {
    DepthwiseLines<false>(s, task, in, zeros, out, lines, done);
  }
}

void Depthwise(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize, Range lines) {
  DepthwiseRest(s, input, packed, output, requantize, lines, {0, 0});
}

inline void OverlayDepthwiseI8(Kernels& table) {
  table.pack_depthwise_i8_bytes = PackDepthwiseBytes;
  table.pack_depthwise_i8 = PackDepthwise;
  table.depthwise_i8 = Depthwise;
}

}  // namespace
}  // namespace sigrun::kernels
