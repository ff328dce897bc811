#pragma once

#include <cstdint>

// LiteRT's fixed-point arithmetic, bit for bit. Everything is static: an object compiled for an instruction set must not offer the linker a
// copy of a function that other objects use too.
namespace sigrun::kernels {

/// Two's complement arithmetic that wraps where int32_t would be undefined.
static constexpr int32_t WrapAdd(int32_t a, int32_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }
static constexpr int32_t WrapSub(int32_t a, int32_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b)); }
static constexpr int32_t WrapMul(int32_t a, int32_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b)); }
static constexpr int32_t WrapShiftLeft(int32_t x, int32_t count) {
  return count > 31 ? 0 : static_cast<int32_t>(static_cast<uint32_t>(x) << count);
}

static constexpr int32_t ClampI32(int32_t x, int32_t min, int32_t max) {
  const int32_t low = x < min ? min : x;
  return low > max ? max : low;
}

/// The high half of 2ab, rounded half up. The one product that does not fit, INT32_MIN squared, saturates.
static constexpr int32_t SaturatingRoundingDoublingHighMul(int32_t a, int32_t b) {
  if (a == b && a == INT32_MIN) return INT32_MAX;
  return static_cast<int32_t>((static_cast<int64_t>(a) * b + (int64_t{1} << 30)) >> 31);
}

/// x / 2^exponent rounded half away from zero; 0 <= exponent <= 31.
static constexpr int32_t RoundingDivideByPOT(int32_t x, int32_t exponent) {
  const int32_t mask = static_cast<int32_t>((int64_t{1} << exponent) - 1);
  const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

/// x * scale in double, rounded half away from zero and saturated to 30 bits. The addend is the number below 0.5, so that the number below
/// 0.5 does not become 1.
static constexpr int32_t RoundScaled(int32_t x, double scale) {
  constexpr double kAlmostHalf = 0x1.fffffffffffffp-2, kMost = 1 << 30;
  const double product = x * scale;
  const double y = product + (product < 0 ? -kAlmostHalf : kAlmostHalf);
  return static_cast<int32_t>(y < -kMost ? -kMost : y > kMost ? kMost : y);
}

/// x * multiplier * 2^(shift - 31) with both roundings; -31 <= shift <= 31. The shift to the left wraps.
static constexpr int32_t MultiplyByQuantizedMultiplier(int32_t x, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  return RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(WrapShiftLeft(x, left), multiplier), right);
}

}  // namespace sigrun::kernels
