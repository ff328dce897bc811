#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "model/schema.h"
#include "ops/op.h"

// Quantised arithmetic as LiteRT's reference prepares it.
namespace sigrun::ops {

/// real ~ multiplier * 2^(shift - 31), multiplier in [2^30, 2^31) or 0. As TFLite's QuantizeMultiplier: the mantissa is rounded half away
/// from zero, shifts below -31 give 0.
struct FixedPoint {
  int32_t multiplier;
  int32_t shift;
};
FixedPoint QuantizeMultiplier(double real);

/// The bounds of a fused activation; infinities for none. Throws for TANH and SIGN_BIT, which no kernel fuses.
kernels::ClampF32 ActivationClamp(const Prepare& p);
/// What bounds the elements of float input i.
kernels::ClampF32 InputBounds(const Prepare& p, int i);

/// The bounds of a fused activation in the quantised domain of output `o` (INT8, UINT8 or INT16), never wider than the type.
struct QuantizedRange {
  int32_t min;
  int32_t max;
};
QuantizedRange QuantizedActivationRange(const Prepare& p, int o);
/// The same of an activation on numbers of a type.
QuantizedRange ActivationRange(const Prepare& p, schema::Activation activation, TensorType type, Prepare::Affine affine);

/// Numeric limits of an 8- or 16-bit quantised type.
QuantizedRange TypeRange(TensorType type);

}  // namespace sigrun::ops
