#include "plan/arena.h"

#include <algorithm>
#include <random>

#include "gtest/gtest.h"

namespace sigrun {
namespace {

size_t RoundUp(size_t bytes) { return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment; }

// What any layout must keep, and the most that is needed at one time.
void CheckLayout(const std::vector<Interval>& intervals) {
  const ArenaLayout layout = PlaceIntervals(intervals);
  ASSERT_EQ(layout.offsets.size(), intervals.size());
  size_t sum = 0, most_live = 0;
  for (size_t i = 0; i < intervals.size(); ++i) {
    const Interval& a = intervals[i];
    sum += RoundUp(a.bytes);
    ASSERT_EQ(layout.offsets[i] % kArenaAlignment, 0u);
    ASSERT_LE(layout.offsets[i] + a.bytes, layout.bytes);
    size_t live = 0;
    for (size_t j = 0; j < intervals.size(); ++j) {
      const Interval& b = intervals[j];
      if (b.first <= a.first && a.first <= b.last) live += b.bytes;
      if (i == j || a.bytes == 0 || b.bytes == 0 || a.last < b.first || b.last < a.first) continue;
      const bool apart = layout.offsets[i] + a.bytes <= layout.offsets[j] || layout.offsets[j] + b.bytes <= layout.offsets[i];
      ASSERT_TRUE(apart) << "intervals " << i << " and " << j << " overlap";
    }
    most_live = std::max(most_live, live);
  }
  ASSERT_LE(layout.bytes, sum);
  ASSERT_GE(layout.bytes, most_live);
}

TEST(Arena, RandomIntervalsNeverOverlap) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<Interval> intervals(random() % 60);
    const int32_t steps = 1 + static_cast<int32_t>(random() % 30);
    for (Interval& interval : intervals) {
      interval.bytes = random() % 4 == 0 ? random() % 3 : random() % 5000;
      interval.first = static_cast<int32_t>(random()) % steps;
      if (interval.first < 0) interval.first += steps;
      interval.last = interval.first + static_cast<int32_t>(random() % 6);
    }
    ASSERT_NO_FATAL_FAILURE(CheckLayout(intervals)) << "round " << round;
  }
}

TEST(Arena, AChainNeedsItsTwoLargestNeighbours) {
  std::vector<Interval> chain;
  for (int32_t i = 0; i < 20; ++i) chain.push_back({1024, i, i + 1});
  EXPECT_EQ(PlaceIntervals(chain).bytes, 2048u);
}

TEST(Arena, TheSameIntervalsGiveTheSameOffsets) {
  const std::vector<Interval> intervals = {{100, 0, 3}, {100, 1, 2}, {64, 2, 4}, {100, 3, 3}, {0, 0, 9}};
  EXPECT_EQ(PlaceIntervals(intervals).offsets, PlaceIntervals(intervals).offsets);
}

TEST(Arena, NothingNeedsNothing) {
  EXPECT_EQ(PlaceIntervals({}).bytes, 0u);
  EXPECT_EQ(PlaceIntervals({{0, 0, 1}}).bytes, 0u);
}

}  // namespace
}  // namespace sigrun
