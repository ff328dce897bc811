#pragma once

#include <cstdint>

#include "kernels/common/fixed_point.h"

// The logistic function and tanh of 16-bit fixed-point numbers, bit for bit as LiteRT's reference (gemmlowp) approximates them. Fn stands
// for a signed number with n integer bits in 16. Everything is static, as in fixed_point.h.
namespace sigrun::kernels::fixed16 {

static inline int16_t Saturate(int32_t x) { return static_cast<int16_t>(ClampI32(x, -32768, 32767)); }

/// The high half of 2ab, rounded half away from zero.
static inline int16_t Multiply(int16_t a, int16_t b) {
  if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
  const int32_t product = int32_t{a} * b;
  return static_cast<int16_t>((product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15));
}

static inline int16_t ShiftLeft(int16_t x, int count) { return Saturate(int32_t{x} * (1 << count)); }
static inline int16_t ShiftRight(int16_t x, int count) { return static_cast<int16_t>(RoundingDivideByPOT(x, count)); }
static inline int16_t Add(int16_t a, int16_t b) { return static_cast<int16_t>(a + b); }
static inline int16_t Negate(int16_t x) { return static_cast<int16_t>(-x); }

static constexpr int16_t kExpOfMinusEighth = 28918, kThird = 10923;             // F0
static constexpr int16_t k48By17 = 23130, kMinus32By17 = -15420;                // F2
static constexpr int16_t kFactors[] = {25520, 19875, 12055, 4435, 600, 11, 0};  // e^-2^k, k = -2 ... 4

/// e^a for a in [-1/4, 0), F0 to F0: four terms of the series around -1/8.
static inline int16_t ExpOfSmall(int16_t a) {
  const int16_t x = Add(a, 1 << 12), x2 = Multiply(x, x), x3 = Multiply(x2, x), x4 = Multiply(x2, x2);
  const int16_t rest = ShiftRight(Add(Multiply(Add(ShiftRight(x4, 2), x3), kThird), x2), 1);
  return Saturate(kExpOfMinusEighth + Multiply(kExpOfMinusEighth, Add(x, rest)));
}

/// e^a for a <= 0 with `integer_bits`, to F0: the fraction below a quarter by a series, the rest by a factor a bit.
static inline int16_t ExpOfNegative(int16_t a, int integer_bits) {
  const int fraction_bits = 15 - integer_bits;
  // With no integer bit, a quarter is 2^13.
  const int16_t quarter = static_cast<int16_t>(1 << (fraction_bits - 2));
  const int16_t below = Add(static_cast<int16_t>(a & (quarter - 1)), Negate(quarter));
  int16_t result = ExpOfSmall(ShiftLeft(below, integer_bits));
  const int32_t remainder = static_cast<int16_t>(below - a);
  for (int k = -2; k <= 4; ++k) {
    if (integer_bits > k && (remainder & (1 << (fraction_bits + k))) != 0) result = Multiply(result, kFactors[k + 2]);
  }
  if (integer_bits > 5 && a < -(1 << (20 - integer_bits))) result = 0;
  return a == 0 ? INT16_MAX : result;
}

/// 1 / ((1 + a) / 2) for a in [0, 1], F0 to F2: three steps of Newton's method from 48/17 - 32/17 d.
static inline int16_t InverseOfHalfOnePlus(int16_t a) {
  const int32_t sum = a + INT16_MAX;
  const int16_t half = static_cast<int16_t>((sum + (sum >= 0 ? 1 : -1)) / 2);
  int16_t x = Add(k48By17, Multiply(half, kMinus32By17));
  for (int i = 0; i < 3; ++i) {
    const int16_t error = Add(1 << 13, Negate(Multiply(half, x)));
    x = Add(x, ShiftLeft(Multiply(x, error), 2));
  }
  return x;
}

/// 1 / (1 + e^-a), to F0.
static inline int16_t Logistic(int16_t a, int integer_bits) {
  if (a == 0) return 1 << 14;
  const int16_t magnitude = a > 0 ? a : Negate(a);
  const int16_t positive = ShiftLeft(InverseOfHalfOnePlus(ExpOfNegative(Negate(magnitude), integer_bits)), 1);
  return a > 0 ? positive : Add(INT16_MAX, Negate(positive));
}

/// tanh(a), to F0.
static inline int16_t Tanh(int16_t a, int integer_bits) {
  if (a == 0) return 0;
  const int16_t negative = a < 0 ? a : Negate(a);
  const int16_t inverse = InverseOfHalfOnePlus(ExpOfNegative(negative, integer_bits + 1));
  const int16_t t = ShiftLeft(Add(inverse, -(1 << 13)), 2);  // (1 - e) / (1 + e)
  return a < 0 ? Negate(t) : t;
}

}  // namespace sigrun::kernels::fixed16
