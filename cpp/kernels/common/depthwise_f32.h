#pragma once

#include "kernels/common/math.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// Depthwise convolution. Packed: chunks of kChunk channels, each [bias][tap][channel], so that a chunk's weights and the lines it reads
// stay in L1 while a line of output pixels is walked. Trick: four neighbouring pixels share each weight, and at stride 1 their
// overlapping inputs too. A depth multiplier above 1 broadcasts an input over its output channels and uses a single chunk.
namespace sigrun::kernels {
namespace {

constexpr int32_t kChunk = 8 * F32::lanes;
constexpr int kPixels = 4;

SIGRUN_INLINE int32_t PaddedChannels(int32_t channels) { return (channels + F32::lanes - 1) / F32::lanes * F32::lanes; }
SIGRUN_INLINE int32_t ChunkWidth(const ConvShape& s, int32_t channel) {
  const int32_t rest = PaddedChannels(s.out_channels) - channel;
  return s.in_channels == s.out_channels && rest > kChunk ? kChunk : rest;
}

size_t PackDepthwiseF32Bytes(const ConvShape& s) {
  const size_t floats = static_cast<size_t>(PaddedChannels(s.out_channels)) * static_cast<size_t>(s.kernel_height * s.kernel_width + 1);
  return floats * sizeof(float);
}

void PackDepthwiseF32(const ConvShape& s, const float* filter, const float* bias, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  const int32_t taps = s.kernel_height * s.kernel_width;
  for (int32_t first = 0; first < s.out_channels;) {
    const int32_t width = ChunkWidth(s, first);
    for (int32_t tap = -1; tap < taps; ++tap, to += width) {
      const float* from = tap < 0 ? bias : filter + static_cast<ptrdiff_t>(tap) * s.out_channels;
      for (int32_t c = 0; c < width; ++c) to[c] = from != nullptr && first + c < s.out_channels ? from[first + c] : 0.0f;
    }
    first += width;
  }
}

/// The taps of one or more neighbouring pixels, for one vector of channels; pointers stand at the first tap that lies in the image.
struct DepthwiseTaps {
  const float* input;
  ptrdiff_t line_stride, tap_stride, pixel_stride;
  const float* weights;
  ptrdiff_t weight_line_stride, weight_stride;
  int32_t height, width;
};

struct Bounds {
  F32 low, high;
};

// One line of the window, its width known at compile time or not.
template <int kCount, int kWidth, bool kPartial>
SIGRUN_INLINE void DepthwiseTapLine(const DepthwiseTaps& t, const float* in, const float* w, int rest, F32 (&sum)[kCount]) {
  const int32_t width = kWidth > 0 ? kWidth : t.width;
  for (int32_t x = 0; x < width; ++x, in += t.tap_stride, w += t.weight_stride) {
    const F32 weight = Load(w);
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const float* p = in + i * t.pixel_stride;
      sum[i] = Fma(kPartial ? LoadPartial(p, rest) : Load(p), weight, sum[i]);
    }
  }
}

// The same sums where the taps of a pixel are those of the pixel before, one further: each input is loaded once.
template <int kCount, int kWidth, bool kPartial>
SIGRUN_INLINE void DepthwiseOverlappingTapLine(const DepthwiseTaps& t, const float* in, const float* w, int rest, F32 (&sum)[kCount]) {
  F32 inputs[kCount + kWidth - 1];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount + kWidth - 1; ++i) {
    const float* p = in + i * t.tap_stride;
    inputs[i] = kPartial ? LoadPartial(p, rest) : Load(p);
  }
  SIGRUN_UNROLL
  for (int x = 0; x < kWidth; ++x) {
    const F32 weight = Load(w + x * t.weight_stride);
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) sum[i] = Fma(inputs[i + x], weight, sum[i]);
  }
}

// kWidth is the number of taps a line if it is known, else 0; kOverlap says that pixels are one tap apart. rest is the number of channels
// if they are no whole vector, else 0.
template <int kCount, int kWidth, bool kOverlap, bool kPartial>
SIGRUN_INLINE void DepthwisePixels(const DepthwiseTaps& t, const float* bias, float* out, ptrdiff_t out_stride, Bounds bounds, int rest) {
  F32 sum[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) sum[i] = Load(bias);
  const float* in = t.input;
  const float* w = t.weights;
  for (int32_t y = 0; y < t.height; ++y, in += t.line_stride, w += t.weight_line_stride) {
    if constexpr (kOverlap) {
      DepthwiseOverlappingTapLine<kCount, kWidth, kPartial>(t, in, w, rest, sum);
    } else {
      DepthwiseTapLine<kCount, kWidth, kPartial>(t, in, w, rest, sum);
    }
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const F32 y = Clamp(sum[i], bounds.low, bounds.high);
    if (kPartial) {
      StorePartial(out + i * out_stride, y, rest);
    } else {
      Store(out + i * out_stride, y);
    }
  }
}

// All channels of a chunk for kCount neighbouring pixels.
template <int kCount, int kWidth, bool kOverlap>
void DepthwiseChunk(DepthwiseTaps t, const float* bias, int32_t channels, float* out, ptrdiff_t out_stride, Bounds bounds) {
  int32_t c = 0;
  for (; c + F32::lanes <= channels; c += F32::lanes) {
    DepthwisePixels<kCount, kWidth, kOverlap, false>(t, bias + c, out + c, out_stride, bounds, 0);
    t.input += F32::lanes;
    t.weights += F32::lanes;
  }
  if (c < channels) DepthwisePixels<kCount, kWidth, kOverlap, true>(t, bias + c, out + c, out_stride, bounds, channels - c);
}

using ChunkFunction = void (*)(DepthwiseTaps, const float*, int32_t, float*, ptrdiff_t, Bounds);
ChunkFunction ChooseChunk(const ConvShape& s) {
  const bool overlap = s.stride_w == s.dilation_w;
  if (s.kernel_width == 3) return overlap ? DepthwiseChunk<kPixels, 3, true> : DepthwiseChunk<kPixels, 3, false>;
  if (s.kernel_width == 5 && overlap) return DepthwiseChunk<kPixels, 5, true>;
  return DepthwiseChunk<kPixels, 0, false>;
}

/// One line of output pixels and the taps of the window's lines that lie in the image.
struct DepthwiseLine {
  const float* input;  // the window's first line, at the first pixel of the line
  float* output;
  int32_t first_tap, height;
};

void DepthwiseLineChunk(const ConvShape& s, const DepthwiseLine& line, const float* packed, int32_t first, int32_t width, Bounds bounds) {
  const ptrdiff_t channels = s.in_channels, tap_stride = s.dilation_w * channels;
  const int32_t count = s.in_channels - first < width ? s.in_channels - first : width;
  const float* weights = packed + static_cast<ptrdiff_t>(width) * (1 + line.first_tap * s.kernel_width);
  DepthwiseTaps t = {nullptr,       s.dilation_h * s.in_width * channels,           tap_stride, s.stride_w * channels,
                     weights,       static_cast<ptrdiff_t>(width) * s.kernel_width, width,      line.height,
                     s.kernel_width};
  const Range whole = WholeWindows(s.pad_left, s.stride_w, s.dilation_w, s.kernel_width, s.in_width, s.out_width);
  const ChunkFunction run_pixels = ChooseChunk(s);
  for (int32_t ox = 0; ox < s.out_width;) {
    const int32_t left = ox * s.stride_w - s.pad_left;
    float* out = line.output + ox * channels + first;
    if (ox >= whole.begin && ox + kPixels <= whole.end) {
      t.input = line.input + left * channels + first;
      run_pixels(t, packed, count, out, channels, bounds);
      ox += kPixels;
      continue;
    }
    const Range kx = TapsInside(left, s.dilation_w, s.kernel_width, s.in_width);
    DepthwiseTaps one = t;
    one.input = line.input + left * channels + kx.begin * tap_stride + first;
    one.weights = weights + kx.begin * static_cast<ptrdiff_t>(width);
    one.width = kx.end - kx.begin;
    DepthwiseChunk<1, 0, false>(one, packed, count, out, channels, bounds);
    ++ox;
  }
}

// The outputs of one input channel at one pixel: multiplier sums over the same inputs.
SIGRUN_INLINE void MultiplyChannel(const DepthwiseTaps& t, const float* bias, float* out, int32_t multiplier, Bounds bounds) {
  for (int32_t m = 0; m < multiplier; m += F32::lanes) {
    const int rest = multiplier - m < F32::lanes ? multiplier - m : F32::lanes;
    F32 sum = LoadPartial(bias + m, rest);
    for (int32_t y = 0; y < t.height; ++y) {
      const float* in = t.input + y * t.line_stride;
      const float* w = t.weights + y * t.weight_line_stride + m;
      for (int32_t x = 0; x < t.width; ++x, in += t.tap_stride, w += t.weight_stride) sum = Fma(Set1(*in), LoadPartial(w, rest), sum);
    }
    StorePartial(out + m, Clamp(sum, bounds.low, bounds.high), rest);
  }
}

void DepthwiseMultiplierLine(const ConvShape& s, const DepthwiseLine& line, const float* packed, Bounds bounds) {
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
    float* out = line.output + static_cast<ptrdiff_t>(ox) * s.out_channels;
    for (int32_t c = 0; c < s.in_channels; ++c, ++t.input, t.weights += multiplier) {
      MultiplyChannel(t, packed + c * multiplier, out + c * multiplier, multiplier, bounds);
    }
  }
}

void DepthwiseF32(const ConvShape& s, const float* input, const std::byte* packed, float* output, ClampF32 clamp, Range lines) {
  const Bounds bounds = {Set1(clamp.min), Set1(clamp.max)};
  const ptrdiff_t in_line = static_cast<ptrdiff_t>(s.in_width) * s.in_channels;
  const ptrdiff_t out_line = static_cast<ptrdiff_t>(s.out_width) * s.out_channels;
  for (int32_t row = lines.begin; row < lines.end; ++row) {
    const int32_t image = row / s.out_height, top = (row % s.out_height) * s.stride_h - s.pad_top;
    const Range ky = TapsInside(top, s.dilation_h, s.kernel_height, s.in_height);
    const ptrdiff_t first_line = static_cast<ptrdiff_t>(image) * s.in_height + top + ky.begin * s.dilation_h;
    const DepthwiseLine line = {input + first_line * in_line, output + row * out_line, ky.begin, ky.end - ky.begin};
    const float* weights = reinterpret_cast<const float*>(packed);
    if (s.in_channels != s.out_channels) {
      DepthwiseMultiplierLine(s, line, weights, bounds);
      continue;
    }
    for (int32_t first = 0; first < s.out_channels;) {
      const int32_t width = ChunkWidth(s, first);
      DepthwiseLineChunk(s, line, weights, first, width, bounds);
      weights += static_cast<ptrdiff_t>(width) * (s.kernel_height * s.kernel_width + 1);
      first += width;
    }
  }
}

void OverlayDepthwise(Kernels& t) {
  t.pack_depthwise_f32_bytes = PackDepthwiseF32Bytes;
  t.pack_depthwise_f32 = PackDepthwiseF32;
  t.depthwise_f32 = DepthwiseF32;
}

}  // namespace
}  // namespace sigrun::kernels
