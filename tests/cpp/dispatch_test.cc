#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gtest/gtest.h"
#include "kernels/kernels.h"
#include "sigrun/interpreter.h"

namespace sigrun {
namespace {

TEST(Dispatch, BuildInfoIsConsistent) {
  const BuildInfo info = GetBuildInfo();
  EXPECT_FALSE(info.version.empty());
  EXPECT_FALSE(info.compiler.empty());
  ASSERT_FALSE(info.compiled_tiers.empty());
  EXPECT_EQ(info.compiled_tiers[0], "scalar");
  ASSERT_FALSE(info.supported_tiers.empty());
  EXPECT_EQ(info.supported_tiers[0], "scalar");
  // Supported tiers are compiled ones, in the same order.
  auto at = info.compiled_tiers.begin();
  for (const std::string& tier : info.supported_tiers) {
    at = std::find(at, info.compiled_tiers.end(), tier);
    ASSERT_NE(at, info.compiled_tiers.end()) << tier;
  }
  EXPECT_NE(std::find(info.supported_tiers.begin(), info.supported_tiers.end(), info.tier_in_use), info.supported_tiers.end());
}

TEST(Dispatch, EverySupportedTierHasATable) {
  for (const std::string& tier : GetBuildInfo().supported_tiers) {
    const kernels::Kernels* table = kernels::UpTo(tier.c_str());
    ASSERT_NE(table, nullptr) << tier;
    EXPECT_STREQ(table->tier, tier.c_str());
  }
  EXPECT_EQ(kernels::UpTo("no such tier"), nullptr);
}

// Run by itself by the test below, under one cap after the other.
TEST(Dispatch, CapIsHonoured) {
  const char* cap = std::getenv("SIGRUN_MAX_ISA");
  const BuildInfo info = GetBuildInfo();
  const auto& compiled = info.compiled_tiers;
  const auto wanted = cap == nullptr ? compiled.end() : std::find(compiled.begin(), compiled.end(), cap);
  const auto last = wanted == compiled.end() ? wanted : wanted + 1;  // an unknown name caps nothing
  std::string highest;
  for (const std::string& tier : info.supported_tiers) {
    const bool only_by_name = tier.ends_with("_standin") && (cap == nullptr || tier != cap);
    if (std::find(compiled.begin(), last, tier) != last && !only_by_name) highest = tier;
  }
  EXPECT_EQ(info.tier_in_use, highest);
}

TEST(Dispatch, EveryNameCaps) {
  std::vector<std::string> names = GetBuildInfo().compiled_tiers;
  names.push_back("no_such_tier");
  for (const std::string& name : names) {
    const pid_t child = fork();
    if (child == 0) {
      if (std::freopen("/dev/null", "w", stdout) == nullptr) _exit(77);
      setenv("SIGRUN_MAX_ISA", name.c_str(), 1);
      execl("/proc/self/exe", "sigrun_tests", "--gtest_filter=Dispatch.CapIsHonoured", "--gtest_brief=1", static_cast<char*>(nullptr));
      _exit(77);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << name;
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this program cannot start itself";
    EXPECT_EQ(WEXITSTATUS(status), 0) << name;
  }
}

}  // namespace
}  // namespace sigrun
