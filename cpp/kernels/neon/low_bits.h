#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "kernels/neon/simd_i8.h"

// Bytes of few bits in two 128-bit registers, for common/low_bits_i8.h: by sdot where the tier has it, else by products whose sums of four
// groups stay within 16 bits for weights of 4 bits.
namespace sigrun::kernels {
namespace {

constexpr int kLowBitRows = 4;
struct LowBytes {
  uint8x16_t lo, hi;
};
SIGRUN_INLINE LowBytes LoadLow(const uint8_t* p) { return {vld1q_u8(p), vld1q_u8(p + 16)}; }
template <int kBits, int kIndex>
SIGRUN_INLINE uint8x16_t Part(uint8x16_t x) {
  uint8x16_t shifted = x;
  if constexpr (kIndex > 0) shifted = vshrq_n_u8(x, kBits * kIndex);
  return vandq_u8(shifted, vdupq_n_u8((1 << kBits) - 1));
}
template <int kBits, int kIndex>
SIGRUN_INLINE LowBytes Part(LowBytes x) {
  return {Part<kBits, kIndex>(x.lo), Part<kBits, kIndex>(x.hi)};
}
SIGRUN_INLINE F32 LoadHalf(const uint16_t* p) {
  const float16x8_t x = vreinterpretq_f16_u16(vld1q_u16(p));
  return {vcvt_f32_f16(vget_low_f16(x)), vcvt_high_f32_f16(x)};
}
#if defined(__ARM_FEATURE_DOTPROD)
constexpr int kLowBitParts = 4;
constexpr bool kPairsOfPanels = false;
template <int kLane>
SIGRUN_INLINE I32 DotLow(I32 sum, const LowBytes& w, int8x16_t a) {
  return {vdotq_laneq_s32(sum.lo, vreinterpretq_s8_u8(w.lo), a, kLane), vdotq_laneq_s32(sum.hi, vreinterpretq_s8_u8(w.hi), a, kLane)};
}
template <int kSplit>
SIGRUN_INLINE void DotUnit(I32 (&sum)[kSplit], const LowBytes (&w)[4], const int8_t* a) {
  const int8x16_t x = vld1q_s8(a);
  sum[0] = DotLow<0>(sum[0], w[0], x);
  sum[1 % kSplit] = DotLow<1>(sum[1 % kSplit], w[1], x);
  sum[2 % kSplit] = DotLow<2>(sum[2 % kSplit], w[2], x);
  sum[3 % kSplit] = DotLow<3>(sum[3 % kSplit], w[3], x);
}
#else
constexpr int kLowBitParts = 1;
constexpr bool kPairsOfPanels = false;
SIGRUN_INLINE int32x4_t AddProducts(int32x4_t sum, const uint8x16_t (&w)[4], const int8x16_t (&a)[4]) {
  int16x8_t low = vmull_s8(vreinterpret_s8_u8(vget_low_u8(w[0])), vget_low_s8(a[0]));
  int16x8_t high = vmull_high_s8(vreinterpretq_s8_u8(w[0]), a[0]);
  SIGRUN_UNROLL
  for (int i = 1; i < 4; ++i) {
    low = vmlal_s8(low, vreinterpret_s8_u8(vget_low_u8(w[i])), vget_low_s8(a[i]));
    high = vmlal_high_s8(high, vreinterpretq_s8_u8(w[i]), a[i]);
  }
  return vpadalq_s16(sum, vpaddq_s16(low, high));
}
template <int kSplit>
SIGRUN_INLINE void DotUnit(I32 (&sum)[kSplit], const LowBytes (&w)[4], const int8_t* a) {
  const int32x4_t x = vreinterpretq_s32_s8(vld1q_s8(a));
  const int8x16_t groups[4] = {vreinterpretq_s8_s32(vdupq_laneq_s32(x, 0)), vreinterpretq_s8_s32(vdupq_laneq_s32(x, 1)),
                               vreinterpretq_s8_s32(vdupq_laneq_s32(x, 2)), vreinterpretq_s8_s32(vdupq_laneq_s32(x, 3))};
  sum[0].lo = AddProducts(sum[0].lo, {w[0].lo, w[1].lo, w[2].lo, w[3].lo}, groups);
  sum[0].hi = AddProducts(sum[0].hi, {w[0].hi, w[1].hi, w[2].hi, w[3].hi}, groups);
}
#endif

}  // namespace
}  // namespace sigrun::kernels
