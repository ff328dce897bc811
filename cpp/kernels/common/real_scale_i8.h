#pragma once

#include <cstdint>

#include "kernels/common/inline.h"

// Scaling in double over a tier's RoundScaled, included before. NEON has its own.
namespace sigrun::kernels {
namespace {

/// RoundScaled plus a zero point, maybe saturated to 16 bits.
struct RealScale {
  const double* scale;
  I32 zero_point;
};
SIGRUN_INLINE RealScale MakeRealScale(const double* scale, int32_t zero_point) { return {scale, Set1(zero_point)}; }
template <bool kBounded = false>
SIGRUN_INLINE I32 Rescaled(I32 x, const RealScale& s) {
  return RoundScaled<kBounded>(x, s.scale) + s.zero_point;
}

}  // namespace
}  // namespace sigrun::kernels
