#pragma once

#include "kernels/common/epilogue_f32.h"
#include "kernels/common/math.h"
#include "kernels/kernels.h"

// The transforms of Winograd's F(2x2, 3x3). A vector of channels takes a whole tile in registers.
namespace sigrun::kernels {
namespace {

alignas(64) constexpr float kZeroPixel[kMaxWinogradChannels] = {};

struct WinogradTile {
  int32_t image, y, x;  // y and x in tiles
};
SIGRUN_INLINE WinogradTile WinogradTileAt(const ConvShape& s, int32_t tile) {
  const int32_t columns = (s.out_width + 1) / 2, lines = (s.out_height + 1) / 2;
  return {tile / (lines * columns), tile / columns % lines, tile % columns};
}

SIGRUN_INLINE F32 LoadChannels(const float* p, int rest) { return rest >= F32::lanes ? Load(p) : LoadPartial(p, rest); }
SIGRUN_INLINE void StoreChannels(float* p, F32 x, int rest) {
  if (rest >= F32::lanes) {
    Store(p, x);
  } else {
    StorePartial(p, x, rest);
  }
}

SIGRUN_INLINE void WinogradInputVector(const float* const (&pixels)[16], ptrdiff_t c, int rest, float* to, ptrdiff_t plane) {
  F32 t[4][4];
  SIGRUN_UNROLL
  for (int j = 0; j < 4; ++j) {
    const F32 d0 = LoadChannels(pixels[j] + c, rest), d1 = LoadChannels(pixels[4 + j] + c, rest);
    const F32 d2 = LoadChannels(pixels[8 + j] + c, rest), d3 = LoadChannels(pixels[12 + j] + c, rest);
    t[0][j] = d0 - d2;
    t[1][j] = d1 + d2;
    t[2][j] = d2 - d1;
    t[3][j] = d1 - d3;
  }
  SIGRUN_UNROLL
  for (int i = 0; i < 4; ++i, to += 4 * plane) {
    StoreChannels(to, t[i][0] - t[i][2], rest);
    StoreChannels(to + plane, t[i][1] + t[i][2], rest);
    StoreChannels(to + 2 * plane, t[i][2] - t[i][1], rest);
    StoreChannels(to + 3 * plane, t[i][1] - t[i][3], rest);
  }
}

void WinogradInputF32(const ConvShape& s, const float* input, float* to, ptrdiff_t plane, Range tiles) {
  const ptrdiff_t channels = s.in_channels;
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile, to += channels) {
    const WinogradTile at = WinogradTileAt(s, tile);
    const int32_t top = at.y * 2 - s.pad_top, left = at.x * 2 - s.pad_left;
    const float* pixels[16];
    for (int32_t i = 0; i < 16; ++i) {
      const int32_t y = top + i / 4, x = left + i % 4;
      const bool inside = y >= 0 && y < s.in_height && x >= 0 && x < s.in_width;
      pixels[i] = inside ? input + ((static_cast<ptrdiff_t>(at.image) * s.in_height + y) * s.in_width + x) * channels : kZeroPixel;
    }
    ptrdiff_t c = 0;
    for (; c + F32::lanes <= channels; c += F32::lanes) WinogradInputVector(pixels, c, F32::lanes, to + c, plane);
    if (c < channels) WinogradInputVector(pixels, c, static_cast<int>(channels - c), to + c, plane);
  }
}

/// Where the four pixels of a tile go; null where there is none.
struct WinogradPixels {
  float* at[4];
  ptrdiff_t residual;  // from the output to the residual, in floats
  bool has_residual;
  F32 low, high;
  SIGRUN_INLINE void Put(int i, F32 y, ptrdiff_t c, int rest) const {
    if (at[i] == nullptr) return;
    if (has_residual) y = y + LoadChannels(at[i] + residual + c, rest);
    StoreChannels(at[i] + c, Clamp(y, low, high), rest);
  }
};

SIGRUN_INLINE void WinogradOutputVector(const float* from, ptrdiff_t plane, F32 bias, const WinogradPixels& pixels, ptrdiff_t c, int rest) {
  F32 t[2][4];
  SIGRUN_UNROLL
  for (int j = 0; j < 4; ++j, from += plane) {
    const F32 m0 = LoadChannels(from, rest), m1 = LoadChannels(from + 4 * plane, rest);
    const F32 m2 = LoadChannels(from + 8 * plane, rest), m3 = LoadChannels(from + 12 * plane, rest);
    t[0][j] = (m0 + m1) + m2;
    t[1][j] = (m1 - m2) - m3;
  }
  SIGRUN_UNROLL
  for (int i = 0; i < 2; ++i) {
    const F32 left = (t[i][0] + t[i][1]) + t[i][2], right = (t[i][1] - t[i][2]) - t[i][3];
    pixels.Put(2 * i, left + bias, c, rest);
    pixels.Put(2 * i + 1, right + bias, c, rest);
  }
}

void WinogradOutputF32(const ConvShape& s, const float* from, ptrdiff_t plane, const float* bias, float* output,
                       const EpilogueF32& epilogue, Range tiles) {
  const ClampF32 clamp = StoreClamp(epilogue);
  const ptrdiff_t channels = s.out_channels;
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile, from += channels) {
    const WinogradTile at = WinogradTileAt(s, tile);
    WinogradPixels pixels;
    pixels.residual = epilogue.residual == nullptr ? 0 : epilogue.residual - output;
    pixels.has_residual = epilogue.residual != nullptr;
    pixels.low = Set1(clamp.min);
    pixels.high = Set1(clamp.max);
    for (int32_t i = 0; i < 4; ++i) {
      const int32_t y = at.y * 2 + i / 2, x = at.x * 2 + i % 2;
      const ptrdiff_t position = (static_cast<ptrdiff_t>(at.image) * s.out_height + y) * s.out_width + x;
      pixels.at[i] = y < s.out_height && x < s.out_width ? output + position * channels : nullptr;
    }
    ptrdiff_t c = 0;
    for (; c + F32::lanes <= channels; c += F32::lanes) {
      WinogradOutputVector(from + c, plane, Load(bias + c), pixels, c, F32::lanes);
    }
    const int rest = static_cast<int>(channels - c);
    if (rest > 0) WinogradOutputVector(from + c, plane, LoadPartial(bias + c, rest), pixels, c, rest);
    if (epilogue.activation == ActivationF32::kNone) continue;
    for (float* pixel : pixels.at) {
      if (pixel != nullptr) ActivateRows(epilogue, pixel, 0, 1, s.out_channels, 0);
    }
  }
}

void OverlayWinograd(Kernels& t) {
  t.winograd_input_f32 = WinogradInputF32;
  t.winograd_output_f32 = WinogradOutputF32;
}

}  // namespace
}  // namespace sigrun::kernels
