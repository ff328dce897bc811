#pragma once

#include <cstdint>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/inline.h"
#include "kernels/kernels.h"

// The short way from sums to bytes, over a tier's simd_i8.h, included before: Rescale takes one sum of roundings instead of two roundings,
// adds the zero point for nothing, and the bytes are clamped after they are narrowed.
namespace sigrun::kernels {
namespace {

/// 0 only if Rescaled(x, MakeRescale(multiplier, -shift, zero_point)) is MultiplyByQuantizedMultiplier(x, multiplier, shift) + zero_point
/// for every x, maybe saturated to 16 bits, where |zero_point| <= 512. The high product is at most `multiplier` in magnitude, so that
/// nothing overflows before the last shift. Without branches and in 32 bits, so that compilers ask about many channels at once; larger
/// shifts are left to the long way.
SIGRUN_INLINE uint32_t NotRescalable(int32_t multiplier, int32_t shift, int32_t zero_point) {
  constexpr uint32_t kMostShift = 21;
  const uint32_t right = 0u - static_cast<uint32_t>(shift), in_range = right & 31;
  const uint32_t half = (1u << in_range) >> 1, offset = static_cast<uint32_t>(zero_point < 0 ? -zero_point : zero_point) << in_range;
  const uint32_t sum = static_cast<uint32_t>(multiplier) + half + offset;
  return static_cast<uint32_t>(right - 1 >= kMostShift) | static_cast<uint32_t>(multiplier) >> 31 |
         static_cast<uint32_t>(sum >= static_cast<uint32_t>(INT32_MAX));
}
SIGRUN_INLINE bool IsRescalable(int32_t multiplier, int32_t shift, int32_t zero_point) {
  return NotRescalable(multiplier, shift, zero_point) == 0;
}
SIGRUN_INLINE bool AreRescalable(const int32_t* multiplier, const int32_t* shift, int32_t n, int32_t zero_point) {
  uint32_t any = 0;
  for (int32_t i = 0; i < n; ++i) any |= NotRescalable(multiplier[i], shift[i], zero_point);
  return any == 0;
}

/// Outputs as int8 that saturate: uint8 ones are 128 lower until they are stored.
struct ByteOutput {
  bool fits;
  bool whole;      // the bounds are int8's
  bool rectified;  // nothing is below the zero point
  int32_t zero_point;
  Bytes min, max, flip;
};
SIGRUN_INLINE ByteOutput MakeByteOutput(int32_t zero_point, int32_t min, int32_t max) {
  const int32_t offset = max > 127 ? 128 : 0;
  const bool fits = min >= offset - 128 && max <= offset + 127 && min <= max && zero_point >= -512 && zero_point <= 512;
  const bool whole = min == -128 && max == 127;
  const Bytes low = SetBytes(static_cast<uint8_t>(min - offset)), high = SetBytes(static_cast<uint8_t>(max - offset));
  return {fits, whole, min >= zero_point, fits ? zero_point - offset : 0, low, high, SetBytes(offset != 0 ? 0x80 : 0)};
}
SIGRUN_INLINE ByteOutput MakeByteOutput(const RequantizeParams& p) { return MakeByteOutput(p.zero_point, p.min, p.max); }
/// x is I32, or what Rescaled gives.
template <class Lanes>
SIGRUN_INLINE Bytes ToBytes(Lanes x, const ByteOutput& output) {
  return MinSigned(MaxSigned(SaturateBytes(x), output.min), output.max) ^ output.flip;
}

}  // namespace
}  // namespace sigrun::kernels
