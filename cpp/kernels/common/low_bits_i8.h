#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/fixed_point.h"
#include "kernels/common/inline.h"
#include "kernels/common/low_bit_sums.h"
#include "kernels/kernels.h"

// Hybrid products with weights of 4 or 2 bits, over a tier's low_bits.h, included before, which says
//   LowBytes, LoadLow, Part<bits, i>        kLanes * 4 bytes, of which Part takes the i-th few bits of each,
//   LoadHalf(p)                             kLanes binary16 as floats,
//   DotUnit(sums, w, a)                     sums + products of a unit: w[4], sixteen k of kLanes channels, all unsigned, by sixteen int8,
//   kLowBitRows, kLowBitParts               the most rows of a tile; parts of a single row's sums that hide the latency of DotUnit,
//   kPairsOfPanels                          whether there are registers for tiles of two panels; then also
//   DotBoth(first, second, w, v, a)         two sums + products of four k of w and of v by the same four int8.
// Packed: a header, then panels of kLanes channels, each its scales [block][lane], in binary16 if that loses nothing, the sum of weights of
// each lane (int32 if there is one block, else weight_sum of kernels.h), and its weights, above their least, [block][unit], 16 k of all
// lanes in bits * 2 bytes a lane: byte [lane][k % 4] of a part holds the groups of 4 k.
// Trick: the weights stay unsigned, since the first operand of vpdpbusd and vpmaddubsw is; what that adds is taken off by the sums of the
// activations, from which a tile's sums start. Zero points take one product with the sum of the weights. The next panel is asked for ahead:
// the processor sees few lines at a time. On a Zen 5 one row takes weights at 80 to 110 GB/s (AVX-512; 40 with AVX2) of the 125 that a
// plain read from L3 reaches; eight at 820 to 970 GOP/s of 1040, the less the shorter the blocks.
namespace sigrun::kernels {
namespace {

constexpr int32_t kLowBitGroups = kLowBitUnit / 4;
static_assert(kLowBitChannels % kLanes == 0);

struct LowBitHeader {
  int32_t half;  // whether the scales are binary16
};

struct LowBitLayout {
  int32_t blocks, units;                      // units of a block
  size_t scales, sums, unit, weights, panel;  // bytes
  size_t ahead, pair_ahead;                   // as far away are the weights that memory is asked for: whole panels, or pairs of them
  LowBitLayout(const LowBitShape& s, bool half)
      : blocks(s.k / s.block),
        units((s.block + kLowBitUnit - 1) / kLowBitUnit),
        scales((static_cast<size_t>(blocks) * kLanes * (half ? sizeof(uint16_t) : sizeof(float)) + 63) / 64 * 64),
        sums((kLanes * sizeof(float) + 63) / 64 * 64),
        unit(static_cast<size_t>(kLanes) * kLowBitUnit * static_cast<size_t>(s.bits) / 8),
        weights((static_cast<size_t>(blocks) * static_cast<size_t>(units) * unit + 63) / 64 * 64),
        panel(scales + sums + weights),
        ahead((4096 + panel - 1) / panel * panel),
        pair_ahead((4096 + 2 * panel - 1) / (2 * panel) * (2 * panel)) {}
};

size_t PackLowBitsBytes(const LowBitShape& s) {
  const size_t channels = static_cast<size_t>((s.n + kLowBitChannels - 1) / kLowBitChannels * kLowBitChannels);
  return 64 + channels / kLanes * LowBitLayout(s, false).panel;
}

// x as binary16 if that is exact and x is not negative; else -1.
int32_t ExactHalf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const int32_t exponent = static_cast<int32_t>(bits >> 23) - 127;  // of a positive number; larger for others
  if (exponent >= -14 && exponent <= 15 && (bits & 0x1fff) == 0) return (exponent + 15) << 10 | static_cast<int32_t>(bits >> 13 & 0x3ff);
  const float steps = x * 0x1p24f;
  if (!(steps >= 0.0f && steps < 1024.0f) || steps != static_cast<float>(static_cast<int32_t>(steps))) return -1;
  return static_cast<int32_t>(steps);
}

void PackLowBitChannel(const LowBitShape& s, const LowBitLayout& layout, const int8_t* weights, int32_t lane, uint8_t* to) {
  const int32_t parts = 8 / s.bits, offset = 1 << (s.bits - 1);
  for (int32_t block = 0; block < layout.blocks; ++block, to += static_cast<size_t>(layout.units) * layout.unit) {
    for (int32_t i = 0; i < s.block; ++i) {
      const int32_t group = i / 4 % kLowBitGroups;
      uint8_t* byte = to + static_cast<size_t>(i / kLowBitUnit) * layout.unit + (group / parts * kLanes + lane) * 4 + i % 4;
      *byte = static_cast<uint8_t>(*byte | (*weights++ + offset) << (group % parts * s.bits));
    }
  }
}

void PackLowBits(const LowBitShape& s, const int8_t* weights, const float* scale, std::byte* packed) {
  std::memset(packed, 0, PackLowBitsBytes(s));
  bool half = true;
  for (ptrdiff_t i = 0; i < static_cast<ptrdiff_t>(s.n) * (s.k / s.block) && half; ++i) half = ExactHalf(scale[i]) >= 0;
  reinterpret_cast<LowBitHeader*>(packed)->half = half ? 1 : 0;
  const LowBitLayout layout(s, half);
  for (int32_t n = 0; n < s.n; ++n, scale += layout.blocks) {
    std::byte* panel = packed + 64 + static_cast<size_t>(n / kLanes) * layout.panel;
    const int32_t lane = n % kLanes;
    for (int32_t b = 0; b < layout.blocks; ++b) {
      if (half) {
        reinterpret_cast<uint16_t*>(panel)[b * kLanes + lane] = static_cast<uint16_t>(ExactHalf(scale[b]));
      } else {
        reinterpret_cast<float*>(panel)[b * kLanes + lane] = scale[b];
      }
    }
    const int8_t* channel = weights + static_cast<ptrdiff_t>(n) * s.k;
    if (layout.blocks > 1) {
      reinterpret_cast<float*>(panel + layout.scales)[lane] = WeightedSum(s, channel, scale);
    } else {
      for (int32_t i = 0; i < s.k; ++i) reinterpret_cast<int32_t*>(panel + layout.scales)[lane] += channel[i];
    }
    PackLowBitChannel(s, layout, channel, lane, reinterpret_cast<uint8_t*>(panel + layout.scales + layout.sums));
  }
}

/// What a tile computes: kLanes channels of a few rows.
struct LowBitTile {
  const LowBitShape& shape;
  const LowBitLayout& layout;
  bool half;
  const std::byte* panel;
  LowBitRows rows;  // from the tile's first on
  ClampF32 clamp;
  const float* bias;  // of the first channel, or null
  float* output;
  int32_t channels;
};

template <int kBits>
SIGRUN_INLINE const uint8_t* LoadUnit(const uint8_t* from, LowBytes (&w)[kLowBitGroups]) {
  const LowBytes first = LoadLow(from);
  w[0] = Part<kBits, 0>(first);
  w[1] = Part<kBits, 1>(first);
  if constexpr (kBits == 2) {
    w[2] = Part<kBits, 2>(first);
    w[3] = Part<kBits, 3>(first);
    return from + kLanes * 4;
  }
  const LowBytes second = LoadLow(from + kLanes * 4);
  w[2] = Part<kBits, 0>(second);
  w[3] = Part<kBits, 1>(second);
  return from + kLanes * 8;
}

SIGRUN_INLINE F32 LoadSome(const float* from, int32_t n) {
  if (n >= kLanes) return Load(from);
  float few[kLanes] = {};
  std::memcpy(few, from, static_cast<size_t>(n) * sizeof(float));
  return Load(few);
}

// The sums of one block: of every row in several parts, since a dot product takes longer than the few of a small tile need to issue.
template <int kBits, int kRows, int kParts>
struct LowBitSums {
  static constexpr int kWithin = kParts < 4 ? kParts : 4, kHalves = kParts / kWithin;
  I32 sum[kHalves][kRows][kWithin];

  SIGRUN_INLINE void Start(const int32_t* block_sums, int32_t blocks) {
    SIGRUN_UNROLL
    for (int h = 0; h < kHalves; ++h) {
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) {
        SIGRUN_UNROLL
        for (int i = 0; i < kWithin; ++i) sum[h][r][i] = h + i == 0 ? Set1(block_sums[static_cast<ptrdiff_t>(r) * blocks]) : Set1(0);
      }
    }
  }
  template <int kHalf>
  SIGRUN_INLINE const uint8_t* Unit(const uint8_t* weights, const int8_t* a, ptrdiff_t row_bytes, size_t ahead) {
    SIGRUN_UNROLL
    for (int i = 0; i < kLanes * kBits * 2; i += 64) __builtin_prefetch(weights + ahead + i, 0, 3);
    LowBytes w[kLowBitGroups];
    weights = LoadUnit<kBits>(weights, w);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) DotUnit(sum[kHalf][r], w, a + r * row_bytes);
    return weights;
  }
  SIGRUN_INLINE I32 Of(int row) const {
    I32 total = sum[0][row][0];
    SIGRUN_UNROLL
    for (int h = 0; h < kHalves; ++h) {
      SIGRUN_UNROLL
      for (int i = h == 0 ? 1 : 0; i < kWithin; ++i) total = total + sum[h][row][i];
    }
    return total;
  }
};

SIGRUN_INLINE F32 LoadScale(const LowBitTile& t, const std::byte* panel, int32_t block, size_t ahead) {
  const std::byte* scales = panel + static_cast<ptrdiff_t>(block) * kLanes * (t.half ? 2 : 4);
  __builtin_prefetch(scales + ahead, 0, 2);
  return t.half ? LoadHalf(reinterpret_cast<const uint16_t*>(scales)) : Load(reinterpret_cast<const float*>(scales));
}

// What a single block's sum gives before the bias.
SIGRUN_INLINE F32 OfOneBlock(I32 sum, int32_t zero_point, float row_scale, const std::byte* weight_sums, F32 scale) {
  return ToFloat(sum - Set1(zero_point) * Load(reinterpret_cast<const int32_t*>(weight_sums))) * (Set1(row_scale) * scale);
}

template <int kBits, int kRows, int kParts>
void RunLowBits(const LowBitTile& t) {
  using Sums = LowBitSums<kBits, kRows, kParts>;
  const ptrdiff_t row_bytes = static_cast<ptrdiff_t>(t.layout.units) * kLowBitUnit * t.layout.blocks;
  const uint8_t* weights = reinterpret_cast<const uint8_t*>(t.panel + t.layout.scales + t.layout.sums);
  const int8_t* a = t.rows.data;
  const int32_t blocks = t.layout.blocks, units = t.layout.units;
  const std::byte* weight_sums = t.panel + t.layout.scales;
  const auto zero_point = [&](int r) __attribute__((always_inline)) { return t.rows.zero_point == nullptr ? 0 : t.rows.zero_point[r]; };
  F32 y[kRows];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    y[r] = Set1(-static_cast<float>(zero_point(r))) * (blocks > 1 ? Load(reinterpret_cast<const float*>(weight_sums)) : Set1(0.0f));
  }
  const F32 bias = t.bias != nullptr ? LoadSome(t.bias, t.channels) : Set1(0.0f);
  for (int32_t block = 0; block < blocks; ++block) {
    Sums sums;
    sums.Start(t.rows.block_sums + block, blocks);
    int32_t unit = 0;
    for (; unit + Sums::kHalves <= units; unit += Sums::kHalves) {
      weights = sums.template Unit<0>(weights, a, row_bytes, t.layout.ahead);
      a += kLowBitUnit;
      if constexpr (Sums::kHalves == 1) continue;
      weights = sums.template Unit<Sums::kHalves - 1>(weights, a, row_bytes, t.layout.ahead);
      a += kLowBitUnit;
    }
    if (Sums::kHalves > 1 && unit < units) {
      weights = sums.template Unit<0>(weights, a, row_bytes, t.layout.ahead);
      a += kLowBitUnit;
    }
    const F32 scale = LoadScale(t, t.panel, block, t.layout.ahead);
    if (blocks > 1) {
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) y[r] = ToFloat(sums.Of(r)) * scale + y[r];
      continue;
    }
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      y[r] = OfOneBlock(sums.Of(r), zero_point(r), t.rows.scale[r], weight_sums, scale) + bias;
    }
  }
  const F32 min = Set1(t.clamp.min), max = Set1(t.clamp.max);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float* to = t.output + static_cast<ptrdiff_t>(r) * t.shape.n;
    const F32 clamped = Min(max, Max(min, blocks > 1 ? y[r] * Set1(t.rows.scale[r]) + bias : y[r]));
    if (t.channels >= kLanes) {
      Store(to, clamped);
    } else {
      float few[kLanes];
      Store(few, clamped);
      std::memcpy(to, few, static_cast<size_t>(t.channels) * sizeof(float));
    }
  }
}

// Two panels at once: each activation that is broadcast is used twice, so that loads do not limit the dot products. Few rows have their
// sums in several parts, as above.
template <int kBits, int kRows, int kParts, class Sum = I32>
SIGRUN_INLINE void RunPairOfLowBits(const LowBitTile& t) {
  const ptrdiff_t row_bytes = static_cast<ptrdiff_t>(t.layout.units) * kLowBitUnit * t.layout.blocks;
  const std::byte* panels[2] = {t.panel, t.panel + t.layout.panel};
  const uint8_t* weights = reinterpret_cast<const uint8_t*>(t.panel + t.layout.scales + t.layout.sums);
  const int8_t* a = t.rows.data;
  const int32_t blocks = t.layout.blocks, units = t.layout.units;
  const ptrdiff_t apart = static_cast<ptrdiff_t>(t.layout.panel);
  const auto zero_point = [&](int r) __attribute__((always_inline)) { return t.rows.zero_point == nullptr ? 0 : t.rows.zero_point[r]; };
  F32 y[kRows][2], bias[2];
  SIGRUN_UNROLL
  for (int p = 0; p < 2; ++p) {
    const F32 sum = blocks > 1 ? Load(reinterpret_cast<const float*>(panels[p] + t.layout.scales)) : Set1(0.0f);
    bias[p] = t.bias != nullptr ? Load(t.bias + p * kLanes) : Set1(0.0f);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) y[r][p] = Set1(-static_cast<float>(zero_point(r))) * sum;
  }
  for (int32_t block = 0; block < blocks; ++block) {
    Sum sum[kParts][kRows][2];
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      sum[0][r][0] = sum[0][r][1] = Set1(t.rows.block_sums[static_cast<ptrdiff_t>(r) * blocks + block]);
      SIGRUN_UNROLL
      for (int i = 1; i < kParts; ++i) sum[i][r][0] = sum[i][r][1] = Set1(0);
    }
    for (int32_t unit = 0; unit < units; ++unit, a += kLowBitUnit) {
      SIGRUN_UNROLL
      for (int i = 0; i < kLanes * kBits * 2; i += 64) {
        __builtin_prefetch(weights + t.layout.pair_ahead + i, 0, 3);
        __builtin_prefetch(weights + apart + t.layout.pair_ahead + i, 0, 3);
      }
      const auto groups = [&](LowBytes w, LowBytes v, int group) __attribute__((always_inline)) {
        SIGRUN_UNROLL
        for (int r = 0; r < kRows; ++r) {
          Sum(&of_row)[2] = sum[group % kParts][r];
          DotBoth(of_row[0], of_row[1], w, v, a + r * row_bytes + 4 * group);
        }
      };
      LowBytes w = LoadLow(weights), v = LoadLow(weights + apart);
      groups(Part<kBits, 0>(w), Part<kBits, 0>(v), 0);
      groups(Part<kBits, 1>(w), Part<kBits, 1>(v), 1);
      weights += kLanes * 4;
      if constexpr (kBits == 2) {
        groups(Part<kBits, 2>(w), Part<kBits, 2>(v), 2);
        groups(Part<kBits, 3>(w), Part<kBits, 3>(v), 3);
        continue;
      }
      w = LoadLow(weights);
      v = LoadLow(weights + apart);
      groups(Part<kBits, 0>(w), Part<kBits, 0>(v), 2);
      groups(Part<kBits, 1>(w), Part<kBits, 1>(v), 3);
      weights += kLanes * 4;
    }
    SIGRUN_UNROLL
    for (int p = 0; p < 2; ++p) {
      const F32 scale = LoadScale(t, panels[p], block, t.layout.pair_ahead);
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) {
        Sum total = sum[0][r][p];
        SIGRUN_UNROLL
        for (int i = 1; i < kParts; ++i) total = total + sum[i][r][p];
        y[r][p] = blocks > 1 ? ToFloat(total) * scale + y[r][p]
                             : OfOneBlock(total, zero_point(r), t.rows.scale[r], panels[p] + t.layout.scales, scale) + bias[p];
      }
    }
  }
  const F32 min = Set1(t.clamp.min), max = Set1(t.clamp.max);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SIGRUN_UNROLL
    for (int p = 0; p < 2; ++p) {
      const F32 end = blocks > 1 ? y[r][p] * Set1(t.rows.scale[r]) + bias[p] : y[r][p];
      Store(t.output + static_cast<ptrdiff_t>(r) * t.shape.n + p * kLanes, Min(max, Max(min, end)));
    }
  }
}

// Blocks of few units overlap, and so do the rows of a tile: they need fewer parts.
template <int kBits, int kRows>
SIGRUN_INLINE void RunLowBitRows(const LowBitTile& t) {
  constexpr int kLong = kRows < kLowBitParts ? kLowBitParts / kRows : 1, kShort = kLong < 2 ? kLong : 2;
  t.layout.units < 4 ? RunLowBits<kBits, kRows, kShort>(t) : RunLowBits<kBits, kRows, kLong>(t);
}

// The tile's rows without the first few.
SIGRUN_INLINE void Advance(LowBitTile& t, int32_t rows) {
  t.rows.data += rows * (static_cast<ptrdiff_t>(t.layout.units) * kLowBitUnit * t.layout.blocks);
  t.rows.block_sums += static_cast<ptrdiff_t>(rows) * t.layout.blocks;
  t.rows.scale += rows;
  if (t.rows.zero_point != nullptr) t.rows.zero_point += rows;
  t.rows.count -= rows;
  t.output += static_cast<ptrdiff_t>(rows) * t.shape.n;
}

// All rows over one panel, as many at a time as there are. Inlined, since a single row takes no longer than a call.
template <int kBits>
SIGRUN_INLINE void RunLowBitPanel(LowBitTile t) {
  for (; t.rows.count >= kLowBitRows; Advance(t, kLowBitRows)) RunLowBitRows<kBits, kLowBitRows>(t);
  if constexpr (kLowBitRows > 8) {
    for (; t.rows.count >= 8; Advance(t, 8)) RunLowBitRows<kBits, 8>(t);
  }
  if constexpr (kLowBitRows > 4) {
    for (; t.rows.count >= 4; Advance(t, 4)) RunLowBitRows<kBits, 4>(t);
  }
  for (; t.rows.count >= 2; Advance(t, 2)) RunLowBitRows<kBits, 2>(t);
  if (t.rows.count == 1) RunLowBitRows<kBits, 1>(t);
}

// The same over two panels.
template <int kBits, int kRows>
SIGRUN_INLINE void RunPairRows(LowBitTile& t) {
  constexpr int kLong = kRows >= 8 ? 1 : kRows >= 4 ? 2 : 4, kShort = (kLong + 1) / 2;
  t.layout.units < 4 ? RunPairOfLowBits<kBits, kRows, kShort>(t) : RunPairOfLowBits<kBits, kRows, kLong>(t);
  Advance(t, kRows);
}
template <int kBits>
SIGRUN_INLINE void RunLowBitPair(LowBitTile t) {
  if constexpr (kPairsOfPanels) {
    while (t.rows.count >= 8) RunPairRows<kBits, 8>(t);
    if (t.rows.count >= 4) RunPairRows<kBits, 4>(t);
    if (t.rows.count >= 2) RunPairRows<kBits, 2>(t);
    if (t.rows.count == 1) RunPairRows<kBits, 1>(t);
  }
}

void LowBitsF32(const LowBitShape& s, const LowBitRows& rows, const std::byte* packed, const float* bias, ClampF32 clamp, float* output,
                Range channels) {
  const bool half = reinterpret_cast<const LowBitHeader*>(packed)->half != 0;
  const LowBitLayout layout(s, half);
  const int32_t end = channels.end * kLowBitChannels < s.n ? channels.end * kLowBitChannels : s.n;
  const auto tile_at = [&](int32_t n) SIGRUN_INLINE_LAMBDA {
    const std::byte* panel = packed + 64 + static_cast<size_t>(n / kLanes) * layout.panel;
    const int32_t lanes = end - n < kLanes ? end - n : kLanes;
    return LowBitTile{s, layout, half, panel, rows, clamp, bias == nullptr ? nullptr : bias + n, output + n, lanes};
  };
  int32_t n = channels.begin * kLowBitChannels;
  for (; kPairsOfPanels && end - n >= 2 * kLanes; n += 2 * kLanes) {
    s.bits == 4 ? RunLowBitPair<4>(tile_at(n)) : RunLowBitPair<2>(tile_at(n));
  }
  for (; n < end; n += kLanes) s.bits == 4 ? RunLowBitPanel<4>(tile_at(n)) : RunLowBitPanel<2>(tile_at(n));
}

inline void OverlayLowBits(Kernels& table) {
  table.pack_low_bits_bytes = PackLowBitsBytes;
  table.pack_low_bits = PackLowBits;
  table.low_bits_f32 = LowBitsF32;
}

}  // namespace
}  // namespace sigrun::kernels
