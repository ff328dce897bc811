#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/neon/simd_i8.h"
// The vocabulary above comes first.
#include "kernels/common/tile_end_i8.h"

// How the tiles of the NEON tiers end: 8 instructions make bytes of 8 sums where shifts are short and the activation is a ReLU.
namespace sigrun::kernels {
namespace {

template <int kRows, class Sum, class StoreRow>
SIGRUN_INLINE void ForRows(uint8_t* out, ptrdiff_t stride, const Sum& sum, const StoreRow& store) {
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r, out += stride) store(out, sum(r));
}

/// The rows of a tile as bytes; sum(row) are its sums.
template <int kRows, class Sum>
SIGRUN_INLINE void StoreEnds(const TileRun& run, const Sum& sum) {
  const Rescale rescale = run.end->rescale[0];
  const ByteOutput bytes = run.end->bytes;
  const ptrdiff_t stride = run.end->out_stride;
  const int32_t left = run.end->channels;
  uint8_t* out = run.out;
  if (run.residual != nullptr) {
    const int8_t* residual = run.residual;
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r, out += stride, residual += stride) {
      const Bytes y = ToBytes(AddResidual(Lanes(Rescaled(sum(r), rescale)), residual, left, *run.end), bytes);
      left < kLanes ? StoreLanes(out, y, left) : StoreLanes(out, y);
    }
  } else if (left < kLanes) {
    ForRows<kRows>(out, stride, sum,
                   [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, ToBytes(Rescaled(x, rescale), bytes), left); });
  } else if (!bytes.whole) {
    ForRows<kRows>(out, stride, sum,
                   [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, ToBytes(Rescaled(x, rescale), bytes)); });
  } else if (!rescale.is_short) {
    ForRows<kRows>(out, stride, sum, [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, SaturateBytes(Rescaled(x, rescale))); });
  } else if (run.end->never_below_zero) {
    ForRows<kRows>(out, stride, sum,
                   [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, SaturateBytes(RescaledShort<true>(x, rescale))); });
  } else {
    ForRows<kRows>(out, stride, sum,
                   [&](uint8_t* to, I32 x) SIGRUN_INLINE_LAMBDA { StoreLanes(to, SaturateBytes(RescaledShort<false>(x, rescale))); });
  }
}

}  // namespace
}  // namespace sigrun::kernels
