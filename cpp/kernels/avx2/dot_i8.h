#pragma once

#include "kernels/avx2/simd_i8.h"
#include "kernels/common/inline.h"

// Dot products of two by vpmaddwd on int16: exact, where vpmaddubsw would saturate. Activations are widened when they are gathered,
// weights when they are loaded.
namespace sigrun::kernels {
namespace {

using Activation = int16_t;
constexpr int kGroup = 2;
constexpr int kPanelVectors = 2;
constexpr int kTileRows = 6;

struct Weights {
  __m256i v;
};
SIGRUN_INLINE Weights LoadWeights(const int8_t* p) { return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
SIGRUN_INLINE I32 Dot(I32 acc, Broadcasted a, Weights w) { return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(a.v, w.v))}; }

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/tile_i8.h"
