#include "ops/support/shifted_product.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "kernels/common/fixed_point.h"

namespace sigrun::ops {
namespace {

int32_t Shifted(const kernels::ShiftedProduct& p, int64_t x) { return static_cast<int32_t>((x * *p.multiplier + *p.addend) >> *p.shift); }

// Next to every step, and anywhere.
void ExpectSame(double scale, int32_t least, int32_t most, const ShiftedProducts& found, std::mt19937& random) {
  const kernels::ShiftedProduct product = found.at(0);
  const auto expect = [&](int64_t x) {
    if (x < INT32_MIN || x > INT32_MAX) return;
    const int32_t want = std::clamp(kernels::RoundScaled(static_cast<int32_t>(x), scale), least, most);
    ASSERT_EQ(std::clamp(Shifted(product, x), least, most), want) << x << " * " << scale;
  };
  for (int32_t r = least; r <= most + 1; ++r) {
    const int64_t step = std::llround((r - 0.5) / scale);
    for (int64_t x = step - 2; x <= step + 2; ++x) expect(x);
  }
  for (int i = 0; i < 200; ++i) expect(static_cast<int32_t>(random()));
  for (const int64_t x : {int64_t{INT32_MIN}, int64_t{INT32_MAX}, int64_t{0}}) expect(x);
}

TEST(ShiftedProducts, EqualScalesInDouble) {
  std::mt19937 random(1);
  int found = 0;
  constexpr int kScales = 4000;
  for (int i = 0; i < kScales; ++i) {
    const double scale = std::ldexp(std::uniform_real_distribution<double>(0.5, 1)(random), -1 - i % 19);
    const int32_t zero_point = static_cast<int32_t>(random() % 256) - 128;
    const ShiftedProducts products = FindShiftedProducts({scale}, -128 - zero_point, 127 - zero_point);
    if (products.multiplier[0] == 0) continue;
    ++found;
    ExpectSame(scale, -128 - zero_point, 127 - zero_point, products, random);
  }
  EXPECT_GT(found, kScales * 95 / 100);
}

TEST(ShiftedProducts, FloatsThatAreNearlyHalves) {
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    const double scale = std::ldexp(1.0 + (i % 41 - 20) * std::ldexp(1.0, -52 + i % 37), -1 - i % 17) / (1 + i % 3);
    const ShiftedProducts products = FindShiftedProducts({scale}, -128, 127);
    if (products.multiplier[0] != 0) ExpectSame(scale, -128, 127, products, random);
  }
}

TEST(ShiftedProducts, NoneWhereStepsAreIntegers) {
  const ShiftedProducts found = FindShiftedProducts({0.0078125, 0.0123456789, 0.1, 0.7, 0.0, 1e-9}, -128, 127);
  EXPECT_NE(found.multiplier[1], 0);
  for (const size_t n : {0, 2, 3, 4, 5}) EXPECT_EQ(found.multiplier[n], 0) << n;
}

}  // namespace
}  // namespace sigrun::ops
