#pragma once

#include "kernels/common/finish_f32.h"
#include "kernels/common/tile_bf16.h"

// The end of bfloat16 tiles whose sums come from memory, over a tier's RoundRow.
namespace sigrun::kernels {
namespace {

/// FinishRows where the output or the residual is bfloat16.
[[gnu::noinline]] void FinishBf16Rows(const TileBf16& t, const float* products, ptrdiff_t stride, int32_t rows) {
  constexpr int32_t kMostChannels = 64;
  const Sums& s = t.sums;
  const ClampF32 clamp = s.ends ? StoreClamp(*s.epilogue) : ClampF32{-kInfinity, kInfinity};
  const float* bias = reinterpret_cast<const float*>(s.bias);
  for (int32_t i = 0; i < rows; ++i, products += stride) {
    const ptrdiff_t at = i * s.output_stride;
    float sum[kMostChannels];
    for (int32_t c = 0; c < s.channels; ++c) sum[c] = s.begins ? bias[c] : s.output[at + c];
    for (int32_t c = 0; t.residual != nullptr && c < s.channels; ++c) sum[c] += t.residual[at + c];
    for (int32_t c = 0; t.bf16_residual != nullptr && c < s.channels; ++c) sum[c] += FloatOf(t.bf16_residual[at + c]);
    for (int32_t c = 0; c < s.channels; ++c) {
      const float x = sum[c] + products[c];
      sum[c] = x < clamp.min ? clamp.min : x > clamp.max ? clamp.max : x;  // NaN passes
    }
    if (t.output != nullptr) {
      if (s.epilogue->activation != ActivationF32::kNone) ActivateRows(*s.epilogue, sum, 0, 1, s.channels, s.first);
      RoundRow(sum, s.channels, t.output + at);
    } else {
      memcpy(s.output + at, sum, static_cast<size_t>(s.channels) * sizeof(float));
    }
  }
  if (t.output == nullptr && s.ends && s.epilogue->activation != ActivationF32::kNone) {
    ActivateRows(*s.epilogue, s.output, s.output_stride, rows, s.channels, s.first);
  }
}

/// Adds `rows` rows of products, `stride` floats apart, to the sums of one panel.
SIGRUN_INLINE void FinishTile(const TileBf16& t, const float* products, ptrdiff_t stride, int32_t rows) {
  if (t.is_plain()) return FinishRows(t.sums, products, stride, rows);
  FinishBf16Rows(t, products, stride, rows);
}

}  // namespace
}  // namespace sigrun::kernels
