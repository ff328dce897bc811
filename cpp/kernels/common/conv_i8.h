#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/blocks_i8.h"
#include "kernels/common/epilogue_i8.h"
#include "kernels/common/fixed_point.h"
#include "kernels/common/inline.h"
#include "kernels/common/pack_i8.h"
#include "kernels/common/tile_run_i8.h"
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

// f(first row in the block, rows, what to multiply but the weights) for every tile.
template <class F>
SIGRUN_INLINE void ForTiles(const Block& block, int32_t most, F f) {
  TileRun run = block.Run();
  const uint8_t* line = block.data;
  int32_t x = block.offset;
  const bool two_lines = block.TakesTwoLines();
  for (int32_t first = 0; first < block.rows; line += block.line_step, x = 0) {
    if (two_lines && x == 0 && block.rows - first >= kMostRows) {
      run.a = line;
      f(first, kMostRows, run);
      first += kMostRows;
      line += block.line_step;
      continue;
    }
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
    const int32_t least = pieces == 0 ? 0 : (rows_ + pieces - 1) / pieces;
    piece_ = (least + kEndsTogether - 1) / kEndsTogether * kEndsTogether;
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
  const int32_t lines = block.rows == block.line_rows ? 1 : (block.rows + block.line_rows - 1) / block.line_rows;
  const int32_t tiles = block.TakesTwoLines() ? (lines + 1) / 2 : line_tiles * lines;
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
  const bool by_lines = lines.lines > 0 && (source.row_zero_point == nullptr || source.is_one_image);
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

void Conv(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize, std::byte* scratch,
          Range rows) {
  const uint8_t mask = input.is_unsigned == kTakesUnsigned ? 0 : 0x80;
  const Source source{static_cast<const uint8_t*>(input.data), mask, input.zero_point, nullptr, false};
  RequantizeEpilogue epilogue{static_cast<uint8_t*>(output), s.output_stride(), requantize};
  RunConv(s, source, packed, scratch, rows, epilogue);
}

void ConvF32(const ConvShape& s, InputI8 input, const std::byte* packed, float* output, const float* row_scale,
             const int32_t* row_zero_point, bool scale_per_batch, const float* channel_scale, const float* bias, const float* residual,
             ClampF32 clamp, std::byte* scratch, Range rows) {
  const uint8_t mask = input.is_unsigned == kTakesUnsigned ? 0 : 0x80;
  ConvShape image = s;
  image.batch = 1;
  const int32_t pixels = image.rows();
  if (!scale_per_batch || s.batch == 1 || pixels == 1) {
    const Source source{static_cast<const uint8_t*>(input.data), mask, 0, row_zero_point, scale_per_batch && s.batch == 1};
    FloatEpilogue epilogue(s, source, output, row_scale, channel_scale, bias, residual, clamp);
    return RunConv(s, source, packed, scratch, rows, epilogue);
  }
  const ptrdiff_t image_bytes = static_cast<ptrdiff_t>(s.in_height) * s.in_width * s.in_channels * s.groups;
  const ptrdiff_t image_floats = pixels * s.output_stride();
  for (int32_t i = rows.begin / pixels, first = i * pixels; first < rows.end; ++i, first += pixels) {
    const Source source{static_cast<const uint8_t*>(input.data) + i * image_bytes, mask, 0,
                        row_zero_point == nullptr ? nullptr : row_zero_point + i, true};
    FloatEpilogue epilogue(image, source, output + i * image_floats, row_scale + i, channel_scale, bias,
                           residual == nullptr ? nullptr : residual + i * image_floats, clamp);
    const Range own{rows.begin > first ? rows.begin - first : 0, rows.end - first < pixels ? rows.end - first : pixels};
    RunConv(image, source, packed, scratch, own, epilogue);
  }
}

inline void OverlayConvI8(Kernels& table) {
  table.i8_columns = kColumnUnit;
  table.i8_takes_unsigned = kTakesUnsigned;
  table.pack_i8_bytes = PackBytes;
  table.pack_i8 = Pack;
  table.conv_i8_scratch_bytes = ConvScratchBytes;
  table.conv_i8 = Conv;
  table.conv_i8_f32 = ConvF32;
}

}  // namespace
}  // namespace sigrun::kernels
