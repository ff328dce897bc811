#pragma once

#include "kernels/common/math.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// Pooling over NHWC: a few vectors of channels walk the window in the order of the specification, so that sums have the same bits.
namespace sigrun::kernels {
namespace {

struct MaxPool {
  static SIGRUN_INLINE F32 Initial() { return Set1(-kInfinity); }
  static SIGRUN_INLINE F32 Step(F32 sum, F32 x) { return Max(x, sum); }
  static SIGRUN_INLINE F32 Finish(F32 sum, float) { return sum; }
};
struct AveragePool {
  static SIGRUN_INLINE F32 Initial() { return Set1(0.0f); }
  static SIGRUN_INLINE F32 Step(F32 sum, F32 x) { return sum + x; }
  static SIGRUN_INLINE F32 Finish(F32 sum, float count) { return sum / Set1(count); }
};

/// The part of a window that lies in the image, from its first tap.
struct Window {
  const float* first;
  ptrdiff_t line_stride, pixel_stride;
  int32_t height, width;
};

template <class Pool, int kVectors>
SIGRUN_INLINE void PoolChannels(const Window& w, ptrdiff_t c, float* out, F32 low, F32 high) {
  F32 sum[kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) sum[v] = Pool::Initial();
  for (int32_t y = 0; y < w.height; ++y) {
    const float* p = w.first + y * w.line_stride + c;
    for (int32_t x = 0; x < w.width; ++x, p += w.pixel_stride) {
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[v] = Pool::Step(sum[v], Load(p + v * F32::lanes));
    }
  }
  const float count = static_cast<float>(w.height * w.width);
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) Store(out + c + v * F32::lanes, Clamp(Pool::Finish(sum[v], count), low, high));
}

template <class Pool>
SIGRUN_INLINE void PoolLastChannels(const Window& w, ptrdiff_t c, int rest, float* out, F32 low, F32 high) {
  F32 sum = Pool::Initial();
  for (int32_t y = 0; y < w.height; ++y) {
    const float* p = w.first + y * w.line_stride + c;
    for (int32_t x = 0; x < w.width; ++x, p += w.pixel_stride) sum = Pool::Step(sum, LoadPartial(p, rest));
  }
  const float count = static_cast<float>(w.height * w.width);
  StorePartial(out + c, Clamp(Pool::Finish(sum, count), low, high), rest);
}

template <class Pool>
SIGRUN_INLINE void PoolPixel(const Window& w, ptrdiff_t channels, float* out, F32 low, F32 high) {
  constexpr ptrdiff_t lanes = F32::lanes;
  if (w.height <= 0 || w.width <= 0) {
    for (ptrdiff_t c = 0; c < channels; ++c) out[c] = 0.0f;
    return;
  }
  ptrdiff_t c = 0;
  for (; c + 4 * lanes <= channels; c += 4 * lanes) PoolChannels<Pool, 4>(w, c, out, low, high);
  for (; c + lanes <= channels; c += lanes) PoolChannels<Pool, 1>(w, c, out, low, high);
  if (c < channels) PoolLastChannels<Pool>(w, c, static_cast<int>(channels - c), out, low, high);
}

/// Pixels [begin, end) of a line, whose windows lie in the image: without a stride, they are one pixel of many channels. Of a few channels
/// that is done with a stride as well, and the pixels between are dropped.
template <class Pool>
SIGRUN_INLINE void PoolRun(Window w, ptrdiff_t channels, int32_t stride, int32_t begin, int32_t end, float* out, F32 low, F32 high) {
  if (begin >= end) return;
  if (stride == 1) return PoolPixel<Pool>(w, (end - begin) * channels, out, low, high);
  constexpr ptrdiff_t kMost = 256;
  float run[kMost];
  const ptrdiff_t step = stride * channels, pixels = (kMost - channels) / step + 1;
  for (ptrdiff_t x = begin; x < end; x += pixels, w.first += pixels * step) {
    const ptrdiff_t count = end - x < pixels ? end - x : pixels;
    PoolPixel<Pool>(w, (count - 1) * step + channels, run, low, high);
    for (ptrdiff_t i = 0; i < count; ++i, out += channels) {
      for (ptrdiff_t c = 0; c < channels; ++c) out[c] = run[i * step + c];
    }
  }
}

template <class Pool>
void PoolF32(const ConvShape& s, const float* input, float* output, ClampF32 clamp, Range lines) {
  constexpr int32_t kWorthARun = 4;  // strides of as many pixels leave little of a run
  const F32 low = Set1(clamp.min), high = Set1(clamp.max);
  const ptrdiff_t channels = s.in_channels, line = s.in_width * channels;
  const Range whole = WholeWindows(s.pad_left, s.stride_w, s.dilation_w, s.kernel_width, s.in_width, s.out_width);
  const bool in_runs = s.stride_w == 1 || (channels < F32::lanes && s.stride_w < kWorthARun);
  for (int32_t row = lines.begin; row < lines.end; ++row) {
    const int32_t image = row / s.out_height, top = (row % s.out_height) * s.stride_h - s.pad_top;
    const Range ky = TapsInside(top, s.dilation_h, s.kernel_height, s.in_height);
    const float* first = input + (static_cast<ptrdiff_t>(image) * s.in_height + top + ky.begin * s.dilation_h) * line;
    float* out = output + static_cast<ptrdiff_t>(row) * s.out_width * channels;
    const auto window = [&](int32_t ox) {
      const int32_t left = ox * s.stride_w - s.pad_left;
      const Range kx = TapsInside(left, s.dilation_w, s.kernel_width, s.in_width);
      return Window{first + (left + kx.begin * s.dilation_w) * channels, s.dilation_h * line, s.dilation_w * channels, ky.end - ky.begin,
                    kx.end - kx.begin};
    };
    for (int32_t ox = 0; ox < s.out_width; ++ox) {
      if (in_runs && ox == whole.begin && whole.begin < whole.end) {
        PoolRun<Pool>(window(ox), channels, s.stride_w, whole.begin, whole.end, out + ox * channels, low, high);
        ox = whole.end - 1;
      } else {
        PoolPixel<Pool>(window(ox), channels, out + ox * channels, low, high);
      }
    }
  }
}

void OverlayPool(Kernels& t) {
  t.max_pool_f32 = PoolF32<MaxPool>;
  t.average_pool_f32 = PoolF32<AveragePool>;
}

}  // namespace
}  // namespace sigrun::kernels
