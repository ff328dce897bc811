#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"

// The tile unit: eight registers of 16 rows of 64 bytes, named by number. Written in assembly, because gcc's intrinsics take no template
// arguments. amx_standin/tiles.h has the same vocabulary in plain C++.
namespace sigrun::kernels {
namespace {

/// All tiles of this thread become whole: 16 rows of 64 bytes.
SIGRUN_INLINE void ConfigureTiles() {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } static constexpr whole = {};
  __asm__ volatile("ldtilecfg %0" ::"m"(whole));
}
/// They need not be saved with the thread any more.
SIGRUN_INLINE void ReleaseTiles() { __asm__ volatile("tilerelease"); }

/// While it lives, tiles are configured.
struct TileUnit {
  SIGRUN_INLINE TileUnit() { ConfigureTiles(); }
  SIGRUN_INLINE ~TileUnit() { ReleaseTiles(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

template <int kTile>
SIGRUN_INLINE void ZeroTile() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
/// Rows of 64 bytes, `stride` bytes apart.
template <int kTile>
SIGRUN_INLINE void LoadTile(const void* p, ptrdiff_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
SIGRUN_INLINE void StoreTile(void* p, ptrdiff_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
}
/// 16 x 16 floats C += A B: A is 16 rows of 32 bfloat16 along k, B 16 pairs of k of 16 columns.
template <int kC, int kA, int kB>
SIGRUN_INLINE void DotBf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
/// 16 x 16 int32 C += A B: A is 16 rows of 64 unsigned bytes along k, B 16 groups of four signed bytes of k of 16 columns. Sums wrap.
template <int kC, int kA, int kB>
SIGRUN_INLINE void DotU8I8() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace sigrun::kernels
