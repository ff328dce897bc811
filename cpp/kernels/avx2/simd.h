#pragma once

#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/x86.h"

// The vocabulary of kernels/common over AVX2, FMA and F16C: 8 floats, tails by masked loads and stores.
namespace sigrun::kernels {
namespace {

struct F32 {
  static constexpr int lanes = 8;
  __m256 v;
};
struct I32 {
  __m256i v;
};
struct Mask {
  __m256 v;
};

// 6 x 2 accumulators, 2 weights and a broadcast of the 16 registers.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;
constexpr int kTileAhead = 1;  // lines of memory to ask for in four steps of k

SIGRUN_INLINE F32 Set1(float x) { return {_mm256_set1_ps(x)}; }
SIGRUN_INLINE F32 Load(const float* p) { return {_mm256_loadu_ps(p)}; }
SIGRUN_INLINE void Store(float* p, F32 x) { _mm256_storeu_ps(p, x.v); }
SIGRUN_INLINE Mask FirstLanes(int n) {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))};
}
SIGRUN_INLINE F32 LoadPartial(const float* p, int n) { return {_mm256_maskload_ps(p, _mm256_castps_si256(FirstLanes(n).v))}; }
SIGRUN_INLINE void StorePartial(float* p, F32 x, int n) { _mm256_maskstore_ps(p, _mm256_castps_si256(FirstLanes(n).v), x.v); }

SIGRUN_INLINE F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
SIGRUN_INLINE void Accumulate(F32& sum, F32 a, F32 b) { sum = Fma(a, b, sum); }
SIGRUN_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b and a < b ? a : b, also for NaN and signed zeros: b where the comparison is false.
SIGRUN_INLINE F32 Max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
// A sum between bounds. NaN passes, a zero may lose its sign.
SIGRUN_INLINE F32 AtLeast(F32 x, F32 low) { return Max(low, x); }
SIGRUN_INLINE F32 AtMost(F32 x, F32 high) { return Min(high, x); }
SIGRUN_INLINE F32 Bounded(F32 x, F32 low, F32 high) { return AtMost(AtLeast(x, low), high); }
// 1 / x within 1 unit in the last place for normal x and results.
SIGRUN_INLINE F32 Reciprocal(F32 x) { return Set1(1.0f) / x; }
// The same of a / b.
SIGRUN_INLINE F32 Quotient(F32 a, F32 b) { return a / b; }
SIGRUN_INLINE F32 Sqrt(F32 x) { return {_mm256_sqrt_ps(x.v)}; }
// Corrections of the estimate, and of those for denormal numbers, take as long.
SIGRUN_INLINE F32 Rsqrt(F32 x) { return Set1(1.0f) / Sqrt(x); }
SIGRUN_INLINE F32 RoundEven(F32 x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
SIGRUN_INLINE F32 Floor(F32 x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
SIGRUN_INLINE F32 Ceil(F32 x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }

SIGRUN_INLINE I32 Set1(int32_t x) { return {_mm256_set1_epi32(x)}; }
SIGRUN_INLINE I32 Load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
SIGRUN_INLINE I32 Bits(F32 x) { return {_mm256_castps_si256(x.v)}; }
SIGRUN_INLINE F32 FromBits(I32 x) { return {_mm256_castsi256_ps(x.v)}; }
SIGRUN_INLINE I32 ToInt(F32 x) { return {_mm256_cvtps_epi32(x.v)}; }
SIGRUN_INLINE F32 ToFloat(I32 x) { return {_mm256_cvtepi32_ps(x.v)}; }
SIGRUN_INLINE I32 operator+(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator-(I32 a, I32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator&(I32 a, I32 b) { return {_mm256_and_si256(a.v, b.v)}; }
SIGRUN_INLINE I32 operator|(I32 a, I32 b) { return {_mm256_or_si256(a.v, b.v)}; }
SIGRUN_INLINE I32 operator^(I32 a, I32 b) { return {_mm256_xor_si256(a.v, b.v)}; }
template <int kBits>
SIGRUN_INLINE I32 ShiftLeft(I32 x) {
  return {_mm256_slli_epi32(x.v, kBits)};
}
template <int kBits>
SIGRUN_INLINE I32 ShiftRight(I32 x) {
  return {_mm256_srai_epi32(x.v, kBits)};
}

/// Lane i of the result is lane from[i] of x.
SIGRUN_INLINE F32 Permute(F32 x, I32 from) { return {_mm256_permutevar8x32_ps(x.v, from.v)}; }

SIGRUN_INLINE Mask Less(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
SIGRUN_INLINE Mask Equal(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
SIGRUN_INLINE Mask NonZero(I32 x) {
  const __m256i zero = _mm256_cmpeq_epi32(x.v, _mm256_setzero_si256());
  return {_mm256_castsi256_ps(_mm256_xor_si256(zero, _mm256_set1_epi32(-1)))};
}
SIGRUN_INLINE bool Any(Mask m) { return _mm256_movemask_ps(m.v) != 0; }
SIGRUN_INLINE F32 Select(Mask m, F32 yes, F32 no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }

// x * 2^n for integral n in [-252, 254], in two steps so that 2^n itself need be no normal number; only the second may round.
SIGRUN_INLINE F32 ScaleByPowerOf2(F32 x, F32 n) {
  const I32 whole = ToInt(n), half = ShiftRight<1>(whole), bias = Set1(127);
  return x * FromBits(ShiftLeft<23>(half + bias)) * FromBits(ShiftLeft<23>(whole - half + bias));
}

/// rows[i][j] becomes rows[j][i]: four rows at a time in every half, then halves.
SIGRUN_INLINE void TransposeFour(const F32* rows, F32* to) {
  const __m256 a = _mm256_unpacklo_ps(rows[0].v, rows[1].v), b = _mm256_unpacklo_ps(rows[2].v, rows[3].v);
  const __m256 c = _mm256_unpackhi_ps(rows[0].v, rows[1].v), d = _mm256_unpackhi_ps(rows[2].v, rows[3].v);
  to[0].v = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  to[1].v = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  to[2].v = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(c), _mm256_castps_pd(d)));
  to[3].v = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(c), _mm256_castps_pd(d)));
}
SIGRUN_INLINE void Transpose(F32 (&rows)[8]) {
  F32 four[8];
  TransposeFour(rows, four);
  TransposeFour(rows + 4, four + 4);
  SIGRUN_UNROLL
  for (int c = 0; c < 4; ++c) {
    rows[c].v = _mm256_permute2f128_ps(four[c].v, four[4 + c].v, 0x20);
    rows[4 + c].v = _mm256_permute2f128_ps(four[c].v, four[4 + c].v, 0x31);
  }
}

// Lanes are added in a fixed tree, so that the same data gives the same bits.
SIGRUN_INLINE float ReduceAdd(F32 x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
SIGRUN_INLINE float ReduceMax(F32 x) {
  __m128 max = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  max = _mm_max_ps(max, _mm_movehl_ps(max, max));
  return _mm_cvtss_f32(_mm_max_ss(max, _mm_movehdup_ps(max)));
}

SIGRUN_INLINE F32 LoadF16(const uint16_t* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }

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

#include "kernels/common/whole_powers.h"
