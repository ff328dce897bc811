#pragma once

#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {

/// A quantised ADD of a and b to y within `range`, without its linear form; for SUB the same.
kernels::AddI8Params QuantizedSum(Prepare::Affine a, Prepare::Affine b, Prepare::Affine y, int32_t left_shift, QuantizedRange range);

/// The linear form that equals an 8-bit ADD, or SUB, for all pairs of bytes; it does not hold if there is none. What two roundings of the
/// operands and one of the result make of a pair differs from a linear form in a few pairs at most, and an addend that suits these as well
/// is mostly found.
kernels::LinearI8 FindLinearSum(const kernels::AddI8Params& params, bool is_unsigned);

}  // namespace sigrun::ops
