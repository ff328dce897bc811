#pragma once

#include "kernels/common/register_tiles_i8.h"

// conv_i8.h's tiles where registers are all there is: nothing is completed beyond a dot product and a vector.
namespace sigrun::kernels {
namespace {

constexpr bool kTilesEnd = true;                           // in bytes, where TileRun wants them
constexpr bool kTilesEndLate = false;                      // while the next one runs
constexpr int32_t kMostRows = kTileRows;                   // of a tile
constexpr int32_t kRowUnit = 1;                            // rows are read in units of it
constexpr int32_t kDepthUnit = kGroup;                     // and k
constexpr int32_t kColumnUnit = kLanes;                    // and channels
constexpr int32_t kLeastLine = kTileRows / 2;              // shorter lines are better gathered into rows
constexpr bool kTakesTwoLines = kHalvesApart<Activation>;  // by a tile of all rows
constexpr bool kPairs = GroupPairs<Activation>::kUsed;
constexpr size_t kBlockBytes = size_t{192} << 10;  // of gathered rows or lines

/// The rows of the next tile, at most `most`, when `rows` are left: the last two share what is more than one tile and less than two.
SIGRUN_INLINE int32_t NextTileRows(int32_t rows, int32_t most) {
  if (rows <= most) return rows;
  return rows >= 2 * most ? most : (rows + 1) / 2;
}
// Tiles of all rows whose bytes are flipped.
template <class Pairs, int kPairs = 3>
SIGRUN_INLINE void RunFlippedPairs(const TileRun& run, int32_t* sums) {
  if (run.pairs == kPairs) {
    PairTile<Pairs, PairRows(kTileRows, kPairs), kPairs, true>(run, sums);
  } else if constexpr (kPairs > 1) {
    RunFlippedPairs<Pairs, kPairs - 1>(run, sums);
  }
}
template <int kVectors = kPanelVectors>
SIGRUN_INLINE void RunFlipped(const TileRun& run, int32_t width, int32_t* sums) {
  if (width == kVectors * kLanes) {
    Tile<kTileRows, kVectors, true>(run, sums);
  } else if constexpr (kVectors > 1) {
    RunFlipped<kVectors - 1>(run, width, sums);
  }
}
SIGRUN_INLINE void RunTile(const TileRun& run, int32_t rows, int32_t width, int32_t* sums) {
  if constexpr (kFlipsBytes<Activation>) {
    if (run.flips) return run.pairs > 0 ? RunFlippedPairs<GroupPairs<Activation>>(run, sums) : RunFlipped(run, width, sums);
  }
  if constexpr (kPairs) {
    if (run.pairs > 0) return RunPairTile<GroupPairs<Activation>, kTileRows>(run, rows, sums);
  }
  RunRegisterTile<kTileRows>(run, rows, width, sums);
}

/// Lives while tiles of so many rows are used.
struct TileSession {
  explicit TileSession(int32_t) {}
};

}  // namespace
}  // namespace sigrun::kernels
