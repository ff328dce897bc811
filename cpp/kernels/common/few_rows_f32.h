#pragma once

#include "kernels/common/math.h"
#include "kernels/kernels.h"

// A few rows times a matrix that is read once where it stands: attention of one token over a cache of keys and values.
// Trick: where k is the near stride, dot products of a few columns at a time; else whole vectors of columns, one k after the other. What
// every sum adds in which order does not depend on its neighbours. On a Zen 5 one row takes a matrix in L2 at 60 GB/s.
namespace sigrun::kernels {
namespace {

constexpr int kFewRows = 4;

template <int kRows, int kColumns>
SIGRUN_INLINE void FewRowsDots(int32_t k, const float* a, ptrdiff_t a_stride, const float* right, ptrdiff_t stride_n, float* output,
                               ptrdiff_t output_stride, ClampF32 clamp) {
  F32 sum[kRows][kColumns];
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int j = 0; j < kColumns; ++j) sum[i][j] = Set1(0.0f);
  }
  const auto add = [&](auto load, int32_t x) __attribute__((always_inline)) {
    F32 column[kColumns];
    SIGRUN_UNROLL
    for (int j = 0; j < kColumns; ++j) column[j] = load(right + j * stride_n + x);
    SIGRUN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const F32 row = load(a + i * a_stride + x);
      SIGRUN_UNROLL
      for (int j = 0; j < kColumns; ++j) sum[i][j] = Fma(row, column[j], sum[i][j]);
    }
  };
  int32_t x = 0;
  for (; x + F32::lanes <= k; x += F32::lanes) {
    add([](const float* p) __attribute__((always_inline)) { return Load(p); }, x);
  }
  if (x < k) {
    add([rest = k - x](const float* p) __attribute__((always_inline)) { return LoadPartial(p, rest); }, x);
  }
  SIGRUN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    SIGRUN_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      const float y = ReduceAdd(sum[i][j]), low = y < clamp.min ? clamp.min : y;
      output[i * output_stride + j] = clamp.max < low ? clamp.max : low;
    }
  }
}

template <int kRows>
void FewRowsByColumns(int32_t k, int32_t n, const float* a, ptrdiff_t a_stride, const WeightView<float>& right, float* output,
                      ptrdiff_t output_stride, ClampF32 clamp) {
  constexpr int kColumns = kRows == 1 ? 4 : 2;
  int32_t j = 0;
  for (; j + kColumns <= n; j += kColumns) {
    FewRowsDots<kRows, kColumns>(k, a, a_stride, right.data + j * right.stride_n, right.stride_n, output + j, output_stride, clamp);
  }
  for (; j < n; ++j) FewRowsDots<kRows, 1>(k, a, a_stride, right.data + j * right.stride_n, 0, output + j, output_stride, clamp);
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
  for (int32_t x = 0; x < k; ++x, right += stride_k) {
    F32 columns[kVectors];
    SIGRUN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const float* from = right + v * F32::lanes;
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
      float* to = output + i * output_stride + v * F32::lanes;
      const F32 y = Min(max, Max(min, sum[i][v]));
      if (v + 1 < kVectors || last == F32::lanes) {
        Store(to, y);
      } else {
        StorePartial(to, y, last);
      }
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
