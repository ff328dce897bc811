#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/fixed_point.h"
#include "kernels/common/inline.h"
#include "kernels/common/rescale_i8.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// 8-bit GEMM and convolution as an implicit GEMM over a tier's dot_i8.h, included before, which says
//   kGroup           how many k one dot product takes,
//   kPanelVectors    the widest panel, in vectors of kLanes output channels,
//   kTileRows        the tallest register tile,
//   Activation       what the tile reads: int8_t, uint8_t (value + 128) or int16_t,
//   CopyRow(Activation* dst, src, n, mask)   where the tier has a way of its own to copy n activations; it may store up to 63 bytes beyond,
//   Tile<rows, vectors>(a, a_stride, weights, k_groups, bias, sums)   sums[rows][vectors * kLanes],
//   kTilesTakeSegments   whether Tile also takes the number of segments that k lies in and the bytes between them.
// A block of output pixels is gathered into rows of k = (ky, kx, c), padded with zeros to whole groups; then each panel of weights passes
// over the block while it is in the cache. Where the input already is such a matrix the tile reads it in place.
namespace sigrun::kernels {
namespace {

constexpr bool kWide = sizeof(Activation) == 2;
constexpr int32_t kActivationOffset = static_cast<Activation>(-1) < 0 ? 0 : 128;
constexpr int32_t kPanel = kPanelVectors * kLanes;
constexpr size_t kBlockBytes = size_t{192} << 10;
constexpr int32_t kMaxBlockRows = 512;

// Packed: a header, then panels of kPanel output channels, the last one as many vectors wide as it needs. A panel is int32 bias[width] with
// the zero points folded in, int32 sum[width] of (w - weight_zero_point), int8 weights [k group][width][kGroup].
struct WeightHeader {
  int32_t weight_zero_point;
};

struct PanelLayout {
  int32_t width;
  size_t sums, weights, bytes;
  PanelLayout(int32_t k_groups, int32_t channels_left) {
    const int32_t vectors = (channels_left + kLanes - 1) / kLanes;
    width = (vectors < kPanelVectors ? vectors : kPanelVectors) * kLanes;
    sums = static_cast<size_t>(width) * sizeof(int32_t);
    weights = 2 * sums;
    bytes = (weights + static_cast<size_t>(k_groups) * width * kGroup + 63) / 64 * 64;
  }
};

// A row of k = (ky, kx, c): segments that zeros complete to whole groups. A segment is a line of the window, if that costs little; then
// lines of the input can be read in place.
struct Depth {
  int32_t segments, segment_k, segment_groups;
  explicit Depth(const ConvShape& s) {
    const int64_t line = static_cast<int64_t>(s.kernel_width) * s.in_channels, whole = (line + kGroup - 1) / kGroup * kGroup;
    const bool by_lines = kTilesTakeSegments && 3 * whole <= 4 * line;
    segments = by_lines ? s.kernel_height : 1;
    segment_k = by_lines ? static_cast<int32_t>(line) : s.taps() * s.in_channels;
    segment_groups = (segment_k + kGroup - 1) / kGroup;
  }
  int32_t groups() const { return segments * segment_groups; }
};

size_t PackBytes(const ConvShape& s) {
  const int32_t k_groups = Depth(s).groups(), n = s.out_channels;
  size_t bytes = 64 + static_cast<size_t>(n / kPanel) * PanelLayout(k_groups, kPanel).bytes;
  if (n % kPanel != 0) bytes += PanelLayout(k_groups, n % kPanel).bytes;
  return bytes;
}

// One output channel of a panel.
void PackChannel(const int8_t* weights, ptrdiff_t stride_k, const Depth& depth, bool flip, int32_t bias, int32_t input_zero_point,
                 int32_t weight_zero_point, const PanelLayout& layout, int32_t column, std::byte* panel) {
  uint8_t* out = reinterpret_cast<uint8_t*>(panel + layout.weights) + column * kGroup;
  const uint8_t mask = flip ? 0x80 : 0;
  int32_t sum = 0;
  for (int32_t segment = 0; segment < depth.segments; ++segment) {
    for (int32_t k = 0; k < depth.segment_k; k += kGroup, out += layout.width * kGroup) {
      for (int32_t i = 0; i < kGroup && k + i < depth.segment_k; ++i, weights += stride_k) {
        out[i] = static_cast<uint8_t>(*weights) ^ mask;
        sum = WrapAdd(sum, static_cast<int8_t>(out[i]));
      }
    }
  }
  // sum (a - za)(w - zw) = sum a' w - zw sum a' - za' (sum w - k zw), where a' = a + offset and za' = za + offset.
  const int32_t centred = WrapSub(sum, WrapMul(WrapMul(depth.segments, depth.segment_k), weight_zero_point));
  reinterpret_cast<int32_t*>(panel)[column] = WrapSub(bias, WrapMul(input_zero_point + kActivationOffset, centred));
  reinterpret_cast<int32_t*>(panel + layout.sums)[column] = centred;
}

void Pack(const ConvShape& s, WeightView<int8_t> weights, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
          int32_t weight_zero_point, std::byte* packed) {
  const Depth depth(s);
  const int32_t n = s.out_channels;
  std::memset(packed, 0, PackBytes(s));
  reinterpret_cast<WeightHeader*>(packed)->weight_zero_point = weight_zero_point;
  std::byte* panel = packed + 64;
  for (int32_t first = 0; first < n; first += kPanel) {
    const PanelLayout layout(depth.groups(), n - first);
    for (int32_t i = 0; i < layout.width && first + i < n; ++i) {
      PackChannel(weights.data + (first + i) * weights.stride_n, weights.stride_k, depth, flip_weights,
                  bias != nullptr ? bias[first + i] : 0, input_zero_point, weight_zero_point, layout, i, panel);
    }
    panel += layout.bytes;
  }
}

// True where the pixels of the input are the rows of the matrix.
SIGRUN_INLINE bool IsPointwise(const ConvShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 && s.out_height == s.in_height &&
         s.out_width == s.in_width;
}

// True where the input is copied as it stands, without a gap between rows.
SIGRUN_INLINE bool IsOneRun(const ConvShape& s) {
  return IsPointwise(s) && s.groups == 1 && s.in_channels % kGroup == 0 && s.in_channels * sizeof(Activation) % 512 != 0;
}

// Bytes between gathered rows: whole cache lines, and never a multiple of 512, which would put all rows of a tile in the same cache sets.
SIGRUN_INLINE size_t RowBytes(const ConvShape& s) {
  const size_t k = static_cast<size_t>(Depth(s).groups()) * kGroup;
  if (IsOneRun(s)) return k * sizeof(Activation);
  const size_t bytes = (k * sizeof(Activation) + 63) / 64 * 64;
  return bytes % 512 == 0 ? bytes + 64 : bytes;
}

SIGRUN_INLINE int32_t BlockRows(const ConvShape& s) {
  const size_t fit = kBlockBytes / RowBytes(s) / kTileRows * kTileRows;
  const int32_t rows = fit < kTileRows ? kTileRows : fit > kMaxBlockRows ? kMaxBlockRows : static_cast<int32_t>(fit);
  return rows < s.rows() ? rows : s.rows();
}

// Where the taps of a line of the window lie side by side, the lines of the input are copied once, completed by padding, instead of being
// gathered for every output pixel. A block holds the input of as many output lines of one image as fit.
struct LineBlocks {
  int32_t columns;  // of a completed line
  ptrdiff_t line_bytes;
  int32_t lines;  // output lines of a block; 0 where rows are gathered
  int32_t InputLines(const ConvShape& s, int32_t out_lines) const {
    return (out_lines - 1) * s.stride_h + (s.kernel_height - 1) * s.dilation_h + 1;
  }
  LineBlocks(const ConvShape& s, const Depth& k) : columns(0), line_bytes(0), lines(0) {
    const int64_t width = static_cast<int64_t>(s.out_width - 1) * s.stride_w + s.kernel_width, depth = s.in_channels;
    const int64_t height = static_cast<int64_t>(s.kernel_height - 1) * s.dilation_h + 1;
    const bool side_by_side = k.segments == s.kernel_height && s.groups == 1 && s.dilation_w == 1;
    if (!side_by_side || s.taps() == 1 || s.out_width < kTileRows / 2 || s.pad_left < 0 || s.stride_h > s.kernel_height) return;
    const int64_t bytes = (width * depth * static_cast<int64_t>(sizeof(Activation)) + 63) / 64 * 64 + 64;
    if (bytes * height > static_cast<int64_t>(kBlockBytes)) return;
    columns = static_cast<int32_t>(width);
    line_bytes = bytes;
    const int64_t fit = (static_cast<int64_t>(kBlockBytes) / bytes - height) / s.stride_h + 1;
    lines = fit < s.out_height ? static_cast<int32_t>(fit) : s.out_height;
  }
};

/// Gathered rows, then the sums of their activations; vectors may be stored beyond the last row. Or the lines of a block.
size_t ConvScratchBytes(const ConvShape& s) {
  const size_t rows = static_cast<size_t>(BlockRows(s)), gathered = (rows * (RowBytes(s) + sizeof(int32_t)) + 63) / 64 * 64 + 64;
  const LineBlocks blocks(s, Depth(s));
  if (blocks.lines == 0) return gathered;
  const size_t lines = static_cast<size_t>(blocks.InputLines(s, blocks.lines)) * static_cast<size_t>(blocks.line_bytes);
  return lines > gathered ? lines : gathered;
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
  const int32_t* row_zero_point;  // of a row, or of a batch entry
  bool per_batch;

  int32_t ZeroPoint(int32_t row, int32_t batch) const {
    return row_zero_point == nullptr ? zero_point : row_zero_point[per_batch ? batch : row];
  }
};

struct OutputPixel {
  int32_t batch, y, x;
};
SIGRUN_INLINE OutputPixel PixelOf(const ConvShape& s, int32_t row) {
  return {row / (s.out_height * s.out_width), row / s.out_width % s.out_height, row % s.out_width};
}

// One line of taps of one output pixel; `line` is the group's channel 0 of the input line.
SIGRUN_INLINE Activation* GatherLine(const ConvShape& s, const uint8_t* line, int32_t origin, uint8_t mask, int32_t zero_point,
                                     Activation* dst) {
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const Range inside = TapsInside(origin, s.dilation_w, s.kernel_width, s.in_width);
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

void GatherRow(const ConvShape& s, const Source& source, OutputPixel p, int32_t group, int32_t zero_point, Activation* dst) {
  const ptrdiff_t line_bytes = static_cast<ptrdiff_t>(s.in_width) * s.in_channels * s.groups;
  const uint8_t* image = source.data + p.batch * (s.in_height * line_bytes) + static_cast<ptrdiff_t>(group) * s.in_channels;
  const Depth depth(s);
  Activation* end = dst + depth.segment_groups * kGroup;
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    if (dst > end - s.kernel_width * s.in_channels) {
      while (dst < end) *dst++ = 0;
      end += depth.segment_groups * kGroup;
    }
    const int64_t y = static_cast<int64_t>(p.y) * s.stride_h - s.pad_top + static_cast<int64_t>(ky) * s.dilation_h;
    if (y < 0 || y >= s.in_height) {
      dst = FillActivations(dst, static_cast<ptrdiff_t>(s.kernel_width) * s.in_channels, zero_point);
    } else {
      dst = GatherLine(s, image + y * line_bytes, p.x * s.stride_w - s.pad_left, source.mask, zero_point, dst);
    }
  }
  while (dst < end) *dst++ = 0;
}

// Rows of activations ready for the tiles.
struct Block {
  const uint8_t* data;
  ptrdiff_t stride;
  const int32_t* sums;  // of the rows; null where nothing needs them
  int32_t first, rows;
};

void GatherRows(const ConvShape& s, const Source& source, int32_t group, Range rows, std::byte* scratch) {
  const size_t stride = RowBytes(s);
  if (IsPointwise(s)) {
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    const uint8_t* src = source.data + rows.begin * depth + static_cast<ptrdiff_t>(group) * s.in_channels;
    if (IsOneRun(s)) {
      CopyRow(reinterpret_cast<Activation*>(scratch), src, (rows.end - rows.begin) * depth, source.mask);
      return;
    }
    const ptrdiff_t padding = static_cast<ptrdiff_t>(Depth(s).groups()) * kGroup - s.in_channels;
    for (int32_t row = rows.begin; row < rows.end; ++row, src += depth, scratch += stride) {
      Activation* end = CopyActivations(reinterpret_cast<Activation*>(scratch), src, s.in_channels, source.mask);
      for (ptrdiff_t i = 0; i < padding; ++i) end[i] = 0;
    }
    return;
  }
  OutputPixel p = PixelOf(s, rows.begin);
  for (int32_t row = rows.begin; row < rows.end; ++row, scratch += stride) {
    GatherRow(s, source, p, group, source.ZeroPoint(row, p.batch), reinterpret_cast<Activation*>(scratch));
    if (++p.x < s.out_width) continue;
    p.x = 0;
    if (++p.y < s.out_height) continue;
    p.y = 0;
    ++p.batch;
  }
}

Block MakeBlock(const ConvShape& s, const Source& source, int32_t group, Range rows, bool with_sums, std::byte* scratch) {
  const int32_t count = rows.end - rows.begin;
  Block block{reinterpret_cast<const uint8_t*>(scratch), static_cast<ptrdiff_t>(RowBytes(s)), nullptr, rows.begin, count};
  if (!kWide && source.mask == 0 && s.in_channels % kGroup == 0 && IsPointwise(s)) {
    block.stride = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    block.data = source.data + rows.begin * block.stride + static_cast<ptrdiff_t>(group) * s.in_channels;
  } else {
    GatherRows(s, source, group, rows, scratch);
  }
  if (!with_sums) return block;
  int32_t* sums = reinterpret_cast<int32_t*>(scratch + static_cast<size_t>(BlockRows(s)) * RowBytes(s));
  const int32_t k_count = Depth(s).groups() * kGroup;
  for (int32_t i = 0; i < count; ++i) {
    const Activation* row = reinterpret_cast<const Activation*>(block.data + i * block.stride);
    uint32_t sum = 0;
    for (int32_t k = 0; k < k_count; ++k) sum += static_cast<uint32_t>(static_cast<int32_t>(row[k]));
    sums[i] = static_cast<int32_t>(sum);
  }
  block.sums = sums;
  return block;
}

template <int kRows, int kVectors, class... Segments>
SIGRUN_INLINE void RunTile(int32_t rows, const uint8_t* a, ptrdiff_t a_stride, const int8_t* weights, int32_t k_groups, const int32_t* bias,
                           int32_t* sums, Segments... segments) {
  if (rows == kRows) {
    Tile<kRows, kVectors>(a, a_stride, weights, k_groups, bias, sums, segments...);
  } else if constexpr (kRows > 1) {
    RunTile<kRows - 1, kVectors>(rows, a, a_stride, weights, k_groups, bias, sums, segments...);
  }
}

template <int kVectors, class... Segments>
SIGRUN_INLINE void RunPanelTile(int32_t vectors, int32_t rows, const uint8_t* a, ptrdiff_t a_stride, const int8_t* weights,
                                int32_t k_groups, const int32_t* bias, int32_t* sums, Segments... segments) {
  if (vectors == kVectors) {
    if (rows == 1) return Tile<1, kVectors>(a, a_stride, weights, k_groups, bias, sums, segments...);
    RunTile<kTileRows, kVectors>(rows, a, a_stride, weights, k_groups, bias, sums, segments...);
  } else if constexpr (kVectors > 1) {
    RunPanelTile<kVectors - 1>(vectors, rows, a, a_stride, weights, k_groups, bias, sums, segments...);
  }
}

// The rows of the next tile when `rows` are left: the last two share what is more than one tile and less than two.
SIGRUN_INLINE int32_t NextTileRows(int32_t rows) {
  if (rows <= kTileRows) return rows;
  return rows >= 2 * kTileRows ? kTileRows : (rows + 1) / 2;
}

// Every panel over every tile of the block: finish(tile's first row in the block, its rows, sums, their stride) for each.
template <class Finish>
SIGRUN_INLINE void RunPanel(const Block& block, const PanelLayout& layout, int32_t k_groups, const std::byte* panel, Finish finish) {
  alignas(64) int32_t sums[kTileRows * kPanel];
  for (int32_t first = 0, rows = 0; first < block.rows; first += rows) {
    rows = NextTileRows(block.rows - first);
    RunPanelTile<kPanelVectors>(layout.width / kLanes, rows, block.data + first * block.stride, block.stride,
                                reinterpret_cast<const int8_t*>(panel + layout.weights), k_groups, reinterpret_cast<const int32_t*>(panel),
                                sums);
    finish(first, rows, sums);
  }
}

// sums[r][*] -= weight_zero_point * row_sums[r]
void SubtractRows(const int32_t* row_sums, int32_t weight_zero_point, int32_t rows, int32_t width, int32_t* sums) {
  for (int32_t r = 0; r < rows; ++r) {
    const I32 term = Set1(WrapMul(weight_zero_point, row_sums[r]));
    for (int32_t i = 0; i < width; i += kLanes) Store(sums + r * width + i, Load(sums + r * width + i) - term);
  }
}

// Input lines [first, first + count) of one image, completed to the columns that the windows of a line see.
void CopyLines(const ConvShape& s, const LineBlocks& blocks, const Source& source, int32_t batch, int32_t first, int32_t count,
               int32_t zero_point, std::byte* scratch) {
  const ptrdiff_t depth = s.in_channels, line_bytes = s.in_width * depth;
  const int32_t left = s.pad_left < blocks.columns ? s.pad_left : blocks.columns;
  const int32_t inside = blocks.columns - left < s.in_width ? blocks.columns - left : s.in_width;
  const uint8_t* image = source.data + batch * (s.in_height * line_bytes);
  for (int32_t y = first; y < first + count; ++y, scratch += blocks.line_bytes) {
    Activation* dst = reinterpret_cast<Activation*>(scratch);
    if (y < 0 || y >= s.in_height) {
      FillActivations(dst, blocks.columns * depth, zero_point);
      continue;
    }
    dst = FillActivations(dst, left * depth, zero_point);
    if (inside > 0) dst = CopyActivations(dst, image + y * line_bytes, inside * depth, source.mask);
    FillActivations(dst, (blocks.columns - left - inside) * depth, zero_point);
  }
}

// The rows of output of one panel, of lines that CopyLines has copied; `top` is the first of them.
template <class Epilogue>
void RunLinesPanel(const ConvShape& s, const LineBlocks& blocks, const std::byte* lines, int32_t top, Range rows, const PanelLayout& layout,
                   const std::byte* panel, const Epilogue& epilogue) {
  alignas(64) int32_t sums[kTileRows * kPanel];
  const ptrdiff_t step = static_cast<ptrdiff_t>(s.stride_w) * s.in_channels * static_cast<ptrdiff_t>(sizeof(Activation));
  const int32_t k_groups = Depth(s).segment_groups;
  for (int32_t row = rows.begin; row < rows.end;) {
    const int32_t line = row / s.out_width, x = row % s.out_width;
    const int32_t count = (line + 1) * s.out_width < rows.end ? s.out_width - x : rows.end - row;
    const uint8_t* a = reinterpret_cast<const uint8_t*>(lines) + (line - top) * s.stride_h * blocks.line_bytes + x * step;
    for (int32_t first = 0, tile_rows = 0; first < count; first += tile_rows) {
      tile_rows = NextTileRows(count - first);
      RunPanelTile<kPanelVectors>(layout.width / kLanes, tile_rows, a + first * step, step,
                                  reinterpret_cast<const int8_t*>(panel + layout.weights), k_groups,
                                  reinterpret_cast<const int32_t*>(panel), sums, s.kernel_height, s.dilation_h * blocks.line_bytes);
      epilogue.Tile({nullptr, 0, nullptr, row, count}, first, tile_rows, layout.width, sums);
    }
    row += count;
  }
}

template <class Epilogue>
void RunLines(const ConvShape& s, const LineBlocks& blocks, const Source& source, const std::byte* packed, std::byte* scratch, Range rows,
              Epilogue& epilogue) {
  const int32_t k_groups = Depth(s).groups();
  for (int32_t begin = rows.begin; begin < rows.end;) {
    const int32_t top = begin / s.out_width, batch = top / s.out_height, y = top % s.out_height;
    const int32_t last = ((rows.end - 1) / s.out_width) + 1, left = s.out_height - y;
    int32_t lines = blocks.lines < left ? blocks.lines : left;
    if (last - top < lines) lines = last - top;
    const int32_t end = (top + lines) * s.out_width < rows.end ? (top + lines) * s.out_width : rows.end;
    CopyLines(s, blocks, source, batch, y * s.stride_h - s.pad_top, blocks.InputLines(s, lines), source.ZeroPoint(begin, batch), scratch);
    const std::byte* panel = packed + 64;
    for (int32_t n = 0; n < s.out_channels; n += kPanel) {
      const PanelLayout layout(k_groups, s.out_channels - n);
      epilogue.Panel(n, s.out_channels - n < layout.width ? s.out_channels - n : layout.width,
                     reinterpret_cast<const int32_t*>(panel + layout.sums));
      RunLinesPanel(s, blocks, scratch, top, {begin, end}, layout, panel, epilogue);
      panel += layout.bytes;
    }
    begin = end;
  }
}

// Runs the blocks of the rows, their groups and panels: epilogue.Panel(channel of the tensor, channels, weight sums) announces a panel,
// epilogue.Tile(block, first row in it, rows, panel width, sums) takes the sums of a tile.
template <class Epilogue>
void RunConv(const ConvShape& s, const Source& source, const std::byte* packed, std::byte* scratch, Range rows, Epilogue& epilogue) {
  const int32_t k_groups = Depth(s).groups(), step = BlockRows(s);
  const size_t group_bytes = PackBytes(s);
  if constexpr (kTilesTakeSegments) {
    const LineBlocks blocks(s, Depth(s));
    const bool one_zero_point = source.row_zero_point == nullptr || source.per_batch;
    if (blocks.lines > 0 && one_zero_point && reinterpret_cast<const WeightHeader*>(packed)->weight_zero_point == 0) {
      return RunLines(s, blocks, source, packed, scratch, rows, epilogue);
    }
  }
  for (int32_t begin = rows.begin; begin < rows.end; begin += step) {
    const Range range{begin, rows.end - begin < step ? rows.end : begin + step};
    for (int32_t group = 0; group < s.groups; ++group) {
      const std::byte* weights = packed + group * group_bytes;
      const int32_t weight_zero_point = reinterpret_cast<const WeightHeader*>(weights)->weight_zero_point;
      const Block block = MakeBlock(s, source, group, range, weight_zero_point != 0, scratch);
      const std::byte* panel = weights + 64;
      for (int32_t n = 0; n < s.out_channels; n += kPanel) {
        const PanelLayout layout(k_groups, s.out_channels - n);
        const int32_t channels = s.out_channels - n < layout.width ? s.out_channels - n : layout.width;
        epilogue.Panel(group * s.out_channels + n, channels, reinterpret_cast<const int32_t*>(panel + layout.sums));
        RunPanel(block, layout, k_groups, panel, [&](int32_t first, int32_t count, int32_t* sums) SIGRUN_INLINE_LAMBDA {
          if (block.sums != nullptr) SubtractRows(block.sums + first, weight_zero_point, count, layout.width, sums);
          epilogue.Tile(block, first, count, layout.width, sums);
        });
        panel += layout.bytes;
      }
    }
  }
}

// Requantises to bytes. The parameters of a panel that does not fill its vectors are copied and completed.
struct RequantizeEpilogue {
  uint8_t* output;
  ptrdiff_t output_stride;
  const RequantizeParams& params;
  ByteOutput bytes = MakeByteOutput(params);
  int32_t channel = 0, channels = 0;
  bool rescalable = false;
  const int32_t *multiplier = nullptr, *shift = nullptr;
  const double* scale = nullptr;
  struct {
    alignas(64) int32_t multiplier[kPanel], shift[kPanel];
    alignas(64) double scale[kPanel];
  } completed;

  RequantizeEpilogue(uint8_t* to, ptrdiff_t stride, const RequantizeParams& p) : output(to), output_stride(stride), params(p) {}

  void Panel(int32_t first, int32_t n, const int32_t* /*weight_sums*/) {
    channel = first;
    channels = n;
    const bool whole = n % kLanes == 0;
    if (params.scale != nullptr) {
      scale = whole ? params.scale + first : Complete(params.scale + first, completed.scale);
      return;
    }
    multiplier = whole ? params.multiplier + first : Complete(params.multiplier + first, completed.multiplier);
    shift = whole ? params.shift + first : Complete(params.shift + first, completed.shift);
    rescalable = bytes.fits;
    for (int32_t i = 0; i < n; ++i) rescalable &= IsRescalable(multiplier[i], shift[i], bytes.zero_point);
  }
  template <class T>
  const T* Complete(const T* from, T (&to)[kPanel]) const {
    for (int32_t i = 0; i < kPanel; ++i) to[i] = i < channels ? from[i] : T{0};
    return to;
  }

  /// One vector of channels of every row: n of its lanes.
  template <class ToOutput>
  SIGRUN_INLINE void Column(uint8_t* out, int32_t n, int32_t rows, int32_t width, const int32_t* sums, ToOutput to_output) const {
    const ptrdiff_t stride = output_stride;
    if (n >= kLanes) {
      for (int32_t row = 0; row < rows; ++row, out += stride, sums += width) StoreLanes(out, to_output(Load(sums)));
    } else {
      for (int32_t row = 0; row < rows; ++row, out += stride, sums += width) StoreLanes(out, to_output(Load(sums)), n);
    }
  }
  SIGRUN_INLINE I32 Requantized(I32 x, int32_t i) const {
    const I32 s = Load(shift + i), none = Set1(0), most = Set1(31);
    return Requantize(x, Load(multiplier + i), Clamp(s, none, most), Clamp(none - s, none, most));
  }
  SIGRUN_INLINE void GeneralColumn(uint8_t* out, int32_t i, int32_t rows, int32_t width, const int32_t* sums) const {
    const I32 zero_point = Set1(params.zero_point), min = Set1(params.min), max = Set1(params.max);
    for (int32_t row = 0; row < rows; ++row) {
      const I32 x = Load(sums + row * width);
      const I32 y = Clamp((params.scale != nullptr ? RoundScaled(x, scale + i) : Requantized(x, i)) + zero_point, min, max);
      uint8_t* to = out + row * output_stride;
      if (channels - i >= kLanes) {
        StoreLow8(to, y);
      } else {
        StoreLow8(to, y, channels - i);
      }
    }
  }
  void Tile(const Block& block, int32_t first, int32_t rows, int32_t width, const int32_t* sums) const {
    uint8_t* out = output + static_cast<ptrdiff_t>(block.first + first) * output_stride + channel;
    const ByteOutput to = bytes;  // in registers: a store of bytes may change any memory
    for (int32_t i = 0; i < channels; i += kLanes, out += kLanes, sums += kLanes) {
      if (params.scale != nullptr && bytes.fits) {
        const I32 zero_point = Set1(to.zero_point);
        Column(out, channels - i, rows, width, sums,
               [=, from = scale + i](I32 x) SIGRUN_INLINE_LAMBDA { return ToBytes(RoundScaled(x, from) + zero_point, to); });
      } else if (rescalable && params.scale == nullptr) {
        const Rescale rescale = MakeRescale(Load(multiplier + i), Set1(0) - Load(shift + i), to.zero_point);
        if (to.whole) {
          Column(out, channels - i, rows, width, sums, [=](I32 x) SIGRUN_INLINE_LAMBDA { return SaturateBytes(Rescaled(x, rescale)); });
        } else {
          Column(out, channels - i, rows, width, sums, [=](I32 x) SIGRUN_INLINE_LAMBDA { return ToBytes(Rescaled(x, rescale), to); });
        }
      } else {
        GeneralColumn(out, i, rows, width, sums);
      }
    }
  }
};

// Scales to floats and takes the rows' zero points out.
struct FloatEpilogue {
  const ConvShape& shape;
  const Source& source;
  float* output;
  ptrdiff_t output_stride;
  const float* row_scale;
  const float* channel_scale;
  const float* bias;
  ClampF32 clamp;
  int32_t channel = 0, channels = 0;
  const int32_t* weight_sums = nullptr;
  alignas(64) float scale[kPanel] = {};
  alignas(64) float addend[kPanel] = {};

  void Panel(int32_t first, int32_t n, const int32_t* sums) {
    channel = first;
    channels = n;
    weight_sums = sums;
    for (int32_t i = 0; i < n; ++i) {
      scale[i] = channel_scale[first + i];
      addend[i] = bias != nullptr ? bias[first + i] : 0.0f;
    }
  }
  void Tile(const Block& block, int32_t first, int32_t rows, int32_t width, const int32_t* sums) const {
    for (int32_t r = 0; r < rows; ++r) {
      const int32_t row = block.first + first + r;
      const int32_t batch = source.per_batch ? row / (shape.out_height * shape.out_width) : 0;
      const I32 zero_point = Set1(source.ZeroPoint(row, batch));
      const F32 factor = Set1(row_scale[source.per_batch ? batch : row]);
      const F32 min = Set1(clamp.min), max = Set1(clamp.max);
      float* out = output + row * output_stride + channel;
      for (int32_t i = 0; i < channels; i += kLanes) {
        const I32 sum = Load(sums + r * width + i) - zero_point * Load(weight_sums + i);
        const F32 y = Min(max, Max(min, ToFloat(sum) * (factor * Load(scale + i)) + Load(addend + i)));
        if (channels - i >= kLanes) {
          Store(out + i, y);
        } else {
          float few[kLanes];
          Store(few, y);
          std::memcpy(out + i, few, static_cast<size_t>(channels - i) * sizeof(float));
        }
      }
    }
  }
};

void Conv(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize, std::byte* scratch,
          Range rows) {
  const bool wants_unsigned = kActivationOffset != 0;
  const uint8_t mask = input.is_unsigned == wants_unsigned ? 0 : 0x80;
  const Source source{static_cast<const uint8_t*>(input.data), mask, input.zero_point, nullptr, false};
  RequantizeEpilogue epilogue{static_cast<uint8_t*>(output), static_cast<ptrdiff_t>(s.out_channels) * s.groups, requantize};
  RunConv(s, source, packed, scratch, rows, epilogue);
}

void ConvF32(const ConvShape& s, const int8_t* input, const std::byte* packed, float* output, const float* row_scale,
             const int32_t* row_zero_point, bool scale_per_batch, const float* channel_scale, const float* bias, ClampF32 clamp,
             std::byte* scratch, Range rows) {
  const uint8_t mask = kActivationOffset != 0 ? 0x80 : 0;
  const Source source{reinterpret_cast<const uint8_t*>(input), mask, 0, row_zero_point, scale_per_batch};
  FloatEpilogue epilogue{s, source, output, static_cast<ptrdiff_t>(s.out_channels) * s.groups, row_scale, channel_scale, bias, clamp};
  RunConv(s, source, packed, scratch, rows, epilogue);
}

inline void OverlayConvI8(Kernels& table) {
  table.pack_i8_bytes = PackBytes;
  table.pack_i8 = Pack;
  table.conv_i8_scratch_bytes = ConvScratchBytes;
  table.conv_i8 = Conv;
  table.conv_i8_f32 = ConvF32;
}

}  // namespace
}  // namespace sigrun::kernels
