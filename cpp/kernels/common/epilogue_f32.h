#pragma once

#include "kernels/common/math.h"
#include "kernels/kernels.h"

// The end of a convolution. Residual and clamp cost a register each and are applied to the sums where they stand, with short vectors also
// the activations of a few operations. Any other is a loop over what was just stored, which is still in L1: unrolled over every register
// tile, it would be larger than the products.
namespace sigrun::kernels {
namespace {

struct HardSwishActivation {
  static constexpr bool kCheap = true;
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return HardSwish(x); }
};
struct SiluActivation {
  static constexpr bool kCheap = false;
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Swish(x); }
};
struct LogisticActivation {
  static constexpr bool kCheap = false;
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Logistic(x); }
};
struct TanhActivation {
  static constexpr bool kCheap = false;
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Tanh(x); }
};
SIGRUN_INLINE F32 Sloped(F32 x, F32 slope) { return Select(Less(x, Set1(0.0f)), x * slope, x); }
struct LeakyReluActivation {
  static constexpr bool kCheap = true;
  float alpha;
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Sloped(x, Set1(alpha)); }
};
struct PreluActivation {
  static constexpr bool kCheap = true;
  const float* slope;
  SIGRUN_INLINE F32 At(F32 x, int32_t c, int rest) const { return Sloped(x, rest == 0 ? Load(slope + c) : LoadPartial(slope + c, rest)); }
};

// kRows rows, of which kVectors vectors from channel c on.
template <int kRows, int kVectors, class Activation, class Bound>
SIGRUN_INLINE void ActivateBlock(const Activation& activation, const Bound& bound, float* const (&rows)[kRows], int32_t c) {
  F32 v[kRows][kVectors];
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int k = 0; k < kVectors; ++k) v[i][k] = Load(rows[i] + c + k * F32::lanes);
  }
  SIGRUN_UNROLL
  for (int k = 0; k < kVectors; ++k) {
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) v[i][k] = bound(activation.At(v[i][k], c + k * F32::lanes, 0));
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int k = 0; k < kVectors; ++k) Store(rows[i] + c + k * F32::lanes, v[i][k]);
  }
}

// Where vectors are short, cheap activations take four at a time: of four rows, which share the slopes, or of one.
template <class Activation, class Bound>
SIGRUN_INLINE void ActivateRowsBy(const Activation& activation, const Bound& bound, float* y, ptrdiff_t stride, int32_t rows,
                                  int32_t channels) {
  constexpr int kTogether = F32::lanes == 4 && Activation::kCheap ? 4 : 1;
  const int rest = channels % F32::lanes;
  const int32_t whole = channels - rest;
  const auto end_row = [&](float* row) SIGRUN_INLINE_LAMBDA {
    if (rest > 0) StorePartial(row + whole, bound(activation.At(LoadPartial(row + whole, rest), whole, rest)), rest);
  };
  int32_t i = 0;
  if constexpr (kTogether > 1) {
    for (; i + kTogether <= rows; i += kTogether, y += kTogether * stride) {
      float* const four[4] = {y, y + stride, y + 2 * stride, y + 3 * stride};
      for (int32_t c = 0; c < whole; c += F32::lanes) ActivateBlock<4, 1>(activation, bound, four, c);
      for (float* row : four) end_row(row);
    }
  }
  for (; i < rows; ++i, y += stride) {
    float* const one[1] = {y};
    int32_t c = 0;
    if constexpr (kTogether > 1) {
      for (; c + kTogether * F32::lanes <= whole; c += kTogether * F32::lanes) ActivateBlock<1, kTogether>(activation, bound, one, c);
    }
    for (; c < whole; c += F32::lanes) ActivateBlock<1, 1>(activation, bound, one, c);
    end_row(y);
  }
}

/// Activates and clamps sums in memory: rows of `channels` floats, `stride` apart, the first of which is channel `first`.
[[gnu::noinline]] void ActivateRows(const EpilogueF32& e, float* y, ptrdiff_t stride, int32_t rows, int32_t channels, int32_t first) {
  const F32 low = Set1(e.clamp.min), high = Set1(e.clamp.max);
  const bool none = e.clamp.is_none();
  const auto by = [=](const auto& activation) SIGRUN_INLINE_LAMBDA {
    if (activation.kCheap && none) {
      return ActivateRowsBy(
          activation, [](F32 x) SIGRUN_INLINE_LAMBDA { return x; }, y, stride, rows, channels);
    }
    ActivateRowsBy(
        activation, [=](F32 x) SIGRUN_INLINE_LAMBDA { return Bounded(x, low, high); }, y, stride, rows, channels);
  };
  switch (e.activation) {
    case ActivationF32::kNone: return;
    case ActivationF32::kHardSwish: return by(HardSwishActivation{});
    case ActivationF32::kSilu: return by(SiluActivation{});
    case ActivationF32::kLogistic: return by(LogisticActivation{});
    case ActivationF32::kTanh: return by(TanhActivation{});
    case ActivationF32::kLeakyRelu: return by(LeakyReluActivation{e.alpha});
    case ActivationF32::kPrelu: return by(PreluActivation{e.slope + first});
  }
}

/// The activations of a few operations.
SIGRUN_INLINE bool IsCheap(ActivationF32 a) {
  return a == ActivationF32::kHardSwish || a == ActivationF32::kLeakyRelu || a == ActivationF32::kPrelu;
}

/// The bounds that sums are clamped to as they are stored; none if ActivateRows is still to come.
SIGRUN_INLINE ClampF32 StoreClamp(const EpilogueF32& e) { return e.activation == ActivationF32::kNone ? e.clamp : ClampF32{}; }

}  // namespace
}  // namespace sigrun::kernels
