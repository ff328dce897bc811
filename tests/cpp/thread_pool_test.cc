#include "run/thread_pool.h"

#include <sched.h>

#include <array>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "run/float_mode.h"

namespace sigrun {
namespace {

TEST(ThreadPool, EveryPieceOnce) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int32_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      pool.Run(count, [&](int32_t i, int worker) {
        calls[static_cast<size_t>(i)].fetch_add(1);
        EXPECT_GE(worker, 0);
        EXPECT_LT(worker, threads);
      });
      for (const auto& c : calls) EXPECT_EQ(c.load(), 1);
    }
  }
}

TEST(ThreadPool, NoTwoPiecesAtOneTimeHaveTheSameWorker) {
  ThreadPool pool(4);
  std::array<std::atomic<int>, 4> inside{};
  std::atomic<int> clashes{0};
  for (int round = 0; round < 200; ++round) {
    pool.Run(64, [&](int32_t, int worker) {
      if (inside[static_cast<size_t>(worker)].fetch_add(1) != 0) clashes.fetch_add(1);
      inside[static_cast<size_t>(worker)].fetch_sub(1);
    });
  }
  EXPECT_EQ(clashes.load(), 0);
}

TEST(ThreadPool, PiecesRunInTheFloatModeOfTheThreadThatAsks) {
  ThreadPool pool(3);
  for (int round = 0; round < 100; ++round) {
    FloatMode floats;
    floats.FlushDenormals(round % 3 == 0);
    const uint32_t mode = FloatMode::Now();
    std::atomic<int> others{0};
    pool.Run(16, [&](int32_t, int) { others.fetch_add(FloatMode::Now() != mode); });
    EXPECT_EQ(others.load(), 0);
  }
}

TEST(FloatMode, IsWhatItWasAtTheEnd) {
  const uint32_t before = FloatMode::Now();
  {
    FloatMode outer;
    outer.FlushDenormals(true);
    const uint32_t flushing = FloatMode::Now();
    {
      FloatMode inner;
      inner.FlushDenormals(false);  // what it found
      EXPECT_EQ(FloatMode::Now(), flushing);
    }
#if defined(__x86_64__)
    EXPECT_NE(flushing, before);
    volatile float tiny = 1e-40f;
    EXPECT_EQ(tiny * 1.0f, 0.0f);
#endif
    outer.FlushDenormals(false);
    EXPECT_EQ(FloatMode::Now(), before);
    outer.FlushDenormals(true);
  }
  EXPECT_EQ(FloatMode::Now(), before);
}

TEST(ThreadPool, ManyShortJobs) {
  ThreadPool pool(3);
  int64_t sum = 0;
  for (int round = 0; round < 5000; ++round) {
    std::atomic<int64_t> part{0};
    pool.Run(5, [&](int32_t i, int) { part.fetch_add(i); });
    sum += part.load();
  }
  EXPECT_EQ(sum, 50000);
}

TEST(ThreadPool, JobsOfSeveralThreadsAtOnce) {
  ThreadPool pool(2);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        std::atomic<int> calls{0};
        pool.Run(17, [&](int32_t, int) { calls.fetch_add(1); });
        if (calls.load() != 17) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
}

// Whatever a worker is at when its pool ends.
TEST(ThreadPool, EndsAtAnyTime) {
  std::atomic<int> pieces{0};
  for (int i = 0; i < 1000; ++i) {
    ThreadPool pool(1 + i % 4);
    if (i % 3 != 0) pool.Run(i % 7, [&](int32_t, int) { pieces.fetch_add(1); });
  }
  EXPECT_GT(pieces.load(), 0);
}

TEST(ThreadPool, SleepsAndWakes) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> calls{0};
    pool.Run(8, [&](int32_t, int) { calls.fetch_add(1); });
    EXPECT_EQ(calls.load(), 8);
  }
}

// Workers on the core of the thread that asks rest, and the jobs are done without them.
TEST(ThreadPool, OnOneCore) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  {
    ThreadPool pool(3);  // its threads inherit the core
    std::atomic<int> calls{0};
    for (int round = 0; round < 2000; ++round) pool.Run(8, [&](int32_t, int) { calls.fetch_add(1); });
    EXPECT_EQ(calls.load(), 16000);
  }
  sched_setaffinity(0, sizeof(before), &before);
}

}  // namespace
}  // namespace sigrun
