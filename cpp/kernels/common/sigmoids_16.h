#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/fixed_point_16.h"
#include "kernels/common/inline.h"
#include "kernels/kernels.h"

// fixed_point_16.h's functions of as many numbers as a register of the tier holds: Int16s, a vector of GCC's and Clang's, and
// MulRounded(a, b), its Multiply where not both are INT16_MIN. Both are of simd_i8.h, included before. Nothing saturates but where it says
// so: the scalar functions saturate for the sake of numbers that do not occur there.
namespace sigrun::kernels {
namespace {

constexpr int kInt16s = sizeof(Int16s) / sizeof(int16_t);

SIGRUN_INLINE Int16s Chosen(Int16s mask, Int16s yes, Int16s no) { return (mask & yes) | (~mask & no); }

SIGRUN_INLINE Int16s ExpOfSmall(Int16s a) {
  const Int16s most = Int16s{} + INT16_MAX, factor = Int16s{} + fixed16::kExpOfMinusEighth, third = Int16s{} + fixed16::kThird;
  const Int16s x = a + (1 << 12), x2 = MulRounded(x, x), x3 = MulRounded(x2, x), x4 = MulRounded(x2, x2);
  const Int16s twice = MulRounded(((x4 + 2) >> 2) + x3, third) + x2;
  const Int16s rest = (twice + 1 + (twice >> 15)) >> 1;
  const Int16s sum = factor + MulRounded(factor, x + rest);
  return Chosen(sum < 0, most, sum);  // what is too large
}

SIGRUN_INLINE Int16s ExpOfNegative(Int16s a, int integer_bits) {
  const int fraction_bits = 15 - integer_bits;
  const int16_t quarter = static_cast<int16_t>(1 << (fraction_bits - 2));
  const Int16s below = (a & static_cast<int16_t>(quarter - 1)) - quarter, remainder = below - a;
  Int16s result = ExpOfSmall(below << integer_bits);
  for (int k = -2; k < integer_bits && k <= 4; ++k) {
    const Int16s multiplied = MulRounded(result, Int16s{} + fixed16::kFactors[k + 2]);
    result = Chosen((remainder & static_cast<int16_t>(1 << (fraction_bits + k))) != 0, multiplied, result);
  }
  if (integer_bits > 5) result = ~(a < static_cast<int16_t>(-(1 << (20 - integer_bits)))) & result;
  return Chosen(a == 0, Int16s{} + INT16_MAX, result);
}

SIGRUN_INLINE Int16s InverseOfHalfOnePlus(Int16s a) {
  const Int16s half = ((a >> 1) & INT16_MAX) + (1 << 14);
  Int16s x = MulRounded(half, Int16s{} + fixed16::kMinus32By17) + fixed16::k48By17;
  SIGRUN_UNROLL
  for (int i = 0; i < 3; ++i) x += MulRounded(x, (1 << 13) - MulRounded(half, x)) << 2;
  return x;
}

struct LogisticOf16 {
  int integer_bits;
  SIGRUN_INLINE Int16s operator()(Int16s a) const {
    const Int16s most = Int16s{} + INT16_MAX, negative = Chosen(a < 0, a, -a);
    const Int16s inverse = InverseOfHalfOnePlus(ExpOfNegative(negative, integer_bits));
    const Int16s positive = Chosen(inverse >= 1 << 14, most, inverse << 1);
    return Chosen(a == 0, Int16s{} + (1 << 14), Chosen(a > 0, positive, most - positive));
  }
};

struct TanhOf16 {
  int integer_bits;
  SIGRUN_INLINE Int16s operator()(Int16s a) const {
    const Int16s negative = Chosen(a < 0, a, -a);
    const Int16s part = InverseOfHalfOnePlus(ExpOfNegative(negative, integer_bits + 1)) - (1 << 13);
    const Int16s t = Chosen(part >= 1 << 13, Int16s{} + INT16_MAX, part << 2);
    return Chosen(a == 0, Int16s{}, Chosen(a < 0, -t, t));
  }
};

template <class Function>
void Each16(const int16_t* x, int16_t* y, size_t n, int32_t integer_bits) {
  const Function f{integer_bits};
  size_t i = 0;
  Int16s v;
  for (; i + kInt16s <= n; i += kInt16s) {
    std::memcpy(&v, x + i, sizeof(v));
    v = f(v);
    std::memcpy(y + i, &v, sizeof(v));
  }
  if (i == n) return;
  v = Int16s{};
  std::memcpy(&v, x + i, (n - i) * sizeof(int16_t));
  v = f(v);
  std::memcpy(y + i, &v, (n - i) * sizeof(int16_t));
}

void OverlaySigmoids16(Kernels& table) {
  table.logistic_16 = Each16<LogisticOf16>;
  table.tanh_16 = Each16<TanhOf16>;
}

}  // namespace
}  // namespace sigrun::kernels
