#pragma once

#include "kernels/common/math.h"
#include "kernels/kernels.h"

// A few rows times a matrix that is read once where it stands: attention of one token over a cache of keys and values.
// Trick: vectors of columns take one k after the other; where k is the near stride, squares of the matrix are turned in registers. So the
// sums are those of conv_f32 to the last bit, and a token's attention is the same alone and among others. What comes next is asked for
// ahead. On a Zen 5 one row takes a matrix from memory at 40 GB/s, as fast as float weights.
namespace sigrun::kernels {
namespace {

constexpr int kFewRows = 4;

// The first `lanes` sums between bounds.
SIGRUN_INLINE void StoreBetween(float* to, F32 sum, F32 min, F32 max, int32_t lanes) {
  const F32 y = Clamp(sum, min, max);
  if (lanes == F32::lanes) {
    Store(to, y);
  } else {
    StorePartial(to, y, lanes);
  }
}

// `depth` k of F32::lanes columns, of which the first `columns` exist, turned so that the vectors are those columns at one k.
SIGRUN_INLINE void LoadTurned(const float* from, ptrdiff_t stride_n, int32_t columns, int32_t depth, F32 (&to)[F32::lanes]) {
  constexpr ptrdiff_t kAhead = 2 * F32::lanes;  // columns
  SIGRUN_UNROLL
  for (int j = 0; j < F32::lanes; ++j) {
    const float* column = from + (j < columns ? j : columns - 1) * stride_n;
    __builtin_prefetch(column + kAhead * stride_n, 0, 2);
    to[j] = depth == F32::lanes ? Load(column) : LoadPartial(column, depth);
  }
  Transpose(to);
}

// kPanels vectors of columns, the last of which has `last` of its lanes.
template <int kRows, int kPanels>
SIGRUN_INLINE void FewRowsTurned(int32_t k, int32_t last, const float* a, ptrdiff_t a_stride, const WeightView<float>& right, int32_t first,
                                 float* output, ptrdiff_t output_stride, ClampF32 clamp) {
  F32 sum[kPanels][kRows];
  SIGRUN_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) sum[p][r] = Set1(0.0f);
  }
  for (int32_t x = 0; x < k; x += F32::lanes) {
    const int32_t depth = k - x < F32::lanes ? k - x : F32::lanes;
    SIGRUN_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      F32 columns[F32::lanes];
      const float* from = right.data + (first + p * F32::lanes) * right.stride_n + x;
      LoadTurned(from, right.stride_n, p + 1 < kPanels ? F32::lanes : last, depth, columns);
      const auto add = [&](int i) __attribute__((always_inline)) {
        SIGRUN_UNROLL
        for (int r = 0; r < kRows; ++r) sum[p][r] = Fma(Set1(a[r * a_stride + x + i]), columns[i], sum[p][r]);
      };
      if (depth == F32::lanes) {
        SIGRUN_UNROLL
        for (int i = 0; i < F32::lanes; ++i) add(i);
      } else {
        for (int i = 0; i < depth; ++i) add(i);
      }
    }
  }
  const F32 min = Set1(clamp.min), max = Set1(clamp.max);
  SIGRUN_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      StoreBetween(output + r * output_stride + first + p * F32::lanes, sum[p][r], min, max, p + 1 < kPanels ? F32::lanes : last);
    }
  }
}

template <int kRows>
void FewRowsByColumns(int32_t k, int32_t n, const float* a, ptrdiff_t a_stride, const WeightView<float>& right, float* output,
                      ptrdiff_t output_stride, ClampF32 clamp) {
  int32_t j = 0;
  for (; j + 2 * F32::lanes <= n; j += 2 * F32::lanes) {
    FewRowsTurned<kRows, 2>(k, F32::lanes, a, a_stride, right, j, output, output_stride, clamp);
  }
  for (; j < n; j += F32::lanes) {
    FewRowsTurned<kRows, 1>(k, n - j < F32::lanes ? n - j : F32::lanes, a, a_stride, right, j, output, output_stride, clamp);
  }
}

// kVectors vectors of columns, the last of which has `last` of its lanes.
template <int kRows, int kVectors>
SIGRUN_INLINE void FewRowsVectors(int32_t k, int32_t last, const float* a, ptrdiff_t a_stride, const float* right, ptrdiff_t stride_k,
                                  float* output, ptrdiff_t output_stride, ClampF32 clamp) {
  F32 sum[kRows][kVectors];
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Set1(0.0f);
  }
  constexpr ptrdiff_t kAhead = 16;  // k
  for (int32_t x = 0; x < k; ++x, right += stride_k) {
    F32 columns[kVectors];
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const float* from = right + v * F32::lanes;
      __builtin_prefetch(from + kAhead * stride_k, 0, 2);
      columns[v] = v + 1 < kVectors || last == F32::lanes ? Load(from) : LoadPartial(from, last);
    }
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const F32 row = Set1(a[i * a_stride + x]);
      SIGRUN_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Fma(row, columns[v], sum[i][v]);
    }
  }
  const F32 min = Set1(clamp.min), max = Set1(clamp.max);
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      StoreBetween(output + i * output_stride + v * F32::lanes, sum[i][v], min, max, v + 1 < kVectors ? F32::lanes : last);
    }
  }
}

template <int kRows>
void FewRowsByDepth(int32_t k, int32_t n, const float* a, ptrdiff_t a_stride, const WeightView<float>& right, float* output,
                    ptrdiff_t output_stride, ClampF32 clamp) {
  constexpr int kVectors = kRows == 1 ? 8 : kRows == 2 ? 4 : 2;
  int32_t j = 0;
  for (; j + kVectors * F32::lanes <= n; j += kVectors * F32::lanes) {
    FewRowsVectors<kRows, kVectors>(k, F32::lanes, a, a_stride, right.data + j, right.stride_k, output + j, output_stride, clamp);
  }
  if constexpr (kVectors > 4) {
    for (; j + 4 * F32::lanes <= n; j += 4 * F32::lanes) {
      FewRowsVectors<kRows, 4>(k, F32::lanes, a, a_stride, right.data + j, right.stride_k, output + j, output_stride, clamp);
    }
  }
  for (; j < n; j += F32::lanes) {
    const int32_t last = n - j < F32::lanes ? n - j : F32::lanes;
    FewRowsVectors<kRows, 1>(k, last, a, a_stride, right.data + j, right.stride_k, output + j, output_stride, clamp);
  }
}

template <int kRows>
SIGRUN_INLINE void SomeRows(int32_t k, int32_t n, const float* a, ptrdiff_t a_stride, const WeightView<float>& right, float* output,
                            ptrdiff_t output_stride, ClampF32 clamp) {
  if (right.stride_k == 1) return FewRowsByColumns<kRows>(k, n, a, a_stride, right, output, output_stride, clamp);
  FewRowsByDepth<kRows>(k, n, a, a_stride, right, output, output_stride, clamp);
}

void FewRowsF32(int32_t m, int32_t k, int32_t n, const float* a, ptrdiff_t a_stride, WeightView<float> right, float* output,
                ptrdiff_t output_stride, ClampF32 clamp) {
  for (; m >= kFewRows; m -= kFewRows, a += kFewRows * a_stride, output += kFewRows * output_stride) {
    SomeRows<kFewRows>(k, n, a, a_stride, right, output, output_stride, clamp);
  }
  if (m >= 2) {
    SomeRows<2>(k, n, a, a_stride, right, output, output_stride, clamp);
    m -= 2;
    a += 2 * a_stride;
    output += 2 * output_stride;
  }
  if (m == 1) SomeRows<1>(k, n, a, a_stride, right, output, output_stride, clamp);
}

inline void OverlayFewRows(Kernels& t) { t.few_rows_f32 = FewRowsF32; }

}  // namespace
}  // namespace sigrun::kernels
