#pragma once

#include <cstddef>

#include "kernels/common/bf16.h"

// avx512_bf16/rows_bf16.h in plain C++.
namespace sigrun::kernels {
namespace {

SIGRUN_INLINE void RoundRow(const float* x, int32_t n, Bf16* to) {
  for (int32_t i = 0; i < n; ++i) to[i] = RoundToBf16(x[i]);
}
SIGRUN_INLINE void SplitRow(const float* x, int32_t n, Bf16* to, Bf16* rest) {
  for (int32_t i = 0; i < n; ++i) {
    to[i] = RoundToBf16(x[i]);
    rest[i] = RestAfter(x[i], to[i]);
  }
}
// Two rows of weights, `stride` apart, as pairs.
SIGRUN_INLINE void PackRows(const float* rows, ptrdiff_t stride, int32_t width, Bf16* to) {
  for (int32_t j = 0; j < width; ++j, to += 2) {
    to[0] = RoundToBf16(rows[j]);
    to[1] = RoundToBf16(rows[stride + j]);
  }
}

}  // namespace
}  // namespace sigrun::kernels
