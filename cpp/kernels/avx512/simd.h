#pragma once

#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/x86.h"

// The vocabulary of kernels/common over AVX-512 F, BW, DQ and VL: 16 floats, tails by mask registers.
namespace sigrun::kernels {
namespace {

struct F32 {
  static constexpr int lanes = 16;
  __m512 v;
};
struct I32 {
  __m512i v;
};
struct Mask {
  __mmask16 v;
};

// 12 x 2 accumulators, 2 weights and a broadcast; the 12 row pointers still fit the general registers.
constexpr int kTileRows = 12;
constexpr int kTileVectors = 2;
constexpr int kTileAhead = 4;  // lines of memory to ask for in four steps of k

SIGRUN_INLINE F32 Set1(float x) { return {_mm512_set1_ps(x)}; }
SIGRUN_INLINE F32 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
SIGRUN_INLINE void Store(float* p, F32 x) { _mm512_storeu_ps(p, x.v); }
SIGRUN_INLINE Mask FirstLanes(int n) { return {static_cast<__mmask16>((1u << n) - 1)}; }
SIGRUN_INLINE F32 LoadPartial(const float* p, int n) { return {_mm512_maskz_loadu_ps(FirstLanes(n).v, p)}; }
SIGRUN_INLINE void StorePartial(float* p, F32 x, int n) { _mm512_mask_storeu_ps(p, FirstLanes(n).v, x.v); }

SIGRUN_INLINE F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
SIGRUN_INLINE void Accumulate(F32& sum, F32 a, F32 b) { sum = Fma(a, b, sum); }
SIGRUN_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b and a < b ? a : b, also for NaN and signed zeros: b where the comparison is false.
SIGRUN_INLINE F32 Max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
// A sum between bounds. NaN passes, a zero may lose its sign.
SIGRUN_INLINE F32 AtLeast(F32 x, F32 low) { return Max(low, x); }
SIGRUN_INLINE F32 AtMost(F32 x, F32 high) { return Min(high, x); }
SIGRUN_INLINE F32 Bounded(F32 x, F32 low, F32 high) { return AtMost(AtLeast(x, low), high); }
// 1 / x within 1 unit in the last place for normal x and results: a division takes three times as long.
SIGRUN_INLINE F32 Reciprocal(F32 x) {
  const F32 r = {_mm512_rcp14_ps(x.v)};
  return Fma(r, Fnma(x, r, Set1(1.0f)), r);
}
// a / b within 1 unit in the last place, where a, b, 1 / b and the quotient are normal.
SIGRUN_INLINE F32 Quotient(F32 a, F32 b) {
  const F32 r = {_mm512_rcp14_ps(b.v)}, q = a * r;
  return Fma(Fnma(q, b, a), r, q);
}
SIGRUN_INLINE F32 Sqrt(F32 x) { return {_mm512_sqrt_ps(x.v)}; }
SIGRUN_INLINE F32 RoundEven(F32 x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
SIGRUN_INLINE F32 Floor(F32 x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
SIGRUN_INLINE F32 Ceil(F32 x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }

SIGRUN_INLINE I32 Set1(int32_t x) { return {_mm512_set1_epi32(x)}; }
SIGRUN_INLINE I32 Load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
SIGRUN_INLINE I32 Bits(F32 x) { return {_mm512_castps_si512(x.v)}; }
SIGRUN_INLINE F32 FromBits(I32 x) { return {_mm512_castsi512_ps(x.v)}; }
SIGRUN_INLINE I32 ToInt(F32 x) { return {_mm512_cvtps_epi32(x.v)}; }
SIGRUN_INLINE F32 ToFloat(I32 x) { return {_mm512_cvtepi32_ps(x.v)}; }
SIGRUN_INLINE I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator-(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator&(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
SIGRUN_INLINE I32 operator|(I32 a, I32 b) { return {_mm512_or_si512(a.v, b.v)}; }
SIGRUN_INLINE I32 operator^(I32 a, I32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int kBits>
SIGRUN_INLINE I32 ShiftLeft(I32 x) {
  return {_mm512_slli_epi32(x.v, kBits)};
}
template <int kBits>
SIGRUN_INLINE I32 ShiftRight(I32 x) {
  return {_mm512_srai_epi32(x.v, kBits)};
}

/// Lane i of the result is lane from[i] of x.
SIGRUN_INLINE F32 Permute(F32 x, I32 from) { return {_mm512_permutexvar_ps(from.v, x.v)}; }

SIGRUN_INLINE Mask Less(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
SIGRUN_INLINE Mask Equal(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
SIGRUN_INLINE Mask NonZero(I32 x) { return {_mm512_test_epi32_mask(x.v, x.v)}; }
SIGRUN_INLINE bool Any(Mask m) { return m.v != 0; }
SIGRUN_INLINE F32 Select(Mask m, F32 yes, F32 no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }

// 1 / sqrt(x) within 1.5 units in the last place. 0 and infinity, where the correction is none, have no error.
SIGRUN_INLINE F32 Rsqrt(F32 x) {
  const F32 r = {_mm512_rsqrt14_ps(x.v)};
  const F32 y = Fma(r * Set1(0.5f), Fnma(x * r, r, Set1(1.0f)), r);
  return Select(Equal(y, y), y, r);
}

// x * 2^n for integral n, also where 2^n itself is no normal number.
SIGRUN_INLINE F32 ScaleByPowerOf2(F32 x, F32 n) { return {_mm512_scalef_ps(x.v, n.v)}; }

/// rows[i][j] becomes rows[j][i]: four rows at a time in every quarter, then quarters.
SIGRUN_INLINE void TransposeFour(const F32* rows, F32* to) {
  const __m512 a = _mm512_unpacklo_ps(rows[0].v, rows[1].v), b = _mm512_unpacklo_ps(rows[2].v, rows[3].v);
  const __m512 c = _mm512_unpackhi_ps(rows[0].v, rows[1].v), d = _mm512_unpackhi_ps(rows[2].v, rows[3].v);
  to[0].v = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  to[1].v = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  to[2].v = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(c), _mm512_castps_pd(d)));
  to[3].v = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(c), _mm512_castps_pd(d)));
}
SIGRUN_INLINE void Transpose(F32 (&rows)[16]) {
  F32 four[16];
  SIGRUN_UNROLL
  for (int i = 0; i < 16; i += 4) TransposeFour(rows + i, four + i);
  SIGRUN_UNROLL
  for (int c = 0; c < 4; ++c) {
    const __m512 a = _mm512_shuffle_f32x4(four[c].v, four[4 + c].v, 0x88), b = _mm512_shuffle_f32x4(four[c].v, four[4 + c].v, 0xdd);
    const __m512 d = _mm512_shuffle_f32x4(four[8 + c].v, four[12 + c].v, 0x88);
    const __m512 e = _mm512_shuffle_f32x4(four[8 + c].v, four[12 + c].v, 0xdd);
    rows[c].v = _mm512_shuffle_f32x4(a, d, 0x88);
    rows[4 + c].v = _mm512_shuffle_f32x4(b, e, 0x88);
    rows[8 + c].v = _mm512_shuffle_f32x4(a, d, 0xdd);
    rows[12 + c].v = _mm512_shuffle_f32x4(b, e, 0xdd);
  }
}

// Lanes are added in a fixed tree, so that the same data gives the same bits.
SIGRUN_INLINE float ReduceAdd(F32 x) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
SIGRUN_INLINE float ReduceMax(F32 x) {
  const __m256 half = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  __m128 max = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  max = _mm_max_ps(max, _mm_movehl_ps(max, max));
  return _mm_cvtss_f32(_mm_max_ss(max, _mm_movehdup_ps(max)));
}

SIGRUN_INLINE F32 LoadF16(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }

// Four consecutive elements of a row of A, to be multiplied one at a time. Here each is broadcast as it is used.
struct Left4 {
  const float* p;
};
SIGRUN_INLINE Left4 LoadLeft4(const float* p) { return {p}; }
template <int kIndex>
SIGRUN_INLINE F32 FmaLeft(Left4 left, F32 w, F32 sum) {
  return Fma(Set1(left.p[kIndex]), w, sum);
}

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/avx512/powers.h"
