#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/avx512/simd_i8.h"
#include "kernels/common/inline.h"

// Dot products of four by vpdpbusd, which multiplies unsigned by signed bytes: activations are stored + 128, and 128 times the sum of the
// weights is taken from the bias.
namespace sigrun::kernels {
namespace {

using Activation = uint8_t;
constexpr int kGroup = 4;
constexpr int kPanelVectors = 2;
constexpr int kTileRows = 12;

struct Weights {
  __m512i v;
};
SIGRUN_INLINE Weights LoadWeights(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
SIGRUN_INLINE void CopyRow(uint8_t* dst, const uint8_t* src, ptrdiff_t n, uint8_t mask) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(mask));
  for (; n >= 64; n -= 64, src += 64, dst += 64) _mm512_storeu_si512(dst, _mm512_xor_si512(_mm512_loadu_si512(src), flip));
  if (n <= 0) return;
  const __m512i tail = _mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - n), src);
  _mm512_storeu_si512(dst, _mm512_xor_si512(tail, flip));
}
SIGRUN_INLINE I32 Dot(I32 acc, Broadcasted a, Weights w) { return {_mm512_dpbusd_epi32(acc.v, a.v, w.v)}; }

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/tile_i8.h"
