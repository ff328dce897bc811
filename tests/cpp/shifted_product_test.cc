#include "ops/support/shifted_product.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "kernels/common/fixed_point.h"

namespace sigrun::ops {
namespace {

constexpr int64_t kManyRows = 4096;

int32_t Shifted(const kernels::ShiftedProduct& p, int64_t x) { return static_cast<int32_t>((x * *p.multiplier + *p.addend) >> *p.shift); }

// Next to every step, and anywhere.
void ExpectSame(double scale, int32_t least, int32_t most, const kernels::ShiftedProduct& product, std::mt19937& random) {
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
    LazyShiftedProducts products({scale}, -128 - zero_point, 127 - zero_point);
    const kernels::ShiftedProduct product = products.Next(kManyRows, 0);
    if (*product.multiplier == 0) continue;
    ++found;
    ExpectSame(scale, -128 - zero_point, 127 - zero_point, product, random);
  }
  EXPECT_GT(found, kScales * 95 / 100);
}

TEST(ShiftedProducts, FloatsThatAreNearlyHalves) {
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    const double scale = std::ldexp(1.0 + (i % 41 - 20) * std::ldexp(1.0, -52 + i % 37), -1 - i % 17) / (1 + i % 3);
    LazyShiftedProducts products({scale}, -128, 127);
    const kernels::ShiftedProduct product = products.Next(kManyRows, 0);
    if (*product.multiplier != 0) ExpectSame(scale, -128, 127, product, random);
  }
}

TEST(ShiftedProducts, NoneWhereStepsAreIntegers) {
  LazyShiftedProducts products({0.0078125, 0.0123456789, 0.1, 0.7, 0.0, 1e-9}, -128, 127);
  const kernels::ShiftedProduct found = products.Next(kManyRows, 0);
  EXPECT_NE(found.multiplier[1], 0);
  for (const size_t n : {0, 2, 3, 4, 5}) EXPECT_EQ(found.multiplier[n], 0) << n;
}

TEST(ShiftedProducts, AreFoundOnceThereHaveBeenManyRows) {
  LazyShiftedProducts products({0.0123456789, 0.0234567891}, -128, 127);
  EXPECT_EQ(products.Next(3, 0).multiplier, nullptr);
  EXPECT_EQ(products.Next(100, 1).multiplier, nullptr);
  const kernels::ShiftedProduct all = products.Next(kManyRows, 0);
  ASSERT_NE(all.multiplier, nullptr);
  EXPECT_EQ(products.Next(1, 1).multiplier, all.multiplier + 1);
}

}  // namespace
}  // namespace sigrun::ops
