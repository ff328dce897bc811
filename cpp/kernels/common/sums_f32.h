#pragma once

#include "kernels/common/epilogue_f32.h"
#include "kernels/kernels.h"

// The sums of a register tile: where they begin, and where they go.
namespace sigrun::kernels {
namespace {

/// A few pixels' sums over one panel of channels, or over several panels side by side.
struct Sums {
  const std::byte* bias;  // floats, at the head of a panel
  ptrdiff_t panel_bytes;  // from one panel to the next
  float* output;
  ptrdiff_t output_stride;  // of pixels
  int32_t channels;         // to store
  bool begins, ends;        // starts from the bias; is the finished sum
  const EpilogueF32* epilogue;
  ptrdiff_t residual;  // from the output to the residual, in floats, if there is one
  int32_t first;       // channel of all groups
};

template <int kRows, int kVectors>
SIGRUN_INLINE void AddResidual(const Sums& t, F32 (&sum)[kRows][kVectors]) {
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int32_t rest = t.channels - v * F32::lanes;
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const float* from = t.output + t.residual + i * t.output_stride + v * F32::lanes;
      sum[i][v] = sum[i][v] + (rest >= F32::lanes ? Load(from) : LoadPartial(from, rest));
    }
  }
}

// The residual is added first, so that it may be the output even if a sum takes several passes.
template <int kRows, int kVectors>
SIGRUN_INLINE void LoadSums(const Sums& t, F32 (&sum)[kRows][kVectors]) {
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int32_t rest = t.channels - v * F32::lanes;
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const float* from = t.output + i * t.output_stride + v * F32::lanes;
      if (t.begins) {
        const std::byte* bias = t.bias + v / kTileVectors * t.panel_bytes;
        sum[i][v] = Load(reinterpret_cast<const float*>(bias) + v % kTileVectors * F32::lanes);
      } else {
        sum[i][v] = rest >= F32::lanes ? Load(from) : LoadPartial(from, rest);
      }
    }
  }
  if (t.begins && t.epilogue->residual != nullptr) AddResidual(t, sum);
}

constexpr ptrdiff_t kLine = 64;  // bytes of a cache line

/// Tiles of long vectors over few k, which take as long to begin and to end as to multiply, leave out what they do not need. Shorter
/// vectors multiply for longer.
constexpr bool kEndsShort = F32::lanes >= 16;

// What is going to be stored is in L1 by then.
template <int kRows, int kVectors>
SIGRUN_INLINE void FetchOutput(const Sums& t) {
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) __builtin_prefetch(t.output + i * t.output_stride + v * F32::lanes, 1, 3);
  }
}

// Where vectors are short, a call and a pass over memory take far longer than the few operations of these activations.
template <int kRows, int kVectors>
SIGRUN_INLINE void ActivateSums(const Sums& t, F32 (&sum)[kRows][kVectors]) {
  const EpilogueF32& e = *t.epilogue;
  const auto each = [&](const auto& activate) SIGRUN_INLINE_LAMBDA {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      SIGRUN_UNROLL
      for (int i = 0; i < kRows; ++i) sum[i][v] = activate(sum[i][v], v);
    }
  };
  if (e.activation == ActivationF32::kHardSwish) return each([](F32 x, int) SIGRUN_INLINE_LAMBDA { return HardSwish(x); });
  F32 slope[kVectors];
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    slope[v] = e.activation == ActivationF32::kPrelu ? Load(e.slope + t.first + v * F32::lanes) : Set1(e.alpha);
  }
  each([&](F32 x, int v) SIGRUN_INLINE_LAMBDA { return Sloped(x, slope[v]); });
}

template <int kRows, int kVectors>
SIGRUN_INLINE void StoreSums(const Sums& t, F32 (&sum)[kRows][kVectors]) {
  ClampF32 clamp = t.ends ? StoreClamp(*t.epilogue) : ClampF32{};
  bool activates = t.ends && t.epilogue->activation != ActivationF32::kNone;
  if (F32::lanes == 4 && activates && IsCheap(t.epilogue->activation) && t.channels >= kVectors * F32::lanes) {
    ActivateSums(t, sum);
    clamp = t.epilogue->clamp;
    activates = false;
  }
  const F32 low = Set1(clamp.min), high = Set1(clamp.max);
  const ptrdiff_t stride = t.output_stride;  // a store of a vector may change any memory
  float* to = t.output;
  const bool plain = kEndsShort && clamp.min == -__builtin_inff() && clamp.max == __builtin_inff();
  if (plain && t.channels >= kVectors * F32::lanes) {
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i, to += stride) {
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) Store(to + v * F32::lanes, sum[i][v]);
    }
  } else if (t.channels >= kVectors * F32::lanes) {
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i, to += stride) {
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Bounded(sum[i][v], low, high);
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) Store(to + v * F32::lanes, sum[i][v]);
    }
  } else {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int32_t rest = t.channels - v * F32::lanes;
      SIGRUN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        float* to = t.output + i * t.output_stride + v * F32::lanes;
        const F32 y = Bounded(sum[i][v], low, high);
        if (rest >= F32::lanes) {
          Store(to, y);
        } else {
          StorePartial(to, y, rest);
        }
      }
    }
  }
  if (activates) ActivateRows(*t.epilogue, t.output, t.output_stride, kRows, t.channels, t.first);
}

}  // namespace
}  // namespace sigrun::kernels
