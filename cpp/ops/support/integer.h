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

/// Whether both are what 32 bits hold, which processors divide in a fraction of the time.
template <class T>
constexpr bool AreShort(T a, T b) {
  return sizeof(T) == 8 && static_cast<Wide<T>>(a) <= UINT32_MAX && static_cast<Wide<T>>(b) <= UINT32_MAX;
}

/// Truncates; b is not 0.
template <class T>
constexpr T WrappingDiv(T a, T b) {
  if (AreShort(a, b)) return static_cast<T>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return WrappingNeg(a);
  }
  return static_cast<T>(a / b);
}
template <class T>
constexpr T WrappingMod(T a, T b) {
  if (AreShort(a, b)) return static_cast<T>(static_cast<uint32_t>(a) % static_cast<uint32_t>(b));
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
  }
  return static_cast<T>(a % b);
}

/// Rounds towards minus infinity; b is not 0.
template <class T>
constexpr T FloorDiv(T a, T b) {
  if constexpr (std::is_same_v<T, int32_t>) {
    // No quotient that is not whole rounds to a whole double, and vectors of doubles are divided faster than integers. INT32_MIN / -1
    // wraps: a divisor of -1 is 1, and the quotient negated. Without a branch, so that there are vectors.
    const int32_t negated = b == -1 ? 1 : 0;
    const double quotient = static_cast<double>(a) / static_cast<double>(b + 2 * negated);
    const int32_t whole = static_cast<int32_t>(quotient);
    const int32_t floor = whole - static_cast<int32_t>(static_cast<double>(whole) > quotient);
    return WrappingMul(floor, 1 - 2 * negated);
  } else {
    const T quotient = WrappingDiv(a, b), mod = WrappingSub(a, WrappingMul(quotient, b));
    return mod != 0 && (mod < 0) != (b < 0) ? static_cast<T>(quotient - 1) : quotient;
  }
}
/// Has the divisor's sign.
template <class T>
constexpr T FloorMod(T a, T b) {
  if constexpr (std::is_same_v<T, int32_t>) {
    return WrappingSub(a, WrappingMul(FloorDiv(a, b), b));
  } else {
    const T mod = WrappingMod(a, b);
    return mod != 0 && (mod < 0) != (b < 0) ? static_cast<T>(mod + b) : mod;
  }
}

}  // namespace sigrun::ops
