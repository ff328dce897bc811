#include <algorithm>
#include <array>
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
#include "ops/support/rescale_16.h"
#include "ops/support/small_float.h"

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

// f(int32_t) -> int32_t, already in the output's range: a table for 8 bits, a call an element for INT16.
template <class F>
void EmitQuantized(Prepare& p, F f) {
  if (p.type(0) != TensorType::kInt16) return EmitLookup8(p, MakeTable8(p.type(0), f));
  EmitPlain<int16_t>(p, [f](int16_t x) { return static_cast<int16_t>(f(x)); });
}

template <Unary kOp>
void PrepareF32(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) != TensorType::kFloat32) RefuseType(p);
  EmitUnaryF32(p, kOp);
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

// --- INT16 LOGISTIC and TANH: a table of the logistic function at multiples of 1/24, interpolated ---

// Every entry but the last is raised by half of what the chord lies below the curve, so that the interpolation errs both ways.
const std::array<uint16_t, 256>& LogisticTable() {
  static const std::array<uint16_t, 256> table = [] {
    std::array<uint16_t, 256> t;
    for (size_t i = 0; i < t.size(); ++i) {
      const double y = 1.0 / (1.0 + std::exp(-static_cast<double>(i) / 24.0));
      const double curvature = y * (1.0 - y) * (2.0 * y - 1.0);
      t[i] = static_cast<uint16_t>(std::round(65536.0 * (y + curvature / (16 * 24 * 24))));
    }
    t.back() = 65535;
    return t;
  }();
  return table;
}

// Takes the input to units of 1/(3 * 4096). `shifts` is how many doublings of 2^-12 the input's scale may be to count as a power of two.
kernels::Pieces16 ScaledPieces(const Prepare& p, int shifts) {
  const Prepare::Affine in = InputAffine(p, 0), out = OutputAffine(p, 0);
  p.Check(in.zero_point == 0 && out.zero_point == 0, "a zero point that is not 0");
  p.Check(out.scale == 1.0f / 32768, "the output's scale is ", out.scale, ", expected 2^-15");
  const float log = std::log2(in.scale);
  const float rounded = std::round(log);
  const float doublings = rounded + 12;
  if (std::abs(log - rounded) < 1e-3f && doublings >= 0 && doublings <= static_cast<float>(shifts)) {
    return {.multiplier = 3 << static_cast<int>(doublings)};
  }
  double multiplier = static_cast<double>(in.scale) * 4096.0 * 3.0;
  p.Check(multiplier < 32768.0, "the input's scale is ", in.scale);
  int32_t shift = 0;
  for (; multiplier <= 32767.0 / 2.0 && shift <= 30; ++shift) multiplier *= 2.0;
  return {.multiplier = static_cast<int32_t>(multiplier), .nudge = shift > 0 ? 1 << (shift - 1) : 0, .shift = shift};
}

// y = +-(logistic * 2^bits) + addend, >> right, by the sign of the argument; from the last entry on it is `end` instead.
void EmitLogisticPieces(Prepare& p, kernels::Pieces16 pieces, int bits, int right, int32_t end, int32_t above, int32_t below) {
  constexpr size_t kLast = 255;
  pieces.bits = bits;
  pieces.last = kLast;
  pieces.right = right;
  const auto& table = LogisticTable();
  for (size_t i = 0; i <= kLast; ++i) {
    const int32_t y = i == kLast ? end : table[i] << bits, slope = i == kLast ? 0 : table[i + 1] - table[i];
    pieces.offset[i] = above + y;
    pieces.slope[i] = slope;
    pieces.offset[256 + i] = below - y;
    pieces.slope[256 + i] = -slope;
  }
  EmitPieces16(p, pieces);
}

void EmitLogistic16(Prepare& p) { EmitLogisticPieces(p, ScaledPieces(p, 0), 9, 10, 0x7fff << 10, 1 << 9, (1 << 25) + (1 << 9) - 1); }

void EmitTanh16(Prepare& p) {
  EmitLogisticPieces(p, ScaledPieces(p, 1), 8, 8, 0xffff << 8, (1 << 7) - (1 << 23), (1 << 23) + (1 << 7) - 1);
}

template <Unary kOp>
void PrepareReal(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitUnaryF32(p, kOp);
  if (p.type(0) == TensorType::kInt16 && kOp == Unary::kLogistic) return EmitLogistic16(p);
  if (p.type(0) == TensorType::kInt16 && kOp == Unary::kTanh) return EmitTanh16(p);
  if (p.type(0) == TensorType::kInt16 && kOp == Unary::kExp) return EmitLookup16(p, MakeRealTable16(p, Real<kOp>));
  if (p.type(0) == TensorType::kInt16 && kOp == Unary::kLog) {
    const Prepare::Affine out = OutputAffine(p, 0);
    const float least = static_cast<float>(-32768 - out.zero_point) * out.scale;
    return EmitLookup16(p, MakeRealTable16(p, [least](float x) { return x <= 0.0f ? least : std::log(x); }));
  }
  if (!Is8Bit(p.type(0))) RefuseType(p);
  EmitLookup8(p, MakeRealTable8(p, Real<kOp>));
}

// --- ABS, NEG, SIGN, RSQRT ---

void PrepareAbs(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitUnaryF32(p, Unary::kAbs);
  if (p.type(0) == TensorType::kInt32) return EmitPlain<int32_t>(p, [](int32_t x) { return x < 0 ? WrappingNeg(x) : x; });
  if (p.type(0) == TensorType::kInt64) return EmitPlain<int64_t>(p, [](int64_t x) { return x < 0 ? WrappingNeg(x) : x; });
  if (p.type(0) == TensorType::kInt16 && p.quantization(0).empty()) {
    return EmitPlain<int16_t>(p, [](int16_t x) { return x < 0 ? WrappingNeg(x) : x; });
  }
  if (p.type(0) != TensorType::kInt8 && p.type(0) != TensorType::kInt16) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const bool rescale = in.scale != out.scale;
  const FixedPoint m = QuantizeMultiplier(static_cast<double>(in.scale / out.scale));
  const QuantizedRange range = TypeRange(p.type(0));
  EmitQuantized(p, [=](int32_t x) {
    const int32_t magnitude = std::abs(x - in.zero_point);
    const int32_t y = rescale ? ScaleBy(magnitude, m.multiplier, m.shift) : magnitude;
    return std::clamp(kernels::WrapAdd(y, out.zero_point), range.min, range.max);
  });
}

void PrepareNeg(Prepare& p) {
  CheckUnary(p);
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitUnaryF32(p, Unary::kNeg);
    case TensorType::kInt32: return EmitPlain<int32_t>(p, [](int32_t x) { return WrappingNeg(x); });
    case TensorType::kInt64: return EmitPlain<int64_t>(p, [](int64_t x) { return WrappingNeg(x); });
    // The stored numbers are negated: the reference knows no scale here.
    case TensorType::kInt16: return EmitPlain<int16_t>(p, [](int16_t x) { return WrappingNeg(x); });
    case TensorType::kInt8: return EmitLookup8(p, MakeTable8(TensorType::kInt8, [](int32_t x) { return -x; }));
    default: RefuseType(p);
  }
}

template <class T>
T Sign(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(x)) return x;
  }
  return static_cast<T>((x > 0) - (x < 0));
}

void PrepareSign(Prepare& p) {
  CheckUnary(p);
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitUnaryF32(p, Unary::kSign);
    case TensorType::kFloat64: return EmitPlain<double>(p, [](auto x) { return Sign(x); });
    case TensorType::kInt32: return EmitPlain<int32_t>(p, [](auto x) { return Sign(x); });
    case TensorType::kInt64: return EmitPlain<int64_t>(p, [](auto x) { return Sign(x); });
    default: RefuseType(p);
  }
}

// A step that reports an element below the zero point.
template <class T>
void EmitNegativeCheck(Prepare& p) {
  p.Emit([least = InputAffine(p, 0).zero_point, n = p.elements(0), x = p.in(0)](RunContext& run) noexcept {
    const T* from = run.get<T>(x);
    if (std::any_of(from, from + n, [&](T v) { return v < least; })) run.Fail("the square root of a negative number");
  });
}

void PrepareSqrt(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitUnaryF32(p, Unary::kSqrt);
  const bool bytes = p.type(0) == TensorType::kInt8;
  if (!bytes && p.type(0) != TensorType::kInt16) RefuseType(p);
  bytes ? EmitNegativeCheck<int8_t>(p) : EmitNegativeCheck<int16_t>(p);
  EmitQuantized(p, [in = InputAffine(p, 0), out = OutputAffine(p, 0), range = TypeRange(p.type(0))](int32_t x) {
    const float root = std::sqrt(static_cast<float>(std::max(x - in.zero_point, 0)) * in.scale);
    return std::clamp(kernels::WrapAdd(RoundToInt(std::trunc(root / out.scale)), out.zero_point), range.min, range.max);
  });
}

void PrepareRsqrt(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitUnaryF32(p, Unary::kRsqrt);
  if (p.type(0) == TensorType::kInt16) {
    EmitNegativeCheck<int16_t>(p);
    const float most = 32767 * OutputAffine(p, 0).scale;
    return EmitLookup16(p, MakeRealTable16(p, [most](float x) { return x <= 0.0f ? most : 1.0f / std::sqrt(x); }));
  }
  if (p.type(0) != TensorType::kInt8) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const FixedPoint m = QuantizeMultiplier(1. / static_cast<double>(std::sqrt(in.scale) * out.scale));
  EmitNegativeCheck<int8_t>(p);
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
  EmitQuantized(p, [=](int32_t x) {
    return std::clamp(kernels::WrapAdd(ScaleBy(x - in.zero_point, m.multiplier, m.shift), out.zero_point), range.min, range.max);
  });
}

template <Unary kOp>
void PrepareRelu(Prepare& p) {
  CheckUnary(p);
  if (p.type(0) == TensorType::kFloat32) return EmitUnaryF32(p, kOp);
  if (!Is8Bit(p.type(0)) && p.type(0) != TensorType::kInt16) RefuseType(p);
  switch (kOp) {
    case Unary::kRelu6: return EmitQuantizedRelu(p, 0.0f, 6.0f);
    case Unary::kReluN1To1: return EmitQuantizedRelu(p, -1.0f, 1.0f);
    case Unary::kRelu0To1: return EmitQuantizedRelu(p, 0.0f, 1.0f);
    default: return EmitQuantizedRelu(p, 0.0f, std::numeric_limits<float>::infinity());
  }
}

void EmitLeakyReluF32(Prepare& p, float alpha) {
  p.MayOverwrite(0, 0);
  p.Emit([alpha, n = p.elements(0), kernel = p.kernels().binary(kernels::Binary::kPrelu, kernels::Operands::kVectorScalar), x = p.in(0),
          y = p.out(0)](RunContext& run) noexcept {
    const float* from = run.get<float>(x);
    float* to = run.get<float>(y);
    ForElements(run, n, 1, [&](int64_t begin, int64_t count) { kernel(from + begin, &alpha, to + begin, static_cast<size_t>(count), {}); });
  });
}

// Both sides of a block at once, of which each element takes one.
void EmitLeakyRelu16(Prepare& p, const RescaleKernel16& above, const RescaleKernel16& below, int32_t zero_point) {
  p.MayOverwrite(0, 0);
  p.Emit([=, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    ForElements(run, n, 4, [&](int64_t begin, int64_t count) {
      constexpr int64_t kBlock = 512;
      int16_t high[kBlock], low[kBlock];
      const int16_t* from = run.get<int16_t>(x) + begin;
      int16_t* to = run.get<int16_t>(y) + begin;
      for (; count > 0; from += kBlock, to += kBlock, count -= kBlock) {
        const int64_t size = std::min(count, kBlock);
        above(from, high, size);
        below(from, low, size);
        for (int64_t i = 0; i < size; ++i) to[i] = from[i] >= zero_point ? high[i] : low[i];
      }
    });
  });
}

void PrepareLeakyRelu(Prepare& p) {
  CheckUnary(p);
  const float alpha = p.options().Scalar<float>(0);
  if (p.type(0) == TensorType::kFloat32) return EmitLeakyReluF32(p, alpha);
  if (!Is8Bit(p.type(0)) && p.type(0) != TensorType::kInt16) RefuseType(p);
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const FixedPoint identity = QuantizeMultiplier(static_cast<double>(in.scale / out.scale));
  const FixedPoint slope = QuantizeMultiplier(static_cast<double>(in.scale * std::abs(alpha) / out.scale));
  const QuantizedRange range = TypeRange(p.type(0));
  if (p.type(0) == TensorType::kInt16 && alpha >= 0) {
    return EmitLeakyRelu16(p, RescaleKernel16(p, in.zero_point, identity, out.zero_point, range),
                           RescaleKernel16(p, in.zero_point, slope, out.zero_point, range), in.zero_point);
  }
  EmitQuantized(p, [=](int32_t x) {
    const int32_t value = x - in.zero_point;
    const FixedPoint& m = value >= 0 ? identity : slope;
    const int32_t scaled = ScaleBy(value, m.multiplier, m.shift);
    return std::clamp(kernels::WrapAdd(value < 0 && alpha < 0 ? kernels::WrapSub(0, scaled) : scaled, out.zero_point), range.min,
                      range.max);
  });
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
  if (p.type(0) == TensorType::kFloat32) return EmitUnaryF32(p, Unary::kHardSwish);
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
    {.name = "ABS", .prepare = OrSmallFloat<PrepareAbs, Unary::kAbs>},
    {.name = "NEG", .prepare = OrSmallFloat<PrepareNeg, Unary::kNeg>},
    {.name = "SIGN", .prepare = OrSmallFloat<PrepareSign, Unary::kSign>},
    {.name = "SQUARE", .prepare = OrSmallFloat<PrepareF32<Unary::kSquare>, Unary::kSquare>, .traits = kFlushesDenormals},
    {.name = "SQRT", .prepare = OrSmallFloat<PrepareSqrt, Unary::kSqrt>},
    {.name = "RSQRT", .prepare = OrSmallFloat<PrepareRsqrt, Unary::kRsqrt>},
    {.name = "EXP", .prepare = OrSmallFloat<PrepareReal<Unary::kExp>, Unary::kExp>, .traits = kFlushesDenormals},
    {.name = "LOG", .prepare = OrSmallFloat<PrepareReal<Unary::kLog>, Unary::kLog>},
    {.name = "SIN", .prepare = OrSmallFloat<PrepareF32<Unary::kSin>, Unary::kSin>},
    {.name = "COS", .prepare = OrSmallFloat<PrepareF32<Unary::kCos>, Unary::kCos>},
    {.name = "FLOOR", .prepare = OrSmallFloat<PrepareF32<Unary::kFloor>, Unary::kFloor>},
    {.name = "CEIL", .prepare = OrSmallFloat<PrepareF32<Unary::kCeil>, Unary::kCeil>},
    {.name = "ROUND", .prepare = OrSmallFloat<PrepareF32<Unary::kRound>, Unary::kRound>},
    {.name = "TANH", .prepare = OrSmallFloat<PrepareReal<Unary::kTanh>, Unary::kTanh>, .traits = kFlushesDenormals},
    {.name = "LOGISTIC", .prepare = OrSmallFloat<PrepareReal<Unary::kLogistic>, Unary::kLogistic>, .traits = kFlushesDenormals},
    {.name = "ELU", .prepare = OrSmallFloat<PrepareReal<Unary::kElu>, Unary::kElu>, .traits = kFlushesDenormals},
    {.name = "RELU", .prepare = OrSmallFloat<PrepareRelu<Unary::kRelu>, Unary::kRelu>},
    {.name = "RELU6", .prepare = OrSmallFloat<PrepareRelu<Unary::kRelu6>, Unary::kRelu6>},
    {.name = "RELU_N1_TO_1", .prepare = OrSmallFloat<PrepareRelu<Unary::kReluN1To1>, Unary::kReluN1To1>},
    {.name = "RELU_0_TO_1", .prepare = OrSmallFloat<PrepareRelu<Unary::kRelu0To1>, Unary::kRelu0To1>},
    {.name = "LEAKY_RELU", .prepare = PrepareLeakyRelu, .traits = kFlushesDenormals},
    {.name = "HARD_SWISH", .prepare = OrSmallFloat<PrepareHardSwish, Unary::kHardSwish>, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> unary_ops() { return kOps; }

}  // namespace sigrun::ops
