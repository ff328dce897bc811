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

SIGRUN_INLINE const int32_t* PanelAt(const int32_t* panel, ptrdiff_t bytes) {
  return reinterpret_cast<const int32_t*>(reinterpret_cast<const std::byte*>(panel) + bytes);
}
/// A tier's product of a single row and so many panels, each of which takes `bytes`.
template <int kPanels>
SIGRUN_INLINE void RunRowPanels(const TileRun& run, ptrdiff_t bytes, int32_t* sums);

/// RowPanels by it: kMost panels at a time, then one.
template <int kMost>
struct RowPanelsOf {
  static constexpr bool kUsed = true;
  static void Run(TileRun& run, int32_t count, ptrdiff_t bytes, int32_t* sums) {
    for (; count >= kMost; count -= kMost, sums += kMost * kLanes) {
      RunRowPanels<kMost>(run, bytes, sums);
      run.weights += kMost * bytes;
      run.bias = PanelAt(run.bias, kMost * bytes);
    }
    if constexpr (kMost > 1) RowPanelsOf<1>::Run(run, count, bytes, sums);
  }
};

constexpr bool kTilesEndInFloats = true;

/// The rows of a tile as floats.
template <bool kSimple, int kRows, class Sum>
SIGRUN_INLINE void StoreFloats(const FloatEnd& end, const Sum& sum) {
  const I32 weight_sums = Load(end.weight_sums);
  const F32 scales = Load(end.scale), addends = Load(end.addend), min = Set1(end.clamp.min), max = Set1(end.clamp.max);
  const int32_t* zero_point = end.row_zero_point;
  const float *row_scale = end.row_scale, *residual = end.residual;
  float* out = end.out;
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r, out += end.stride, zero_point += end.row_step, row_scale += end.row_step) {
    const I32 x = sum(r);
    const int32x4_t offset = vld1q_dup_s32(zero_point);
    const I32 centred{vmlsq_s32(x.lo, offset, weight_sums.lo), vmlsq_s32(x.hi, offset, weight_sums.hi)};
    F32 y = ToFloat(centred) * (Set1(*row_scale) * scales) + addends;
    if (kSimple) {
      Store(out, y);
    } else {
      if (residual != nullptr) y = y + LoadUpTo(residual + r * end.stride, end.channels);
      StoreUpTo(out, Min(max, Max(min, y)), end.channels);
    }
  }
}

/// Stores a tile as what `run` wants of it.
template <int kRows, class Sum>
SIGRUN_INLINE void EndTile(const TileRun& run, int32_t* sums, const Sum& sum) {
  if (run.end != nullptr) return StoreEnds<kRows>(run, sum);
  if (run.float_end != nullptr) {
    const bool simple = run.float_end->plain && run.float_end->residual == nullptr;
    return simple ? StoreFloats<true, kRows>(*run.float_end, sum) : StoreFloats<false, kRows>(*run.float_end, sum);
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) Store(sums + r * kLanes, sum(r));
}

/// What follows a tile of kRows rows.
template <int kRows>
SIGRUN_INLINE void NextEnd(TileRun* run, FloatEnd* float_end) {
  if (run->end != nullptr) {
    run->out += kRows * run->end->out_stride;
    if (run->residual != nullptr) run->residual += kRows * run->end->out_stride;
    return;
  }
  if (run->float_end != float_end) *float_end = *run->float_end;
  run->float_end = float_end;
  const ptrdiff_t rows = static_cast<ptrdiff_t>(kRows) * float_end->row_step;
  float_end->row_scale += rows;
  float_end->row_zero_point += rows;
  float_end->out += kRows * float_end->stride;
  if (float_end->residual != nullptr) float_end->residual += kRows * float_end->stride;
}

}  // namespace
}  // namespace sigrun::kernels
