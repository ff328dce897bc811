#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/simd_i8.h"
#include "kernels/common/inline.h"

// Dot products of four by vpdpbusd in 256 bits, for processors that have it without AVX-512; as in avx512_vnni/dot_i8.h.
namespace sigrun::kernels {
namespace {

using Activation = uint8_t;
constexpr int kGroup = 4;
constexpr int kPanelVectors = 2;
constexpr int kTileRows = 6;

struct Weights {
  __m256i v;
};
SIGRUN_INLINE Weights LoadWeights(const int8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
SIGRUN_INLINE I32 Dot(I32 acc, Broadcasted a, Weights w) { return {_mm256_dpbusd_avx_epi32(acc.v, a.v, w.v)}; }

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/tile_i8.h"
