#pragma once

#include <cstring>

#include "kernels/common/bf16.h"
#include "kernels/common/window.h"
#include "kernels/common/window_rows_bf16.h"
#include "kernels/kernels.h"

// Convolution with bfloat16 products and float32 sums, over the vocabulary of a tier's tile_bf16.h. Packed: panels of kPanelBf16 output
// channels (the last as narrow as whole groups of kLeastPanelBf16 allow), each [bias][part][k / kGroupBf16][channel][kGroupBf16].
// Trick: a block of rows of A is rounded to bfloat16, or gathered, into a buffer that stays in L2 while all panels pass over it. With two
// parts a number is the sum of two bfloat16, and the product of the two lesser parts is left out. On one core of a Zen 5: 95 % of the peak of
// vdpbf16ps from k = 512 on, 60 % at k = 32, where rounding and storing take the rest.
namespace sigrun::kernels {
namespace {

constexpr int32_t kMaxDepth = 1024;       // of k that one pass over a block adds
constexpr int32_t kSkewBf16 = kCopyUnit;  // elements between rows, so that they do not meet in the same sets of L1
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

/// One group of a convolution.
struct GroupBf16 {
  const ConvShape& shape;
  const float* input;  // at the group's first channel
  const std::byte* packed;
  float* output;  // at the group's first channel
  ptrdiff_t output_stride;
  const EpilogueF32* epilogue;
  ptrdiff_t residual;
  int32_t first;  // channel of all groups
};

// Elements [first, first + count) of k of rows that lie in the input as they are.
void RoundRows(const GroupBf16& g, int32_t row, int32_t rows, int32_t first, int32_t count, const BlockBf16& block) {
  const ptrdiff_t depth = static_cast<ptrdiff_t>(g.shape.in_channels) * g.shape.groups;
  const float* from = g.input + row * depth + first;
  const int32_t zeros = RoundUp(count, kDepthUnit) - count;
  for (int32_t i = 0; i < rows; ++i, from += depth) {
    Bf16* to = block.data + i * block.row_stride;
    RoundRow(block, from, count, to);
    ZeroRow(block, to + count, zeros);
  }
}

// Adds elements [first, first + count) of k, which the block holds, to the sums of its rows.
void RunPassBf16(const GroupBf16& g, int32_t row, int32_t rows, int32_t first, int32_t count, const BlockBf16& block) {
  const ConvShape& s = g.shape;
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
  ptrdiff_t Elements() const { return rows * row_stride; }
};

BlockSize ChooseBlock(const ConvShape& s, int32_t parts) {
  const int32_t depth = RoundUp(s.taps() * s.in_channels, kDepthUnit);
  const int32_t row_stride = (depth < kMaxDepth ? depth : kMaxDepth) + kSkewBf16;
  const int32_t fitting = kBlockElements / (row_stride * parts), most = fitting < kTileRowsBf16 ? kTileRowsBf16 : fitting;
  const int32_t blocks = (s.rows() + most - 1) / most;  // of equal size: each reads all weights
  return {blocks == 0 ? kTileRowsBf16 : RoundUp((s.rows() + blocks - 1) / blocks, kTileRowsBf16), row_stride};
}

// Elements of a part of the lines under a block.
ptrdiff_t LineElements(const ConvShape& s, const BlockSize& size) {
  return IsMatrix(s) ? 0 : (WindowRows(s).Elements(size.rows) + kCopyUnit - 1) / kCopyUnit * kCopyUnit;
}

size_t ConvBf16ScratchBytes(const ConvShape& s, int32_t parts) {
  const BlockSize size = ChooseBlock(s, parts);
  return static_cast<size_t>(parts * (size.Elements() + LineElements(s, size))) * sizeof(Bf16);
}

// All rows of one group, `size.rows` at a time.
void RunGroupBf16(const GroupBf16& g, const BlockSize& size, const BlockBf16& block, const BlockBf16& lines, Range rows) {
  const ConvShape& s = g.shape;
  const bool is_matrix = IsMatrix(s);
  const int32_t k = s.taps() * s.in_channels;
  WindowRows window(s);
  for (int32_t row = rows.begin; row < rows.end; row += size.rows) {
    const int32_t count = rows.end - row < size.rows ? rows.end - row : size.rows;
    if (!is_matrix) window.RoundLines(g.input, row, count, lines);
    // There is one pass even if k is 0: it stores the bias.
    for (int32_t first = 0; first == 0 || first < k; first += kMaxDepth) {
      const int32_t depth = k - first < kMaxDepth ? k - first : kMaxDepth;
      if (is_matrix) {
        RoundRows(g, row, count, first, depth, block);
      } else {
        window.Gather(lines, row, count, first, depth, kDepthUnit, block);
      }
      RunPassBf16(g, row, count, first, depth, block);
    }
  }
}

void ConvBf16(const ConvShape& s, int32_t parts, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue,
              std::byte* scratch, Range rows) {
  const TileUnit unit;
  const BlockSize size = ChooseBlock(s, parts);
  const BlockBf16 block = {reinterpret_cast<Bf16*>(scratch), size.row_stride, size.Elements(), parts};
  const BlockBf16 lines = {block.data + parts * size.Elements(), 0, LineElements(s, size), parts};
  const size_t group_bytes = PackBf16Bytes(s.taps() * s.in_channels, s.out_channels, parts);
  const ptrdiff_t residual = epilogue.residual == nullptr ? 0 : epilogue.residual - output;
  for (int32_t g = 0; g < s.groups; ++g, input += s.in_channels, output += s.out_channels, packed += group_bytes) {
    const GroupBf16 group = {s, input, packed, output, s.output_stride(), &epilogue, residual, g * s.out_channels};
    RunGroupBf16(group, size, block, lines, rows);
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
