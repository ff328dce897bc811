#pragma once

#include <bit>
#include <cstdint>

namespace sigrun::ops {

/// An IEEE binary16 number, only stored as such: it is computed with as float.
struct Half {
  uint16_t bits;

  Half() = default;
  /// Rounded to nearest, ties to even.
  explicit Half(float value) {
    const uint32_t f = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (f >> 16) & 0x8000;
    const uint32_t magnitude = f & 0x7fffffff;
    if (magnitude >= 0x7f800000) {  // infinity, NaN
      bits = static_cast<uint16_t>(sign | 0x7c00 | (magnitude > 0x7f800000 ? 0x200 | ((magnitude >> 13) & 0x3ff) : 0));
    } else if (magnitude < 0x38800000) {  // subnormal or zero: adding 1/2 leaves the rounded mantissa in the low bits
      bits =
          static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<uint32_t>(0.5f)));
    } else {
      const uint32_t rounded = (magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000) >> 13;
      bits = static_cast<uint16_t>(sign | (rounded > 0x7c00 ? 0x7c00 : rounded));
    }
  }
  explicit operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude < 0x400) return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f));
    return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
  }
};

}  // namespace sigrun::ops
