#pragma once

#include "kernels/common/math.h"
#include "kernels/common/sum_squares.h"
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

// NaN is passed over, as a comparison does; minus infinity if there is nothing else. A minimum is the maximum of the negated numbers.
template <bool kMin>
float ExtremeF32(const float* x, size_t n) {
  const auto sign = [](F32 v) SIGRUN_INLINE_LAMBDA { return kMin ? Neg(v) : v; };
  const F32 lowest = Set1(-kInfinity);
  F32 max[kSums] = {lowest, lowest, lowest, lowest};
  size_t i = 0;
  for (; i + kSums * F32::lanes <= n; i += kSums * F32::lanes) {
    SIGRUN_UNROLL
    for (int j = 0; j < kSums; ++j) max[j] = Max(sign(Load(x + i + j * F32::lanes)), max[j]);
  }
  for (; i + F32::lanes <= n; i += F32::lanes) max[0] = Max(sign(Load(x + i)), max[0]);
  const int rest = static_cast<int>(n - i);
  if (rest > 0) max[1] = Max(Select(FirstLanes(rest), sign(LoadPartial(x + i, rest)), lowest), max[1]);
  const float extreme = ReduceMax(Max(Max(max[0], max[1]), Max(max[2], max[3])));
  return kMin ? -extreme : extreme;
}

// Columns stay in registers for all rows, several vectors of them, since one would wait for its own sum.
struct SumColumn {
  static SIGRUN_INLINE F32 First(F32) { return Set1(0.0f); }
  static SIGRUN_INLINE F32 Take(F32 x, F32 sum) { return sum + x; }
  static SIGRUN_INLINE F32 Last(F32 sum, F32 y) { return y + sum; }
};
template <bool kMin>
struct ExtremeColumn {
  static SIGRUN_INLINE F32 First(F32 y) { return y; }
  static SIGRUN_INLINE F32 Take(F32 x, F32 best) { return kMin ? Min(x, best) : Max(x, best); }
  static SIGRUN_INLINE F32 Last(F32 best, F32) { return best; }
};

template <class Op, int kVectors>
SIGRUN_INLINE void TakeColumns(const float* x, ptrdiff_t stride, size_t rows, float* y) {
  F32 v[kVectors];
  SIGRUN_UNROLL
  for (int j = 0; j < kVectors; ++j) v[j] = Op::First(Load(y + j * F32::lanes));
  for (size_t r = 0; r < rows; ++r, x += stride) {
    SIGRUN_UNROLL
    for (int j = 0; j < kVectors; ++j) v[j] = Op::Take(Load(x + j * F32::lanes), v[j]);
  }
  SIGRUN_UNROLL
  for (int j = 0; j < kVectors; ++j) Store(y + j * F32::lanes, Op::Last(v[j], Load(y + j * F32::lanes)));
}

template <class Op>
void ColumnsF32Loop(const float* x, ptrdiff_t stride, size_t rows, float* y, size_t n) {
  constexpr size_t kMany = 8, kFew = 4;
  size_t i = 0;
  for (; i + kMany * F32::lanes <= n; i += kMany * F32::lanes) TakeColumns<Op, kMany>(x + i, stride, rows, y + i);
  for (; i + kFew * F32::lanes <= n; i += kFew * F32::lanes) TakeColumns<Op, kFew>(x + i, stride, rows, y + i);
  for (; i + F32::lanes <= n; i += F32::lanes) TakeColumns<Op, 1>(x + i, stride, rows, y + i);
  const int rest = static_cast<int>(n - i);
  if (rest == 0) return;
  const F32 before = LoadPartial(y + i, rest);
  F32 v = Op::First(before);
  for (size_t r = 0; r < rows; ++r) v = Op::Take(LoadPartial(x + i + static_cast<ptrdiff_t>(r) * stride, rest), v);
  StorePartial(y + i, Op::Last(v, before), rest);
}

// Squares of as many words as a vector has: each side uses whole lines of the cache.
void Transpose32(const uint32_t* x, ptrdiff_t x_stride, uint32_t* y, ptrdiff_t y_stride, int64_t rows, int64_t columns) {
  constexpr int kSide = F32::lanes;
  const float* from = reinterpret_cast<const float*>(x);
  float* to = reinterpret_cast<float*>(y);
  // A last square that is not whole overlaps the one before.
  const int high = rows < kSide ? static_cast<int>(rows) : kSide, wide = columns < kSide ? static_cast<int>(columns) : kSide;
  for (int64_t down = 0; down < rows; down += kSide) {
    const int64_t r = down < rows - high ? down : rows - high;
    for (int64_t across = 0; across < columns; across += kSide) {
      const int64_t c = across < columns - wide ? across : columns - wide;
      const float* a = from + c * x_stride + r;
      float* b = to + r * y_stride + c;
      F32 square[kSide];
      if (high == kSide && wide == kSide) {
        SIGRUN_UNROLL
        for (int i = 0; i < kSide; ++i) square[i] = Load(a + i * x_stride);
        Transpose(square);
        SIGRUN_UNROLL
        for (int i = 0; i < kSide; ++i) Store(b + i * y_stride, square[i]);
        continue;
      }
      for (int i = 0; i < kSide; ++i) square[i] = i < wide ? LoadPartial(a + i * x_stride, high) : Set1(0.0f);
      Transpose(square);
      for (int i = 0; i < high; ++i) StorePartial(b + i * y_stride, square[i], wide);
    }
  }
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

// Several rows at once, so that the latencies of their sums and maxima overlap. Masked: of x * factor + mask; else of x * factor, factor >
// 0.
template <int kRows, bool kMasked>
SIGRUN_INLINE void SoftmaxRows(const float* x, const float* mask, ptrdiff_t mask_stride, float* y, ptrdiff_t n, F32 factor) {
  const int rest = static_cast<int>(n % F32::lanes);
  const ptrdiff_t whole = n - rest;
  const F32 lowest = Set1(-kInfinity), none = Set1(0.0f);
  F32 max[kRows], sum[kRows], e[kRows];
  const auto load = [&](int r, ptrdiff_t i) __attribute__((always_inline)) {
    const F32 v = Load(x + r * n + i);
    return kMasked ? Fma(v, factor, mask == nullptr ? none : Load(mask + r * mask_stride + i)) : v;
  };
  const auto load_rest = [&](int r) __attribute__((always_inline)) {
    const F32 v = LoadPartial(x + r * n + whole, rest);
    return kMasked ? Fma(v, factor, mask == nullptr ? none : LoadPartial(mask + r * mask_stride + whole, rest)) : v;
  };
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    max[r] = lowest;
    sum[r] = none;
  }
  for (ptrdiff_t i = 0; i < whole; i += F32::lanes) {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) max[r] = Max(load(r, i), max[r]);
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    if (rest > 0) max[r] = Max(Select(FirstLanes(rest), load_rest(r), lowest), max[r]);
    max[r] = Set1(ReduceMax(max[r]));
  }
  const auto below_max = [&](F32 v, int r) __attribute__((always_inline)) { return kMasked ? v - max[r] : (v - max[r]) * factor; };
  for (ptrdiff_t i = 0; i < whole; i += F32::lanes) {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) e[r] = below_max(load(r, i), r);
    ExpOfNegative(e);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      Store(y + r * n + i, e[r]);
      sum[r] = sum[r] + e[r];
    }
  }
  if (rest > 0) {
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) e[r] = below_max(load_rest(r), r);
    ExpOfNegative(e);
    SIGRUN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      StorePartial(y + r * n + whole, e[r], rest);
      sum[r] = sum[r] + Select(FirstLanes(rest), e[r], none);
    }
  }
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r) sum[r] = Set1(1.0f / ReduceAdd(sum[r]));
  SIGRUN_UNROLL
  for (int r = 0; r < kRows; ++r, y += n) {
    for (ptrdiff_t i = 0; i < whole; i += F32::lanes) Store(y + i, Load(y + i) * sum[r]);
    if (rest > 0) StorePartial(y + whole, LoadPartial(y + whole, rest) * sum[r], rest);
  }
}

template <bool kMasked>
void SoftmaxLongRows(const float* x, const float* mask, ptrdiff_t mask_stride, float* y, int32_t depth, float scale, Range rows) {
  constexpr int kRows = 4;
  const F32 factor = Set1(scale);
  const ptrdiff_t n = depth;
  ptrdiff_t row = rows.begin;
  const auto mask_of = [&] { return mask == nullptr ? nullptr : mask + row * mask_stride; };
  for (; row + kRows <= rows.end; row += kRows) SoftmaxRows<kRows, kMasked>(x + row * n, mask_of(), mask_stride, y + row * n, n, factor);
  for (; row < rows.end; ++row) SoftmaxRows<1, kMasked>(x + row * n, mask_of(), mask_stride, y + row * n, n, factor);
}

void SoftmaxF32(const float* x, float* y, int32_t depth, float beta, Range rows) {
  if (depth > F32::lanes) return SoftmaxLongRows<false>(x, nullptr, 0, y, depth, beta, rows);
  const ptrdiff_t first = static_cast<ptrdiff_t>(rows.begin) * depth;
  SoftmaxShortRows(x + first, y + first, depth, beta, rows.end - rows.begin);
}

void MaskedSoftmaxF32(const float* x, const float* mask, ptrdiff_t mask_stride, float* y, int32_t depth, float scale, Range rows) {
  if (mask == nullptr && scale > 0.0f) return SoftmaxF32(x, y, depth, scale, rows);
  SoftmaxLongRows<true>(x, mask, mask_stride, y, depth, scale, rows);
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

// Three passes over a few rows that stay in the first cache: what one row waits for, others do.
void LayerNormF32(const float* x, const float* scale, const float* shift, float* y, int32_t depth, float epsilon, Range rows) {
  constexpr ptrdiff_t kRows = 8;
  const size_t n = static_cast<size_t>(depth);
  const float count = static_cast<float>(depth);
  for (ptrdiff_t first = rows.begin; first < rows.end; first += kRows) {
    const ptrdiff_t few = rows.end - first < kRows ? rows.end - first : kRows;
    float means[kRows], factors[kRows];
    for (ptrdiff_t r = 0; r < few; ++r) means[r] = SumF32(x + (first + r) * depth, n) / count;
    for (ptrdiff_t r = 0; r < few; ++r) factors[r] = SumSquares(x + (first + r) * depth, n, Set1(means[r])) / count + epsilon;
    for (ptrdiff_t r = 0; r < few; ++r) {
      const float* in = x + (first + r) * depth;
      float* out = y + (first + r) * depth;
      const F32 mean = Set1(means[r]), factor = Set1(1.0f) / Sqrt(Set1(factors[r]));
      size_t i = 0;
      for (; i + F32::lanes <= n; i += F32::lanes) Store(out + i, Fma(Load(in + i) - mean, factor * Load(scale + i), Load(shift + i)));
      const int rest = static_cast<int>(n - i);
      if (rest == 0) continue;
      StorePartial(out + i, Fma(LoadPartial(in + i, rest) - mean, factor * LoadPartial(scale + i, rest), LoadPartial(shift + i, rest)),
                   rest);
    }
  }
}

void RmsNormF32(const float* x, const float* scale, float* y, int32_t depth, float weight, float epsilon, Range rows) {
  constexpr ptrdiff_t kRows = 8;  // whose factors do not wait for each other
  const size_t n = static_cast<size_t>(depth);
  for (ptrdiff_t first = rows.begin; first < rows.end; first += kRows) {
    const ptrdiff_t few = rows.end - first < kRows ? rows.end - first : kRows;
    float factors[kRows];
    for (ptrdiff_t r = 0; r < few; ++r) factors[r] = weight * static_cast<float>(SumSquaresInDouble(x + (first + r) * depth, n)) + epsilon;
    for (ptrdiff_t r = 0; r < few; ++r) {
      const float* in = x + (first + r) * depth;
      float* out = y + (first + r) * depth;
      const F32 factor = Set1(1.0f) / Sqrt(Set1(factors[r]));
      size_t i = 0;
      for (; i + F32::lanes <= n; i += F32::lanes) Store(out + i, Load(in + i) * factor * Load(scale + i));
      const int rest = static_cast<int>(n - i);
      if (rest > 0) StorePartial(out + i, LoadPartial(in + i, rest) * factor * LoadPartial(scale + i, rest), rest);
    }
  }
}

void OverlayReduce(Kernels& t) {
  t.sum_f32 = SumF32;
  t.max_f32 = ExtremeF32<false>;
  t.min_f32 = ExtremeF32<true>;
  t.sum_columns_f32 = ColumnsF32Loop<SumColumn>;
  t.max_columns_f32 = ColumnsF32Loop<ExtremeColumn<false>>;
  t.min_columns_f32 = ColumnsF32Loop<ExtremeColumn<true>>;
  t.transpose_32 = Transpose32;
  t.softmax_f32 = SoftmaxF32;
  t.masked_softmax_f32 = MaskedSoftmaxF32;
  t.layer_norm_f32 = LayerNormF32;
  t.rms_norm_f32 = RmsNormF32;
}

}  // namespace
}  // namespace sigrun::kernels
