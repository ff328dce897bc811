#include <algorithm>

#include "ops/op.h"
#include "ops/support/affine.h"
#include "ops/support/broadcast.h"
#include "ops/support/fixed_point.h"
#include "ops/support/quantization.h"

// PRELU: below zero the element times a slope that broadcasts to the input. INT16 elements have INT8 slopes.
namespace sigrun::ops {
namespace {

template <class T>
struct Prelu {
  Prepare::Affine in, slope, out;
  FixedPoint identity, product;
  QuantizedRange range;

  explicit Prelu(const Prepare& p)
      : in(InputAffine(p, 0)),
        slope(InputAffine(p, 1)),
        out(OutputAffine(p, 0)),
        identity(QuantizeMultiplier(static_cast<double>(in.scale / out.scale))),
        product(QuantizeMultiplier(static_cast<double>(in.scale * slope.scale / out.scale))),
        range(TypeRange(p.type(0))) {}

  T operator()(T x, int32_t a) const {
    const int32_t value = x - in.zero_point;
    const int32_t scaled = value >= 0 ? ScaleBy(value, identity.multiplier, identity.shift)
                                      : ScaleBy(value * (a - slope.zero_point), product.multiplier, product.shift);
    return static_cast<T>(std::clamp(kernels::WrapAdd(scaled, out.zero_point), range.min, range.max));
  }
};

// Both sides of 0 as products, the upper one by 1, of which each element takes its own: so it is vectors all along.
template <class T>
struct PreluRun {
  using Multiply = void (*)(const T*, const T*, T*, size_t, const kernels::MulI8Params&, kernels::Operands);
  Multiply multiply;
  kernels::MulI8Params above, below;

  PreluRun(const Prelu<T>& prelu, Multiply kernel) : multiply(kernel) {
    const auto params = [&](const FixedPoint& factor, int32_t b_offset) {
      return kernels::MulI8Params{-prelu.in.zero_point, b_offset,        prelu.out.zero_point, factor.multiplier,
                                  factor.shift,         prelu.range.min, prelu.range.max};
    };
    above = params(prelu.identity, 0);
    below = params(prelu.product, -prelu.slope.zero_point);
  }

  void operator()(const T* x, const T* slopes, T* y, size_t n, kernels::Operands operands) const {
    constexpr size_t kBlock = 1024;
    constexpr T kOne = 1;
    const T zero = static_cast<T>(-above.a_offset);
    T upper[kBlock], lower[kBlock];
    for (size_t first = 0; first < n; first += kBlock) {
      const size_t count = std::min(kBlock, n - first);
      multiply(x + first, &kOne, upper, count, above, kernels::Operands::kVectorScalar);
      multiply(x + first, operands == kernels::Operands::kVectorVector ? slopes + first : slopes, lower, count, below, operands);
      for (size_t i = 0; i < count; ++i) y[first + i] = x[first + i] >= zero ? upper[i] : lower[i];
    }
  }
};

template <class T>
void EmitQuantized(Prepare& p, typename PreluRun<T>::Multiply kernel) {
  const Prelu<T> prelu(p);
  const auto takes = [](const FixedPoint& factor) { return factor.shift >= -31 && factor.shift < 31; };
  if (!takes(prelu.identity) || !takes(prelu.product)) return EmitBinaryOp<T, T>(p, 8, prelu);
  const PreluRun<T> compute(prelu, kernel);
  EmitBinary<T, T>(p, 1, [=](const T* x, const T* slopes, T* y, size_t n, kernels::Operands operands) {
    if (operands != kernels::Operands::kScalarVector) return compute(x, slopes, y, n, operands);
    for (size_t i = 0; i < n; ++i) y[i] = prelu(*x, slopes[i]);
  });
}

// INT16 slopes LiteRT reads as the INT8 ones that they begin with.
void EmitQuantized16(Prepare& p) {
  p.SetShape(0, p.shape(0));
  p.Emit([prelu = Prelu<int16_t>(p), plan = PlanBroadcast(p, {p.shape(0), p.shape(1)}, p.shape(0)), in = p.in(0), slopes = p.in(1),
          out = p.out(0)](RunContext& run) noexcept {
    ForRuns(run, plan, 8, [&](const Offsets& at, int64_t to, int64_t n) {
      const int16_t* x = run.get<int16_t>(in) + at[0];
      const int8_t* a = run.get<int8_t>(slopes) + at[1];
      int16_t* y = run.get<int16_t>(out) + to;
      for (int64_t i = 0; i < n; ++i) y[i] = prelu(x[plan.fixed[0] ? 0 : i], a[plan.fixed[1] ? 0 : i]);
    });
  });
}

void PreparePrelu(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(0, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  p.CheckType(1, {p.type(0), p.type(0) == TensorType::kInt16 ? TensorType::kInt8 : p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  p.Check(BroadcastShapes(p, p.shape(0), p.shape(1)) == p.shape(0), "slopes of shape ", ToString(p.shape(1)), " for an input of shape ",
          ToString(p.shape(0)));
  if (p.type(0) == TensorType::kInt8) return EmitQuantized<int8_t>(p, p.kernels().mul_i8);
  if (p.type(0) == TensorType::kUInt8) return EmitQuantized<uint8_t>(p, p.kernels().mul_u8);
  if (p.type(0) == TensorType::kInt16) return EmitQuantized16(p);
  EmitBinaryF32(p, kernels::Binary::kPrelu);
}

constexpr OpDef kOps[] = {
    {.name = "PRELU", .prepare = PreparePrelu, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> prelu_ops() { return kOps; }

}  // namespace sigrun::ops
