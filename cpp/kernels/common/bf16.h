#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/common/inline.h"

// bfloat16: the upper half of a float.
namespace sigrun::kernels {
namespace {

using Bf16 = uint16_t;

/// The nearest, ties to even; NaN stays NaN.
SIGRUN_INLINE Bf16 RoundToBf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<Bf16>((bits >> 16) | 0x40u);
  return static_cast<Bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

SIGRUN_INLINE float FloatOf(Bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  memcpy(&y, &bits, sizeof(y));
  return y;
}

/// What rounding leaves of x, as bfloat16; 0 where x was rounded to an infinity, of which there is no rest.
SIGRUN_INLINE Bf16 RestAfter(float x, Bf16 rounded) { return (rounded & 0x7fffu) == 0x7f80u ? Bf16{0} : RoundToBf16(x - FloatOf(rounded)); }

SIGRUN_INLINE uint32_t BitsOf(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}

/// A number as the sum of three: cut off, so that none becomes an infinity, then rounded, so that the least part has either sign, and what
/// is left. That is exact but for parts that are denormal. An infinity leaves NaN.
struct ThreeBf16 {
  Bf16 part[3];
};
SIGRUN_INLINE ThreeBf16 SplitInThree(float x) {
  const Bf16 first = static_cast<Bf16>(BitsOf(x) >> 16);
  const float left = x - FloatOf(first);
  const Bf16 second = static_cast<Bf16>((BitsOf(left) + 0x8000u) >> 16);
  return {{first, second, static_cast<Bf16>(BitsOf(left - FloatOf(second)) >> 16)}};
}

}  // namespace
}  // namespace sigrun::kernels
