#pragma once

#include "ops/op.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {

inline Prepare::Affine CheckZeroPoint(const Prepare& p, Prepare::Affine affine, TensorType type, const char* operand) {
  const QuantizedRange range = TypeRange(type);
  p.Check(affine.zero_point >= range.min && affine.zero_point <= range.max, "the zero point ", affine.zero_point, " of its ", operand,
          " is no ", TensorTypeName(type));
  return affine;
}

/// Prepare::affine of an 8- or 16-bit operand whose zero point is a value of its type, so that differences from it cannot overflow.
inline Prepare::Affine InputAffine(const Prepare& p, int i) { return CheckZeroPoint(p, p.affine(i), p.type(i), "input"); }
inline Prepare::Affine OutputAffine(const Prepare& p, int o) { return CheckZeroPoint(p, p.output_affine(o), p.output_type(o), "output"); }

}  // namespace sigrun::ops
