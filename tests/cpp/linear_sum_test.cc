#include "ops/support/linear_sum.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace sigrun::ops {
namespace {

const kernels::AddI8Params kSum = QuantizedSum({0.0471f, 3}, {0.0312f, -7}, {0.0583f, 1}, 20, {-128, 127});

TEST(LazyLinearSum, IsSearchedOnceItPays) {
  LazyLinearSum sum(kernels::Best(), kSum, false, 40);
  EXPECT_FALSE(sum.Next(40).linear.holds);
  EXPECT_FALSE(sum.Next(60000).linear.holds);
  EXPECT_TRUE(sum.Next(10000).linear.holds);
  EXPECT_TRUE(sum.Next(1).linear.holds);
  EXPECT_TRUE(LazyLinearSum(kernels::Best(), kSum, false, 40).Next(size_t{1} << 20).linear.holds);
  EXPECT_TRUE(LazyLinearSum(kernels::Best(), kSum, false, 5000).Next(1).linear.holds);
}

TEST(LazyLinearSum, ThreadsShareIt) {
  LazyLinearSum sum(kernels::Best(), kSum, false, 1000);
  const kernels::LinearI8 expected = FindLinearSum(kernels::Best(), kSum, false);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 1000; ++call) {
        const kernels::LinearI8& form = sum.Next(1000).linear;
        if (form.holds && (form.a_low != expected.a_low || form.addend_low != expected.addend_low)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(sum.Next(1).linear.holds);
}

}  // namespace
}  // namespace sigrun::ops
