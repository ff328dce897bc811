#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/pack_i8.h"
#include "kernels/common/window.h"
#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

// The rows that the tiles of conv_i8.h read, a block at a time: where the input is no such matrix, windows are gathered or lines copied.
namespace sigrun::kernels {
namespace {

// True where the pixels of the input are the rows of the matrix.
SIGRUN_INLINE bool IsPointwise(const ConvShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 && s.out_height == s.in_height &&
         s.out_width == s.in_width;
}

// True where every row is a pixel of the input.
SIGRUN_INLINE bool IsSparsePointwise(const ConvShape& s) {
  return s.taps() == 1 && s.pad_top == 0 && s.pad_left == 0 && static_cast<int64_t>(s.out_height - 1) * s.stride_h < s.in_height &&
         static_cast<int64_t>(s.out_width - 1) * s.stride_w < s.in_width;
}

// True where the input is copied as it stands, without a gap between rows: what completes a row to a few groups is then the next row, by
// weights of 0.
SIGRUN_INLINE bool IsOneRun(const ConvShape& s, const Depth& depth) {
  const bool completes = kDepthUnit == kGroup || depth.IsWhole(s);
  return IsPointwise(s) && s.groups == 1 && completes && s.in_channels * sizeof(Activation) % 512 != 0;
}

// Bytes between gathered rows: whole cache lines, and never a multiple of 512, which would put all rows of a tile in the same cache sets.
SIGRUN_INLINE size_t RowBytes(const ConvShape& s, const Depth& depth) {
  if (IsOneRun(s, depth)) return s.in_channels * sizeof(Activation);
  const size_t k = static_cast<size_t>(depth.groups()) * kGroup;
  const size_t bytes = (k * sizeof(Activation) + 63) / 64 * 64;
  return bytes % 512 == 0 ? bytes + 64 : bytes;
}

SIGRUN_INLINE int32_t BlockRows(const ConvShape& s, const Depth& depth) {
  const size_t fit = kBlockBytes / RowBytes(s, depth) / kMostRows * kMostRows;
  const int32_t rows = fit < kMostRows ? kMostRows : fit > kMaxBlockRows ? kMaxBlockRows : static_cast<int32_t>(fit);
  return rows < s.rows() ? rows : s.rows();
}

// All blocks of so many rows are about the same: the weights, which each reads, may be larger than a cache.
SIGRUN_INLINE int32_t EvenBlockRows(const ConvShape& s, const Depth& depth, int32_t rows) {
  const int32_t most = BlockRows(s, depth);
  if (rows <= most) return most;
  return EvenRows(rows, most, kMostRows);
}

// Where the taps of a line of the window lie side by side, the lines of a group's input are copied once, completed by padding, instead of
// being gathered for every output pixel. A block holds the input of as many output lines of one image as fit, or of a part of one.
struct LineBlocks {
  int32_t out_columns;  // of an output line, or of a part of it that fits
  ptrdiff_t line_bytes;
  int32_t lines;  // output lines of a block; 0 where rows are gathered
  bool by_taps;   // the taps of a line are segments of their own
  static int64_t InputColumns(const ConvShape& s, int64_t columns) {
    return (columns - 1) * s.stride_w + static_cast<int64_t>(s.kernel_width - 1) * s.dilation_w + 1;
  }
  int32_t InputLines(const ConvShape& s, int32_t out_lines) const {
    return (out_lines - 1) * s.stride_h + (s.kernel_height - 1) * s.dilation_h + 1;
  }
  LineBlocks(const ConvShape& s, const Depth& k) : out_columns(0), line_bytes(0), lines(0), by_taps(s.dilation_w > 1) {
    constexpr int64_t kBlock = kBlockBytes, kLeastPart = 64;
    const int64_t height = static_cast<int64_t>(s.kernel_height - 1) * s.dilation_h + 1, window = InputColumns(s, 1);
    const int64_t pixel = static_cast<int64_t>(s.in_channels) * static_cast<int64_t>(sizeof(Activation));
    // Nothing completes taps that are whole groups, so that they can be taken from anywhere.
    const bool apart = s.in_channels % k.unit == 0;
    const bool side_by_side = k.segments == s.kernel_height && (apart || !by_taps);
    // To gather a few bytes takes as long as many, and every group is gathered anew.
    const int32_t least = k.segment_k < 32 || s.groups > 1 ? kLeastLine / 2 : kLeastLine;
    const bool overlap = s.stride_h <= s.kernel_height || s.out_height == 1;
    if (!side_by_side || s.taps() == 1 || s.out_width < least || s.pad_left < 0 || !overlap) return;
    const auto bytes_of = [&](int64_t columns) { return (InputColumns(s, columns) * pixel + 63) / 64 * 64 + 64; };
    int64_t columns = s.out_width;
    if (bytes_of(columns) * height > kBlock) {
      columns = (((kBlock / height - 128) / pixel - window) / s.stride_w + 1) / kMostRows * kMostRows;
      if (columns < kLeastPart || columns * s.stride_w < 4 * window) return;  // what two parts share is copied twice
    }
    out_columns = static_cast<int32_t>(columns);
    line_bytes = bytes_of(columns);
    const int64_t fit = columns < s.out_width ? 1 : (kBlock / line_bytes - height) / s.stride_h + 1;
    lines = fit < s.out_height ? static_cast<int32_t>(fit) : s.out_height;
  }
};

SIGRUN_INLINE ConvShape AllGroups(ConvShape s) {
  s.in_channels *= s.groups;
  s.groups = 1;
  return s;
}

// Groups of few channels share the lines or rows of whole pixels, which are copied once: the taps of a group are segments of their own.
// What completes a segment are channels of the next groups, by weights of 0.
SIGRUN_INLINE bool SharesPixels(const ConvShape& s) {
  if (s.groups == 1 || s.in_channels > kFewChannels) return false;
  if (kPairs) return true;
  if (s.in_channels % kDepthUnit != 0) return false;
  if (s.taps() == 1 || s.out_width < kLeastLine) return true;
  const ConvShape all = AllGroups(s);
  return LineBlocks(s, Depth(s)).lines == 0 || LineBlocks(all, Depth(all)).lines > 0;
}

// What is gathered at a time.
SIGRUN_INLINE ConvShape Gathered(const ConvShape& s) { return SharesPixels(s) ? AllGroups(s) : s; }

// Gathered rows, as many as tiles read, or the lines of a block; vectors may be stored beyond them.
size_t ActivationBytes(const ConvShape& shape) {
  const ConvShape s = Gathered(shape);
  const Depth depth(s);
  const size_t rows = static_cast<size_t>((BlockRows(s, depth) + kRowUnit - 1) / kRowUnit * kRowUnit);
  const size_t gathered = rows * RowBytes(s, depth) + 64;
  const LineBlocks blocks(s, depth);
  const size_t beyond = static_cast<size_t>(kRowUnit - 1) * s.stride_w * s.in_channels * sizeof(Activation);
  const size_t lines = static_cast<size_t>(blocks.InputLines(s, blocks.lines)) * static_cast<size_t>(blocks.line_bytes) + beyond;
  return ((blocks.lines > 0 && lines > gathered ? lines : gathered) + 63) / 64 * 64;
}
// The sums of a block's rows.
size_t SumBytes(const ConvShape& shape) {
  const ConvShape s = Gathered(shape);
  const Depth depth(s);
  const LineBlocks blocks(s, depth);
  const int32_t line_rows = blocks.lines * blocks.out_columns, block_rows = BlockRows(s, depth);
  const int32_t rows = block_rows > line_rows ? block_rows : line_rows;
  return (static_cast<size_t>(rows) * sizeof(int32_t) + 63) / 64 * 64;
}

// The rows of as many tiles as fit, packed.
constexpr int32_t kMostPackedTiles = 64;
struct PackedTiles {
  int32_t most = 0;
  size_t bytes = 0;
  explicit PackedTiles(const ConvShape& s) {
    // What packing saves is some loads of every panel.
    if (!RowPacker<Activation>::kUsed || s.out_channels < 2 * kPanel || s.rows() <= kMostRows / 2) return;
    const size_t tile = static_cast<size_t>(kMostRows * kGroup) * Depth(s).groups() * sizeof(Activation), fit = kBlockBytes / tile;
    most = fit < 1 ? 1 : fit > kMostPackedTiles ? kMostPackedTiles : static_cast<int32_t>(fit);
    bytes = static_cast<size_t>(most) * tile;
  }
};

/// Activations, then packed tiles or sums of the rows and the ones that sum them.
size_t ConvScratchBytes(const ConvShape& s) {
  const size_t sums = SumBytes(s) + static_cast<size_t>(Depth(s).groups()) * kColumnUnit * kGroup, packed = PackedTiles(s).bytes;
  return ActivationBytes(s) + (packed > sums ? packed : sums) + 64;
}

// n activations from bytes; may store up to a vector beyond them. `mask` makes a byte int8, or uint8 with offset 128 where the tile wants
// it.
SIGRUN_INLINE void StoreActivations(int16_t* dst, Bytes x) { StoreWide(dst, x); }
SIGRUN_INLINE void StoreActivations(uint8_t* dst, Bytes x) { Store(dst, x); }
SIGRUN_INLINE void StoreActivations(int8_t* dst, Bytes x) { Store(reinterpret_cast<uint8_t*>(dst), x); }
template <class T>
SIGRUN_INLINE void CopyRow(T* dst, const uint8_t* src, ptrdiff_t n, uint8_t mask) {
  const Bytes flip = SetBytes(mask);
  ptrdiff_t i = 0;
  for (; kBytes <= 16 && i + 4 * kBytes <= n; i += 4 * kBytes) {
    SIGRUN_UNROLL
    for (int v = 0; v < 4; ++v) StoreActivations(dst + i + v * kBytes, Load(src + i + v * kBytes) ^ flip);
  }
  for (; i + kBytes <= n; i += kBytes) StoreActivations(dst + i, Load(src + i) ^ flip);
  if (i == n) return;
  if (n >= kBytes) {
    StoreActivations(dst + n - kBytes, Load(src + n - kBytes) ^ flip);
  } else {
    StoreActivations(dst, LoadFew(src, static_cast<int32_t>(n)) ^ flip);
  }
}
SIGRUN_INLINE Activation* CopyActivations(Activation* dst, const uint8_t* src, ptrdiff_t n, uint8_t mask) {
  CopyRow(dst, src, n, mask);
  return dst + n;
}
SIGRUN_INLINE Activation* FillActivations(Activation* dst, ptrdiff_t n, int32_t zero_point) {
  const Activation value = static_cast<Activation>(zero_point + kActivationOffset);
  if constexpr (!kWide) {
    if (n > 0) std::memset(dst, static_cast<uint8_t>(value), static_cast<size_t>(n));
    return dst + n;
  }
  for (ptrdiff_t i = 0; i < n; ++i) dst[i] = value;
  return dst + n;
}

// The input as a matrix of bytes: `mask` as for CopyActivations.
struct Source {
  const uint8_t* data;
  uint8_t mask;
  int32_t zero_point;             // of the padded taps, where row_zero_point is null
  const int32_t* row_zero_point;  // of each row, or of all
  bool is_one_image;

  int32_t ZeroPoint(int32_t row) const { return row_zero_point == nullptr ? zero_point : row_zero_point[is_one_image ? 0 : row]; }
};

struct OutputPixel {
  int32_t batch, y, x;
};
SIGRUN_INLINE OutputPixel PixelOf(const ConvShape& s, int32_t row) {
  return {row / (s.out_height * s.out_width), row / s.out_width % s.out_height, row % s.out_width};
}

SIGRUN_INLINE void NextPixel(const ConvShape& s, OutputPixel* p) {
  if (++p->x < s.out_width) return;
  p->x = 0;
  if (++p->y < s.out_height) return;
  p->y = 0;
  ++p->batch;
}

// One line of taps of one output pixel, of which those `inside` are in the image; `line` is the group's channel 0 of the input line.
SIGRUN_INLINE Activation* GatherLine(const ConvShape& s, const uint8_t* line, int32_t origin, Range inside, uint8_t mask,
                                     int32_t zero_point, Activation* dst) {
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  dst = FillActivations(dst, static_cast<ptrdiff_t>(inside.begin) * s.in_channels, zero_point);
  const uint8_t* src = line + (origin + static_cast<ptrdiff_t>(inside.begin) * s.dilation_w) * depth;
  if (s.dilation_w == 1 && s.groups == 1) {
    if (inside.begin < inside.end) dst = CopyActivations(dst, src, (inside.end - inside.begin) * depth, mask);
  } else {
    for (int32_t kx = inside.begin; kx < inside.end; ++kx, src += s.dilation_w * depth)
      dst = CopyActivations(dst, src, s.in_channels, mask);
  }
  return FillActivations(dst, static_cast<ptrdiff_t>(s.kernel_width - inside.end) * s.in_channels, zero_point);
}

// Windows whose lines are a few bytes, as in a first layer: what completes a row is written first, so that a line takes a few instructions.
// One by one, those of a first layer of 7 x 7 windows would take longer than their products by the tile unit.
constexpr int32_t kNarrowLine = 9 * kBytes;  // longer lines of a window are segments
SIGRUN_INLINE bool IsNarrow(const ConvShape& s, const Depth& depth) {
  return !kWide && depth.segments == 1 && s.dilation_w == 1 && s.groups == 1 && s.kernel_width * s.in_channels <= kNarrowLine;
}

// n bytes, at most kNarrowLine.
SIGRUN_INLINE void CopyNarrow(uint8_t* to, const uint8_t* from, ptrdiff_t n, uint64_t flip) {
  if (n >= kBytes) {
    const Bytes flips = SetBytes(static_cast<uint8_t>(flip)), tail = Load(from + n - kBytes) ^ flips;
    for (ptrdiff_t i = 0; i + kBytes < n; i += kBytes) Store(to + i, Load(from + i) ^ flips);
    Store(to + n - kBytes, tail);
  } else if (n >= 8) {
    const uint64_t head = LoadAs<uint64_t>(from) ^ flip, tail = LoadAs<uint64_t>(from + n - 8) ^ flip;
    std::memcpy(to, &head, sizeof(head));
    std::memcpy(to + n - 8, &tail, sizeof(tail));
  } else if (n >= 4) {
    const uint32_t half = static_cast<uint32_t>(flip);
    const uint32_t head = LoadAs<uint32_t>(from) ^ half, tail = LoadAs<uint32_t>(from + n - 4) ^ half;
    std::memcpy(to, &head, sizeof(head));
    std::memcpy(to + n - 4, &tail, sizeof(tail));
  } else {
    for (ptrdiff_t i = 0; i < n; ++i) to[i] = static_cast<uint8_t>(from[i] ^ flip);
  }
}

void GatherNarrowRow(const ConvShape& s, const Source& source, OutputPixel p, const Depth& depth, int32_t zero_point, uint8_t* dst) {
  const ptrdiff_t pixel = s.in_channels, line = s.kernel_width * pixel, input_line = s.in_width * pixel;
  const int32_t left = p.x * s.stride_w - s.pad_left, top = p.y * s.stride_h - s.pad_top;
  const Range across = TapsInside(left, 1, s.kernel_width, s.in_width), down = TapsInside(top, s.dilation_h, s.kernel_height, s.in_height);
  const ptrdiff_t n = (across.end - across.begin) * pixel, whole = static_cast<ptrdiff_t>(depth.segment_groups) * kGroup;
  if (n < line || down.end - down.begin < s.kernel_height) {
    std::memset(dst, static_cast<uint8_t>(zero_point + kActivationOffset), static_cast<size_t>(depth.segment_k));
  }
  std::memset(dst + depth.segment_k, 0, static_cast<size_t>(whole - depth.segment_k));
  if (n == 0 || down.begin == down.end) return;
  const ptrdiff_t first = static_cast<ptrdiff_t>(p.batch) * s.in_height + top + down.begin * s.dilation_h;
  const uint8_t* from = source.data + first * input_line + (left + across.begin) * pixel;
  const uint64_t flip = source.mask * 0x0101010101010101u;
  uint8_t* to = dst + down.begin * line + across.begin * pixel;
  for (int32_t y = down.begin; y < down.end; ++y, to += line, from += s.dilation_h * input_line) CopyNarrow(to, from, n, flip);
}

void GatherRow(const ConvShape& s, const Depth& depth, const Source& source, OutputPixel p, int32_t group, int32_t zero_point,
               Activation* dst) {
  if (IsNarrow(s, depth)) return GatherNarrowRow(s, source, p, depth, zero_point, reinterpret_cast<uint8_t*>(dst));
  const ptrdiff_t line_bytes = static_cast<ptrdiff_t>(s.in_width) * s.in_channels * s.groups;
  const uint8_t* image = source.data + p.batch * (s.in_height * line_bytes) + static_cast<ptrdiff_t>(group) * s.in_channels;
  const bool by_lines = depth.segments == s.kernel_height;
  Activation* end = dst + depth.segment_groups * kGroup;
  const auto complete = [&] {
    while (dst < end) *dst++ = 0;
    end += depth.segment_groups * kGroup;
  };
  const int32_t origin = p.x * s.stride_w - s.pad_left;
  const Range inside = TapsInside(origin, s.dilation_w, s.kernel_width, s.in_width);
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    const int64_t y = static_cast<int64_t>(p.y) * s.stride_h - s.pad_top + static_cast<int64_t>(ky) * s.dilation_h;
    if (y < 0 || y >= s.in_height) {
      dst = FillActivations(dst, static_cast<ptrdiff_t>(s.kernel_width) * s.in_channels, zero_point);
    } else {
      dst = GatherLine(s, image + y * line_bytes, origin, inside, source.mask, zero_point, dst);
    }
    if (by_lines) complete();
  }
  if (!by_lines) complete();
}

// Rows of activations ready for the tiles: `rows` rows of output from `first` on, in lines of line_rows of which the first begins at
// `offset`.
struct Block {
  const uint8_t* data;
  ptrdiff_t stride, line_step;  // bytes between rows, between lines
  int32_t first, rows;
  int32_t line_rows, offset;
  int32_t k_groups, segments;
  ptrdiff_t segment_step;
  int32_t line_segments = 0;  // as TileRun's
  ptrdiff_t window_step = 0;
  bool has_least = false;
  bool pairs = false;  // Depth's
  bool flips = false;  // TileRun's

  /// Taps of a window become segments, so many bytes apart within a line of it and from line to line.
  void TakeTaps(const ConvShape& s, int32_t groups_of_tap, ptrdiff_t tap_step, ptrdiff_t window_line) {
    k_groups = groups_of_tap;
    segments = s.taps();
    segment_step = tap_step;
    line_segments = s.kernel_width;
    window_step = window_line - s.kernel_width * tap_step;
  }
  TileRun Run() const {
    TileRun run{};
    run.a = data + offset * stride;
    run.a_stride = stride;
    run.half_step = TakesTwoLines() ? line_step : kMostRows / 2 * stride;
    run.k_groups = k_groups;
    run.segments = segments;
    run.segment_step = segment_step;
    run.line_segments = line_segments;
    run.line_step = window_step;
    run.has_least = has_least;
    run.flips = flips;
    return run;
  }
  /// Whether each tile of all rows, of which a line has half, takes two lines.
  bool TakesTwoLines() const { return kTakesTwoLines && 2 * line_rows == kMostRows && !pairs && !flips; }
};

// A group's channels of a pixel, completed.
SIGRUN_INLINE void CopyPixel(const ConvShape& s, const Depth& k, const uint8_t* src, uint8_t mask, std::byte* to) {
  if constexpr (!kWide) {
    if (s.in_channels <= 2 * kBytes) {
      uint8_t* dst = reinterpret_cast<uint8_t*>(to);
      CopyNarrow(dst, src, s.in_channels, mask * 0x0101010101010101u);
      for (int32_t i = s.in_channels; i < k.groups() * kGroup; ++i) dst[i] = 0;
      return;
    }
  }
  Activation* end = CopyActivations(reinterpret_cast<Activation*>(to), src, s.in_channels, mask);
  const ptrdiff_t left = static_cast<ptrdiff_t>(k.groups()) * kGroup - s.in_channels;
  if (left > 0) std::memset(end, 0, static_cast<size_t>(left) * sizeof(Activation));
}

// Every stride_w-th pixel of every stride_h-th line.
void GatherSparseRows(const ConvShape& s, const Depth& k, const Source& source, int32_t group, Range rows, std::byte* scratch) {
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const size_t stride = RowBytes(s, k);
  OutputPixel p = PixelOf(s, rows.begin);
  for (int32_t row = rows.begin; row < rows.end; NextPixel(s, &p)) {
    const ptrdiff_t line = static_cast<ptrdiff_t>(p.batch) * s.in_height + p.y * s.stride_h;
    const uint8_t* src = source.data + (line * s.in_width + p.x * s.stride_w) * depth + static_cast<ptrdiff_t>(group) * s.in_channels;
    const int32_t end = rows.end - row < s.out_width - p.x ? rows.end : row + s.out_width - p.x;
    p.x = s.out_width - 1;
    for (; row < end; ++row, src += s.stride_w * depth, scratch += stride) CopyPixel(s, k, src, source.mask, scratch);
  }
}

void GatherRows(const ConvShape& s, const Depth& k, const Source& source, int32_t group, Range rows, std::byte* scratch) {
  const size_t stride = RowBytes(s, k);
  if (IsPointwise(s)) {
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    const uint8_t* src = source.data + rows.begin * depth + static_cast<ptrdiff_t>(group) * s.in_channels;
    if (IsOneRun(s, k)) {
      CopyRow(reinterpret_cast<Activation*>(scratch), src, (rows.end - rows.begin) * depth, source.mask);
      return;
    }
    for (int32_t row = rows.begin; row < rows.end; ++row, src += depth, scratch += stride) CopyPixel(s, k, src, source.mask, scratch);
    return;
  }
  if (IsSparsePointwise(s)) return GatherSparseRows(s, k, source, group, rows, scratch);
  OutputPixel p = PixelOf(s, rows.begin);
  for (int32_t row = rows.begin; row < rows.end; ++row, scratch += stride) {
    GatherRow(s, k, source, p, group, source.ZeroPoint(row), reinterpret_cast<Activation*>(scratch));
    NextPixel(s, &p);
  }
}

// Rows that are read once, by a single panel of each group, are flipped then, if not all of them fall into the same cache sets, and where
// that takes nothing away from the products: of an int8 convolution of 144 to 32 channels, to copy them takes an eighth.
SIGRUN_INLINE bool FlipsInTiles(const ConvShape& s) {
  if constexpr (!kFlipsBytes<Activation> || kTilesEndLate) return false;
  return s.groups == 1 && s.out_channels <= kPanel && s.in_channels % 512 != 0 && !CpuHas(kFewVectorPorts);
}

// Rows so many bytes apart share a set of the first cache, whose ways are fewer than a tile's rows: copies lie otherwise, and take 20 %
// less with 4096 channels.
constexpr int32_t kWayBytes = 4096;

Block MakeBlock(const ConvShape& s, const Depth& depth, const Source& source, int32_t group, Range rows, bool in_place, bool flips,
                std::byte* scratch) {
  const int32_t count = rows.end - rows.begin;
  Block block{reinterpret_cast<const uint8_t*>(scratch),
              static_cast<ptrdiff_t>(RowBytes(s, depth)),
              0,
              rows.begin,
              count,
              count,
              0,
              depth.groups(),
              1,
              0};
  const int32_t again = (kMostRows - count % kMostRows) % kMostRows;  // rows that the last tile takes a second time
  const bool as_wanted = source.mask == 0 || (flips && count >= kMostRows && 8 * again <= count);
  const bool crowded = kTakesUnsigned && s.in_channels * s.groups % kWayBytes == 0;
  if (in_place && !kWide && as_wanted && !crowded && depth.IsWhole(s) && count % kRowUnit == 0 && IsPointwise(s)) {
    block.flips = source.mask != 0;
    block.stride = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    block.data = source.data + rows.begin * block.stride + static_cast<ptrdiff_t>(group) * s.in_channels;
  } else {
    GatherRows(s, depth, source, group, rows, scratch);
  }
  return block;
}

// A group's channels of `count` pixels.
SIGRUN_INLINE Activation* CopyPixels(const ConvShape& s, Activation* dst, const uint8_t* src, int32_t count, uint8_t mask) {
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  if (s.groups == 1) return CopyActivations(dst, src, count * depth, mask);
  for (int32_t i = 0; i < count; ++i, src += depth) dst = CopyActivations(dst, src, s.in_channels, mask);
  return dst;
}

// The columns of these input lines of one image, line_bytes apart; what lies beyond the image is the zero point.
void CopyLines(const ConvShape& s, const Source& source, int32_t group, int32_t batch, Range lines, Range columns, int32_t zero_point,
               ptrdiff_t line_bytes, std::byte* scratch) {
  const ptrdiff_t depth = s.in_channels, pixel = depth * s.groups, input_line = s.in_width * pixel;
  const auto within = [&](int32_t x) { return x < 0 ? 0 : x < s.in_width ? x : s.in_width; };
  const Range inside{within(columns.begin), within(columns.end)};
  const int32_t all = columns.end - columns.begin, count = inside.end - inside.begin;
  // Beside the image, to the left of it or to the right, all are filled.
  const int32_t left = columns.begin >= 0 ? 0 : -columns.begin < all ? -columns.begin : all;
  const uint8_t* image = source.data + batch * (s.in_height * input_line) + inside.begin * pixel + group * depth;
  for (int32_t y = lines.begin; y < lines.end; ++y, scratch += line_bytes) {
    Activation* dst = reinterpret_cast<Activation*>(scratch);
    if (y < 0 || y >= s.in_height) {
      FillActivations(dst, all * depth, zero_point);
      continue;
    }
    dst = FillActivations(dst, left * depth, zero_point);
    if (count > 0) dst = CopyPixels(s, dst, image + y * input_line, count, source.mask);
    FillActivations(dst, (all - left - count) * depth, zero_point);
  }
}

// The block of output lines from row `begin` on; ends with the rows, the image or the scratch. Of a single line, no more than is wanted.
Block MakeLineBlock(const ConvShape& s, const Depth& depth, const LineBlocks& blocks, const Source& source, int32_t group, Range rows,
                    std::byte* scratch) {
  constexpr ptrdiff_t kBytes = sizeof(Activation);
  const int32_t top = rows.begin / s.out_width, batch = top / s.out_height, y = top % s.out_height, x = rows.begin % s.out_width;
  const int32_t lines_left = (rows.end - 1) / s.out_width + 1 - top, image_left = s.out_height - y;
  int32_t lines = blocks.lines < image_left ? blocks.lines : image_left;
  if (lines_left < lines) lines = lines_left;
  const bool single = lines == 1;
  int32_t end = (top + lines) * s.out_width < rows.end ? (top + lines) * s.out_width : rows.end;
  if (single && end - rows.begin > blocks.out_columns) end = rows.begin + blocks.out_columns;
  const int32_t line_rows = single ? end - rows.begin : s.out_width;
  const int32_t first_line = y * s.stride_h - s.pad_top, first_column = (single ? x : 0) * s.stride_w - s.pad_left;
  CopyLines(s, source, group, batch, {first_line, first_line + blocks.InputLines(s, lines)},
            {first_column, first_column + static_cast<int32_t>(blocks.InputColumns(s, line_rows))}, source.ZeroPoint(rows.begin),
            blocks.line_bytes, scratch);
  Block block{reinterpret_cast<const uint8_t*>(scratch),
              s.stride_w * s.in_channels * kBytes,
              s.stride_h * blocks.line_bytes,
              rows.begin,
              end - rows.begin,
              line_rows,
              single ? 0 : x,
              depth.segment_groups,
              depth.segments,
              s.dilation_h * blocks.line_bytes};
  if (blocks.by_taps) block.TakeTaps(s, s.in_channels / kGroup, s.dilation_w * s.in_channels * kBytes, s.dilation_h * blocks.line_bytes);
  return block;
}

// The rows of one group, of a block of pixels that all share, whose depth is `all`; `lines` is null where they are gathered rows.
Block OfGroup(const ConvShape& s, const Depth& depth, int32_t group, Block block, const Depth& all, const LineBlocks* lines) {
  constexpr ptrdiff_t kBytes = sizeof(Activation);
  const ptrdiff_t bytes = s.in_channels * kBytes, pixel = bytes * s.groups;
  block.data += group * bytes;
  const int32_t groups_of_tap = depth.groups() / s.taps();
  if (lines != nullptr) {
    block.TakeTaps(s, groups_of_tap, s.dilation_w * pixel, s.dilation_h * lines->line_bytes);
  } else {
    const bool by_lines = all.segments == s.kernel_height;
    block.TakeTaps(s, groups_of_tap, pixel, by_lines ? all.segment_groups * kGroup * kBytes : s.kernel_width * pixel);
  }
  return block;
}

}  // namespace
}  // namespace sigrun::kernels
