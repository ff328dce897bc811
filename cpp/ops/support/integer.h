#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

// Integer arithmetic without undefined behaviour: what overflows wraps.
namespace sigrun::ops {

// At least as wide as unsigned int, so that narrow types are not promoted to a signed one that overflows.
template <class T>
using Wide = std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<T>>;

template <class T>
constexpr T WrappingAdd(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b));
}
template <class T>
constexpr T WrappingSub(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) - static_cast<Wide<T>>(b));
}
template <class T>
constexpr T WrappingMul(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b));
}
template <class T>
constexpr T WrappingNeg(T a) {
  return WrappingSub(T{0}, a);
}

/// Truncates; b is not 0.
template <class T>
constexpr T WrappingDiv(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return WrappingNeg(a);
  }
  return static_cast<T>(a / b);
}
template <class T>
constexpr T WrappingMod(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
  }
  return static_cast<T>(a % b);
}

/// Rounds towards minus infinity; b is not 0.
template <class T>
constexpr T FloorDiv(T a, T b) {
  const T mod = WrappingMod(a, b);
  const T quotient = WrappingDiv(a, b);
  return mod != 0 && (mod < 0) != (b < 0) ? static_cast<T>(quotient - 1) : quotient;
}
/// Has the divisor's sign.
template <class T>
constexpr T FloorMod(T a, T b) {
  const T mod = WrappingMod(a, b);
  return mod != 0 && (mod < 0) != (b < 0) ? static_cast<T>(mod + b) : mod;
}

}  // namespace sigrun::ops
