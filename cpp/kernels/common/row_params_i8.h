#pragma once

#include <cstdint>

// Scale and zero point of dynamically quantised activations, as LiteRT chooses them.
namespace sigrun::kernels {

/// Quantises [min, max], min <= 0 <= max, to 256 steps so that 0 is exact. An empty range has scale 1 and zero point 0.
static inline void AsymmetricParams(float min, float max, float* scale, int32_t* zero_point) {
  *scale = 1.0f;
  *zero_point = 0;
  if (min == max) return;
  const double step = (static_cast<double>(max) - static_cast<double>(min)) / 255.0;
  const double below = min / step, above = max / step;
  // The end whose sum has the smaller terms loses less to rounding.
  const double exact = 128.0 + __builtin_fabs(below) < 127.0 + __builtin_fabs(above) ? -128.0 - below : 127.0 - above;
  *scale = static_cast<float>(step);
  if (!(exact > -128.0)) {
    *zero_point = -128;
  } else {
    *zero_point = exact >= 127.0 ? 127 : static_cast<int32_t>(__builtin_round(exact));
  }
}

}  // namespace sigrun::kernels
