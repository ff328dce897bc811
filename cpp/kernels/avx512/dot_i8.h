#pragma once

#include "kernels/avx512/simd_i8.h"
#include "kernels/common/inline.h"

// Dot products of two by vpmaddwd on int16, as in AVX2 but twice as wide.
namespace sigrun::kernels {
namespace {

using Activation = int16_t;
constexpr int kGroup = 2;
constexpr int kPanelVectors = 2;
constexpr int kTileRows = 12;

struct Weights {
  __m512i v;
};
SIGRUN_INLINE Weights LoadWeights(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
SIGRUN_INLINE I32 Dot(I32 acc, Broadcasted a, Weights w) { return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(a.v, w.v))}; }

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/tile_i8.h"
