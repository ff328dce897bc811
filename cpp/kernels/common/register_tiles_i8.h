#pragma once

#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"

// Tiles of any size from a tier's Tile<rows, vectors>, included before.
namespace sigrun::kernels {
namespace {

template <int kRows, int kVectors>
SIGRUN_INLINE void RunRows(const TileRun& run, int32_t rows, int32_t* sums) {
  if (rows == kRows) {
    Tile<kRows, kVectors>(run, sums);
  } else if constexpr (kRows > 1) {
    RunRows<kRows - 1, kVectors>(run, rows, sums);
  }
}

/// At most kMostRows rows of a panel of `width` channels: sums[row][width].
template <int kMostRows, int kVectors = kPanelVectors>
SIGRUN_INLINE void RunRegisterTile(const TileRun& run, int32_t rows, int32_t width, int32_t* sums) {
  if (width == kVectors * kLanes) {
    if (rows == 1) return Tile<1, kVectors>(run, sums);
    RunRows<kMostRows, kVectors>(run, rows, sums);
  } else if constexpr (kVectors > 1) {
    RunRegisterTile<kMostRows, kVectors - 1>(run, rows, width, sums);
  }
}

/// The same of a panel of pairs of groups, which holds fewer rows if it is wide.
constexpr int PairRows(int rows, int pairs) { return pairs > 2 ? rows * 4 / 7 : rows; }
template <class Pairs, int kRows, int kPairs>
SIGRUN_INLINE void RunPairRows(const TileRun& run, int32_t rows, int32_t* sums) {
  if (rows == kRows) {
    PairTile<Pairs, kRows, kPairs>(run, sums);
  } else if constexpr (kRows > 1) {
    RunPairRows<Pairs, kRows - 1, kPairs>(run, rows, sums);
  }
}
template <class Pairs, int kMostRows, int kPairs = 3>
SIGRUN_INLINE void RunPairTile(const TileRun& run, int32_t rows, int32_t* sums) {
  if (run.pairs == kPairs) {
    RunPairRows<Pairs, PairRows(kMostRows, kPairs), kPairs>(run, rows, sums);
  } else if constexpr (kPairs > 1) {
    RunPairTile<Pairs, kMostRows, kPairs - 1>(run, rows, sums);
  }
}

}  // namespace
}  // namespace sigrun::kernels
