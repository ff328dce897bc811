#pragma once

#include <string.h>

#include "kernels/common/inline.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// Where the rows of gemm_f32.h's tiles stand in the input: K is cut into segments, runs of a row of A that lie contiguous there, and a
// tile of output pixels is a table of pointers, one a pixel and segment, with padded taps pointing at zeros.
namespace sigrun::kernels {
namespace {

constexpr int32_t kMaxRun = 1024;       // floats of a segment that one pass reads: the size of the zeros
constexpr int32_t kMaxSegments = 128;   // segments of one pass
constexpr int32_t kMaxPointers = 2048;  // pointers of one block of pixels
constexpr int32_t kScratchFloats = 8192;
constexpr int32_t kMaxMergedChannels = 16;
static_assert(kMaxSegments * kTileRows <= kMaxPointers);

alignas(64) constexpr float kZeros[kMaxRun] = {};

/// How K is cut: `segments` runs of `length` floats. A merged segment is a whole line of the window, copied where it leaves the image
/// sideways.
struct Segments {
  int32_t count, length;
  bool merged = false, copies = false;
};

Segments CutK(const ConvShape& s) {
  const ptrdiff_t taps = static_cast<ptrdiff_t>(s.kernel_height) * s.kernel_width,
                  line = static_cast<ptrdiff_t>(s.kernel_width) * s.in_channels;
  if (taps * s.in_channels == 0) return {0, 1};
  const bool copies = s.pad_left > 0 || (s.out_width - 1) * s.stride_w - s.pad_left + s.kernel_width > s.in_width;
  const bool fits = copies ? s.in_channels <= kMaxMergedChannels && taps * s.in_channels <= kScratchFloats / kTileRows : line <= kMaxRun;
  const bool merged = s.kernel_width > 1 && s.dilation_w == 1 && s.groups == 1 && fits && s.kernel_height <= kMaxSegments;
  if (merged) return {s.kernel_height, static_cast<int32_t>(line), true, copies};
  return {static_cast<int32_t>(taps), s.in_channels};
}

SIGRUN_INLINE int32_t SegmentsPerPass(const Segments& cut) {
  const int32_t fitting = cut.length < kMaxRun ? kMaxRun / cut.length : 1;
  const int32_t most = fitting < kMaxSegments ? fitting : kMaxSegments, count = cut.count > 0 ? cut.count : 1;
  return count < most ? count : most;
}

/// The part of K that one pass over a block adds: floats [offset, offset + length) of segments [first, first + count).
struct Pass {
  int32_t first, count, offset, length;
  int32_t first_ky, first_kx;
  bool begins, ends;  // starts from the bias; clamps the finished sum
};

/// A pixel of the output, walked row by row.
struct Pixel {
  int32_t image, y, x;
};

SIGRUN_INLINE Pixel PixelAt(const ConvShape& s, int32_t row) {
  return {row / (s.out_height * s.out_width), row / s.out_width % s.out_height, row % s.out_width};
}

SIGRUN_INLINE void Advance(const ConvShape& s, Pixel& p) {
  if (++p.x < s.out_width) return;
  p.x = 0;
  if (++p.y < s.out_height) return;
  p.y = 0;
  ++p.image;
}

/// Pointers of one group's pixels into the input.
struct Gather {
  const ConvShape& shape;
  Segments segments;
  const float* input;  // at the group's first channel
};

// One pixel's pointers, `step` apart, for the segments of a pass.
void TapPointers(const Gather& g, const Pass& pass, const Pixel& at, const float** to, ptrdiff_t step) {
  const ConvShape& s = g.shape;
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const int32_t top = at.y * s.stride_h - s.pad_top, left = at.x * s.stride_w - s.pad_left;
  int32_t ky = pass.first_ky, kx = pass.first_kx;
  for (int32_t i = 0; i < pass.count; ++i, to += step) {
    const int32_t y = top + ky * s.dilation_h, x = left + kx * s.dilation_w;
    const bool inside = y >= 0 && y < s.in_height && x >= 0 && x < s.in_width;
    const ptrdiff_t position = (static_cast<ptrdiff_t>(at.image) * s.in_height + y) * s.in_width + x;
    *to = inside ? g.input + position * depth + pass.offset : kZeros;
    if (++kx == s.kernel_width) {
      kx = 0;
      ++ky;
    }
  }
}

// One pixel's pointers where a segment is a line of the window. A line that leaves the image sideways is copied between zeros, to
// `scratch`, which is returned behind what was used.
float* LinePointers(const Gather& g, const Pass& pass, const Pixel& at, const float** to, ptrdiff_t step, float* scratch) {
  const ConvShape& s = g.shape;
  const int32_t top = at.y * s.stride_h - s.pad_top, left = at.x * s.stride_w - s.pad_left;
  const Range kx = TapsInside(left, 1, s.kernel_width, s.in_width);
  const bool whole = kx.begin == 0 && kx.end == s.kernel_width;
  const int32_t begin = kx.begin * s.in_channels, end = kx.end * s.in_channels;  // floats inside
  for (int32_t i = 0; i < pass.count; ++i, to += step) {
    const int32_t y = top + (pass.first_ky + i) * s.dilation_h;
    if (y < 0 || y >= s.in_height || kx.begin == kx.end) {
      *to = kZeros;
      continue;
    }
    const float* line = g.input + ((static_cast<ptrdiff_t>(at.image) * s.in_height + y) * s.in_width + left) * s.in_channels;
    *to = whole ? line : scratch;
    if (whole) continue;
    for (int32_t j = 0; j < begin; ++j) scratch[j] = 0.0f;
    for (int32_t j = begin; j < end; ++j) scratch[j] = line[j];
    for (int32_t j = end; j < g.segments.length; ++j) scratch[j] = 0.0f;
    scratch += g.segments.length;
  }
  return scratch;
}

/// Pixels of a block, cut into tiles of nearly equal height.
struct Block {
  int32_t rows, tiles, low, high;  // so many of the first tiles have a row more than `low`
  explicit Block(int32_t count, int32_t most = kTileRows)
      : rows(count), tiles((count + most - 1) / most), low(count / tiles), high(count % tiles) {}
  SIGRUN_INLINE int32_t Height(int32_t tile) const { return low + (tile < high ? 1 : 0); }
};

/// Where the segments of a pass lie, from the first tap of a window that is wholly in the image.
struct TapOffsets {
  ptrdiff_t of_segment[kMaxSegments];
  TapOffsets(const Gather& g, const Pass& pass) {
    const ConvShape& s = g.shape;
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    int32_t ky = pass.first_ky, kx = pass.first_kx;
    for (int32_t i = 0; i < pass.count; ++i) {
      of_segment[i] = (static_cast<ptrdiff_t>(ky) * s.dilation_h * s.in_width + kx * s.dilation_w) * depth + pass.offset;
      if (g.segments.merged || ++kx == s.kernel_width) {
        kx = 0;
        ++ky;
      }
    }
  }
};

// The pointers of one tile's pixels, as if all windows lay in the image; those that do not follow one by one.
float* GatherTile(const Gather& g, const Pass& pass, const TapOffsets& offsets, Pixel& at, int32_t height, const float** pointers,
                  float* scratch) {
  const ConvShape& s = g.shape;
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const int32_t last_y = s.in_height - 1 - (s.kernel_height - 1) * s.dilation_h;
  const int32_t last_x = s.in_width - 1 - (s.kernel_width - 1) * s.dilation_w;
  const uintptr_t step = static_cast<uintptr_t>(s.stride_w * depth) * sizeof(float);
  uintptr_t windows[kTileRows];
  Pixel crossing[kTileRows];
  int32_t crossing_row[kTileRows], crossings = 0;
  for (int32_t i = 0; i < height;) {
    const int32_t top = at.y * s.stride_h - s.pad_top, left = at.x * s.stride_w - s.pad_left;
    const int32_t of_line = s.out_width - at.x, count = height - i < of_line ? height - i : of_line;
    const ptrdiff_t position = ((static_cast<ptrdiff_t>(at.image) * s.in_height + top) * s.in_width + left) * depth;
    const uintptr_t window = reinterpret_cast<uintptr_t>(g.input) + static_cast<uintptr_t>(position) * sizeof(float);
    for (int32_t j = 0; j < count; ++j) windows[i + j] = window + static_cast<uintptr_t>(j) * step;
    if (top < 0 || top > last_y || left < 0 || left + (count - 1) * s.stride_w > last_x) {
      for (int32_t j = 0; j < count; ++j) {
        const int32_t x = left + j * s.stride_w;
        if (top >= 0 && top <= last_y && x >= 0 && x <= last_x) continue;
        crossing[crossings] = {at.image, at.y, at.x + j};
        crossing_row[crossings++] = i + j;
      }
    }
    i += count;
    at.x += count - 1;
    Advance(s, at);
  }
  for (int32_t k = 0; k < pass.count; ++k) {
    const uintptr_t offset = static_cast<uintptr_t>(offsets.of_segment[k]) * sizeof(float);
    for (int32_t i = 0; i < height; ++i) pointers[k * height + i] = reinterpret_cast<const float*>(windows[i] + offset);
  }
  for (int32_t i = 0; i < crossings; ++i) {
    if (g.segments.merged) {
      scratch = LinePointers(g, pass, crossing[i], pointers + crossing_row[i], height, scratch);
    } else {
      TapPointers(g, pass, crossing[i], pointers + crossing_row[i], height);
    }
  }
  return scratch;
}

void GatherBlock(const Gather& g, const Pass& pass, Pixel at, const Block& block, const float** pointers, float* scratch) {
  const TapOffsets offsets(g, pass);
  for (int32_t tile = 0; tile < block.tiles; ++tile) {
    const int32_t height = block.Height(tile);
    scratch = GatherTile(g, pass, offsets, at, height, pointers, scratch);
    pointers += pass.count * height;
  }
}

/// The same convolution over an input that has its padding, and no more than the windows see.
ConvShape WithPadding(const ConvShape& s) {
  ConvShape padded = s;
  padded.in_height = (s.out_height - 1) * s.stride_h + (s.kernel_height - 1) * s.dilation_h + 1;
  padded.in_width = (s.out_width - 1) * s.stride_w + s.kernel_width;
  padded.pad_top = padded.pad_left = 0;
  return padded;
}

// True for an image so small that a copy between zeros costs less than looking after the pixels at its edges.
SIGRUN_INLINE bool CopiesImage(const ConvShape& s, const Segments& cut) {
  if (!cut.merged || s.batch != 1) return false;
  const ConvShape padded = WithPadding(s);
  const bool crosses = s.pad_top > 0 || s.pad_left > 0 || padded.in_height > s.in_height || padded.in_width > s.in_width;
  return crosses && static_cast<int64_t>(padded.in_height) * padded.in_width * s.in_channels <= kScratchFloats;
}

SIGRUN_INLINE void CopyFloats(const float* from, ptrdiff_t n, float* to) {
  ptrdiff_t i = 0;
  for (; i + F32::lanes <= n; i += F32::lanes) Store(to + i, Load(from + i));
  if (i < n) StorePartial(to + i, LoadPartial(from + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

void CopyImage(const ConvShape& s, const ConvShape& padded, const float* input, float* to) {
  const ptrdiff_t line = static_cast<ptrdiff_t>(s.in_width) * s.in_channels;
  const ptrdiff_t padded_line = static_cast<ptrdiff_t>(padded.in_width) * s.in_channels;
  const ptrdiff_t before = static_cast<ptrdiff_t>(s.pad_left) * s.in_channels;
  const ptrdiff_t count = line < padded_line - before ? line : padded_line - before;
  memset(to, 0, static_cast<size_t>(padded.in_height * padded_line) * sizeof(float));
  for (int32_t i = 0; i < padded.in_height; ++i, to += padded_line) {
    const int32_t y = i - s.pad_top;
    if (y >= 0 && y < s.in_height && count > 0) CopyFloats(input + y * line, count, to + before);
  }
}

}  // namespace
}  // namespace sigrun::kernels
