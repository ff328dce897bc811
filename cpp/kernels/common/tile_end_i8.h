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
};

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
  if (left < kLanes) {
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
