#include "plan/arena.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace sigrun {
namespace {

size_t RoundUp(size_t bytes) { return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment; }

}  // namespace

ArenaLayout PlaceIntervals(const std::vector<Interval>& intervals) {
  ArenaLayout layout;
  layout.offsets.assign(intervals.size(), 0);
  std::vector<size_t> order(intervals.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return intervals[a].bytes > intervals[b].bytes; });

  std::vector<size_t> placed;  // sorted by offset
  for (const size_t i : order) {
    const Interval& wanted = intervals[i];
    const size_t bytes = RoundUp(wanted.bytes);
    size_t best = SIZE_MAX, best_gap = SIZE_MAX, end = 0;
    for (const size_t j : placed) {
      const Interval& other = intervals[j];
      if (other.last < wanted.first || wanted.last < other.first) continue;
      const size_t start = layout.offsets[j];
      if (start > end && start - end >= bytes && start - end < best_gap) {
        best = end;
        best_gap = start - end;
      }
      end = std::max(end, start + RoundUp(other.bytes));
    }
    const size_t offset = best != SIZE_MAX ? best : end;
    layout.offsets[i] = offset;
    layout.bytes = std::max(layout.bytes, offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), offset, [&](size_t o, size_t j) { return o < layout.offsets[j]; }), i);
  }
  return layout;
}

}  // namespace sigrun
