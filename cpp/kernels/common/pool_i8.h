#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/inline.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// 8-bit pooling over a tier's simd_i8.h, included before. Channels are taken in vectors, the last of them moved back to end with the row;
// rows shorter than a vector go through a copy.
namespace sigrun::kernels {
namespace {

// The taps of one window: `count_y` lines of `count_x` pixels from `first`.
struct Window {
  const uint8_t* first;
  ptrdiff_t step_y, step_x;
  int32_t count_y, count_x;
};

// The windows of a line, as if none left the image at its sides: the one of its pixel 0.
SIGRUN_INLINE Window LineWindow(const ConvShape& s, const uint8_t* input, int32_t line) {
  const int32_t origin_y = line % s.out_height * s.stride_h - s.pad_top;
  const Range ky = TapsInside(origin_y, s.dilation_h, s.kernel_height, s.in_height);
  const ptrdiff_t pixel = s.in_channels, row = pixel * s.in_width;
  if (ky.begin == ky.end) return {input, 0, 0, 0, 0};
  const ptrdiff_t first_y = static_cast<ptrdiff_t>(line / s.out_height) * s.in_height + origin_y + ky.begin * s.dilation_h;
  return {input + first_y * row - s.pad_left * pixel, row * s.dilation_h, pixel * s.dilation_w, ky.end - ky.begin, s.kernel_width};
}

// The same of a pixel beside the image.
SIGRUN_INLINE Window SideWindow(const ConvShape& s, Window w, int32_t out_x) {
  const Range kx = TapsInside(out_x * s.stride_w - s.pad_left, s.dilation_w, s.kernel_width, s.in_width);
  if (w.count_y == 0 || kx.begin == kx.end) return {w.first, 0, 0, 0, 0};
  w.first += static_cast<ptrdiff_t>(out_x) * s.stride_w * s.in_channels + kx.begin * w.step_x;
  w.count_x = kx.end - kx.begin;
  return w;
}

template <class Tap>
SIGRUN_INLINE void ForEachTap(const Window& w, Tap tap) {
  for (int32_t y = 0; y < w.count_y; ++y) {
    const uint8_t* p = w.first + y * w.step_y;
    for (int32_t x = 0; x < w.count_x; ++x, p += w.step_x) tap(p);
  }
}

/// Calls pixel(window, out, channels) for every output pixel of the lines. Without a stride, those whose windows lie in the image are one
/// pixel of many channels.
template <class Pixel>
SIGRUN_INLINE void ForEachWindow(const ConvShape& s, const uint8_t* input, uint8_t* output, Range lines, Pixel pixel) {
  uint8_t* out = output + static_cast<ptrdiff_t>(lines.begin) * s.out_width * s.in_channels;
  // Pixels [inside.begin, inside.end) have all columns of their windows in the image.
  const int64_t extent = static_cast<int64_t>(s.kernel_width - 1) * s.dilation_w + 1, room = s.in_width + s.pad_left - extent;
  const int32_t first = s.pad_left <= 0 ? 0 : (s.pad_left + s.stride_w - 1) / s.stride_w;
  const int32_t last = room < 0 ? 0 : static_cast<int32_t>(room / s.stride_w + 1);
  const int32_t end = last < s.out_width ? last : s.out_width;
  const ptrdiff_t step = static_cast<ptrdiff_t>(s.stride_w) * s.in_channels;
  for (int32_t line = lines.begin; line < lines.end; ++line) {
    const Window all = LineWindow(s, input, line);
    int32_t x = 0;
    for (; x < s.out_width && (x < first || first >= end); ++x, out += s.in_channels) pixel(SideWindow(s, all, x), out, s.in_channels);
    Window w = all;
    w.first += x * step;
    if (s.stride_w == 1 && x < end) {
      pixel(w, out, (end - x) * s.in_channels);
      out += static_cast<ptrdiff_t>(end - x) * s.in_channels;
      x = end;
    }
    for (; x < end; ++x, out += s.in_channels, w.first += step) pixel(w, out, s.in_channels);
    for (; x < s.out_width; ++x, out += s.in_channels) pixel(SideWindow(s, all, x), out, s.in_channels);
  }
}

/// The bounds of a MaxPool. Unsigned bytes are compared as signed ones with the top bit flipped.
struct MaxEnd {
  Bytes flip, low, high;
  SIGRUN_INLINE Bytes Bounded(Bytes x) const { return MinSigned(MaxSigned(x, low), high) ^ flip; }
};

// kVectors vectors of channels together: with one, the walk over the window would take longer than the bytes.
template <int kVectors>
SIGRUN_INLINE void MaxOfTaps(const Window& w, int32_t channel, uint8_t* out, const MaxEnd& end) {
  Bytes best[kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) best[v] = SetBytes(0x80);
  ForEachTap(w, [&](const uint8_t* p) SIGRUN_INLINE_LAMBDA {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) best[v] = MaxSigned(best[v], Load(p + channel + v * kBytes) ^ end.flip);
  });
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) Store(out + channel + v * kBytes, end.Bounded(best[v]));
}

template <class T>
void MaxPool(const ConvShape& s, const T* input, T* output, int32_t min, int32_t max, Range lines) {
  constexpr uint8_t kFlip = static_cast<T>(-1) < 0 ? 0 : 0x80;
  const MaxEnd end = {SetBytes(kFlip), SetBytes(static_cast<uint8_t>(min) ^ kFlip), SetBytes(static_cast<uint8_t>(max) ^ kFlip)};
  ForEachWindow(s, reinterpret_cast<const uint8_t*>(input), reinterpret_cast<uint8_t*>(output), lines,
                [=](const Window& w, uint8_t* out, int32_t channels) SIGRUN_INLINE_LAMBDA {
                  if (channels < kBytes) {
                    uint8_t lanes[kBytes];
                    Bytes best = SetBytes(0x80);
                    ForEachTap(w, [&](const uint8_t* p) SIGRUN_INLINE_LAMBDA { best = MaxSigned(best, LoadFew(p, channels) ^ end.flip); });
                    Store(lanes, end.Bounded(best));
                    CopyFew(out, lanes, channels);
                    return;
                  }
                  int32_t c = 0;
                  for (; c + 4 * kBytes <= channels; c += 4 * kBytes) MaxOfTaps<4>(w, c, out, end);
                  for (; c + 2 * kBytes <= channels; c += 2 * kBytes) MaxOfTaps<2>(w, c, out, end);
                  for (; c < channels; c += kBytes) MaxOfTaps<1>(w, c + kBytes <= channels ? c : channels - kBytes, out, end);
                });
}

// sum / count rounded half away from zero. With |sum| + count / 2 < 2^24 the float quotient never reaches the integer above the true one.
SIGRUN_INLINE I32 Means(I32 sums, int32_t count, int32_t min, int32_t max) {
  const F32 divisor = Set1(static_cast<float>(count < 1 ? 1 : count)), half = Set1(static_cast<float>(count / 2)), sum = ToFloat(sums);
  return Clamp(Truncate((sum + CopySign(half, sum)) / divisor), Set1(min), Set1(max));
}

template <class T>
SIGRUN_INLINE I32 Widen(Bytes x) {
  return static_cast<T>(-1) < 0 ? WidenSigned(x) : WidenUnsigned(x);
}

// A window with too many taps for exact floats.
template <class T>
void AverageOfMany(const Window& w, T* out, int32_t channels, int32_t min, int32_t max) {
  const int64_t count = static_cast<int64_t>(w.count_y) * w.count_x;
  for (int32_t c = 0; c < channels; ++c) {
    int64_t sum = 0;
    ForEachTap(w, [&](const uint8_t* p) { sum += static_cast<T>(p[c]); });
    const int64_t mean = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
    out[c] = static_cast<T>(mean < min ? min : mean > max ? max : mean);
  }
}

template <class T>
void AveragePool(const ConvShape& s, const T* input, T* output, int32_t min, int32_t max, Range lines) {
  ForEachWindow(s, reinterpret_cast<const uint8_t*>(input), reinterpret_cast<uint8_t*>(output), lines,
                [=](const Window& w, uint8_t* out, int32_t channels) SIGRUN_INLINE_LAMBDA {
                  if (static_cast<int64_t>(w.count_y) * w.count_x > 32768) {
                    return AverageOfMany(w, reinterpret_cast<T*>(out), channels, min, max);
                  }
                  const int32_t count = w.count_y * w.count_x;
                  if (channels < kLanes) {
                    I32 sums = Set1(0);
                    ForEachTap(w, [&](const uint8_t* p) SIGRUN_INLINE_LAMBDA { sums = sums + Widen<T>(LoadFew(p, channels)); });
                    return StoreLow8(out, Means(sums, count, min, max), channels);
                  }
                  for (int32_t c = 0; c < channels; c += kLanes) {
                    const int32_t at = c + kLanes <= channels ? c : channels - kLanes;
                    I32 sums = Set1(0);
                    ForEachTap(w,
                               [&](const uint8_t* p) SIGRUN_INLINE_LAMBDA { sums = sums + LoadWide(reinterpret_cast<const T*>(p + at)); });
                    StoreLow8(out + at, Means(sums, count, min, max));
                  }
                });
}

inline void OverlayPoolI8(Kernels& table) {
  table.max_pool_i8 = MaxPool<int8_t>;
  table.max_pool_u8 = MaxPool<uint8_t>;
  table.average_pool_i8 = AveragePool<int8_t>;
  table.average_pool_u8 = AveragePool<uint8_t>;
}

}  // namespace
}  // namespace sigrun::kernels
