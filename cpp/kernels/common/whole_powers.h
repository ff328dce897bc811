#pragma once

// What math.h needs of powers of two, for tiers whose vectors are too short for a table of them: exponents are whole numbers. Included by a
// tier's simd.h.
namespace sigrun::kernels {
namespace {

struct Power {
  F32 exponent;
};
/// The one nearest to 2^(x * factor).
SIGRUN_INLINE Power NearestPower(F32 x, F32 factor) { return {RoundEven(x * factor)}; }
SIGRUN_INLINE F32 Value(Power power) { return ScaleByPowerOf2(Set1(1.0f), power.exponent); }
/// The same where it is a normal number.
SIGRUN_INLINE F32 NormalValue(Power power) { return FromBits(ShiftLeft<23>(ToInt(power.exponent) + Set1(127))); }
/// (1 + x) * 2^exponent, rounded once, or twice if it is no normal number.
SIGRUN_INLINE F32 TimesOnePlus(F32 x, Power power) { return ScaleByPowerOf2(x + Set1(1.0f), power.exponent); }
/// What r has to be for Value(power) * e^r not to suffer from the rounding of Value.
SIGRUN_INLINE F32 Corrected(F32 r, Power) { return r; }

// e^r = 1 + r + r^2 * ... for |r| <= ln(2) / 2, highest power first.
constexpr float kExpTerms[] = {0x1.6dbc64p-10f, 0x1.124148p-7f, 0x1.555454p-5f, 0x1.555486p-3f, 0.5f};
/// The same for e^r - 1 relative to itself.
constexpr auto& kExpm1Terms = kExpTerms;

// x = mantissa * 2^exponent, the mantissa in [sqrt(1/2), sqrt(2)). The exponent of 0 is minus infinity, that of infinity infinity, those of
// NaN and what is below 0 NaN.
struct FloatParts {
  F32 mantissa, exponent;
};
SIGRUN_INLINE FloatParts SplitFloat(F32 x) {
  const F32 zero = Set1(0.0f), infinity = Set1(__builtin_inff());
  const Mask denormal = Less(x, Set1(0x1p-126f));
  const I32 sqrt_half = Set1(0x3f3504f3);
  const I32 bits = Bits(Select(denormal, x * Set1(0x1p23f), x)) - sqrt_half;
  F32 exponent = ToFloat(ShiftRight<23>(bits)) - Select(denormal, Set1(23.0f), zero);
  exponent = Select(Less(x, infinity), exponent, x);
  exponent = Select(Equal(x, zero), zero - infinity, exponent);
  exponent = Select(Less(x, zero), Set1(__builtin_nanf("")), exponent);
  return {FromBits((bits & Set1(0x007fffff)) + sqrt_half), exponent};
}

}  // namespace
}  // namespace sigrun::kernels
