#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/common/fixed_point.h"
#include "ops/op.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {

/// y = (x - from_zero) scaled + to_zero, clamped, of 16-bit numbers: a product with 1.
class RescaleKernel16 {
 public:
  /// `range` is no wider than the Y that it is run for.
  RescaleKernel16(const Prepare& p, int32_t from_zero, const FixedPoint& m, int32_t to_zero, const QuantizedRange& range)
      : kernel_(p.kernels().mul_i16), params_{kernels::WrapSub(0, from_zero), 0, to_zero, m.multiplier, m.shift, range.min, range.max} {}

  template <class Y>
  void operator()(const int16_t* x, Y* y, int64_t n) const {
    if constexpr (std::is_same_v<Y, int16_t>) {
      constexpr int16_t kOne = 1;
      kernel_(x, &kOne, y, static_cast<size_t>(n), params_, kernels::Operands::kVectorScalar);
    } else {
      constexpr int64_t kBlock = 512;
      int16_t wide[kBlock];
      for (; n > 0; x += kBlock, y += kBlock, n -= kBlock) {
        const int64_t size = std::min(n, kBlock);
        (*this)(x, wide, size);
        for (int64_t i = 0; i < size; ++i) y[i] = static_cast<Y>(wide[i]);
      }
    }
  }

 private:
  decltype(kernels::Kernels::mul_i16) kernel_;
  kernels::MulI8Params params_;
};

}  // namespace sigrun::ops
