#pragma once

#include "kernels/common/finish_f32.h"
#include "kernels/common/tile_bf16.h"

// The end of bfloat16 tiles whose sums come from memory, over RoundRow, Load and Store of a tier's bfloat16.
namespace sigrun::kernels {
namespace {

template <class T>
SIGRUN_INLINE F32 LoadUpTo(const T* p, int rest) {
  return rest >= F32::lanes ? Load(p) : LoadPartial(p, rest);
}
template <class T>
SIGRUN_INLINE void StoreUpTo(T* p, F32 x, int rest) {
  rest >= F32::lanes ? Store(p, x) : StorePartial(p, x, rest);
}

// Sums of some rows from their first terms on, clamped.
template <class T>
SIGRUN_INLINE void SumBf16Rows(const TileBf16& tile, const float* products, ptrdiff_t stride, int32_t rows, ClampF32 clamp, T* to,
                               ptrdiff_t to_stride) {
  const TileBf16 t = tile;  // a store of bfloat16 may change any memory
  const float* bias = reinterpret_cast<const float*>(t.sums.bias);
  const F32 low = Set1(clamp.min), high = Set1(clamp.max);
  for (int32_t i = 0; i < rows; ++i, products += stride, to += to_stride) {
    const ptrdiff_t row = i * t.sums.output_stride;
    for (int32_t c = 0; c < t.sums.channels; c += F32::lanes) {
      const int rest = t.sums.channels - c;
      F32 sum = t.sums.begins ? Load(bias + c) : LoadUpTo(t.sums.output + row + c, rest);
      if (t.residual != nullptr) sum = sum + LoadUpTo(t.residual + row + c, rest);
      if (t.bf16_residual != nullptr) sum = sum + LoadUpTo(t.bf16_residual + row + c, rest);
      StoreUpTo(to + c, Bounded(sum + Load(products + c), low, high), rest);
    }
  }
}

/// FinishRows where the output or the residual is bfloat16.
[[gnu::noinline]] void FinishBf16Rows(const TileBf16& t, const float* products, ptrdiff_t stride, int32_t rows) {
  constexpr int32_t kMostChannels = 64;
  const Sums& s = t.sums;
  const ClampF32 clamp = s.ends ? StoreClamp(*s.epilogue) : ClampF32{};
  const bool activates = s.ends && s.epilogue->activation != ActivationF32::kNone;
  if (t.output == nullptr) {
    SumBf16Rows(t, products, stride, rows, clamp, s.output, s.output_stride);
    if (activates) ActivateRows(*s.epilogue, s.output, s.output_stride, rows, s.channels, s.first);
  } else if (!activates) {
    SumBf16Rows(t, products, stride, rows, clamp, t.output, s.output_stride);
  } else {
    float sums[kTileRowsBf16 * kMostChannels];
    SumBf16Rows(t, products, stride, rows, clamp, sums, kMostChannels);
    ActivateRows(*s.epilogue, sums, kMostChannels, rows, s.channels, s.first);
    for (int32_t i = 0; i < rows; ++i) RoundRow(sums + i * kMostChannels, s.channels, t.output + i * s.output_stride);
  }
}

/// Adds `rows` rows of products, `stride` floats apart, to the sums of one panel.
SIGRUN_INLINE void FinishTile(const TileBf16& t, const float* products, ptrdiff_t stride, int32_t rows) {
  if (t.is_plain()) return FinishRows(t.sums, products, stride, rows);
  FinishBf16Rows(t, products, stride, rows);
}

}  // namespace
}  // namespace sigrun::kernels
