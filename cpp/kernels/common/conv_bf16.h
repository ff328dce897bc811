#pragma once

#include <cstring>

#include "kernels/common/bf16.h"
#include "kernels/common/window.h"
#include "kernels/kernels.h"

// Convolution with bfloat16 products and float32 sums, over the vocabulary of a tier's tile_bf16.h. Packed: panels of kPanelBf16 output
// channels (the last as narrow as whole groups of kLeastPanelBf16 allow), each [bias][part][k / kGroupBf16][channel][kGroupBf16].
// Trick: a block of rows of A is rounded to bfloat16 as it is gathered, window lines as wholes, into a buffer that stays in L2 while all
// panels pass over it. With two parts a number is the sum of two bfloat16, and the product of the two lesser parts is left out.
namespace sigrun::kernels {
namespace {

constexpr int32_t kMaxDepth = 1024;  // of k that one pass over a block adds
constexpr int32_t kSkewBf16 = 32;    // elements between rows, so that they do not meet in the same sets of L1
static_assert(kMaxDepth % kDepthUnit == 0 && kDepthUnit % kGroupBf16 == 0);

SIGRUN_INLINE int32_t RoundUp(int32_t x, int32_t unit) { return (x + unit - 1) / unit * unit; }

SIGRUN_INLINE int32_t PanelWidthBf16(int32_t channels) { return channels >= kPanelBf16 ? kPanelBf16 : RoundUp(channels, kLeastPanelBf16); }

// Bytes of a panel, its bias included.
SIGRUN_INLINE ptrdiff_t PanelBytes(int32_t depth, int32_t width, int32_t parts) {
  return width * (static_cast<ptrdiff_t>(sizeof(float)) + static_cast<ptrdiff_t>(parts) * depth * static_cast<ptrdiff_t>(sizeof(Bf16)));
}

size_t PackBf16Bytes(int32_t k, int32_t n, int32_t parts) {
  const ptrdiff_t bytes = PanelBytes(RoundUp(k, kDepthUnit), RoundUp(n, kLeastPanelBf16), parts);
  return static_cast<size_t>((bytes + 63) / 64 * 64);
}

// Elements [first, first + kGroupBf16) of k of a panel's channels.
SIGRUN_INLINE void PackGroup(const WeightView<float>& from, int32_t first, int32_t k, int32_t width, int32_t count, Bf16* to,
                             ptrdiff_t part_stride, int32_t parts) {
  for (int32_t j = 0; j < width; ++j) {
    for (int32_t i = 0; i < kGroupBf16; ++i, ++to) {
      const float x = j < count && first + i < k ? from.data[j * from.stride_n + (first + i) * from.stride_k] : 0.0f;
      *to = RoundToBf16(x);
      if (parts == 2) to[part_stride] = RestAfter(x, *to);
    }
  }
}

// A panel whose channels each lie in one run along k: rounded as runs, then dealt out in groups.
void PackRuns(const WeightView<float>& from, int32_t k, int32_t width, int32_t count, Bf16* to, ptrdiff_t part_stride, int32_t parts) {
  constexpr int32_t kRun = 512;
  static_assert(kRun % kDepthUnit == 0);
  Bf16 run[2 * kRun];
  for (int32_t first = 0; first < k; first += kRun, to += static_cast<ptrdiff_t>(kRun) * width) {
    const int32_t length = k - first < kRun ? k - first : kRun, whole = RoundUp(length, kDepthUnit);
    for (int32_t j = 0; j < width; ++j) {
      const int32_t rest = j < count ? length : 0;
      for (int32_t part = 0; part < parts; ++part) memset(run + part * kRun + rest, 0, static_cast<size_t>(whole - rest) * sizeof(Bf16));
      if (j < count && parts == 1) RoundRow(from.data + j * from.stride_n + first, length, run);
      if (j < count && parts == 2) SplitRow(from.data + j * from.stride_n + first, length, run, run + kRun);
      for (int32_t part = 0; part < parts; ++part) {
        Bf16* group = to + part * part_stride + j * kGroupBf16;
        for (int32_t i = 0; i < whole; i += kGroupBf16, group += kGroupBf16 * width) {
          memcpy(group, run + part * kRun + i, kGroupBf16 * sizeof(Bf16));
        }
      }
    }
  }
}

void PackBf16(int32_t k, int32_t n, int32_t parts, WeightView<float> weights, const float* bias, std::byte* packed) {
  const int32_t depth = RoundUp(k, kDepthUnit);
  for (int32_t first = 0; first < n; first += kPanelBf16, weights.data += kPanelBf16 * weights.stride_n) {
    const int32_t width = PanelWidthBf16(n - first), count = n - first < width ? n - first : width;
    float* sums = reinterpret_cast<float*>(packed);
    for (int32_t j = 0; j < width; ++j) sums[j] = bias != nullptr && j < count ? bias[first + j] : 0.0f;
    Bf16* to = reinterpret_cast<Bf16*>(sums + width);
    const ptrdiff_t part_stride = static_cast<ptrdiff_t>(depth) * width;
    const bool runs = weights.stride_k == 1;
    if (runs) PackRuns(weights, k, width, count, to, part_stride, parts);
    for (int32_t i = 0; i < depth && !runs; i += kGroupBf16, to += kGroupBf16 * width) {
      if (parts == 1 && weights.stride_n == 1 && count == width && i + kGroupBf16 <= k) {
        PackRows(weights.data + i * weights.stride_k, weights.stride_k, width, to);
      } else {
        PackGroup(weights, i, k, width, count, to, part_stride, parts);
      }
    }
    packed += PanelBytes(depth, width, parts);
  }
}

/// One group of the input. Its rows of A are lines, runs of floats that lie contiguous in the input: a whole line of the window, or one
/// tap.
struct Lines {
  const ConvShape& shape;
  const float* input;  // at the group's first channel
  bool whole;          // lines of the window
  int32_t length;
  Lines(const ConvShape& s, const float* from)
      : shape(s),
        input(from),
        whole(s.kernel_width == 1 || (s.dilation_w == 1 && s.groups == 1)),
        length(whole ? s.kernel_width * s.in_channels : s.in_channels) {}
};

/// Floats [begin, end) of a line lie in the image; the others are zeros.
struct Line {
  const float* p;
  int32_t begin, end;
};

struct RowOrigin {
  int32_t image, top, left;
};

SIGRUN_INLINE RowOrigin OriginOf(const ConvShape& s, int32_t row) {
  return {row / (s.out_height * s.out_width), row / s.out_width % s.out_height * s.stride_h - s.pad_top,
          row % s.out_width * s.stride_w - s.pad_left};
}

SIGRUN_INLINE void Next(const ConvShape& s, RowOrigin& at) {
  at.left += s.stride_w;
  if (at.left < s.out_width * s.stride_w - s.pad_left) return;
  at.left = -s.pad_left;
  at.top += s.stride_h;
  if (at.top < s.out_height * s.stride_h - s.pad_top) return;
  at.top = -s.pad_top;
  ++at.image;
}

SIGRUN_INLINE Line LineAt(const Lines& lines, const RowOrigin& at, int32_t i) {
  const ConvShape& s = lines.shape;
  const int32_t ky = lines.whole ? i : i / s.kernel_width, kx = lines.whole ? 0 : i % s.kernel_width;
  const int32_t y = at.top + ky * s.dilation_h, x = at.left + kx * s.dilation_w, taps = lines.whole ? s.kernel_width : 1;
  if (y < 0 || y >= s.in_height) return {lines.input, 0, 0};
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const float* p = lines.input + ((static_cast<ptrdiff_t>(at.image) * s.in_height + y) * s.in_width + x) * depth;
  if (x >= 0 && x + taps <= s.in_width) return {p, 0, lines.length};
  const Range inside = TapsInside(x, 1, taps, s.in_width);
  return {p, inside.begin * s.in_channels, inside.end * s.in_channels};
}

/// Rows of A as bfloat16, [part][row][k].
struct BlockBf16 {
  Bf16* data;
  ptrdiff_t row_stride, part_stride;
  int32_t parts;
};

SIGRUN_INLINE int32_t Within(int32_t x, int32_t n) { return x < 0 ? 0 : x < n ? x : n; }

SIGRUN_INLINE void ZeroRow(const BlockBf16& block, Bf16* to, int32_t n) {
  if (n <= 0) return;
  for (int32_t part = 0; part < block.parts; ++part) memset(to + part * block.part_stride, 0, static_cast<size_t>(n) * sizeof(Bf16));
}

SIGRUN_INLINE void RoundRow(const BlockBf16& block, const float* x, int32_t n, Bf16* to) {
  if (block.parts == 1) {
    RoundRow(x, n, to);
  } else {
    SplitRow(x, n, to, to + block.part_stride);
  }
}

// Elements [first, first + count) of k of one row, and zeros up to a whole unit.
void FillRow(const Lines& lines, const RowOrigin& at, int32_t first, int32_t count, const BlockBf16& block, Bf16* to) {
  if (count == 0) return;  // and lines have no length
  int32_t i = first / lines.length, offset = first % lines.length;
  for (int32_t done = 0; done < count; ++i, offset = 0) {
    const int32_t n = lines.length - offset < count - done ? lines.length - offset : count - done;
    const Line line = LineAt(lines, at, i);
    const int32_t begin = Within(line.begin - offset, n), end = Within(line.end - offset, n);
    ZeroRow(block, to, begin);
    if (end > begin) RoundRow(block, line.p + offset + begin, end - begin, to + begin);
    ZeroRow(block, to + end, n - end);
    done += n;
    to += n;
  }
  ZeroRow(block, to, RoundUp(count, kDepthUnit) - count);
}

/// One group of a convolution.
struct GroupBf16 {
  Lines lines;
  const std::byte* packed;
  float* output;  // at the group's first channel
  ptrdiff_t output_stride;
  const EpilogueF32* epilogue;
  ptrdiff_t residual;
  int32_t first;  // channel of all groups
};

// All of k of a row whose window lies in the image, and zeros up to a whole unit.
SIGRUN_INLINE void FillWholeRow(const Lines& lines, const RowOrigin& at, int32_t k, const BlockBf16& block, Bf16* to) {
  const ConvShape& s = lines.shape;
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  const float* p = lines.input + ((static_cast<ptrdiff_t>(at.image) * s.in_height + at.top) * s.in_width + at.left) * depth;
  const ptrdiff_t next = static_cast<ptrdiff_t>(s.dilation_h) * s.in_width * depth;
  for (int32_t ky = 0; ky < s.kernel_height; ++ky, p += next) {
    const float* tap = p;
    for (int32_t kx = 0; kx < (lines.whole ? 1 : s.kernel_width); ++kx, tap += s.dilation_w * depth, to += lines.length) {
      RoundRow(block, tap, lines.length, to);
    }
  }
  ZeroRow(block, to, RoundUp(k, kDepthUnit) - k);
}

// Elements [first, first + count) of k of the rows of a block.
void FillBlock(const Lines& lines, int32_t row, int32_t rows, int32_t first, int32_t count, const BlockBf16& block) {
  const ConvShape& s = lines.shape;
  if (IsMatrix(s)) {
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    const float* from = lines.input + row * depth + first;
    const int32_t zeros = RoundUp(count, kDepthUnit) - count;
    for (int32_t i = 0; i < rows; ++i, from += depth) {
      Bf16* to = block.data + i * block.row_stride;
      RoundRow(block, from, count, to);
      ZeroRow(block, to + count, zeros);
    }
    return;
  }
  const int32_t k = s.taps() * s.in_channels;
  const int32_t last_y = s.in_height - 1 - (s.kernel_height - 1) * s.dilation_h,
                last_x = s.in_width - 1 - (s.kernel_width - 1) * s.dilation_w;
  RowOrigin at = OriginOf(s, row);
  for (int32_t i = 0; i < rows; ++i, Next(s, at)) {
    Bf16* to = block.data + i * block.row_stride;
    if (count == k && at.top >= 0 && at.top <= last_y && at.left >= 0 && at.left <= last_x) {
      FillWholeRow(lines, at, k, block, to);
    } else {
      FillRow(lines, at, first, count, block, to);
    }
  }
}

// Adds elements [first, first + count) of k to the sums of a block's rows.
void RunPassBf16(const GroupBf16& g, int32_t row, int32_t rows, int32_t first, int32_t count, const BlockBf16& block) {
  const ConvShape& s = g.lines.shape;
  FillBlock(g.lines, row, rows, first, count, block);
  const int32_t k = s.taps() * s.in_channels, depth = RoundUp(k, kDepthUnit);
  const std::byte* panel = g.packed;
  for (int32_t n = 0; n < s.out_channels;) {
    const int32_t width = PanelWidthBf16(s.out_channels - n), panels = PanelsAtOnceBf16(rows, s.out_channels - n);
    const int32_t channels = s.out_channels - n < width * panels ? s.out_channels - n : width * panels;
    const ptrdiff_t panel_bytes = PanelBytes(depth, width, block.parts);
    TileBf16 t = {};
    t.row_stride = block.row_stride;
    t.part_stride = block.part_stride;
    t.weights = reinterpret_cast<const Bf16*>(panel + width * sizeof(float)) + static_cast<ptrdiff_t>(first) * width;
    t.weights_part_stride = static_cast<ptrdiff_t>(depth) * width;
    t.weights_panel_stride = panel_bytes / static_cast<ptrdiff_t>(sizeof(Bf16));
    t.parts = block.parts;
    t.depth = RoundUp(count, kDepthUnit);
    t.sums = {panel, panel_bytes, nullptr, g.output_stride, channels, first == 0, first + count == k, g.epilogue, g.residual, g.first + n};
    t.ahead = reinterpret_cast<const std::byte*>(t.weights);
    if (n + channels < s.out_channels) {  // the tiles of these panels fetch the next, each its part
      t.ahead += panel_bytes * panels;
      t.ahead_bytes = kDepthAhead * width * static_cast<ptrdiff_t>(sizeof(Bf16)) * kTileRowsBf16 / (rows + kTileRowsBf16 - 1);
    }
    for (int32_t i = 0; i < rows;) {
      const int32_t height = TileHeight(rows - i);
      t.rows = block.data + i * block.row_stride;
      t.sums.output = g.output + (row + i) * g.output_stride + n;
      RunTileBf16(t, height, width, panels);
      t.ahead += t.depth / kDepthAhead * t.ahead_bytes;
      i += height;
    }
    panel += panel_bytes * panels;
    n += channels;
  }
}

/// How the rows of a convolution are cut into blocks; it follows from the shape alone.
struct BlockSize {
  int32_t rows;
  ptrdiff_t row_stride;
  size_t Bytes(int32_t parts) const { return static_cast<size_t>(parts * rows * row_stride) * sizeof(Bf16); }
};

BlockSize ChooseBlock(const ConvShape& s, int32_t parts) {
  const int32_t depth = RoundUp(s.taps() * s.in_channels, kDepthUnit);
  const int32_t row_stride = (depth < kMaxDepth ? depth : kMaxDepth) + kSkewBf16;
  const int32_t fitting = kBlockElements / (row_stride * parts), most = fitting < kTileRowsBf16 ? kTileRowsBf16 : fitting;
  const int32_t blocks = (s.rows() + most - 1) / most;  // of equal size: each reads all weights
  return {blocks == 0 ? kTileRowsBf16 : RoundUp((s.rows() + blocks - 1) / blocks, kTileRowsBf16), row_stride};
}

size_t ConvBf16ScratchBytes(const ConvShape& s, int32_t parts) { return ChooseBlock(s, parts).Bytes(parts); }

void ConvBf16(const ConvShape& s, int32_t parts, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue,
              std::byte* scratch, Range rows) {
  const TileUnit unit;
  const BlockSize size = ChooseBlock(s, parts);
  const BlockBf16 block = {reinterpret_cast<Bf16*>(scratch), size.row_stride, size.rows * size.row_stride, parts};
  const int32_t k = s.taps() * s.in_channels;
  const size_t group_bytes = PackBf16Bytes(k, s.out_channels, parts);
  const ptrdiff_t output_stride = s.output_stride();
  const ptrdiff_t residual = epilogue.residual == nullptr ? 0 : epilogue.residual - output;
  for (int32_t g = 0; g < s.groups; ++g, input += s.in_channels, output += s.out_channels, packed += group_bytes) {
    const GroupBf16 group = {{s, input}, packed, output, output_stride, &epilogue, residual, g * s.out_channels};
    for (int32_t row = rows.begin; row < rows.end; row += size.rows) {
      const int32_t count = rows.end - row < size.rows ? rows.end - row : size.rows;
      // There is one pass even if k is 0: it stores the bias.
      for (int32_t first = 0; first == 0 || first < k; first += kMaxDepth) {
        RunPassBf16(group, row, count, first, k - first < kMaxDepth ? k - first : kMaxDepth, block);
      }
    }
  }
}

void OverlayConvBf16(Kernels& t, int32_t parts) {
  t.bf16_parts = parts;
  t.pack_bf16_bytes = PackBf16Bytes;
  t.pack_bf16 = PackBf16;
  t.conv_bf16_scratch_bytes = ConvBf16ScratchBytes;
  t.conv_bf16 = ConvBf16;
}

}  // namespace
}  // namespace sigrun::kernels
