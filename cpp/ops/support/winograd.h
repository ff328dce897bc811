#pragma once

#include <optional>

#include "ops/support/gemm.h"

// Float convolutions by Winograd's transformations: a 3x3 window by F(4x4, 3x3) or F(2x2, 3x3), 36 multiplications for sixteen pixels of
// the output instead of 144, or 16 for four instead of 36; a window of one line by F(4, 3), F(3, 4) or F(2, 5), six for 4, 3 or 2 pixels
// instead of 12, 12 or 10. The error is of the order of that of the plain sums, which the points of kernels/common/winograd_transform.h are
// chosen for.
namespace sigrun::ops {

/// How a convolution is transformed.
struct WinogradForm {
  kernels::ConvShape shape;
  int32_t m = 0;     // m x m pixels of a tile, or ...
  int32_t taps = 0;  // ... so many taps of a part of a line; 0: squares
  int32_t points, tiles;
  int32_t depth;  // channels of a transformed tile
};

/// The form in which the convolution is faster than directly, if there is one.
std::optional<WinogradForm> ChooseWinograd(const Prepare& p, const Gemm& gemm);

void EmitWinogradF32(Prepare& p, const Gemm& gemm, const WinogradForm& form);

}  // namespace sigrun::ops
