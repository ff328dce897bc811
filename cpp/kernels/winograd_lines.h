#pragma once

#include "kernels/kernels.h"
#include "kernels/strided_tiles.h"

namespace sigrun::kernels {

inline constexpr int32_t kWinogradLinePoints = 6;

/// How Winograd's F(7 - taps, taps) takes a convolution with a window of one line, or of one column where that is higher than wide: lines
/// are columns then. Along the window a stride or a dilation may be above 1 but not both. The window is cut into parts of `taps` taps (the
/// last ones filled up with zeros) that lie `input_step` pixels apart; the parts of a tile stand side by side as if they were channels. The
/// tiles lie along the lines of the output.
struct WinogradLines {
  bool columns;
  int32_t taps, parts, window;
  int32_t stride, pad, in_length, out_length;              // along the lines
  int32_t across_stride, across_pad, in_lines, out_lines;  // of an image
  int32_t input_step;
  StridedTiles along;
  int32_t line_tiles;  // of a line of the output

  [[gnu::always_inline]] constexpr WinogradLines(const ConvShape& s, int32_t taps_of_part)
      : columns(s.kernel_height > s.kernel_width),
        taps(taps_of_part),
        window(columns ? s.kernel_height : s.kernel_width),
        stride(columns ? s.stride_h : s.stride_w),
        pad(columns ? s.pad_top : s.pad_left),
        in_length(columns ? s.in_height : s.in_width),
        out_length(columns ? s.out_height : s.out_width),
        across_stride(columns ? s.stride_w : s.stride_h),
        across_pad(columns ? s.pad_left : s.pad_top),
        in_lines(columns ? s.in_width : s.in_height),
        out_lines(columns ? s.out_width : s.out_height) {
    const int32_t dilation = columns ? s.dilation_h : s.dilation_w;
    parts = stride * (((window + stride - 1) / stride + taps - 1) / taps);
    input_step = stride == 1 ? dilation : stride;
    along = {kWinogradLinePoints + 1 - taps, stride == 1 ? dilation : 1};
    line_tiles = along.Count(out_length);
  }

  /// Tap i of a part is this tap of the window, which may lie behind its end ...
  [[gnu::always_inline]] constexpr int32_t Tap(int32_t part, int32_t i) const {
    return part % stride + stride * (part / stride * taps + i);
  }
  /// ... and a part begins so many pixels of the input behind the window.
  [[gnu::always_inline]] constexpr int32_t Offset(int32_t part) const { return part % stride + part / stride * taps * input_step; }
  /// Where pixel `at` of a line of an image stands among the pixels of all images.
  [[gnu::always_inline]] constexpr ptrdiff_t InputPixel(int32_t image, int32_t line, int32_t at) const {
    return columns ? (static_cast<ptrdiff_t>(image) * in_length + at) * in_lines + line
                   : (static_cast<ptrdiff_t>(image) * in_lines + line) * in_length + at;
  }
  /// The same of the output, whose lines are counted through all images.
  [[gnu::always_inline]] constexpr ptrdiff_t OutputPixel(int32_t line, int32_t at) const {
    return columns ? (static_cast<ptrdiff_t>(line / out_lines) * out_length + at) * out_lines + line % out_lines
                   : static_cast<ptrdiff_t>(line) * out_length + at;
  }
};

}  // namespace sigrun::kernels
