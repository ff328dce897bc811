#pragma once

#include "kernels/common/bf16.h"
#include "kernels/common/finish_bf16.h"
#include "kernels/common/tile_bf16.h"

// bfloat16 products by the tile unit, over the vocabulary of tiles.h: 2 x 2 tiles of sums, so that each tile loaded is used twice. Rows
// beyond the last and columns beyond a panel are computed and not stored.
namespace sigrun::kernels {
namespace {

constexpr int kGroupBf16 = 2;
constexpr int32_t kDepthUnit = 32;  // elements of k in a tile of A
constexpr int32_t kTileSide = 16;
constexpr int32_t kPanelBf16 = 2 * kTileSide, kLeastPanelBf16 = kTileSide;
constexpr int32_t kTileRowsBf16 = 2 * kTileSide;
constexpr bool kTakesRowsInPlace = false;      // tiles of A are read as wholes
constexpr int32_t kBlockElements = 256 << 10;  // of a block of A: 512 KiB of an L2 of 2 MiB

// Sums in tiles 0 to 3, row by row; A in 4 and 5, B in 6 and 7.
template <int kRowTiles, int kColumnTiles>
SIGRUN_INLINE void MultiplyTiles(const TileBf16& t, const PartPair& pair) {
  const Bf16* a = t.rows + pair.rows * t.part_stride;
  const Bf16* b = t.weights + pair.weights * t.weights_part_stride;
  constexpr ptrdiff_t kRow = sizeof(Bf16), kPair = kColumnTiles * kTileSide * 2;
  for (int32_t k = 0; k < t.depth; k += kDepthUnit, a += kDepthUnit, b += kDepthUnit / 2 * kPair) {
    LoadTile<4>(a, t.row_stride * kRow);
    LoadTile<6>(b, kPair * kRow);
    DotBf16<0, 4, 6>();
    if constexpr (kColumnTiles == 2) {
      LoadTile<7>(b + 2 * kTileSide, kPair * kRow);
      DotBf16<1, 4, 7>();
    }
    if constexpr (kRowTiles == 2) {
      LoadTile<5>(a + kTileSide * t.row_stride, t.row_stride * kRow);
      DotBf16<2, 5, 6>();
      if constexpr (kColumnTiles == 2) DotBf16<3, 5, 7>();
    }
  }
}

template <int kRowTiles, int kColumnTiles>
void RunTiles(const TileBf16& t, int32_t height) {
  ZeroTile<0>();
  ZeroTile<1>();
  ZeroTile<2>();
  ZeroTile<3>();
  for (int pair = FirstPartPair(t.parts); pair < 3; ++pair) MultiplyTiles<kRowTiles, kColumnTiles>(t, kPartPairs[pair]);
  constexpr int32_t kStride = kColumnTiles * kTileSide;
  constexpr ptrdiff_t kStrideBytes = kStride * sizeof(float);
  alignas(64) float products[kRowTiles * kTileSide * kStride];
  StoreTile<0>(products, kStrideBytes);
  if constexpr (kColumnTiles == 2) StoreTile<1>(products + kTileSide, kStrideBytes);
  if constexpr (kRowTiles == 2) StoreTile<2>(products + kTileSide * kStride, kStrideBytes);
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) StoreTile<3>(products + kTileSide * kStride + kTileSide, kStrideBytes);
  FinishTile(t, products, kStride, height);
}

SIGRUN_INLINE int32_t TileHeight(int32_t rows) { return rows < kTileRowsBf16 ? rows : kTileRowsBf16; }
SIGRUN_INLINE int32_t PanelsAtOnceBf16(int32_t, int32_t) { return 1; }

SIGRUN_INLINE void RunTileBf16(const TileBf16& t, int32_t height, int32_t width, int32_t) {
  if (width == kPanelBf16) {
    height > kTileSide ? RunTiles<2, 2>(t, height) : RunTiles<1, 2>(t, height);
  } else {
    height > kTileSide ? RunTiles<2, 1>(t, height) : RunTiles<1, 1>(t, height);
  }
}

}  // namespace
}  // namespace sigrun::kernels
