#pragma once

#include <cstdint>
#include <optional>

#include "kernels/common/fixed_point.h"
#include "ops/op.h"
#include "ops/support/fixed_point.h"
#include "ops/support/quantization.h"

// 16-bit numbers by the kernels of products.
namespace sigrun::ops {

/// Whether the kernels shift by so many bits.
inline bool IsKernelShift(int shift) { return shift >= -31 && shift <= 31; }

/// y = ScaleBy(x - from_zero, m) + to_zero, clamped.
struct RescaleKernel16 {
  decltype(kernels::Kernels::mul_i16) kernel;
  kernels::MulI8Params params;

  void operator()(const int16_t* x, int16_t* y, int64_t n) const {
    constexpr int16_t kOne = 1;
    kernel(x, &kOne, y, static_cast<size_t>(n), params, kernels::Operands::kVectorScalar);
  }
};

/// Nothing where the kernels do not shift so far.
inline std::optional<RescaleKernel16> MakeRescaleKernel16(const Prepare& p, int32_t from_zero, const FixedPoint& m, int32_t to_zero,
                                                          const QuantizedRange& range) {
  if (!IsKernelShift(m.shift)) return std::nullopt;
  return RescaleKernel16{p.kernels().mul_i16, {kernels::WrapSub(0, from_zero), 0, to_zero, m.multiplier, m.shift, range.min, range.max}};
}

}  // namespace sigrun::ops
