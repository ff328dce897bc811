#pragma once

#include "kernels/common/bf16.h"
#include "kernels/common/sums_f32.h"
#include "kernels/common/tile_bf16.h"

// bfloat16 products by the tile unit, over the vocabulary of tiles.h: 2 x 2 tiles of sums, so that each tile loaded is used twice, and as
// many independent sums as hide the unit's latency. Rows beyond the last and columns beyond a panel are computed and not stored.
// Trick: the products of several parts are walked in a path on which mostly one operand changes, a unit of k at a time: 14 loads of tiles
// for the 24 products of three parts. An infinity, whose lesser parts are NaN, and a 0, whose product with it is, are found in the sums,
// and those tiles are taken once more from the greatest parts alone, whose sums are right wherever they are not finite. A tile's sums are
// stored, with all that an epilogue does, piece by piece between the products of the next. Count: a product of tiles takes the unit 16
// cycles, an FMA of as many numbers 256 with two ports. Six products of three parts are thus 2.7 times faster than float32, which
// Winograd's transformation with FMA is too.
namespace sigrun::kernels {
namespace {

constexpr int kGroupBf16 = 2;
constexpr int32_t kDepthUnit = 32;  // elements of k in a tile of A
constexpr int32_t kTileSide = 16;
constexpr int32_t kPanelBf16 = 2 * kTileSide, kLeastPanelBf16 = kTileSide;
constexpr int32_t kTileRowsBf16 = 2 * kTileSide;
constexpr int32_t kRowsInPlace = kTileSide;  // tiles of A are read as wholes
constexpr bool kPartsByUnits = true;
struct ThreeParts {
  static constexpr bool kTaken = true;
  static SIGRUN_INLINE void SplitRow(const float* x, int32_t n, Bf16* to, ptrdiff_t part_stride) { SplitRowInThree(x, n, to, part_stride); }
  static SIGRUN_INLINE void PackRows(const float* rows, ptrdiff_t stride, int32_t width, Bf16* to, ptrdiff_t part_stride) {
    PackRowsInThree(rows, stride, width, to, part_stride);
  }
  /// 16 rows of 16 pairs become columns; rows lie `to_stride` elements apart then.
  static SIGRUN_INLINE void TurnPairs(const Bf16* rows, Bf16* to, ptrdiff_t to_stride) { TurnRowsOfPairs(rows, to, to_stride); }
};
constexpr int32_t kBlockElements = 512 << 10;  // of a block of A: 1 MiB of an L2 of 2 MiB

template <int kParts>
struct PartPath;
template <>
struct PartPath<1> {
  static constexpr PartPair kSteps[] = {{0, 0}};
};
template <>
struct PartPath<2> {
  static constexpr PartPair kSteps[] = {{1, 0}, {0, 0}, {0, 1}};
};
template <>
struct PartPath<3> {
  static constexpr PartPair kSteps[] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}};
};

/// Where the tiles of a unit of k stand.
struct TileUnits {
  const Bf16 *a, *b;
  ptrdiff_t row_bytes, part_rows, part_weights;
};

// Sums in tiles 0 to 3, row by row; A in 4 and 5, B in 6 and 7.
template <int kRowTiles, int kColumnTiles, int kParts, int kStep = 0>
SIGRUN_INLINE void MultiplyUnit(const TileUnits& at) {
  constexpr int kSteps = sizeof(PartPath<kParts>::kSteps) / sizeof(PartPair);
  if constexpr (kStep < kSteps) {
    constexpr PartPair pair = PartPath<kParts>::kSteps[kStep], before = PartPath<kParts>::kSteps[kStep > 0 ? kStep - 1 : 0];
    constexpr bool kLoadA = kStep == 0 || pair.rows != before.rows, kLoadB = kStep == 0 || pair.weights != before.weights;
    constexpr ptrdiff_t kPairBytes = kColumnTiles * kTileSide * 2 * sizeof(Bf16);
    const Bf16 *a = at.a + pair.rows * at.part_rows, *b = at.b + pair.weights * at.part_weights;
    if constexpr (kLoadA) LoadTile<4>(a, at.row_bytes);
    if constexpr (kLoadB) LoadTile<6>(b, kPairBytes);
    DotBf16<0, 4, 6>();
    if constexpr (kColumnTiles == 2) {
      if constexpr (kLoadB) LoadTile<7>(b + 2 * kTileSide, kPairBytes);
      DotBf16<1, 4, 7>();
    }
    if constexpr (kRowTiles == 2) {
      if constexpr (kLoadA) LoadTile<5>(a + kTileSide * at.row_bytes / static_cast<ptrdiff_t>(sizeof(Bf16)), at.row_bytes);
      DotBf16<2, 5, 6>();
      if constexpr (kColumnTiles == 2) DotBf16<3, 5, 7>();
    }
    MultiplyUnit<kRowTiles, kColumnTiles, kParts, kStep + 1>(at);
  }
}

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/finish_bf16.h"

namespace sigrun::kernels {
namespace {

// The products of the kParts greatest kinds, summed over all units of k: rows of floats. between() is called after every unit.
template <int kParts, int kRowTiles, int kColumnTiles, class Between>
SIGRUN_INLINE void MultiplyTiles(const TileBf16& t, float* products, const Between& between) {
  constexpr int32_t kStride = kColumnTiles * kTileSide;
  constexpr ptrdiff_t kStrideBytes = kStride * sizeof(float);
  ZeroTile<0>();
  if constexpr (kColumnTiles == 2) ZeroTile<1>();
  if constexpr (kRowTiles == 2) ZeroTile<2>();
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) ZeroTile<3>();
  TileUnits at = {t.rows, t.weights, t.row_stride * static_cast<ptrdiff_t>(sizeof(Bf16)), t.part_stride, t.weights_part_stride};
  const std::byte* ahead = t.ahead;
  const ptrdiff_t ahead_bytes = kDepthUnit / kDepthAhead * t.ahead_bytes;
  for (int32_t k = 0; k < t.depth; k += kDepthUnit, at.a += kDepthUnit, at.b += t.parts * kDepthUnit * kStride) {
    for (ptrdiff_t i = 0; i < ahead_bytes; i += kLine) __builtin_prefetch(ahead + i, 0, 2);
    ahead += ahead_bytes;
    MultiplyUnit<kRowTiles, kColumnTiles, kParts>(at);
    between();
  }
  StoreTile<0>(products, kStrideBytes);
  if constexpr (kColumnTiles == 2) StoreTile<1>(products + kTileSide, kStrideBytes);
  if constexpr (kRowTiles == 2) StoreTile<2>(products + kTileSide * kStride, kStrideBytes);
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) StoreTile<3>(products + kTileSide * kStride + kTileSide, kStrideBytes);
}

constexpr int32_t kMostProducts = kTileRowsBf16 * kPanelBf16;

SIGRUN_INLINE bool AllFinite(const float* x, int32_t n) {
  const F32 zero = Set1(0.0f);
  F32 sum[4] = {zero, zero, zero, zero};
  int32_t i = 0;
  for (; i + 4 * F32::lanes <= n; i += 4 * F32::lanes) {
    SIGRUN_UNROLL
    for (int j = 0; j < 4; ++j) sum[j] = Fma(Load(x + i + j * F32::lanes), zero, sum[j]);
  }
  for (; i < n; i += F32::lanes) sum[0] = Fma(Load(x + i), zero, sum[0]);
  return ReduceAdd((sum[0] + sum[1]) + (sum[2] + sum[3])) == 0.0f;
}

template <int kRowTiles, int kColumnTiles>
[[gnu::noinline]] void TakeGreatestParts(const TileBf16& t, float* products) {
  alignas(64) float greatest[kMostProducts];
  MultiplyTiles<1, kRowTiles, kColumnTiles>(t, greatest, [] {});
  for (int32_t i = 0; i < kRowTiles * kColumnTiles * kTileSide * kTileSide; ++i) {
    if (!(__builtin_fabsf(greatest[i]) < kInfinity)) products[i] = greatest[i];
  }
}

/// The tile that ran last: its products become sums in pieces, while those of the next are made.
class UnfinishedTile {
 public:
  SIGRUN_INLINE UnfinishedTile() {}
  template <int kParts, int kRowTiles, int kColumnTiles>
  void Run(const TileBf16& t, int32_t height) {
    Check();
    float* products = products_[next_];
    next_ = 1 - next_;
    const int32_t units = t.depth / kDepthUnit, piece = units == 0 ? rows_ : (rows_ + units - 1) / units;
    MultiplyTiles<kParts, kRowTiles, kColumnTiles>(t, products, [this, piece] { Piece(piece > kLeastPiece ? piece : kLeastPiece); });
    Piece(rows_);
    from_ = products;
    stride_ = kColumnTiles * kTileSide;
    rows_ = height;
    tile_ = t;
    if constexpr (kParts > 1) {
      unchecked_ = height * stride_;  // what is beyond may be anything
      again_ = TakeGreatestParts<kRowTiles, kColumnTiles>;
    }
  }
  void Finish() {
    Check();
    Piece(rows_);
  }

 private:
  static constexpr int32_t kLeastPiece = 4;
  // Before the unit has other work.
  SIGRUN_INLINE void Check() {
    if (unchecked_ > 0 && !AllFinite(from_, unchecked_)) again_(tile_, from_);
    unchecked_ = 0;
  }
  [[gnu::noinline]] void Piece(int32_t most) {
    const int32_t rows = most < rows_ ? most : rows_;
    if (rows == 0) return;
    FinishTile(tile_, from_, stride_, rows);
    from_ += rows * stride_;
    rows_ -= rows;
    const ptrdiff_t step = rows * tile_.sums.output_stride;
    if (tile_.sums.output != nullptr) tile_.sums.output += step;
    if (tile_.output != nullptr) tile_.output += step;
    if (tile_.residual != nullptr) tile_.residual += step;
    if (tile_.bf16_residual != nullptr) tile_.bf16_residual += step;
  }
  float* from_ = nullptr;
  int32_t stride_ = 0, rows_ = 0, next_ = 0, unchecked_ = 0;
  void (*again_)(const TileBf16&, float*) = nullptr;
  TileBf16 tile_;
  alignas(64) float products_[2][kMostProducts];
};

template <int kParts>
SIGRUN_INLINE void RunTilesOfParts(const TileBf16& t, int32_t height, int32_t width, UnfinishedTile& to) {
  if (width == kPanelBf16) {
    height > kTileSide ? to.Run<kParts, 2, 2>(t, height) : to.Run<kParts, 1, 2>(t, height);
  } else {
    height > kTileSide ? to.Run<kParts, 2, 1>(t, height) : to.Run<kParts, 1, 1>(t, height);
  }
}

SIGRUN_INLINE int32_t TileHeight(int32_t rows) { return rows < kTileRowsBf16 ? rows : kTileRowsBf16; }
SIGRUN_INLINE int32_t PanelsAtOnceBf16(int32_t, int32_t) { return 1; }

SIGRUN_INLINE void RunTileBf16(const TileBf16& t, int32_t height, int32_t width, int32_t, UnfinishedTile& to) {
  switch (t.parts) {
    case 1: return RunTilesOfParts<1>(t, height, width, to);
    case 2: return RunTilesOfParts<2>(t, height, width, to);
    default: return RunTilesOfParts<3>(t, height, width, to);
  }
}

}  // namespace
}  // namespace sigrun::kernels
