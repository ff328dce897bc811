#pragma once

#include <utility>

#include "kernels/common/epilogue_f32.h"
#include "kernels/common/math.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// Depthwise convolution. Packed: chunks of nearly equal width, each [bias][tap][channel], so that a chunk's weights and the pixels it reads
// stay in L1 while a line of output pixels is walked. Trick: a few neighbouring pixels share each weight and the columns of the input
// in which their windows overlap; a column outside the image is a pointer at zeros, so that borders take the same path. A depth
// multiplier above 1 broadcasts an input over its output channels and uses a single chunk.
namespace sigrun::kernels {
namespace {

constexpr int32_t kMaxChunk = 256;
constexpr int32_t kMaxLines = 16;                 // of a window that takes the fast path
constexpr int kPixels = F32::lanes == 8 ? 4 : 5;  // AVX2 has but 16 registers

alignas(64) constexpr float kZeroColumn[kMaxChunk] = {};

SIGRUN_INLINE int32_t PaddedChannels(int32_t channels) { return (channels + F32::lanes - 1) / F32::lanes * F32::lanes; }
SIGRUN_INLINE int32_t ChunkWidth(const ConvShape& s, int32_t channel) {
  const int32_t rest = PaddedChannels(s.out_channels) - channel;
  if (s.in_channels != s.out_channels) return rest;
  const int32_t chunks = (rest + kMaxChunk - 1) / kMaxChunk;
  return PaddedChannels((rest + chunks - 1) / chunks);
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

/// The bounds of the stores, and where the residual stands from the output, in floats.
struct DepthwiseEnd {
  F32 low, high;
  const EpilogueF32& epilogue;
  ptrdiff_t residual;
  // Finishes the sum of channel c, which goes to `to`; rest as in DepthwisePixels.
  SIGRUN_INLINE F32 Finish(F32 sum, const float* to, int rest) const {
    if (epilogue.residual != nullptr) sum = sum + (rest == 0 ? Load(to + residual) : LoadPartial(to + residual, rest));
    return Clamp(sum, low, high);
  }
  // After the channels from `first` on of some pixels are stored.
  SIGRUN_INLINE void Activate(float* out, ptrdiff_t stride, int32_t pixels, int32_t channels, int32_t first) const {
    if (epilogue.activation != ActivationF32::kNone) ActivateRows(epilogue, out, stride, pixels, channels, first);
  }
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

// kWidth is the number of taps a line if it is known, else 0. rest is the number of channels if they are no whole vector, else 0.
template <int kCount, int kWidth, bool kPartial>
SIGRUN_INLINE void DepthwisePixels(const DepthwiseTaps& t, const float* bias, float* out, ptrdiff_t out_stride, const DepthwiseEnd& end, int rest) {
  F32 sum[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) sum[i] = Load(bias);
  const float* in = t.input;
  const float* w = t.weights;
  for (int32_t y = 0; y < t.height; ++y, in += t.line_stride, w += t.weight_line_stride) {
    DepthwiseTapLine<kCount, kWidth, kPartial>(t, in, w, rest, sum);
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    float* to = out + i * out_stride;
    const F32 y = end.Finish(sum[i], to, kPartial ? rest : 0);
    if (kPartial) {
      StorePartial(to, y, rest);
    } else {
      Store(to, y);
    }
  }
}

// All channels of a chunk for kCount neighbouring pixels.
template <int kCount, int kWidth>
void DepthwiseChunk(DepthwiseTaps t, const float* bias, int32_t channels, float* out, ptrdiff_t out_stride, const DepthwiseEnd& end) {
  int32_t c = 0;
  for (; c + F32::lanes <= channels; c += F32::lanes) {
    DepthwisePixels<kCount, kWidth, false>(t, bias + c, out + c, out_stride, end, 0);
    t.input += F32::lanes;
    t.weights += F32::lanes;
  }
  if (c < channels) DepthwisePixels<kCount, kWidth, true>(t, bias + c, out + c, out_stride, end, channels - c);
}

/// One line of output pixels and the taps of the window's lines that lie in the image.
struct DepthwiseLine {
  const float* input;  // the window's first line, at the first pixel of the line
  float* output;
  int32_t first_tap, height;
};

void DepthwiseLineChunk(const ConvShape& s, const DepthwiseLine& line, const float* packed, int32_t first, int32_t width, const DepthwiseEnd& end) {
  const ptrdiff_t channels = s.in_channels, tap_stride = s.dilation_w * channels;
  const int32_t count = s.in_channels - first < width ? s.in_channels - first : width;
  const float* weights = packed + static_cast<ptrdiff_t>(width) * (1 + line.first_tap * s.kernel_width);
  DepthwiseTaps t = {nullptr,       s.dilation_h * s.in_width * channels,           tap_stride, s.stride_w * channels,
                     weights,       static_cast<ptrdiff_t>(width) * s.kernel_width, width,      line.height,
                     s.kernel_width};
  const Range whole = WholeWindows(s.pad_left, s.stride_w, s.dilation_w, s.kernel_width, s.in_width, s.out_width);
  for (int32_t ox = 0; ox < s.out_width;) {
    const int32_t left = ox * s.stride_w - s.pad_left;
    float* out = line.output + ox * channels + first;
    if (ox >= whole.begin && ox + kPixels <= whole.end) {
      t.input = line.input + left * channels + first;
      DepthwiseChunk<kPixels, 0>(t, packed, count, out, channels, end);
      end.Activate(out, channels, kPixels, count, first);
      ox += kPixels;
      continue;
    }
    const Range kx = TapsInside(left, s.dilation_w, s.kernel_width, s.in_width);
    DepthwiseTaps one = t;
    one.input = line.input + left * channels + kx.begin * tap_stride + first;
    one.weights = weights + kx.begin * static_cast<ptrdiff_t>(width);
    one.width = kx.end - kx.begin;
    DepthwiseChunk<1, 0>(one, packed, count, out, channels, end);
    end.Activate(out, channels, 1, count, first);
    ++ox;
  }
}

/// Neighbouring pixels whose windows lie on common columns of the input, one chunk of channels.
struct DepthwiseColumns {
  const float* const* pointers;  // [line][column], at the chunk's first channel
  int32_t height;
  const float* bias;
  const float* weights;  // [line][tap][channel]
  int32_t width;         // of the chunk, padded
  float* output;
  ptrdiff_t output_stride;
};

constexpr int ColumnsOf(int count, int width, int step) { return (count - 1) * step + width; }

// kWidth taps a line; pixels are kStep taps apart.
template <int kCount, int kWidth, int kStep, bool kPartial>
SIGRUN_INLINE void DepthwiseColumnVector(const DepthwiseColumns& d, ptrdiff_t c, int rest, const DepthwiseEnd& end) {
  constexpr int kColumns = ColumnsOf(kCount, kWidth, kStep);
  F32 sum[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) sum[i] = Load(d.bias + c);
  const float* w = d.weights + c;
  const float* const* pointers = d.pointers;
  for (int32_t y = 0; y < d.height; ++y, pointers += kColumns) {
    F32 inputs[kColumns];
    SIGRUN_UNROLL
    for (int i = 0; i < kColumns; ++i) inputs[i] = kPartial ? LoadPartial(pointers[i] + c, rest) : Load(pointers[i] + c);
    SIGRUN_UNROLL
    for (int x = 0; x < kWidth; ++x, w += d.width) {
      const F32 weight = Load(w);
      SIGRUN_UNROLL
      for (int i = 0; i < kCount; ++i) sum[i] = Fma(inputs[i * kStep + x], weight, sum[i]);
    }
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    float* to = d.output + i * d.output_stride + c;
    const F32 y = end.Finish(sum[i], to, kPartial ? rest : 0);
    if (kPartial) {
      StorePartial(to, y, rest);
    } else {
      Store(to, y);
    }
  }
}

template <int kCount, int kWidth, int kStep>
void DepthwiseColumnGroup(const DepthwiseColumns& d, int32_t channels, const DepthwiseEnd& end) {
  ptrdiff_t c = 0;
  for (; c + F32::lanes <= channels; c += F32::lanes) DepthwiseColumnVector<kCount, kWidth, kStep, false>(d, c, 0, end);
  if (c < channels) DepthwiseColumnVector<kCount, kWidth, kStep, true>(d, c, static_cast<int>(channels - c), end);
}

using ColumnFunction = void (*)(const DepthwiseColumns&, int32_t, const DepthwiseEnd&);
struct ColumnFunctions {
  ColumnFunction of_count[kPixels];
};
template <int kWidth, int kStep, int... kCount>
constexpr ColumnFunctions MakeColumnFunctions(std::integer_sequence<int, kCount...>) {
  return {{DepthwiseColumnGroup<kCount + 1, kWidth, kStep>...}};
}
template <int kWidth, int kStep>
constexpr ColumnFunctions kColumnFunctions = MakeColumnFunctions<kWidth, kStep>(std::make_integer_sequence<int, kPixels>{});

/// Null if the windows are not of a kind that has functions.
const ColumnFunctions* ChooseColumns(const ConvShape& s) {
  if (s.kernel_height > kMaxLines) return nullptr;
  const bool next = s.stride_w == s.dilation_w, skip = s.stride_w == 2 * s.dilation_w;
  if (s.kernel_width == 3) return next ? &kColumnFunctions<3, 1> : skip ? &kColumnFunctions<3, 2> : nullptr;
  if (s.kernel_width == 5) return next ? &kColumnFunctions<5, 1> : skip ? &kColumnFunctions<5, 2> : nullptr;
  return nullptr;
}

void DepthwiseLineColumns(const ConvShape& s, const DepthwiseLine& line, const ColumnFunctions& functions, const float* packed,
                          int32_t first, int32_t width, const DepthwiseEnd& end) {
  const ptrdiff_t channels = s.in_channels, tap_stride = s.dilation_w * channels, line_stride = s.dilation_h * s.in_width * channels;
  const int32_t count = s.in_channels - first < width ? s.in_channels - first : width;
  const int32_t groups = (s.out_width + kPixels - 1) / kPixels, step = s.stride_w / s.dilation_w;
  const float* pointers[kMaxLines * ColumnsOf(kPixels, 5, 2)];
  DepthwiseColumns d = {
      pointers, line.height,         packed,  packed + static_cast<ptrdiff_t>(width) * (1 + line.first_tap * s.kernel_width),
      width,    line.output + first, channels};
  int32_t left = -s.pad_left;
  for (int32_t g = 0; g < groups; ++g) {
    const int32_t pixels = s.out_width / groups + (g < s.out_width % groups ? 1 : 0), columns = ColumnsOf(pixels, s.kernel_width, step);
    const float* column = line.input + left * channels + first;
    for (int32_t x = 0; x < columns; ++x, column += tap_stride) {
      const int32_t at = left + x * s.dilation_w;
      const bool inside = at >= 0 && at < s.in_width;
      for (int32_t y = 0; y < line.height; ++y) pointers[y * columns + x] = inside ? column + y * line_stride : kZeroColumn;
    }
    functions.of_count[pixels - 1](d, count, end);
    end.Activate(d.output, channels, pixels, count, first);
    d.output += pixels * channels;
    left += pixels * s.stride_w;
  }
}

// The outputs of one input channel at one pixel: multiplier sums over the same inputs.
SIGRUN_INLINE void MultiplyChannel(const DepthwiseTaps& t, const float* bias, float* out, int32_t multiplier, const DepthwiseEnd& end) {
  for (int32_t m = 0; m < multiplier; m += F32::lanes) {
    const int rest = multiplier - m < F32::lanes ? multiplier - m : F32::lanes;
    F32 sum = LoadPartial(bias + m, rest);
    for (int32_t y = 0; y < t.height; ++y) {
      const float* in = t.input + y * t.line_stride;
      const float* w = t.weights + y * t.weight_line_stride + m;
      for (int32_t x = 0; x < t.width; ++x, in += t.tap_stride, w += t.weight_stride) sum = Fma(Set1(*in), LoadPartial(w, rest), sum);
    }
    StorePartial(out + m, end.Finish(sum, out + m, rest), rest);
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
    float* out = line.output + static_cast<ptrdiff_t>(ox) * s.out_channels;
    for (int32_t c = 0; c < s.in_channels; ++c, ++t.input, t.weights += multiplier) {
      MultiplyChannel(t, packed + c * multiplier, out + c * multiplier, multiplier, end);
    }
    end.Activate(out, 0, 1, s.out_channels, 0);
  }
}

void DepthwiseF32(const ConvShape& s, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue, Range lines) {
  const ClampF32 clamp = StoreClamp(epilogue);
  const DepthwiseEnd end = {Set1(clamp.min), Set1(clamp.max), epilogue, epilogue.residual == nullptr ? 0 : epilogue.residual - output};
  const ptrdiff_t in_line = static_cast<ptrdiff_t>(s.in_width) * s.in_channels;
  const ptrdiff_t out_line = static_cast<ptrdiff_t>(s.out_width) * s.out_channels;
  const ColumnFunctions* columns = ChooseColumns(s);
  for (int32_t row = lines.begin; row < lines.end; ++row) {
    const int32_t image = row / s.out_height, top = (row % s.out_height) * s.stride_h - s.pad_top;
    const Range ky = TapsInside(top, s.dilation_h, s.kernel_height, s.in_height);
    const ptrdiff_t first_line = static_cast<ptrdiff_t>(image) * s.in_height + top + ky.begin * s.dilation_h;
    const DepthwiseLine line = {input + first_line * in_line, output + row * out_line, ky.begin, ky.end - ky.begin};
    const float* weights = reinterpret_cast<const float*>(packed);
    if (s.in_channels != s.out_channels) {
      DepthwiseMultiplierLine(s, line, weights, end);
      continue;
    }
    for (int32_t first = 0; first < s.out_channels;) {
      const int32_t width = ChunkWidth(s, first);
      if (columns != nullptr) {
        DepthwiseLineColumns(s, line, *columns, weights, first, width, end);
      } else {
        DepthwiseLineChunk(s, line, weights, first, width, end);
      }
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
