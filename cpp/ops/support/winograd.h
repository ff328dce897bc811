#pragma once

#include "ops/support/gemm.h"

// Float convolutions with a 3x3 window by Winograd's F(4x4, 3x3) or F(2x2, 3x3): 36 multiplications for sixteen pixels of the output
// instead of 144, or 16 for four instead of 36. The error is of the order of that of the plain sums: against float64 at most 1.5 times as
// large, which the points of kernels/common/winograd_transform.h are chosen for.
namespace sigrun::ops {

/// True if the convolution can be run so, and is faster for it.
bool SuitsWinograd(const Prepare& p, const Gemm& gemm);

void EmitWinogradF32(Prepare& p, const Gemm& gemm);

}  // namespace sigrun::ops
