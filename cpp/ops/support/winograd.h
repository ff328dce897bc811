#pragma once

#include "ops/support/gemm.h"

// Float convolutions with a 3x3 window by Winograd's F(2x2, 3x3): 16 multiplications for four pixels of the output instead of 36, with
// errors of the same order as those of the plain sums.
namespace sigrun::ops {

/// True if the convolution can be run so, and is faster for it.
bool SuitsWinograd(const Prepare& p, const Gemm& gemm);

void EmitWinogradF32(Prepare& p, const Gemm& gemm);

}  // namespace sigrun::ops
