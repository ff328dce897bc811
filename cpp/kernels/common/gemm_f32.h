#pragma once

#include <utility>

#include "kernels/common/gather_f32.h"
#include "kernels/common/pack_f32.h"
#include "kernels/common/tile_f32.h"
#include "kernels/kernels.h"

// GEMM and convolution, over packed weights (pack_f32.h), pointers into the input (gather_f32.h) and register tiles (tile_f32.h).
// Trick: implicit GEMM: tiles follow pointers, so that no im2col buffer is filled. Pixels are walked in blocks that keep their inputs and
// one panel in L2, and the tiles of one panel fetch the next. Every sum runs over k in the same order whatever tile its row falls into. On
// one core of a Zen 5, 268 GFLOP/s: 92 to 97 % of the FMA peak in the caches with AVX-512, 93 % of half of that with AVX2; 85 to 90 % where
// the weights of 49 pixels come from memory; a single row takes weights at 39 GB/s from there, on two cores at 64.
namespace sigrun::kernels {
namespace {

constexpr int32_t kBlockFloats = 65536;          // inputs of one block of pixels
constexpr ptrdiff_t kFewWeightBytes = 32 << 10;  // that stay in L1 from rows to rows

// Rows of the tiles of a matrix by whole panels: of 24 sums in 32 registers, compilers keep some in memory. 3136 x 24 x 144 takes 6 % less.
constexpr int32_t kMatrixRows = kTileRows < 10 ? kTileRows : 10;
// Pixels that lie a multiple of so many floats apart compete for the same lines of a first cache of 32 KB, which has room for eight of
// them: a tile takes no more. 128 x 1024 x 256 and 49 x 2048 x 512 take 8 to 10 % less.
constexpr int32_t kFloatsOfWay = 1024, kWays = 8;

int32_t RowsPerTile(const ConvShape& s, int32_t out_channels) {
  if (out_channels < kPanel) return kTileRows;
  const int32_t most = IsMatrix(s) ? kMatrixRows : kTileRows;
  return most > kWays && int64_t{s.stride_w} * s.in_channels * s.groups % kFloatsOfWay == 0 ? kWays : most;
}

/// The tiles of a block fetch weights that come next, each its part.
SIGRUN_INLINE void LookAhead(Tile& t, const Block& block, const std::byte* weights, ptrdiff_t bytes_of_k) {
  const ptrdiff_t part = 4 * bytes_of_k / block.tiles;
  t.ahead = weights;
  t.ahead_bytes = part < kTileAhead * kLine ? part : kTileAhead * kLine;
}

/// Groups of a convolution that share pointers, in sets of those that are packed as one.
struct Group {
  Gather gather;
  const std::byte* packed;
  float* output;  // at the first channel
  ptrdiff_t output_stride;
  const EpilogueF32* epilogue;
  ptrdiff_t residual;
  int32_t first;  // channel of all groups
  int32_t sets;
  int32_t in_channels, out_channels;  // of a set
  size_t set_bytes;
  const Lanes* lanes;
};

// Panels that one or two pixels take side by side: enough independent sums to hide the latency of the FMA. A single pixel reads `bytes` of
// weights as fast as they come: from memory, a core fetches two streams by itself at twice the speed of four.
constexpr ptrdiff_t kCachedBytes = ptrdiff_t{1} << 19;
SIGRUN_INLINE int32_t PanelsAtOnce(const Block& block, int32_t channels, ptrdiff_t bytes) {
  const int32_t panels = block.rows > 2 ? 1 : block.rows == 2 || bytes > kCachedBytes ? 2 : 4;
  return channels >= panels * kPanel ? panels : 1;
}

template <class W>
TileFunction ChooseTile(int32_t height, int32_t width, int32_t panels, bool shared = false) {
  constexpr TileFunctions kShared = MakeSharedFunctions<W>(std::make_integer_sequence<int, kTileRows>{});
  if (shared) return kShared.of_rows[height - 1];
  if (panels == 4) return RunTile<1, 4 * kTileVectors, W>;
  if (panels == 2) return height == 1 ? RunTile<1, 2 * kTileVectors, W> : RunTile<2, 2 * kTileVectors, W>;
  return (width == kPanel ? kTileFunctions<kTileVectors, W> : kTileFunctions<1, W>).of_rows[height - 1];
}

// Rows packed for the tiles, where a tier's F32 says how: NEON takes 73 instructions for 64 multiply-adds instead of 80, and fewer between
// tiles. By llvm-mca that is all of a Neoverse N1's peak either way, and 86 % of a Cortex-A55's instead of 94 %. The rows of a tile are
// packed in halves of four, and so are four steps of k: [k / 4][half][4 k][4 rows], what is left of k one by one.
constexpr int32_t kPackedFloats = 10240;
constexpr int64_t kLeastPanels = 2, kMostRepeated = int64_t{640} << 10;

// Weights that are read again for every part of a block that fits had better be in L2.
SIGRUN_INLINE bool PaysToPack(int32_t out_channels, const Pass& pass, const Block& block, ptrdiff_t k, ptrdiff_t room) {
  const int64_t tile = int64_t{kTileRows} * pass.count * pass.length;
  const bool near = block.tiles * tile <= room || k * out_channels * static_cast<int64_t>(sizeof(float)) <= kMostRepeated;
  return block.rows > kTileRows / 2 && out_channels >= kLeastPanels * kPanel && tile <= room && near;
}

template <class V, int kHalves>
float* PackRows(const float* const* pointers, ptrdiff_t offset, int32_t height, const Pass& pass, float* to) {
  for (int32_t segment = 0; segment < pass.count; ++segment, pointers += height) {
    const float* row[4 * kHalves];
    for (int32_t i = 0; i < 4 * kHalves; ++i) row[i] = pointers[i < height ? i : height - 1] + offset;
    ptrdiff_t k = 0;
    for (; k + 4 <= pass.length; k += 4) {
      SIGRUN_UNROLL
      for (int h = 0; h < kHalves; ++h, to += 16) {
        V::StoreTurned(to, row[4 * h] + k, row[4 * h + 1] + k, row[4 * h + 2] + k, row[4 * h + 3] + k);
      }
    }
    for (; k < pass.length; ++k) {
      for (int32_t i = 0; i < 4 * kHalves; ++i) *to++ = row[i][k];
    }
  }
  return to;
}

template <int kRows, int kVectors, int kRow = 0>
SIGRUN_INLINE void PackedStep(F32 (&sum)[kRows][kVectors], F32 low, F32 high, F32 w0, F32 w1) {
  sum[kRow][0] = FmaLeft<kRow % 4>({kRow < 4 ? low.v : high.v}, w0, sum[kRow][0]);
  if constexpr (kVectors > 1) sum[kRow][1] = FmaLeft<kRow % 4>({kRow < 4 ? low.v : high.v}, w1, sum[kRow][1]);
  if constexpr (kRow + 1 < kRows) PackedStep<kRows, kVectors, kRow + 1>(sum, low, high, w0, w1);
}

// Steps of k from kStep on, of four. Four vectors of weights are loaded at once where the tile leaves registers for them.
template <int kRows, int kVectors>
constexpr bool kLoadsFour = kVectors == 2 && kRows < kTileRows;
template <int kStep, class V, int kRows, int kVectors, class Four>
SIGRUN_INLINE void PackedSteps(F32 (&sum)[kRows][kVectors], const Four& low, const Four& high, const float*& weights) {
  static_assert(kVectors <= 2);
  if constexpr (kLoadsFour<kRows, kVectors>) {
    const Four w = V::LoadFour(weights);
    PackedStep(sum, low.template At<kStep>(), high.template At<kStep>(), w.template At<0>(), w.template At<1>());
    PackedStep(sum, low.template At<kStep + 1>(), high.template At<kStep + 1>(), w.template At<2>(), w.template At<3>());
    if constexpr (kStep == 0) PackedSteps<2, V>(sum, low, high, weights);
  } else {
    constexpr ptrdiff_t kStepFloats = kVectors * F32::lanes;
    const float* from = weights + kStep * kStepFloats;
    PackedStep(sum, low.template At<kStep>(), high.template At<kStep>(), Load(from), Load(from + kStepFloats - F32::lanes));
    if constexpr (kStep < 3) {
      PackedSteps<kStep + 1, V>(sum, low, high, weights);
    } else {
      weights += 4 * kStepFloats;
    }
  }
}

/// `count` tiles of packed rows that follow each other.
template <int kRows, int kVectors, class V>
void RunPackedTiles(Tile t, const float* a, int32_t count) {
  for (; count > 0; --count, t.sums.output += kRows * t.sums.output_stride) {
    F32 sum[kRows][kVectors];
    LoadSums(t.sums, sum);
    const std::byte* segment = t.weights;
    for (int32_t s = 0; s < t.segments; ++s, segment += t.segment_bytes) {
      const float* weights = reinterpret_cast<const float*>(segment);
      for (int32_t k = t.length / 4; k > 0; --k) {
        const auto low = V::LoadFour(a);
        if constexpr (kRows > 4) {
          const auto high = V::LoadFour(a);
          PackedSteps<0, V>(sum, low, high, weights);
        } else {
          PackedSteps<0, V>(sum, low, low, weights);
        }
      }
      for (int32_t k = t.length % 4; k > 0; --k, weights += kVectors * F32::lanes) {
        const F32 low = Load(a), high = Load(a + (kRows > 4 ? 4 : 0));
        PackedStep(sum, low, high, Load(weights), Load(weights + (kVectors - 1) * F32::lanes));
        a += kRows > 4 ? 8 : 4;
      }
    }
    StoreSums(t.sums, sum);
  }
}

using PackedFunction = void (*)(Tile, const float*, int32_t);
template <int kVectors, class V, int... kRow>
SIGRUN_INLINE PackedFunction ChoosePacked(int32_t height, std::integer_sequence<int, kRow...>) {
  constexpr PackedFunction kOfRows[] = {RunPackedTiles<kRow + 1, kVectors, V>...};
  return kOfRows[height - 1];
}

template <class V>
void RunPacked(const Group& g, const Pass& pass, const Block& block, const Tile& begin, const float* const* pointers, float* packed,
               ptrdiff_t room) {
  const ptrdiff_t k = static_cast<ptrdiff_t>(g.gather.segments.count) * g.gather.segments.length;
  const int32_t depth = pass.count * pass.length;
  Tile t = begin;
  for (int32_t tile = 0; tile < block.tiles;) {
    float* to = packed;
    int32_t end = tile, rows = 0;
    for (; end < block.tiles && to - packed + kTileRows * depth <= room; ++end) {
      const int32_t height = block.Height(end);
      to = height > 4 ? PackRows<V, 2>(pointers, t.offset, height, pass, to) : PackRows<V, 1>(pointers, t.offset, height, pass, to);
      pointers += pass.count * height;
      rows += height;
    }
    Tile of_panel = t;
    for (int32_t n = 0; n < g.out_channels; n += kPanel) {
      const int32_t left = g.out_channels - n, width = PanelWidth(left);
      const ptrdiff_t first = of_panel.weights - of_panel.sums.bias, panel_bytes = width * PanelBytes<float>(k);
      of_panel.sums.panel_bytes = panel_bytes;
      of_panel.sums.channels = left < width ? left : width;
      of_panel.sums.first = begin.sums.first + n;
      of_panel.segment_bytes = begin.segment_bytes / kPanel * width;
      of_panel.weights = of_panel.sums.bias + first / kPanel * width;
      Tile run = of_panel;
      const float* from = packed;
      for (int32_t i = tile; i < end;) {
        const int32_t height = block.Height(i);
        int32_t count = 1;
        while (i + count < end && block.Height(i + count) == height) ++count;
        const std::make_integer_sequence<int, kTileRows> heights;
        (width == kPanel ? ChoosePacked<kTileVectors, V>(height, heights) : ChoosePacked<1, V>(height, heights))(run, from, count);
        run.sums.output += static_cast<ptrdiff_t>(count) * height * g.output_stride;
        from += static_cast<ptrdiff_t>(count) * (height > 4 ? 8 : 4) * depth;
        i += count;
      }
      of_panel.sums.bias += panel_bytes;
      of_panel.weights = of_panel.sums.bias + first;
      of_panel.sums.output += kPanel;
    }
    tile = end;
    t.sums.output += rows * g.output_stride;
  }
}

// Rows of a matrix of few k: all panels for the rows of a tile, so that lines of the output are written from one end to the other.
template <class W>
void RunRows(const Block& block, const Tile& begin, int32_t out_channels, ptrdiff_t k) {
  const int32_t panels = out_channels / kPanel, rest = out_channels % kPanel, width = PanelWidth(rest);
  const float* const* pointers = begin.pointers;
  float* output = begin.sums.output;
  for (int32_t tile = 0; tile < block.tiles; ++tile) {
    const int32_t height = block.Height(tile);
    Tile t = begin;
    t.pointers = pointers;
    t.sums.output = output;
    ChoosePanels<W>(height, std::make_integer_sequence<int, kTileRows>{})(t, panels);
    if (rest > 0) {
      t.sums.panel_bytes = width * PanelBytes<W>(k);
      t.sums.channels = rest;
      t.weights = t.sums.bias + width * PanelBytes<W>(0);
      ChooseTile<W>(height, width, 1)(t);
    }
    pointers += height;
    output += height * begin.sums.output_stride;
  }
}

// The panels of a set over the tiles of a block; `packed` has room for packed rows.
template <class W>
void RunSet(const Group& g, int32_t set, const Pass& pass, int32_t row, const Block& block, const float* const* pointers,
            [[maybe_unused]] float* packed, [[maybe_unused]] ptrdiff_t room) {
  const Segments& cut = g.gather.segments;
  const ptrdiff_t k = static_cast<ptrdiff_t>(cut.count) * cut.length;
  const ptrdiff_t first_k = static_cast<ptrdiff_t>(pass.first) * cut.length + pass.offset;
  const ptrdiff_t offset = static_cast<ptrdiff_t>(set) * g.in_channels;
  const int32_t channel = set * g.out_channels;
  const std::byte* panel = g.packed + set * g.set_bytes;
  float* const first_output = g.output + row * g.output_stride + channel;
  const auto tile_of = [&](int32_t n, int32_t width, int32_t channels) {
    const Sums sums = {
        panel,      width * PanelBytes<W>(k), first_output + n, g.output_stride, channels, pass.begins, pass.ends, g.epilogue,
        g.residual, g.first + channel + n};
    return Tile{sums,
                pointers,
                pass.count,
                pass.length,
                panel + width * PanelBytes<W>(first_k),
                static_cast<ptrdiff_t>(cut.length) * width * static_cast<ptrdiff_t>(sizeof(W)),
                offset,
                g.lanes};
  };
  if constexpr (kPacksRows<F32> && sizeof(W) == sizeof(float)) {
    if (PaysToPack(g.out_channels, pass, block, k, room)) {
      return RunPacked<F32>(g, pass, block, tile_of(0, kPanel, kPanel), pointers, packed, room);
    }
  }
  if constexpr (kEndsShort) {
    const bool single = pass.begins && pass.ends && pass.count == 1 && g.lanes == nullptr;
    if (single && block.tiles > 1 && g.out_channels >= 2 * kPanel && g.out_channels * PanelBytes<W>(k) <= kFewWeightBytes) {
      return RunRows<W>(block, tile_of(0, kPanel, kPanel), g.out_channels, k);
    }
  }
  for (int32_t n = 0; n < g.out_channels;) {
    const int32_t width = PanelWidth(g.out_channels - n);
    const int32_t panels = PanelsAtOnce(block, g.out_channels - n, g.out_channels * PanelBytes<W>(k));
    const int32_t channels = g.out_channels - n < width * panels ? g.out_channels - n : width * panels;
    const ptrdiff_t panel_bytes = width * PanelBytes<W>(k);
    Tile t = tile_of(n, width, channels);
    const ptrdiff_t steps = static_cast<ptrdiff_t>(pass.count) * (pass.length / 4);
    if (block.rows > 1 && n + channels < g.out_channels) {
      LookAhead(t, block, t.weights + panel_bytes * panels, width * static_cast<ptrdiff_t>(sizeof(W)));
    }
    for (int32_t tile = 0; tile < block.tiles; ++tile) {
      const int32_t height = block.Height(tile);
      ChooseTile<W>(height, width, panels, g.lanes != nullptr)(t);
      t.pointers += pass.count * height;
      t.sums.output += height * g.output_stride;
      t.ahead += steps * t.ahead_bytes;
    }
    panel += panel_bytes * panels;
    n += channels;
  }
}

template <class W>
void RunPass(const Group& g, const Pass& pass, int32_t row, const Block& block) {
  const ConvShape& s = g.gather.shape;
  const Segments& cut = g.gather.segments;
  constexpr bool packs = kPacksRows<F32> && sizeof(W) == sizeof(float);
  const float* pointers[kMaxPointers];
  float scratch[kScratchFloats + (packs ? kPackedFloats : 0)];
  const bool is_matrix = IsMatrix(s);
  if (is_matrix) {
    const ptrdiff_t depth = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
    const float* from = g.gather.input + row * depth + pass.offset;
    for (int32_t i = 0; i < block.rows; ++i, from += depth) pointers[i] = from;
  } else if (CopiesImage(s, cut)) {
    const ConvShape padded = WithPadding(s);
    CopyImage(s, padded, g.gather.input, scratch);
    GatherBlock({padded, cut, scratch}, pass, PixelAt(s, row), block, pointers, nullptr);
  } else {
    GatherBlock(g.gather, pass, PixelAt(s, row), block, pointers, scratch);
  }
  const ptrdiff_t gathered = is_matrix ? 0 : kScratchFloats;
  for (int32_t set = 0; set < g.sets; ++set) {
    RunSet<W>(g, set, pass, row, block, pointers, scratch + gathered, kScratchFloats + kPackedFloats - gathered);
  }
}

// The passes follow from the shape alone, so that neither threads nor blocks change the order of a sum. There is one even if K is 0: it
// stores the bias.
template <class W>
void RunBlock(const Group& g, int32_t row, const Block& block) {
  const Segments& cut = g.gather.segments;
  const int32_t kernel_width = g.gather.segments.merged ? 1 : g.gather.shape.kernel_width;
  const int32_t parts = (cut.length + kMaxRun - 1) / kMaxRun, run = (cut.length + parts - 1) / parts;
  const int32_t count = SegmentsPerPass(cut);
  for (int32_t offset = 0; offset < cut.length; offset += run) {
    for (int32_t first = 0; first == 0 || first < cut.count; first += count) {
      Pass pass;
      pass.first = first;
      pass.first_ky = first / kernel_width;
      pass.first_kx = first % kernel_width;
      pass.count = cut.count - first < count ? cut.count - first : count;
      pass.offset = offset;
      pass.length = cut.length - offset < run ? cut.length - offset : run;
      pass.begins = offset == 0 && first == 0;
      pass.ends = offset + pass.length == cut.length && first + pass.count == cut.count;
      RunPass<W>(g, pass, row, block);
    }
  }
}

// Of a block, where `count` rows are asked for.
int32_t RowsPerBlock(const Segments& cut, int32_t depth, int32_t tile_rows, int32_t count) {
  const int32_t segments = SegmentsPerPass(cut), run = cut.length < kMaxRun ? cut.length : kMaxRun;
  const int32_t floats = segments * run > depth ? segments * run : depth;
  int32_t rows = kMaxPointers / segments;
  if (rows > kBlockFloats / floats) rows = kBlockFloats / floats;
  if (cut.copies && rows > kScratchFloats / (segments * run)) rows = kScratchFloats / (segments * run);
  if (count <= rows) return count;
  return EvenRows(count, rows / tile_rows * tile_rows, tile_rows);
}

Lanes LanesOf(const ConvShape& s) {
  Lanes lanes = {{}, s.packed_groups * s.in_channels};
  for (int32_t n = 0; n < s.packed_groups * s.out_channels; ++n) lanes.first[n] = n / s.out_channels * s.in_channels;
  return lanes;
}

// As many groups share the pointers of windows as are padded by the same zeros.
template <class W>
void Conv(const ConvShape& s, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue, Range rows) {
  const Segments cut = CutK(s);
  const bool shares = s.packed_groups > 1;
  const Lanes lanes = shares ? LanesOf(s) : Lanes{};
  const size_t set_bytes = PackBytes<W>(cut.count * cut.length, s.packed_groups * s.out_channels);
  const ptrdiff_t output_stride = s.output_stride();
  const ptrdiff_t residual = epilogue.residual == nullptr ? 0 : epilogue.residual - output;
  const int32_t sets = s.groups / s.packed_groups, in = s.packed_groups * s.in_channels, out = s.packed_groups * s.out_channels;
  const int32_t most = !IsMatrix(s) && in > 0 && in < kMaxRun ? kMaxRun / in : 1, at_once = most < sets ? most : sets;
  const int32_t tile_rows = RowsPerTile(s, out), step = RowsPerBlock(cut, at_once > 1 ? at_once * in : 0, tile_rows, rows.end - rows.begin);
  for (int32_t set = 0; set < sets; set += at_once) {
    const Group group = {{s, cut, input + set * in},
                         packed + static_cast<size_t>(set) * set_bytes,
                         output + set * out,
                         output_stride,
                         &epilogue,
                         residual,
                         set * out,
                         sets - set < at_once ? sets - set : at_once,
                         in,
                         out,
                         set_bytes,
                         shares ? &lanes : nullptr};
    for (int32_t row = rows.begin; row < rows.end; row += step) {
      RunBlock<W>(group, row, Block(rows.end - row < step ? rows.end - row : step, tile_rows));
    }
  }
}

void OverlayGemm(Kernels& t) {
  t.f32_group_channels = F32::lanes;
  t.f32_block_channels = kPanel < 16 ? 16 : kPanel;  // whole lines of cache
  t.pack_f32_bytes = PackF32Bytes;
  t.pack_f32 = Pack<float>;
  t.conv_f32 = Conv<float>;
  t.pack_f16_bytes = PackBytes<uint16_t>;
  t.pack_f16 = Pack<uint16_t>;
  t.conv_f16 = Conv<uint16_t>;
}

}  // namespace
}  // namespace sigrun::kernels
