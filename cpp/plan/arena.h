#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sigrun {

/// Memory that is needed from step `first` to step `last`, both included.
struct Interval {
  size_t bytes;
  int32_t first;
  int32_t last;
};

struct ArenaLayout {
  std::vector<size_t> offsets;  // one an interval, multiples of kArenaAlignment
  size_t bytes = 0;
};
inline constexpr size_t kArenaAlignment = 64;

/// Offsets such that intervals which overlap in time never overlap in memory. Greedy: the largest first, each in the smallest gap that fits
/// between those already placed. A pure function; no optimum is promised, but never more than the sum of all sizes.
ArenaLayout PlaceIntervals(const std::vector<Interval>& intervals);

}  // namespace sigrun
