#pragma once

#include <stdint.h>

#include <bit>
#include <limits>
#include <type_traits>

#include "kernels/common/inline.h"

// How one number becomes one of another type. A float goes to an integer towards zero, saturated, NaN to the largest; integers wrap.
namespace sigrun::kernels {
namespace {

template <class To>
SIGRUN_INLINE To FromDouble(double x) {
  // The bounds as doubles; the upper one is exact or one more than the type holds.
  constexpr double kLow = static_cast<double>(std::numeric_limits<To>::min()), kHigh = static_cast<double>(std::numeric_limits<To>::max());
  if (!(x < kHigh)) return std::numeric_limits<To>::max();
  return x <= kLow ? std::numeric_limits<To>::min() : static_cast<To>(x);
}

// The same without a branch, where floats hold the bounds, or one more than the upper one.
template <class To>
SIGRUN_INLINE To FromFloat(float x) {
  constexpr float kLow = static_cast<float>(std::numeric_limits<To>::min()), kHigh = static_cast<float>(std::numeric_limits<To>::max());
  const float inside = x < kHigh ? (x > kLow ? x : kLow) : 0.0f;
  const int32_t y = static_cast<int32_t>(inside);
  return static_cast<To>(x < kHigh ? y : int32_t{std::numeric_limits<To>::max()});
}

template <class To, class From>
SIGRUN_INLINE To ConvertNumber(From x) {
  if constexpr (std::is_same_v<From, float> && std::is_integral_v<To> && (sizeof(To) < 4 || std::is_same_v<To, int32_t>)) {
    return FromFloat<To>(x);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return FromDouble<To>(static_cast<double>(x));
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace
}  // namespace sigrun::kernels
