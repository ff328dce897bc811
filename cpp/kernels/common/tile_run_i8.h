#pragma once

#include <cstddef>
#include <cstdint>

namespace sigrun::kernels {
namespace {

struct TileEnd;
struct FloatEnd;

/// What a tile multiplies: rows of activations `a_stride` bytes apart by a panel of weights [k group][width][kGroup]. k may lie in several
/// segments of k_groups, `segment_step` bytes apart in a.
struct TileRun {
  const uint8_t* a;
  ptrdiff_t a_stride;
  const int8_t* weights;
  const int32_t* bias;
  int32_t k_groups;
  int32_t segments = 1;
  bool has_least = false;  // a weight is -128, where kTellsLeast
  ptrdiff_t segment_step = 0;
  bool narrow = false;  // the panel is one vector, of which the first half is used
  /// Weights that are wanted soon, of which a tile may ask for a line with every group, `ahead_step` bytes after the one before.
  const int8_t* ahead = nullptr;
  ptrdiff_t ahead_step = 0;
  /// If not null, how a tile that can makes bytes of its sums, which are then not stored, and where.
  const TileEnd* end = nullptr;
  uint8_t* out = nullptr;
  const int8_t* residual = nullptr;  // what `end` adds to the bytes, laid out as `out`
  const FloatEnd* float_end = nullptr;  // the same for floats
};

/// Whether a tier's dot_i8.h asks for TileRun's has_least.
template <class Activation>
constexpr bool kTellsLeast = false;

/// Where a tier's tiles read rows faster in an order of its own, its dot_i8.h says so for its Activation: Pack(run, rows, to) packs the rows of
/// a tile and returns what is behind them, Run(run, rows, count, sums) multiplies `count` such tiles that follow each other, as Tile does.
template <class Activation>
struct RowPacker {
  static constexpr bool kUsed = false;
};

/// Where a tier multiplies half a vector faster, its dot_i8.h says how for its Weights: Start(bias), Dot(sums, activations, weights) and
/// Widen(sums), over Sums.
template <class Weights>
struct HalfVector {
  static constexpr bool kUsed = false;
};

}  // namespace
}  // namespace sigrun::kernels
