#pragma once

#include "kernels/kernels.h"

namespace sigrun::kernels {

inline constexpr int32_t kWinogradLinePoints = 6;

/// How Winograd's F(7 - taps, taps) takes a convolution with a window of one line, in which a stride or a dilation may be above 1 but not
/// both. The window is cut into parts of `taps` taps (the last ones filled up with zeros) that lie `input_step` pixels apart; the parts of a
/// tile stand side by side as if they were channels. The pixels of a tile are those of the output that lie `output_step` apart.
struct WinogradLines {
  int32_t taps, pixels, parts;
  int32_t stride, input_step, output_step;
  int32_t line_tiles;  // of a line of the output

  [[gnu::always_inline]] constexpr WinogradLines(const ConvShape& s, int32_t taps_of_part)
      : taps(taps_of_part),
        pixels(kWinogradLinePoints + 1 - taps_of_part),
        parts(s.stride_w * (((s.kernel_width + s.stride_w - 1) / s.stride_w + taps_of_part - 1) / taps_of_part)),
        stride(s.stride_w),
        input_step(s.stride_w == 1 ? s.dilation_w : s.stride_w),
        output_step(s.stride_w == 1 ? s.dilation_w : 1),
        line_tiles(output_step * (((s.out_width + output_step - 1) / output_step + pixels - 1) / pixels)) {}

  /// Tap i of a part is this tap of the window, which may lie behind its end ...
  [[gnu::always_inline]] constexpr int32_t Tap(int32_t part, int32_t i) const { return part % stride + stride * (part / stride * taps + i); }
  /// ... and a part begins so many pixels of the input behind the window.
  [[gnu::always_inline]] constexpr int32_t Offset(int32_t part) const { return part % stride + part / stride * taps * input_step; }
  /// The first pixel of a tile in its line of the output. There may be none left for a tile: it is behind the line then.
  [[gnu::always_inline]] constexpr int32_t FirstPixel(int32_t tile_of_line) const {
    return tile_of_line % output_step + tile_of_line / output_step * pixels * output_step;
  }
};

}  // namespace sigrun::kernels
