#pragma once

#include <cstring>

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
struct Broadcasted {
  __m512i v;
};
SIGRUN_INLINE Weights LoadWeights(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
SIGRUN_INLINE Broadcasted Broadcast(const uint8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return {_mm512_set1_epi32(four)};
}
SIGRUN_INLINE I32 Dot(I32 acc, Broadcasted a, Weights w) { return {_mm512_dpbusd_epi32(acc.v, a.v, w.v)}; }

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/tile_i8.h"
