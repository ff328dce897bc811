#pragma once

#include <bit>
#include <cstdint>

#include "kernels/common/fixed_point.h"

// Functions of fixed-point numbers as LiteRT's reference approximates them. Fn stands for a signed number with n integer bits in 32.
namespace sigrun::ops {

inline int32_t SaturatingShiftLeft(int32_t x, int count) {
  const int64_t shifted = static_cast<int64_t>(x) * (int64_t{1} << count);
  return shifted > INT32_MAX ? INT32_MAX : shifted < INT32_MIN ? INT32_MIN : static_cast<int32_t>(shifted);
}

/// MultiplyByQuantizedMultiplier for any shift: what lies beyond 31 bits is 0.
inline int32_t ScaleBy(int32_t x, int32_t multiplier, int shift) {
  return shift < -31 ? 0 : kernels::MultiplyByQuantizedMultiplier(x, multiplier, shift > 31 ? 31 : shift);
}

/// 1 / (1 + fraction), both F0; fraction >= 0.
inline int32_t InverseOfOnePlus(int32_t fraction) {
  // Newton's method on half the denominator, three steps from 48/17 - 32/17 d, in F2. No product is that of two least numbers, and only the
  // result may saturate.
  constexpr auto multiply = [](int32_t a, int32_t b) {
    return static_cast<int32_t>((static_cast<int64_t>(a) * b + (int64_t{1} << 30)) >> 31);
  };
  constexpr int32_t kOne = 1 << 29;
  const int32_t half_denominator = static_cast<int32_t>((int64_t{fraction} + (int64_t{1} << 31)) >> 1);
  int32_t y = 1515870810 + multiply(half_denominator, -1010580540);
  for (int i = 0; i < 3; ++i) y += 4 * multiply(y, kOne - multiply(half_denominator, y));
  return SaturatingShiftLeft(y, 1);
}

/// 1 / x for x > 0 read with 31 integer bits; the result is an F0 times 2^*bits_over_unit.
inline int32_t Reciprocal(int32_t x, int* bits_over_unit) {
  const int headroom_plus_one = std::countl_zero(static_cast<uint32_t>(x));
  *bits_over_unit = 31 - headroom_plus_one;
  return InverseOfOnePlus(static_cast<int32_t>((static_cast<uint32_t>(x) << headroom_plus_one) - (uint32_t{1} << 31)));
}

/// 1 / sqrt(x) for x >= 0 as a multiplier and a left shift for MultiplyByQuantizedMultiplier; 0 counts as 1.
inline int32_t InverseSqrt(int32_t x, int* shift) {
  using kernels::SaturatingRoundingDoublingHighMul;
  if (x <= 1) {
    *shift = 0;
    return INT32_MAX;
  }
  int right_shift = 11;
  for (; x >= 1 << 29; x /= 4) ++right_shift;
  const int pairs = (std::countl_zero(static_cast<uint32_t>(x)) - 1) / 2 - 1;
  right_shift -= pairs;
  x <<= 2 * pairs;
  // Newton's method in F3, five steps from 1: y = 1.5 y - x / 2 y^3.
  const int32_t half_x = kernels::RoundingDivideByPOT(x >> 1, 1);
  constexpr int32_t kThreeHalves = (1 << 28) + (1 << 27);
  int32_t y = 1 << 28;
  for (int i = 0; i < 5; ++i) {
    const int32_t square = SaturatingRoundingDoublingHighMul(y, y);
    const int32_t cube = SaturatingShiftLeft(SaturatingRoundingDoublingHighMul(square, y), 6);
    y = SaturatingShiftLeft(
        kernels::WrapSub(SaturatingRoundingDoublingHighMul(kThreeHalves, y), SaturatingRoundingDoublingHighMul(half_x, cube)), 3);
  }
  y = SaturatingRoundingDoublingHighMul(y, 1518500250);  // sqrt(2) / 2
  if (right_shift < 0) {
    y = kernels::WrapShiftLeft(y, -right_shift);
    right_shift = 0;
  }
  *shift = -right_shift;
  return y;
}

}  // namespace sigrun::ops
