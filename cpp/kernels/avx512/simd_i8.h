#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/inline.h"
#include "kernels/common/x86.h"
#include "kernels/kernels.h"

// The vocabulary of the 8-bit kernels over AVX-512 (F, BW, DQ, VL): 16 lanes of int32 and float, 16 raw bytes.
namespace sigrun::kernels {
namespace {

constexpr int kLanes = 16;
struct I32 {
  __m512i v;
};
struct F32 {
  __m512 v;
};
struct Bytes {
  __m128i v;
};
/// Four bytes of activations in every lane: a group that Dot takes.
struct Broadcasted {
  __m512i v;
};
SIGRUN_INLINE Broadcasted Broadcast(const uint8_t* p) {
  int32_t group;
  std::memcpy(&group, p, sizeof(group));
  return {_mm512_set1_epi32(group)};
}

/// 32 numbers, with the operators of the language; the high halves of 2ab, rounded half up.
using Int16s = int16_t __attribute__((vector_size(64)));
SIGRUN_INLINE Int16s MulRounded(Int16s a, Int16s b) {
  return reinterpret_cast<Int16s>(_mm512_mulhrs_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}

SIGRUN_INLINE I32 Set1(int32_t x) { return {_mm512_set1_epi32(x)}; }
SIGRUN_INLINE I32 Load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
SIGRUN_INLINE I32 LoadFew(const int32_t* p, int32_t n) { return {_mm512_maskz_loadu_epi32(static_cast<__mmask16>((1u << n) - 1), p)}; }
SIGRUN_INLINE void Store(int32_t* p, I32 x) { _mm512_storeu_si512(p, x.v); }
SIGRUN_INLINE I32 LoadWide(const int8_t* p) { return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
SIGRUN_INLINE I32 LoadWide(const uint8_t* p) { return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
SIGRUN_INLINE I32 LoadWide(const int16_t* p) { return {_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
/// What fits 16 bits.
SIGRUN_INLINE void StoreLow16(int16_t* p, I32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x.v)); }
SIGRUN_INLINE I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator-(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator*(I32 a, I32 b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 Clamp(I32 x, I32 min, I32 max) { return {_mm512_min_epi32(_mm512_max_epi32(x.v, min.v), max.v)}; }
/// The low 8 bits of each lane, or of the first n < kLanes.
SIGRUN_INLINE void StoreLow8(uint8_t* p, I32 x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v)); }
SIGRUN_INLINE void StoreLow8(uint8_t* p, I32 x, int32_t n) {
  _mm512_mask_cvtepi32_storeu_epi8(p, static_cast<__mmask16>((1u << n) - 1), x.v);
}

/// MultiplyByQuantizedMultiplier with shift = left - right, one of them 0; multiplier > INT32_MIN. The 64-bit products of the even and of
/// the odd lanes are rounded apart; what is kept of each is bits 31 to 62.
SIGRUN_INLINE I32 Requantize(I32 x, I32 multiplier, I32 left, I32 right) {
  const __m512i nudge = _mm512_set1_epi64(int64_t{1} << 30);
  const __m512i a = _mm512_sllv_epi32(x.v, left.v);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(a, multiplier.v), nudge);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(multiplier.v, 32)), nudge);
  const __m512i high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, right.v), one);
  const __m512i threshold = _mm512_sub_epi32(_mm512_srli_epi32(mask, 1), _mm512_srai_epi32(high, 31));
  const __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(high, mask), threshold);
  const __m512i down = _mm512_srav_epi32(high, right.v);
  return {_mm512_mask_add_epi32(down, up, down, one)};
}

/// The same plus a zero point, for a multiplier >= 0 and shift = -right < 0, as IsRescalable says. With x as an unsigned number that
/// is 2^31 higher, the upper half of twice the product is the high product. The addend takes 2^31 * multiplier away again,
/// rounds both times, and takes 1 from the high product, which is given back unless x is negative.
struct Rescale {
  __m512i even, odd, addend_even, addend_odd, right;
};
SIGRUN_INLINE Rescale MakeRescale(I32 multiplier, I32 right, int32_t zero_point) {
  const __m512i one = _mm512_set1_epi32(1), twice = _mm512_slli_epi32(multiplier.v, 1);
  const __m512i half = _mm512_sub_epi32(_mm512_sllv_epi32(one, _mm512_sub_epi32(right.v, one)), one);
  const __m512i offset = _mm512_sub_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(zero_point), right.v), multiplier.v);
  const __m512i addend = _mm512_add_epi32(half, offset), nudge = _mm512_set1_epi64(int64_t{1} << 31);
  return {twice, _mm512_srli_epi64(twice, 32), _mm512_or_si512(_mm512_slli_epi64(addend, 32), nudge),
          _mm512_mask_blend_epi32(0xaaaa, nudge, addend), right.v};
}
/// x is 2^31 higher.
SIGRUN_INLINE I32 RescaledUnsigned(I32 x, const Rescale& s) {
  const __m512i even = _mm512_add_epi64(_mm512_mul_epu32(x.v, s.even), s.addend_even);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(x.v, 32), s.odd), s.addend_odd);
  const __m512i high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
  return {_mm512_srav_epi32(_mm512_add_epi32(high, _mm512_srli_epi32(x.v, 31)), s.right)};
}
SIGRUN_INLINE I32 Rescaled(I32 x, const Rescale& s) { return RescaledUnsigned({_mm512_xor_si512(x.v, _mm512_set1_epi32(INT32_MIN))}, s); }
/// What is at least the zero point: there, nothing has to be given back.
SIGRUN_INLINE Rescale Rectified(Rescale s) {
  const __m512i one = _mm512_set1_epi64(int64_t{1} << 32);
  s.addend_even = _mm512_add_epi64(s.addend_even, one);
  s.addend_odd = _mm512_add_epi64(s.addend_odd, one);
  return s;
}
SIGRUN_INLINE I32 RectifiedUnsigned(I32 x, const Rescale& s) {
  const __m512i even = _mm512_add_epi64(_mm512_mul_epu32(x.v, s.even), s.addend_even);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(x.v, 32), s.odd), s.addend_odd);
  return {_mm512_srav_epi32(_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB), s.right)};
}

/// kernels.h's ShiftedProduct plus a zero point, for RectifiedUnsigned with what Rectified gives.
SIGRUN_INLINE Rescale MakeRescale(const ShiftedProduct& p, int32_t first, int32_t zero_point) {
  const __m512i multiplier = _mm512_loadu_si512(p.multiplier + first), shift = _mm512_loadu_si512(p.shift + first);
  const auto addend = [&](int half) SIGRUN_INLINE_LAMBDA {
    const auto wide = [=](__m512i x) SIGRUN_INLINE_LAMBDA {
      return _mm512_cvtepi32_epi64(half == 0 ? _mm512_castsi512_si256(x) : _mm512_extracti64x4_epi64(x, 1));
    };
    const __m512i offset = _mm512_sllv_epi64(_mm512_set1_epi64(zero_point), wide(shift));
    const __m512i taken = _mm512_add_epi64(_mm512_slli_epi64(wide(multiplier), 31), _mm512_set1_epi64(int64_t{1} << 32));
    return _mm512_sub_epi64(_mm512_add_epi64(_mm512_loadu_si512(p.addend + first + 8 * half), offset), taken);
  };
  const __m512i low = addend(0), high = addend(1), evens = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  const __m512i odds = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
  return {multiplier, _mm512_srli_epi64(multiplier, 32), _mm512_permutex2var_epi64(low, evens, high),
          _mm512_permutex2var_epi64(low, odds, high), _mm512_sub_epi32(shift, _mm512_set1_epi32(32))};
}

/// Requantize by constants for |x| < 2^8 and 0 <= left <= 20: the product with the upper 24 bits of the multiplier needs no rounding.
struct SmallScale {
  __m512i upper, lower, nudge, half, sign, shift, right;
};
SIGRUN_INLINE SmallScale MakeSmallScale(int32_t multiplier, int32_t left, int32_t right) {
  const int32_t shift = 31 - left;
  return {_mm512_set1_epi32(multiplier >> 8),
          _mm512_set1_epi32(multiplier & 255),
          _mm512_set1_epi32(1 << (shift - 1)),
          _mm512_set1_epi32(right > 0 ? 1 << (right - 1) : 0),
          _mm512_set1_epi32(right > 0 ? 31 : 32),
          _mm512_set1_epi32(shift - 8),
          _mm512_set1_epi32(right)};
}
SIGRUN_INLINE I32 Scaled(I32 x, const SmallScale& s) {
  const __m512i lower = _mm512_srai_epi32(_mm512_add_epi32(_mm512_mullo_epi32(x.v, s.lower), s.nudge), 8);
  const __m512i high = _mm512_srav_epi32(_mm512_add_epi32(_mm512_mullo_epi32(x.v, s.upper), lower), s.shift);
  return {_mm512_srav_epi32(_mm512_sub_epi32(_mm512_add_epi32(high, s.half), _mm512_srlv_epi32(high, s.sign)), s.right)};
}

/// kernels.h's LinearI8, before it is clamped. Both operands make pairs of int16. A shift by a number a lane takes one port, by one number
/// for all two.
struct Linear {
  __m512i high, low, addend_high, addend_low, shift;
};
SIGRUN_INLINE Linear MakeLinear(const LinearI8& f) {
  const auto pair = [](int16_t a, int16_t b) { return _mm512_set1_epi32(static_cast<uint16_t>(a) | b * 65536); };
  return {pair(f.a_high, f.b_high), pair(f.a_low, f.b_low), _mm512_set1_epi32(f.addend_high), _mm512_set1_epi32(f.addend_low),
          _mm512_set1_epi32(f.shift)};
}
SIGRUN_INLINE I32 LinearSum(I32 a, I32 b, const Linear& f) {
  const __m512i pairs = _mm512_mask_blend_epi16(0xaaaaaaaa, a.v, _mm512_slli_epi32(b.v, 16));
  const __m512i low = _mm512_srai_epi32(_mm512_add_epi32(_mm512_madd_epi16(pairs, f.low), f.addend_low), 15);
  const __m512i high = _mm512_add_epi32(_mm512_madd_epi16(pairs, f.high), f.addend_high);
  return {_mm512_srav_epi32(_mm512_add_epi32(high, low), f.shift)};
}

/// common/fixed_point.h's RoundScaled; kBounded: nothing is beyond its bounds.
template <bool kBounded>
SIGRUN_INLINE __m256i RoundScaled(__m256i x, const double* scale) {
  const __m512d most = _mm512_set1_pd(1 << 30), half = _mm512_set1_pd(0x1.fffffffffffffp-2);
  const __m512d y = _mm512_mul_pd(_mm512_cvtepi32_pd(x), _mm512_loadu_pd(scale));
  const __m512d rounded = _mm512_add_pd(y, _mm512_or_pd(half, _mm512_and_pd(y, _mm512_set1_pd(-0.0))));
  if (kBounded) return _mm512_cvttpd_epi32(rounded);
  return _mm512_cvttpd_epi32(_mm512_min_pd(_mm512_max_pd(rounded, _mm512_set1_pd(-(1 << 30))), most));
}
template <bool kBounded = false>
SIGRUN_INLINE I32 RoundScaled(I32 x, const double* scale) {
  const __m256i low = RoundScaled<kBounded>(_mm512_castsi512_si256(x.v), scale);
  const __m256i high = RoundScaled<kBounded>(_mm512_extracti64x4_epi64(x.v, 1), scale + 8);
  return {_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)};
}

SIGRUN_INLINE F32 Set1(float x) { return {_mm512_set1_ps(x)}; }
SIGRUN_INLINE F32 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
SIGRUN_INLINE void Store(float* p, F32 x) { _mm512_storeu_ps(p, x.v); }
/// The first n < kLanes lanes; the others are loaded as 0.
SIGRUN_INLINE F32 LoadFew(const float* p, int32_t n) { return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)}; }
SIGRUN_INLINE void StoreFew(float* p, F32 x, int32_t n) { _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), x.v); }
SIGRUN_INLINE F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
SIGRUN_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
SIGRUN_INLINE F32 Abs(F32 x) { return {_mm512_abs_ps(x.v)}; }
SIGRUN_INLINE F32 CopySign(F32 magnitude, F32 sign) { return {_mm512_or_ps(magnitude.v, _mm512_and_ps(sign.v, _mm512_set1_ps(-0.0f)))}; }
// a > b ? a : b and a < b ? a : b: b where a is NaN, NaN where b is.
SIGRUN_INLINE F32 Max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
SIGRUN_INLINE float ReduceMax(F32 x) { return _mm512_reduce_max_ps(x.v); }
SIGRUN_INLINE float ReduceMin(F32 x) { return _mm512_reduce_min_ps(x.v); }
SIGRUN_INLINE F32 ToFloat(I32 x) { return {_mm512_cvtepi32_ps(x.v)}; }
SIGRUN_INLINE I32 Truncate(F32 x) { return {_mm512_cvttps_epi32(x.v)}; }
/// Half away from zero, for |x| < 2^22. The addend is the float below 0.5, so that the float below 0.5 does not become 1.
SIGRUN_INLINE I32 Round(F32 x) {
  const __m512 sign = _mm512_and_ps(x.v, _mm512_set1_ps(-0.0f));
  return {_mm512_cvttps_epi32(_mm512_add_ps(x.v, _mm512_or_ps(sign, _mm512_set1_ps(0x1.fffffep-2f))))};
}

constexpr int kBytes = 16;
SIGRUN_INLINE Bytes Load(const uint8_t* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
SIGRUN_INLINE Bytes LoadFew(const uint8_t* p, int32_t n) { return {_mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << n) - 1), p)}; }
SIGRUN_INLINE I32 WidenSigned(Bytes x) { return {_mm512_cvtepi8_epi32(x.v)}; }
SIGRUN_INLINE I32 WidenUnsigned(Bytes x) { return {_mm512_cvtepu8_epi32(x.v)}; }
SIGRUN_INLINE void Store(uint8_t* p, Bytes x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x.v); }
SIGRUN_INLINE Bytes SetBytes(uint8_t x) { return {_mm_set1_epi8(static_cast<char>(x))}; }
SIGRUN_INLINE Bytes operator^(Bytes a, Bytes b) { return {_mm_xor_si128(a.v, b.v)}; }
SIGRUN_INLINE Bytes MaxSigned(Bytes a, Bytes b) { return {_mm_max_epi8(a.v, b.v)}; }
SIGRUN_INLINE Bytes MinSigned(Bytes a, Bytes b) { return {_mm_min_epi8(a.v, b.v)}; }
/// Lanes saturated to int8, in the first kLanes bytes.
SIGRUN_INLINE Bytes SaturateBytes(I32 x) { return {_mm512_cvtsepi32_epi8(x.v)}; }
SIGRUN_INLINE void StoreLanes(uint8_t* p, Bytes x) { Store(p, x); }
SIGRUN_INLINE void StoreLanes(uint8_t* p, Bytes x, int32_t n) { _mm_mask_storeu_epi8(p, static_cast<__mmask16>((1u << n) - 1), x.v); }
SIGRUN_INLINE void StoreWide(int16_t* p, Bytes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvtepi8_epi16(x.v)); }

/// The bytes of four vectors of kLanes.
struct FourBytes {
  __m512i v;
};
SIGRUN_INLINE void Store(uint8_t* p, FourBytes x) { _mm512_storeu_si512(p, x.v); }
SIGRUN_INLINE __m512i WidenHalf(const int8_t* p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
SIGRUN_INLINE __m512i WidenHalf(const uint8_t* p) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
/// Two vectors as int16, saturated, within every 128 bits four lanes of the first before four of the second.
struct Words {
  __m512i v;
};
SIGRUN_INLINE Words SaturateWords(I32 a, I32 b) { return {_mm512_packs_epi32(a.v, b.v)}; }
SIGRUN_INLINE Words AddSaturated(Words a, Words b) { return {_mm512_adds_epi16(a.v, b.v)}; }
SIGRUN_INLINE Words Clamp(Words x, Words min, Words max) { return {_mm512_min_epi16(_mm512_max_epi16(x.v, min.v), max.v)}; }
/// 2 * kLanes bytes, or the first n of them.
SIGRUN_INLINE Words LoadWords(const int8_t* p, int32_t n) {
  const __mmask32 mask = n >= 2 * kLanes ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return {_mm512_cvtepi8_epi16(_mm256_permutevar8x32_epi32(_mm256_maskz_loadu_epi8(mask, p), order))};
}
/// Sums of products of pairs of int16.
SIGRUN_INLINE __m512i DotPairs(__m512i sum, __m512i pairs, __m512i factors) {
#if defined(__AVX512VNNI__)
  return _mm512_dpwssd_epi32(sum, pairs, factors);
#else
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, factors));
#endif
}
SIGRUN_INLINE I32 DotPairs(I32 sum, I32 pairs, I32 factors) { return {DotPairs(sum.v, pairs.v, factors.v)}; }
/// x >> 7 above x & 127.
SIGRUN_INLINE I32 SplitInPairs(I32 x) {
  const __m512i high = _mm512_slli_epi32(_mm512_srai_epi32(x.v, 7), 16);
  return {_mm512_or_si512(high, _mm512_and_si512(x.v, _mm512_set1_epi32(127)))};
}
/// What DotPairs multiplies those by for a product with -x, a byte.
SIGRUN_INLINE I32 NegatedPairs(I32 x) {
  const __m512i negative = _mm512_sub_epi32(_mm512_setzero_si512(), x.v);
  return {_mm512_or_si512(_mm512_slli_epi32(negative, 23), _mm512_and_si512(negative, _mm512_set1_epi32(0xffff)))};
}
SIGRUN_INLINE __m512i LinearSum(__m512i pairs, const Linear& f) {
  const __m512i low = _mm512_srai_epi32(DotPairs(f.addend_low, pairs, f.low), 15);
  return _mm512_srav_epi32(_mm512_add_epi32(DotPairs(f.addend_high, pairs, f.high), low), f.shift);
}
/// LinearSum, saturated: unpacking makes the pairs of int16, and the packs that narrow them put them back in order.
SIGRUN_INLINE Words LinearSum(Words a, Words b, const Linear& f) {
  return {_mm512_packs_epi32(LinearSum(_mm512_unpacklo_epi16(a.v, b.v), f), LinearSum(_mm512_unpackhi_epi16(a.v, b.v), f))};
}
/// Of four vectors in their order.
template <class T>
SIGRUN_INLINE FourBytes LinearSums(const T* a, const T* b, const Linear& f) {
  const auto half = [&](const T* x, const T* y) SIGRUN_INLINE_LAMBDA { return LinearSum(Words{WidenHalf(x)}, {WidenHalf(y)}, f).v; };
  const __m512i bytes = _mm512_packs_epi16(half(a, b), half(a + 32, b + 32));
  return {_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes)};
}
SIGRUN_INLINE FourBytes SaturateFour(Words a, Words b) {
  const __m512i fours = _mm512_packs_epi16(a.v, b.v);
  return {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), fours)};
}
SIGRUN_INLINE FourBytes SaturateFour(I32 a, I32 b, I32 c, I32 d) { return SaturateFour(SaturateWords(a, b), SaturateWords(c, d)); }
SIGRUN_INLINE FourBytes operator^(FourBytes x, Bytes y) { return {_mm512_xor_si512(x.v, _mm512_broadcast_i32x4(y.v))}; }
SIGRUN_INLINE FourBytes Limit(FourBytes x, Bytes min, Bytes max, Bytes flip) {
  const __m512i most = _mm512_broadcast_i32x4(max.v), least = _mm512_broadcast_i32x4(min.v);
  return FourBytes{_mm512_min_epi8(_mm512_max_epi8(x.v, least), most)} ^ flip;
}
/// Vector i of the four; vectors i and i + 1.
template <int i>
SIGRUN_INLINE Bytes One(FourBytes x) {
  return {_mm512_extracti32x4_epi32(x.v, i)};
}
template <int i>
SIGRUN_INLINE void StoreTwo(uint8_t* p, FourBytes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_extracti64x4_epi64(x.v, i / 2));
}

/// A depthwise step takes two taps at once: widened to int32 and merged into pairs of int16. Weights are [lanes][2].
constexpr int kDepthwiseTaps = 2;
SIGRUN_INLINE Bytes LoadChannels(const uint8_t* p) { return Load(p); }
template <bool kFlip>
SIGRUN_INLINE I32 DepthwiseStep(I32 acc, const Bytes (&taps)[kDepthwiseTaps], const int16_t* weights) {
  const Bytes flip = SetBytes(kFlip ? 0x80 : 0);
  const I32 a0 = WidenSigned(kFlip ? taps[0] ^ flip : taps[0]), a1 = WidenSigned(kFlip ? taps[1] ^ flip : taps[1]);
  const __m512i pairs = _mm512_mask_blend_epi16(0xaaaaaaaa, a0.v, _mm512_slli_epi32(a1.v, 16));
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(pairs, _mm512_loadu_si512(weights)))};
}

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/real_scale_i8.h"
