#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/elementwise_i8.h"
#include "kernels/common/fixed_point.h"
#include "kernels/common/inline.h"
#include "kernels/common/rescale_i8.h"
#include "kernels/common/tile_end_i8.h"
#include "kernels/common/window.h"
#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

// 8-bit GEMM and convolution as an implicit GEMM over a tier's dot_i8.h, included before, which says
//   kGroup           how many k one dot product takes,
//   kPanelVectors    the widest panel, in vectors of kLanes output channels,
//   kTileRows        the tallest register tile,
//   Activation       what the tile reads: int8_t, uint8_t (value + 128) or int16_t,
//   CopyRow(Activation* dst, src, n, mask)   where the tier has a way of its own to copy n activations; it may store up to 63 bytes beyond,
//   Tile<rows, vectors>(TileRun, sums)   sums[rows][vectors * kLanes],
// and over plain_tiles_i8.h or amx_i8.h, which make tiles of any size of it.
// A block of output pixels is gathered into rows of k = (ky, kx, c), padded with zeros to whole groups; then each panel of weights passes
// over the block while it is in the cache. Where the input already is such a matrix the tile reads it in place.
namespace sigrun::kernels {
namespace {

constexpr bool kWide = sizeof(Activation) == 2;
constexpr int32_t kActivationOffset = static_cast<Activation>(-1) < 0 ? 0 : 128;
constexpr int32_t kPanel = kPanelVectors * kLanes;
constexpr int32_t kPairColumns = kLanes / 2, kMostPaired = kPanel - kPairColumns;  // channels of a vector and of a panel of GroupPairs
constexpr int32_t kMaxBlockRows = 512;
constexpr int32_t kFewChannels = 64;  // of groups that share pixels

// Packed: a header, then panels of kPanel output channels, the last one as many vectors wide as it needs. A panel is int32 bias[width] with
// the zero points folded in, int32 sum[width] of (w - weight_zero_point), int8 weights [k group][width][kGroup], or as GroupPairs has them.
struct WeightHeader {
  int32_t weight_zero_point;
  int32_t has_least;  // TileRun's, where kTellsLeast
};

struct PanelLayout {
  int32_t width;
  int32_t pairs;    // TileRun's
  int32_t columns;  // that weights are packed for
  size_t sums, weights, bytes;
  PanelLayout(int32_t k_groups, int32_t channels_left, bool by_pairs) {
    const int32_t whole = (channels_left + kColumnUnit - 1) / kColumnUnit * kColumnUnit;
    width = whole < kPanel ? whole : kPanel;
    pairs = by_pairs && channels_left <= kMostPaired ? (channels_left + kPairColumns - 1) / kPairColumns : 0;
    columns = pairs > 0 ? pairs * kPairColumns : width;
    sums = static_cast<size_t>(width) * sizeof(int32_t);
    weights = 2 * sums;
    bytes = (weights + static_cast<size_t>(k_groups) * columns * kGroup + 63) / 64 * 64;
  }
  // Where weights of a group of k begin, and how far from one channel to the next.
  ptrdiff_t Group(int32_t k) const {
    if (pairs == 0) return static_cast<ptrdiff_t>(k) * columns * kGroup;
    return static_cast<ptrdiff_t>(k / 2) * columns * 2 * kGroup + k % 2 * kGroup;
  }
  int32_t step() const { return pairs == 0 ? kGroup : 2 * kGroup; }
};

// A row of k = (ky, kx, c): segments that zeros complete to whole units. A segment is a line of the window, if that costs little; then
// lines of the input can be read in place.
struct Depth {
  int32_t segments, segment_k, segment_groups;
  bool pairs = false;         // a narrow last panel has pairs of groups
  int32_t unit = kDepthUnit;  // what segments must be multiples of to need no zeros
  SIGRUN_INLINE explicit Depth(const ConvShape& s) {
    const int64_t line = static_cast<int64_t>(s.kernel_width) * s.in_channels, whole = (line + kDepthUnit - 1) / kDepthUnit * kDepthUnit;
    // Zeros cost every panel, unless they are few or packed once.
    constexpr bool few = kGroup < 8 || RowPacker<Activation>::kUsed;
    const bool by_lines = 3 * whole <= 4 * line || (whole <= 2 * kGroup && (few || whole < 2 * line));
    const bool by_taps = kPairs && s.groups > 1 && s.in_channels <= kFewChannels;  // SharesPixels
    segments = by_taps ? s.taps() : by_lines ? s.kernel_height : 1;
    segment_k = by_taps ? s.in_channels : by_lines ? static_cast<int32_t>(line) : s.taps() * s.in_channels;
    segment_groups = (segment_k + kDepthUnit - 1) / kDepthUnit * (kDepthUnit / kGroup);
    const int32_t last = s.out_channels % kPanel;
    if (!kPairs || last == 0 || last > kMostPaired) return;
    // What two groups at once save has to pay for their sums to be joined.
    constexpr int32_t kShort = 8;
    if (last > kPairColumns && groups() <= kShort) return;
    // A group completes an odd number where that is cheaper than to take all one by one. Pieces of a product agree about k.
    const bool completes = s.out_channels == last && s.pixel_channels == 0 && (segment_groups > 4 || last <= kPairColumns || by_taps);
    pairs = segment_groups % 2 == 0 || completes;
    if (!pairs) return;
    segment_groups += segment_groups % 2;
    unit = 2 * kGroup;
  }
  int32_t groups() const { return segments * segment_groups; }
  // Rows need no zeros.
  bool IsWhole(const ConvShape& s) const { return groups() * kGroup == s.taps() * s.in_channels; }
};

size_t PackBytes(const ConvShape& s) {
  const Depth depth(s);
  const int32_t k_groups = depth.groups(), n = s.out_channels;
  size_t bytes = 64 + static_cast<size_t>(n / kPanel) * PanelLayout(k_groups, kPanel, depth.pairs).bytes;
  if (n % kPanel != 0) bytes += PanelLayout(k_groups, n % kPanel, depth.pairs).bytes;
  return bytes;
}

// What is done to weights: the top bit flipped, `subtracted` taken away, and weight_zero_point left to the sums.
struct WeightOffsets {
  uint8_t mask;
  int32_t subtracted, weight_zero_point;
};

// A zero point is subtracted from the weights if all of them stay int8.
WeightOffsets ChooseOffsets(const ConvShape& s, WeightView<int8_t> weights, bool flip, int32_t weight_zero_point) {
  const WeightOffsets left{static_cast<uint8_t>(flip ? 0x80 : 0), 0, weight_zero_point};
  if (weight_zero_point == 0) return left;
  if (!flip && (weights.stride_n == 1 || weights.stride_k == 1)) {
    const bool by_k = weights.stride_k == 1;
    const int32_t near = by_k ? s.taps() * s.in_channels : s.out_channels, far = by_k ? s.out_channels : s.taps() * s.in_channels;
    const int8_t* from = weights.data;
    int8_t low = 127, high = -128;
    for (int32_t i = 0; i < far; ++i, from += by_k ? weights.stride_n : weights.stride_k) {
      for (int32_t j = 0; j < near; ++j) {
        low = from[j] < low ? from[j] : low;
        high = from[j] > high ? from[j] : high;
      }
    }
    return low - weight_zero_point >= -128 && high - weight_zero_point <= 127 ? WeightOffsets{0, weight_zero_point, 0} : left;
  }
  for (int32_t n = 0; n < s.out_channels; ++n) {
    for (int32_t k = 0; k < s.taps() * s.in_channels; ++k) {
      const int8_t raw = weights.data[n * weights.stride_n + k * weights.stride_k];
      const int32_t w = static_cast<int8_t>(static_cast<uint8_t>(raw) ^ left.mask) - weight_zero_point;
      if (w < -128 || w > 127) return left;
    }
  }
  return {left.mask, weight_zero_point, 0};
}

// Groups of four of channels whose k lie side by side, for as many lines of 64 bytes as they are: two groups of two channels are moved at
// once. Returns how many k that are.
int32_t PackWholeLines(const WeightView<int8_t>& weights, int32_t k, int32_t channels, const PanelLayout& layout, uint8_t* begin) {
  constexpr int32_t kLine = 64;
  constexpr uint64_t kLow = UINT32_MAX;
  const ptrdiff_t group_bytes = layout.Group(1);
  int32_t done = 0;
  for (; done + kLine <= k; done += kLine, begin += kLine / 4 * group_bytes) {
    const int8_t* line = weights.data + done;
    int32_t n = 0;
    for (; n + 2 <= channels; n += 2, line += 2 * weights.stride_n) {
      uint8_t* to = begin + n * 4;
      for (int32_t i = 0; i < kLine; i += 8, to += 2 * group_bytes) {
        uint64_t a, b;
        std::memcpy(&a, line + i, sizeof(a));
        std::memcpy(&b, line + weights.stride_n + i, sizeof(b));
        const uint64_t first = (a & kLow) | b << 32, second = a >> 32 | (b & ~kLow);
        std::memcpy(to, &first, sizeof(first));
        std::memcpy(to + group_bytes, &second, sizeof(second));
      }
    }
    for (int32_t i = 0; n < channels && i < kLine; i += 4) std::memcpy(begin + n * 4 + i / 4 * group_bytes, line + i, 4);
  }
  return done;
}

// A segment of the channels of a panel whose k lie side by side, or lie side by side themselves, as the right sides of matrix products do:
// groups are moved whole, and summed apart.
void PackGroups(const WeightView<int8_t>& weights, const Depth& depth, int32_t first_group, int32_t subtracted, int32_t channels,
                const PanelLayout& layout, uint8_t* begin, int32_t* sums) {
  const ptrdiff_t step = layout.step();
  const bool in_lines = kGroup == 4 && step == kGroup && weights.stride_k == 1 && subtracted == 0;
  const int32_t moved = in_lines ? PackWholeLines(weights, depth.segment_k, channels, layout, begin + layout.Group(first_group)) : 0;
  for (int32_t k = moved; k < depth.segment_k; k += kGroup) {
    uint8_t* to = begin + layout.Group(first_group + k / kGroup);
    const int32_t count = depth.segment_k - k < kGroup ? depth.segment_k - k : kGroup;
    const int8_t* from = weights.data + k * weights.stride_k;
    if (count == kGroup && weights.stride_k == 1) {
      for (int32_t n = 0; n < channels; ++n) std::memcpy(to + n * step, from + n * weights.stride_n, kGroup);
    } else if (count == kGroup) {
      for (int32_t n = 0; n < channels; ++n) {
        for (int i = 0; i < kGroup; ++i) to[n * step + i] = static_cast<uint8_t>(from[i * weights.stride_k + n]);
      }
    } else {
      for (int32_t i = 0; i < count; ++i) {
        for (int32_t n = 0; n < channels; ++n) {
          to[n * step + i] = static_cast<uint8_t>(from[i * weights.stride_k + n * weights.stride_n]);
        }
      }
    }
    for (int32_t n = 0; n < channels && subtracted != 0; ++n) {
      for (int32_t i = 0; i < count; ++i) to[n * step + i] = static_cast<uint8_t>(to[n * step + i] - subtracted);
    }
    for (int32_t i = 0; i < count && weights.stride_k != 1; ++i) {
      for (int32_t n = 0; n < channels; ++n) sums[n] += from[i * weights.stride_k + n];
    }
  }
  for (int32_t n = 0; n < channels; ++n) {
    const int8_t* from = weights.data + n * weights.stride_n;
    for (int32_t k = 0; k < depth.segment_k && weights.stride_k == 1; ++k) sums[n] += from[k];
    sums[n] -= depth.segment_k * subtracted;
  }
}

SIGRUN_INLINE bool PacksGroups(const WeightView<int8_t>& weights, const Depth& depth, const WeightOffsets& offsets) {
  const bool near = weights.stride_k == 1 || weights.stride_n == 1;
  return near && offsets.mask == 0 && depth.groups() < (1 << 22) / kGroup;
}

void PackBiases(int32_t k, const WeightOffsets& offsets, const int32_t* bias, int32_t input_zero_point, int32_t channels,
                const int32_t* sums, const PanelLayout& layout, std::byte* panel) {
  for (int32_t n = 0; n < channels; ++n) {
    const int32_t centred = WrapSub(sums[n], WrapMul(k, offsets.weight_zero_point));
    reinterpret_cast<int32_t*>(panel)[n] = WrapSub(bias != nullptr ? bias[n] : 0, WrapMul(input_zero_point + kActivationOffset, centred));
    reinterpret_cast<int32_t*>(panel + layout.sums)[n] = centred;
  }
}

// One output channel of a panel.
void PackChannel(const int8_t* weights, ptrdiff_t stride_k, const Depth& depth, const WeightOffsets& offsets, int32_t bias,
                 int32_t input_zero_point, const PanelLayout& layout, int32_t column, std::byte* panel) {
  uint8_t* begin = reinterpret_cast<uint8_t*>(panel + layout.weights) + column * layout.step();
  int32_t sum = 0;
  for (int32_t segment = 0; segment < depth.segments; ++segment) {
    for (int32_t k = 0; k < depth.segment_groups * kGroup; k += kGroup) {
      uint8_t* out = begin + layout.Group(segment * depth.segment_groups + k / kGroup);
      for (int32_t i = 0; i < kGroup && k + i < depth.segment_k; ++i, weights += stride_k) {
        out[i] = static_cast<uint8_t>((static_cast<uint8_t>(*weights) ^ offsets.mask) - offsets.subtracted);
        sum = WrapAdd(sum, static_cast<int8_t>(out[i]));
      }
    }
  }
  // sum (a - za)(w - zw) = sum a' w - zw sum a' - za' (sum w - k zw), where a' = a + offset and za' = za + offset.
  const int32_t centred = WrapSub(sum, WrapMul(WrapMul(depth.segments, depth.segment_k), offsets.weight_zero_point));
  reinterpret_cast<int32_t*>(panel)[column] = WrapSub(bias, WrapMul(input_zero_point + kActivationOffset, centred));
  reinterpret_cast<int32_t*>(panel + layout.sums)[column] = centred;
}

int32_t HasLeast(const std::byte* from, const std::byte* end) {
  uint8_t any = 0;
  for (; from != end; ++from) any |= *from == std::byte{0x80} ? 1 : 0;
  return any;
}

void Pack(const ConvShape& s, WeightView<int8_t> weights, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
          int32_t weight_zero_point, std::byte* packed) {
  const Depth depth(s);
  const int32_t n = s.out_channels;
  std::memset(packed, 0, PackBytes(s));
  const WeightOffsets offsets = ChooseOffsets(s, weights, flip_weights, weight_zero_point);
  reinterpret_cast<WeightHeader*>(packed)->weight_zero_point = offsets.weight_zero_point;
  std::byte* panel = packed + 64;
  const auto tell_least = [&](const PanelLayout& layout) {
    int32_t& has_least = reinterpret_cast<WeightHeader*>(packed)->has_least;
    if (kTellsLeast<Activation> && has_least == 0) has_least = HasLeast(panel + layout.weights, panel + layout.bytes);
  };
  for (int32_t first = 0; first < n; first += kPanel) {
    const PanelLayout layout(depth.groups(), n - first, depth.pairs);
    const int32_t channels = n - first < layout.width ? n - first : layout.width;
    if (PacksGroups(weights, depth, offsets)) {
      int32_t sums[kPanel] = {};
      WeightView<int8_t> view{weights.data + first * weights.stride_n, weights.stride_n, weights.stride_k};
      for (int32_t segment = 0; segment < depth.segments; ++segment, view.data += depth.segment_k * weights.stride_k) {
        PackGroups(view, depth, segment * depth.segment_groups, offsets.subtracted, channels, layout,
                   reinterpret_cast<uint8_t*>(panel + layout.weights), sums);
      }
      PackBiases(depth.segments * depth.segment_k, offsets, bias == nullptr ? nullptr : bias + first, input_zero_point, channels, sums,
                 layout, panel);
      tell_least(layout);
      panel += layout.bytes;
      continue;
    }
    for (int32_t i = 0; i < channels; ++i) {
      PackChannel(weights.data + (first + i) * weights.stride_n, weights.stride_k, depth, offsets, bias != nullptr ? bias[first + i] : 0,
                  input_zero_point, layout, i, panel);
    }
    tell_least(layout);
    panel += layout.bytes;
  }
}

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
  const int32_t blocks = (rows + most - 1) / most, least = (rows + blocks - 1) / blocks;
  const int32_t even = (least + kMostRows - 1) / kMostRows * kMostRows;
  return even < most ? even : most;
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

// Windows whose lines are a few bytes, as in a first layer over one channel: what completes a row is written first, so that a line takes a
// few instructions.
constexpr int32_t kNarrowLine = 16;
SIGRUN_INLINE bool IsNarrow(const ConvShape& s, const Depth& depth) {
  return !kWide && depth.segments == 1 && s.dilation_w == 1 && s.groups == 1 && s.kernel_width * s.in_channels <= kNarrowLine;
}

// n bytes, at most kNarrowLine.
SIGRUN_INLINE void CopyNarrow(uint8_t* to, const uint8_t* from, ptrdiff_t n, uint64_t flip) {
  if (n >= 8) {
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
    run.k_groups = k_groups;
    run.segments = segments;
    run.segment_step = segment_step;
    run.line_segments = line_segments;
    run.line_step = window_step;
    run.has_least = has_least;
    run.flips = flips;
    return run;
  }
};

// A group's channels of a pixel, completed.
SIGRUN_INLINE void CopyPixel(const ConvShape& s, const Depth& k, const uint8_t* src, uint8_t mask, std::byte* to) {
  Activation* end = CopyActivations(reinterpret_cast<Activation*>(to), src, s.in_channels, mask);
  const ptrdiff_t left = static_cast<ptrdiff_t>(k.groups()) * kGroup - s.in_channels;
  if (left > 0) std::memset(end, 0, static_cast<size_t>(left) * sizeof(Activation));
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
  OutputPixel p = PixelOf(s, rows.begin);
  if (IsSparsePointwise(s)) {
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    for (int32_t row = rows.begin; row < rows.end; ++row, scratch += stride) {
      const ptrdiff_t line = static_cast<ptrdiff_t>(p.batch) * s.in_height + p.y * s.stride_h;
      const uint8_t* src = source.data + (line * s.in_width + p.x * s.stride_w) * depth + static_cast<ptrdiff_t>(group) * s.in_channels;
      CopyPixel(s, k, src, source.mask, scratch);
      NextPixel(s, &p);
    }
    return;
  }
  for (int32_t row = rows.begin; row < rows.end; ++row, scratch += stride) {
    GatherRow(s, k, source, p, group, source.ZeroPoint(row, p.batch), reinterpret_cast<Activation*>(scratch));
    NextPixel(s, &p);
  }
}

// Rows that are read once, by a single panel of each group, are flipped then, if not all of them fall into the same cache sets, and where
// that takes nothing away from the products: of an int8 convolution of 144 to 32 channels, to copy them takes an eighth.
SIGRUN_INLINE bool FlipsInTiles(const ConvShape& s) {
  if constexpr (!kFlipsBytes<Activation> || kTilesEndLate) return false;
  return s.groups == 1 && s.out_channels <= kPanel && s.in_channels % 512 != 0 && !CpuHas(kFewVectorPorts);
}

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
  if (in_place && !kWide && as_wanted && depth.IsWhole(s) && count % kRowUnit == 0 && IsPointwise(s)) {
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
            {first_column, first_column + static_cast<int32_t>(blocks.InputColumns(s, line_rows))}, source.ZeroPoint(rows.begin, batch),
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

// f(first row in the block, rows, what to multiply but the weights) for every tile.
template <class F>
SIGRUN_INLINE void ForTiles(const Block& block, int32_t most, F f) {
  TileRun run = block.Run();
  const uint8_t* line = block.data;
  int32_t x = block.offset;
  for (int32_t first = 0; first < block.rows; line += block.line_step, x = 0) {
    const int32_t left = block.line_rows - x < block.rows - first ? block.line_rows - x : block.rows - first, end = first + left;
    run.a = line + x * block.stride;
    for (int32_t rows = 0; first < end; first += rows, run.a += rows * block.stride) {
      if (block.flips) {  // by tiles of all rows, the last of which takes some again
        const int32_t again = end - first < most ? most - (end - first) : 0;
        first -= again;
        run.a -= again * block.stride;
        rows = most;
      } else {
        rows = NextTileRows(end - first, most);
      }
      f(first, rows, run);
    }
  }
}

// While the tiles of a panel run, each asks for its share of the next panel, whose first tile would else wait for memory. A single tile
// is as fast as memory.
struct LookAhead {
  const int8_t* next;
  ptrdiff_t share, step;
  LookAhead(const Block& block, int32_t tiles, const std::byte* panel, size_t bytes, bool last)
      : next(reinterpret_cast<const int8_t*>(panel)), share(0), step(0) {
    if (last || tiles <= 1 || block.k_groups == 0) return;  // without k there is nothing to ask for
    next += bytes;
    share = static_cast<ptrdiff_t>(static_cast<uint32_t>(bytes) / static_cast<uint32_t>(tiles));
    step = share / (block.k_groups * block.segments) + 1;
  }
  void Next(TileRun* run) {
    run->ahead = next;
    run->ahead_step = step;
    next += share;
  }
};

// The sums of the block's activations: products with ones, which stand in scratch behind the sums.
void SumRows(const ConvShape& s, const Block& block, int32_t* row_sums, int8_t* ones) {
  alignas(64) int32_t sums[kMostRows * kColumnUnit];
  alignas(64) const int32_t zeros[kColumnUnit] = {};
  const Depth depth(s);
  constexpr ptrdiff_t kGroupBytes = kColumnUnit * kGroup;
  const ptrdiff_t segment_bytes = depth.segment_groups * kGroupBytes;
  std::memset(ones, 0, static_cast<size_t>(segment_bytes));
  for (int32_t k = 0; k < depth.segment_k; ++k) {
    int8_t* group = ones + k / kGroup * kGroupBytes + k % kGroup;
    for (int32_t column = 0; column < kColumnUnit; ++column) group[column * kGroup] = 1;
  }
  for (int32_t i = 1; i < depth.segments; ++i) std::memcpy(ones + i * segment_bytes, ones, static_cast<size_t>(segment_bytes));
  ForTiles(block, kMostRows, [&](int32_t first, int32_t rows, TileRun& run) SIGRUN_INLINE_LAMBDA {
    run.weights = run.ahead = ones;
    run.bias = zeros;
    RunTile(run, rows, kColumnUnit, sums);
    for (int32_t r = 0; r < rows; ++r) row_sums[first + r] = sums[r * kColumnUnit];
  });
}

// sums[r][*] -= weight_zero_point * row_sums[r]
void SubtractRows(const int32_t* row_sums, int32_t weight_zero_point, int32_t rows, int32_t width, int32_t* sums) {
  for (int32_t r = 0; r < rows; ++r) {
    const I32 term = Set1(WrapMul(weight_zero_point, row_sums[r]));
    for (int32_t i = 0; i < width; i += kLanes) Store(sums + r * width + i, Load(sums + r * width + i) - term);
  }
}

// sums[*] -= zero_point * the sums of weights of panels of a layout.
void SubtractZeroPoint(int32_t zero_point, const std::byte* panel, const PanelLayout& layout, int32_t panels, int32_t* sums) {
  if (zero_point == 0) return;
  for (; panels > 0; --panels, panel += layout.bytes, sums += layout.width) {
    const int32_t* weight_sums = reinterpret_cast<const int32_t*>(panel + layout.sums);
    for (int32_t i = 0; i < layout.width; i += kLanes) Store(sums + i, Load(sums + i) - Set1(zero_point) * Load(weight_sums + i));
  }
}

// The panels of a group over the one row of a run, whose sums are taken many at once: epilogue.Row(row of output, channel, channels, sums).
template <class Epilogue, class Panels = RowPanels<Activation>>
SIGRUN_INLINE void RunRow(const ConvShape& s, TileRun& run, bool by_pairs, int32_t row, int32_t group, const std::byte* panel,
                          const Epilogue& epilogue) {
  constexpr int32_t kMost = 16 * kPanel;
  alignas(64) int32_t sums[kMost];
  const int32_t k_groups = run.k_groups * run.segments, zero_point = epilogue.RowZeroPoint(row);
  const auto begin = [&](const PanelLayout& layout) SIGRUN_INLINE_LAMBDA {
    run.bias = reinterpret_cast<const int32_t*>(panel);
    run.weights = run.ahead = reinterpret_cast<const int8_t*>(panel + layout.weights);
    run.pairs = layout.pairs;
  };
  [[maybe_unused]] const PanelLayout whole(k_groups, kPanel, by_pairs);
  for (int32_t n = 0; n < s.out_channels; n += kMost) {
    const int32_t end = s.out_channels - n < kMost ? s.out_channels : n + kMost;
    int32_t at = n;
    if constexpr (Panels::kUsed) {
      const int32_t count = (end - n) / kPanel;
      begin(whole);
      Panels::Run(run, count, static_cast<ptrdiff_t>(whole.bytes), sums);
      SubtractZeroPoint(zero_point, panel, whole, count, sums);
      at += count * kPanel;
      panel += static_cast<ptrdiff_t>(count) * static_cast<ptrdiff_t>(whole.bytes);
    }
    for (; at < end; at += kPanel) {
      const PanelLayout layout(k_groups, s.out_channels - at, by_pairs);
      begin(layout);
      RunTile(run, 1, layout.width, sums + (at - n));
      SubtractZeroPoint(zero_point, panel, layout, 1, sums + (at - n));
      panel += layout.bytes;
    }
    epilogue.Row(row, group * s.out_channels + n, end - n, sums);
  }
}

// RunBlock where rows are packed for the tiles.
template <class Packer, class Epilogue>
void RunPacked(const ConvShape& s, const Block& block, int32_t group, const std::byte* panels, std::byte* scratch, Epilogue& epilogue) {
  struct PackedTile {
    const uint8_t* data;
    int32_t first, rows, full;  // full: whole tiles that follow each other from here on
  };
  PackedTile tiles[kMostPackedTiles];
  alignas(64) int32_t sums[kMostRows * kPanel];
  uint8_t *const begin = reinterpret_cast<uint8_t*>(scratch), *to = begin;
  const int32_t most = PackedTiles(s).most;
  int32_t count = 0;
  const auto multiply = [&](TileRun run) {
    for (int32_t i = count - 1, full = 0; i >= 0; --i) tiles[i].full = full = tiles[i].rows == kMostRows ? full + 1 : 0;
    const std::byte* panel = panels;
    for (int32_t n = 0; n < s.out_channels; n += kPanel) {
      const int32_t left = s.out_channels - n;
      const PanelLayout layout(block.k_groups * block.segments, left, block.pairs);
      epilogue.Panel(group * s.out_channels + n, left < layout.width ? left : layout.width,
                     reinterpret_cast<const int32_t*>(panel + layout.sums));
      run.weights = reinterpret_cast<const int8_t*>(panel + layout.weights);
      run.bias = reinterpret_cast<const int32_t*>(panel);
      for (int32_t i = 0; i < count;) {
        const PackedTile& tile = tiles[i];
        run.a = tile.data;
        const bool ends = epilogue.EndsInTile(block.first + tile.first, layout.width, &run);
        const bool whole = tile.full > 0 && (run.end != nullptr || (ends && run.float_end->continues));
        const int32_t length = whole ? tile.full : 1;
        Packer::Run(run, tile.rows, length, sums);
        if (!ends) epilogue.Tile(block.first + tile.first, tile.rows, layout.width, sums);
        i += length;
      }
      panel += layout.bytes;
    }
    count = 0;
    to = begin;
  };
  TileRun last{};
  ForTiles(block, kMostRows, [&](int32_t first, int32_t rows, TileRun& run) SIGRUN_INLINE_LAMBDA {
    last = run;
    tiles[count++] = {to, first, rows, 0};
    to = Packer::Pack(run, rows, to);
    if (count == most) multiply(run);
  });
  if (count > 0) multiply(last);
}

/// The end of a tile of a panel, done in pieces while the next one runs. The sums of the two stand apart, and are offset where they end as
/// those of registers do. Run is a parameter, since not every tier has EndSums.
template <class Epilogue, class Run = TileRun>
class LateEnd {
 public:
  LateEnd(Epilogue& epilogue, bool offset) : epilogue_(epilogue), offset_(offset) {}
  /// Where the sums of the next tile belong.
  int32_t* sums() { return sums_[next_]; }
  void Cut(int32_t pieces) {
    const int32_t piece = pieces == 0 ? 0 : (rows_ + pieces - 1) / pieces;
    piece_ = piece > kLeastPiece ? piece : kLeastPiece;
  }
  SIGRUN_INLINE void Piece() {
    if (rows_ > 0) Rows(rows_ < piece_ ? rows_ : piece_);
  }
  void Rest() {
    if (rows_ > 0) Rows(rows_);
  }
  /// The tile before has ended; that whose sums are in sums() is to.
  void Take(int32_t first, int32_t rows, int32_t width) {
    from_ = sums_[next_];
    next_ = 1 - next_;
    first_ = first;
    rows_ = rows;
    width_ = width;
  }

 private:
  static constexpr int32_t kLeastPiece = 4;  // each reads the parameters of the panel
  [[gnu::noinline]] void Rows(int32_t rows) {
    if (offset_) {
      Run run{};
      epilogue_.EndsInTile(first_, width_, &run);
      EndSums(run, rows, width_, from_);
    } else {
      epilogue_.Tile(first_, rows, width_, from_);
    }
    first_ += rows;
    rows_ -= rows;
    from_ += rows * width_;
  }
  Epilogue& epilogue_;
  bool offset_;
  const int32_t* from_ = nullptr;
  int32_t first_ = 0, rows_ = 0, width_ = 0, piece_ = 0, next_ = 0;
  alignas(64) int32_t sums_[2][kMostRows * kPanel];
};

// The tiles of a panel, each of which ends while the next one runs.
template <class Epilogue>
void RunPanelLate(const Block& block, const std::byte* panel, const PanelLayout& layout, LookAhead& ahead, const int32_t* row_sums,
                  int32_t weight_zero_point, Epilogue& epilogue) {
  TileRun end{};
  epilogue.EndsInTile(block.first, layout.width, &end);
  const bool offset = end.end != nullptr;
  alignas(64) int32_t bias[kPanel];
  for (int32_t i = 0; i < layout.width; i += kLanes) {
    Store(bias + i, Load(reinterpret_cast<const int32_t*>(panel) + i) + Set1(offset ? INT32_MIN : 0));
  }
  LateEnd<Epilogue> late(epilogue, offset);
  ForTiles(block, kMostRows, [&](int32_t first, int32_t rows, TileRun& run) SIGRUN_INLINE_LAMBDA {
    run.weights = reinterpret_cast<const int8_t*>(panel + layout.weights);
    run.bias = bias;
    ahead.Next(&run);
    int32_t* sums = late.sums();
    RunTile(run, rows, layout.width, sums, late);
    late.Rest();
    if (row_sums != nullptr) SubtractRows(row_sums + first, weight_zero_point, rows, layout.width, sums);
    late.Take(block.first + first, rows, layout.width);
  });
  late.Rest();
}

// Every panel of a group over every tile of the block: epilogue.Panel(channel of the tensor, channels, weight sums) announces a panel,
// epilogue.Tile(row of output, rows, panel width, sums) takes the sums of a tile, unless epilogue.EndsInTile(row, run) says that the tile
// makes them bytes.
template <class Epilogue>
void RunBlock(const ConvShape& s, const Block& block, int32_t group, const std::byte* weights, std::byte* scratch, Epilogue& epilogue) {
  static_assert(kPanelVectors <= kMostVectors);
  [[maybe_unused]] alignas(64) int32_t sums[kMostRows * kPanel];
  const int32_t weight_zero_point = reinterpret_cast<const WeightHeader*>(weights)->weight_zero_point;
  int32_t* row_sums = nullptr;
  if (weight_zero_point != 0) {
    scratch += ActivationBytes(s);
    row_sums = reinterpret_cast<int32_t*>(scratch);
    SumRows(s, block, row_sums, reinterpret_cast<int8_t*>(scratch + SumBytes(s)));
  }
  if constexpr (RowPacker<Activation>::kUsed) {
    if (weight_zero_point == 0 && block.rows > kMostRows / 2 && PackedTiles(s).most > 0) {
      return RunPacked<RowPacker<Activation>>(s, block, group, weights + 64, scratch + ActivationBytes(s), epilogue);
    }
  }
  const int32_t line_tiles = (block.line_rows + kMostRows - 1) / kMostRows;
  const int32_t tiles = block.rows == block.line_rows ? line_tiles : line_tiles * ((block.rows + block.line_rows - 1) / block.line_rows);
  const std::byte* panel = weights + 64;
  if (block.rows == 1 && weight_zero_point == 0 && epilogue.TakesRow()) {
    TileRun run = block.Run();
    return RunRow(s, run, block.pairs, block.first, group, panel, epilogue);
  }
  for (int32_t n = 0; n < s.out_channels; n += kPanel) {
    const int32_t left = s.out_channels - n;
    const PanelLayout layout(block.k_groups * block.segments, left, block.pairs);
    epilogue.Panel(group * s.out_channels + n, left < layout.width ? left : layout.width,
                   reinterpret_cast<const int32_t*>(panel + layout.sums));
    LookAhead ahead(block, tiles, panel, layout.bytes, left <= kPanel);
    if constexpr (kTilesEndLate) {
      RunPanelLate(block, panel, layout, ahead, row_sums, weight_zero_point, epilogue);
    } else {
      ForTiles(block, PairRows(kMostRows, layout.pairs), [&](int32_t first, int32_t rows, TileRun& run) SIGRUN_INLINE_LAMBDA {
        run.weights = reinterpret_cast<const int8_t*>(panel + layout.weights);
        run.bias = reinterpret_cast<const int32_t*>(panel);
        run.pairs = layout.pairs;
        ahead.Next(&run);
        if (kTilesEnd && weight_zero_point == 0 && epilogue.EndsInTile(block.first + first, layout.width, &run)) {
          return RunTile(run, rows, layout.width, sums);
        }
        RunTile(run, rows, layout.width, sums);
        if (weight_zero_point != 0) SubtractRows(row_sums + first, weight_zero_point, rows, layout.width, sums);
        epilogue.Tile(block.first + first, rows, layout.width, sums);
      });
    }
    panel += layout.bytes;
  }
}

// A row that is a pixel of the input. Its products may take no longer than to ask what else there might be, so that nothing is asked.
template <class Epilogue>
[[gnu::noinline]] void RunPixel(const ConvShape& s, const Source& source, const std::byte* packed, std::byte* scratch, int32_t row,
                                Epilogue& epilogue) {
  const Depth depth(s);
  TileRun run{};
  run.a = source.data + static_cast<ptrdiff_t>(row) * s.in_channels;
  run.k_groups = depth.groups();
  run.has_least = reinterpret_cast<const WeightHeader*>(packed)->has_least != 0;
  if (kWide || source.mask != 0 || !depth.IsWhole(s)) {
    CopyPixel(s, depth, run.a, source.mask, scratch);
    run.a = reinterpret_cast<const uint8_t*>(scratch);
  }
  RunRow(s, run, depth.pairs, row, 0, packed + 64, epilogue);
}

// Runs the blocks of the rows and their groups.
template <class Epilogue>
void RunConv(const ConvShape& s, const Source& source, const std::byte* packed, std::byte* scratch, Range rows, Epilogue& epilogue) {
  const bool single = rows.end - rows.begin == 1 && s.groups == 1 && IsPointwise(s);
  if (single && reinterpret_cast<const WeightHeader*>(packed)->weight_zero_point == 0 && epilogue.TakesRow()) {
    return RunPixel(s, source, packed, scratch, rows.begin, epilogue);
  }
  [[maybe_unused]] const TileSession session(rows.end - rows.begin);
  const bool shared = SharesPixels(s);
  const ConvShape all = shared ? AllGroups(s) : ConvShape{}, &gathered = shared ? all : s;
  const Depth own(s), depth = shared ? Depth(all) : own;
  const LineBlocks lines(gathered, depth);
  const bool by_lines = lines.lines > 0 && (source.row_zero_point == nullptr || source.per_batch);
  const bool in_place = !shared || s.in_channels % own.unit == 0;  // nothing is read beyond the input
  const bool flips = FlipsInTiles(gathered) && epilogue.MayRepeat();
  const int32_t step = by_lines ? 0 : EvenBlockRows(gathered, depth, rows.end - rows.begin);
  const size_t group_bytes = s.groups > 1 ? PackBytes(s) : 0;
  while (rows.begin < rows.end) {
    const Range some{rows.begin, rows.end - rows.begin < step ? rows.end : rows.begin + step};
    int32_t done = 0;
    for (int32_t first = 0; first < s.groups; first += shared ? s.groups : 1) {
      Block block = by_lines ? MakeLineBlock(gathered, depth, lines, source, first, rows, scratch)
                             : MakeBlock(gathered, depth, source, first, some, in_place, flips, scratch);
      block.pairs = own.pairs;
      done = block.rows;
      for (int32_t group = first; group < (shared ? s.groups : first + 1); ++group) {
        const std::byte* weights = packed + group * group_bytes;
        block.has_least = reinterpret_cast<const WeightHeader*>(weights)->has_least != 0;
        if (!shared) {
          RunBlock(s, block, group, weights, scratch, epilogue);
        } else {
          RunBlock(s, OfGroup(s, own, group, block, depth, by_lines ? &lines : nullptr), group, weights, scratch, epilogue);
        }
      }
    }
    rows.begin += done;
  }
}

// Requantises to bytes. The parameters of a panel that does not fill its vectors are copied and completed.
struct RequantizeEpilogue {
  uint8_t* output;
  ptrdiff_t output_stride;
  const RequantizeParams& params;
  ByteOutput bytes = MakeByteOutput(params);
  int32_t channel = 0, channels = 0;
  bool rescalable = false, ends_in_tile = false;
  TileEnd end;
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
    ends_in_tile = false;
    if (params.scale != nullptr) {
      scale = whole ? params.scale + first : Complete(params.scale + first, completed.scale);
      return;
    }
    multiplier = whole ? params.multiplier + first : Complete(params.multiplier + first, completed.multiplier);
    shift = whole ? params.shift + first : Complete(params.shift + first, completed.shift);
    rescalable = bytes.fits && AreRescalable(multiplier, shift, n, bytes.zero_point);
    if (!kTilesEnd || !rescalable) return;
    end.bytes = bytes;
    if (params.add != nullptr) end.bytes = MakeByteOutput(params.add->output_offset, params.add->min, params.add->max);
    ends_in_tile = params.add == nullptr || (params.add->linear.holds && end.bytes.fits);
    if (!ends_in_tile) return;
    end.out_stride = output_stride;
    end.channels = n;
    end.never_below_zero = params.min >= params.zero_point;
    if (params.add != nullptr) {
      end.min = Set1(params.min);
      end.max = Set1(params.max);
      end.linear = MakeLinear(params.add->linear);
    }
    for (int32_t i = 0; i < n; i += kLanes) {
      end.rescale[i / kLanes] = MakeRescale(Load(multiplier + i), Set1(0) - Load(shift + i), bytes.zero_point);
    }
  }
  SIGRUN_INLINE bool EndsInTile(int32_t row, int32_t /*width*/, TileRun* run) const {
    run->end = ends_in_tile ? &end : nullptr;
    const ptrdiff_t at = row * output_stride + channel;
    run->out = output + at;
    run->residual = ends_in_tile && params.add != nullptr ? params.residual + at : nullptr;
    return ends_in_tile;
  }
  SIGRUN_INLINE bool MayRepeat() const { return params.add == nullptr; }
  SIGRUN_INLINE bool TakesRow() const { return params.scale != nullptr && bytes.fits && params.add == nullptr; }
  SIGRUN_INLINE static int32_t RowZeroPoint(int32_t /*row*/) { return 0; }
  void Row(int32_t row, int32_t first, int32_t n, const int32_t* sums) const {
    const ByteOutput to = bytes;
    uint8_t* out = output + row * output_stride + first;
    const double* from = params.scale + first;
    int32_t i = 0;
    const auto real = [&](int32_t at) SIGRUN_INLINE_LAMBDA { return MakeRealScale(from + at, to.zero_point); };
    if (params.bounded) {
      for (; i + kLanes <= n; i += kLanes) StoreLanes(out + i, ToBytes(Rescaled<true>(Load(sums + i), real(i)), to));
    } else {
      for (; i + kLanes <= n; i += kLanes) StoreLanes(out + i, ToBytes(Rescaled(Load(sums + i), real(i)), to));
    }
    if (i == n) return;
    double last[kLanes] = {};
    for (int32_t k = i; k < n; ++k) last[k - i] = from[k];
    StoreLanes(out + i, ToBytes(Rescaled(Load(sums + i), MakeRealScale(last, to.zero_point)), to), n - i);
  }
  template <class T>
  const T* Complete(const T* from, T (&to)[kPanel]) const {
    for (int32_t i = 0; i < kPanel; ++i) to[i] = i < channels ? from[i] : T{0};
    return to;
  }

  /// One vector of channels of every row: n of its lanes.
  template <class ToOutput>
  SIGRUN_INLINE void Column(uint8_t* out, ptrdiff_t stride, int32_t n, int32_t rows, int32_t width, const int32_t* sums,
                            ToOutput to_output) const {
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
  SIGRUN_INLINE void GeneralColumn(uint8_t* out, ptrdiff_t stride, int32_t i, int32_t rows, int32_t width, const int32_t* sums) const {
    const I32 zero_point = Set1(params.zero_point), min = Set1(params.min), max = Set1(params.max);
    for (int32_t row = 0; row < rows; ++row) {
      const I32 x = Load(sums + row * width);
      const I32 y = Clamp((params.scale != nullptr ? RoundScaled(x, scale + i) : Requantized(x, i)) + zero_point, min, max);
      uint8_t* to = out + row * stride;
      if (channels - i >= kLanes) {
        StoreLow8(to, y);
      } else {
        StoreLow8(to, y, channels - i);
      }
    }
  }
  void Tile(int32_t first, int32_t rows, int32_t width, const int32_t* sums) const {
    const ptrdiff_t at = static_cast<ptrdiff_t>(first) * output_stride + channel;
    if (params.add == nullptr) return StoreBytes(output + at, output_stride, rows, width, sums);
    // The residual may stand where the sum is stored.
    alignas(64) uint8_t before[kMostRows * kPanel];
    StoreBytes(before, kPanel, rows, width, sums);
    for (int32_t row = 0; row < rows; ++row) {
      const ptrdiff_t to = at + row * output_stride;
      AddElements(reinterpret_cast<const int8_t*>(before + row * kPanel), params.residual + to, reinterpret_cast<int8_t*>(output + to),
                  static_cast<size_t>(channels), *params.add, Operands::kVectorVector);
    }
  }
  void StoreBytes(uint8_t* out, ptrdiff_t stride, int32_t rows, int32_t width, const int32_t* sums) const {
    const ByteOutput to = bytes;  // in registers: a store of bytes may change any memory
    for (int32_t i = 0; i < channels; i += kLanes, out += kLanes, sums += kLanes) {
      if (params.scale != nullptr && bytes.fits) {
        const RealScale real = MakeRealScale(scale + i, to.zero_point);
        if (params.bounded && to.whole) {
          Column(out, stride, channels - i, rows, width, sums,
                 [=](I32 x) SIGRUN_INLINE_LAMBDA { return SaturateBytes(Rescaled<true>(x, real)); });
        } else {
          Column(out, stride, channels - i, rows, width, sums, [=](I32 x) SIGRUN_INLINE_LAMBDA { return ToBytes(Rescaled(x, real), to); });
        }
      } else if (rescalable && params.scale == nullptr) {
        const Rescale rescale = MakeRescale(Load(multiplier + i), Set1(0) - Load(shift + i), to.zero_point);
        if (to.whole) {
          Column(out, stride, channels - i, rows, width, sums,
                 [=](I32 x) SIGRUN_INLINE_LAMBDA { return SaturateBytes(Rescaled(x, rescale)); });
        } else {
          Column(out, stride, channels - i, rows, width, sums,
                 [=](I32 x) SIGRUN_INLINE_LAMBDA { return ToBytes(Rescaled(x, rescale), to); });
        }
      } else {
        GeneralColumn(out, stride, i, rows, width, sums);
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
  const float* residual;
  ClampF32 clamp;
  bool is_deep;
  int32_t channel = 0, channels = 0;
  const int32_t* weight_sums = nullptr;
  alignas(64) float scale[kPanel];  // a single row takes no panel, and does without a fill
  alignas(64) float addend[kPanel];
  FloatEnd end;
  int32_t no_zero_points[kMostRows];

  FloatEpilogue(const ConvShape& s, const Source& from, float* to, const float* row_scales, const float* channel_scales,
                const float* addends, const float* added, ClampF32 bounds)
      : shape(s),
        source(from),
        output(to),
        output_stride(s.output_stride()),
        row_scale(row_scales),
        channel_scale(channel_scales),
        bias(addends),
        residual(added),
        clamp(bounds),
        is_deep(int64_t{s.taps()} * s.in_channels > kMostInFloatEnd) {}

  // Rows or their one image have parameters of their own.
  SIGRUN_INLINE bool EndsInTile(int32_t row, int32_t /*width*/, TileRun* run) {
    run->float_end = nullptr;
    if (!kTilesEndInFloats || (source.per_batch && shape.batch > 1) || is_deep) return false;
    const int32_t own = source.per_batch ? 0 : row;
    const ptrdiff_t at = row * output_stride + channel;
    end.row_scale = row_scale + own;
    end.continues = source.row_zero_point != nullptr;
    end.row_zero_point = source.row_zero_point == nullptr ? no_zero_points : source.row_zero_point + own;
    end.out = output + at;
    end.residual = residual == nullptr ? nullptr : residual + at;
    run->float_end = &end;
    return true;
  }
  SIGRUN_INLINE bool MayRepeat() const { return residual == nullptr; }
  SIGRUN_INLINE bool TakesRow() const { return residual == nullptr; }
  SIGRUN_INLINE int32_t Image(int32_t row) const { return source.per_batch ? row / (shape.out_height * shape.out_width) : 0; }
  SIGRUN_INLINE int32_t RowZeroPoint(int32_t row) const { return source.ZeroPoint(row, Image(row)); }
  void Row(int32_t row, int32_t first, int32_t n, const int32_t* sums) const {
    const F32 factor = Set1(row_scale[source.per_batch ? Image(row) : row]);
    const F32 min = Set1(clamp.min), max = Set1(clamp.max), none = Set1(0.0f);
    float* out = output + row * output_stride + first;
    const float *scales = channel_scale + first, *addends = bias != nullptr ? bias + first : nullptr;
    const auto end = [=](const int32_t* sum, F32 by, F32 with)
                         SIGRUN_INLINE_LAMBDA { return Min(max, Max(min, ToFloat(Load(sum)) * (factor * by) + with)); };
    int32_t i = 0;
    for (; i + kLanes <= n; i += kLanes) Store(out + i, end(sums + i, Load(scales + i), addends != nullptr ? Load(addends + i) : none));
    if (i == n) return;
    const int32_t few = n - i;
    StoreFew(out + i, end(sums + i, LoadFew(scales + i, few), addends != nullptr ? LoadFew(addends + i, few) : none), few);
  }
  void Panel(int32_t first, int32_t n, const int32_t* sums) {
    channel = first;
    channels = n;
    weight_sums = sums;
    for (int32_t i = 0; i < n; ++i) {
      scale[i] = channel_scale[first + i];
      addend[i] = bias != nullptr ? bias[first + i] : 0.0f;
    }
    for (int32_t i = n; i < kPanel; ++i) scale[i] = addend[i] = 0.0f;
    for (int32_t& none : no_zero_points) none = 0;
    end.weight_sums = sums;
    end.scale = scale;
    end.addend = addend;
    end.clamp = clamp;
    end.plain = n % kLanes == 0 && clamp.min == -__builtin_inff() && clamp.max == __builtin_inff();
    end.channels = n;
    end.stride = output_stride;
    end.row_step = source.per_batch ? 0 : 1;
  }
  // Of a panel that fills its vectors, whose parameters then stay in registers; rows or their one image have parameters of their own.
  void WholeTile(int32_t first, int32_t rows, const int32_t* sums) const {
    I32 of_weights[kPanelVectors];
    F32 scales[kPanelVectors], addends[kPanelVectors];
    SIGRUN_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) {
      of_weights[v] = Load(weight_sums + v * kLanes);
      scales[v] = Load(scale + v * kLanes);
      addends[v] = Load(addend + v * kLanes);
    }
    const F32 min = Set1(clamp.min), max = Set1(clamp.max);
    for (int32_t r = 0; r < rows; ++r, sums += kPanel) {
      const ptrdiff_t at = (first + r) * output_stride + channel;
      const int32_t own = source.per_batch ? 0 : first + r;
      const I32 zero_point = Set1(source.row_zero_point == nullptr ? source.zero_point : source.row_zero_point[own]);
      const F32 factor = Set1(row_scale[own]);
      SIGRUN_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        F32 y = ToFloat(Load(sums + v * kLanes) - zero_point * of_weights[v]) * (factor * scales[v]) + addends[v];
        if (residual != nullptr) y = y + Load(residual + at + v * kLanes);
        Store(output + at + v * kLanes, Min(max, Max(min, y)));
      }
    }
  }
  void Tile(int32_t first, int32_t rows, int32_t width, const int32_t* sums) const {
    if (channels == kPanel && (!source.per_batch || shape.batch == 1)) return WholeTile(first, rows, sums);
    for (int32_t r = 0; r < rows; ++r) {
      const int32_t row = first + r;
      const int32_t batch = source.per_batch && shape.batch > 1 ? row / (shape.out_height * shape.out_width) : 0;
      const I32 zero_point = Set1(source.ZeroPoint(row, batch));
      const F32 factor = Set1(row_scale[source.per_batch ? batch : row]);
      const F32 min = Set1(clamp.min), max = Set1(clamp.max);
      const ptrdiff_t at = row * output_stride + channel;
      for (int32_t i = 0; i < channels; i += kLanes) {
        const int32_t left = channels - i;
        F32 y = ToFloat(Load(sums + r * width + i) - zero_point * Load(weight_sums + i)) * (factor * Load(scale + i)) + Load(addend + i);
        if (residual != nullptr) y = y + LoadUpTo(residual + at + i, left);
        StoreUpTo(output + at + i, Min(max, Max(min, y)), left);
      }
    }
  }
};

void Conv(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize, std::byte* scratch,
          Range rows) {
  const bool wants_unsigned = kActivationOffset != 0;
  const uint8_t mask = input.is_unsigned == wants_unsigned ? 0 : 0x80;
  const Source source{static_cast<const uint8_t*>(input.data), mask, input.zero_point, nullptr, false};
  RequantizeEpilogue epilogue{static_cast<uint8_t*>(output), s.output_stride(), requantize};
  RunConv(s, source, packed, scratch, rows, epilogue);
}

void ConvF32(const ConvShape& s, const int8_t* input, const std::byte* packed, float* output, const float* row_scale,
             const int32_t* row_zero_point, bool scale_per_batch, const float* channel_scale, const float* bias, const float* residual,
             ClampF32 clamp, std::byte* scratch, Range rows) {
  const uint8_t mask = kActivationOffset != 0 ? 0x80 : 0;
  const Source source{reinterpret_cast<const uint8_t*>(input), mask, 0, row_zero_point, scale_per_batch};
  FloatEpilogue epilogue(s, source, output, row_scale, channel_scale, bias, residual, clamp);
  RunConv(s, source, packed, scratch, rows, epilogue);
}

inline void OverlayConvI8(Kernels& table) {
  table.i8_columns = kColumnUnit;
  table.pack_i8_bytes = PackBytes;
  table.pack_i8 = Pack;
  table.conv_i8_scratch_bytes = ConvScratchBytes;
  table.conv_i8 = Conv;
  table.conv_i8_f32 = ConvF32;
}

}  // namespace
}  // namespace sigrun::kernels
