#pragma once

#include "kernels/common/inline.h"
#include "kernels/kernels.h"

// Where a sliding window meets the image.
namespace sigrun::kernels {
namespace {

/// The taps k of a window with 0 <= origin + k * dilation < size: begin <= end, equal if there are none.
SIGRUN_INLINE Range TapsInside(int32_t origin, int32_t dilation, int32_t taps, int32_t size) {
  int32_t begin = origin < 0 ? (-origin + dilation - 1) / dilation : 0;
  int32_t end = origin < size ? (size - origin + dilation - 1) / dilation : 0;
  if (begin > taps) begin = taps;
  if (end > taps) end = taps;
  if (end < begin) end = begin;
  return {begin, end};
}

/// The output positions x in [0, out) whose whole window lies inside: 0 <= x * stride - pad and its last tap < size.
SIGRUN_INLINE Range WholeWindows(int32_t pad, int32_t stride, int32_t dilation, int32_t taps, int32_t size, int32_t out) {
  const int32_t last = size - 1 - (taps - 1) * dilation + pad;
  int32_t begin = pad > 0 ? (pad + stride - 1) / stride : 0;
  int32_t end = last >= 0 ? last / stride + 1 : 0;
  if (begin > out) begin = out;
  if (end > out) end = out;
  if (end < begin) end = begin;
  return {begin, end};
}

/// True if rows of A are the pixels of the input, one after the other.
SIGRUN_INLINE bool IsMatrix(const ConvShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 && s.out_height == s.in_height &&
         s.out_width == s.in_width;
}

/// Rows of a block where `count` rows take as few as possible of at most `most`: all about the same, since each reads all weights, and
/// whole units where these are no more than `most`.
SIGRUN_INLINE int32_t EvenRows(int32_t count, int32_t most, int32_t unit) {
  const int32_t blocks = (count + most - 1) / most, least = (count + blocks - 1) / blocks, even = (least + unit - 1) / unit * unit;
  return even < most ? even : most;
}

}  // namespace
}  // namespace sigrun::kernels
