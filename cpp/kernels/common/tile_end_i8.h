#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/rescale_i8.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/kernels.h"

// How a tile of registers ends, over a tier's simd_i8.h, included before.
namespace sigrun::kernels {
namespace {

constexpr int kMostVectors = 4;
constexpr int kEndsTogether = 8;  // rows whose sums are in memory

/// What makes bytes of the sums of a panel.
struct TileEnd {
  alignas(64) Rescale rescale[kMostVectors];
  ByteOutput bytes;
  ptrdiff_t out_stride;
  int32_t channels;
  bool never_below_zero;  // `bytes` takes nothing below the zero point
  // Where there is a residual: what the sums are before it is added, as bytes that are not stored, and how it is added. It makes `bytes`.
  I32 min, max;
  Linear linear;
};

/// Sums of weights that FloatEnd takes are below 2^22: so many differences of bytes.
constexpr int32_t kMostInFloatEnd = 1 << 14;

/// What makes floats of the sums of a panel: float(sum - zero_point * weight_sum) * (row_scale * scale) + addend +
/// residual, clamped, each operation rounded. Rows of the tile have scales and zero points `row_step` apart.
struct FloatEnd {
  const int32_t* weight_sums;
  const float *scale, *addend;
  ClampF32 clamp;
  bool plain;  // nothing is clamped, and the channels fill the vectors
  int32_t channels;
  ptrdiff_t stride;  // of output and residual
  int32_t row_step;
  // Of the tile.
  const float* row_scale;
  const int32_t* row_zero_point;
  float* out;
  const float* residual;  // or null
  bool continues;         // what belongs to the next tile lies behind it
};

/// As many lanes as there are left.
SIGRUN_INLINE F32 LoadUpTo(const float* p, int32_t left) { return left >= kLanes ? Load(p) : LoadFew(p, left); }
SIGRUN_INLINE void StoreUpTo(float* p, F32 x, int32_t left) { left >= kLanes ? Store(p, x) : StoreFew(p, x, left); }

// Tiers whose Rescaled saturates to 16 bits have Lanes for these.
SIGRUN_INLINE I32 Lanes(I32 x) { return x; }

/// The sum of what a tile ends in and `left` lanes of a residual.
SIGRUN_INLINE I32 AddResidual(I32 x, const int8_t* residual, int32_t left, const TileEnd& end) {
  const I32 addend = left >= kLanes ? LoadWide(residual) : WidenSigned(LoadFew(reinterpret_cast<const uint8_t*>(residual), left));
  return LinearSum(Clamp(x, end.min, end.max), addend, end.linear);
}

}  // namespace
}  // namespace sigrun::kernels
