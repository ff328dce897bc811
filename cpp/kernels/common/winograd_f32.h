#pragma once

#include "kernels/common/epilogue_f32.h"
#include "kernels/common/gemm_f32.h"
#include "kernels/common/math.h"
#include "kernels/kernels.h"
#include "kernels/winograd_squares.h"

namespace sigrun::kernels {
namespace {

SIGRUN_INLINE F32 operator*(F32 x, float s) { return x * Set1(s); }
SIGRUN_INLINE F32 AddScaled(F32 a, float s, F32 b) { return Fma(Set1(s), b, a); }

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/winograd_transform.h"

// The transforms of Winograd's F(m x m, 3x3), m = 2 or 4. A vector of channels takes a whole tile in registers, as far as there are so
// many; what is written to 36 planes comes back from L2 in the order in which the products read it, and each panel's tiles fetch the next.
// On one core of a Zen 5, counted as the direct convolution, whose limit is 268 GFLOP/s: 56x56x64 650, 28x28x128 740, 14x14x256 460 to 640
// (its weights come from memory), 7x7x512 360.
namespace sigrun::kernels {
namespace {

alignas(64) constexpr float kZeroPixel[kMaxWinogradChannels] = {};

SIGRUN_INLINE F32 LoadChannels(const float* p, int rest) { return rest >= F32::lanes ? Load(p) : LoadPartial(p, rest); }
SIGRUN_INLINE void StoreChannels(float* p, F32 x, int rest) {
  if (rest >= F32::lanes) {
    Store(p, x);
  } else {
    StorePartial(p, x, rest);
  }
}

template <int kSide>
SIGRUN_INLINE void WinogradInputVector(const float* const (&pixels)[kSide * kSide], ptrdiff_t c, int rest, float* to, ptrdiff_t plane) {
  F32 half[kSide][kSide];
  SIGRUN_UNROLL
  for (int j = 0; j < kSide; ++j) {
    F32 column[kSide], t[kSide];
    SIGRUN_UNROLL
    for (int i = 0; i < kSide; ++i) column[i] = LoadChannels(pixels[i * kSide + j] + c, rest);
    WinogradTransformInput(column, t);
    SIGRUN_UNROLL
    for (int i = 0; i < kSide; ++i) half[i][j] = t[i];
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kSide; ++i) {
    F32 t[kSide];
    WinogradTransformInput(half[i], t);
    SIGRUN_UNROLL
    for (int j = 0; j < kSide; ++j, to += plane) StoreChannels(to, t[j], rest);
  }
}

template <int kOut>
void WinogradInput(const ConvShape& s, const float* input, float* to, ptrdiff_t plane, Range tiles) {
  constexpr int kSide = kOut + 2;
  const ptrdiff_t channels = s.in_channels;
  const WinogradSquares squares(s, kOut);
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile, to += channels) {
    const int32_t image = squares.Image(tile), top = squares.Line(tile) - s.pad_top, left = squares.Column(tile) - s.pad_left;
    const float* pixels[kSide * kSide];
    for (int32_t i = 0; i < kSide * kSide; ++i) {
      const int32_t y = top + i / kSide * s.dilation_h, x = left + i % kSide * s.dilation_w;
      const bool inside = y >= 0 && y < s.in_height && x >= 0 && x < s.in_width;
      pixels[i] = inside ? input + ((static_cast<ptrdiff_t>(image) * s.in_height + y) * s.in_width + x) * channels : kZeroPixel;
    }
    ptrdiff_t c = 0;
    for (; c + F32::lanes <= channels; c += F32::lanes) WinogradInputVector<kSide>(pixels, c, F32::lanes, to + c, plane);
    if (c < channels) WinogradInputVector<kSide>(pixels, c, static_cast<int>(channels - c), to + c, plane);
  }
}

/// Where the pixels of a tile go; null where there is none.
template <int kCount>
struct WinogradPixels {
  float* at[kCount];
  ptrdiff_t residual;  // from the output to the residual, in floats
  bool has_residual;
  F32 low, high;

  WinogradPixels(const EpilogueF32& e, const float* output)
      : residual(e.residual == nullptr ? 0 : e.residual - output),
        has_residual(e.residual != nullptr),
        low(Set1(StoreClamp(e).min)),
        high(Set1(StoreClamp(e).max)) {}
  SIGRUN_INLINE void Put(int i, F32 y, ptrdiff_t c, int rest) const {
    if (at[i] == nullptr) return;
    if (has_residual) y = y + LoadChannels(at[i] + residual + c, rest);
    StoreChannels(at[i] + c, Clamp(y, low, high), rest);
  }
  // After all channels are put.
  SIGRUN_INLINE void Activate(const EpilogueF32& e, int32_t channels) const {
    if (e.activation == ActivationF32::kNone) return;
    for (float* pixel : at) {
      if (pixel != nullptr) ActivateRows(e, pixel, 0, 1, channels, 0);
    }
  }
};

template <int kOut>
SIGRUN_INLINE void WinogradOutputVector(const float* from, ptrdiff_t plane, F32 bias, const WinogradPixels<kOut * kOut>& pixels,
                                        ptrdiff_t c, int rest) {
  constexpr int kSide = kOut + 2;
  F32 half[kOut][kSide];
  SIGRUN_UNROLL
  for (int j = 0; j < kSide; ++j) {
    F32 column[kSide], y[kOut];
    SIGRUN_UNROLL
    for (int i = 0; i < kSide; ++i) column[i] = LoadChannels(from + (i * kSide + j) * plane, rest);
    WinogradTransformOutput(column, y);
    SIGRUN_UNROLL
    for (int i = 0; i < kOut; ++i) half[i][j] = y[i];
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kOut; ++i) {
    F32 y[kOut];
    WinogradTransformOutput(half[i], y);
    SIGRUN_UNROLL
    for (int j = 0; j < kOut; ++j) pixels.Put(i * kOut + j, y[j] + bias, c, rest);
  }
}

template <int kOut>
void WinogradOutput(const ConvShape& s, const float* from, ptrdiff_t plane, const float* bias, float* output, const EpilogueF32& epilogue,
                    Range tiles) {
  const ptrdiff_t channels = s.out_channels;
  const WinogradSquares squares(s, kOut);
  WinogradPixels<kOut * kOut> pixels(epilogue, output);
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile, from += channels) {
    const int32_t image = squares.Image(tile), top = squares.Line(tile), left = squares.Column(tile);
    for (int32_t i = 0; i < kOut * kOut; ++i) {
      const int32_t y = top + i / kOut * s.dilation_h, x = left + i % kOut * s.dilation_w;
      const ptrdiff_t position = (static_cast<ptrdiff_t>(image) * s.out_height + y) * s.out_width + x;
      pixels.at[i] = y < s.out_height && x < s.out_width ? output + position * channels : nullptr;
    }
    ptrdiff_t c = 0;
    for (; c + F32::lanes <= channels; c += F32::lanes) {
      WinogradOutputVector<kOut>(from + c, plane, Load(bias + c), pixels, c, F32::lanes);
    }
    const int rest = static_cast<int>(channels - c);
    if (rest > 0) WinogradOutputVector<kOut>(from + c, plane, LoadPartial(bias + c, rest), pixels, c, rest);
    pixels.Activate(epilogue, s.out_channels);
  }
}

void WinogradInputF32(const ConvShape& s, int32_t m, const float* input, float* to, ptrdiff_t plane, Range tiles) {
  return m == 2 ? WinogradInput<2>(s, input, to, plane, tiles) : WinogradInput<4>(s, input, to, plane, tiles);
}

void WinogradOutputF32(const ConvShape& s, int32_t m, const float* from, ptrdiff_t plane, const float* bias, float* output,
                       const EpilogueF32& epilogue, Range tiles) {
  return m == 2 ? WinogradOutput<2>(s, from, plane, bias, output, epilogue, tiles)
                : WinogradOutput<4>(s, from, plane, bias, output, epilogue, tiles);
}

// A block of filters by vectors of input channels: the transformed values of kBlock input channels for a panel of outputs, turned from
// [channel of the output][of the input] to the order of a panel.
template <int kOut>
SIGRUN_INLINE void WinogradFilterVector(const float* taps, ptrdiff_t tap_stride, int rest, float* to, ptrdiff_t plane) {
  constexpr int kSide = kOut + 2;
  F32 half[kSide][3];
  SIGRUN_UNROLL
  for (int j = 0; j < 3; ++j) {
    F32 column[3], u[kSide];
    SIGRUN_UNROLL
    for (int i = 0; i < 3; ++i) column[i] = LoadChannels(taps + (i * 3 + j) * tap_stride, rest);
    WinogradTransformFilter(column, u);
    SIGRUN_UNROLL
    for (int i = 0; i < kSide; ++i) half[i][j] = u[i];
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kSide; ++i) {
    F32 u[kSide];
    WinogradTransformFilter(half[i], u);
    SIGRUN_UNROLL
    for (int j = 0; j < kSide; ++j, to += plane) Store(to, u[j]);
  }
}

// Panels as PackF32 makes them for every point, by way of a block [point][output channel][lane] that stays in L1 and L2.
template <int kOut>
void PackWinograd(int32_t k, int32_t n, const float* filter, float* packed) {
  constexpr int kPoints = (kOut + 2) * (kOut + 2);
  constexpr ptrdiff_t kBlock = ptrdiff_t{kPanel} * F32::lanes;
  alignas(64) float block[kPoints * kBlock];
  const ptrdiff_t point_floats = static_cast<ptrdiff_t>(PackF32Bytes(k, n) / sizeof(float));
  for (int32_t first = 0; first < n; first += kPanel) {
    const int32_t width = PanelWidth(n - first), count = n - first < width ? n - first : width;
    float* panel = packed + static_cast<ptrdiff_t>(first) * (k + 1);
    for (int32_t c = -1; c < k; c = c < 0 ? 0 : c + F32::lanes) {
      if (c >= 0) {
        const int32_t rest = k - c < F32::lanes ? k - c : F32::lanes;
        for (int32_t j = 0; j < count; ++j) {
          WinogradFilterVector<kOut>(filter + static_cast<ptrdiff_t>(first + j) * 9 * k + c, k, rest, block + j * F32::lanes, kBlock);
        }
      }
      const int32_t lines = c < 0 ? 1 : k - c < F32::lanes ? k - c : F32::lanes;
      for (int point = 0; point < kPoints; ++point) {
        float* to = panel + point * point_floats + static_cast<ptrdiff_t>(c + 1) * width;
        const float* from = block + point * kBlock;
        for (int32_t i = 0; i < lines; ++i, to += width) {
          for (int32_t j = 0; j < width; ++j) to[j] = c < 0 || j >= count ? 0.0f : from[j * F32::lanes + i];
        }
      }
    }
  }
}

size_t PackWinogradF32Bytes(int32_t m, int32_t k, int32_t n) { return static_cast<size_t>((m + 2) * (m + 2)) * PackF32Bytes(k, n); }

void PackWinogradF32(int32_t m, int32_t k, int32_t n, const float* filter, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  return m == 2 ? PackWinograd<2>(k, n, filter, to) : PackWinograd<4>(k, n, filter, to);
}

// One product a point. The tiles are taken directly: a call of the convolution would cost a tenth of so small a product.
void WinogradMultiplyF32(int32_t k, int32_t n, int32_t tiles, const float* from, ptrdiff_t from_plane, const std::byte* packed, float* to,
                         ptrdiff_t to_plane, Range points) {
  static constexpr EpilogueF32 kPlain;
  constexpr int32_t kRows = kTileRows * 16;
  const size_t point_bytes = PackF32Bytes(k, n);
  from += points.begin * from_plane;
  to += points.begin * to_plane;
  packed += static_cast<size_t>(points.begin) * point_bytes;
  for (int32_t point = points.begin; point < points.end; ++point, from += from_plane, to += to_plane, packed += point_bytes) {
    for (int32_t row = 0; row < tiles; row += kRows) {
      const Block block(tiles - row < kRows ? tiles - row : kRows);
      const float* pointers[kRows];
      for (int32_t i = 0; i < block.rows; ++i) pointers[i] = from + static_cast<ptrdiff_t>(row + i) * k;
      const std::byte* panel = packed;
      for (int32_t first = 0; first < n; first += kPanel) {
        const int32_t width = PanelWidth(n - first), channels = n - first < width ? n - first : width;
        float* output = to + static_cast<ptrdiff_t>(row) * n + first;
        Tile t = {{panel, width * PanelBytes<float>(k), output, n, channels, true, true, &kPlain, 0, first},
                  pointers,
                  1,
                  k,
                  panel + width * PanelBytes<float>(0),
                  0};
        LookAhead(t, block, panel + t.sums.panel_bytes, width * static_cast<ptrdiff_t>(sizeof(float)));
        for (int32_t tile = 0; tile < block.tiles; ++tile) {
          const int32_t height = block.Height(tile);
          ChooseTile<float>(height, width, 1)(t);
          t.pointers += height;
          t.sums.output += static_cast<ptrdiff_t>(height) * n;
          t.ahead += k / 4 * t.ahead_bytes;
        }
        panel += t.sums.panel_bytes;
      }
    }
  }
}

void OverlayWinograd(Kernels& t) {
  t.pack_winograd_f32_bytes = PackWinogradF32Bytes;
  t.pack_winograd_f32 = PackWinogradF32;
  t.winograd_input_f32 = WinogradInputF32;
  t.winograd_multiply_f32 = WinogradMultiplyF32;
  t.winograd_output_f32 = WinogradOutputF32;
}

}  // namespace
}  // namespace sigrun::kernels
