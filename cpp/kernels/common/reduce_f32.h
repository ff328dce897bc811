#pragma once

#include "kernels/common/math.h"
#include "kernels/kernels.h"

// Sums, maxima and softmax along rows. Several accumulators hide the latency of an addition; they are joined in a fixed order, so that a
// row's result depends on its data and length alone.
namespace sigrun::kernels {
namespace {

constexpr int kSums = 4;

SIGRUN_INLINE F32 JoinSums(const F32 (&sum)[kSums]) { return (sum[0] + sum[1]) + (sum[2] + sum[3]); }

float SumF32(const float* x, size_t n) {
  F32 sum[kSums] = {Set1(0.0f), Set1(0.0f), Set1(0.0f), Set1(0.0f)};
  size_t i = 0;
  for (; i + kSums * F32::lanes <= n; i += kSums * F32::lanes) {
    SIGRUN_UNROLL
    for (int j = 0; j < kSums; ++j) sum[j] = sum[j] + Load(x + i + j * F32::lanes);
  }
  for (; i + F32::lanes <= n; i += F32::lanes) sum[0] = sum[0] + Load(x + i);
  sum[1] = sum[1] + LoadPartial(x + i, static_cast<int>(n - i));
  return ReduceAdd(JoinSums(sum));
}

// NaN is passed over, as a comparison does; minus infinity if there is nothing else.
float MaxF32(const float* x, size_t n) {
  const F32 lowest = Set1(-kInfinity);
  F32 max[kSums] = {lowest, lowest, lowest, lowest};
  size_t i = 0;
  for (; i + kSums * F32::lanes <= n; i += kSums * F32::lanes) {
    SIGRUN_UNROLL
    for (int j = 0; j < kSums; ++j) max[j] = Max(Load(x + i + j * F32::lanes), max[j]);
  }
  for (; i + F32::lanes <= n; i += F32::lanes) max[0] = Max(Load(x + i), max[0]);
  const int rest = static_cast<int>(n - i);
  max[1] = Max(Select(FirstLanes(rest), LoadPartial(x + i, rest), lowest), max[1]);
  return ReduceMax(Max(Max(max[0], max[1]), Max(max[2], max[3])));
}

// Rows of one vector stay in registers. Several are read before the first is written: a partial store would hold up the partial load of
// its neighbour, and their latencies overlap.
template <int kRows>
SIGRUN_INLINE void SoftmaxVectors(const float* x, float* y, int n, F32 factor) {
  const Mask inside = FirstLanes(n);
  F32 row[kRows];
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) row[r] = LoadPartial(x + r * n, n);
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const F32 max = Set1(ReduceMax(Select(inside, row[r], Set1(-kInfinity))));
    row[r] = Select(inside, Exp((row[r] - max) * factor), Set1(0.0f));
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) row[r] = row[r] * Set1(1.0f / ReduceAdd(row[r]));
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) StorePartial(y + r * n, row[r], n);
}

void SoftmaxShortRows(const float* x, float* y, int n, float beta, int32_t rows) {
  const F32 factor = Set1(beta);
  for (; rows >= 4; rows -= 4, x += 4 * n, y += 4 * n) SoftmaxVectors<4>(x, y, n, factor);
  for (; rows > 0; --rows, x += n, y += n) SoftmaxVectors<1>(x, y, n, factor);
}

void SoftmaxRow(const float* x, float* y, size_t n, float beta) {
  const F32 max = Set1(MaxF32(x, n)), factor = Set1(beta);
  F32 sum = Set1(0.0f);
  size_t i = 0;
  for (; i + F32::lanes <= n; i += F32::lanes) {
    const F32 e = Exp((Load(x + i) - max) * factor);
    Store(y + i, e);
    sum = sum + e;
  }
  const int rest = static_cast<int>(n - i);
  if (rest > 0) {
    const F32 e = Exp((LoadPartial(x + i, rest) - max) * factor);
    StorePartial(y + i, e, rest);
    sum = sum + Select(FirstLanes(rest), e, Set1(0.0f));
  }
  const F32 scale = Set1(1.0f / ReduceAdd(sum));
  for (i = 0; i + F32::lanes <= n; i += F32::lanes) Store(y + i, Load(y + i) * scale);
  if (rest > 0) StorePartial(y + i, LoadPartial(y + i, rest) * scale, rest);
}

void SoftmaxF32(const float* x, float* y, int32_t depth, float beta, Range rows) {
  const size_t n = static_cast<size_t>(depth), first = static_cast<size_t>(rows.begin) * n;
  if (depth <= F32::lanes) return SoftmaxShortRows(x + first, y + first, depth, beta, rows.end - rows.begin);
  for (size_t row = static_cast<size_t>(rows.begin); row < static_cast<size_t>(rows.end); ++row) SoftmaxRow(x + row * n, y + row * n, n, beta);
}

void MaskedSoftmaxF32(const float* x, const float* mask, ptrdiff_t mask_stride, float* y, int32_t depth, float scale, Range rows) {
  if (mask == nullptr && scale > 0.0f) return SoftmaxF32(x, y, depth, scale, rows);
  const F32 factor = Set1(scale);
  const size_t n = static_cast<size_t>(depth);
  for (ptrdiff_t row = rows.begin; row < rows.end; ++row) {
    const float* in = x + row * depth;
    float* out = y + row * depth;
    const float* addend = mask == nullptr ? nullptr : mask + row * mask_stride;
    size_t i = 0;
    for (; i + F32::lanes <= n; i += F32::lanes) {
      Store(out + i, Fma(Load(in + i), factor, addend == nullptr ? Set1(0.0f) : Load(addend + i)));
    }
    const int rest = static_cast<int>(n - i);
    if (rest > 0) {
      StorePartial(out + i, Fma(LoadPartial(in + i, rest), factor, addend == nullptr ? Set1(0.0f) : LoadPartial(addend + i, rest)), rest);
    }
    SoftmaxRow(out, out, n, 1.0f);
  }
}

// The sum of (x - mean)^2, in the order of SumF32.
SIGRUN_INLINE float SumSquares(const float* x, size_t n, F32 mean) {
  F32 sum[kSums] = {Set1(0.0f), Set1(0.0f), Set1(0.0f), Set1(0.0f)};
  size_t i = 0;
  for (; i + kSums * F32::lanes <= n; i += kSums * F32::lanes) {
    SIGRUN_UNROLL
    for (int j = 0; j < kSums; ++j) {
      const F32 d = Load(x + i + j * F32::lanes) - mean;
      sum[j] = Fma(d, d, sum[j]);
    }
  }
  for (; i + F32::lanes <= n; i += F32::lanes) {
    const F32 d = Load(x + i) - mean;
    sum[0] = Fma(d, d, sum[0]);
  }
  const int rest = static_cast<int>(n - i);
  const F32 d = Select(FirstLanes(rest), LoadPartial(x + i, rest) - mean, Set1(0.0f));
  sum[1] = Fma(d, d, sum[1]);
  return ReduceAdd(JoinSums(sum));
}

// Three passes over a row that stays in the first cache.
void LayerNormF32(const float* x, const float* scale, const float* shift, float* y, int32_t depth, float epsilon, Range rows) {
  const size_t n = static_cast<size_t>(depth);
  const float count = static_cast<float>(depth);
  for (ptrdiff_t row = rows.begin; row < rows.end; ++row) {
    const float* in = x + row * depth;
    float* out = y + row * depth;
    const F32 mean = Set1(SumF32(in, n) / count);
    const F32 factor = Set1(1.0f) / Sqrt(Set1(SumSquares(in, n, mean) / count + epsilon));
    size_t i = 0;
    for (; i + F32::lanes <= n; i += F32::lanes) Store(out + i, Fma(Load(in + i) - mean, factor * Load(scale + i), Load(shift + i)));
    const int rest = static_cast<int>(n - i);
    if (rest == 0) continue;
    StorePartial(out + i, Fma(LoadPartial(in + i, rest) - mean, factor * LoadPartial(scale + i, rest), LoadPartial(shift + i, rest)), rest);
  }
}

void OverlayReduce(Kernels& t) {
  t.sum_f32 = SumF32;
  t.max_f32 = MaxF32;
  t.softmax_f32 = SoftmaxF32;
  t.masked_softmax_f32 = MaskedSoftmaxF32;
  t.layer_norm_f32 = LayerNormF32;
}

}  // namespace
}  // namespace sigrun::kernels
