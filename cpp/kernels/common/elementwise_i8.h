#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/bytes_i8.h"
#include "kernels/common/inline.h"
#include "kernels/common/rescale_i8.h"
#include "kernels/common/row_params_i8.h"
#include "kernels/kernels.h"

// 8-bit elementwise kernels over a tier's simd_i8.h, included before. y may be one of the operands. Rows are taken vector by vector; the
// last, partial vector goes through a copy, so that nothing outside is touched.
namespace sigrun::kernels {
namespace {

static_assert(kLanes <= kBytes);

struct Scale {
  I32 multiplier, left, right;
};
SIGRUN_INLINE Scale MakeScale(int32_t multiplier, int32_t shift, int32_t left_shift = 0) {
  return {Set1(multiplier), Set1(left_shift + (shift > 0 ? shift : 0)), Set1(shift > 0 ? 0 : -shift)};
}
SIGRUN_INLINE I32 Requantize(I32 x, const Scale& s) { return Requantize(x, s.multiplier, s.left, s.right); }

SIGRUN_INLINE void StoreResult(uint8_t* p, I32 x) { StoreLow8(p, x); }
SIGRUN_INLINE void StoreResult(uint8_t* p, I32 x, int32_t n) { StoreLow8(p, x, n); }
SIGRUN_INLINE void StoreResult(uint8_t* p, Bytes x) { StoreLanes(p, x); }
SIGRUN_INLINE void StoreResult(uint8_t* p, Bytes x, int32_t n) { StoreLanes(p, x, n); }

/// y[i] = op(a[i], b[i]) where either may be one value; T says how the bytes are widened.
template <class T, class Op>
SIGRUN_INLINE void BinaryBytes(const T* a, const T* b, T* y, size_t n, Operands operands, Op op) {
  T one[kLanes];
  if (n == 0) return;
  for (T& x : one) x = operands == Operands::kScalarVector ? a[0] : b[0];
  const bool a_moves = operands != Operands::kScalarVector, b_moves = operands != Operands::kVectorScalar;
  const T* pa = a_moves ? a : one;
  const T* pb = b_moves ? b : one;
  uint8_t* out = reinterpret_cast<uint8_t*>(y);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) StoreResult(out + i, op(LoadWide(pa + (a_moves ? i : 0)), LoadWide(pb + (b_moves ? i : 0))));
  if (i == n) return;
  const int32_t few = static_cast<int32_t>(n - i);
  T tail_a[kLanes] = {}, tail_b[kLanes] = {};
  CopyFew(reinterpret_cast<uint8_t*>(tail_a), reinterpret_cast<const uint8_t*>(pa + (a_moves ? i : 0)), few);
  CopyFew(reinterpret_cast<uint8_t*>(tail_b), reinterpret_cast<const uint8_t*>(pb + (b_moves ? i : 0)), few);
  StoreResult(out + i, op(LoadWide(tail_a), LoadWide(tail_b)), few);
}

// Whether a zero point of type T is minus `offset`.
template <class T>
SIGRUN_INLINE bool IsSmallOffset(int32_t offset) {
  constexpr int32_t kMost = static_cast<T>(-1) < 0 ? 128 : 0;
  return offset >= kMost - 255 && offset <= kMost;
}
// Whether MakeSmallScale is for such an operand of type T.
template <class T>
SIGRUN_INLINE bool HasSmallScale(int32_t left_shift, int32_t shift, int32_t offset) {
  return left_shift >= 0 && left_shift <= 20 && shift <= 0 && shift >= -31 && IsSmallOffset<T>(offset);
}

template <class T>
void AddElements(const T* a, const T* b, T* y, size_t n, const AddI8Params& p, Operands operands) {
  const ByteOutput bytes = MakeByteOutput(p.output_offset, p.min, p.max);
  if (bytes.fits && p.linear.holds) {
    LinearI8 form = p.linear;
    form.addend_high -= (p.output_offset - bytes.zero_point) * (1 << form.shift);
    const Linear linear = MakeLinear(form);
    // Where the tier adds four vectors at once.
    if constexpr (requires { LinearSums(a, b, linear); }) {
      for (; operands == Operands::kVectorVector && n >= 4 * kLanes; a += 4 * kLanes, b += 4 * kLanes, y += 4 * kLanes, n -= 4 * kLanes) {
        Store(reinterpret_cast<uint8_t*>(y), Limit(LinearSums(a, b, linear), bytes.min, bytes.max, bytes.flip));
      }
    }
    return BinaryBytes(a, b, y, n, operands,
                       [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA { return ToBytes(LinearSum(x0, x1, linear), bytes); });
  }
  if (bytes.fits && HasSmallScale<T>(p.left_shift, p.a_shift, p.a_offset) && HasSmallScale<T>(p.left_shift, p.b_shift, p.b_offset) &&
      IsRescalable(p.output_multiplier, p.output_shift, bytes.zero_point)) {
    const SmallScale a_small = MakeSmallScale(p.a_multiplier, p.left_shift, -p.a_shift);
    const SmallScale b_small = MakeSmallScale(p.b_multiplier, p.left_shift, -p.b_shift);
    const Rescale rescale = MakeRescale(Set1(p.output_multiplier), Set1(-p.output_shift), bytes.zero_point);
    const I32 a_offset = Set1(p.a_offset), b_offset = Set1(p.b_offset);
    return BinaryBytes(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA {
      return ToBytes(Rescaled(Scaled(x0 + a_offset, a_small) + Scaled(x1 + b_offset, b_small), rescale), bytes);
    });
  }
  const Scale a_scale = MakeScale(p.a_multiplier, p.a_shift, p.left_shift), b_scale = MakeScale(p.b_multiplier, p.b_shift, p.left_shift);
  const Scale y_scale = MakeScale(p.output_multiplier, p.output_shift);
  const I32 a_offset = Set1(p.a_offset), b_offset = Set1(p.b_offset), y_offset = Set1(p.output_offset);
  const I32 min = Set1(p.min), max = Set1(p.max);
  BinaryBytes(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA {
    const I32 sum = Requantize(x0 + a_offset, a_scale) + Requantize(x1 + b_offset, b_scale);
    return Clamp(Requantize(sum, y_scale) + y_offset, min, max);
  });
}

// b may be one value, as a mean is.
template <class ScaleA, class ScaleB>
SIGRUN_INLINE void SquaredDifferencesOf(const int8_t* a, const int8_t* b, int8_t* y, size_t n, const AddI8Params& p, Operands operands,
                                        ScaleA scale_a, ScaleB scale_b) {
  const ByteOutput bytes = MakeByteOutput(p.output_offset, p.min, p.max);
  if (bytes.fits && IsRescalable(p.output_multiplier, p.output_shift, bytes.zero_point)) {
    const Rescale rescale = MakeRescale(Set1(p.output_multiplier), Set1(-p.output_shift), bytes.zero_point);
    const auto square = [=](I32 d) SIGRUN_INLINE_LAMBDA { return ToBytes(Rescaled(d * d, rescale), bytes); };
    if (n != 0 && operands == Operands::kVectorScalar) {
      const I32 mean = scale_b(Set1(*b));
      return BinaryBytes(a, b, y, n, operands, [=](I32 x0, I32) SIGRUN_INLINE_LAMBDA { return square(scale_a(x0) - mean); });
    }
    return BinaryBytes(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA { return square(scale_a(x0) - scale_b(x1)); });
  }
  const Scale y_scale = MakeScale(p.output_multiplier, p.output_shift);
  const I32 y_offset = Set1(p.output_offset), min = Set1(p.min), max = Set1(p.max);
  BinaryBytes(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA {
    const I32 d = scale_a(x0) - scale_b(x1);
    return Clamp(Requantize(d * d, y_scale) + y_offset, min, max);
  });
}

void SquaredDifferences(const int8_t* a, const int8_t* b, int8_t* y, size_t n, const AddI8Params& p, Operands operands) {
  const I32 a_offset = Set1(p.a_offset), b_offset = Set1(p.b_offset);
  if (HasSmallScale<int8_t>(p.left_shift, p.a_shift, p.a_offset) && HasSmallScale<int8_t>(p.left_shift, p.b_shift, p.b_offset)) {
    const SmallScale a_small = MakeSmallScale(p.a_multiplier, p.left_shift, -p.a_shift);
    const SmallScale b_small = MakeSmallScale(p.b_multiplier, p.left_shift, -p.b_shift);
    return SquaredDifferencesOf(
        a, b, y, n, p, operands, [=](I32 x) SIGRUN_INLINE_LAMBDA { return Scaled(x + a_offset, a_small); },
        [=](I32 x) SIGRUN_INLINE_LAMBDA { return Scaled(x + b_offset, b_small); });
  }
  const Scale a_scale = MakeScale(p.a_multiplier, p.a_shift, p.left_shift), b_scale = MakeScale(p.b_multiplier, p.b_shift, p.left_shift);
  SquaredDifferencesOf(
      a, b, y, n, p, operands, [=](I32 x) SIGRUN_INLINE_LAMBDA { return Requantize(x + a_offset, a_scale); },
      [=](I32 x) SIGRUN_INLINE_LAMBDA { return Requantize(x + b_offset, b_scale); });
}

template <class T>
void MulElements(const T* a, const T* b, T* y, size_t n, const MulI8Params& p, Operands operands) {
  const ByteOutput bytes = MakeByteOutput(p.output_offset, p.min, p.max);
  if (bytes.fits && IsRescalable(p.output_multiplier, p.output_shift, bytes.zero_point)) {
    const Rescale rescale = MakeRescale(Set1(p.output_multiplier), Set1(-p.output_shift), bytes.zero_point);
    const I32 a_offset = Set1(p.a_offset), b_offset = Set1(p.b_offset);
    if constexpr (requires { RescaledProducts(a, b, a_offset, b_offset, rescale); }) {
      const bool is_small = IsSmallOffset<T>(p.a_offset) && IsSmallOffset<T>(p.b_offset) && operands == Operands::kVectorVector;
      for (; is_small && n >= 4 * kLanes; a += 4 * kLanes, b += 4 * kLanes, y += 4 * kLanes, n -= 4 * kLanes) {
        const auto products = RescaledProducts(a, b, a_offset, b_offset, rescale);
        Store(reinterpret_cast<uint8_t*>(y), Limit(products, bytes.min, bytes.max, bytes.flip));
      }
    }
    return BinaryBytes(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA {
      return ToBytes(Rescaled((x0 + a_offset) * (x1 + b_offset), rescale), bytes);
    });
  }
  const Scale scale = MakeScale(p.output_multiplier, p.output_shift);
  const I32 a_offset = Set1(p.a_offset), b_offset = Set1(p.b_offset), y_offset = Set1(p.output_offset);
  const I32 min = Set1(p.min), max = Set1(p.max);
  BinaryBytes(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA {
    return Clamp(Requantize((x0 + a_offset) * (x1 + b_offset), scale) + y_offset, min, max);
  });
}

// x limited to [min, max], NaN to min, then rounded half away from zero.
SIGRUN_INLINE I32 RoundWithin(F32 x, F32 min, F32 max) { return Round(Min(Max(x, min), max)); }

/// y[i] = op(x[i]) from floats to bytes: op makes int32, which is narrowed, clamped and flipped as `bytes` says.
template <class Op, class Lanes = I32>
SIGRUN_INLINE void FloatsToBytes(const float* x, uint8_t* y, size_t n, const ByteOutput& bytes, Op op) {
  size_t i = 0;
  if constexpr (requires(Lanes v) { SaturateFour(v, v, v, v); }) {
    const auto at = [=](size_t k) SIGRUN_INLINE_LAMBDA { return op(Load(x + k)); };
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
      const auto four = SaturateFour(at(i), at(i + kLanes), at(i + 2 * kLanes), at(i + 3 * kLanes));
      Store(y + i, Limit(four, bytes.min, bytes.max, bytes.flip));
    }
  }
  for (; i + kLanes <= n; i += kLanes) StoreLanes(y + i, ToBytes(op(Load(x + i)), bytes));
  if (i == n) return;
  const int32_t few = static_cast<int32_t>(n - i);
  StoreLanes(y + i, ToBytes(op(LoadFew(x + i, few)), bytes), few);
}

// x / scale, limited to what any integer of 16 bits may be and rounded half away from zero. A quotient that has been corrected by what is
// left of x is the division's if 1 / scale is rounded (Markstein) and nothing over- or underflows: so x is limited before.
struct RoundedQuotient {
  F32 scale, inverse, least, most;
  bool divides;
  explicit RoundedQuotient(float s)
      : scale(Set1(s)),
        inverse(Set1(1.0f / s)),
        least(Set1(-131072.0f * s)),
        most(Set1(131072.0f * s)),
        divides(!(s >= 0x1p-60f && s <= 0x1p60f)) {}
  template <bool kDivides>
  SIGRUN_INLINE I32 Of(F32 x) const {
    if constexpr (kDivides) return RoundWithin(x / scale, Set1(-131072.0f), Set1(131072.0f));
    const F32 limited = Min(Max(x, least), most), quotient = limited * inverse;
    return Round(Fma(Fnma(quotient, scale, limited), inverse, quotient));
  }
};

template <class T>
void Quantize(const float* x, T* y, size_t n, float scale, int32_t zero_point) {
  constexpr int32_t kMin = static_cast<T>(-1) < 0 ? -128 : 0;
  const RoundedQuotient quotient(scale);
  const I32 offset = Set1(zero_point - kMin - 128);
  const ByteOutput bytes = MakeByteOutput(0, kMin, kMin + 255);
  uint8_t* to = reinterpret_cast<uint8_t*>(y);
  if (quotient.divides) {
    return FloatsToBytes(x, to, n, bytes, [=](F32 v) SIGRUN_INLINE_LAMBDA { return quotient.Of<true>(v) + offset; });
  }
  FloatsToBytes(x, to, n, bytes, [=](F32 v) SIGRUN_INLINE_LAMBDA { return quotient.Of<false>(v) + offset; });
}

template <class T>
void Dequantize(const T* x, float* y, size_t n, float scale, int32_t zero_point) {
  const I32 offset = Set1(zero_point);
  const F32 factor = Set1(scale);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, ToFloat(LoadWide(x + i) - offset) * factor);
  if (i == n) return;
  const int32_t few = static_cast<int32_t>(n - i);
  T tail[kLanes] = {};
  CopyFew(reinterpret_cast<uint8_t*>(tail), reinterpret_cast<const uint8_t*>(x + i), few);
  StoreFew(y + i, ToFloat(LoadWide(tail) - offset) * factor, few);
}

// --- rows of hybrid activations
// ---------------------------------------------------------------------------------------------------------------

/// NaN is passed over: Min and Max give their second operand for it.
SIGRUN_INLINE ExtremesF32 FindExtremes(const float* x, size_t n) {
  constexpr size_t kChains = 4;  // a minimum takes as long as this many need to issue, with their maxima
  F32 low[kChains], high[kChains];
  SIGRUN_UNROLL
  for (size_t c = 0; c < kChains; ++c) low[c] = high[c] = Set1(0.0f);
  const auto take = [&](size_t chain, F32 v) SIGRUN_INLINE_LAMBDA {
    low[chain] = Min(v, low[chain]);
    high[chain] = Max(v, high[chain]);
  };
  size_t i = 0;
  for (; i + kChains * kLanes <= n; i += kChains * kLanes) {
    SIGRUN_UNROLL
    for (size_t c = 0; c < kChains; ++c) take(c, Load(x + i + c * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) take(0, Load(x + i));
  if (i < n) take(1, LoadFew(x + i, static_cast<int32_t>(n - i)));
  return {ReduceMin(Min(Min(low[0], low[1]), Min(low[2], low[3]))), ReduceMax(Max(Max(high[0], high[1]), Max(high[2], high[3])))};
}
ExtremesF32 Extremes(const float* x, size_t n) { return FindExtremes(x, n); }

/// How the floats of a row become bytes that cover it: x * inverse, rounded half away from zero, + zero_point. What is no number becomes
/// the least byte.
struct RoundedRow {
  F32 inverse;
  int32_t zero;
  ByteOutput bytes;
  bool finite;
  RoundedRow(float factor, int32_t zero_point, int32_t min, int32_t max, bool is_unsigned)
      : inverse(Set1(factor)), zero(zero_point), bytes(MakeByteOutput(0, min, max)), finite(factor < __builtin_inff()) {
    if (is_unsigned) bytes.flip = SetBytes(0x80);
  }
  template <bool kFinite>
  SIGRUN_INLINE I32 Rounded(F32 x) const {
    const F32 y = x * inverse;
    return Round(Max(kFinite ? y : Min(Set1(256.0f), y), Set1(-256.0f))) + Set1(zero);
  }
  // Four vectors at a time, as many as there are, of finite rows whose bytes are all of int8. A row has no products beyond its extremes,
  // and what is no number is the least int32 before it is saturated. Returns how many floats that are.
  template <class Lanes = I32>
  SIGRUN_INLINE size_t StoreFours(const float* x, uint8_t* y, size_t n) const {
    size_t i = 0;
    if constexpr (requires(Lanes v) { AddSaturated(SaturateWords(v, v), SaturateWords(v, v)); }) {
      const F32 factor = inverse;
      const Lanes offset = Set1(zero);
      const auto addend = SaturateWords(offset, offset);
      const Bytes flip = bytes.flip;
      const auto two = [=](size_t k) SIGRUN_INLINE_LAMBDA {
        const Lanes first = Round(Load(x + k) * factor), second = Round(Load(x + k + kLanes) * factor);
        return AddSaturated(SaturateWords(first, second), addend);
      };
      for (; i + 4 * kLanes <= n; i += 4 * kLanes) kernels::Store(y + i, SaturateFour(two(i), two(i + 2 * kLanes)) ^ flip);
    }
    return i;
  }
  SIGRUN_INLINE void Store(const float* x, int8_t* y, size_t n) const {
    uint8_t* to = reinterpret_cast<uint8_t*>(y);
    if (finite && bytes.whole) {
      const size_t done = StoreFours(x, to, n);
      if (done == n) return;
      x += done;
      to += done;
      n -= done;
    }
    const RoundedRow row = *this;  // in registers
    if (finite) return FloatsToBytes(x, to, n, bytes, [=](F32 v) SIGRUN_INLINE_LAMBDA { return row.Rounded<true>(v); });
    FloatsToBytes(x, to, n, bytes, [=](F32 v) SIGRUN_INLINE_LAMBDA { return row.Rounded<false>(v); });
  }
};

void QuantizeSymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, ExtremesF32 of_row, float* scale) {
  const float range = -of_row.low > of_row.high ? -of_row.low : of_row.high;
  const bool empty = range == 0.0f;
  *scale = empty ? 1.0f : range / 127.0f;
  RoundedRow(empty ? 0.0f : 127.0f / range, 0, empty ? 0 : -127, empty ? 0 : 127, is_unsigned).Store(x, y, n);
}

SIGRUN_INLINE RoundedRow AsymmetricRow(ExtremesF32 of_row, float scale, int32_t zero_point, bool is_unsigned) {
  const bool empty = of_row.low == of_row.high;
  return {1.0f / scale, zero_point, empty ? 0 : -128, empty ? 0 : 127, is_unsigned};
}

void QuantizeAsymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, ExtremesF32 of_row, float* scale, int32_t* zero_point) {
  AsymmetricParams(of_row.low, of_row.high, scale, zero_point);
  AsymmetricRow(of_row, *scale, *zero_point, is_unsigned).Store(x, y, n);
}

constexpr int32_t kRowsAtOnce = 8;  // at most

// AsymmetricParams of kRowsAtOnce, as a loop without branches, of which compilers make vectors. A row of no extent divides by 1.
void AsymmetricParamsOfRows(const ExtremesF32* of_rows, float* scale, int32_t* zero_point) {
  for (int32_t r = 0; r < kRowsAtOnce; ++r) {
    const double low = static_cast<double>(of_rows[r].low), high = static_cast<double>(of_rows[r].high);
    const bool empty = of_rows[r].low == of_rows[r].high;
    const double step = (high - low) / 255.0, divisor = empty ? 1.0 : step;
    const double below = low / divisor, above = high / divisor;
    const double from_low = -128.0 - below, from_high = 127.0 - above;
    const double exact = 128.0 + __builtin_fabs(below) < 127.0 + __builtin_fabs(above) ? from_low : from_high;
    const double at_least = exact > -128.0 ? exact : -128.0, within = at_least < 127.0 ? at_least : 127.0;
    const int32_t rounded = static_cast<int32_t>(within + __builtin_copysign(0x1.fffffffffffffp-2, within));
    scale[r] = static_cast<float>(divisor);
    zero_point[r] = empty ? 0 : rounded;
  }
}

template <bool kFinite>
SIGRUN_INLINE void RoundFloats(const float* x, float* y, size_t n, const RoundedRow& row, float factor, int32_t offset, bool empty) {
  const I32 zero_point = Set1(offset), min = Set1(empty ? 0 : -128), max = Set1(empty ? 0 : 127);
  const F32 scale = Set1(factor);
  const auto round = [=](F32 v) SIGRUN_INLINE_LAMBDA { return ToFloat(Clamp(row.Rounded<kFinite>(v), min, max) - zero_point) * scale; };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, round(Load(x + i)));
  if (i == n) return;
  const int32_t few = static_cast<int32_t>(n - i);
  StoreFew(y + i, round(LoadFew(x + i, few)), few);
}

void RoundAsymmetric(const float* x, float* y, size_t n, ExtremesF32 of_row) {
  float scale;
  int32_t zero_point;
  AsymmetricParams(of_row.low, of_row.high, &scale, &zero_point);
  const RoundedRow row = AsymmetricRow(of_row, scale, zero_point, false);
  const bool empty = of_row.low == of_row.high;
  row.finite ? RoundFloats<true>(x, y, n, row, scale, zero_point, empty) : RoundFloats<false>(x, y, n, row, scale, zero_point, empty);
}

// Several rows go through one part of the work before the next, and the extremes of those behind them are found after prepare(extremes) has
// begun, since each part is a chain of slow operations: store(from, to, row, its place among those at once, extremes). They are read twice,
// and stay in the first cache for that.
template <class Prepare, class StoreRow>
SIGRUN_INLINE void ForRowsAtOnce(const float* x, int8_t* y, size_t n, Range rows, Prepare prepare, StoreRow store) {
  constexpr size_t kFloats = 2048;
  const int32_t fit = n <= kFloats / kRowsAtOnce ? kRowsAtOnce : static_cast<int32_t>(kFloats / n), at_once = fit > 2 ? fit : 2;
  ExtremesF32 extremes[2][kRowsAtOnce] = {};
  const auto for_rows = [=](int32_t first, auto f) SIGRUN_INLINE_LAMBDA {
    for (int32_t row = first; row < rows.end && row < first + at_once; ++row) f(row, static_cast<size_t>(row) * n);
  };
  const auto find = [&](int32_t first, ExtremesF32* to) {
    for_rows(first, [=](int32_t row, size_t at) SIGRUN_INLINE_LAMBDA { to[row - first] = FindExtremes(x + at, n); });
  };
  find(rows.begin, extremes[0]);
  for (int32_t first = rows.begin, now = 0; first < rows.end; first += at_once, now = 1 - now) {
    const ExtremesF32* found = extremes[now];
    prepare(found);
    find(first + at_once, extremes[1 - now]);
    for_rows(first, [&](int32_t row, size_t at) SIGRUN_INLINE_LAMBDA { store(x + at, y + at, row, row - first, found[row - first]); });
  }
}

void QuantizeRowsSymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, float* scale, Range rows) {
  ForRowsAtOnce(
      x, y, n, rows, [](const ExtremesF32*) {},
      [=](const float* from, int8_t* to, int32_t row, int32_t, ExtremesF32 extremes) {
        QuantizeSymmetric(from, to, n, is_unsigned, extremes, scale + row);
      });
}

void QuantizeRowsAsymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, float* scale, int32_t* zero_point, Range rows) {
  if (rows.end - rows.begin == 1) {
    const size_t at = static_cast<size_t>(rows.begin) * n;
    return QuantizeAsymmetric(x + at, y + at, n, is_unsigned, FindExtremes(x + at, n), scale + rows.begin, zero_point + rows.begin);
  }
  float scales[kRowsAtOnce];
  int32_t zero_points[kRowsAtOnce];
  ForRowsAtOnce(
      x, y, n, rows, [&](const ExtremesF32* extremes) { AsymmetricParamsOfRows(extremes, scales, zero_points); },
      [&](const float* from, int8_t* to, int32_t row, int32_t i, ExtremesF32 extremes) {
        AsymmetricRow(extremes, scales[i], zero_points[i], is_unsigned).Store(from, to, n);
        scale[row] = scales[i];
        zero_point[row] = zero_points[i];
      });
}

inline void OverlayElementwiseI8(Kernels& table) {
  table.add_i8 = AddElements<int8_t>;
  table.add_u8 = AddElements<uint8_t>;
  table.squared_difference_i8 = SquaredDifferences;
  table.mul_i8 = MulElements<int8_t>;
  table.mul_u8 = MulElements<uint8_t>;
  table.quantize_i8 = Quantize<int8_t>;
  table.quantize_u8 = Quantize<uint8_t>;
  table.dequantize_i8 = Dequantize<int8_t>;
  table.dequantize_u8 = Dequantize<uint8_t>;
  table.quantize_rows_symmetric = QuantizeRowsSymmetric;
  table.quantize_rows_asymmetric = QuantizeRowsAsymmetric;
  table.extremes_f32 = Extremes;
  table.quantize_symmetric = QuantizeSymmetric;
  table.quantize_asymmetric = QuantizeAsymmetric;
  table.round_asymmetric = RoundAsymmetric;
}

}  // namespace
}  // namespace sigrun::kernels
