#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/bf16.h"
#include "kernels/common/inline.h"

// The vocabulary of amx/tiles.h in plain C++ with exactly its results, so that what is written over it is tested on machines that lack the
// unit: every sum of products is rounded to nearest even, denormal numbers are 0, coming and going. Using a tile while none are configured
// ends the program, as the instruction would.
namespace sigrun::kernels {
namespace {

struct TileRegister {
  uint8_t rows[16][64];
};
thread_local TileRegister tile_registers[8];
thread_local bool tile_unit_is_configured = false;

inline void ConfigureTiles() {
  memset(tile_registers, 0, sizeof(tile_registers));
  tile_unit_is_configured = true;
}
inline void ReleaseTiles() { tile_unit_is_configured = false; }

struct TileUnit {
  TileUnit() { ConfigureTiles(); }
  ~TileUnit() { ReleaseTiles(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

template <int kTile>
SIGRUN_INLINE TileRegister& ConfiguredTile() {
  static_assert(kTile >= 0 && kTile < 8);
  if (!tile_unit_is_configured) __builtin_trap();
  return tile_registers[kTile];
}

template <int kTile>
SIGRUN_INLINE void ZeroTile() {
  memset(&ConfiguredTile<kTile>(), 0, sizeof(TileRegister));
}
template <int kTile>
SIGRUN_INLINE void LoadTile(const void* p, ptrdiff_t stride) {
  TileRegister& t = ConfiguredTile<kTile>();
  for (int row = 0; row < 16; ++row) memcpy(t.rows[row], static_cast<const std::byte*>(p) + row * stride, 64);
}
template <int kTile>
SIGRUN_INLINE void StoreTile(void* p, ptrdiff_t stride) {
  const TileRegister& t = ConfiguredTile<kTile>();
  for (int row = 0; row < 16; ++row) memcpy(static_cast<std::byte*>(p) + row * stride, t.rows[row], 64);
}

SIGRUN_INLINE float FlushDenormal(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
  memcpy(&x, &bits, sizeof(x));
  return x;
}
SIGRUN_INLINE float FlushedFloatOf(Bf16 x) { return FlushDenormal(FloatOf(x)); }

// The even and the odd elements of k are summed apart, each product fused with its addition; their sum is then added to C.
inline void DotRowBf16(const TileRegister& b, const Bf16 (&a)[32], float (&c)[16]) {
  float even[16] = {}, odd[16] = {};
  for (int k = 0; k < 16; ++k) {
    Bf16 pairs[32];
    memcpy(pairs, b.rows[k], sizeof(pairs));
    const float first = FlushedFloatOf(a[2 * k]), second = FlushedFloatOf(a[2 * k + 1]);
    for (int n = 0; n < 16; ++n) {
      even[n] = FlushDenormal(__builtin_fmaf(first, FlushedFloatOf(pairs[2 * n]), even[n]));
      odd[n] = FlushDenormal(__builtin_fmaf(second, FlushedFloatOf(pairs[2 * n + 1]), odd[n]));
    }
  }
  for (int n = 0; n < 16; ++n) c[n] = FlushDenormal(FlushDenormal(c[n]) + FlushDenormal(even[n] + odd[n]));
}

template <int kC, int kA, int kB>
SIGRUN_INLINE void DotBf16() {
  static_assert(kC != kA && kC != kB && kA != kB, "the instruction needs three tiles");
  for (int row = 0; row < 16; ++row) {
    Bf16 a[32];
    float c[16];
    memcpy(a, ConfiguredTile<kA>().rows[row], sizeof(a));
    memcpy(c, ConfiguredTile<kC>().rows[row], sizeof(c));
    DotRowBf16(ConfiguredTile<kB>(), a, c);
    memcpy(ConfiguredTile<kC>().rows[row], c, sizeof(c));
  }
}

inline void DotRowU8I8(const TileRegister& b, const uint8_t (&a)[64], uint32_t (&c)[16]) {
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < 16; ++n) {
      for (int i = 0; i < 4; ++i) {
        c[n] += static_cast<uint32_t>(a[4 * k + i] * static_cast<int8_t>(b.rows[k][4 * n + i]));
      }
    }
  }
}

template <int kC, int kA, int kB>
SIGRUN_INLINE void DotU8I8() {
  static_assert(kC != kA && kC != kB && kA != kB, "the instruction needs three tiles");
  for (int row = 0; row < 16; ++row) {
    uint32_t c[16];
    memcpy(c, ConfiguredTile<kC>().rows[row], sizeof(c));
    DotRowU8I8(ConfiguredTile<kB>(), ConfiguredTile<kA>().rows[row], c);
    memcpy(ConfiguredTile<kC>().rows[row], c, sizeof(c));
  }
}

}  // namespace
}  // namespace sigrun::kernels
