#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/avx512/simd_i8.h"
#include "kernels/common/depthwise_i8.h"
#include "kernels/common/rescale_i8.h"

// 8-bit depthwise convolution with 3x3 windows by vpdpbusd: a column of three taps and a zero is one dot product of four, and serves
// every window that it is part of. All else is left to the kernel below.
namespace sigrun::kernels {
namespace {

// Packed: what the kernel below packs; from `flag`, int32 whether weights are int8; int32 bias[n] for unsigned activations; int8 weights
// [column][n][4].
struct ColumnLayout {
  size_t flag, bias, weights, bytes;
  explicit ColumnLayout(const ConvShape& s) {
    const size_t n = static_cast<size_t>(s.out_channels);
    flag = DepthwiseLayout(s).bytes;
    bias = flag + 64;
    weights = bias + DepthwiseLayout::RoundUp64(n * sizeof(int32_t));
    bytes = weights + DepthwiseLayout::RoundUp64(3 * 4 * n);
  }
};

SIGRUN_INLINE bool HasColumns(const ConvShape& s) {
  return s.kernel_height == 3 && s.kernel_width == 3 && s.dilation_h == 1 && s.dilation_w == 1 && s.in_channels == s.out_channels &&
         s.out_channels >= kLanes && (s.stride_w == 1 || s.stride_w == 2);
}

size_t PackColumnsBytes(const ConvShape& s) { return HasColumns(s) ? ColumnLayout(s).bytes : DepthwiseLayout(s).bytes; }

void PackColumns(const ConvShape& s, const int8_t* filter, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
                 int32_t weight_zero_point, std::byte* packed) {
  PackDepthwise(s, filter, flip_weights, bias, input_zero_point, weight_zero_point, packed);
  if (!HasColumns(s)) return;
  const ColumnLayout layout(s);
  std::memset(packed + layout.flag, 0, layout.bytes - layout.flag);
  const int32_t is_int8 = weight_zero_point == 0 ? 1 : 0;
  std::memcpy(packed + layout.flag, &is_int8, sizeof(is_int8));
  int32_t* column_bias = reinterpret_cast<int32_t*>(packed + layout.bias);
  int8_t* weights = reinterpret_cast<int8_t*>(packed + layout.weights);
  for (int32_t n = 0; n < s.out_channels; ++n) {
    column_bias[n] = bias != nullptr ? bias[n] : 0;
    for (int32_t tap = 0; tap < 9; ++tap) {
      const int8_t w = static_cast<int8_t>(static_cast<uint8_t>(filter[tap * s.out_channels + n]) ^ (flip_weights ? 0x80 : 0));
      weights[(static_cast<ptrdiff_t>(tap % 3) * s.out_channels + n) * 4 + tap / 3] = w;
      column_bias[n] = WrapSub(column_bias[n], WrapMul(input_zero_point + 128, w));
    }
  }
}

struct ColumnTask {
  const uint8_t* rows[3];
  ptrdiff_t steps[3];  // to the next pixel: 0 in a row of zero points
  ptrdiff_t first_x;   // of the first window
  int32_t in_width, out_width, channels;
  __m512i zeros, flip;
};

/// The taps of 16 channels at column x as unsigned bytes: rows 0 to 2 and a byte whose weight is 0.
SIGRUN_INLINE __m512i TapColumn(const ColumnTask& t, ptrdiff_t x, ptrdiff_t c) {
  if (static_cast<size_t>(x) >= static_cast<size_t>(t.in_width)) return t.zeros;
  const auto row = [&](int i) SIGRUN_INLINE_LAMBDA {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t.rows[i] + x * t.steps[i] + c)));
  };
  const __m512i high = _mm512_or_si512(_mm512_slli_epi32(row(1), 8), _mm512_slli_epi32(row(2), 16));
  return _mm512_ternarylogic_epi32(row(0), high, t.flip, 0x56);  // (a | b) ^ c
}

template <int kStride>
SIGRUN_INLINE void ColumnLine(const ColumnTask& t, const __m512i (&w)[3], __m512i bias, const Rescale& rescale, const ByteOutput& bytes,
                              ptrdiff_t c, uint8_t* out) {
  ptrdiff_t x = t.first_x;
  __m512i a = TapColumn(t, x, c), b = kStride == 1 ? TapColumn(t, x + 1, c) : a;
  for (int32_t i = 0; i < t.out_width; ++i, x += kStride, out += t.channels) {
    if (kStride == 2) b = TapColumn(t, x + 1, c);
    const __m512i d = TapColumn(t, x + 2, c);
    const __m512i sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_dpbusd_epi32(bias, a, w[0]), b, w[1]), d, w[2]);
    StoreLanes(out + c, ToBytes(Rescaled({sum}, rescale), bytes));
    a = kStride == 1 ? b : d;
    b = d;
  }
}

void DepthwiseColumns(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                      Range lines) {
  const ColumnLayout layout(s);
  const ByteOutput bytes = MakeByteOutput(requantize);
  bool usable = HasColumns(s) && bytes.fits && LoadAs<int32_t>(reinterpret_cast<const uint8_t*>(packed + layout.flag)) != 0;
  for (int32_t n = 0; usable && n < s.out_channels; ++n) {
    usable = IsRescalable(requantize.multiplier[n], requantize.shift[n], bytes.zero_point);
  }
  if (!usable) return Depthwise(s, input, packed, output, requantize, lines);
  const int32_t channels = s.out_channels;
  const DepthwiseLayout below(s);
  const uint8_t* zeros = reinterpret_cast<const uint8_t*>(packed + (input.is_unsigned ? below.flipped_zeros : below.zeros));
  const int32_t* bias = reinterpret_cast<const int32_t*>(packed + layout.bias);
  const int8_t* weights = reinterpret_cast<const int8_t*>(packed + layout.weights);
  const ptrdiff_t row_bytes = static_cast<ptrdiff_t>(s.in_width) * channels;
  ColumnTask task;
  task.first_x = -static_cast<ptrdiff_t>(s.pad_left);
  task.in_width = s.in_width;
  task.out_width = s.out_width;
  task.channels = channels;
  task.zeros = _mm512_set1_epi8(static_cast<char>(input.zero_point + 128));
  task.flip = input.is_unsigned ? _mm512_setzero_si512() : _mm512_set1_epi8(-128);
  uint8_t* out = static_cast<uint8_t*>(output) + static_cast<ptrdiff_t>(lines.begin) * s.out_width * channels;
  for (int32_t line = lines.begin; line < lines.end; ++line, out += static_cast<ptrdiff_t>(s.out_width) * channels) {
    const uint8_t* image = static_cast<const uint8_t*>(input.data) + line / s.out_height * (s.in_height * row_bytes);
    for (int32_t i = 0; i < 3; ++i) {
      const int64_t y = static_cast<int64_t>(line % s.out_height) * s.stride_h - s.pad_top + i;
      const bool inside = y >= 0 && y < s.in_height;
      task.rows[i] = inside ? image + y * row_bytes : zeros;
      task.steps[i] = inside ? channels : 0;
    }
    for (int32_t next = 0; next < channels; next += kLanes) {
      const ptrdiff_t c = next + kLanes <= channels ? next : channels - kLanes;
      __m512i w[3];
      for (int i = 0; i < 3; ++i) w[i] = _mm512_loadu_si512(weights + (i * static_cast<ptrdiff_t>(channels) + c) * 4);
      const Rescale rescale = MakeRescale(Load(requantize.multiplier + c), Set1(0) - Load(requantize.shift + c), bytes.zero_point);
      if (s.stride_w == 1) {
        ColumnLine<1>(task, w, Load(bias + c).v, rescale, bytes, c, out);
      } else {
        ColumnLine<2>(task, w, Load(bias + c).v, rescale, bytes, c, out);
      }
    }
  }
}

}  // namespace
}  // namespace sigrun::kernels
