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
constexpr int kTileRows = 12;

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
SIGRUN_INLINE I32 Dot(I32 acc, Broadcasted a, Weights w) { return {_mm512_dpbusd_epi32(acc.v, a.v, w.v)}; }

// Twice as many loads a cycle in 256 bits.
template <>
struct HalfVector<Weights> {
  static constexpr bool kUsed = true;
  using Sums = __m256i;
  SIGRUN_INLINE static Sums Start(const int32_t* bias) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bias)); }
  SIGRUN_INLINE static Sums Zero() { return _mm256_setzero_si256(); }
  SIGRUN_INLINE static Sums Add(Sums a, Sums b) { return _mm256_add_epi32(a, b); }
  SIGRUN_INLINE static Sums Dot(Sums sums, const uint8_t* a, const int8_t* weights) {
    int32_t group;
    std::memcpy(&group, a, sizeof(group));
    return _mm256_dpbusd_epi32(sums, _mm256_set1_epi32(group), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights)));
  }
  SIGRUN_INLINE static I32 Widen(Sums sums) { return {_mm512_zextsi256_si512(sums)}; }
};

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/tile_i8.h"
