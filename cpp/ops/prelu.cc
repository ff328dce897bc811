#include <algorithm>

#include "ops/op.h"
#include "ops/support/affine.h"
#include "ops/support/broadcast.h"
#include "ops/support/fixed_point.h"
#include "ops/support/quantization.h"

// PRELU: below zero the element times a slope that broadcasts to the input.
namespace sigrun::ops {
namespace {

template <class T>
void EmitQuantized(Prepare& p) {
  const Prepare::Affine in = InputAffine(p, 0), slope = InputAffine(p, 1), out = OutputAffine(p, 0);
  const FixedPoint identity = QuantizeMultiplier(static_cast<double>(in.scale / out.scale));
  const FixedPoint product = QuantizeMultiplier(static_cast<double>(in.scale * slope.scale / out.scale));
  const QuantizedRange range = TypeRange(p.type(0));
  EmitBinaryTable8<T>(p, 8, [=](T x, T a) {
    const int32_t value = x - in.zero_point;
    const int32_t scaled = value >= 0 ? ScaleBy(value, identity.multiplier, identity.shift)
                                      : ScaleBy(value * (a - slope.zero_point), product.multiplier, product.shift);
    return static_cast<T>(std::clamp(kernels::WrapAdd(scaled, out.zero_point), range.min, range.max));
  });
}

void PreparePrelu(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(0, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  p.Check(BroadcastShapes(p, p.shape(0), p.shape(1)) == p.shape(0), "slopes of shape ", ToString(p.shape(1)), " for an input of shape ",
          ToString(p.shape(0)));
  if (p.type(0) == TensorType::kInt8) return EmitQuantized<int8_t>(p);
  if (p.type(0) == TensorType::kUInt8) return EmitQuantized<uint8_t>(p);
  EmitBinaryF32(p, kernels::Binary::kPrelu);
}

constexpr OpDef kOps[] = {
    {.name = "PRELU", .prepare = PreparePrelu},
};

}  // namespace

std::span<const OpDef> prelu_ops() { return kOps; }

}  // namespace sigrun::ops
