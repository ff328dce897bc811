#pragma once

#include <math.h>

#include "kernels/common/inline.h"

// Elementary functions over the vocabulary of a tier's simd.h, which is to be included before. Each is a range reduction and a minimax
// polynomial. The stated bounds are in units in the last place of the exact result and hold for all finite arguments, denormals
// included. NaN gives NaN.
namespace sigrun::kernels {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kNotANumber = __builtin_nanf("");

SIGRUN_INLINE I32 SignBit(F32 x) { return Bits(x) & Set1(INT32_MIN); }
SIGRUN_INLINE F32 Abs(F32 x) { return FromBits(Bits(x) & Set1(INT32_MAX)); }
SIGRUN_INLINE F32 Neg(F32 x) { return FromBits(Bits(x) ^ Set1(INT32_MIN)); }
SIGRUN_INLINE F32 WithSignOf(F32 magnitude, F32 x) { return FromBits(Bits(magnitude) | SignBit(x)); }
/// NaN passes.
SIGRUN_INLINE F32 Clamp(F32 x, F32 low, F32 high) { return Min(high, Max(low, x)); }

/// Below -3 a zero with x's sign, from 3 on x.
SIGRUN_INLINE F32 HardSwish(F32 x) { return x * Clamp((x + Set1(3.0f)) * Set1(1.0f / 6.0f), Set1(0.0f), Set1(1.0f)); }

// e^r - 1 for |r| <= ln(2) / 2.
constexpr float kExpm1[] = {0x1.6dbc64p-10f, 0x1.124148p-7f, 0x1.555454p-5f, 0x1.555486p-3f};
SIGRUN_INLINE F32 Expm1OfReduced(F32 r) {
  F32 q = Fma(r, Set1(kExpm1[0]), Set1(kExpm1[1]));
  q = Fma(q, r, Set1(kExpm1[2]));
  q = Fma(q, r, Set1(kExpm1[3]));
  q = Fma(q, r, Set1(0.5f));
  return Fma(q, r * r, r);
}

// x = n * ln(2) + r with |r| <= ln(2) / 2, and e^r - 1.
struct ExpParts {
  F32 n, expm1_r;
};
SIGRUN_INLINE ExpParts SplitExp(F32 x) {
  const F32 n = RoundEven(x * Set1(0x1.715476p+0f));
  F32 r = Fnma(n, Set1(0x1.62e43p-1f), x);
  r = Fnma(n, Set1(-0x1.05c61p-29f), r);
  return {n, Expm1OfReduced(r)};
}

/// Within 1.1; denormal results included. Above ln(FLT_MAX) infinity.
SIGRUN_INLINE F32 Exp(F32 x) {
  const ExpParts p = SplitExp(Clamp(x, Set1(-104.0f), Set1(89.0f)));
  return ScaleByPowerOf2(p.expm1_r + Set1(1.0f), p.n);
}

/// SplitExp of several: x becomes e^r - 1. One operation of all of them comes before the next: a processor sees fewer operations ahead than
/// one of them takes.
template <int kCount>
SIGRUN_INLINE void SplitExp(F32 (&x)[kCount], F32 (&n)[kCount]) {
  F32 q[kCount];
  const auto each = [](auto step) __attribute__((always_inline)) {
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) step(i);
  };
  each([&](int i) __attribute__((always_inline)) { n[i] = x[i] * Set1(0x1.715476p+0f); });
  each([&](int i) __attribute__((always_inline)) { n[i] = RoundEven(n[i]); });
  each([&](int i) __attribute__((always_inline)) { x[i] = Fnma(n[i], Set1(0x1.62e43p-1f), x[i]); });
  each([&](int i) __attribute__((always_inline)) { x[i] = Fnma(n[i], Set1(-0x1.05c61p-29f), x[i]); });
  each([&](int i) __attribute__((always_inline)) { q[i] = Fma(x[i], Set1(kExpm1[0]), Set1(kExpm1[1])); });
  each([&](int i) __attribute__((always_inline)) { q[i] = Fma(q[i], x[i], Set1(kExpm1[2])); });
  each([&](int i) __attribute__((always_inline)) { q[i] = Fma(q[i], x[i], Set1(kExpm1[3])); });
  each([&](int i) __attribute__((always_inline)) { q[i] = Fma(q[i], x[i], Set1(0.5f)); });
  each([&](int i) __attribute__((always_inline)) { x[i] = Fma(q[i], x[i] * x[i], x[i]); });
}

/// Exp of several x <= 0.
template <int kCount>
SIGRUN_INLINE void ExpOfNegative(F32 (&x)[kCount]) {
  F32 n[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Max(Set1(-104.0f), x[i]);
  SplitExp(x, n);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = ScaleByPowerOf2(x[i] + Set1(1.0f), n[i]);
}

/// e^x - 1 for x <= 80, within 2, relative also near 0.
SIGRUN_INLINE F32 Expm1(F32 x) {
  const ExpParts p = SplitExp(Clamp(x, Set1(-20.0f), Set1(80.0f)));
  const F32 scale = ScaleByPowerOf2(Set1(1.0f), p.n);
  return Fma(scale, p.expm1_r, scale - Set1(1.0f));
}

/// Within 1.5. Below 0 NaN, at 0 minus infinity.
SIGRUN_INLINE F32 Log(F32 x) {
  const Mask denormal = Less(x, Set1(0x1p-126f));
  const I32 sqrt_half = Set1(0x3f3504f3);
  const I32 bits = Bits(Select(denormal, x * Set1(0x1p23f), x)) - sqrt_half;
  const F32 exponent = ToFloat(ShiftRight<23>(bits)) - Select(denormal, Set1(23.0f), Set1(0.0f));
  const F32 f = FromBits((bits & Set1(0x007fffff)) + sqrt_half) - Set1(1.0f);
  F32 p = Fma(f, Set1(0x1.1b40e4p-4f), Set1(-0x1.e2e918p-4f));
  p = Fma(p, f, Set1(0x1.e6512ep-4f));
  p = Fma(p, f, Set1(-0x1.fb434ep-4f));
  p = Fma(p, f, Set1(0x1.2332b8p-3f));
  p = Fma(p, f, Set1(-0x1.5562e2p-3f));
  p = Fma(p, f, Set1(0x1.99a546p-3f));
  p = Fma(p, f, Set1(-0x1.ffffeep-3f));
  p = Fma(p, f, Set1(0x1.555546p-2f));
  const F32 square = f * f;
  F32 tail = Fma(exponent, Set1(0x1.7f7d1cp-20f), p * (f * square));
  tail = Fnma(square, Set1(0.5f), tail);
  // The high part of ln(2) has trailing zeros, so that its product with the exponent is exact.
  F32 y = Fma(exponent, Set1(0x1.62e4p-1f), f + tail);
  y = Select(Less(x, Set1(kInfinity)), y, x);
  y = Select(Equal(x, Set1(0.0f)), Set1(-kInfinity), y);
  return Select(Less(x, Set1(0.0f)), Set1(kNotANumber), y);
}

/// Within 3: e / (e + 2) for e = e^2|x| - 1. This and the functions that follow take several, as SplitExp does.
template <int kCount>
SIGRUN_INLINE void Tanh(F32 (&x)[kCount]) {
  F32 r[kCount], n[kCount], q[kCount];
  const auto each = [](auto step) __attribute__((always_inline)) {
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) step(i);
  };
  each([&](int i) __attribute__((always_inline)) { r[i] = Min(Set1(20.0f), Abs(x[i]) + Abs(x[i])); });
  SplitExp(r, n);
  each([&](int i) __attribute__((always_inline)) { n[i] = ScaleByPowerOf2(Set1(1.0f), n[i]); });
  each([&](int i) __attribute__((always_inline)) { r[i] = Fma(n[i], r[i], n[i] - Set1(1.0f)); });
  each([&](int i) __attribute__((always_inline)) { q[i] = Reciprocal(r[i] + Set1(2.0f)); });
  each([&](int i) __attribute__((always_inline)) { x[i] = WithSignOf(r[i] * q[i], x[i]); });
}

/// Within 3; tiny but not 0 for arguments down to -103.
template <int kCount>
SIGRUN_INLINE void Logistic(F32 (&x)[kCount]) {
  F32 e[kCount], inverse[kCount];
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) e[i] = Neg(Abs(x[i]));
  ExpOfNegative(e);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) inverse[i] = Reciprocal(e[i] + Set1(1.0f));
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = Select(Less(x[i], Set1(0.0f)), e[i], Set1(1.0f)) * inverse[i];
}

/// Within 2^-23 absolutely: what is to be multiplied by x needs no more. 2^f for |f| <= 0.5 is a polynomial, and 2^n never denormal.
template <int kCount>
SIGRUN_INLINE void LogisticAbsolute(F32 (&x)[kCount]) {
  constexpr float kPowers[] = {0x1.3d0c52p-7f, 0x1.c6b6e4p-5f, 0x1.ebf918p-3f, 0x1.62e428p-1f, 0x1.000002p+0f};
  F32 f[kCount], n[kCount], p[kCount];
  const auto each = [](auto step) __attribute__((always_inline)) {
    SIGRUN_UNROLL
    for (int i = 0; i < kCount; ++i) step(i);
  };
  each([&](int i) __attribute__((always_inline)) { f[i] = Clamp(x[i], Set1(-87.0f), Set1(87.0f)) * Set1(-0x1.715476p+0f); });
  each([&](int i) __attribute__((always_inline)) { n[i] = RoundEven(f[i]); });
  each([&](int i) __attribute__((always_inline)) { f[i] = f[i] - n[i]; });
  each([&](int i) __attribute__((always_inline)) { p[i] = Fma(f[i], Set1(0x1.5c08e4p-10f), Set1(kPowers[0])); });
  SIGRUN_UNROLL
  for (int k = 1; k < 5; ++k) each([&](int i) __attribute__((always_inline)) { p[i] = Fma(p[i], f[i], Set1(kPowers[k])); });
  each([&](int i) __attribute__((always_inline)) { p[i] = FromBits(Bits(p[i]) + ShiftLeft<23>(ToInt(n[i]))) + Set1(1.0f); });
  each([&](int i) __attribute__((always_inline)) { p[i] = Reciprocal(p[i]); });
  each([&](int i) __attribute__((always_inline)) { x[i] = Select(Less(x[i], Set1(-87.0f)), Set1(0.0f), p[i]); });
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

// The same of one.
SIGRUN_INLINE F32 Tanh(F32 x) {
  F32 one[1] = {x};
  Tanh(one);
  return one[0];
}
SIGRUN_INLINE F32 Logistic(F32 x) {
  F32 one[1] = {x};
  Logistic(one);
  return one[0];
}
SIGRUN_INLINE F32 LogisticAbsolute(F32 x) {
  F32 one[1] = {x};
  LogisticAbsolute(one);
  return one[0];
}
SIGRUN_INLINE F32 Swish(F32 x) { return x * LogisticAbsolute(x); }

/// Within 3 units in the last place of x, which is what the definition 0.5 * x * (1 + erf(x / sqrt(2))) can give: its left tail cancels.
/// The middle is x * (0.5 + x * P(x^2) / Q(x^2)), of the fifth degree both; beyond it the error function is 1 in float.
/// One operation of all of them before the next, as in ExpOfNegative.
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
  for (int i = 0; i < kCount; ++i) q[i] = Reciprocal(q[i]);
  SIGRUN_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const F32 half = Select(Less(u[i], Set1(29.16f)), x[i] * p[i] * q[i], WithSignOf(Set1(0.5f), x[i]));
    x[i] = x[i] * (half + Set1(0.5f));
  }
}

/// Within 2 units in the last place of x: 0.5 * x * (1 + tanh(t)) is x * logistic(2 t).
SIGRUN_INLINE F32 GeluTanh(F32 x) {
  const F32 square = x * x;
  return x * LogisticAbsolute(x * Fma(square, Set1(0x1.2444f2p-4f), Set1(0x1.988454p+0f)));
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

// The base-2 logarithm of a normal number as a sum of two floats, to 30 bits: of the mantissa m in [sqrt(1/2), sqrt(2)) it is the odd series of
// (m - 1) / (m + 1).
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

/// x to the power y, within 3.
SIGRUN_INLINE F32 Pow(F32 x, F32 y) {
  const F32 one = Set1(1.0f);
  F32 replaced = Select(Less(x, Set1(0x1p-126f)), one, Set1(0.0f));
  replaced = Select(Less(x, Set1(kInfinity)), replaced, one);
  replaced = Select(Less(Abs(y), Set1(kInfinity)), replaced, one);
  const TwoFloats log = Log2(x);
  const F32 high = y * log.high, bounded = Clamp(high, Set1(-200.0f), Set1(200.0f));
  const F32 low = Select(Equal(high, bounded), Fma(y, log.low, Fma(y, log.high, Neg(high))), Set1(0.0f));
  const F32 n = RoundEven(bounded);
  const F32 r = ((bounded - n) + low) * Set1(0x1.62e43p-1f);
  const F32 power = ScaleByPowerOf2(Expm1OfReduced(r) + one, n);
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

template <bool kCosine>
SIGRUN_INLINE F32 SinOrCos(F32 x) {
  const F32 quadrant = RoundEven(x * Set1(0x1.45f306p-1f));
  F32 r = Fnma(quadrant, Set1(0x1.921fb6p+0f), x);
  r = Fnma(quadrant, Set1(-0x1.777a5cp-25f), r);
  r = Fnma(quadrant, Set1(-0x1.ee59dap-50f), r);
  const F32 z = r * r;
  F32 sine = Fma(z, Set1(-0x1.992c04p-13f), Set1(0x1.1106fcp-7f));
  sine = Fma(sine, z, Set1(-0x1.555544p-3f));
  sine = Fma(sine, z * r, r);
  F32 cosine = Fma(z, Set1(0x1.99e338p-16f), Set1(-0x1.6c0c22p-10f));
  cosine = Fma(cosine, z, Set1(0x1.55554ap-5f));
  cosine = Fma(cosine, z * z, Fnma(z, Set1(0.5f), Set1(1.0f)));
  const I32 turn = kCosine ? ToInt(quadrant) + Set1(1) : ToInt(quadrant);
  const F32 value = Select(NonZero(turn & Set1(1)), cosine, sine);
  const F32 y = FromBits(Bits(value) ^ ShiftLeft<30>(turn & Set1(2)));
  if (Any(Less(Set1(kMaxReducible), Abs(x)))) return ReplaceHuge<kCosine>(x, y);
  return y;
}

/// Within 1.5.
SIGRUN_INLINE F32 Sin(F32 x) { return SinOrCos<false>(x); }
SIGRUN_INLINE F32 Cos(F32 x) { return SinOrCos<true>(x); }

}  // namespace
}  // namespace sigrun::kernels
