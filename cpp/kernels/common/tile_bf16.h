#pragma once

#include "kernels/common/bf16.h"
#include "kernels/common/sums_f32.h"

// What a tier's bfloat16 tiles and the loops around them agree on.
namespace sigrun::kernels {
namespace {

/// Adds to a tile's sums the products of rows of A and of a panel, or of several panels side by side, over `depth` elements of k.
struct TileBf16 {
  const Bf16* rows;  // of A, the first part's first
  ptrdiff_t row_stride, part_stride;
  const Bf16* weights;  // the first part's first
  ptrdiff_t weights_part_stride, weights_panel_stride;
  int32_t parts;
  int32_t depth;           // a multiple of kDepthUnit
  const std::byte* ahead;  // bytes to have in L2 soon, from here on ...
  ptrdiff_t ahead_bytes;   // ... so many in every kDepthAhead of k
  Sums sums;
  // Where operands are bfloat16, these are in the place of those of `sums`.
  Bf16* output;
  const float* residual;
  const Bf16* bf16_residual;
  SIGRUN_INLINE bool is_plain() const { return output == nullptr && residual == nullptr && bf16_residual == nullptr; }
};

/// The products of parts that are added, in this order: the least first. With one part, only the last.
struct PartPair {
  int rows, weights;
};
constexpr PartPair kPartPairs[] = {{1, 0}, {0, 1}, {0, 0}};

/// How a tier splits numbers in three parts; this one takes none.
struct NoThreeParts {
  static constexpr bool kTaken = false;
};

constexpr int32_t kDepthAhead = 8;

SIGRUN_INLINE int FirstPartPair(int32_t parts) { return parts == 1 ? 2 : 0; }

}  // namespace
}  // namespace sigrun::kernels
