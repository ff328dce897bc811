#pragma once

#include "kernels/common/winograd_f32.h"
#include "kernels/winograd_lines.h"

// Winograd's F(7 - taps, taps) along lines: six products for 4, 3 or 2 pixels where the window has 3, 4 or 5 taps, or parts of so many.
// Planes are those of the transform over squares, and so is the trick. On one core of a Zen 5, counted as the direct convolution, whose
// limit is 268 GFLOP/s: 1x128x64 with 3 taps 400, 1x98x64 with 5 taps 330.
namespace sigrun::kernels {
namespace {

size_t PackWinogradLineF32Bytes(const ConvShape& s, int32_t taps) {
  return kWinogradLinePoints * PackF32Bytes(WinogradLines(s, taps).parts * s.in_channels, s.out_channels);
}

// The transformed values of one output channel of a panel, for all input channels of a part.
template <int kTaps>
void PackWinogradLinePart(const ConvShape& s, const WinogradLines& lines, int32_t part, const float* filter, float* to, int32_t width,
                          ptrdiff_t point_floats) {
  for (int32_t c = 0; c < s.in_channels; c += F32::lanes) {
    const int32_t rest = s.in_channels - c < F32::lanes ? s.in_channels - c : F32::lanes;
    F32 g[kTaps], u[kWinogradLinePoints];
    for (int32_t i = 0; i < kTaps; ++i) {
      const int32_t tap = lines.Tap(part, i);
      g[i] = tap < lines.window ? LoadChannels(filter + static_cast<ptrdiff_t>(tap) * s.in_channels + c, rest) : Set1(0.0f);
    }
    WinogradTransformFilter(g, u);
    for (int32_t point = 0; point < kWinogradLinePoints; ++point) {
      float values[F32::lanes];
      Store(values, u[point]);
      for (int32_t i = 0; i < rest; ++i) to[point * point_floats + static_cast<ptrdiff_t>(c + i) * width] = values[i];
    }
  }
}

template <int kTaps>
void PackWinogradLine(const ConvShape& s, const float* filters, float* packed) {
  const WinogradLines lines(s, kTaps);
  const ptrdiff_t k = static_cast<ptrdiff_t>(lines.parts) * s.in_channels;
  const size_t point_bytes = PackF32Bytes(static_cast<int32_t>(k), s.out_channels);
  const ptrdiff_t point_floats = static_cast<ptrdiff_t>(point_bytes / sizeof(float));
  memset(packed, 0, kWinogradLinePoints * point_bytes);
  for (int32_t n = 0; n < s.out_channels; ++n) {
    const int32_t first = n / kPanel * kPanel, width = PanelWidth(s.out_channels - first);
    float* to = packed + first * (k + 1) + width + n - first;  // behind the bias, which stays 0
    for (int32_t part = 0; part < lines.parts; ++part, to += static_cast<ptrdiff_t>(s.in_channels) * width) {
      PackWinogradLinePart<kTaps>(s, lines, part, filters + static_cast<ptrdiff_t>(n) * lines.window * s.in_channels, to, width,
                                  point_floats);
    }
  }
}

void PackWinogradLineF32(const ConvShape& s, int32_t taps, const float* filters, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  return taps == 3   ? PackWinogradLine<3>(s, filters, to)
         : taps == 4 ? PackWinogradLine<4>(s, filters, to)
                     : PackWinogradLine<5>(s, filters, to);
}

SIGRUN_INLINE void WinogradLineInputVector(const float* const (&pixels)[kWinogradLinePoints], ptrdiff_t c, int rest, float* to,
                                           ptrdiff_t plane) {
  F32 d[kWinogradLinePoints], t[kWinogradLinePoints];
  SIGRUN_UNROLL
  for (int i = 0; i < kWinogradLinePoints; ++i) d[i] = LoadChannels(pixels[i] + c, rest);
  WinogradTransformInput(d, t);
  SIGRUN_UNROLL
  for (int i = 0; i < kWinogradLinePoints; ++i) StoreChannels(to + i * plane + c, t[i], rest);
}

void WinogradLineInputF32(const ConvShape& s, int32_t taps, const float* input, float* to, ptrdiff_t plane, Range tiles) {
  const WinogradLines lines(s, taps);
  const ptrdiff_t channels = s.in_channels;
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int32_t line = tile / lines.line_tiles, image = line / lines.out_lines;
    const int32_t y = line % lines.out_lines * lines.across_stride - lines.across_pad;
    const int32_t left = lines.along.First(tile % lines.line_tiles) * lines.stride - lines.pad;
    const bool line_inside = y >= 0 && y < lines.in_lines;
    for (int32_t part = 0; part < lines.parts; ++part, to += channels) {
      const float* pixels[kWinogradLinePoints];
      for (int32_t i = 0; i < kWinogradLinePoints; ++i) {
        const int32_t x = left + lines.Offset(part) + i * lines.input_step;
        pixels[i] = line_inside && x >= 0 && x < lines.in_length ? input + lines.InputPixel(image, y, x) * channels : kZeroPixel;
      }
      ptrdiff_t c = 0;
      for (; c + F32::lanes <= channels; c += F32::lanes) WinogradLineInputVector(pixels, c, F32::lanes, to, plane);
      if (c < channels) WinogradLineInputVector(pixels, c, static_cast<int>(channels - c), to, plane);
    }
  }
}

template <int kPixels>
SIGRUN_INLINE void WinogradLineOutputVector(const float* from, ptrdiff_t plane, F32 bias, const WinogradPixels<kPixels>& pixels,
                                            ptrdiff_t c, int rest) {
  F32 sums[kWinogradLinePoints], y[kPixels];
  SIGRUN_UNROLL
  for (int i = 0; i < kWinogradLinePoints; ++i) sums[i] = LoadChannels(from + i * plane, rest);
  WinogradTransformOutput(sums, y);
  SIGRUN_UNROLL
  for (int i = 0; i < kPixels; ++i) pixels.Put(i, y[i] + bias, c, rest);
}

template <int kPixels>
void WinogradLineOutput(const ConvShape& s, const float* from, ptrdiff_t plane, const float* bias, float* output,
                        const EpilogueF32& epilogue, Range tiles) {
  const WinogradLines lines(s, kWinogradLinePoints + 1 - kPixels);
  const ptrdiff_t channels = s.out_channels;
  WinogradPixels<kPixels> pixels(epilogue, output);
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile, from += channels) {
    const int32_t line = tile / lines.line_tiles, first = lines.along.First(tile % lines.line_tiles);
    for (int32_t i = 0; i < kPixels; ++i) {
      const int32_t x = first + i * lines.along.step;
      pixels.at[i] = x < lines.out_length ? output + lines.OutputPixel(line, x) * channels : nullptr;
    }
    ptrdiff_t c = 0;
    for (; c + F32::lanes <= channels; c += F32::lanes) WinogradLineOutputVector(from + c, plane, Load(bias + c), pixels, c, F32::lanes);
    const int rest = static_cast<int>(channels - c);
    if (rest > 0) WinogradLineOutputVector(from + c, plane, LoadPartial(bias + c, rest), pixels, c, rest);
    pixels.Activate(epilogue, s.out_channels);
  }
}

void WinogradLineOutputF32(const ConvShape& s, int32_t taps, const float* from, ptrdiff_t plane, const float* bias, float* output,
                           const EpilogueF32& epilogue, Range tiles) {
  return taps == 3   ? WinogradLineOutput<4>(s, from, plane, bias, output, epilogue, tiles)
         : taps == 4 ? WinogradLineOutput<3>(s, from, plane, bias, output, epilogue, tiles)
                     : WinogradLineOutput<2>(s, from, plane, bias, output, epilogue, tiles);
}

void OverlayWinogradLine(Kernels& t) {
  t.pack_winograd_line_f32_bytes = PackWinogradLineF32Bytes;
  t.pack_winograd_line_f32 = PackWinogradLineF32;
  t.winograd_line_input_f32 = WinogradLineInputF32;
  t.winograd_line_output_f32 = WinogradLineOutputF32;
}

}  // namespace
}  // namespace sigrun::kernels
