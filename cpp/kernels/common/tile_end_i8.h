#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/rescale_i8.h"
#include "kernels/common/tile_run_i8.h"

// How a tile of registers ends, over a tier's simd_i8.h, included before.
namespace sigrun::kernels {
namespace {

constexpr int kMostVectors = 4;

/// What makes bytes of the sums of a panel.
struct TileEnd {
  alignas(64) Rescale rescale[kMostVectors];
  ByteOutput bytes;
  ptrdiff_t out_stride;
  int32_t channels;
  // Where there is a residual: what the sums are before it is added, as bytes that are not stored, and how it is added. It makes `bytes`.
  I32 min, max;
  Linear linear;
};

// Tiers whose Rescaled saturates to 16 bits have Lanes for these.
SIGRUN_INLINE I32 Lanes(I32 x) { return x; }

/// The sum of what a tile ends in and `left` lanes of a residual.
SIGRUN_INLINE I32 AddResidual(I32 x, const int8_t* residual, int32_t left, const TileEnd& end) {
  const I32 addend = left >= kLanes ? LoadWide(residual) : WidenSigned(LoadFew(reinterpret_cast<const uint8_t*>(residual), left));
  return LinearSum(Clamp(x, end.min, end.max), addend, end.linear);
}

template <int kRows, class Sum, class StoreRow>
SIGRUN_INLINE void ForRows(uint8_t* out, ptrdiff_t stride, const Sum& sum, const StoreRow& store) {
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r, out += stride) store(out, sum(r));
}

/// The rows of vector `v` of a panel as bytes; sum(row) are its sums.
template <int kRows, class Sum>
SIGRUN_INLINE void StoreEnds(const TileRun& run, int v, const Sum& sum) {
  const Rescale rescale = run.end->rescale[v];
  const ByteOutput bytes = run.end->bytes;
  const ptrdiff_t stride = run.end->out_stride;
  const int32_t left = run.end->channels - v * kLanes;
  uint8_t* out = run.out + v * kLanes;
  if (run.residual != nullptr) {
    const int8_t* residual = run.residual + v * kLanes;
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r, out += stride, residual += stride) {
      const Bytes y = ToBytes(AddResidual(Lanes(Rescaled(sum(r), rescale)), residual, left, *run.end), bytes);
      left < kLanes ? StoreLanes(out, y, left) : StoreLanes(out, y);
    }
  } else if (left < kLanes) {
    ForRows<kRows>(out, stride, sum,
                   [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, ToBytes(Rescaled(x, rescale), bytes), left); });
  } else if (bytes.whole) {
    ForRows<kRows>(out, stride, sum, [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, SaturateBytes(Rescaled(x, rescale))); });
  } else {
    ForRows<kRows>(out, stride, sum,
                   [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, ToBytes(Rescaled(x, rescale), bytes)); });
  }
}

}  // namespace
}  // namespace sigrun::kernels
