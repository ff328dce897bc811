#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/inline.h"
#include "kernels/common/x86.h"
#include "kernels/kernels.h"

// The vocabulary of the 8-bit kernels over AVX2: 8 lanes of int32 and float, 16 raw bytes.
namespace sigrun::kernels {
namespace {

constexpr int kLanes = 8;
struct I32 {
  __m256i v;
};
struct F32 {
  __m256 v;
};
struct Bytes {
  __m128i v;
};
/// Four bytes of activations in every lane: a group that Dot takes.
struct Broadcasted {
  __m256i v;
};
SIGRUN_INLINE Broadcasted Broadcast(const uint8_t* p) {
  int32_t group;
  std::memcpy(&group, p, sizeof(group));
  return {_mm256_set1_epi32(group)};
}

/// 16 numbers, with the operators of the language; the high halves of 2ab, rounded half up.
using Int16s = int16_t __attribute__((vector_size(32)));
SIGRUN_INLINE Int16s MulRounded(Int16s a, Int16s b) {
  return reinterpret_cast<Int16s>(_mm256_mulhrs_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}

SIGRUN_INLINE I32 Set1(int32_t x) { return {_mm256_set1_epi32(x)}; }
SIGRUN_INLINE I32 Load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
SIGRUN_INLINE void Store(int32_t* p, I32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v); }
SIGRUN_INLINE I32 LoadWide(const int8_t* p) { return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))}; }
SIGRUN_INLINE I32 LoadWide(const uint8_t* p) { return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))}; }
SIGRUN_INLINE I32 LoadWide(const int16_t* p) { return {_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
/// What fits 16 bits.
SIGRUN_INLINE void StoreLow16(int16_t* p, I32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(_mm256_castsi256_si128(x.v), _mm256_extracti128_si256(x.v, 1)));
}
SIGRUN_INLINE I32 operator+(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator-(I32 a, I32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator*(I32 a, I32 b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
SIGRUN_INLINE I32 Clamp(I32 x, I32 min, I32 max) { return {_mm256_min_epi32(_mm256_max_epi32(x.v, min.v), max.v)}; }
/// The low 8 bits of each lane, or of the first n < kLanes.
SIGRUN_INLINE __m128i Low8(I32 x) {
  const __m256i low = _mm256_shuffle_epi8(x.v, _mm256_set1_epi32(0x0c080400));
  return _mm_unpacklo_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
}
SIGRUN_INLINE void StoreLow8(uint8_t* p, I32 x) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), Low8(x)); }
SIGRUN_INLINE void StoreLow8(uint8_t* p, I32 x, int32_t n) { WriteFew(p, static_cast<uint64_t>(_mm_cvtsi128_si64(Low8(x))), n); }

/// MultiplyByQuantizedMultiplier with shift = left - right, one of them 0; multiplier > INT32_MIN. The 64-bit products of the even and of
/// the odd lanes are rounded apart; what is kept of each is bits 31 to 62.
SIGRUN_INLINE I32 Requantize(I32 x, I32 multiplier, I32 left, I32 right) {
  const __m256i nudge = _mm256_set1_epi64x(int64_t{1} << 30);
  const __m256i a = _mm256_sllv_epi32(x.v, left.v);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, multiplier.v), nudge);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(multiplier.v, 32)), nudge);
  const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(one, right.v), one);
  const __m256i threshold = _mm256_sub_epi32(_mm256_srli_epi32(mask, 1), _mm256_srai_epi32(high, 31));
  const __m256i up = _mm256_cmpgt_epi32(_mm256_and_si256(high, mask), threshold);
  return {_mm256_sub_epi32(_mm256_srav_epi32(high, right.v), up)};
}

/// The same plus a zero point, for a multiplier >= 0 and shift = -right < 0, as IsRescalable says. With x as an unsigned number that
/// is 2^31 higher, the upper half of twice the product is the high product. The addend takes 2^31 * multiplier away again,
/// rounds both times, and takes 1 from the high product, which is given back unless x is negative.
struct Rescale {
  __m256i even, odd, addend_even, addend_odd, right;
};
SIGRUN_INLINE Rescale MakeRescale(I32 multiplier, I32 right, int32_t zero_point) {
  const __m256i one = _mm256_set1_epi32(1), twice = _mm256_slli_epi32(multiplier.v, 1);
  const __m256i half = _mm256_sub_epi32(_mm256_sllv_epi32(one, _mm256_sub_epi32(right.v, one)), one);
  const __m256i offset = _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(zero_point), right.v), multiplier.v);
  const __m256i addend = _mm256_add_epi32(half, offset), nudge = _mm256_set1_epi64x(int64_t{1} << 31);
  return {twice, _mm256_srli_epi64(twice, 32), _mm256_or_si256(_mm256_slli_epi64(addend, 32), nudge),
          _mm256_blend_epi32(nudge, addend, 0xaa), right.v};
}
/// x is 2^31 higher.
SIGRUN_INLINE I32 RescaledUnsigned(I32 x, const Rescale& s) {
  const __m256i even = _mm256_add_epi64(_mm256_mul_epu32(x.v, s.even), s.addend_even);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(x.v, 32), s.odd), s.addend_odd);
  const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  return {_mm256_srav_epi32(_mm256_add_epi32(high, _mm256_srli_epi32(x.v, 31)), s.right)};
}
SIGRUN_INLINE I32 Rescaled(I32 x, const Rescale& s) { return RescaledUnsigned({_mm256_xor_si256(x.v, _mm256_set1_epi32(INT32_MIN))}, s); }

/// Requantize by constants for |x| < 2^8 and 0 <= left <= 20: the product with the upper 24 bits of the multiplier needs no rounding.
struct SmallScale {
  __m256i upper, lower, nudge, half;
  __m128i shift, right, sign;
};
SIGRUN_INLINE SmallScale MakeSmallScale(int32_t multiplier, int32_t left, int32_t right) {
  const int32_t shift = 31 - left;
  return {_mm256_set1_epi32(multiplier >> 8),    _mm256_set1_epi32(multiplier & 255),
          _mm256_set1_epi32(1 << (shift - 1)),   _mm256_set1_epi32(right > 0 ? 1 << (right - 1) : 0),
          _mm_cvtsi32_si128(shift - 8),          _mm_cvtsi32_si128(right),
          _mm_cvtsi32_si128(right > 0 ? 31 : 32)};
}
SIGRUN_INLINE I32 Scaled(I32 x, const SmallScale& s) {
  const __m256i lower = _mm256_srai_epi32(_mm256_add_epi32(_mm256_mullo_epi32(x.v, s.lower), s.nudge), 8);
  const __m256i high = _mm256_sra_epi32(_mm256_add_epi32(_mm256_mullo_epi32(x.v, s.upper), lower), s.shift);
  return {_mm256_sra_epi32(_mm256_sub_epi32(_mm256_add_epi32(high, s.half), _mm256_srl_epi32(high, s.sign)), s.right)};
}

/// kernels.h's LinearI8, before it is clamped. Both operands make pairs of int16.
struct Linear {
  __m256i high, low, addend_high, addend_low;
  __m128i shift;
};
SIGRUN_INLINE Linear MakeLinear(const LinearI8& f) {
  const auto pair = [](int16_t a, int16_t b) { return _mm256_set1_epi32(static_cast<uint16_t>(a) | b * 65536); };
  return {pair(f.a_high, f.b_high), pair(f.a_low, f.b_low), _mm256_set1_epi32(f.addend_high), _mm256_set1_epi32(f.addend_low),
          _mm_cvtsi32_si128(f.shift)};
}
SIGRUN_INLINE I32 LinearSum(I32 a, I32 b, const Linear& f) {
  const __m256i pairs = _mm256_blend_epi16(a.v, _mm256_slli_epi32(b.v, 16), 0xaa);
  const __m256i low = _mm256_srai_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs, f.low), f.addend_low), 15);
  const __m256i high = _mm256_add_epi32(_mm256_madd_epi16(pairs, f.high), f.addend_high);
  return {_mm256_sra_epi32(_mm256_add_epi32(high, low), f.shift)};
}

/// common/fixed_point.h's RoundScaled; kBounded: nothing is beyond its bounds.
template <bool kBounded>
SIGRUN_INLINE __m128i RoundScaled(__m128i x, const double* scale) {
  const __m256d most = _mm256_set1_pd(1 << 30), half = _mm256_set1_pd(0x1.fffffffffffffp-2);
  const __m256d y = _mm256_mul_pd(_mm256_cvtepi32_pd(x), _mm256_loadu_pd(scale));
  const __m256d rounded = _mm256_add_pd(y, _mm256_or_pd(half, _mm256_and_pd(y, _mm256_set1_pd(-0.0))));
  if (kBounded) return _mm256_cvttpd_epi32(rounded);
  return _mm256_cvttpd_epi32(_mm256_min_pd(_mm256_max_pd(rounded, _mm256_set1_pd(-(1 << 30))), most));
}
template <bool kBounded = false>
SIGRUN_INLINE I32 RoundScaled(I32 x, const double* scale) {
  const __m128i low = RoundScaled<kBounded>(_mm256_castsi256_si128(x.v), scale);
  const __m128i high = RoundScaled<kBounded>(_mm256_extracti128_si256(x.v, 1), scale + 4);
  return {_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1)};
}

SIGRUN_INLINE F32 Set1(float x) { return {_mm256_set1_ps(x)}; }
SIGRUN_INLINE F32 Load(const float* p) { return {_mm256_loadu_ps(p)}; }
SIGRUN_INLINE void Store(float* p, F32 x) { _mm256_storeu_ps(p, x.v); }
/// The first n < kLanes lanes; the others are loaded as 0.
SIGRUN_INLINE __m256i FirstLanes(int32_t n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
SIGRUN_INLINE I32 LoadFew(const int32_t* p, int32_t n) { return {_mm256_maskload_epi32(p, FirstLanes(n))}; }
SIGRUN_INLINE F32 LoadFew(const float* p, int32_t n) { return {_mm256_maskload_ps(p, FirstLanes(n))}; }
SIGRUN_INLINE void StoreFew(float* p, F32 x, int32_t n) { _mm256_maskstore_ps(p, FirstLanes(n), x.v); }
SIGRUN_INLINE F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
SIGRUN_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
SIGRUN_INLINE F32 Abs(F32 x) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x.v)}; }
SIGRUN_INLINE F32 CopySign(F32 magnitude, F32 sign) { return {_mm256_or_ps(magnitude.v, _mm256_and_ps(sign.v, _mm256_set1_ps(-0.0f)))}; }
// a > b ? a : b and a < b ? a : b: b where a is NaN, NaN where b is.
SIGRUN_INLINE F32 Max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
SIGRUN_INLINE F32 Min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
SIGRUN_INLINE float ReduceMax(F32 x) {
  __m128 max = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  max = _mm_max_ps(max, _mm_movehl_ps(max, max));
  return _mm_cvtss_f32(_mm_max_ss(max, _mm_movehdup_ps(max)));
}
SIGRUN_INLINE float ReduceMin(F32 x) {
  __m128 min = _mm_min_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  min = _mm_min_ps(min, _mm_movehl_ps(min, min));
  return _mm_cvtss_f32(_mm_min_ss(min, _mm_movehdup_ps(min)));
}
SIGRUN_INLINE F32 ToFloat(I32 x) { return {_mm256_cvtepi32_ps(x.v)}; }
SIGRUN_INLINE I32 Truncate(F32 x) { return {_mm256_cvttps_epi32(x.v)}; }
/// Half away from zero, for |x| < 2^22. The addend is the float below 0.5, so that the float below 0.5 does not become 1.
SIGRUN_INLINE I32 Round(F32 x) {
  const __m256 sign = _mm256_and_ps(x.v, _mm256_set1_ps(-0.0f));
  return {_mm256_cvttps_epi32(_mm256_add_ps(x.v, _mm256_or_ps(sign, _mm256_set1_ps(0x1.fffffep-2f))))};
}

constexpr int kBytes = 16;
SIGRUN_INLINE Bytes Load(const uint8_t* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
SIGRUN_INLINE Bytes LoadFew(const uint8_t* p, int32_t n) {
  const FewBytes few = ReadFew(p, n);
  return {_mm_set_epi64x(static_cast<int64_t>(few.high), static_cast<int64_t>(few.low))};
}
SIGRUN_INLINE I32 WidenSigned(Bytes x) { return {_mm256_cvtepi8_epi32(x.v)}; }
SIGRUN_INLINE I32 WidenUnsigned(Bytes x) { return {_mm256_cvtepu8_epi32(x.v)}; }
SIGRUN_INLINE void Store(uint8_t* p, Bytes x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x.v); }
SIGRUN_INLINE Bytes SetBytes(uint8_t x) { return {_mm_set1_epi8(static_cast<char>(x))}; }
SIGRUN_INLINE Bytes operator^(Bytes a, Bytes b) { return {_mm_xor_si128(a.v, b.v)}; }
SIGRUN_INLINE Bytes MaxSigned(Bytes a, Bytes b) { return {_mm_max_epi8(a.v, b.v)}; }
SIGRUN_INLINE Bytes MinSigned(Bytes a, Bytes b) { return {_mm_min_epi8(a.v, b.v)}; }
/// Lanes saturated to int8, in the first kLanes bytes.
SIGRUN_INLINE Bytes SaturateBytes(I32 x) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x.v), _mm256_extracti128_si256(x.v, 1));
  return {_mm_packs_epi16(words, words)};
}
SIGRUN_INLINE void StoreLanes(uint8_t* p, Bytes x) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), x.v); }
SIGRUN_INLINE void StoreLanes(uint8_t* p, Bytes x, int32_t n) { WriteFew(p, static_cast<uint64_t>(_mm_cvtsi128_si64(x.v)), n); }
SIGRUN_INLINE void StoreWide(int16_t* p, Bytes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvtepi8_epi16(x.v)); }

/// The bytes of four vectors of kLanes.
struct FourBytes {
  __m256i v;
};
SIGRUN_INLINE void Store(uint8_t* p, FourBytes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v); }
SIGRUN_INLINE __m256i WidenHalf(const int8_t* p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
SIGRUN_INLINE __m256i WidenHalf(const uint8_t* p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
/// Two vectors as int16, saturated, within every 128 bits four lanes of the first before four of the second.
struct Words {
  __m256i v;
};
SIGRUN_INLINE Words SaturateWords(I32 a, I32 b) { return {_mm256_packs_epi32(a.v, b.v)}; }
SIGRUN_INLINE Words AddSaturated(Words a, Words b) { return {_mm256_adds_epi16(a.v, b.v)}; }
SIGRUN_INLINE Words Clamp(Words x, Words min, Words max) { return {_mm256_min_epi16(_mm256_max_epi16(x.v, min.v), max.v)}; }
/// 2 * kLanes bytes, or the first n of them.
SIGRUN_INLINE Words LoadWords(const int8_t* p, int32_t n) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(p);
  const __m128i x = n >= 2 * kLanes ? Load(bytes).v : LoadFew(bytes, n).v;
  return {_mm256_cvtepi8_epi16(_mm_shuffle_epi32(x, 0xd8))};
}
/// Sums of products of pairs of int16.
SIGRUN_INLINE __m256i DotPairs(__m256i sum, __m256i pairs, __m256i factors) {
#if defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sum, pairs, factors);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, factors));
#endif
}
SIGRUN_INLINE I32 DotPairs(I32 sum, I32 pairs, I32 factors) { return {DotPairs(sum.v, pairs.v, factors.v)}; }
/// x >> 7 above x & 127.
SIGRUN_INLINE I32 SplitInPairs(I32 x) {
  const __m256i high = _mm256_slli_epi32(_mm256_srai_epi32(x.v, 7), 16);
  return {_mm256_or_si256(high, _mm256_and_si256(x.v, _mm256_set1_epi32(127)))};
}
/// What DotPairs multiplies those by for a product with -x, a byte.
SIGRUN_INLINE I32 NegatedPairs(I32 x) {
  const __m256i negative = _mm256_sub_epi32(_mm256_setzero_si256(), x.v);
  return {_mm256_or_si256(_mm256_slli_epi32(negative, 23), _mm256_and_si256(negative, _mm256_set1_epi32(0xffff)))};
}
SIGRUN_INLINE __m256i LinearSum(__m256i pairs, const Linear& f) {
  const __m256i low = _mm256_srai_epi32(DotPairs(f.addend_low, pairs, f.low), 15);
  return _mm256_sra_epi32(_mm256_add_epi32(DotPairs(f.addend_high, pairs, f.high), low), f.shift);
}
/// LinearSum, saturated: unpacking makes the pairs of int16, and the packs that narrow them put them back in order.
SIGRUN_INLINE Words LinearSum(Words a, Words b, const Linear& f) {
  return {_mm256_packs_epi32(LinearSum(_mm256_unpacklo_epi16(a.v, b.v), f), LinearSum(_mm256_unpackhi_epi16(a.v, b.v), f))};
}
/// Of four vectors in their order.
template <class T>
SIGRUN_INLINE FourBytes LinearSums(const T* a, const T* b, const Linear& f) {
  const auto half = [&](const T* x, const T* y) SIGRUN_INLINE_LAMBDA { return LinearSum(Words{WidenHalf(x)}, {WidenHalf(y)}, f).v; };
  return {_mm256_permute4x64_epi64(_mm256_packs_epi16(half(a, b), half(a + 16, b + 16)), 0xd8)};
}
SIGRUN_INLINE FourBytes SaturateFour(Words a, Words b) {
  return {_mm256_permutevar8x32_epi32(_mm256_packs_epi16(a.v, b.v), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))};
}
SIGRUN_INLINE FourBytes SaturateFour(I32 a, I32 b, I32 c, I32 d) { return SaturateFour(SaturateWords(a, b), SaturateWords(c, d)); }
SIGRUN_INLINE FourBytes operator^(FourBytes x, Bytes y) { return {_mm256_xor_si256(x.v, _mm256_broadcastsi128_si256(y.v))}; }
SIGRUN_INLINE FourBytes Limit(FourBytes x, Bytes min, Bytes max, Bytes flip) {
  const __m256i most = _mm256_broadcastsi128_si256(max.v), least = _mm256_broadcastsi128_si256(min.v);
  return FourBytes{_mm256_min_epi8(_mm256_max_epi8(x.v, least), most)} ^ flip;
}
/// Vector i of the four; vectors i and i + 1.
template <int i>
SIGRUN_INLINE Bytes One(FourBytes x) {
  const __m128i two = _mm256_extracti128_si256(x.v, i / 2);
  return {i % 2 == 0 ? two : _mm_unpackhi_epi64(two, two)};
}
template <int i>
SIGRUN_INLINE void StoreTwo(uint8_t* p, FourBytes x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_extracti128_si256(x.v, i / 2));
}

/// A depthwise step takes two taps at once: their bytes are interleaved, widened to int16 and multiplied in pairs. Weights are
/// [lanes][2].
constexpr int kDepthwiseTaps = 2;
SIGRUN_INLINE Bytes LoadChannels(const uint8_t* p) { return {_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))}; }
template <bool kFlip>
SIGRUN_INLINE I32 DepthwiseStep(I32 acc, const Bytes (&taps)[kDepthwiseTaps], const int16_t* weights) {
  __m128i a = _mm_unpacklo_epi8(taps[0].v, taps[1].v);
  if (kFlip) a = _mm_xor_si128(a, _mm_set1_epi8(-128));
  const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
  return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(_mm256_cvtepi8_epi16(a), w))};
}

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/real_scale_i8.h"
