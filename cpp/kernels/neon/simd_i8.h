#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/inline.h"
#include "kernels/kernels.h"

// The vocabulary of the 8-bit kernels over NEON: 8 lanes of int32 and float in two registers, 16 raw bytes.
namespace sigrun::kernels {
namespace {

constexpr int kLanes = 8;
constexpr int kBytes = 16;

/// p + n, of which the compiler knows no more: it then leaves the step to the load before.
template <class T>
SIGRUN_INLINE T* Step(T* p, ptrdiff_t n) {
  p += n;
  asm("" : "+r"(p));
  return p;
}
struct I32 {
  int32x4_t lo, hi;
};
struct F32 {
  float32x4_t lo, hi;
};
struct Bytes {
  uint8x16_t v;
};

/// 8 numbers, with the operators of the language; the high halves of 2ab, rounded half up.
using Int16s = int16x8_t;
SIGRUN_INLINE Int16s MulRounded(Int16s a, Int16s b) { return vqrdmulhq_s16(a, b); }

SIGRUN_INLINE I32 Set1(int32_t x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
SIGRUN_INLINE I32 Load(const int32_t* p) { return {vld1q_s32(p), vld1q_s32(p + 4)}; }
SIGRUN_INLINE void Store(int32_t* p, I32 x) {
  vst1q_s32(p, x.lo);
  vst1q_s32(p + 4, x.hi);
}
SIGRUN_INLINE I32 WidenSigned(uint8x8_t x) {
  const int16x8_t wide = vmovl_s8(vreinterpret_s8_u8(x));
  return {vmovl_s16(vget_low_s16(wide)), vmovl_high_s16(wide)};
}
SIGRUN_INLINE I32 WidenUnsigned(uint8x8_t x) {
  const uint16x8_t wide = vmovl_u8(x);
  return {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide))), vreinterpretq_s32_u32(vmovl_high_u16(wide))};
}
SIGRUN_INLINE I32 WidenSigned(Bytes x) { return WidenSigned(vget_low_u8(x.v)); }
SIGRUN_INLINE I32 WidenUnsigned(Bytes x) { return WidenUnsigned(vget_low_u8(x.v)); }
SIGRUN_INLINE I32 LoadWide(const int8_t* p) { return WidenSigned(vld1_u8(reinterpret_cast<const uint8_t*>(p))); }
SIGRUN_INLINE I32 LoadWide(const uint8_t* p) { return WidenUnsigned(vld1_u8(p)); }
SIGRUN_INLINE I32 LoadWide(const int16_t* p) {
  const int16x8_t x = vld1q_s16(p);
  return {vmovl_s16(vget_low_s16(x)), vmovl_high_s16(x)};
}
/// What fits 16 bits.
SIGRUN_INLINE void StoreLow16(int16_t* p, I32 x) { vst1q_s16(p, vcombine_s16(vmovn_s32(x.lo), vmovn_s32(x.hi))); }
SIGRUN_INLINE I32 operator+(I32 a, I32 b) { return {vaddq_s32(a.lo, b.lo), vaddq_s32(a.hi, b.hi)}; }
SIGRUN_INLINE I32 operator-(I32 a, I32 b) { return {vsubq_s32(a.lo, b.lo), vsubq_s32(a.hi, b.hi)}; }
SIGRUN_INLINE I32 operator*(I32 a, I32 b) { return {vmulq_s32(a.lo, b.lo), vmulq_s32(a.hi, b.hi)}; }
SIGRUN_INLINE I32 Clamp(I32 x, I32 min, I32 max) {
  return {vminq_s32(vmaxq_s32(x.lo, min.lo), max.lo), vminq_s32(vmaxq_s32(x.hi, min.hi), max.hi)};
}
/// The low 8 bits of each lane, or of the first n < kLanes.
SIGRUN_INLINE uint8x8_t Low8(I32 x) { return vreinterpret_u8_s8(vmovn_s16(vcombine_s16(vmovn_s32(x.lo), vmovn_s32(x.hi)))); }
SIGRUN_INLINE void StoreLow8(uint8_t* p, I32 x) { vst1_u8(p, Low8(x)); }
SIGRUN_INLINE void StoreLow8(uint8_t* p, I32 x, int32_t n) { WriteFew(p, vget_lane_u64(vreinterpret_u64_u8(Low8(x)), 0), n); }

// The rounding shift rounds half up: taking 1 from a negative value that is to be shifted makes that half away from zero.
SIGRUN_INLINE int32x4_t Requantize(int32x4_t x, int32x4_t multiplier, int32x4_t left, int32x4_t right) {
  const int32x4_t high = vqrdmulhq_s32(vshlq_s32(x, left), multiplier);
  const int32x4_t shift = vnegq_s32(right);
  return vrshlq_s32(vqaddq_s32(high, vshrq_n_s32(vandq_s32(high, shift), 31)), shift);
}
/// MultiplyByQuantizedMultiplier with shift = left - right, one of them 0; multiplier > INT32_MIN.
SIGRUN_INLINE I32 Requantize(I32 x, I32 multiplier, I32 left, I32 right) {
  return {Requantize(x.lo, multiplier.lo, left.lo, right.lo), Requantize(x.hi, multiplier.hi, left.hi, right.hi)};
}

/// The same plus a zero point, for a multiplier >= 0 and shift = -right < 0.
struct Rescale {
  I32 multiplier, shift;
  int16x8_t zero_point;
  // Where every shift takes 5 to 11 bits, what is left of it after kShortShift: floor(high / 2^4) has all that the rounding shift needs to
  // know, in 16 bits, and what saturates there is beyond a byte: 2^15 >> 7.
  int16x8_t short_shift;
  bool is_short;
};
constexpr int kShortShift = 4;
SIGRUN_INLINE Rescale MakeRescale(I32 multiplier, I32 right, int32_t zero_point) {
  const int32x4_t least = vminq_s32(right.lo, right.hi), most = vmaxq_s32(right.lo, right.hi);
  const bool is_short = vminvq_s32(least) > kShortShift && vmaxvq_s32(most) <= kShortShift + 7 && zero_point >= -128 && zero_point <= 127;
  const int16x8_t shift = vcombine_s16(vmovn_s32(right.lo), vmovn_s32(right.hi));
  return {multiplier,
          {vnegq_s32(right.lo), vnegq_s32(right.hi)},
          vdupq_n_s16(static_cast<int16_t>(zero_point)),
          vsubq_s16(vdupq_n_s16(kShortShift), shift),
          is_short};
}
SIGRUN_INLINE int32x4_t Rescaled(int32x4_t x, int32x4_t multiplier, int32x4_t shift) {
  const int32x4_t high = vqrdmulhq_s32(x, multiplier);
  return vrshlq_s32(vsraq_n_s32(high, high, 31), shift);
}
/// Saturated to 16 bits: what is beyond them is beyond a byte as well.
SIGRUN_INLINE int16x8_t Rescaled(I32 x, const Rescale& s) {
  const int16x4_t low = vqmovn_s32(Rescaled(x.lo, s.multiplier.lo, s.shift.lo));
  return vqaddq_s16(vqmovn_high_s32(low, Rescaled(x.hi, s.multiplier.hi, s.shift.hi)), s.zero_point);
}
/// The same for bytes where the scale is short. kAboveZero: only values above the zero point matter, of which halves are rounded up.
template <bool kAboveZero>
SIGRUN_INLINE int16x8_t RescaledShort(I32 x, const Rescale& s) {
  int32x4_t lo = vqrdmulhq_s32(x.lo, s.multiplier.lo), hi = vqrdmulhq_s32(x.hi, s.multiplier.hi);
  if (!kAboveZero) {
    lo = vsraq_n_s32(lo, lo, 31);
    hi = vsraq_n_s32(hi, hi, 31);
  }
  const int16x8_t high = vqshrn_high_n_s32(vqshrn_n_s32(lo, kShortShift), hi, kShortShift);
  return vqaddq_s16(vrshlq_s16(high, s.short_shift), s.zero_point);
}
SIGRUN_INLINE I32 Lanes(int16x8_t x) { return {vmovl_s16(vget_low_s16(x)), vmovl_high_s16(x)}; }

/// Requantize by constants for |x| < 2^8 and 0 <= left <= 20.
struct SmallScale {
  I32 multiplier, left, right;
};
SIGRUN_INLINE SmallScale MakeSmallScale(int32_t multiplier, int32_t left, int32_t right) {
  return {Set1(multiplier), Set1(left), Set1(right)};
}
SIGRUN_INLINE I32 Scaled(I32 x, const SmallScale& s) { return Requantize(x, s.multiplier, s.left, s.right); }

/// kernels.h's LinearI8, before it is clamped.
struct Linear {
  int32x4_t a_high, a_low, b_high, b_low, addend_high, addend_low, shift;
};
SIGRUN_INLINE Linear MakeLinear(const LinearI8& f) {
  return {vdupq_n_s32(f.a_high),      vdupq_n_s32(f.a_low),      vdupq_n_s32(f.b_high), vdupq_n_s32(f.b_low),
          vdupq_n_s32(f.addend_high), vdupq_n_s32(f.addend_low), vdupq_n_s32(-f.shift)};
}
SIGRUN_INLINE int32x4_t LinearSum(int32x4_t a, int32x4_t b, const Linear& f) {
  const int32x4_t low = vmlaq_s32(vmlaq_s32(f.addend_low, a, f.a_low), b, f.b_low);
  const int32x4_t high = vmlaq_s32(vmlaq_s32(f.addend_high, a, f.a_high), b, f.b_high);
  return vshlq_s32(vsraq_n_s32(high, low, 15), f.shift);
}
SIGRUN_INLINE I32 LinearSum(I32 a, I32 b, const Linear& f) { return {LinearSum(a.lo, b.lo, f), LinearSum(a.hi, b.hi, f)}; }

/// Four vectors of bytes.
struct FourBytes {
  uint8x16_t first, second;
};
struct Halves {
  int16x8_t lo, hi;
};
SIGRUN_INLINE Halves LoadHalves(const int8_t* p) {
  const int8x16_t x = vld1q_s8(p);
  return {vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x)};
}
SIGRUN_INLINE Halves LoadHalves(const uint8_t* p) {
  const uint8x16_t x = vld1q_u8(p);
  return {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))), vreinterpretq_s16_u16(vmovl_high_u8(x))};
}
/// op(a, b) of four vectors, which makes eight words of eight, saturated to bytes.
template <class T, class Op>
SIGRUN_INLINE FourBytes BytesOf(const T* a, const T* b, Op op) {
  const auto two = [&](int i) SIGRUN_INLINE_LAMBDA {
    const Halves x = LoadHalves(a + i), y = LoadHalves(b + i);
    return vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(op(x.lo, y.lo)), op(x.hi, y.hi)));
  };
  return {two(0), two(kBytes)};
}
SIGRUN_INLINE int16x8_t Narrow(I32 x) { return vmovn_high_s32(vmovn_s32(x.lo), x.hi); }

/// LinearSum of four vectors.
template <class T>
SIGRUN_INLINE FourBytes LinearSums(const T* a, const T* b, const Linear& f) {
  const int16x8_t a_high = Narrow({f.a_high, f.a_high}), a_low = Narrow({f.a_low, f.a_low});
  const int16x8_t b_high = Narrow({f.b_high, f.b_high}), b_low = Narrow({f.b_low, f.b_low});
  return BytesOf(a, b, [&](int16x8_t x, int16x8_t y) SIGRUN_INLINE_LAMBDA {
    const auto lo = [&](int32x4_t sum, int16x8_t by_a, int16x8_t by_b) SIGRUN_INLINE_LAMBDA {
      return vmlal_s16(vmlal_s16(sum, vget_low_s16(x), vget_low_s16(by_a)), vget_low_s16(y), vget_low_s16(by_b));
    };
    const auto hi = [&](int32x4_t sum, int16x8_t by_a, int16x8_t by_b)
                        SIGRUN_INLINE_LAMBDA { return vmlal_high_s16(vmlal_high_s16(sum, x, by_a), y, by_b); };
    const int32x4_t first = vsraq_n_s32(lo(f.addend_high, a_high, b_high), lo(f.addend_low, a_low, b_low), 15);
    const int32x4_t second = vsraq_n_s32(hi(f.addend_high, a_high, b_high), hi(f.addend_low, a_low, b_low), 15);
    return vqmovn_high_s32(vqmovn_s32(vshlq_s32(first, f.shift)), vshlq_s32(second, f.shift));
  });
}
/// Rescaled products of four vectors; the operands with their offsets fit 16 bits.
template <class T>
SIGRUN_INLINE FourBytes RescaledProducts(const T* a, const T* b, I32 a_offset, I32 b_offset, const Rescale& s) {
  const int16x8_t add_a = Narrow(a_offset), add_b = Narrow(b_offset);
  return BytesOf(a, b, [&](int16x8_t x, int16x8_t y) SIGRUN_INLINE_LAMBDA {
    x = vaddq_s16(x, add_a);
    y = vaddq_s16(y, add_b);
    return Rescaled(I32{vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y)}, s);
  });
}
SIGRUN_INLINE FourBytes Limit(FourBytes x, Bytes min, Bytes max, Bytes flip) {
  const auto limited = [&](uint8x16_t y) SIGRUN_INLINE_LAMBDA {
    const int8x16_t low = vmaxq_s8(vreinterpretq_s8_u8(y), vreinterpretq_s8_u8(min.v));
    return veorq_u8(vreinterpretq_u8_s8(vminq_s8(low, vreinterpretq_s8_u8(max.v))), flip.v);
  };
  return {limited(x.first), limited(x.second)};
}
SIGRUN_INLINE void Store(uint8_t* p, FourBytes x) {
  vst1q_u8(p, x.first);
  vst1q_u8(p + 16, x.second);
}

/// common/fixed_point.h's RoundScaled; kBounded: nothing is beyond its bounds.
template <bool kBounded>
SIGRUN_INLINE int32x2_t RoundScaled(int32x2_t x, const double* scale) {
  const float64x2_t most = vdupq_n_f64(1 << 30), half = vdupq_n_f64(0x1.fffffffffffffp-2);
  const float64x2_t y = vmulq_f64(vcvtq_f64_s64(vmovl_s32(x)), vld1q_f64(scale));
  const float64x2_t rounded = vaddq_f64(y, vbslq_f64(vdupq_n_u64(uint64_t{1} << 63), y, half));
  if (kBounded) return vmovn_s64(vcvtq_s64_f64(rounded));
  return vmovn_s64(vcvtq_s64_f64(vminq_f64(vmaxq_f64(rounded, vnegq_f64(most)), most)));
}
template <bool kBounded = false>
SIGRUN_INLINE I32 RoundScaled(I32 x, const double* scale) {
  const auto half = [](int32x4_t y, const double* from) SIGRUN_INLINE_LAMBDA {
    return vcombine_s32(RoundScaled<kBounded>(vget_low_s32(y), from), RoundScaled<kBounded>(vget_high_s32(y), from + 2));
  };
  return {half(x.lo, scale), half(x.hi, scale + 4)};
}

/// RoundScaled plus a zero point, |zero_point| <= 640, saturated to 16 bits, where more than 1024 is as good as any number beyond a byte.
/// Floats err less than 2^-12 below that, so that their rounding holds where none is as near to a half.
struct RealScale {
  const double* scale;
  float32x4_t lo, hi;
  int16x8_t zero_point;
};
SIGRUN_INLINE RealScale MakeRealScale(const double* scale, int32_t zero_point) {
  const auto four = [](const double* from)
                        SIGRUN_INLINE_LAMBDA { return vcvt_high_f32_f64(vcvt_f32_f64(vld1q_f64(from)), vld1q_f64(from + 2)); };
  return {scale, four(scale), four(scale + 4), vdupq_n_s16(static_cast<int16_t>(zero_point))};
}
template <bool kBounded = false>
SIGRUN_INLINE int16x8_t Rescaled(I32 x, const RealScale& s) {
  const float32x4_t lo = vmulq_f32(vcvtq_f32_s32(x.lo), s.lo), hi = vmulq_f32(vcvtq_f32_s32(x.hi), s.hi);
  const float32x4_t off = vmaxq_f32(vabdq_f32(lo, vrndaq_f32(lo)), vabdq_f32(hi, vrndaq_f32(hi)));
  I32 rounded{vcvtaq_s32_f32(lo), vcvtaq_s32_f32(hi)};
  if (vmaxvq_f32(off) > 0.5f - 0x1p-12f) [[unlikely]]
    rounded = RoundScaled<kBounded>(x, s.scale);
  return vqaddq_s16(vqmovn_high_s32(vqmovn_s32(rounded.lo), rounded.hi), s.zero_point);
}

SIGRUN_INLINE F32 Set1(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
SIGRUN_INLINE F32 Load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
SIGRUN_INLINE void Store(float* p, F32 x) {
  vst1q_f32(p, x.lo);
  vst1q_f32(p + 4, x.hi);
}
/// The first n < kLanes lanes; the others are loaded as 0.
SIGRUN_INLINE F32 LoadFew(const float* p, int32_t n) {
  float lanes[kLanes] = {};
  for (int32_t i = 0; i < n; ++i) lanes[i] = p[i];
  return Load(lanes);
}
SIGRUN_INLINE void StoreFew(float* p, F32 x, int32_t n) {
  float lanes[kLanes];
  Store(lanes, x);
  for (int32_t i = 0; i < n; ++i) p[i] = lanes[i];
}
SIGRUN_INLINE F32 operator+(F32 a, F32 b) { return {vaddq_f32(a.lo, b.lo), vaddq_f32(a.hi, b.hi)}; }
SIGRUN_INLINE F32 operator*(F32 a, F32 b) { return {vmulq_f32(a.lo, b.lo), vmulq_f32(a.hi, b.hi)}; }
SIGRUN_INLINE F32 operator/(F32 a, F32 b) { return {vdivq_f32(a.lo, b.lo), vdivq_f32(a.hi, b.hi)}; }
SIGRUN_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.lo, a.lo, b.lo), vfmaq_f32(c.hi, a.hi, b.hi)}; }
SIGRUN_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {vfmsq_f32(c.lo, a.lo, b.lo), vfmsq_f32(c.hi, a.hi, b.hi)}; }
SIGRUN_INLINE F32 Abs(F32 x) { return {vabsq_f32(x.lo), vabsq_f32(x.hi)}; }
SIGRUN_INLINE F32 CopySign(F32 magnitude, F32 sign) {
  const uint32x4_t top = vdupq_n_u32(0x80000000u);
  return {vbslq_f32(top, sign.lo, magnitude.lo), vbslq_f32(top, sign.hi, magnitude.hi)};
}
// a > b ? a : b and a < b ? a : b: b where a is NaN, NaN where b is.
SIGRUN_INLINE F32 Max(F32 a, F32 b) { return {vbslq_f32(vcgtq_f32(a.lo, b.lo), a.lo, b.lo), vbslq_f32(vcgtq_f32(a.hi, b.hi), a.hi, b.hi)}; }
SIGRUN_INLINE F32 Min(F32 a, F32 b) { return {vbslq_f32(vcltq_f32(a.lo, b.lo), a.lo, b.lo), vbslq_f32(vcltq_f32(a.hi, b.hi), a.hi, b.hi)}; }
SIGRUN_INLINE float ReduceMax(F32 x) { return vmaxvq_f32(vmaxq_f32(x.lo, x.hi)); }
SIGRUN_INLINE float ReduceMin(F32 x) { return vminvq_f32(vminq_f32(x.lo, x.hi)); }
SIGRUN_INLINE F32 ToFloat(I32 x) { return {vcvtq_f32_s32(x.lo), vcvtq_f32_s32(x.hi)}; }
SIGRUN_INLINE I32 Truncate(F32 x) { return {vcvtq_s32_f32(x.lo), vcvtq_s32_f32(x.hi)}; }
/// Half away from zero.
SIGRUN_INLINE I32 Round(F32 x) { return {vcvtaq_s32_f32(x.lo), vcvtaq_s32_f32(x.hi)}; }

SIGRUN_INLINE Bytes Load(const uint8_t* p) { return {vld1q_u8(p)}; }
SIGRUN_INLINE Bytes LoadFew(const uint8_t* p, int32_t n) {
  const FewBytes few = ReadFew(p, n);
  return {vcombine_u8(vcreate_u8(few.low), vcreate_u8(few.high))};
}
SIGRUN_INLINE void Store(uint8_t* p, Bytes x) { vst1q_u8(p, x.v); }
SIGRUN_INLINE Bytes SetBytes(uint8_t x) { return {vdupq_n_u8(x)}; }
SIGRUN_INLINE Bytes operator^(Bytes a, Bytes b) { return {veorq_u8(a.v, b.v)}; }
SIGRUN_INLINE Bytes MaxSigned(Bytes a, Bytes b) {
  return {vreinterpretq_u8_s8(vmaxq_s8(vreinterpretq_s8_u8(a.v), vreinterpretq_s8_u8(b.v)))};
}
SIGRUN_INLINE Bytes MinSigned(Bytes a, Bytes b) {
  return {vreinterpretq_u8_s8(vminq_s8(vreinterpretq_s8_u8(a.v), vreinterpretq_s8_u8(b.v)))};
}
/// Lanes saturated to int8, in the first kLanes bytes.
SIGRUN_INLINE Bytes SaturateBytes(int16x8_t x) { return {vcombine_u8(vreinterpret_u8_s8(vqmovn_s16(x)), vdup_n_u8(0))}; }
SIGRUN_INLINE Bytes SaturateBytes(I32 x) { return SaturateBytes(vqmovn_high_s32(vqmovn_s32(x.lo), x.hi)); }
SIGRUN_INLINE void StoreLanes(uint8_t* p, Bytes x) { vst1_u8(p, vget_low_u8(x.v)); }
SIGRUN_INLINE void StoreLanes(uint8_t* p, Bytes x, int32_t n) { WriteFew(p, vgetq_lane_u64(vreinterpretq_u64_u8(x.v), 0), n); }
SIGRUN_INLINE void StoreWide(int16_t* p, Bytes x) {
  const int8x16_t s = vreinterpretq_s8_u8(x.v);
  vst1q_s16(p, vmovl_s8(vget_low_s8(s)));
  vst1q_s16(p + 8, vmovl_high_s8(s));
}

/// A depthwise step takes one tap, widened to int16. Weights are [lanes].
constexpr int kDepthwiseTaps = 1;
SIGRUN_INLINE Bytes LoadChannels(const uint8_t* p) { return {vcombine_u8(vld1_u8(p), vdup_n_u8(0))}; }
template <bool kFlip>
SIGRUN_INLINE I32 DepthwiseStep(I32 acc, const Bytes (&taps)[kDepthwiseTaps], const int16_t* weights) {
  uint8x8_t a = vget_low_u8(taps[0].v);
  if (kFlip) a = veor_u8(a, vdup_n_u8(0x80));
  const int16x8_t wide = vmovl_s8(vreinterpret_s8_u8(a)), w = vld1q_s16(weights);
  return {vmlal_s16(acc.lo, vget_low_s16(wide), vget_low_s16(w)), vmlal_high_s16(acc.hi, wide, w)};
}

}  // namespace
}  // namespace sigrun::kernels
