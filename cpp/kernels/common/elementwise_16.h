#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/fixed_point_16.h"
#include "kernels/common/inline.h"
#include "kernels/kernels.h"

// 16-bit elementwise kernels over a tier's simd_i8.h and elementwise_i8.h, included before. y may be one of the operands.
namespace sigrun::kernels {
namespace {

// --- the logistic function and tanh: fixed_point_16.h's of as many numbers as a register holds, an Int16s. MulRounded is its Multiply
// where not both are INT16_MIN. Nothing saturates but where it says so: the scalar functions saturate for numbers that do not occur there.
// ----------------------------------------------------------------------------------------------------------------------

constexpr int kInt16s = sizeof(Int16s) / sizeof(int16_t);

using Uint16s = uint16_t __attribute__((vector_size(sizeof(Int16s))));
SIGRUN_INLINE Int16s WrappingSum(Int16s a, Int16s b) {
  return reinterpret_cast<Int16s>(reinterpret_cast<Uint16s>(a) + reinterpret_cast<Uint16s>(b));
}
/// INT16_MIN stays itself.
SIGRUN_INLINE Int16s Negated(Int16s x) { return WrappingSum(~x, Int16s{} + 1); }

SIGRUN_INLINE Int16s Chosen(Int16s mask, Int16s yes, Int16s no) { return (mask & yes) | (~mask & no); }

SIGRUN_INLINE Int16s ExpOfSmall(Int16s a) {
  const Int16s most = Int16s{} + INT16_MAX, factor = Int16s{} + fixed16::kExpOfMinusEighth, third = Int16s{} + fixed16::kThird;
  const Int16s x = a + (1 << 12), x2 = MulRounded(x, x), x3 = MulRounded(x2, x), x4 = MulRounded(x2, x2);
  const Int16s twice = MulRounded(((x4 + 2) >> 2) + x3, third) + x2;
  const Int16s rest = (twice + 1 + (twice >> 15)) >> 1;
  const Int16s sum = WrappingSum(factor, MulRounded(factor, x + rest));
  return Chosen(sum < 0, most, sum);  // what is too large
}

SIGRUN_INLINE Int16s ExpOfNegative(Int16s a, int integer_bits) {
  const int fraction_bits = 15 - integer_bits;
  const int16_t quarter = static_cast<int16_t>(1 << (fraction_bits - 2)), fraction = static_cast<int16_t>(quarter - 1);
  const Int16s below = (a & fraction) - quarter, remainder = below - a;
  Int16s result = ExpOfSmall(below << integer_bits);
  for (int k = -2; k < integer_bits && k <= 4; ++k) {
    const int16_t bit = static_cast<int16_t>(1 << (fraction_bits + k));
    result = Chosen((remainder & bit) != 0, MulRounded(result, Int16s{} + fixed16::kFactors[k + 2]), result);
  }
  const int16_t least = integer_bits > 5 ? static_cast<int16_t>(-(1 << (20 - integer_bits))) : INT16_MIN;
  result = ~(a < least) & result;
  return Chosen(a == 0, Int16s{} + INT16_MAX, result);
}

SIGRUN_INLINE Int16s InverseOfHalfOnePlus(Int16s a) {
  const Int16s half = ((a >> 1) & INT16_MAX) + (1 << 14);
  Int16s x = MulRounded(half, Int16s{} + fixed16::kMinus32By17) + fixed16::k48By17;
  SIGRUN_UNROLL
  for (int i = 0; i < 3; ++i) x += MulRounded(x, (1 << 13) - MulRounded(half, x)) << 2;
  return x;
}

struct LogisticOf16 {
  int integer_bits;
  SIGRUN_INLINE Int16s operator()(Int16s a) const {
    const Int16s most = Int16s{} + INT16_MAX, negative = Chosen(a < 0, a, Negated(a));
    const Int16s inverse = InverseOfHalfOnePlus(ExpOfNegative(negative, integer_bits));
    const Int16s positive = Chosen(inverse >= 1 << 14, most, inverse << 1);
    return Chosen(a == 0, Int16s{} + (1 << 14), Chosen(a > 0, positive, most - positive));
  }
};

struct TanhOf16 {
  int integer_bits;
  SIGRUN_INLINE Int16s operator()(Int16s a) const {
    const Int16s negative = Chosen(a < 0, a, Negated(a));
    const Int16s part = InverseOfHalfOnePlus(ExpOfNegative(negative, integer_bits + 1)) - (1 << 13);
    const Int16s t = Chosen(part >= 1 << 13, Int16s{} + INT16_MAX, part << 2);
    return Chosen(a == 0, Int16s{}, Chosen(a < 0, -t, t));
  }
};

template <class Function>
void Each16(const int16_t* x, int16_t* y, size_t n, int32_t integer_bits) {
  const Function f{integer_bits};
  size_t i = 0;
  Int16s v;
  for (; i + kInt16s <= n; i += kInt16s) {
    std::memcpy(&v, x + i, sizeof(v));
    v = f(v);
    std::memcpy(y + i, &v, sizeof(v));
  }
  if (i == n) return;
  v = Int16s{};
  std::memcpy(&v, x + i, (n - i) * sizeof(int16_t));
  v = f(v);
  std::memcpy(y + i, &v, (n - i) * sizeof(int16_t));
}

// --- functions in pieces ---

// What an element takes of the table it loads one by one: a gather takes twice as long on processors whose microcode guards it.
void TakePieces(const int16_t* x, int16_t* y, size_t n, const Pieces16& p) {
  constexpr size_t kBlock = 256;
  int32_t piece[kBlock], rest[kBlock];
  const int32_t mask = (1 << p.bits) - 1;
  for (size_t first = 0; first < n; first += kBlock) {
    const size_t count = n - first < kBlock ? n - first : kBlock;
    for (size_t i = 0; i < count; ++i) {
      const int32_t s = ((x[first + i] * p.multiplier + p.nudge) >> p.shift) + p.bias, magnitude = s < 0 ? -s : s;
      const int32_t above = magnitude >> p.bits;
      piece[i] = (above < p.last ? above : p.last) + (s < 0 ? 256 : 0);
      rest[i] = magnitude & mask;
    }
    for (size_t i = 0; i < count; ++i) {
      ptrdiff_t at = piece[i];
      asm("" : "+r"(at));
      y[first + i] = static_cast<int16_t>((p.offset[at] + p.slope[at] * rest[i]) >> p.right);
    }
  }
}

// --- from and to floats ---

template <bool kDivides>
SIGRUN_INLINE void QuantizeBy(const RoundedQuotient& quotient, const float* x, int16_t* y, size_t n, int32_t zero_point) {
  const I32 offset = Set1(zero_point), min = Set1(INT16_MIN), max = Set1(INT16_MAX);
  const auto quantized = [=](F32 v) SIGRUN_INLINE_LAMBDA { return Clamp(quotient.Of<kDivides>(v) + offset, min, max); };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) StoreLow16(y + i, quantized(Load(x + i)));
  if (i == n) return;
  int16_t rest[kLanes];
  StoreLow16(rest, quantized(LoadFew(x + i, static_cast<int32_t>(n - i))));
  std::memcpy(y + i, rest, (n - i) * sizeof(int16_t));
}

void Quantize16(const float* x, int16_t* y, size_t n, float scale, int32_t zero_point) {
  const RoundedQuotient quotient(scale);
  quotient.divides ? QuantizeBy<true>(quotient, x, y, n, zero_point) : QuantizeBy<false>(quotient, x, y, n, zero_point);
}

void Dequantize16(const int16_t* x, float* y, size_t n, float scale, int32_t zero_point) {
  const I32 offset = Set1(zero_point);
  const F32 factor = Set1(scale);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, ToFloat(LoadWide(x + i) - offset) * factor);
  if (i == n) return;
  int16_t rest[kLanes] = {};
  std::memcpy(rest, x + i, (n - i) * sizeof(int16_t));
  StoreFew(y + i, ToFloat(LoadWide(rest) - offset) * factor, static_cast<int32_t>(n - i));
}

// --- sums and products ---

/// y[i] = op(a[i], b[i]), of 16 bits, where either may be one value.
template <class Op>
SIGRUN_INLINE void Binary16(const int16_t* a, const int16_t* b, int16_t* y, size_t n, Operands operands, Op op) {
  if (n == 0) return;
  const bool a_moves = operands != Operands::kScalarVector, b_moves = operands != Operands::kVectorScalar;
  const I32 a_one = Set1(a[0]), b_one = Set1(b[0]);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) StoreLow16(y + i, op(a_moves ? LoadWide(a + i) : a_one, b_moves ? LoadWide(b + i) : b_one));
  if (i == n) return;
  int16_t rest_a[kLanes] = {}, rest_b[kLanes] = {}, rest[kLanes];
  const size_t bytes = (n - i) * sizeof(int16_t);
  if (a_moves) std::memcpy(rest_a, a + i, bytes);
  if (b_moves) std::memcpy(rest_b, b + i, bytes);
  StoreLow16(rest, op(a_moves ? LoadWide(rest_a) : a_one, b_moves ? LoadWide(rest_b) : b_one));
  std::memcpy(y + i, rest, bytes);
}

template <bool kSubtracts>
void Sum16(const int16_t* a, const int16_t* b, int16_t* y, size_t n, const AddI8Params& p, Operands operands) {
  const Scale a_scale = MakeScale(p.a_multiplier, p.a_shift, p.left_shift), b_scale = MakeScale(p.b_multiplier, p.b_shift, p.left_shift);
  const Scale y_scale = MakeScale(p.output_multiplier, p.output_shift);
  const I32 a_offset = Set1(p.a_offset), b_offset = Set1(p.b_offset), y_offset = Set1(p.output_offset);
  const I32 min = Set1(p.min), max = Set1(p.max);
  Binary16(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA {
    const I32 left = Requantize(x0 + a_offset, a_scale), right = Requantize(x1 + b_offset, b_scale);
    return Clamp(Requantize(kSubtracts ? left - right : left + right, y_scale) + y_offset, min, max);
  });
}

void Product16(const int16_t* a, const int16_t* b, int16_t* y, size_t n, const MulI8Params& p, Operands operands) {
  const Scale scale = MakeScale(p.output_multiplier, p.output_shift);
  const I32 a_offset = Set1(p.a_offset), b_offset = Set1(p.b_offset), y_offset = Set1(p.output_offset);
  const I32 min = Set1(p.min), max = Set1(p.max);
  Binary16(a, b, y, n, operands, [=](I32 x0, I32 x1) SIGRUN_INLINE_LAMBDA {
    return Clamp(Requantize((x0 + a_offset) * (x1 + b_offset), scale) + y_offset, min, max);
  });
}

void OverlayElementwise16(Kernels& table) {
  table.add_i16 = Sum16<false>;
  table.sub_i16 = Sum16<true>;
  table.mul_i16 = Product16;
  table.logistic_16 = Each16<LogisticOf16>;
  table.tanh_16 = Each16<TanhOf16>;
  table.pieces_16 = TakePieces;
  table.quantize_i16 = Quantize16;
  table.dequantize_i16 = Dequantize16;
}

}  // namespace
}  // namespace sigrun::kernels
