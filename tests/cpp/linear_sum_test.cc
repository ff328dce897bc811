#include "ops/support/linear_sum.h"

#include <algorithm>
#include <random>

#include "gtest/gtest.h"
#include "kernels/common/fixed_point.h"

namespace sigrun::ops {
namespace {

using kernels::AddI8Params, kernels::LinearI8, kernels::MultiplyByQuantizedMultiplier;

int32_t Reference(const AddI8Params& p, int32_t a, int32_t b) {
  const int32_t sum = MultiplyByQuantizedMultiplier((a + p.a_offset) * (1 << p.left_shift), p.a_multiplier, p.a_shift) +
                      MultiplyByQuantizedMultiplier((b + p.b_offset) * (1 << p.left_shift), p.b_multiplier, p.b_shift);
  return std::clamp(MultiplyByQuantizedMultiplier(sum, p.output_multiplier, p.output_shift) + p.output_offset, p.min, p.max);
}

int32_t ByForm(const AddI8Params& p, const LinearI8& f, int32_t a, int32_t b) {
  const auto whole = [](int64_t high, int64_t low) { return high * (1 << 15) + low; };
  const int64_t sum = a * whole(f.a_high, f.a_low) + b * whole(f.b_high, f.b_low) + whole(f.addend_high, f.addend_low);
  return static_cast<int32_t>(std::clamp<int64_t>(sum >> (f.shift + 15), p.min, p.max));
}

// Scales and zero points of every kind: powers of two between them, results that mostly saturate, bounds of a fused activation, SUB.
TEST(LinearSum, EqualsTheReferenceForEveryPair) {
  std::mt19937 random(1);
  const auto real = [&](double low, double high) { return std::uniform_real_distribution<double>(low, high)(random); };
  const auto integer = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  constexpr int kCases = 400;
  int held = 0;
  for (int i = 0; i < kCases; ++i) {
    const bool is_unsigned = i % 2 == 1;
    const int32_t first = is_unsigned ? 0 : -128, last = first + 255;
    const double a = std::exp(real(-8, 3)), b = i % 5 == 0 ? a * std::ldexp(1.0, integer(-5, 5)) : a * std::exp(real(-4, 4));
    const double y = i % 7 == 0 ? a * std::ldexp(1.0, integer(-2, 3)) : std::max(a, b) * std::exp(real(-2, 2.5));
    const int32_t zero = integer(first, last), min = i % 3 == 0 ? zero : first, max = i % 4 == 0 ? std::min(last, zero + 60) : last;
    AddI8Params p = QuantizedSum({static_cast<float>(a), integer(first, last)}, {static_cast<float>(b), integer(first, last)},
                                 {static_cast<float>(y), zero}, 20, {min, max});
    if (i % 6 == 0) p.b_multiplier = -p.b_multiplier;
    const LinearI8 form = FindLinearSum(p, is_unsigned);
    if (!form.holds) continue;
    ++held;
    int wrong = 0;
    for (int32_t x = first; x <= last; ++x) {
      for (int32_t z = first; z <= last; ++z) wrong += ByForm(p, form, x, z) != Reference(p, x, z) ? 1 : 0;
    }
    EXPECT_EQ(wrong, 0) << "scales " << a << ", " << b << " -> " << y << ", case " << i;
  }
  EXPECT_GT(held, kCases * 9 / 10);
}

// A result that grows by many steps with one of an operand has no form of so few bits.
TEST(LinearSum, IsNotFoundWhereRoundingDecides) {
  EXPECT_FALSE(FindLinearSum(QuantizedSum({100, 0}, {1, 0}, {0.001f, 0}, 20, {-128, 127}), false).holds);
}

}  // namespace
}  // namespace sigrun::ops
