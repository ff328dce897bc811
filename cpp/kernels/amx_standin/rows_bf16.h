#pragma once

#include <cstddef>

#include "kernels/common/bf16.h"

// avx512_bf16/rows_bf16.h in plain C++.
namespace sigrun::kernels {
namespace {

SIGRUN_INLINE F32 LoadPartial(const Bf16* p, int n) {
  float x[F32::lanes] = {};
  for (int i = 0; i < n; ++i) x[i] = FloatOf(p[i]);
  return Load(x);
}
SIGRUN_INLINE F32 Load(const Bf16* p) { return LoadPartial(p, F32::lanes); }
SIGRUN_INLINE void StorePartial(Bf16* p, F32 x, int n) {
  float y[F32::lanes];
  Store(y, x);
  for (int i = 0; i < n; ++i) p[i] = RoundToBf16(y[i]);
}
SIGRUN_INLINE void Store(Bf16* p, F32 x) { StorePartial(p, x, F32::lanes); }

SIGRUN_INLINE void RoundRow(const float* x, int32_t n, Bf16* to) {
  for (int32_t i = 0; i < n; ++i) to[i] = RoundToBf16(x[i]);
}
SIGRUN_INLINE void SplitRow(const float* x, int32_t n, Bf16* to, Bf16* rest) {
  for (int32_t i = 0; i < n; ++i) {
    to[i] = RoundToBf16(x[i]);
    rest[i] = RestAfter(x[i], to[i]);
  }
}
SIGRUN_INLINE void SplitRowInThree(const float* x, int32_t n, Bf16* to, ptrdiff_t part_stride) {
  for (int32_t i = 0; i < n; ++i) {
    const ThreeBf16 three = SplitInThree(x[i]);
    for (int32_t part = 0; part < 3; ++part) to[part * part_stride + i] = three.part[part];
  }
}
// Two rows of weights, `stride` apart, as pairs.
SIGRUN_INLINE void PackRows(const float* rows, ptrdiff_t stride, int32_t width, Bf16* to) {
  for (int32_t j = 0; j < width; ++j, to += 2) {
    to[0] = RoundToBf16(rows[j]);
    to[1] = RoundToBf16(rows[stride + j]);
  }
}

SIGRUN_INLINE void PackRowsInThree(const float* rows, ptrdiff_t stride, int32_t width, Bf16* to, ptrdiff_t part_stride) {
  for (int32_t j = 0; j < width; ++j, to += 2) {
    for (int32_t i = 0; i < 2; ++i) SplitRowInThree(rows + i * stride + j, 1, to + i, part_stride);
  }
}

SIGRUN_INLINE void TurnRowsOfPairs(const Bf16* rows, Bf16* to, ptrdiff_t to_stride) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) memcpy(to + i * to_stride + 2 * j, rows + 32 * j + 2 * i, 2 * sizeof(Bf16));
  }
}

}  // namespace
}  // namespace sigrun::kernels
