#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "ops/op.h"
#include "ops/support/affine.h"
#include "ops/support/elements.h"
#include "ops/support/fixed_point.h"
#include "ops/support/integer.h"
#include "ops/support/lookup.h"
#include "ops/support/quantization.h"

// Functions of one operand: float32 through the kernels, 8-bit through a table that holds what LiteRT's reference computes.
namespace sigrun::ops {
namespace {

using kernels::Unary;

void CheckUnary(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
}

bool Is8Bit(TensorType type) { return type == TensorType::kInt8 || type == TensorType::kUInt8; }

[[noreturn]] void RefuseType(const Prepare& p) {
  p.Refuse(StatusCode::kUnimplemented, Concat("an input of type ", TensorTypeName(p.type(0))));
}

void EmitF32(Prepare& p, Unary op) {
  p.MayOverwrite(0, 0);
  p.Emit([n = p.elements(0), kernel = p.kernels().unary_f32[static_cast<size_t>(op)], x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const float* from = run.get<float>(x);
    float* to = run.get<float>(y);
    ForElements(run, n, 16, [&](int64_t begin, int64_t count) { kernel(from + begin, to + begin, static_cast<size_t>(count)); });
  });
}

template <class T, class F>
void EmitPlain(Prepare& p, F f) {
  p.MayOverwrite(0, 0);
  p.Emit([f, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const T* from = run.get<T>(x);
    T* to = run.get<T>(y);
    ForElements(run, n, 1, [&](int64_t begin, int64_t count) {
      for (int64_t i = begin; i < begin + count; ++i) to[i] = f(from[i]);
    });
  });
}

template <Unary kOp>
void PrepareF32(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) != TensorType::kFloat32) RefuseType(p);
  EmitF32(p, kOp);
}

// Functions whose 8-bit form is a table of the real function.
template <Unary kOp>
float Real(float x) {
  switch (kOp) {
    case Unary::kTanh: return std::tanh(x);
    case Unary::kLogistic: return 1.0f / (1.0f + std::exp(-x));
    case Unary::kExp: return std::exp(x);
    case Unary::kElu: return x < 0.0f ? std::expm1(x) : x;
    // Where there is no logarithm the result is the least that the output's type has.
    case Unary::kLog: return x <= 0.0f ? -std::numeric_limits<float>::infinity() : std::log(x);
    default: return x;
  }
}

template <Unary kOp>
void PrepareReal(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, kOp);
  if (!Is8Bit(p.type(0))) RefuseType(p);
  EmitLookup8(p, MakeRealTable8(p, Real<kOp>));
}

// --- ABS, NEG, SIGN, RSQRT ---

void PrepareAbs(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, Unary::kAbs);
  if (p.type(0) == TensorType::kInt32) return EmitPlain<int32_t>(p, [](int32_t x) { return x < 0 ? WrappingNeg(x) : x; });
  if (p.type(0) == TensorType::kInt64) return EmitPlain<int64_t>(p, [](int64_t x) { return x < 0 ? WrappingNeg(x) : x; });
  if (p.type(0) != TensorType::kInt8) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const bool rescale = in.scale != out.scale;
  const FixedPoint m = QuantizeMultiplier(static_cast<double>(in.scale / out.scale));
  EmitLookup8(p, MakeTable8(p.type(0), [&](int32_t x) {
                const int32_t magnitude = std::abs(x - in.zero_point);
                const int32_t y = rescale ? ScaleBy(magnitude, m.multiplier, m.shift) : magnitude;
                return std::clamp(kernels::WrapAdd(y, out.zero_point), -128, 127);
              }));
}

void PrepareNeg(Prepare& p) {
  CheckUnary(p);
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitF32(p, Unary::kNeg);
    case TensorType::kInt32: return EmitPlain<int32_t>(p, WrappingNeg<int32_t>);
    case TensorType::kInt64: return EmitPlain<int64_t>(p, WrappingNeg<int64_t>);
    // The stored numbers are negated: the reference knows no scale here.
    case TensorType::kInt16: return EmitPlain<int16_t>(p, WrappingNeg<int16_t>);
    case TensorType::kInt8: return EmitLookup8(p, MakeTable8(TensorType::kInt8, [](int32_t x) { return -x; }));
    default: RefuseType(p);
  }
}

template <class T>
T Sign(T x) {
  return static_cast<T>((x > 0) - (x < 0));
}

void PrepareSign(Prepare& p) {
  CheckUnary(p);
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitF32(p, Unary::kSign);
    case TensorType::kFloat64: return EmitPlain<double>(p, Sign<double>);
    case TensorType::kInt32: return EmitPlain<int32_t>(p, Sign<int32_t>);
    case TensorType::kInt64: return EmitPlain<int64_t>(p, Sign<int64_t>);
    default: RefuseType(p);
  }
}

// A step that reports an INT8 element below the zero point.
void EmitNegativeCheck(Prepare& p) {
  p.Emit([least = InputAffine(p, 0).zero_point, n = p.elements(0), x = p.in(0)](RunContext& run) noexcept {
    const int8_t* from = run.get<int8_t>(x);
    if (std::any_of(from, from + n, [&](int8_t v) { return v < least; })) run.Fail("the square root of a negative number");
  });
}

void PrepareSqrt(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, Unary::kSqrt);
  if (p.type(0) != TensorType::kInt8) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0), out = OutputAffine(p, 0);
  EmitNegativeCheck(p);
  EmitLookup8(p, MakeTable8(p.type(0), [&](int32_t x) {
                const float root = std::sqrt(static_cast<float>(std::max(x - in.zero_point, 0)) * in.scale);
                return std::clamp(kernels::WrapAdd(RoundToInt(std::trunc(root / out.scale)), out.zero_point), -128, 127);
              }));
}

void PrepareRsqrt(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, Unary::kRsqrt);
  if (p.type(0) != TensorType::kInt8) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const FixedPoint m = QuantizeMultiplier(1. / static_cast<double>(std::sqrt(in.scale) * out.scale));
  EmitNegativeCheck(p);
  EmitLookup8(p, MakeTable8(p.type(0), [&](int32_t x) {
                constexpr int kShift = 20;  // keeps the inverse root an integer
                if (x <= in.zero_point) return 127;
                int shift = 0;
                const int32_t root = InverseSqrt(x - in.zero_point, &shift);
                const int32_t scaled = ScaleBy(ScaleBy(1, root, shift + kShift), m.multiplier, m.shift - kShift);
                return std::clamp(kernels::WrapAdd(scaled, out.zero_point), -128, 127);
              }));
}

// --- rectifiers ---

void EmitQuantizedRelu(Prepare& p, float min, float max) {
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const FixedPoint m = QuantizeMultiplier(static_cast<double>(in.scale / out.scale));
  QuantizedRange range = TypeRange(p.type(0));
  const auto quantize = [&](float bound) {
    return static_cast<int32_t>(std::clamp<int64_t>(int64_t{RoundToInt(bound / out.scale)} + out.zero_point, range.min, range.max));
  };
  range = {quantize(min), std::isinf(max) ? range.max : quantize(max)};
  EmitLookup8(p, MakeTable8(p.type(0), [&](int32_t x) {
                return std::clamp(kernels::WrapAdd(ScaleBy(x - in.zero_point, m.multiplier, m.shift), out.zero_point), range.min,
                                  range.max);
              }));
}

template <Unary kOp>
void PrepareRelu(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, kOp);
  if (!Is8Bit(p.type(0))) RefuseType(p);
  switch (kOp) {
    case Unary::kRelu6: return EmitQuantizedRelu(p, 0.0f, 6.0f);
    case Unary::kReluN1To1: return EmitQuantizedRelu(p, -1.0f, 1.0f);
    case Unary::kRelu0To1: return EmitQuantizedRelu(p, 0.0f, 1.0f);
    default: return EmitQuantizedRelu(p, 0.0f, std::numeric_limits<float>::infinity());
  }
}

void PrepareLeakyRelu(Prepare& p) {
  CheckUnary(p);
  const float alpha = p.options().Scalar<float>(0);
  if (p.type(0) == TensorType::kFloat32) return EmitPlain<float>(p, [alpha](float x) { return x > 0 ? x : x * alpha; });
  if (!Is8Bit(p.type(0))) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const FixedPoint identity = QuantizeMultiplier(static_cast<double>(in.scale / out.scale));
  const FixedPoint slope = QuantizeMultiplier(static_cast<double>(in.scale * std::abs(alpha) / out.scale));
  const QuantizedRange range = TypeRange(p.type(0));
  EmitLookup8(p, MakeTable8(p.type(0), [&](int32_t x) {
                const int32_t value = x - in.zero_point;
                const FixedPoint& m = value >= 0 ? identity : slope;
                const int32_t scaled = ScaleBy(value, m.multiplier, m.shift);
                return std::clamp(kernels::WrapAdd(value < 0 && alpha < 0 ? kernels::WrapSub(0, scaled) : scaled, out.zero_point),
                                  range.min, range.max);
              }));
}

// --- HARD_SWISH in 16-bit fixed point ---

int32_t Saturate16(int32_t x) { return std::clamp(x, -32768, 32767); }

// The high half of 2ab, rounded half up.
int32_t HighMul16(int32_t a, int32_t b) { return a == -32768 && b == -32768 ? 32767 : (a * b + (1 << 14)) >> 15; }

int32_t To16Bit(int32_t multiplier) { return multiplier >= INT32_MAX - (1 << 15) ? 32767 : (multiplier + (1 << 15)) >> 16; }

struct HardSwish {
  int32_t input_zero_point, output_zero_point;
  int32_t output_multiplier, output_exponent;  // 1/128 of the input's scale over the output's
  int32_t relu_multiplier, relu_exponent;      // 1/128 of the input's scale over that on which 3 is 2^15
  QuantizedRange range;

  int32_t operator()(int32_t x) const {
    const int32_t hires = (x - input_zero_point) * (1 << 7);
    const int32_t preshift = HighMul16(hires, output_multiplier);
    int32_t relu = hires;
    if (relu_exponent > 0) relu = Saturate16(SaturatingShiftLeft(relu, std::min(relu_exponent - 1, 31)));
    relu = HighMul16(relu, relu_multiplier);
    if (relu_exponent > 0) relu = Saturate16(relu * 2);
    if (relu_exponent < 0) relu = kernels::RoundingDivideByPOT(relu, std::min(-relu_exponent, 31));
    relu = (relu + (1 << 15)) >> 1;  // from [-1, 1] to [0, 1]
    const int32_t product = relu == -32768 && preshift == -32768 ? 32767 : relu * preshift / (1 << 15);
    return std::clamp(kernels::RoundingDivideByPOT(product, std::min(-output_exponent, 31)) + output_zero_point, range.min, range.max);
  }
};

void PrepareHardSwish(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, Unary::kHardSwish);
  if (!Is8Bit(p.type(0))) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const float hires_scale = (1.0f / 128.0f) * in.scale;
  const FixedPoint output = QuantizeMultiplier(static_cast<double>(hires_scale / out.scale));
  const FixedPoint relu = QuantizeMultiplier(static_cast<double>(hires_scale / (3.0f / 32768.0f)));
  p.Check(output.shift <= 0, "the input's scale ", in.scale, " is more than 128 times the output's ", out.scale);
  const HardSwish f{in.zero_point, out.zero_point,      To16Bit(output.multiplier), output.shift, To16Bit(relu.multiplier),
                    relu.shift,    TypeRange(p.type(0))};
  EmitLookup8(p, MakeTable8(p.type(0), f));
}

constexpr OpDef kOps[] = {
    {.name = "ABS", .prepare = PrepareAbs},
    {.name = "NEG", .prepare = PrepareNeg},
    {.name = "SIGN", .prepare = PrepareSign},
    {.name = "SQUARE", .prepare = PrepareF32<Unary::kSquare>},
    {.name = "SQRT", .prepare = PrepareSqrt},
    {.name = "RSQRT", .prepare = PrepareRsqrt},
    {.name = "EXP", .prepare = PrepareReal<Unary::kExp>},
    {.name = "LOG", .prepare = PrepareReal<Unary::kLog>},
    {.name = "SIN", .prepare = PrepareF32<Unary::kSin>},
    {.name = "COS", .prepare = PrepareF32<Unary::kCos>},
    {.name = "FLOOR", .prepare = PrepareF32<Unary::kFloor>},
    {.name = "CEIL", .prepare = PrepareF32<Unary::kCeil>},
    {.name = "ROUND", .prepare = PrepareF32<Unary::kRound>},
    {.name = "TANH", .prepare = PrepareReal<Unary::kTanh>},
    {.name = "LOGISTIC", .prepare = PrepareReal<Unary::kLogistic>},
    {.name = "ELU", .prepare = PrepareReal<Unary::kElu>},
    {.name = "RELU", .prepare = PrepareRelu<Unary::kRelu>},
    {.name = "RELU6", .prepare = PrepareRelu<Unary::kRelu6>},
    {.name = "RELU_N1_TO_1", .prepare = PrepareRelu<Unary::kReluN1To1>},
    {.name = "RELU_0_TO_1", .prepare = PrepareRelu<Unary::kRelu0To1>},
    {.name = "LEAKY_RELU", .prepare = PrepareLeakyRelu},
    {.name = "HARD_SWISH", .prepare = PrepareHardSwish},
};

}  // namespace

std::span<const OpDef> unary_ops() { return kOps; }

}  // namespace sigrun::ops
