#pragma once

#include <cstddef>
#include <cstring>

#include "kernels/avx512/simd.h"
#include "kernels/common/bf16.h"
#include "kernels/common/math.h"

// Rows of floats to bfloat16, to the nearest, ties to even; denormal numbers become 0.
namespace sigrun::kernels {
namespace {

SIGRUN_INLINE __m512i Words(__m512bh x) {
  __m512i y;
  memcpy(&y, &x, sizeof(y));
  return y;
}
SIGRUN_INLINE __m512bh Pairs(__m512i x) {
  __m512bh y;
  memcpy(&y, &x, sizeof(y));
  return y;
}
SIGRUN_INLINE __m512i RoundTwo(__m512 low, __m512 high) { return Words(_mm512_cvtne2ps_pbh(high, low)); }
SIGRUN_INLINE __mmask16 First(int32_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1); }
SIGRUN_INLINE __mmask32 First32(int32_t n) { return n >= 32 ? ~__mmask32{0} : (__mmask32{1} << n) - 1; }

SIGRUN_INLINE F32 Widen(__m256i x) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))}; }
SIGRUN_INLINE F32 Load(const Bf16* p) { return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
SIGRUN_INLINE F32 LoadPartial(const Bf16* p, int n) { return Widen(_mm256_maskz_loadu_epi16(First(n), p)); }
SIGRUN_INLINE __m256i Round(F32 x) { return _mm512_castsi512_si256(RoundTwo(x.v, x.v)); }
SIGRUN_INLINE void Store(Bf16* p, F32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Round(x)); }
SIGRUN_INLINE void StorePartial(Bf16* p, F32 x, int n) { _mm256_mask_storeu_epi16(p, First(n), Round(x)); }

SIGRUN_INLINE void RoundRow(const float* x, int32_t n, Bf16* to) {
  for (; n >= 32; n -= 32, x += 32, to += 32) _mm512_storeu_si512(to, RoundTwo(_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)));
  if (n <= 0) return;
  const __m512 low = _mm512_maskz_loadu_ps(First(n), x), high = _mm512_maskz_loadu_ps(First(n - 16), x + 16);
  _mm512_mask_storeu_epi16(to, First32(n), RoundTwo(low, high));
}

// What rounding left; where that is infinite the rest would be NaN, and is 0.
SIGRUN_INLINE __m512 Rest(__m512 x, __m512i words, int half) {
  const __m256i mine = half == 0 ? _mm512_castsi512_si256(words) : _mm512_extracti64x4_epi64(words, 1);
  const __m512 rounded = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(mine), 16));
  const __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(rounded), _mm512_set1_ps(kInfinity), _CMP_LT_OQ);
  return _mm512_maskz_sub_ps(finite, x, rounded);
}

SIGRUN_INLINE void SplitRow(const float* x, int32_t n, Bf16* to, Bf16* rest) {
  for (; n > 0; n -= 32, x += 32, to += 32, rest += 32) {
    const __m512 low = _mm512_maskz_loadu_ps(First(n), x), high = _mm512_maskz_loadu_ps(First(n - 16), x + 16);
    const __m512i words = RoundTwo(low, high);
    _mm512_mask_storeu_epi16(to, First32(n), words);
    _mm512_mask_storeu_epi16(rest, First32(n), RoundTwo(Rest(low, words, 0), Rest(high, words, 1)));
  }
}

// The three parts of SplitInThree, each as the upper halves of `part`.
struct UpperHalves {
  __m512i part[3];
};
SIGRUN_INLINE UpperHalves SplitInThree(__m512 x) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u)), half = _mm512_set1_epi32(0x8000);
  const auto cut = [upper](__m512i bits) { return _mm512_castsi512_ps(_mm512_and_si512(bits, upper)); };
  const __m512i first = _mm512_castps_si512(x);
  const __m512 left = _mm512_sub_ps(x, cut(first));
  const __m512i second = _mm512_add_epi32(_mm512_castps_si512(left), half);
  return {{first, second, _mm512_castps_si512(_mm512_sub_ps(left, cut(second)))}};
}

SIGRUN_INLINE void SplitRowInThree(const float* x, int32_t n, Bf16* to, ptrdiff_t part_stride) {
  alignas(64) static constexpr uint16_t kUpper[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                      33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  const __m512i upper = _mm512_load_si512(kUpper);
  for (; n >= 32; n -= 32, x += 32, to += 32) {
    const UpperHalves low = SplitInThree(_mm512_loadu_ps(x)), high = SplitInThree(_mm512_loadu_ps(x + 16));
    SIGRUN_UNROLL
    for (int part = 0; part < 3; ++part) {
      _mm512_storeu_si512(to + part * part_stride, _mm512_permutex2var_epi16(low.part[part], upper, high.part[part]));
    }
  }
  if (n <= 0) return;
  const UpperHalves low = SplitInThree(_mm512_maskz_loadu_ps(First(n), x)),
                    high = SplitInThree(_mm512_maskz_loadu_ps(First(n - 16), x + 16));
  SIGRUN_UNROLL
  for (int part = 0; part < 3; ++part) {
    _mm512_mask_storeu_epi16(to + part * part_stride, First32(n), _mm512_permutex2var_epi16(low.part[part], upper, high.part[part]));
  }
}

// Two rows of weights, `stride` apart, as pairs of three parts.
SIGRUN_INLINE void PackRowsInThree(const float* rows, ptrdiff_t stride, int32_t width, Bf16* to, ptrdiff_t part_stride) {
  constexpr int kFirstOrBothOthers = 0xf8;  // a | (b & c)
  const __m512i upper = _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u));
  for (int32_t j = 0; j < width; j += 16, to += 32) {
    const UpperHalves low = SplitInThree(_mm512_loadu_ps(rows + j)), high = SplitInThree(_mm512_loadu_ps(rows + stride + j));
    SIGRUN_UNROLL
    for (int part = 0; part < 3; ++part) {
      const __m512i pairs = _mm512_ternarylogic_epi32(_mm512_srli_epi32(low.part[part], 16), high.part[part], upper, kFirstOrBothOthers);
      _mm512_storeu_si512(to + part * part_stride, pairs);
    }
  }
}

// Two rows of weights, `stride` apart, as pairs.
SIGRUN_INLINE void PackRows(const float* rows, ptrdiff_t stride, int32_t width, Bf16* to) {
  for (int32_t j = 0; j < width; j += 16, to += 32) {
    const __m512i words = RoundTwo(_mm512_loadu_ps(rows + j), _mm512_loadu_ps(rows + stride + j));
    const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(words));
    const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(words, 1));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
}

// 16 rows of 16 pairs, turned.
SIGRUN_INLINE void TurnRowsOfPairs(const Bf16* rows, Bf16* to, ptrdiff_t to_stride) {
  F32 square[16];
  SIGRUN_UNROLL
  for (int i = 0; i < 16; ++i) square[i].v = _mm512_loadu_ps(rows + 32 * i);
  Transpose(square);
  SIGRUN_UNROLL
  for (int i = 0; i < 16; ++i) _mm512_storeu_ps(to + i * to_stride, square[i].v);
}

}  // namespace
}  // namespace sigrun::kernels
