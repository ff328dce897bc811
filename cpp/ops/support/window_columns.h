#pragma once

#include "ops/support/gemm.h"

// Float convolutions of so few output channels that most lanes of a vector would idle: heads that make images or masks. The columns of the
// window are taken for output channels of a convolution with a window of one column; a pixel then is the sum of its neighbours' columns.
namespace sigrun::ops {

/// True if the convolution can be run so, and is faster for it.
bool SuitsWindowColumns(const Prepare& p, const Gemm& gemm);

void EmitWindowColumnsF32(Prepare& p, const Gemm& gemm);

}  // namespace sigrun::ops
