#pragma once

#include "kernels/kernels.h"

namespace sigrun::kernels {

/// How Winograd's F(m x m, 3x3) takes a convolution of strides 1, whose dilations are no larger than the output: a tile is m x m pixels of
/// the output that lie a dilation apart. All pixels that can be reached so from one another have tiles of their own, as many as the others.
struct WinogradSquares {
  int32_t m, dilation_h, dilation_w;
  int32_t lines, columns;  // of tiles of an image

  [[gnu::always_inline]] constexpr WinogradSquares(const ConvShape& s, int32_t side)
      : m(side),
        dilation_h(s.dilation_h),
        dilation_w(s.dilation_w),
        lines(Tiles(s.out_height, s.dilation_h)),
        columns(Tiles(s.out_width, s.dilation_w)) {}

  [[gnu::always_inline]] constexpr int32_t Image(int32_t tile) const { return tile / (lines * columns); }
  /// The first pixel of a tile in its image. There may be none left for a tile: it is behind the image then.
  [[gnu::always_inline]] constexpr int32_t Line(int32_t tile) const { return First(tile / columns % lines, dilation_h); }
  [[gnu::always_inline]] constexpr int32_t Column(int32_t tile) const { return First(tile % columns, dilation_w); }

 private:
  [[gnu::always_inline]] constexpr int32_t Tiles(int32_t pixels, int32_t dilation) const {
    return dilation * (((pixels + dilation - 1) / dilation + m - 1) / m);
  }
  [[gnu::always_inline]] constexpr int32_t First(int32_t tile, int32_t dilation) const {
    return tile % dilation + tile / dilation * m * dilation;
  }
};

}  // namespace sigrun::kernels
