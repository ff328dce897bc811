#pragma once

#include "kernels/common/register_tiles_i8.h"
#include "kernels/kernels.h"

// conv_i8.h's tiles by the tile unit, over the vocabulary of tiles.h: 2 x 2 tiles of sums, so that each tile loaded is used twice. The
// bias is a tile whose rows are all the same line. Packed weights and activations are those of the register tiles, completed to whole
// units; a few rows are left to the register tiles, which end earlier. Rows beyond the last are computed and not used.
// Trick: sums become bytes piece by piece between the products of the next tile. Those of 32 x 32 sums take the unit as many cycles as k
// has elements, their end takes the vector units some 400: so both work, where one after the other the reorder buffer would hold too
// little.
namespace sigrun::kernels {
namespace {

constexpr bool kTilesEnd = true;
constexpr bool kTilesEndLate = true;
constexpr bool kTakesTwoLines = false;
constexpr bool kPairs = false;
constexpr int32_t kTileSide = 16;
constexpr int32_t kMostRows = 2 * kTileSide;
constexpr int32_t kRowUnit = kTileSide;
constexpr int32_t kDepthUnit = 64;
constexpr int32_t kColumnUnit = kTileSide;
constexpr int32_t kLeastLine = 3 * kTileSide / 2;  // a line of one tile alone has too few independent sums to keep the unit busy
constexpr size_t kBlockBytes = size_t{512} << 10;  // of an L2 of 2 MiB
constexpr int32_t kFewRows = 3;
static_assert(kPanelVectors * kLanes == 2 * kTileSide && kGroup == 4);

/// Windows over so few channels that gathering them to whole units takes longer than their products: the tier below reads them in place.
constexpr int32_t kLeastWindow = 48;
SIGRUN_INLINE bool SuitsTiles(const ConvShape& s) { return s.taps() == 1 || s.taps() * s.in_channels >= kLeastWindow; }

SIGRUN_INLINE int32_t NextTileRows(int32_t rows, int32_t most) { return rows < most ? rows : most; }

/// A few rows leave the unit as it is: setting it up takes as long as they do, and its state would have to be saved with the thread's.
class TileSession {
 public:
  explicit TileSession(int32_t rows) : used_(rows > kFewRows) {
    if (used_) ConfigureTiles();
  }
  ~TileSession() {
    if (used_) ReleaseTiles();
  }
  TileSession(const TileSession&) = delete;
  TileSession& operator=(const TileSession&) = delete;

 private:
  bool used_;
};

// Sums in tiles 0 to 3, row by row; activations in 4 and 5, weights in 6 and 7.
template <int kRowTiles, int kColumnTiles, class End>
void MultiplyTiles(const TileRun& run, int32_t* sums, End& before) {
  constexpr int32_t kWidth = kColumnTiles * kTileSide;
  constexpr ptrdiff_t kSumsStride = kWidth * sizeof(int32_t), kWeightStride = kWidth * kGroup;
  LoadTile<0>(run.bias, 0);
  if constexpr (kColumnTiles == 2) LoadTile<1>(run.bias + kTileSide, 0);
  if constexpr (kRowTiles == 2) LoadTile<2>(run.bias, 0);
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) LoadTile<3>(run.bias + kTileSide, 0);
  const int8_t *weights = run.weights, *ahead = run.ahead;
  before.Cut(run.segments * ((run.k_groups + kTileSide - 1) / kTileSide));
  SegmentStart start(run);
  for (int32_t segment = 0; segment < run.segments; ++segment, start.Next()) {
    const uint8_t* a = run.a + start.at();
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
      before.Piece();
    }
  }
  StoreTile<0>(sums, kSumsStride);
  if constexpr (kColumnTiles == 2) StoreTile<1>(sums + kTileSide, kSumsStride);
  if constexpr (kRowTiles == 2) StoreTile<2>(sums + kTileSide * kWidth, kSumsStride);
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) StoreTile<3>(sums + kTileSide * kWidth + kTileSide, kSumsStride);
}

/// `before`, the end of another tile, gets pieces done meanwhile.
template <class End>
SIGRUN_INLINE void RunTile(const TileRun& run, int32_t rows, int32_t width, int32_t* sums, End& before) {
  if (rows <= kFewRows) {
    RunRegisterTile<kFewRows>(run, rows, width, sums);
  } else if (width == 2 * kTileSide) {
    rows > kTileSide ? MultiplyTiles<2, 2>(run, sums, before) : MultiplyTiles<1, 2>(run, sums, before);
  } else {
    rows > kTileSide ? MultiplyTiles<2, 1>(run, sums, before) : MultiplyTiles<1, 1>(run, sums, before);
  }
}

struct NoEnd {
  SIGRUN_INLINE void Cut(int32_t) {}
  SIGRUN_INLINE void Piece() {}
};
SIGRUN_INLINE void RunTile(const TileRun& run, int32_t rows, int32_t width, int32_t* sums) {
  NoEnd none;
  RunTile(run, rows, width, sums, none);
}

}  // namespace
}  // namespace sigrun::kernels
