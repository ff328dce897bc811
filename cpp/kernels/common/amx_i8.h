#pragma once

#include "kernels/common/register_tiles_i8.h"

// conv_i8.h's tiles by the tile unit, over the vocabulary of tiles.h: 2 x 2 tiles of sums, so that each tile loaded is used twice. The
// bias is a tile whose rows are all the same line. Packed weights and activations are those of the register tiles, completed to whole
// units; a few rows are left to the register tiles, which end earlier. Rows beyond the last are computed and not used.
namespace sigrun::kernels {
namespace {

constexpr bool kTilesEnd = false;
constexpr int32_t kTileSide = 16;
constexpr int32_t kMostRows = 2 * kTileSide;
constexpr int32_t kRowUnit = kTileSide;
constexpr int32_t kDepthUnit = 64;
constexpr int32_t kColumnUnit = kTileSide;
constexpr int32_t kLeastLine = 3 * kTileSide / 4;
constexpr int32_t kFewRows = 3;
static_assert(kPanelVectors * kLanes == 2 * kTileSide && kGroup == 4);

SIGRUN_INLINE int32_t NextTileRows(int32_t rows) { return rows < kMostRows ? rows : kMostRows; }

using TileSession = TileUnit;

// Sums in tiles 0 to 3, row by row; activations in 4 and 5, weights in 6 and 7.
template <int kRowTiles, int kColumnTiles>
void MultiplyTiles(const TileRun& run, int32_t* sums) {
  constexpr int32_t kWidth = kColumnTiles * kTileSide;
  constexpr ptrdiff_t kSumsStride = kWidth * sizeof(int32_t), kWeightStride = kWidth * kGroup;
  LoadTile<0>(run.bias, 0);
  if constexpr (kColumnTiles == 2) LoadTile<1>(run.bias + kTileSide, 0);
  if constexpr (kRowTiles == 2) LoadTile<2>(run.bias, 0);
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) LoadTile<3>(run.bias + kTileSide, 0);
  const int8_t *weights = run.weights, *ahead = run.ahead;
  for (int32_t segment = 0; segment < run.segments; ++segment) {
    const uint8_t* a = run.a + segment * run.segment_step;
    for (int32_t k = 0; k < run.k_groups; k += kTileSide, a += kDepthUnit, weights += kTileSide * kWeightStride) {
      for (int32_t i = 0; i < kTileSide; ++i, ahead += run.ahead_step) __builtin_prefetch(ahead, 0, 2);
      LoadTile<4>(a, run.a_stride);
      LoadTile<6>(weights, kWeightStride);
      DotU8I8<0, 4, 6>();
      if constexpr (kColumnTiles == 2) {
        LoadTile<7>(weights + kTileSide * kGroup, kWeightStride);
        DotU8I8<1, 4, 7>();
      }
      if constexpr (kRowTiles == 2) {
        LoadTile<5>(a + kTileSide * run.a_stride, run.a_stride);
        DotU8I8<2, 5, 6>();
        if constexpr (kColumnTiles == 2) DotU8I8<3, 5, 7>();
      }
    }
  }
  StoreTile<0>(sums, kSumsStride);
  if constexpr (kColumnTiles == 2) StoreTile<1>(sums + kTileSide, kSumsStride);
  if constexpr (kRowTiles == 2) StoreTile<2>(sums + kTileSide * kWidth, kSumsStride);
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) StoreTile<3>(sums + kTileSide * kWidth + kTileSide, kSumsStride);
}

SIGRUN_INLINE void RunTile(const TileRun& run, int32_t rows, int32_t width, int32_t* sums) {
  if (rows <= kFewRows) {
    RunRegisterTile<kFewRows>(run, rows, width, sums);
  } else if (width == 2 * kTileSide) {
    rows > kTileSide ? MultiplyTiles<2, 2>(run, sums) : MultiplyTiles<1, 2>(run, sums);
  } else {
    rows > kTileSide ? MultiplyTiles<2, 1>(run, sums) : MultiplyTiles<1, 1>(run, sums);
  }
}

}  // namespace
}  // namespace sigrun::kernels
