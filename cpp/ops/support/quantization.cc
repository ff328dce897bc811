#include "ops/support/quantization.h"

#include <cmath>
#include <limits>

namespace sigrun::ops {

using schema::Activation;

FixedPoint QuantizeMultiplier(double real) {
  if (real == 0.0 || !std::isfinite(real)) return {0, 0};
  int shift = 0;
  const double mantissa = std::frexp(real, &shift);
  int64_t fixed = std::llround(mantissa * static_cast<double>(int64_t{1} << 31));
  if (fixed == int64_t{1} << 31) {
    fixed /= 2;
    ++shift;
  }
  if (shift < -31) return {0, 0};
  if (shift > 30) return {std::numeric_limits<int32_t>::max(), 30};  // what the reference saturates to
  return {static_cast<int32_t>(fixed), shift};
}

namespace {

kernels::ClampF32 Clamp(const Prepare& p, Activation activation) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  switch (activation) {
    case Activation::kNone: return {-inf, inf};
    case Activation::kRelu: return {0.0f, inf};
    case Activation::kReluN1To1: return {-1.0f, 1.0f};
    case Activation::kRelu6: return {0.0f, 6.0f};
    default: p.Refuse(StatusCode::kUnimplemented, Concat("fused activation ", static_cast<int>(activation)));
  }
}

}  // namespace

kernels::ClampF32 ActivationClamp(const Prepare& p) { return Clamp(p, p.activation()); }
kernels::ClampF32 InputBounds(const Prepare& p, int i) { return Clamp(p, p.input_activation(i)); }

QuantizedRange TypeRange(TensorType type) {
  switch (type) {
    case TensorType::kUInt8: return {0, 255};
    case TensorType::kInt16: return {-32768, 32767};
    default: return {-128, 127};
  }
}

QuantizedRange QuantizedActivationRange(const Prepare& p, int o) {
  return ActivationRange(p, p.activation(), p.output_type(o), p.output_affine(o));
}

QuantizedRange ActivationRange(const Prepare& p, Activation activation, TensorType type, Prepare::Affine affine) {
  QuantizedRange range = TypeRange(type);
  const auto quantize = [&](float f) {
    const double q = affine.zero_point + std::round(static_cast<double>(f / affine.scale));
    return q > range.max ? range.max + 1 : q < range.min ? range.min - 1 : static_cast<int32_t>(q);
  };
  const auto at_least = [&](float f) { range.min = std::max(range.min, std::min(quantize(f), range.max)); };
  const auto at_most = [&](float f) { range.max = std::min(range.max, std::max(quantize(f), range.min)); };
  switch (activation) {
    case Activation::kNone: break;
    case Activation::kRelu: at_least(0.0f); break;
    case Activation::kRelu6: at_least(0.0f), at_most(6.0f); break;
    case Activation::kReluN1To1: at_least(-1.0f), at_most(1.0f); break;
    default: p.Refuse(StatusCode::kUnimplemented, Concat("fused activation ", static_cast<int>(activation)));
  }
  return range;
}

}  // namespace sigrun::ops
