#include <array>
#include <cmath>
#include <functional>
#include <string>

#include "ops/op.h"
#include "ops/support/affine.h"
#include "ops/support/arithmetic.h"
#include "ops/support/broadcast.h"
#include "ops/support/fixed_point.h"
#include "ops/support/quantization.h"

// EQUAL, LESS and their kin: two operands that broadcast, a BOOL result.
namespace sigrun::ops {
namespace {

// What the reference compares instead of a quantised value: it takes it to a common scale in fixed point, which may make two values equal.
struct Scaling {
  int32_t zero_point;
  FixedPoint scale;
  int32_t operator()(int32_t value) const {
    constexpr int kLeftShift = 8;
    return ScaleBy(kernels::WrapShiftLeft(value - zero_point, kLeftShift), scale.multiplier, scale.shift);
  }
};

Scaling ReadScaling(const Prepare& p, int i) {
  const Prepare::Affine affine = InputAffine(p, i);
  return {affine.zero_point, QuantizeMultiplier(static_cast<double>(affine.scale))};
}

using Scaled = std::array<int32_t, 256>;

Scaled ScaledValues(const Prepare& p, int i) {
  const Scaling scaling = ReadScaling(p, i);
  Scaled table;
  for (int32_t bits = 0; bits < 256; ++bits) {
    table[static_cast<size_t>(bits)] = scaling(p.type(i) == TensorType::kUInt8 ? bits : static_cast<int8_t>(bits));
  }
  return table;
}

template <class T>
constexpr size_t kCompared = std::is_same_v<T, float>     ? 0
                             : std::is_same_v<T, int32_t> ? 1
                                                          : 2;

// What is greater than, is less than with the operands exchanged.
template <class T, class Op>
void EmitKernel(Prepare& p) {
  using kernels::Comparison;
  constexpr bool kSwapped = std::is_same_v<Op, std::greater<>> || std::is_same_v<Op, std::greater_equal<>>;
  constexpr Comparison kComparison = std::is_same_v<Op, std::equal_to<>>                                     ? Comparison::kEqual
                                     : std::is_same_v<Op, std::not_equal_to<>>                               ? Comparison::kNotEqual
                                     : std::is_same_v<Op, std::less<>> || std::is_same_v<Op, std::greater<>> ? Comparison::kLess
                                                                                                             : Comparison::kLessEqual;
  EmitPairs(p, sizeof(T), 1, p.kernels().elements->compare[kCompared<T>][static_cast<size_t>(kComparison)], kSwapped);
}

template <class T, class Op>
void EmitPlain(Prepare& p) {
  EmitBinaryOp<T, bool>(p, 1, [](const T& a, const T& b) { return Op()(a, b); });
}

template <class T, class Op>
void EmitWidened(Prepare& p) {
  EmitBinaryOp<T, bool>(p, 2, [](T a, T b) { return Op()(static_cast<float>(a), static_cast<float>(b)); });
}

template <class Op>
void EmitQuantized(Prepare& p) {
  EmitBinary<uint8_t, bool>(p, 2,
                            [left = ScaledValues(p, 0), right = ScaledValues(p, 1)](const uint8_t* a, const uint8_t* b, bool* y, size_t n,
                                                                                    kernels::Operands operands) {
                              const size_t step_a = operands == kernels::Operands::kScalarVector ? 0 : 1;
                              const size_t step_b = operands == kernels::Operands::kVectorScalar ? 0 : 1;
                              for (size_t i = 0; i < n; ++i) y[i] = Op()(left[a[i * step_a]], right[b[i * step_b]]);
                            });
}

template <class Op>
void EmitQuantized16(Prepare& p) {
  EmitBinaryOp<int16_t, bool>(
      p, 4, [left = ReadScaling(p, 0), right = ReadScaling(p, 1)](int16_t a, int16_t b) { return Op()(left(a), right(b)); });
}

template <class Op, bool kEquality>
void PrepareCompare(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {TensorType::kBool});
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitKernel<float, Op>(p);
    case TensorType::kFloat16: return EmitWidened<Half, Op>(p);
    case TensorType::kBFloat16: return EmitWidened<BFloat16, Op>(p);
    case TensorType::kFloat64: return EmitPlain<double, Op>(p);
    case TensorType::kInt32: return EmitKernel<int32_t, Op>(p);
    case TensorType::kInt64: return EmitKernel<int64_t, Op>(p);
    case TensorType::kUInt32: return EmitPlain<uint32_t, Op>(p);
    case TensorType::kInt8: return p.quantization(0).empty() ? EmitPlain<int8_t, Op>(p) : EmitQuantized<Op>(p);
    case TensorType::kUInt8: return p.quantization(0).empty() ? EmitPlain<uint8_t, Op>(p) : EmitQuantized<Op>(p);
    case TensorType::kInt16: return p.quantization(0).empty() || !kEquality ? EmitPlain<int16_t, Op>(p) : EmitQuantized16<Op>(p);
    case TensorType::kBool:
      if constexpr (kEquality) return EmitBinaryOp<uint8_t, bool>(p, 1, [](uint8_t a, uint8_t b) { return Op()(a != 0, b != 0); });
      break;
    case TensorType::kString:
      if constexpr (kEquality) return EmitPlain<std::string, Op>(p);
      break;
    default: break;
  }
  p.Refuse(StatusCode::kUnimplemented, Concat("operands of type ", TensorTypeName(p.type(0))));
}

constexpr OpDef kOps[] = {
    {.name = "EQUAL", .prepare = PrepareCompare<std::equal_to<>, true>},
    {.name = "NOT_EQUAL", .prepare = PrepareCompare<std::not_equal_to<>, true>},
    {.name = "LESS", .prepare = PrepareCompare<std::less<>, false>},
    {.name = "LESS_EQUAL", .prepare = PrepareCompare<std::less_equal<>, false>},
    {.name = "GREATER", .prepare = PrepareCompare<std::greater<>, false>},
    {.name = "GREATER_EQUAL", .prepare = PrepareCompare<std::greater_equal<>, false>},
};

}  // namespace

std::span<const OpDef> compare_ops() { return kOps; }

}  // namespace sigrun::ops
