#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/avx512/simd_i8.h"
#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"

// Dot products of four by vpdpbusd, which multiplies unsigned by signed bytes: activations are stored + 128, and 128 times the sum of the
// weights is taken from the bias.
namespace sigrun::kernels {
namespace {

using Activation = uint8_t;
constexpr int kGroup = 4;
constexpr int kPanelVectors = 2;
constexpr int kTileRows = 14;  // lines of images are often 14, 28 or 56 pixels long, two of 7 are a tile

struct Weights {
  __m512i v;
};
SIGRUN_INLINE Weights LoadWeights(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
SIGRUN_INLINE void CopyRow(uint8_t* dst, const uint8_t* src, ptrdiff_t n, uint8_t mask) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(mask));
  for (; n >= 64; n -= 64, src += 64, dst += 64) _mm512_storeu_si512(dst, _mm512_xor_si512(_mm512_loadu_si512(src), flip));
  if (n <= 0) return;
  const __m512i tail = _mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - n), src);
  _mm512_storeu_si512(dst, _mm512_xor_si512(tail, flip));
}
template <>
constexpr bool kFlipsBytes<Activation> = true;
SIGRUN_INLINE Broadcasted Flipped(Broadcasted x) { return {_mm512_xor_si512(x.v, _mm512_set1_epi8(static_cast<char>(0x80)))}; }
SIGRUN_INLINE I32 Dot(I32 acc, Broadcasted a, Weights w) { return {_mm512_dpbusd_epi32(acc.v, a.v, w.v)}; }

template <>
struct GroupPairs<Activation> {
  static constexpr bool kUsed = true;
  SIGRUN_INLINE static Broadcasted Load(const uint8_t* a) {
    int64_t groups;
    std::memcpy(&groups, a, sizeof(groups));
    return {_mm512_set1_epi64(groups)};
  }
  SIGRUN_INLINE static I32 Joined(I32 a, I32 b) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    asm("" : "+v"(a.v), "+v"(b.v));  // else the two permutations make the compiler copy the sums in the loop before
    return {_mm512_add_epi32(_mm512_permutex2var_epi32(a.v, even, b.v), _mm512_permutex2var_epi32(a.v, odd, b.v))};
  }
};

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/tile_i8.h"
