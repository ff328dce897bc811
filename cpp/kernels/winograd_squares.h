#pragma once

#include "kernels/kernels.h"
#include "kernels/strided_tiles.h"

namespace sigrun::kernels {

/// How Winograd's F(m x m, 3x3) takes a convolution of strides 1, whose dilations are no larger than the output: a tile is m x m pixels of
/// the output that lie a dilation apart.
struct WinogradSquares {
  StridedTiles down, across;
  int32_t lines, columns;  // of tiles of an image

  [[gnu::always_inline]] constexpr WinogradSquares(const ConvShape& s, int32_t side)
      : down{side, s.dilation_h}, across{side, s.dilation_w}, lines(down.Count(s.out_height)), columns(across.Count(s.out_width)) {}

  [[gnu::always_inline]] constexpr int32_t Image(int32_t tile) const { return tile / (lines * columns); }
  /// The first pixel of a tile in its image, or one behind it: StridedTiles::First.
  [[gnu::always_inline]] constexpr int32_t Line(int32_t tile) const { return down.First(tile / columns % lines); }
  [[gnu::always_inline]] constexpr int32_t Column(int32_t tile) const { return across.First(tile % columns); }
};

}  // namespace sigrun::kernels
