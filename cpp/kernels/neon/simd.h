#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "kernels/common/inline.h"

// The vocabulary of kernels/common over the NEON of every 64-bit ARM: 4 floats, tails lane by lane.
namespace sigrun::kernels {
namespace {

struct F32 {
  static constexpr int lanes = 4;
  float32x4_t v;
  // gemm_f32.h's rows are packed: one load takes four rows of four k, one store turns them.
  static constexpr bool packs_rows = true;
  struct Four {
    float32x4x4_t v;
    template <int kIndex>
    SIGRUN_INLINE F32 At() const {
      return {v.val[kIndex]};
    }
  };
  SIGRUN_INLINE static Four LoadFour(const float*& p) {
    const Four four = {vld1q_f32_x4(p)};
    p += 16;
    asm("" : "+r"(p));  // left to the load: the compiler would step by all loads of the loop at once
    return four;
  }
  SIGRUN_INLINE static void StoreTurned(float* to, const float* a, const float* b, const float* c, const float* d) {
    const float32x4x4_t rows = {{vld1q_f32(a), vld1q_f32(b), vld1q_f32(c), vld1q_f32(d)}};
    vst4q_f32(to, rows);  // a macro with Clang
  }
};
struct I32 {
  int32x4_t v;
};
struct Mask {
  uint32x4_t v;
};

// 8 x 2 accumulators, 8 registers of A (4 elements of a row each) and 2 weights of the 32.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 2;
constexpr int kTileAhead = 0;  // lines of memory to ask for in four steps of k: the cores fetch streams by themselves

SIGRUN_INLINE F32 Set1(float x) { return {vdupq_n_f32(x)}; }
SIGRUN_INLINE F32 Load(const float* p) { return {vld1q_f32(p)}; }
SIGRUN_INLINE void Store(float* p, F32 x) { vst1q_f32(p, x.v); }
SIGRUN_INLINE Mask FirstLanes(int n) {
  const int32_t index[4] = {0, 1, 2, 3};
  return {vcgtq_s32(vdupq_n_s32(n), vld1q_s32(index))};
}
SIGRUN_INLINE F32 LoadPartial(const float* p, int n) {
  float32x4_t x = vdupq_n_f32(0.0f);
  if (n > 0) x = vld1q_lane_f32(p, x, 0);
  if (n > 1) x = vld1q_lane_f32(p + 1, x, 1);
  if (n > 2) x = vld1q_lane_f32(p + 2, x, 2);
  if (n > 3) x = vld1q_lane_f32(p + 3, x, 3);
  return {x};
}
SIGRUN_INLINE void StorePartial(float* p, F32 x, int n) {
  if (n > 0) vst1q_lane_f32(p, x.v, 0);
  if (n > 1) vst1q_lane_f32(p + 1, x.v, 1);
  if (n > 2) vst1q_lane_f32(p + 2, x.v, 2);
  if (n > 3) vst1q_lane_f32(p + 3, x.v, 3);
}

SIGRUN_INLINE F32 operator+(F32 a, F32 b) { return {vaddq_f32(a.v, b.v)}; }
SIGRUN_INLINE F32 operator-(F32 a, F32 b) { return {vsubq_f32(a.v, b.v)}; }
SIGRUN_INLINE F32 operator*(F32 a, F32 b) { return {vmulq_f32(a.v, b.v)}; }
SIGRUN_INLINE F32 operator/(F32 a, F32 b) { return {vdivq_f32(a.v, b.v)}; }
SIGRUN_INLINE F32 Fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
// In the sum's own register and in the order of the source. GCC spreads a chain of Fma over several, with moves that take slots of
// multiply-adds, and sets the links of a chain side by side, where cores that run in order wait for them.
SIGRUN_INLINE void Accumulate(F32& sum, F32 a, F32 b) {
#if defined(__clang__)
  sum = Fma(a, b, sum);
#else
  asm volatile("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum.v) : "w"(a.v), "w"(b.v));
#endif
}
SIGRUN_INLINE F32 Fnma(F32 a, F32 b, F32 c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
// a > b ? a : b and a < b ? a : b, also for NaN and signed zeros: b where the comparison is false, unlike FMAX and FMIN.
SIGRUN_INLINE F32 Max(F32 a, F32 b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
SIGRUN_INLINE F32 Min(F32 a, F32 b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
// A sum between bounds. NaN passes, a zero may lose its sign.
SIGRUN_INLINE F32 AtLeast(F32 x, F32 low) { return {vmaxq_f32(x.v, low.v)}; }
SIGRUN_INLINE F32 AtMost(F32 x, F32 high) { return {vminq_f32(x.v, high.v)}; }
SIGRUN_INLINE F32 Bounded(F32 x, F32 low, F32 high) { return AtMost(AtLeast(x, low), high); }
// 1 / x within 1 unit in the last place for normal x and results.
SIGRUN_INLINE F32 Reciprocal(F32 x) { return Set1(1.0f) / x; }
// The same of a / b.
SIGRUN_INLINE F32 Quotient(F32 a, F32 b) { return a / b; }
SIGRUN_INLINE F32 Sqrt(F32 x) { return {vsqrtq_f32(x.v)}; }
SIGRUN_INLINE F32 Rsqrt(F32 x) { return Set1(1.0f) / Sqrt(x); }
SIGRUN_INLINE F32 RoundEven(F32 x) { return {vrndnq_f32(x.v)}; }
SIGRUN_INLINE F32 Floor(F32 x) { return {vrndmq_f32(x.v)}; }
SIGRUN_INLINE F32 Ceil(F32 x) { return {vrndpq_f32(x.v)}; }

SIGRUN_INLINE I32 Set1(int32_t x) { return {vdupq_n_s32(x)}; }
SIGRUN_INLINE I32 Load(const int32_t* p) { return {vld1q_s32(p)}; }
SIGRUN_INLINE I32 Bits(F32 x) { return {vreinterpretq_s32_f32(x.v)}; }
SIGRUN_INLINE F32 FromBits(I32 x) { return {vreinterpretq_f32_s32(x.v)}; }
SIGRUN_INLINE I32 ToInt(F32 x) { return {vcvtnq_s32_f32(x.v)}; }
SIGRUN_INLINE F32 ToFloat(I32 x) { return {vcvtq_f32_s32(x.v)}; }
SIGRUN_INLINE I32 operator+(I32 a, I32 b) { return {vaddq_s32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator-(I32 a, I32 b) { return {vsubq_s32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator&(I32 a, I32 b) { return {vandq_s32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator|(I32 a, I32 b) { return {vorrq_s32(a.v, b.v)}; }
SIGRUN_INLINE I32 operator^(I32 a, I32 b) { return {veorq_s32(a.v, b.v)}; }
template <int kBits>
SIGRUN_INLINE I32 ShiftLeft(I32 x) {
  return {vshlq_n_s32(x.v, kBits)};
}
template <int kBits>
SIGRUN_INLINE I32 ShiftRight(I32 x) {
  return {vshrq_n_s32(x.v, kBits)};
}

/// Lane i of the result is lane from[i] of x.
SIGRUN_INLINE F32 Permute(F32 x, I32 from) {
  const int32x4_t bytes = vmlaq_s32(vdupq_n_s32(0x03020100), from.v, vdupq_n_s32(0x04040404));
  return {vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(x.v), vreinterpretq_u8_s32(bytes)))};
}

SIGRUN_INLINE Mask Less(F32 a, F32 b) { return {vcltq_f32(a.v, b.v)}; }
SIGRUN_INLINE Mask Equal(F32 a, F32 b) { return {vceqq_f32(a.v, b.v)}; }
SIGRUN_INLINE Mask NonZero(I32 x) { return {vtstq_s32(x.v, x.v)}; }
SIGRUN_INLINE bool Any(Mask m) { return vmaxvq_u32(m.v) != 0; }
SIGRUN_INLINE F32 Select(Mask m, F32 yes, F32 no) { return {vbslq_f32(m.v, yes.v, no.v)}; }

// x * 2^n for integral n in [-252, 254], in two steps so that 2^n itself need be no normal number; only the second may round.
SIGRUN_INLINE F32 ScaleByPowerOf2(F32 x, F32 n) {
  const I32 whole = ToInt(n), half = ShiftRight<1>(whole), bias = Set1(127);
  return x * FromBits(ShiftLeft<23>(half + bias)) * FromBits(ShiftLeft<23>(whole - half + bias));
}

/// rows[i][j] becomes rows[j][i].
SIGRUN_INLINE void Transpose(F32 (&rows)[4]) {
  const float64x2_t a = vreinterpretq_f64_f32(vzip1q_f32(rows[0].v, rows[1].v)),
                    b = vreinterpretq_f64_f32(vzip1q_f32(rows[2].v, rows[3].v));
  const float64x2_t c = vreinterpretq_f64_f32(vzip2q_f32(rows[0].v, rows[1].v)),
                    d = vreinterpretq_f64_f32(vzip2q_f32(rows[2].v, rows[3].v));
  rows[0].v = vreinterpretq_f32_f64(vzip1q_f64(a, b));
  rows[1].v = vreinterpretq_f32_f64(vzip2q_f64(a, b));
  rows[2].v = vreinterpretq_f32_f64(vzip1q_f64(c, d));
  rows[3].v = vreinterpretq_f32_f64(vzip2q_f64(c, d));
}

// Lanes are added in a fixed tree, so that the same data gives the same bits.
SIGRUN_INLINE float ReduceAdd(F32 x) { return vaddvq_f32(x.v); }
SIGRUN_INLINE float ReduceMax(F32 x) { return vmaxvq_f32(x.v); }

SIGRUN_INLINE F32 LoadF16(const uint16_t* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))}; }

// Four consecutive elements of a row of A, to be multiplied one at a time: one load, then multiplications by lane.
struct Left4 {
  float32x4_t v;
};
SIGRUN_INLINE Left4 LoadLeft4(const float* p) { return {vld1q_f32(p)}; }
template <int kIndex>
SIGRUN_INLINE F32 FmaLeft(Left4 left, F32 w, F32 sum) {
  return {vfmaq_laneq_f32(sum.v, w.v, left.v, kIndex)};
}

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/whole_powers.h"
