#pragma once

#include "kernels/common/sums_f32.h"

// The end of tiles whose sums come from memory.
namespace sigrun::kernels {
namespace {

/// What a sum begins with: the bias and the residual, or what earlier passes stored.
SIGRUN_INLINE F32 FirstSum(const Sums& t, const float* output, int32_t c, int rest) {
  const auto load = [rest](const float* p) { return rest >= F32::lanes ? Load(p) : LoadPartial(p, rest); };
  if (!t.begins) return load(output + c);
  const F32 bias = Load(reinterpret_cast<const float*>(t.bias) + c);
  return t.epilogue->residual == nullptr ? bias : bias + load(output + t.residual + c);
}

// Rows of whole vectors: what each begins with is first(output, vector).
template <int kVectors, class First>
SIGRUN_INLINE void FinishVectors(const Sums& t, const float* products, ptrdiff_t stride, int32_t rows, F32 low, F32 high,
                                 const First& first) {
  const ptrdiff_t output_stride = t.output_stride;
  float* output = t.output;
  for (int32_t i = 0; i < rows; ++i, products += stride, output += output_stride) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int c = v * F32::lanes;
      Store(output + c, Bounded(first(output + c, v) + Load(products + c), low, high));
    }
  }
}

template <int kVectors>
SIGRUN_INLINE void FinishWholeRows(const Sums& t, const float* products, ptrdiff_t stride, int32_t rows, F32 low, F32 high) {
  if (!t.begins) {
    return FinishVectors<kVectors>(t, products, stride, rows, low, high, [](const float* output, int) { return Load(output); });
  }
  F32 bias[kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) bias[v] = Load(reinterpret_cast<const float*>(t.bias) + v * F32::lanes);
  if (t.epilogue->residual == nullptr) {
    return FinishVectors<kVectors>(t, products, stride, rows, low, high, [&](const float*, int v) { return bias[v]; });
  }
  const ptrdiff_t residual = t.residual;
  FinishVectors<kVectors>(t, products, stride, rows, low, high,
                          [&](const float* output, int v) { return bias[v] + Load(output + residual); });
}

SIGRUN_INLINE void FinishPartialRows(const Sums& t, const float* products, ptrdiff_t stride, int32_t rows, F32 low, F32 high) {
  float* output = t.output;
  for (int32_t i = 0; i < rows; ++i, products += stride, output += t.output_stride) {
    for (int32_t c = 0; c < t.channels; c += F32::lanes) {
      const int rest = t.channels - c;
      const F32 y = Bounded(FirstSum(t, output, c, rest) + Load(products + c), low, high);
      if (rest >= F32::lanes) {
        Store(output + c, y);
      } else {
        StorePartial(output + c, y, rest);
      }
    }
  }
}

/// Adds `rows` rows of products, `stride` floats apart, to the sums of one panel.
SIGRUN_INLINE void FinishRows(const Sums& t, const float* products, ptrdiff_t stride, int32_t rows) {
  const ClampF32 clamp = t.ends ? StoreClamp(*t.epilogue) : ClampF32{};
  const F32 low = Set1(clamp.min), high = Set1(clamp.max);
  switch (t.channels) {
    case 2 * F32::lanes: FinishWholeRows<2>(t, products, stride, rows, low, high); break;
    case 4 * F32::lanes: FinishWholeRows<4>(t, products, stride, rows, low, high); break;
    default: FinishPartialRows(t, products, stride, rows, low, high);
  }
  if (t.ends && t.epilogue->activation != ActivationF32::kNone) {
    ActivateRows(*t.epilogue, t.output, t.output_stride, rows, t.channels, t.first);
  }
}

}  // namespace
}  // namespace sigrun::kernels
