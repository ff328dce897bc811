#pragma once

#include "kernels/common/math.h"
#include "kernels/kernels.h"

// The end of a convolution. Residual and clamp cost a register each and are applied to the sums where they stand. Any other activation is
// a loop over what was just stored, which is still in L1: unrolled over every register tile, it would be larger than the products.
namespace sigrun::kernels {
namespace {

struct HardSwishActivation {
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return x * Clamp(x + Set1(3.0f), Set1(0.0f), Set1(6.0f)) / Set1(6.0f); }
};
struct SiluActivation {
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Swish(x); }
};
struct LogisticActivation {
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Logistic(x); }
};
struct TanhActivation {
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Tanh(x); }
};
struct LeakyReluActivation {
  float alpha;
  SIGRUN_INLINE F32 At(F32 x, int32_t, int) const { return Select(Less(x, Set1(0.0f)), x * Set1(alpha), x); }
};
struct PreluActivation {
  const float* slope;
  SIGRUN_INLINE F32 At(F32 x, int32_t c, int rest) const {
    return Select(Less(x, Set1(0.0f)), x * (rest == 0 ? Load(slope + c) : LoadPartial(slope + c, rest)), x);
  }
};

template <class Activation>
SIGRUN_INLINE void ActivateRowsBy(const Activation& activation, float* y, ptrdiff_t stride, int32_t rows, int32_t channels, ClampF32 clamp) {
  const F32 low = Set1(clamp.min), high = Set1(clamp.max);
  for (int32_t i = 0; i < rows; ++i, y += stride) {
    int32_t c = 0;
    for (; c + F32::lanes <= channels; c += F32::lanes) Store(y + c, Clamp(activation.At(Load(y + c), c, 0), low, high));
    const int rest = channels - c;
    if (rest > 0) StorePartial(y + c, Clamp(activation.At(LoadPartial(y + c, rest), c, rest), low, high), rest);
  }
}

/// Activates and clamps sums in memory: rows of `channels` floats, `stride` apart, the first of which is channel `first`.
[[gnu::noinline]] void ActivateRows(const EpilogueF32& e, float* y, ptrdiff_t stride, int32_t rows, int32_t channels, int32_t first) {
  switch (e.activation) {
    case ActivationF32::kNone: return;
    case ActivationF32::kHardSwish: return ActivateRowsBy(HardSwishActivation{}, y, stride, rows, channels, e.clamp);
    case ActivationF32::kSilu: return ActivateRowsBy(SiluActivation{}, y, stride, rows, channels, e.clamp);
    case ActivationF32::kLogistic: return ActivateRowsBy(LogisticActivation{}, y, stride, rows, channels, e.clamp);
    case ActivationF32::kTanh: return ActivateRowsBy(TanhActivation{}, y, stride, rows, channels, e.clamp);
    case ActivationF32::kLeakyRelu: return ActivateRowsBy(LeakyReluActivation{e.alpha}, y, stride, rows, channels, e.clamp);
    case ActivationF32::kPrelu: return ActivateRowsBy(PreluActivation{e.slope + first}, y, stride, rows, channels, e.clamp);
  }
}

/// The bounds that sums are clamped to as they are stored; none if ActivateRows is still to come.
SIGRUN_INLINE ClampF32 StoreClamp(const EpilogueF32& e) {
  return e.activation == ActivationF32::kNone ? e.clamp : ClampF32{-kInfinity, kInfinity};
}

}  // namespace
}  // namespace sigrun::kernels
