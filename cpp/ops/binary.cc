#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <memory>

#include "ops/op.h"
#include "ops/support/affine.h"
#include "ops/support/broadcast.h"
#include "ops/support/fixed_point.h"
#include "ops/support/integer.h"
#include "ops/support/linear_sum.h"
#include "ops/support/quantization.h"
#include "ops/support/small_float.h"

// Arithmetic on two operands that broadcast: float32 through the kernels, integers that wrap, 8-bit as LiteRT's reference rounds it.
namespace sigrun::ops {
namespace {

using kernels::Arithmetic;
using kernels::Binary;
using kernels::Operands;

void CheckTypes(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
}

[[noreturn]] void RefuseType(const Prepare& p) {
  p.Refuse(StatusCode::kUnimplemented, Concat("operands of type ", TensorTypeName(p.type(0))));
}

bool Is8Bit(TensorType type) { return type == TensorType::kInt8 || type == TensorType::kUInt8; }

// Bounds of a fused activation on plain integers.
template <class T>
struct Bounds {
  T min = std::numeric_limits<T>::min();
  T max = std::numeric_limits<T>::max();
  T operator()(T x) const { return std::min(std::max(x, min), max); }
};

template <class T>
Bounds<T> ActivationBounds(const Prepare& p) {
  const kernels::ClampF32 clamp = ActivationClamp(p);
  Bounds<T> bounds;
  if (!std::isinf(clamp.min)) bounds.min = static_cast<T>(std::max(clamp.min, static_cast<float>(bounds.min)));
  if (!std::isinf(clamp.max)) bounds.max = static_cast<T>(clamp.max);
  return bounds;
}

// Calls f(T) for the plain integer types that arithmetic takes.
template <class F>
void WithInteger(const Prepare& p, const F& f) {
  switch (p.type(0)) {
    case TensorType::kInt32: return f(int32_t{});
    case TensorType::kInt64: return f(int64_t{});
    case TensorType::kUInt32: return f(uint32_t{});
    case TensorType::kUInt64: return f(uint64_t{});
    case TensorType::kInt16:
      if (p.quantization(0).empty()) return f(int16_t{});
      break;
    default: break;
  }
  RefuseType(p);
}

// By a kernel on words of as many bits: whatever their sign, sums and products are the same. Bounds come last.
template <class T>
void EmitWords(Prepare& p, Arithmetic op, bool square = false) {
  const auto& row = p.kernels().elements->arithmetic[sizeof(T) == sizeof(int64_t)];
  const kernels::PairsKernel kernel = row[static_cast<size_t>(op)], multiply = row[static_cast<size_t>(Arithmetic::kMul)];
  const bool bounded = p.activation() != schema::Activation::kNone;
  if (!square && !bounded) return EmitPairs(p, sizeof(T), sizeof(T), kernel);
  EmitBinary<T, T>(p, 1, [=, bounds = ActivationBounds<T>(p)](const T* a, const T* b, T* y, size_t n, Operands operands) {
    kernel(a, b, y, n, operands);
    if (square) multiply(y, y, y, n, Operands::kVectorVector);
    for (size_t i = 0; bounded && i < n; ++i) y[i] = bounds(y[i]);
  });
}

// `narrow` is the operation on INT16.
template <class Narrow>
void EmitInteger(Prepare& p, Arithmetic op, Narrow narrow, bool square = false) {
  WithInteger(p, [&]<class T>(T) {
    if constexpr (sizeof(T) >= 4) {
      EmitWords<T>(p, op, square);
    } else {
      EmitBinaryOp<T, T>(p, 1, [narrow, bounds = ActivationBounds<T>(p)](T a, T b) { return bounds(narrow(a, b)); });
    }
  });
}

struct QuantizedOperands {
  Prepare::Affine a, b, y;
};
QuantizedOperands Affines(const Prepare& p) { return {InputAffine(p, 0), InputAffine(p, 1), OutputAffine(p, 0)}; }

// A kernel on 8-bit operands. Where one of them is the same for many, the results of all bytes are made once and looked up.
// kernel(a, b, y, n, operands)
template <class T, class Kernel>
void EmitBytes(Prepare& p, Kernel kernel) {
  EmitBinary<T, T>(p, 1, [kernel, lookup = p.kernels().lookup_8](const T* a, const T* b, T* y, size_t n, Operands operands) {
    constexpr size_t kWorthATable = 2048;
    if (operands == Operands::kVectorVector || n < kWorthATable) return kernel(a, b, y, n, operands);
    const bool a_moves = operands == Operands::kVectorScalar;
    T bytes[256], results[256];
    for (int i = 0; i < 256; ++i) bytes[i] = static_cast<T>(i);
    kernel(a_moves ? bytes : a, a_moves ? b : bytes, results, 256, operands);
    lookup(reinterpret_cast<const uint8_t*>(a_moves ? a : b), reinterpret_cast<const uint8_t*>(results), reinterpret_cast<uint8_t*>(y), n);
  });
}

// --- quantised ADD and SUB ---

kernels::AddI8Params AddParams(const Prepare& p) {
  const auto [a, b, y] = Affines(p);
  return QuantizedSum(a, b, y, p.type(0) == TensorType::kInt16 ? 15 : 20, QuantizedActivationRange(p, 0));
}

// A difference by the kernel of 16 bits, for where that of bytes, which adds a negated product, could round a tie the other way than the
// reference, which subtracts.
template <class T>
void EmitDifference(Prepare& p, const kernels::AddI8Params& q) {
  EmitBinary<T, T>(p, 2, [q, kernel = p.kernels().sub_i16](const T* a, const T* b, T* y, size_t n, Operands operands) {
    constexpr size_t kBlock = 512;
    int16_t wide_a[kBlock], wide_b[kBlock], wide[kBlock];
    const bool a_moves = operands != Operands::kScalarVector, b_moves = operands != Operands::kVectorScalar;
    for (size_t first = 0; first < n; first += kBlock) {
      const size_t count = std::min(n - first, kBlock);
      std::copy_n(a + (a_moves ? first : 0), a_moves ? count : 1, wide_a);
      std::copy_n(b + (b_moves ? first : 0), b_moves ? count : 1, wide_b);
      kernel(wide_a, wide_b, wide, count, q, operands);
      for (size_t i = 0; i < count; ++i) y[first + i] = static_cast<T>(wide[i]);
    }
  });
}

// Whether a byte times the negated multiplier is rounded to something else than the negated product: ends in exactly half a unit.
bool HasTie(const kernels::AddI8Params& q, bool is_unsigned) {
  for (int32_t i = 0; i < 256; ++i) {
    const int32_t b = (i - (is_unsigned ? 0 : 128) + q.b_offset) * (1 << q.left_shift);
    if (ScaleBy(b, -q.b_multiplier, q.b_shift) != -ScaleBy(b, q.b_multiplier, q.b_shift)) return true;
  }
  return false;
}

void EmitQuantizedAdd(Prepare& p, bool subtract) {
  kernels::AddI8Params params = AddParams(p);
  const bool is_unsigned = p.type(0) == TensorType::kUInt8;
  if (subtract && HasTie(params, is_unsigned)) {
    return is_unsigned ? EmitDifference<uint8_t>(p, params) : EmitDifference<int8_t>(p, params);
  }
  if (subtract) params.b_multiplier = -params.b_multiplier;
  params.linear = FindLinearSum(params, is_unsigned);
  const auto by = [=]<class T>(void (*add)(const T*, const T*, T*, size_t, const kernels::AddI8Params&, Operands)) {
    return [=](const T* a, const T* b, T* y, size_t n, Operands operands) { add(a, b, y, n, params, operands); };
  };
  is_unsigned ? EmitBytes<uint8_t>(p, by(p.kernels().add_u8)) : EmitBytes<int8_t>(p, by(p.kernels().add_i8));
}

// Whether the scale is a power of two, as the reference decides it.
bool IsPowerOfTwo(float scale, int* exponent) {
  const float log = std::log2(scale);
  const float rounded = std::round(log);
  *exponent = static_cast<int>(rounded);
  return std::abs(log - rounded) < 1e-3f;
}

template <class Params>
void EmitKernel16(Prepare& p, void (*kernel)(const int16_t*, const int16_t*, int16_t*, size_t, const Params&, Operands), Params params) {
  EmitBinary<int16_t, int16_t>(
      p, 2, [=](const int16_t* a, const int16_t* b, int16_t* y, size_t n, Operands operands) { kernel(a, b, y, n, params, operands); });
}

// INT16 whose scales are all powers of two is added by shifts, unless the options say that any scale may come.
void EmitSum16(Prepare& p, bool subtract) {
  const auto [a, b, y] = Affines(p);
  int log_a = 0, log_b = 0, log_y = 0;
  const bool powers = IsPowerOfTwo(a.scale, &log_a) && IsPowerOfTwo(b.scale, &log_b) && IsPowerOfTwo(y.scale, &log_y);
  const auto kernel = subtract ? p.kernels().sub_i16 : p.kernels().add_i16;
  if (!p.options().Bool(1, true) || !powers) return EmitKernel16(p, kernel, AddParams(p));
  p.Check(a.zero_point == 0 && b.zero_point == 0 && y.zero_point == 0, "a zero point that is not 0");
  const int shift_a = log_y - log_a, shift_b = log_y - log_b;
  p.Check(shift_a >= 0 && shift_b >= 0 && (shift_a == 0 || shift_b == 0), "scales ", a.scale, " and ", b.scale, " for an output of scale ",
          y.scale);
  const QuantizedRange range = QuantizedActivationRange(p, 0);
  // Scales without a rounding of their own. Beyond kMostShift nothing is left of 16 bits.
  constexpr int kMostShift = 17;
  constexpr int32_t kHalf = 1 << 30;
  EmitKernel16(p, kernel,
               kernels::AddI8Params{.left_shift = 15,
                                    .a_offset = 0,
                                    .a_multiplier = kHalf,
                                    .a_shift = -14 - std::min(shift_a, kMostShift),
                                    .b_offset = 0,
                                    .b_multiplier = kHalf,
                                    .b_shift = -14 - std::min(shift_b, kMostShift),
                                    .output_offset = 0,
                                    .output_multiplier = kHalf,
                                    .output_shift = 1,
                                    .min = range.min,
                                    .max = range.max});
}

bool IsQuantized16(const Prepare& p) { return p.type(0) == TensorType::kInt16 && !p.quantization(0).empty(); }

template <bool kSubtract>
void PrepareSum(Prepare& p) {
  CheckTypes(p);
  if (p.type(0) == TensorType::kFloat32) return EmitBinaryF32(p, kSubtract ? Binary::kSub : Binary::kAdd);
  if (Is8Bit(p.type(0))) return EmitQuantizedAdd(p, kSubtract);
  if (IsQuantized16(p)) return EmitSum16(p, kSubtract);
  EmitInteger(p, kSubtract ? Arithmetic::kSub : Arithmetic::kAdd,
              [](int16_t a, int16_t b) { return kSubtract ? WrappingSub(a, b) : WrappingAdd(a, b); });
}

// --- MUL ---

void EmitQuantizedMul(Prepare& p) {
  const auto [a, b, y] = Affines(p);
  const FixedPoint m = QuantizeMultiplier(static_cast<double>(a.scale * b.scale / y.scale));
  const QuantizedRange range = QuantizedActivationRange(p, 0);
  const kernels::MulI8Params params{-a.zero_point, -b.zero_point, y.zero_point, m.multiplier, m.shift, range.min, range.max};
  const auto by = [=]<class T>(void (*multiply)(const T*, const T*, T*, size_t, const kernels::MulI8Params&, Operands)) {
    return [=](const T* a, const T* b, T* y, size_t n, Operands operands) { multiply(a, b, y, n, params, operands); };
  };
  p.type(0) == TensorType::kUInt8 ? EmitBytes<uint8_t>(p, by(p.kernels().mul_u8)) : EmitBytes<int8_t>(p, by(p.kernels().mul_i8));
}

void EmitMul16(Prepare& p) {
  const auto [a, b, y] = Affines(p);
  p.Check(a.zero_point == 0 && b.zero_point == 0 && y.zero_point == 0, "a zero point that is not 0");
  const FixedPoint m = QuantizeMultiplier(static_cast<double>(a.scale * b.scale / y.scale));
  const QuantizedRange range = QuantizedActivationRange(p, 0);
  EmitKernel16(p, p.kernels().mul_i16, kernels::MulI8Params{0, 0, 0, m.multiplier, m.shift, range.min, range.max});
}

void PrepareMul(Prepare& p) {
  CheckTypes(p);
  if (p.type(0) == TensorType::kFloat32) return EmitBinaryF32(p, Binary::kMul);
  if (p.type(0) == TensorType::kComplex64) {
    using Complex = std::complex<float>;
    return EmitBinaryOp<Complex, Complex>(p, 4, [](Complex a, Complex b) { return a * b; });
  }
  if (Is8Bit(p.type(0))) return EmitQuantizedMul(p);
  if (IsQuantized16(p)) return EmitMul16(p);
  EmitInteger(p, Arithmetic::kMul, [](int16_t a, int16_t b) { return WrappingMul(a, b); });
}

// --- division ---

// A step that reports an element of input 1 equal to `zero`, before the division runs.
template <class T>
void EmitZeroCheck(Prepare& p, T zero) {
  p.Emit([zero, n = p.elements(1), b = p.in(1)](RunContext& run) noexcept {
    const T* x = run.get<T>(b);
    if (std::find(x, x + n, zero) != x + n) run.Fail("division by zero");
  });
}

template <class T>
void EmitQuantizedDiv(Prepare& p) {
  const auto [a, b, y] = Affines(p);
  const FixedPoint m = QuantizeMultiplier(static_cast<double>(a.scale / (b.scale * y.scale)));
  const QuantizedRange range = QuantizedActivationRange(p, 0);
  const int32_t a_offset = -a.zero_point, b_offset = -b.zero_point, y_offset = y.zero_point;
  p.SetShape(0, BroadcastShapes(p, p.shape(0), p.shape(1)));
  EmitZeroCheck<T>(p, static_cast<T>(b.zero_point));
  EmitBinaryOp<T, T>(p, 32, [=](T l, T r) {
    int32_t dividend = l + a_offset, divisor = r + b_offset;
    if (divisor < 0) dividend = -dividend, divisor = -divisor;
    int bits_over_unit = 0;
    const int32_t inverse = Reciprocal(divisor, &bits_over_unit);
    const int headroom = dividend == 0 ? 31 : std::countl_zero(static_cast<uint32_t>(dividend < 0 ? ~dividend : dividend)) - 1;
    const int32_t quotient = kernels::SaturatingRoundingDoublingHighMul(kernels::WrapShiftLeft(dividend, headroom), inverse);
    const int32_t scaled = ScaleBy(quotient, m.multiplier, m.shift - bits_over_unit - headroom);
    return static_cast<T>(kernels::ClampI32(kernels::WrapAdd(scaled, y_offset), range.min, range.max));
  });
}

template <class T>
void EmitIntegerDiv(Prepare& p) {
  p.SetShape(0, BroadcastShapes(p, p.shape(0), p.shape(1)));
  EmitZeroCheck<T>(p, 0);
  EmitBinaryOp<T, T>(p, 8, [bounds = ActivationBounds<T>(p)](T a, T b) { return bounds(WrappingDiv(a, b)); });
}

void PrepareDiv(Prepare& p) {
  CheckTypes(p);
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitBinaryF32(p, Binary::kDiv);
    case TensorType::kInt8: return EmitQuantizedDiv<int8_t>(p);
    case TensorType::kUInt8: return EmitQuantizedDiv<uint8_t>(p);
    case TensorType::kInt16:
      if (IsQuantized16(p)) return EmitQuantizedDiv<int16_t>(p);
      return EmitIntegerDiv<int16_t>(p);
    default: WithInteger(p, [&]<class T>(T) { EmitIntegerDiv<T>(p); });
  }
}

// Calls f(T) for the types that FLOOR_DIV and FLOOR_MOD take; 8-bit operands are plain integers there.
template <class F>
void WithUnquantized(const Prepare& p, const F& f) {
  switch (p.type(0)) {
    case TensorType::kInt8: return f(int8_t{});
    case TensorType::kUInt8: return f(uint8_t{});
    case TensorType::kInt16: return f(int16_t{});
    default: WithInteger(p, f);
  }
}

void PrepareFloorDiv(Prepare& p) {
  CheckTypes(p);
  if (p.type(0) == TensorType::kFloat32) {
    return EmitBinaryOp<float, float>(
        p, 8, [](float a, float b) { return static_cast<float>(std::floor(static_cast<double>(a) / static_cast<double>(b))); });
  }
  WithUnquantized(p, [&]<class T>(T) {
    p.SetShape(0, BroadcastShapes(p, p.shape(0), p.shape(1)));
    EmitZeroCheck<T>(p, 0);
    EmitBinaryOp<T, T>(p, 8, [](T a, T b) { return FloorDiv(a, b); });
  });
}

void PrepareFloorMod(Prepare& p) {
  CheckTypes(p);
  if (p.type(0) == TensorType::kFloat32) {
    return EmitBinaryOp<float, float>(p, 16, [](float a, float b) {
      const float mod = std::fmod(a, b);
      return mod != 0 && (b < 0) != (mod < 0) ? mod + b : mod;
    });
  }
  WithUnquantized(p, [&]<class T>(T) {
    p.SetShape(0, BroadcastShapes(p, p.shape(0), p.shape(1)));
    EmitZeroCheck<T>(p, 0);
    EmitBinaryOp<T, T>(p, 8, [](T a, T b) { return FloorMod(a, b); });
  });
}

// --- MAXIMUM, MINIMUM, SQUARED_DIFFERENCE, POW ---

template <bool kMax>
void PrepareExtremum(Prepare& p) {
  CheckTypes(p);
  if (p.type(0) == TensorType::kFloat32) return EmitBinaryF32(p, kMax ? Binary::kMaximum : Binary::kMinimum);
  if (p.type(0) == TensorType::kInt32) return EmitWords<int32_t>(p, kMax ? Arithmetic::kMaximum : Arithmetic::kMinimum);
  if (p.type(0) == TensorType::kInt64) return EmitWords<int64_t>(p, kMax ? Arithmetic::kMaximum : Arithmetic::kMinimum);
  // Quantised operands are compared as they are: the converter gives all three the same scale.
  const auto& extreme = p.kernels().elements->extreme;
  switch (p.type(0)) {
    case TensorType::kInt8: return EmitPairs(p, 1, 1, extreme[0][!kMax]);
    case TensorType::kUInt8: return EmitPairs(p, 1, 1, extreme[1][!kMax]);
    case TensorType::kInt16: return EmitPairs(p, 2, 2, extreme[2][!kMax]);
    default: break;
  }
  WithInteger(p, [&]<class T>(T) { EmitBinaryOp<T, T>(p, 1, [](T a, T b) { return kMax ? (a > b ? a : b) : (a < b ? a : b); }); });
}

void EmitQuantizedSquaredDifference(Prepare& p) {
  const auto [a, b, y] = Affines(p);
  constexpr int kLeftShift = 7;
  const double twice_max_scale = 2 * std::max(a.scale, b.scale);
  const FixedPoint ma = QuantizeMultiplier(a.scale / twice_max_scale);
  const FixedPoint mb = QuantizeMultiplier(b.scale / twice_max_scale);
  const FixedPoint my = QuantizeMultiplier(twice_max_scale * twice_max_scale / ((1 << (2 * kLeftShift)) * y.scale));
  const kernels::AddI8Params params{.left_shift = kLeftShift,
                                    .a_offset = -a.zero_point,
                                    .a_multiplier = ma.multiplier,
                                    .a_shift = ma.shift,
                                    .b_offset = -b.zero_point,
                                    .b_multiplier = mb.multiplier,
                                    .b_shift = mb.shift,
                                    .output_offset = y.zero_point,
                                    .output_multiplier = my.multiplier,
                                    .output_shift = my.shift,
                                    .min = -128,
                                    .max = 127};
  EmitBinary<int8_t, int8_t>(
      p, 2,
      [params, kernel = p.kernels().squared_difference_i8](const int8_t* l, const int8_t* r, int8_t* to, size_t n, Operands operands) {
        kernel(l, r, to, n, params, operands);
      });
}

void PrepareSquaredDifference(Prepare& p) {
  CheckTypes(p);
  if (p.type(0) == TensorType::kFloat32) return EmitBinaryF32(p, Binary::kSquaredDifference);
  if (p.type(0) == TensorType::kInt8) return EmitQuantizedSquaredDifference(p);
  const auto narrow = [](int16_t a, int16_t b) {
    const int16_t difference = WrappingSub(a, b);
    return WrappingMul(difference, difference);
  };
  EmitInteger(p, Arithmetic::kSub, narrow, true);
}

template <class T>
T IntegerPower(T base, T exponent) {
  T result = 1;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1) result = WrappingMul(result, base);
    base = WrappingMul(base, base);
  }
  return result;
}

void PreparePow(Prepare& p) {
  CheckTypes(p);
  if (p.type(0) == TensorType::kFloat32) return EmitBinaryF32(p, Binary::kPow);
  if (p.type(0) != TensorType::kInt32) RefuseType(p);
  p.SetShape(0, BroadcastShapes(p, p.shape(0), p.shape(1)));
  p.Emit([n = p.elements(1), b = p.in(1)](RunContext& run) noexcept {
    const int32_t* x = run.get<int32_t>(b);
    if (std::any_of(x, x + n, [](int32_t e) { return e < 0; })) run.Fail("a negative exponent of an integer power");
  });
  EmitBinaryOp<int32_t, int32_t>(p, 16, IntegerPower<int32_t>);
}

constexpr OpDef kOps[] = {
    {.name = "ADD", .prepare = OrSmallFloat<PrepareSum<false>, Binary::kAdd>, .activation_field = 0, .traits = kFlushesDenormals},
    {.name = "SUB", .prepare = OrSmallFloat<PrepareSum<true>, Binary::kSub>, .activation_field = 0, .traits = kFlushesDenormals},
    {.name = "MUL", .prepare = OrSmallFloat<PrepareMul, Binary::kMul>, .activation_field = 0, .traits = kFlushesDenormals},
    {.name = "DIV", .prepare = OrSmallFloat<PrepareDiv, Binary::kDiv>, .activation_field = 0},
    {.name = "MAXIMUM", .prepare = OrSmallFloat<PrepareExtremum<true>, Binary::kMaximum>},
    {.name = "MINIMUM", .prepare = OrSmallFloat<PrepareExtremum<false>, Binary::kMinimum>},
    {.name = "SQUARED_DIFFERENCE",
     .prepare = OrSmallFloat<PrepareSquaredDifference, Binary::kSquaredDifference>,
     .traits = kFlushesDenormals},
    {.name = "FLOOR_DIV", .prepare = PrepareFloorDiv},
    {.name = "FLOOR_MOD", .prepare = PrepareFloorMod},
    {.name = "POW", .prepare = OrSmallFloat<PreparePow, Binary::kPow>},
};

}  // namespace

std::span<const OpDef> binary_ops() { return kOps; }

}  // namespace sigrun::ops
