#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/fixed_point.h"
#include "kernels/common/inline.h"
#include "kernels/kernels.h"

// Hybrid products with weights of 4 or 2 bits, over a tier's low_bits.h, included before, which says
//   LowBytes, LoadLow, Part<bits, i>, Add   kLanes * 4 bytes, of which Part takes the i-th few bits of each,
//   LoadHalf(p)                             kLanes binary16 as floats,
//   DotOnes(sum, bytes)                     sum + the four bytes of each lane,
//   DotUnit(sums, w, a)                     sums + products of a unit: w[4], sixteen k of kLanes channels, all unsigned, by sixteen int8,
//   kLowBitRows                             the most rows of a tile.
// Packed: a header, then panels of kLanes channels, each its scales [block][lane], in binary16 if that loses nothing, and its weights + 2^(bits
// - 1) [block][unit], 16 k of all lanes in bits * 2 bytes a lane: byte [lane][k % 4] of a part holds the groups of 4 k.
// Trick: the weights stay unsigned, since the first operand of vpdpbusd and vpmaddubsw is; what that adds is taken off by the sums of the
// activations. The sums of the weights, which the zero points need, are made of the bytes in registers. On a Zen 5 one row takes weights
// from memory as fast as they can be read, and from L2 at 70 GB/s.
namespace sigrun::kernels {
namespace {

constexpr int32_t kLowBitGroups = kLowBitUnit / 4;
static_assert(kLowBitChannels % kLanes == 0);

struct LowBitHeader {
  int32_t half;  // whether the scales are binary16
};

struct LowBitLayout {
  int32_t blocks, units;  // units of a block
  size_t scales, unit, weights, panel;  // bytes
  LowBitLayout(const LowBitShape& s, bool half)
      : blocks(s.k / s.block),
        units((s.block + kLowBitUnit - 1) / kLowBitUnit),
        scales((static_cast<size_t>(blocks) * kLanes * (half ? sizeof(uint16_t) : sizeof(float)) + 63) / 64 * 64),
        unit(static_cast<size_t>(kLanes) * kLowBitUnit * static_cast<size_t>(s.bits) / 8),
        weights((static_cast<size_t>(blocks) * static_cast<size_t>(units) * unit + 63) / 64 * 64),
        panel(scales + weights) {}
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
    PackLowBitChannel(s, layout, weights + static_cast<ptrdiff_t>(n) * s.k, lane, reinterpret_cast<uint8_t*>(panel + layout.scales));
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

template <int kBits, int kRows, bool kZeroPoints>
void RunLowBits(const LowBitTile& t) {
  constexpr int kSplit = kRows == 1 ? 4 : kRows == 2 ? 2 : 1;  // sums of one element, to hide the latency of a dot product
  constexpr int32_t kOffset = 1 << (kBits - 1);
  const ptrdiff_t block_bytes = static_cast<ptrdiff_t>(t.layout.units) * kLowBitUnit, row_bytes = block_bytes * t.layout.blocks;
  const uint8_t* weights = reinterpret_cast<const uint8_t*>(t.panel + t.layout.scales);
  const int8_t* a = t.rows.data;
  F32 y[kRows];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) y[r] = t.bias != nullptr ? LoadSome(t.bias, t.channels) : Set1(0.0f);
  for (int32_t block = 0; block < t.layout.blocks; ++block) {
    I32 sum[kRows][kSplit], ones = Set1(0);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      SIGRUN_UNROLL
      for (int i = 0; i < kSplit; ++i) sum[r][i] = Set1(0);
    }
    for (int32_t unit = 0; unit < t.layout.units; ++unit, a += kLowBitUnit) {
      LowBytes w[kLowBitGroups];
      weights = LoadUnit<kBits>(weights, w);
      if constexpr (kZeroPoints) ones = DotOnes(ones, Add(Add(w[0], w[1]), Add(w[2], w[3])));
      SIGRUN_UNROLL
      for (int r = 0; r < kRows; ++r) DotUnit(sum[r], w, a + r * row_bytes);
    }
    const std::byte* scales = t.panel + static_cast<ptrdiff_t>(block) * kLanes * (t.half ? 2 : 4);
    const F32 scale = t.half ? LoadHalf(reinterpret_cast<const uint16_t*>(scales)) : Load(reinterpret_cast<const float*>(scales));
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      SIGRUN_UNROLL
      for (int i = 1; i < kSplit; ++i) sum[r][0] = sum[r][0] + sum[r][i];
      int32_t excess = kOffset * t.rows.block_sums[static_cast<ptrdiff_t>(r) * t.layout.blocks + block];
      if constexpr (kZeroPoints) {
        excess -= kOffset * t.shape.block * t.rows.zero_point[r];
        sum[r][0] = sum[r][0] - ones * Set1(t.rows.zero_point[r]);
      }
      y[r] = ToFloat(sum[r][0] - Set1(excess)) * (Set1(t.rows.scale[r]) * scale) + y[r];
    }
  }
  const F32 min = Set1(t.clamp.min), max = Set1(t.clamp.max);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float* to = t.output + static_cast<ptrdiff_t>(r) * t.shape.n;
    const F32 clamped = Min(max, Max(min, y[r]));
    if (t.channels >= kLanes) {
      Store(to, clamped);
    } else {
      float few[kLanes];
      Store(few, clamped);
      std::memcpy(to, few, static_cast<size_t>(t.channels) * sizeof(float));
    }
  }
}

template <int kBits, int kRows>
SIGRUN_INLINE void RunLowBitRows(const LowBitTile& t) {
  t.rows.zero_point != nullptr ? RunLowBits<kBits, kRows, true>(t) : RunLowBits<kBits, kRows, false>(t);
}

// All rows over one panel, as many at a time as there are.
template <int kBits>
void RunLowBitPanel(LowBitTile t) {
  const ptrdiff_t row_bytes = static_cast<ptrdiff_t>(t.layout.units) * kLowBitUnit * t.layout.blocks;
  const auto advance = [&](int rows) {
    t.rows.data += rows * row_bytes;
    t.rows.block_sums += static_cast<ptrdiff_t>(rows) * t.layout.blocks;
    t.rows.scale += rows;
    if (t.rows.zero_point != nullptr) t.rows.zero_point += rows;
    t.rows.count -= rows;
    t.output += static_cast<ptrdiff_t>(rows) * t.shape.n;
  };
  for (; t.rows.count >= kLowBitRows; advance(kLowBitRows)) RunLowBitRows<kBits, kLowBitRows>(t);
  if constexpr (kLowBitRows > 4) {
    for (; t.rows.count >= 4; advance(4)) RunLowBitRows<kBits, 4>(t);
  }
  for (; t.rows.count >= 2; advance(2)) RunLowBitRows<kBits, 2>(t);
  if (t.rows.count == 1) RunLowBitRows<kBits, 1>(t);
}

void LowBitsF32(const LowBitShape& s, const LowBitRows& rows, const std::byte* packed, const float* bias, ClampF32 clamp, float* output,
                Range channels) {
  const bool half = reinterpret_cast<const LowBitHeader*>(packed)->half != 0;
  const LowBitLayout layout(s, half);
  const int32_t end = channels.end * kLowBitChannels < s.n ? channels.end * kLowBitChannels : s.n;
  for (int32_t n = channels.begin * kLowBitChannels; n < end; n += kLanes) {
    const LowBitTile tile{s,
                          layout,
                          half,
                          packed + 64 + static_cast<size_t>(n / kLanes) * layout.panel,
                          rows,
                          clamp,
                          bias == nullptr ? nullptr : bias + n,
                          output + n,
                          end - n < kLanes ? end - n : kLanes};
    s.bits == 4 ? RunLowBitPanel<4>(tile) : RunLowBitPanel<2>(tile);
  }
}

inline void OverlayLowBits(Kernels& table) {
  table.pack_low_bits_bytes = PackLowBitsBytes;
  table.pack_low_bits = PackLowBits;
  table.low_bits_f32 = LowBitsF32;
}

}  // namespace
}  // namespace sigrun::kernels
