#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"

namespace sigrun::kernels {
namespace {

struct TileEnd;
struct FloatEnd;

/// What a tile multiplies: rows of activations `a_stride` bytes apart by a panel of weights [k group][width][kGroup]. k may lie in several
/// segments of k_groups, `segment_step` bytes apart in a, and `line_step` more after each line_segments of them, if these are not 0.
struct TileRun {
  const uint8_t* a;
  ptrdiff_t a_stride;
  ptrdiff_t half_step;  // from the first row of a tile of all rows to that in its middle, where kTakesTwoLines
  const int8_t* weights;
  const int32_t* bias;
  int32_t k_groups;
  int32_t segments = 1;
  bool has_least = false;  // a weight is -128, where kTellsLeast
  ptrdiff_t segment_step = 0;
  int32_t line_segments = 0;
  ptrdiff_t line_step = 0;
  bool flips = false;  // where kFlipsBytes: the top bit of bytes is wanted the other way round
  int32_t pairs = 0;   // if not 0, the panel is so many vectors of pairs of groups, see GroupPairs
  /// Weights that are wanted soon, of which a tile may ask for a line with every group, `ahead_step` bytes after the one before.
  const int8_t* ahead = nullptr;
  ptrdiff_t ahead_step = 0;
  /// If not null, how a tile that can makes bytes of its sums, which are then not stored, and where.
  const TileEnd* end = nullptr;
  uint8_t* out = nullptr;
  const int8_t* residual = nullptr;     // what `end` adds to the bytes, laid out as `out`
  const FloatEnd* float_end = nullptr;  // the same for floats
};

/// Where the segments of a run begin, one after the other.
class SegmentStart {
 public:
  SIGRUN_INLINE explicit SegmentStart(const TileRun& run) : run_(run), left_(run.line_segments) {}
  SIGRUN_INLINE ptrdiff_t at() const { return at_; }
  /// Returns how far it is to the next one.
  SIGRUN_INLINE ptrdiff_t Next() {
    ptrdiff_t step = run_.segment_step;
    if (--left_ == 0) {
      step += run_.line_step;
      left_ = run_.line_segments;
    }
    at_ += step;
    return step;
  }

 private:
  const TileRun& run_;
  ptrdiff_t at_ = 0;
  int32_t left_;
};

/// Whether a tier's dot_i8.h asks for TileRun's has_least.
template <class Activation>
constexpr bool kTellsLeast = false;

/// Whether the second half of the rows of a tier's tiles of all rows may stand anywhere.
template <class Activation>
constexpr bool kHalvesApart = false;

/// Whether a tier's tiles of all rows flip bytes that they read, by Flipped(Broadcasted).
template <class Activation>
constexpr bool kFlipsBytes = false;

/// Where a tier's tiles read rows faster in an order of its own, its dot_i8.h says so for its Activation: Pack(run, rows, to) packs the
/// rows of a tile and returns what is behind them, Run(run, rows, count, sums) multiplies `count` such tiles that follow each other, as
/// Tile does.
template <class Activation>
struct RowPacker {
  static constexpr bool kUsed = false;
};

/// Where a tier has a way of its own to multiply a single row, its dot_i8.h says so for its Activation: Run(run, count, bytes, sums)
/// multiplies it by `count` whole panels, the first of which is the run's and each of which takes so many bytes. The run moves on.
template <class Activation>
struct RowPanels {
  static constexpr bool kUsed = false;
};

/// Where loads of activations limit tiles of one vector, a tier's dot_i8.h says for its Activation how two groups are loaded as one: a
/// vector of a panel is half as many channels, each with two groups, [channel][2 * kGroup]. Load(a) repeats two groups, Joined(a, b) adds
/// the two sums of each channel.
template <class Activation>
struct GroupPairs {
  static constexpr bool kUsed = false;
};

}  // namespace
}  // namespace sigrun::kernels
