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

}  // namespace
}  // namespace sigrun::kernels
