#pragma once

#include <cstring>

#include "kernels/common/bf16.h"
#include "kernels/common/window.h"
#include "kernels/common/window_rows_bf16.h"
#include "kernels/kernels.h"

// Convolution with bfloat16 products and float32 sums, over the vocabulary of a tier's tile_bf16.h. Packed: panels of kPanelBf16 output
// channels (the last as narrow as whole groups of kLeastPanelBf16 allow), each [bias][part][k / kGroupBf16][channel][kGroupBf16], or, where
// kPartsByUnits says so, [bias][k / kDepthUnit][part][kDepthUnit / kGroupBf16][channel][kGroupBf16].
// Trick: a block of rows of A is rounded to bfloat16, or gathered, into a buffer that stays in L2 while all panels pass over it; rows of
// bfloat16 are read where they stand, if the tier can. With two parts a number is the sum of two bfloat16, and the product of the two
// lesser parts is left out. On one core of a Zen 5: 95 % of the peak of vdpbf16ps from k = 512 on, 60 % at k = 32, where rounding and
// storing take the rest; 73 % there from bfloat16 to bfloat16.
namespace sigrun::kernels {
namespace {

constexpr int32_t kMaxDepth = 1024;       // of k that one pass over a block adds
constexpr int32_t kSkewBf16 = kCopyUnit;  // elements between rows, so that they do not meet in the same sets of L1
constexpr int32_t kLineBf16 = 32;         // elements of a cache line
static_assert(kMaxDepth >= kMostBf16OutputDepth && kMaxDepth % kDepthUnit == 0 && kDepthUnit % kGroupBf16 == 0);

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

/// The weights of a panel: where element k of a part begins, k a multiple of kGroupBf16.
struct PanelBf16 {
  Bf16* data;
  int32_t width, parts;
  ptrdiff_t part_stride;
  PanelBf16(Bf16* to, int32_t depth, int32_t panel_width, int32_t part_count)
      : data(to), width(panel_width), parts(part_count), part_stride(ptrdiff_t{kPartsByUnits ? kDepthUnit : depth} * panel_width) {}
  SIGRUN_INLINE Bf16* At(int32_t k) const {
    return data + (kPartsByUnits ? k / kDepthUnit * parts * part_stride + ptrdiff_t{k % kDepthUnit} * width : ptrdiff_t{k} * width);
  }
};

// Elements [first, first + kGroupBf16) of k of a panel's channels.
SIGRUN_INLINE void PackGroup(const WeightView<float>& from, int32_t first, int32_t k, int32_t count, const PanelBf16& panel) {
  Bf16* to = panel.At(first);
  for (int32_t j = 0; j < panel.width; ++j) {
    for (int32_t i = 0; i < kGroupBf16; ++i, ++to) {
      const float x = j < count && first + i < k ? from.data[j * from.stride_n + (first + i) * from.stride_k] : 0.0f;
      if (panel.parts == 3) {
        const ThreeBf16 three = SplitInThree(x);
        for (int32_t part = 0; part < 3; ++part) to[part * panel.part_stride] = three.part[part];
        continue;
      }
      *to = RoundToBf16(x);
      if (panel.parts == 2) to[panel.part_stride] = RestAfter(x, *to);
    }
  }
}

// A panel whose channels each lie in one run along k: rounded as runs, then dealt out in groups.
template <class Three = ThreeParts>
void PackRuns(const WeightView<float>& from, int32_t k, int32_t count, const PanelBf16& to) {
  constexpr int32_t kRun = 512;
  static_assert(kRun % kDepthUnit == 0);
  Bf16 elements[3 * kRun];
  const BlockBf16 run = {elements, 0, kRun, to.parts};
  for (int32_t first = 0; first < k; first += kRun) {
    const int32_t length = k - first < kRun ? k - first : kRun, whole = RoundUp(length, kDepthUnit);
    for (int32_t j = 0; j < to.width; ++j) {
      const int32_t rest = j < count ? length : 0;
      ZeroRow(run, elements + rest, whole - rest);
      if (j < count) RoundRow(run, from.data + j * from.stride_n + first, length, elements);
      for (int32_t part = 0; part < to.parts; ++part) {
        const ptrdiff_t column = part * to.part_stride + j * kGroupBf16;
        for (int32_t i = 0; i < whole; i += kGroupBf16) {
          memcpy(to.At(first + i) + column, elements + part * kRun + i, kGroupBf16 * sizeof(Bf16));
        }
      }
    }
  }
}

// The same by units of k of sixteen channels, where a tier turns these.
template <class Three>
void PackUnits(const WeightView<float>& from, int32_t k, int32_t count, const PanelBf16& to) {
  constexpr int32_t kSide = kDepthUnit / 2;
  alignas(64) Bf16 elements[3 * kSide * kDepthUnit];
  const BlockBf16 square = {elements, kDepthUnit, kSide * kDepthUnit, to.parts};
  for (int32_t first = 0; first < k; first += kDepthUnit) {
    const int32_t height = k - first < kDepthUnit ? k - first : kDepthUnit;
    for (int32_t column = 0; column < to.width; column += kSide) {
      for (int32_t j = 0; j < kSide; ++j) {
        Bf16* row = elements + j * kDepthUnit;
        const int32_t length = column + j < count ? height : 0;
        ZeroRow(square, row + length, kDepthUnit - length);
        if (length > 0) RoundRow(square, from.data + (column + j) * from.stride_n + first, length, row);
      }
      for (int32_t part = 0; part < to.parts; ++part) {
        Three::TurnPairs(elements + part * square.part_stride, to.At(first) + part * to.part_stride + 2 * column, 2 * to.width);
      }
    }
  }
}

template <class Three = ThreeParts>
void PackPanelBf16(const WeightView<float>& from, int32_t k, int32_t count, const PanelBf16& to) {
  if constexpr (Three::kTaken) {
    if (from.stride_k == 1) return PackUnits<Three>(from, k, count, to);
  } else {
    if (from.stride_k == 1) return PackRuns(from, k, count, to);
  }
  for (int32_t i = 0; i < RoundUp(k, kDepthUnit); i += kGroupBf16) {
    const bool rows = from.stride_n == 1 && count == to.width && i + kGroupBf16 <= k;
    const float* first = from.data + i * from.stride_k;
    if (rows && to.parts == 1) {
      PackRows(first, from.stride_k, to.width, to.At(i));
      continue;
    }
    if constexpr (Three::kTaken) {
      if (rows && to.parts == 3) {
        Three::PackRows(first, from.stride_k, to.width, to.At(i), to.part_stride);
        continue;
      }
    }
    PackGroup(from, i, k, count, to);
  }
}

void PackBf16(int32_t k, int32_t n, int32_t parts, WeightView<float> weights, const float* bias, std::byte* packed) {
  const int32_t depth = RoundUp(k, kDepthUnit);
  for (int32_t first = 0; first < n; first += kPanelBf16, weights.data += kPanelBf16 * weights.stride_n) {
    const int32_t width = PanelWidthBf16(n - first), count = n - first < width ? n - first : width;
    float* sums = reinterpret_cast<float*>(packed);
    for (int32_t j = 0; j < width; ++j) sums[j] = bias != nullptr && j < count ? bias[first + j] : 0.0f;
    PackPanelBf16(weights, k, count, {reinterpret_cast<Bf16*>(sums + width), depth, width, parts});
    packed += PanelBytes(depth, width, parts);
  }
}

/// An operand of floats or of bfloat16.
struct OperandBf16 {
  const std::byte* data;
  bool is_bf16;
  // From element i on; null if the operand is of the other kind, or absent.
  SIGRUN_INLINE const float* floats(ptrdiff_t i) const { return is_bf16 || data == nullptr ? nullptr : Of<float>() + i; }
  SIGRUN_INLINE const Bf16* rounded(ptrdiff_t i) const { return is_bf16 && data != nullptr ? Of<Bf16>() + i : nullptr; }
  template <class T>
  SIGRUN_INLINE const T* Of() const {
    return reinterpret_cast<const T*>(data);
  }
};

/// One group of a convolution.
struct GroupBf16 {
  const ConvShape& shape;
  OperandBf16 input, output, residual;
  const std::byte* packed;
  const EpilogueF32* epilogue;
  int32_t index;
  SIGRUN_INLINE ptrdiff_t input_channel() const { return static_cast<ptrdiff_t>(index) * shape.in_channels; }
  SIGRUN_INLINE ptrdiff_t input_stride() const { return static_cast<ptrdiff_t>(shape.in_channels) * shape.groups; }
};

// Elements [first, first + count) of k of rows that lie in the input as they are.
template <class T>
void RoundRows(const T* from, ptrdiff_t stride, int32_t rows, int32_t count, const BlockBf16& block) {
  const int32_t zeros = RoundUp(count, kDepthUnit) - count;
  for (int32_t i = 0; i < rows; ++i, from += stride) {
    Bf16* to = block.data + i * block.row_stride;
    RoundRow(block, from, count, to);
    ZeroRow(block, to + count, zeros);
  }
}

// The tile's operands from element `at` of the output on.
SIGRUN_INLINE void AimTile(const GroupBf16& g, ptrdiff_t at, bool begins, TileBf16& t) {
  t.sums.output = const_cast<float*>(g.output.floats(at));
  t.output = const_cast<Bf16*>(g.output.rounded(at));
  if (g.epilogue->residual != nullptr) {
    t.sums.residual = g.residual.floats(at) - t.sums.output;
  } else if (begins) {
    t.residual = g.residual.floats(at);
    t.bf16_residual = g.residual.rounded(at);
  }
}

// Adds elements [first, first + count) of k, which the block holds, to the sums of its rows.
void RunPassBf16(const GroupBf16& g, int32_t row, int32_t rows, int32_t first, int32_t count, const BlockBf16& block) {
  const ConvShape& s = g.shape;
  const int32_t k = s.taps() * s.in_channels, depth = RoundUp(k, kDepthUnit);
  const std::byte* panel = g.packed;
  UnfinishedTile unfinished;
  for (int32_t n = 0; n < s.out_channels;) {
    const int32_t width = PanelWidthBf16(s.out_channels - n), panels = PanelsAtOnceBf16(rows, s.out_channels - n);
    const int32_t channels = s.out_channels - n < width * panels ? s.out_channels - n : width * panels;
    const ptrdiff_t panel_bytes = PanelBytes(depth, width, block.parts);
    const int32_t channel = g.index * s.out_channels + n;
    TileBf16 t = {};
    t.row_stride = block.row_stride;
    t.part_stride = block.part_stride;
    const ptrdiff_t part_depth = kPartsByUnits ? kDepthUnit : depth, parts_together = kPartsByUnits ? block.parts : 1;
    t.weights = reinterpret_cast<const Bf16*>(panel + width * sizeof(float)) + parts_together * first * width;
    t.weights_part_stride = part_depth * width;
    t.weights_panel_stride = panel_bytes / static_cast<ptrdiff_t>(sizeof(Bf16));
    t.parts = block.parts;
    t.depth = RoundUp(count, kDepthUnit);
    t.sums = {panel, panel_bytes, nullptr, s.output_stride(), channels, first == 0, first + count == k, g.epilogue, 0, channel};
    t.ahead = reinterpret_cast<const std::byte*>(t.weights);
    if (n + channels < s.out_channels) {  // the tiles of these panels fetch the next, each its part
      t.ahead += panel_bytes * panels;
      t.ahead_bytes =
          kDepthAhead * width * parts_together * static_cast<ptrdiff_t>(sizeof(Bf16)) * kTileRowsBf16 / (rows + kTileRowsBf16 - 1);
    }
    for (int32_t i = 0; i < rows;) {
      const int32_t height = TileHeight(rows - i);
      t.rows = block.data + i * block.row_stride;
      AimTile(g, (row + i) * t.sums.output_stride + channel, first == 0, t);
      RunTileBf16(t, height, width, panels, unfinished);
      t.ahead += t.depth / kDepthAhead * t.ahead_bytes;
      i += height;
    }
    panel += panel_bytes * panels;
    n += channels;
  }
  unfinished.Finish();
}

/// How the rows of a convolution are cut into blocks; it follows from the shape alone.
struct BlockSize {
  int32_t rows;
  ptrdiff_t row_stride;
  ptrdiff_t Elements() const { return rows * row_stride; }
};

BlockSize ChooseBlock(const ConvShape& s, int32_t parts) {
  const int32_t depth = RoundUp(s.taps() * s.in_channels, kDepthUnit);
  const int32_t skewed = (depth < kMaxDepth ? depth : kMaxDepth) + kSkewBf16;
  const int32_t row_stride = kDepthUnit % kLineBf16 == 0 ? skewed | kLineBf16 : skewed;  // an odd number of lines
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

// All rows of one group that lie in the input as they are, `size.rows` at a time.
template <class T>
void RunMatrixBf16(const GroupBf16& g, const T* input, const BlockSize& size, const BlockBf16& block, Range rows) {
  const int32_t k = g.shape.taps() * g.shape.in_channels;
  const bool stands = kRowsInPlace > 0 && g.input.is_bf16 && k % kDepthUnit == 0;
  for (int32_t row = rows.begin; row < rows.end; row += size.rows) {
    const int32_t count = rows.end - row < size.rows ? rows.end - row : size.rows;
    const bool in_place = stands && count % (kRowsInPlace > 0 ? kRowsInPlace : 1) == 0;
    // There is one pass even if k is 0: it stores the bias.
    for (int32_t first = 0; first == 0 || first < k; first += kMaxDepth) {
      const int32_t depth = k - first < kMaxDepth ? k - first : kMaxDepth;
      const ptrdiff_t at = row * g.input_stride() + first;
      if (in_place) {
        RunPassBf16(g, row, count, first, depth, {const_cast<Bf16*>(g.input.rounded(g.input_channel() + at)), g.input_stride(), 0, 1});
        continue;
      }
      RoundRows(input + at, g.input_stride(), count, depth, block);
      RunPassBf16(g, row, count, first, depth, block);
    }
  }
}

// All rows of one group that are windows.
template <class T>
void RunWindowsBf16(const GroupBf16& g, const T* input, const BlockSize& size, const BlockBf16& block, const BlockBf16& lines, Range rows) {
  const int32_t k = g.shape.taps() * g.shape.in_channels;
  WindowRows window(g.shape);
  for (int32_t row = rows.begin; row < rows.end; row += size.rows) {
    const int32_t count = rows.end - row < size.rows ? rows.end - row : size.rows;
    window.RoundLines(input, row, count, lines);
    for (int32_t first = 0; first == 0 || first < k; first += kMaxDepth) {
      const int32_t depth = k - first < kMaxDepth ? k - first : kMaxDepth;
      window.Gather(lines, row, count, first, depth, kDepthUnit, block);
      RunPassBf16(g, row, count, first, depth, block);
    }
  }
}

template <class T>
void RunGroupBf16(const GroupBf16& g, const T* input, const BlockSize& size, const BlockBf16& block, Range rows) {
  if (IsMatrix(g.shape)) return RunMatrixBf16(g, input + g.input_channel(), size, block, rows);
  const BlockBf16 lines = {block.data + block.parts * size.Elements(), 0, LineElements(g.shape, size), block.parts};
  RunWindowsBf16(g, input + g.input_channel(), size, block, lines, rows);
}

void ConvBf16(const ConvShape& s, int32_t parts, Bf16Operands operands, const void* input, const std::byte* packed, void* output,
              const EpilogueF32& epilogue, std::byte* scratch, Range rows) {
  const TileUnit unit;
  const BlockSize size = ChooseBlock(s, parts);
  const BlockBf16 block = {reinterpret_cast<Bf16*>(scratch), size.row_stride, size.Elements(), parts};
  const size_t group_bytes = PackBf16Bytes(s.taps() * s.in_channels, s.out_channels, parts);
  EpilogueF32 end = epilogue;
  if (operands.output || operands.residual) end.residual = nullptr;  // which tiles are given apart
  GroupBf16 g = {s,
                 {static_cast<const std::byte*>(input), operands.input},
                 {static_cast<const std::byte*>(output), operands.output},
                 {reinterpret_cast<const std::byte*>(epilogue.residual), operands.residual},
                 packed,
                 &end,
                 0};
  for (; g.index < s.groups; ++g.index, g.packed += group_bytes) {
    if (operands.input) {
      RunGroupBf16(g, static_cast<const Bf16*>(input), size, block, rows);
    } else {
      RunGroupBf16(g, static_cast<const float*>(input), size, block, rows);
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
