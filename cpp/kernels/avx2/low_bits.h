#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/avx2/simd_i8.h"

// Bytes of few bits in 256-bit registers, for common/low_bits_i8.h: by vpdpbusd where the tier has it, else by vpmaddubsw, whose sums of
// four groups stay within 16 bits for weights of 4 bits.
namespace sigrun::kernels {
namespace {

constexpr int kLowBitRows = 4;
struct LowBytes {
  __m256i v;
};
SIGRUN_INLINE LowBytes LoadLow(const uint8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
template <int kBits, int kIndex>
SIGRUN_INLINE LowBytes Part(LowBytes x) {
  const __m256i mask = _mm256_set1_epi8((1 << kBits) - 1);
  return {_mm256_and_si256(kIndex == 0 ? x.v : _mm256_srli_epi16(x.v, kBits * kIndex), mask)};
}
SIGRUN_INLINE F32 LoadHalf(const uint16_t* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
SIGRUN_INLINE __m256i BroadcastFour(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return _mm256_set1_epi32(four);
}
#if defined(__AVXVNNI__)
constexpr int kLowBitParts = 8;
constexpr bool kPairsOfPanels = false;
template <int kSplit>
SIGRUN_INLINE void DotUnit(I32 (&sum)[kSplit], const LowBytes (&w)[4], const int8_t* a) {
  SIGRUN_UNROLL
  for (int i = 0; i < 4; ++i) sum[i % kSplit].v = _mm256_dpbusd_avx_epi32(sum[i % kSplit].v, w[i].v, BroadcastFour(a + 4 * i));
}
#else
constexpr int kLowBitParts = 1;
constexpr bool kPairsOfPanels = false;
template <int kSplit>
SIGRUN_INLINE void DotUnit(I32 (&sum)[kSplit], const LowBytes (&w)[4], const int8_t* a) {
  const auto pairs = [&](int i) __attribute__((always_inline)) { return _mm256_maddubs_epi16(w[i].v, BroadcastFour(a + 4 * i)); };
  const __m256i all = _mm256_add_epi16(_mm256_add_epi16(pairs(0), pairs(1)), _mm256_add_epi16(pairs(2), pairs(3)));
  sum[0].v = _mm256_add_epi32(sum[0].v, _mm256_madd_epi16(all, _mm256_set1_epi16(1)));
}
#endif

}  // namespace
}  // namespace sigrun::kernels
