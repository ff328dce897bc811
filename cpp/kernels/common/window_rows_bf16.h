#pragma once

#include <cstring>

#include "kernels/common/bf16.h"
#include "kernels/kernels.h"

// The rows of A of a convolution as bfloat16, over RoundRow, SplitRow and ThreeParts of a tier. Trick: the lines of the input under a block
// of rows are rounded once, with zeros where windows leave the image, and rows are gathered from these, where neighbours share most of
// their taps: one segment of all rows after the other.
namespace sigrun::kernels {
namespace {

constexpr int32_t kCopyUnit = 32;  // elements that CopyRow moves at once: it reads and writes whole units

/// Rows as bfloat16, [part][row][k]. Behind each of them are kCopyUnit elements more.
struct BlockBf16 {
  Bf16* data;
  ptrdiff_t row_stride, part_stride;
  int32_t parts;
};

SIGRUN_INLINE int32_t Within(int32_t x, int32_t n) { return x < 0 ? 0 : x < n ? x : n; }

SIGRUN_INLINE void ZeroRow(const BlockBf16& block, Bf16* to, ptrdiff_t n) {
  if (n <= 0) return;
  for (int32_t part = 0; part < block.parts; ++part) memset(to + part * block.part_stride, 0, static_cast<size_t>(n) * sizeof(Bf16));
}

template <class Three = ThreeParts>
SIGRUN_INLINE void RoundRow(const BlockBf16& block, const float* x, int32_t n, Bf16* to) {
  if constexpr (Three::kTaken) {
    if (block.parts == 3) return Three::SplitRow(x, n, to, block.part_stride);
  }
  if (block.parts == 1) {
    RoundRow(x, n, to);
  } else {
    SplitRow(x, n, to, to + block.part_stride);
  }
}

/// Elements that are bfloat16 already.
SIGRUN_INLINE void RoundRow(const BlockBf16&, const Bf16* x, int32_t n, Bf16* to) { memcpy(to, x, static_cast<size_t>(n) * sizeof(Bf16)); }

SIGRUN_INLINE void CopyRow(const Bf16* from, int32_t n, Bf16* to) {
  for (; n > 0; n -= kCopyUnit, from += kCopyUnit, to += kCopyUnit) memcpy(to, from, kCopyUnit * sizeof(Bf16));
}

/// How windows lie along one dimension: `count` of them, `step` apart among the positions that are kept, of which there are `size`. Where
/// windows leave gaps between them, the positions in the gaps are not kept.
struct WindowAxis {
  int32_t stride, extent, step, pad, count, in_size;
  int64_t size;
  WindowAxis(int32_t taps, int32_t dilation, int32_t window_stride, int32_t pad_before, int32_t out, int32_t in)
      : stride(window_stride),
        extent((taps - 1) * dilation + 1),
        step(window_stride < extent ? window_stride : extent),
        pad(pad_before),
        count(out),
        in_size(in),
        size(out == 0 ? 0 : static_cast<int64_t>(out - 1) * step + extent) {}
  /// The position in the image of one that is kept.
  SIGRUN_INLINE int32_t Origin(int64_t kept) const { return static_cast<int32_t>(kept / step * stride + kept % step) - pad; }
};

/// The lines of one group's input under a block of rows, and the rows that are gathered from them. Lines are counted through the kept ones
/// of all images.
class WindowRows {
 public:
  explicit WindowRows(const ConvShape& s)
      : s_(s),
        vertical_(s.kernel_height, s.dilation_h, s.stride_h, s.pad_top, s.out_height, s.in_height),
        horizontal_(s.kernel_width, s.dilation_w, s.stride_w, s.pad_left, s.out_width, s.in_width),
        line_stride_(static_cast<ptrdiff_t>(horizontal_.size) * s.in_channels),
        whole_(s.kernel_width == 1 || s.dilation_w == 1) {}

  /// The most elements of a part of the lines under `rows` rows.
  ptrdiff_t Elements(int64_t rows) const {
    if (s_.rows() == 0 || rows == 0) return 0;
    const int64_t lines = Touched(rows, s_.out_width, static_cast<int64_t>(s_.batch) * s_.out_height);
    const int64_t images = Touched(lines, s_.out_height, s_.batch);
    return static_cast<ptrdiff_t>(lines * vertical_.step + images * (vertical_.extent - vertical_.step)) * line_stride_ + kCopyUnit;
  }

  /// Rounds the lines under rows [row, row + rows) of the convolution.
  template <class T>
  void RoundLines(const T* input, int32_t row, int32_t rows, const BlockBf16& lines) {
    first_ = LineOf(row);
    const int64_t end = LineOf(row + rows - 1) + vertical_.extent;
    Bf16* to = lines.data;
    for (int64_t line = first_; line < end; ++line, to += line_stride_) {
      const int64_t image = line / vertical_.size;
      const int32_t y = vertical_.Origin(line % vertical_.size);
      if (y < 0 || y >= s_.in_height) {
        ZeroRow(lines, to, line_stride_);
      } else {
        RoundLine(input + (image * s_.in_height + y) * s_.in_width * Depth(), lines, to);
      }
    }
  }

  /// Elements [first, first + count) of k of the rows, and zeros up to a whole `unit`.
  void Gather(const BlockBf16& lines, int32_t row, int32_t rows, int32_t first, int32_t count, int32_t unit, const BlockBf16& block) const {
    const Segments segments(*this, first, count);
    const bool completes = count % unit != 0;
    for (int32_t part = 0; part < block.parts; ++part) {
      Bf16* to = block.data + part * block.part_stride;
      const Bf16* from = lines.data + part * lines.part_stride;
      for (int32_t done = 0; done < rows;) {  // a line of the output at a time
        const int32_t x = (row + done) % s_.out_width, n = s_.out_width - x < rows - done ? s_.out_width - x : rows - done;
        const ptrdiff_t step = static_cast<ptrdiff_t>(horizontal_.step) * s_.in_channels;
        segments.Copy(from + (LineOf(row + done) - first_) * line_stride_ + x * step, step, n, to, block.row_stride);
        for (int32_t i = 0; completes && i < n; ++i) memset(to + i * block.row_stride + count, 0, kCopyUnit * sizeof(Bf16));
        done += n;
        to += n * block.row_stride;
      }
    }
  }

 private:
  // How many intervals of `size` a run of n touches at most.
  static int64_t Touched(int64_t n, int32_t size, int64_t most) {
    const int64_t touched = (n + size - 2) / size + 1;
    return touched < most ? touched : most;
  }

  SIGRUN_INLINE ptrdiff_t Depth() const { return static_cast<ptrdiff_t>(s_.in_channels) * s_.groups; }

  // The first line under a row.
  SIGRUN_INLINE int64_t LineOf(int32_t row) const {
    const int32_t y = row / s_.out_width;
    return y / s_.out_height * vertical_.size + static_cast<int64_t>(y % s_.out_height) * vertical_.step;
  }

  template <class T>
  void RoundLine(const T* from, const BlockBf16& lines, Bf16* to) const {
    const bool whole = horizontal_.step == horizontal_.stride;
    if (whole) return RoundPixels(from, -horizontal_.pad, static_cast<int32_t>(horizontal_.size), lines, to);
    for (int32_t x = 0; x < s_.out_width; ++x, to += static_cast<ptrdiff_t>(horizontal_.extent) * s_.in_channels) {
      RoundPixels(from, x * horizontal_.stride - horizontal_.pad, horizontal_.extent, lines, to);
    }
  }

  // Pixels [x, x + count) of a line.
  template <class T>
  void RoundPixels(const T* from, int32_t x, int32_t count, const BlockBf16& lines, Bf16* to) const {
    const ptrdiff_t channels = s_.in_channels;
    const int32_t begin = Within(-x, count), end = begin + Within(s_.in_width - (x + begin), count - begin);
    ZeroRow(lines, to, begin * channels);
    from += (x + begin) * Depth();
    if (s_.groups == 1) {
      RoundRow(lines, from, (end - begin) * s_.in_channels, to + begin * channels);
    } else {
      for (int32_t i = begin; i < end; ++i, from += Depth()) RoundRow(lines, from, s_.in_channels, to + i * channels);
    }
    ZeroRow(lines, to + end * channels, (count - end) * channels);
  }

  // What a row, or a part of it, is gathered from: segments, runs that lie contiguous in the lines. Each is a whole line of the window, or
  // one tap.
  struct Segments {
    int32_t length, across, count;  // of all segments; in a line; of the elements to copy
    ptrdiff_t next_tap, next_line;
    int32_t line, tap, offset;  // where the first element stands
    Segments(const WindowRows& w, int32_t first, int32_t elements)
        : length(w.whole_ ? w.s_.kernel_width * w.s_.in_channels : w.s_.in_channels),
          across(w.whole_ ? 1 : w.s_.kernel_width),
          count(elements),
          next_tap(static_cast<ptrdiff_t>(w.s_.dilation_w) * w.s_.in_channels),
          next_line(w.s_.dilation_h * w.line_stride_),
          line(elements == 0 ? 0 : first / length / across),  // without channels segments have no length
          tap(elements == 0 ? 0 : first / length % across),
          offset(elements == 0 ? 0 : first % length) {}

    // Of neighbouring windows, `step` apart.
    [[gnu::noinline]] void Copy(const Bf16* window, ptrdiff_t step, int32_t windows, Bf16* to, ptrdiff_t row_stride) const {
      const Bf16* from = window + line * next_line;
      int32_t begin = offset;
      for (int32_t x = tap, left = count; left > 0;) {
        const int32_t n = length - begin < left ? length - begin : left;
        const Bf16* segment = from + x * next_tap + begin;
        for (int32_t i = 0; i < windows; ++i) CopyRow(segment + i * step, n, to + i * row_stride);
        to += n;
        left -= n;
        begin = 0;
        if (++x < across) continue;
        x = 0;
        from += next_line;
      }
    }
  };

  const ConvShape& s_;
  WindowAxis vertical_, horizontal_;
  ptrdiff_t line_stride_;  // elements of a kept line
  bool whole_;             // lines of the window are contiguous
  int64_t first_ = 0;
};

}  // namespace
}  // namespace sigrun::kernels
