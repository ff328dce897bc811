#pragma once

#include <math.h>

#include "kernels/common/inline.h"

// Elementary functions over the vocabulary of a tier's simd.h, which is to be included before. Each is a range reduction and a minimax
// polynomial. The stated bounds are in units in the last place of the exact result and hold for all finite arguments, denormals
// included. NaN gives NaN.
namespace sigrun::kernels {
namespace {

constexpr float kInfinity = __builtin_inff();

SIGRUN_INLINE I32 SignBit(F32 x) { return Bits(x) & Set1(INT32_MIN); }
SIGRUN_INLINE F32 Abs(F32 x) { return FromBits(Bits(x) & Set1(INT32_MAX)); }
SIGRUN_INLINE F32 Neg(F32 x) { return FromBits(Bits(x) ^ Set1(INT32_MIN)); }
SIGRUN_INLINE F32 WithSignOf(F32 magnitude, F32 x) { return FromBits(Bits(magnitude) | SignBit(x)); }
/// NaN passes.
SIGRUN_INLINE F32 Clamp(F32 x, F32 low, F32 high) { return Min(high, Max(low, x)); }

/// Below -3 a zero with x's sign, from 3 on x.
SIGRUN_INLINE F32 HardSwish(F32 x) { return x * Clamp((x + Set1(3.0f)) * Set1(1.0f / 6.0f), Set1(0.0f), Set1(1.0f)); }

// What follows takes several: one operation of all of them comes before the next. A processor sees fewer operations ahead than one of them
// takes.

/// x = exponent * ln(2) + r, to float's accuracy relative to e^x, or to 1 if kAbsolute: x becomes r.
template <bool kAbsolute = false, int kCount>
SIGRUN_INLINE void SplitExp(F32 (&x)[kCount], Power (&power)[kCount]) {
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) power[i] = NearestPower(x[i], Set1(0x1.715476p+0f));
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Fnma(power[i].exponent, Set1(0x1.62e43p-1f), x[i]);
  if constexpr (kAbsolute) return;
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Fnma(power[i].exponent, Set1(-0x1.05c61p-29f), x[i]);
}

/// The terms of e^(sign * r) behind 1 + sign * r, divided by r^2. r is what SplitExp leaves.
template <int kSign, int kCount, int kTerms>
SIGRUN_INLINE void ExpTail(const F32 (&r)[kCount], F32 (&q)[kCount], const float (&terms)[kTerms]) {
  const auto term = [&](int k) SIGRUN_INLINE_LAMBDA { return Set1((kTerms - k) % 2 == 0 ? kSign * terms[k] : terms[k]); };
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) q[i] = Fma(r[i], term(0), term(1));
  SIGRUN_UNROLL
  for (int k = 2; k < kTerms; ++k) {
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) q[i] = Fma(q[i], r[i], term(k));
  }
}

/// e^r - 1.
template <int kCount, int kTerms>
SIGRUN_INLINE void Expm1OfReduced(F32 (&r)[kCount], const float (&terms)[kTerms]) {
  F32 q[kCount];
  ExpTail<1>(r, q, terms);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) r[i] = Fma(q[i], r[i] * r[i], r[i]);
}

/// Exp of x in [-104, 89].
template <int kCount>
SIGRUN_INLINE void ExpOfBounded(F32 (&x)[kCount]) {
  Power power[kCount];
  SplitExp(x, power);
  Expm1OfReduced(x, kExpTerms);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = TimesOnePlus(x[i], power[i]);
}

/// Within 1.1; denormal results included. Above ln(FLT_MAX) infinity.
template <int kCount>
SIGRUN_INLINE void Exp(F32 (&x)[kCount]) {
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Clamp(x[i], Set1(-104.0f), Set1(89.0f));
  ExpOfBounded(x);
}

/// Exp of x <= 0.
template <int kCount>
SIGRUN_INLINE void ExpOfNegative(F32 (&x)[kCount]) {
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Max(Set1(-104.0f), x[i]);
  ExpOfBounded(x);
}

/// e^x - 1 for |x| <= 20, within 2, relative also near 0.
template <int kCount>
SIGRUN_INLINE void Expm1(F32 (&x)[kCount]) {
  Power power[kCount];
  F32 scale[kCount];
  SplitExp<true>(x, power);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Corrected(x[i], power[i]);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) scale[i] = NormalValue(power[i]);
  Expm1OfReduced(x, kExpm1Terms);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Fma(scale[i], x[i], scale[i] - Set1(1.0f));
}

/// x from 0 on, else e^x - 1, within 2.
template <int kCount>
SIGRUN_INLINE void Elu(F32 (&x)[kCount]) {
  F32 below[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) below[i] = Clamp(x[i], Set1(-20.0f), Set1(0.0f));
  Expm1(below);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Select(Less(x[i], Set1(0.0f)), below[i], x[i]);
}

/// Within 1.5. Below 0 NaN, at 0 minus infinity.
template <int kCount>
SIGRUN_INLINE void Log(F32 (&x)[kCount]) {
  constexpr float kTerms[] = {-0x1.e2e918p-4f, 0x1.e6512ep-4f, -0x1.fb434ep-4f, 0x1.2332b8p-3f,
                              -0x1.5562e2p-3f, 0x1.99a546p-3f, -0x1.ffffeep-3f, 0x1.555546p-2f};
  F32 exponent[kCount], p[kCount], square[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const FloatParts parts = SplitFloat(x[i]);
    exponent[i] = parts.exponent;
    x[i] = parts.mantissa - Set1(1.0f);
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) p[i] = Fma(x[i], Set1(0x1.1b40e4p-4f), Set1(kTerms[0]));
  SIGRUN_UNROLL
  for (int k = 1; k < 8; ++k) {
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) p[i] = Fma(p[i], x[i], Set1(kTerms[k]));
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    square[i] = x[i] * x[i];
    p[i] = Fma(exponent[i], Set1(0x1.7f7d1cp-20f), p[i] * (x[i] * square[i]));
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) p[i] = Fnma(square[i], Set1(0.5f), p[i]);
  // The high part of ln(2) has trailing zeros, so that its product with the exponent is exact.
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Fma(exponent[i], Set1(0x1.62e4p-1f), x[i] + p[i]);
}

/// Within 3: e / (e + 2) for e = e^2|x| - 1.
template <int kCount>
SIGRUN_INLINE void Tanh(F32 (&x)[kCount]) {
  F32 e[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) e[i] = Min(Set1(20.0f), Abs(x[i] + x[i]));
  Expm1(e);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = WithSignOf(Quotient(e[i], e[i] + Set1(2.0f)), x[i]);
}

/// For e^x = power * e^r power and power + e^-r, whose quotient is the logistic function: no term cancels, and the power alone is denormal
/// where the result is. x becomes the sum.
template <bool kAbsolute, int kCount>
SIGRUN_INLINE void LogisticQuotient(F32 (&x)[kCount], F32 (&value)[kCount]) {
  Power power[kCount];
  F32 q[kCount];
  SplitExp<kAbsolute>(x, power);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) value[i] = kAbsolute ? NormalValue(power[i]) : Value(power[i]);
  ExpTail<-1>(x, q, kExpTerms);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) q[i] = Fma(q[i], x[i], Set1(-1.0f));
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Fma(q[i], x[i], Set1(1.0f)) + value[i];
}

/// Within 3; tiny but not 0 for arguments down to -103.
template <int kCount>
SIGRUN_INLINE void Logistic(F32 (&x)[kCount]) {
  F32 value[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Clamp(x[i], Set1(-104.0f), Set1(30.0f));
  LogisticQuotient<false>(x, value);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = value[i] / x[i];
}

/// Within 2^-23 absolutely: what is to be multiplied by x needs no more.
template <int kCount>
SIGRUN_INLINE void LogisticAbsolute(F32 (&x)[kCount]) {
  F32 sum[kCount], value[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) sum[i] = Clamp(x[i], Set1(-87.0f), Set1(30.0f));
  LogisticQuotient<true>(sum, value);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Select(Less(x[i], Set1(-87.0f)), Set1(0.0f), Quotient(value[i], sum[i]));
}

/// Within 2 units in the last place of x.
template <int kCount>
SIGRUN_INLINE void Swish(F32 (&x)[kCount]) {
  F32 factor[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) factor[i] = x[i];
  LogisticAbsolute(factor);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = x[i] * factor[i];
}

/// Within 2 units in the last place of x: 0.5 * x * (1 + tanh(t)) is x * logistic(2 t).
template <int kCount>
SIGRUN_INLINE void GeluTanh(F32 (&x)[kCount]) {
  F32 factor[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) factor[i] = x[i] * Fma(x[i] * x[i], Set1(0x1.2444f2p-4f), Set1(0x1.988454p+0f));
  LogisticAbsolute(factor);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = x[i] * factor[i];
}

/// Within 3 units in the last place of x, which is what the definition 0.5 * x * (1 + erf(x / sqrt(2))) can give: its left tail cancels.
/// The middle is x * (0.5 + x * P(x^2) / Q(x^2)), of the fifth degree both; beyond it the error function is 1 in float.
template <int kCount>
SIGRUN_INLINE void Gelu(F32 (&x)[kCount]) {
  constexpr float kP[] = {0x1.91c6ecp-26f, 0x1.aacf82p-18f, 0x1.589b1ap-13f, 0x1.30cc3cp-8f, 0x1.11629p-5f, 0x1.988450p-2f};
  constexpr float kQ[] = {0x1.4692cap-20f, 0x1.2faa9ap-14f, 0x1.e751d4p-10f, 0x1.d0f4b8p-6f, 0x1.00534ep-2f, 1.0f};
  F32 u[kCount], p[kCount], q[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    u[i] = x[i] * x[i];
    p[i] = Fma(u[i], Set1(kP[0]), Set1(kP[1]));
    q[i] = Fma(u[i], Set1(kQ[0]), Set1(kQ[1]));
  }
  SIGRUN_UNROLL
  for (int k = 2; k < 6; ++k) {
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) {
      p[i] = Fma(p[i], u[i], Set1(kP[k]));
      q[i] = Fma(q[i], u[i], Set1(kQ[k]));
    }
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const F32 share = Quotient(x[i] * p[i], q[i]) + Set1(0.5f), beyond = Min(Set1(1.0f), Max(Set1(0.0f), x[i]));
    x[i] = x[i] * Select(Less(u[i], Set1(29.16f)), share, beyond);
  }
}

// The same of one.
template <class F>
SIGRUN_INLINE F32 OfOne(F32 x, const F& several) {
  F32 one[1] = {x};
  several(one);
  return one[0];
}
SIGRUN_INLINE F32 Exp(F32 x) {
  return OfOne(x, [](F32(&one)[1]) SIGRUN_INLINE_LAMBDA { Exp(one); });
}
SIGRUN_INLINE F32 Tanh(F32 x) {
  return OfOne(x, [](F32(&one)[1]) SIGRUN_INLINE_LAMBDA { Tanh(one); });
}
SIGRUN_INLINE F32 Logistic(F32 x) {
  return OfOne(x, [](F32(&one)[1]) SIGRUN_INLINE_LAMBDA { Logistic(one); });
}
SIGRUN_INLINE F32 Swish(F32 x) {
  return OfOne(x, [](F32(&one)[1]) SIGRUN_INLINE_LAMBDA { Swish(one); });
}

// Arguments for which the logarithm below is not made: the C library does them right.
[[gnu::noinline]] inline F32 ReplacePowers(F32 x, F32 y, F32 replaced, F32 power) {
  float base[F32::lanes], exponent[F32::lanes], flag[F32::lanes], result[F32::lanes];
  Store(base, x);
  Store(exponent, y);
  Store(flag, replaced);
  Store(result, power);
  for (int i = 0; i < F32::lanes; ++i) {
    if (flag[i] != 0.0f) result[i] = powf(base[i], exponent[i]);
  }
  return Load(result);
}

// The base-2 logarithm of a normal number as a sum of two floats, to 30 bits: of the mantissa m in [sqrt(1/2), sqrt(2)) it is the odd
// series of (m - 1) / (m + 1).
struct TwoFloats {
  F32 high, low;
};
SIGRUN_INLINE TwoFloats Log2(F32 x) {
  const I32 sqrt_half = Set1(0x3f3504f3);
  const I32 bits = Bits(x) - sqrt_half;
  const F32 exponent = ToFloat(ShiftRight<23>(bits));
  const F32 f = FromBits((bits & Set1(0x007fffff)) + sqrt_half) - Set1(1.0f);
  const F32 sum = f + Set1(2.0f), inverse = Reciprocal(sum);
  const F32 s = f * inverse;
  const F32 s_low = Fnma(s, f - (sum - Set1(2.0f)), Fnma(s, sum, f)) * inverse;
  const F32 z = s * s;
  // 2 / ln(2) times 1/3, 1/5, 1/7, 1/9, 1/11.
  F32 p = Fma(z, Set1(0x1.0c9a84p-2f), Set1(0x1.484b14p-2f));
  p = Fma(p, z, Set1(0x1.a61762p-2f));
  p = Fma(p, z, Set1(0x1.2776c6p-1f));
  p = Fma(p, z, Set1(0x1.ec709ep-1f));
  const F32 factor = Set1(0x1.715476p+1f);
  const F32 high = s * factor;
  F32 low = Fma(s, factor, Neg(high));
  low = Fma(s, Set1(0x1.4ae0cp-25f), low);
  low = Fma(s_low, factor, low);
  low = Fma(s * z, p, low);
  const F32 whole = exponent + high;
  return {whole, low + (high - (whole - exponent))};
}

// What the power of x's magnitude means for x: there is none of what is below 0 unless y is a whole number.
SIGRUN_INLINE F32 PowerOfSigned(F32 x, F32 y, F32 power) {
  const F32 half = y * Set1(0.5f);
  const F32 whole = Select(Equal(Floor(half), half), power, Neg(power));
  return Select(Less(x, Set1(0.0f)), Select(Equal(Floor(y), y), whole, Set1(__builtin_nanf(""))), power);
}

/// x to the power y, within 3.
SIGRUN_INLINE F32 Pow(F32 x, F32 y) {
  const F32 one = Set1(1.0f), magnitude = Abs(x);
  F32 replaced = Select(Less(magnitude, Set1(0x1p-126f)), one, Set1(0.0f));
  replaced = Select(Less(magnitude, Set1(kInfinity)), replaced, one);
  replaced = Select(Less(Abs(y), Set1(kInfinity)), replaced, one);
  const TwoFloats log = Log2(magnitude);
  const F32 high = y * log.high, bounded = Clamp(high, Set1(-200.0f), Set1(200.0f));
  const F32 low = Select(Equal(high, bounded), Fma(y, log.low, Fma(y, log.high, Neg(high))), Set1(0.0f));
  const Power nearest = NearestPower(bounded + low, one);
  F32 r[1] = {((bounded - nearest.exponent) + low) * Set1(0x1.62e43p-1f)};
  Expm1OfReduced(r, kExpTerms);
  F32 power = TimesOnePlus(r[0], nearest);
  if (Any(Less(x, Set1(0.0f)))) power = PowerOfSigned(x, y, power);
  return Any(Less(Set1(0.0f), replaced)) ? ReplacePowers(x, y, replaced, power) : power;
}

// Beyond this many quadrants the reduction by three parts of pi / 2 loses bits; the C library does it right.
constexpr float kMaxReducible = 65536.0f;

template <bool kCosine>
[[gnu::noinline]] inline F32 ReplaceHuge(F32 x, F32 y) {
  float argument[F32::lanes], result[F32::lanes];
  Store(argument, x);
  Store(result, y);
  for (int i = 0; i < F32::lanes; ++i) {
    if (fabsf(argument[i]) > kMaxReducible) result[i] = kCosine ? cosf(argument[i]) : sinf(argument[i]);
  }
  return Load(result);
}

template <bool kCosine, int kCount>
SIGRUN_INLINE void SinOrCos(F32 (&x)[kCount]) {
  F32 r[kCount], z[kCount], sine[kCount], cosine[kCount];
  I32 turn[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const F32 quadrant = RoundEven(x[i] * Set1(0x1.45f306p-1f));
    r[i] = Fnma(quadrant, Set1(0x1.921fb6p+0f), x[i]);
    r[i] = Fnma(quadrant, Set1(-0x1.777a5cp-25f), r[i]);
    r[i] = Fnma(quadrant, Set1(-0x1.ee59dap-50f), r[i]);
    turn[i] = kCosine ? ToInt(quadrant) + Set1(1) : ToInt(quadrant);
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    z[i] = r[i] * r[i];
    sine[i] = Fma(z[i], Set1(-0x1.992c04p-13f), Set1(0x1.1106fcp-7f));
    cosine[i] = Fma(z[i], Set1(0x1.99e338p-16f), Set1(-0x1.6c0c22p-10f));
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    sine[i] = Fma(sine[i], z[i], Set1(-0x1.555544p-3f));
    cosine[i] = Fma(cosine[i], z[i], Set1(0x1.55554ap-5f));
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    sine[i] = Fma(sine[i], z[i] * r[i], r[i]);
    cosine[i] = Fma(cosine[i], z[i] * z[i], Fnma(z[i], Set1(0.5f), Set1(1.0f)));
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const F32 value = Select(NonZero(turn[i] & Set1(1)), cosine[i], sine[i]);
    const F32 y = FromBits(Bits(value) ^ ShiftLeft<30>(turn[i] & Set1(2)));
    x[i] = Any(Less(Set1(kMaxReducible), Abs(x[i]))) ? ReplaceHuge<kCosine>(x[i], y) : y;
  }
}

/// Within 1.5.
template <int kCount>
SIGRUN_INLINE void Sin(F32 (&x)[kCount]) {
  SinOrCos<false>(x);
}
template <int kCount>
SIGRUN_INLINE void Cos(F32 (&x)[kCount]) {
  SinOrCos<true>(x);
}

}  // namespace
}  // namespace sigrun::kernels
