#pragma once

// What math.h needs of powers of two: exponents are multiples of 1/16, and a permutation looks their mantissas up, so that what is left of
// an argument is small and its polynomial short. Included by simd.h, whose vectors it takes.
namespace sigrun::kernels {
namespace {

struct Power {
  F32 exponent;
  I32 index;  // the lowest four bits count
};
/// The one nearest to 2^(x * factor).
SIGRUN_INLINE Power NearestPower(F32 x, F32 factor) {
  const F32 shift = Set1(0x1.8p19f);  // a sum with it has the sixteenths in its lowest bits
  const F32 sum = Fma(x, factor, shift);
  return {sum - shift, Bits(sum)};
}
SIGRUN_INLINE F32 Mantissa(Power power) {
  alignas(64) constexpr float kMantissas[] = {
      0x1p+0f,        0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f, 0x1.306fep+0f,  0x1.3dea64p+0f, 0x1.4bfdaep+0f, 0x1.5ab07ep+0f,
      0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f, 0x1.ae89fap+0f, 0x1.c199bep+0f, 0x1.d5818ep+0f, 0x1.ea4afap+0f};
  return Permute(Load(kMantissas), power.index);
}
SIGRUN_INLINE F32 Value(Power power) { return {_mm512_scalef_ps(Mantissa(power).v, power.exponent.v)}; }
/// The same where it is a normal number. The table holds mantissas less what the shift adds to them.
SIGRUN_INLINE F32 NormalValue(Power power) {
  alignas(64) constexpr int32_t kBits[] = {0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532, 0x3f75fed7, 0x3f75583f,
                                           0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c, 0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d};
  return FromBits({_mm512_add_epi32(_mm512_permutexvar_epi32(power.index.v, Load(kBits).v), ShiftLeft<19>(power.index).v)});
}
/// (1 + x) * 2^exponent.
SIGRUN_INLINE F32 TimesOnePlus(F32 x, Power power) {
  const F32 mantissa = Mantissa(power);
  return {_mm512_scalef_ps(Fma(x, mantissa, mantissa).v, power.exponent.v)};
}
/// What r has to be for Value(power) * e^r not to suffer from the rounding of Value.
SIGRUN_INLINE F32 Corrected(F32 r, Power power) {
  alignas(64) constexpr float kCorrections[] = {0.0f,
                                                0x1.8d96d4p-25f,
                                                -0x1.9c0c22p-27f,
                                                0x1.964902p-25f,
                                                0x1.125002p-25f,
                                                0x1.370be4p-25f,
                                                -0x1.0a3552p-25f,
                                                -0x1.00d8acp-27f,
                                                0x1.26055cp-26f,
                                                -0x1.05cb44p-25f,
                                                0x1.67a1cap-28f,
                                                0x1.a3b5e4p-28f,
                                                -0x1.f9c306p-27f,
                                                -0x1.6961b4p-28f,
                                                -0x1.a5217cp-28f,
                                                0x1.61428ep-28f};
  return r + Permute(Load(kCorrections), power.index);
}

// e^r = 1 + r + r^2 * ... for |r| <= ln(2) / 32, highest power first.
constexpr float kExpTerms[] = {0x1.55559ap-3f, 0x1.00021ep-1f};
/// The same for e^r - 1 relative to itself.
constexpr float kExpm1Terms[] = {0x1.555744p-5f, 0x1.555708p-3f, 0.5f};

// x = mantissa * 2^exponent, the mantissa in [sqrt(1/2), sqrt(2)). The exponent of 0 is minus infinity, that of infinity infinity; of what
// is below 0 the mantissa is NaN.
struct FloatParts {
  F32 mantissa, exponent;
};
SIGRUN_INLINE FloatParts SplitFloat(F32 x) {
  const __m512 mantissa = _mm512_getmant_ps(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan), exponent = _mm512_getexp_ps(x.v);
  const __mmask16 high = _mm512_cmp_ps_mask(mantissa, _mm512_set1_ps(0x1.6a09e6p+0f), _CMP_GE_OQ);
  return {{_mm512_mask_mul_ps(mantissa, high, mantissa, _mm512_set1_ps(0.5f))},
          {_mm512_mask_add_ps(exponent, high, exponent, _mm512_set1_ps(1.0f))}};
}

}  // namespace
}  // namespace sigrun::kernels
