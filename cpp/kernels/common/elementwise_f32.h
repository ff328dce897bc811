#pragma once

#include "kernels/common/math.h"
#include "kernels/kernels.h"

// Elementwise kernels: one operation a struct, one loop for all unary and one for all binary ones. An element's result does not depend
// on its neighbours or its place in a vector, and y may be x, a or b itself. Trick: where vectors are short, cheap operations take four of
// them at a time, all loads before all stores: the loop itself would be half of the instructions, and cores that run in order would wait
// for every load. NEON, by llvm-mca: a sum of four vectors takes 8 cycles on Neoverse N1, its bound, instead of 14, and 26 on Cortex-A55
// instead of 112.
namespace sigrun::kernels {
namespace {

struct AbsOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Abs(x); }
};
struct NegOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Neg(x); }
};
struct SquareOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return x * x; }
};
struct SqrtOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Sqrt(x); }
};
struct RsqrtOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Rsqrt(x); }
};
struct ReluOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Max(Set1(0.0f), x); }
};
struct Relu6Op {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Clamp(x, Set1(0.0f), Set1(6.0f)); }
};
struct ReluN1To1Op {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Clamp(x, Set1(-1.0f), Set1(1.0f)); }
};
struct Relu0To1Op {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Clamp(x, Set1(0.0f), Set1(1.0f)); }
};
struct HardSwishOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return HardSwish(x); }
};
struct FloorOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Floor(x); }
};
struct CeilOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return Ceil(x); }
};
struct RoundOp {
  static SIGRUN_INLINE F32 Apply(F32 x) { return RoundEven(x); }
};
struct SignOp {
  static SIGRUN_INLINE F32 Apply(F32 x) {
    const F32 positive = Select(Less(Set1(0.0f), x), Set1(1.0f), x - x);  // NaN stays one
    return Select(Less(x, Set1(0.0f)), Set1(-1.0f), positive);
  }
};

struct ExpOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Exp(x);
  }
};
struct LogOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Log(x);
  }
};
struct SinOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Sin(x);
  }
};
struct CosOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Cos(x);
  }
};
struct EluOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Elu(x);
  }
};
struct GeluTanhOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    GeluTanh(x);
  }
};
struct GeluOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Gelu(x);
  }
};
struct TanhOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Tanh(x);
  }
};
struct LogisticOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Logistic(x);
  }
};
struct SwishOp {
  template <int kCount>
  static SIGRUN_INLINE void Apply(F32 (&x)[kCount]) {
    Swish(x);
  }
};

/// Functions of many operations, of several vectors at once, as many as registers hold: a logistic function takes 0.08 ns an element on a
/// Zen 5, which is what its multiplications and additions allow.
template <class Op, int kTogether>
void LongUnaryLoop(const float* x, float* y, size_t n) {
  size_t i = 0;
  for (; i + kTogether * F32::lanes <= n; i += kTogether * F32::lanes) {
    F32 v[kTogether];
    SIGRUN_UNROLL
    for (int k = 0; k < kTogether; ++k) v[k] = Load(x + i + k * F32::lanes);
    Op::Apply(v);
    SIGRUN_UNROLL
    for (int k = 0; k < kTogether; ++k) Store(y + i + k * F32::lanes, v[k]);
  }
  for (; i < n; i += F32::lanes) {
    const int left = n - i < F32::lanes ? static_cast<int>(n - i) : F32::lanes;
    F32 v[1] = {left == F32::lanes ? Load(x + i) : LoadPartial(x + i, left)};
    Op::Apply(v);
    left == F32::lanes ? Store(y + i, v[0]) : StorePartial(y + i, v[0], left);
  }
}

constexpr int kVectorsTogether = F32::lanes == 4 ? 4 : 1;

/// Stores what at(i) gives for `kVectors` vectors from y + i on.
template <int kVectors, class At>
SIGRUN_INLINE void StoreVectors(float* y, size_t i, const At& at) {
  F32 v[kVectors];
  SIGRUN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) v[k] = at(i + k * F32::lanes);
  SIGRUN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) Store(y + i + k * F32::lanes, v[k]);
}

/// The same for all whole vectors of n elements, kVectors at a time; returns where they end.
template <int kVectors, class At>
SIGRUN_INLINE size_t StoreWholeVectors(float* y, size_t n, const At& at) {
  size_t i = 0;
  if constexpr (kVectors > 1) {
    for (; i + kVectors * F32::lanes <= n; i += kVectors * F32::lanes) StoreVectors<kVectors>(y, i, at);
  }
  for (; i + F32::lanes <= n; i += F32::lanes) StoreVectors<1>(y, i, at);
  return i;
}

template <class Op, int kVectors>
void UnaryLoop(const float* x, float* y, size_t n) {
  const size_t i = StoreWholeVectors<kVectors>(y, n, [=](size_t at) SIGRUN_INLINE_LAMBDA { return Op::Apply(Load(x + at)); });
  const int rest = static_cast<int>(n - i);
  if (rest > 0) StorePartial(y + i, Op::Apply(LoadPartial(x + i, rest)), rest);
}

struct AddOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return a + b; }
};
struct SubOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return a - b; }
};
struct MulOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return a * b; }
};
struct DivOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return a / b; }
};
struct MaximumOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return Max(a, b); }
};
struct MinimumOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return Min(a, b); }
};
struct SquaredDifferenceOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return (a - b) * (a - b); }
};
struct PreluOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return Select(Less(a, Set1(0.0f)), a * b, a); }
};

struct PowOp {
  static SIGRUN_INLINE F32 Apply(F32 a, F32 b) { return Pow(a, b); }
};

struct VectorOperand {
  const float* p;
  explicit VectorOperand(const float* x) : p(x) {}
  SIGRUN_INLINE F32 At(size_t i) const { return Load(p + i); }
  SIGRUN_INLINE F32 PartAt(size_t i, int n) const { return LoadPartial(p + i, n); }
};
struct ScalarOperand {
  F32 value;
  explicit ScalarOperand(const float* x) : value(Set1(*x)) {}
  SIGRUN_INLINE F32 At(size_t) const { return value; }
  SIGRUN_INLINE F32 PartAt(size_t, int) const { return value; }
};

template <class Op, int kVectors, class A, class B>
void BinaryLoop(const float* a, const float* b, float* y, size_t n, ClampF32 clamp) {
  if (n == 0) return;
  const A left(a);
  const B right(b);
  const F32 low = Set1(clamp.min), high = Set1(clamp.max);
  const auto apply = [&](size_t i) SIGRUN_INLINE_LAMBDA { return Op::Apply(left.At(i), right.At(i)); };
  const auto clamped = [&](size_t i) SIGRUN_INLINE_LAMBDA { return Clamp(apply(i), low, high); };
  const size_t i = clamp.is_none() ? StoreWholeVectors<kVectors>(y, n, apply) : StoreWholeVectors<kVectors>(y, n, clamped);
  const int rest = static_cast<int>(n - i);
  if (rest > 0) StorePartial(y + i, Clamp(Op::Apply(left.PartAt(i, rest), right.PartAt(i, rest)), low, high), rest);
}

void AccumulateF32(const float* x, float* y, size_t n) {
  const auto sum = [=](size_t i) SIGRUN_INLINE_LAMBDA { return Load(y + i) + Load(x + i); };
  const size_t i = StoreWholeVectors<kVectorsTogether>(y, n, sum);
  const int rest = static_cast<int>(n - i);
  if (rest > 0) StorePartial(y + i, LoadPartial(y + i, rest) + LoadPartial(x + i, rest), rest);
}

void F16ToF32(const uint16_t* x, float* y, size_t n) {
  size_t i = 0;
  for (; i + F32::lanes <= n; i += F32::lanes) Store(y + i, LoadF16(x + i));
  const int rest = static_cast<int>(n - i);
  if (rest == 0) return;
  uint16_t last[F32::lanes] = {};
  for (int j = 0; j < rest; ++j) last[j] = x[i + static_cast<size_t>(j)];
  StorePartial(y + i, LoadF16(last), rest);
}

template <class Op, int kVectors = kVectorsTogether>
void SetBinary(Kernels& t, Binary op) {
  BinaryF32* row = t.binary_f32[static_cast<size_t>(op)];
  row[static_cast<size_t>(Operands::kVectorVector)] = BinaryLoop<Op, kVectors, VectorOperand, VectorOperand>;
  row[static_cast<size_t>(Operands::kVectorScalar)] = BinaryLoop<Op, kVectors, VectorOperand, ScalarOperand>;
  row[static_cast<size_t>(Operands::kScalarVector)] = BinaryLoop<Op, kVectors, ScalarOperand, VectorOperand>;
}

template <class Op, int kVectors = kVectorsTogether>
void SetUnary(Kernels& t, Unary op) {
  t.unary_f32[static_cast<size_t>(op)] = UnaryLoop<Op, kVectors>;
}

template <class Op, int kTogether = F32::lanes == 16 ? 6 : 4>
void SetLongUnary(Kernels& t, Unary op) {
  t.unary_f32[static_cast<size_t>(op)] = LongUnaryLoop<Op, kTogether>;
}

void OverlayElementwise(Kernels& t) {
  SetUnary<AbsOp>(t, Unary::kAbs);
  SetUnary<NegOp>(t, Unary::kNeg);
  SetUnary<SquareOp>(t, Unary::kSquare);
  SetUnary<SqrtOp, 1>(t, Unary::kSqrt);
  SetUnary<RsqrtOp, 1>(t, Unary::kRsqrt);
  SetLongUnary<ExpOp>(t, Unary::kExp);
  SetLongUnary<LogOp>(t, Unary::kLog);
  // Their terms for sine and cosine take twice the registers.
  SetLongUnary<SinOp, 2>(t, Unary::kSin);
  SetLongUnary<CosOp, 2>(t, Unary::kCos);
  SetLongUnary<TanhOp>(t, Unary::kTanh);
  SetLongUnary<LogisticOp>(t, Unary::kLogistic);
  SetUnary<ReluOp>(t, Unary::kRelu);
  SetUnary<Relu6Op>(t, Unary::kRelu6);
  SetUnary<ReluN1To1Op>(t, Unary::kReluN1To1);
  SetUnary<Relu0To1Op>(t, Unary::kRelu0To1);
  SetUnary<HardSwishOp>(t, Unary::kHardSwish);
  SetUnary<FloorOp>(t, Unary::kFloor);
  SetUnary<CeilOp>(t, Unary::kCeil);
  SetUnary<RoundOp>(t, Unary::kRound);
  SetLongUnary<EluOp>(t, Unary::kElu);
  SetUnary<SignOp>(t, Unary::kSign);
  SetLongUnary<GeluOp>(t, Unary::kGelu);
  SetLongUnary<GeluTanhOp>(t, Unary::kGeluTanh);
  SetLongUnary<SwishOp>(t, Unary::kSwish);
  SetBinary<AddOp>(t, Binary::kAdd);
  SetBinary<SubOp>(t, Binary::kSub);
  SetBinary<MulOp>(t, Binary::kMul);
  SetBinary<DivOp>(t, Binary::kDiv);
  SetBinary<MaximumOp>(t, Binary::kMaximum);
  SetBinary<MinimumOp>(t, Binary::kMinimum);
  SetBinary<SquaredDifferenceOp>(t, Binary::kSquaredDifference);
  SetBinary<PreluOp>(t, Binary::kPrelu);
  SetBinary<PowOp, 1>(t, Binary::kPow);
  t.accumulate_f32 = AccumulateF32;
  t.f16_to_f32 = F16ToF32;
}

}  // namespace
}  // namespace sigrun::kernels
