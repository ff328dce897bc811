#pragma once

#include <bit>
#include <cstdint>

namespace sigrun::ops {

/// The upper half of a float32, only stored as such: it is computed with as float.
struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  /// Rounded to nearest, ties to even.
  explicit BFloat16(float value) {
    const uint32_t f = std::bit_cast<uint32_t>(value);
    const bool is_nan = (f & 0x7fffffff) > 0x7f800000;
    bits = static_cast<uint16_t>(is_nan ? (f >> 16) | 0x40 : (f + 0x7fff + ((f >> 16) & 1)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

}  // namespace sigrun::ops
