#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/broadcast.h"
#include "ops/support/elements.h"

// STABLEHLO_* operators that work element by element, on plain numbers: quantisation says nothing to them. Operands of one shape may also
// broadcast.
namespace sigrun::ops {
namespace {

// --- one operand ---

template <class T, class F>
void EmitUnaryOp(Prepare& p, int64_t cost, F f) {
  p.MayOverwrite(0, 0);
  p.Emit([f, cost, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const T* from = run.get<T>(x);
    T* to = run.get<T>(y);
    ForElements(run, n, cost, [&](int64_t begin, int64_t count) {
      for (int64_t i = begin; i < begin + count; ++i) to[i] = Narrow<T>(f(Widen(from[i])));
    });
  });
}

void CheckUnary(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
}

bool UseKernel(Prepare& p, kernels::Unary op) {
  if (p.type(0) != TensorType::kFloat32) return false;
  p.MayOverwrite(0, 0);
  p.Emit([n = p.elements(0), kernel = p.kernels().unary_f32[static_cast<size_t>(op)], x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const float* from = run.get<float>(x);
    float* to = run.get<float>(y);
    ForElements(run, n, 16, [&](int64_t begin, int64_t count) { kernel(from + begin, to + begin, static_cast<size_t>(count)); });
  });
  return true;
}

/// A real function; its float32 form is a kernel.
template <kernels::Unary kOp, class F>
void PrepareReal(Prepare& p) {
  CheckUnary(p);
  if (UseKernel(p, kOp)) return;
  WithType<F64, F16, BF16>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) { EmitUnaryOp<T>(p, 16, F()); });
}

struct Cosine {
  template <class W>
  W operator()(W x) const {
    return std::cos(x);
  }
};
struct Exponential {
  template <class W>
  W operator()(W x) const {
    return std::exp(x);
  }
};
struct Floor {
  template <class W>
  W operator()(W x) const {
    return std::floor(x);
  }
};
struct Logarithm {
  template <class W>
  W operator()(W x) const {
    return std::log(x);
  }
};
struct Logistic {
  template <class W>
  W operator()(W x) const {
    return W{1} / (W{1} + std::exp(-x));
  }
};
struct InverseRoot {
  template <class W>
  W operator()(W x) const {
    return W{1} / std::sqrt(x);
  }
};
struct HyperbolicTangent {
  template <class W>
  W operator()(W x) const {
    return std::tanh(x);
  }
};

void PrepareCubeRoot(Prepare& p) {
  CheckUnary(p);
  WithType<F32, F64, F16, BF16>(p, p.type(0), "an input",
                                [&]<class T>(std::type_identity<T>) { EmitUnaryOp<T>(p, 16, [](auto x) { return std::cbrt(x); }); });
}

void PrepareAbs(Prepare& p) {
  CheckUnary(p);
  if (UseKernel(p, kernels::Unary::kAbs)) return;
  WithType<F64, F16, BF16, I8, I16, I32, I64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    EmitUnaryOp<T>(p, 1, [](auto x) {
      if constexpr (std::is_floating_point_v<decltype(x)>) {
        return std::abs(x);
      } else {
        return x < 0 ? WrappingNeg(x) : x;
      }
    });
  });
}

void PrepareNegate(Prepare& p) {
  CheckUnary(p);
  if (UseKernel(p, kernels::Unary::kNeg)) return;
  WithType<F64, F16, BF16, I8, U8, I16, U16, I32, U32, I64, U64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    EmitUnaryOp<T>(p, 1, [](auto x) {
      if constexpr (std::is_floating_point_v<decltype(x)>) {
        return -x;
      } else {
        return WrappingNeg(x);
      }
    });
  });
}

// --- two operands ---

void CheckBinary(const Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
}

template <class T, class Op>
void EmitArithmetic(Prepare& p, int64_t cost, Op op) {
  EmitBinaryOp<T, T>(p, cost, [op](T a, T b) { return Narrow<T>(op(Widen(a), Widen(b))); });
}

template <class Op, kernels::Binary kOp>
void PrepareArithmetic(Prepare& p) {
  CheckBinary(p);
  if (p.type(0) == TensorType::kFloat32) {
    const kernels::BinaryF32* forms = p.kernels().binary_f32[static_cast<size_t>(kOp)];
    return EmitBinary<float, float>(p, 1, [forms](const float* a, const float* b, float* y, size_t n, kernels::Operands operands) {
      forms[static_cast<size_t>(operands)](a, b, y, n, {});
    });
  }
  WithArithmetic(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) { EmitArithmetic<T>(p, 1, Op()); });
}

struct SubtractOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_floating_point_v<W>) {
      return a - b;
    } else if constexpr (std::is_same_v<W, bool>) {
      return a != b;
    } else {
      return WrappingSub(a, b);
    }
  }
};

/// Integers divide towards zero; by zero, which the specification leaves open, gives -1.
struct DivideOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_floating_point_v<W>) {
      return a / b;
    } else if constexpr (std::is_same_v<W, bool>) {
      return a && b;
    } else {
      return b == 0 ? static_cast<W>(-1) : WrappingDiv(a, b);
    }
  }
};

/// Has the dividend's sign; by zero an integer stays what it is.
struct RemainderOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_floating_point_v<W>) {
      return std::fmod(a, b);
    } else {
      return b == 0 ? a : WrappingMod(a, b);
    }
  }
};

struct PowerOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_floating_point_v<W>) {
      return std::pow(a, b);
    } else {
      if constexpr (std::is_signed_v<W>) {
        if (b < 0) return a == 1 ? W{1} : a == -1 ? (b % 2 == 0 ? W{1} : W{-1}) : W{0};
      }
      W result = 1;
      for (auto rest = static_cast<std::make_unsigned_t<W>>(b); rest != 0; rest >>= 1, a = WrappingMul(a, a)) {
        if (rest & 1) result = WrappingMul(result, a);
      }
      return result;
    }
  }
};

template <class Op>
void PrepareNumeric(Prepare& p) {
  CheckBinary(p);
  WithType<F32, F64, F16, BF16, I8, U8, I16, U16, I32, U32, I64, U64>(
      p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) { EmitArithmetic<T>(p, 8, Op()); });
}

template <class Op>
void PrepareBitwise(Prepare& p) {
  CheckBinary(p);
  WithType<I8, U8, I16, U16, I32, U32, I64, U64, Bools>(p, p.type(0), "operands",
                                                        [&]<class T>(std::type_identity<T>) { EmitArithmetic<T>(p, 1, Op()); });
}

/// By as many bits as there are or more, or by less than none, gives 0.
struct ShiftLeftOp {
  template <class W>
  W operator()(W a, W b) const {
    constexpr int kBits = static_cast<int>(sizeof(W)) * 8;
    const uint64_t count = static_cast<uint64_t>(b);
    return count >= kBits ? W{0} : static_cast<W>(static_cast<Wide<W>>(a) << count);
  }
};

void PrepareShiftLeft(Prepare& p) {
  CheckBinary(p);
  WithType<I8, U8, I16, U16, I32, U32, I64, U64>(p, p.type(0), "operands",
                                                 [&]<class T>(std::type_identity<T>) { EmitArithmetic<T>(p, 1, ShiftLeftOp()); });
}

// --- COMPARE, CLAMP, SELECT ---

enum class Direction : uint32_t { kEq, kNe, kGe, kGt, kLe, kLt };

template <class W>
bool Compare(Direction direction, W a, W b) {
  switch (direction) {
    case Direction::kEq: return a == b;
    case Direction::kNe: return a != b;
    case Direction::kGe: return a >= b;
    case Direction::kGt: return a > b;
    case Direction::kLe: return a <= b;
    case Direction::kLt: return a < b;
  }
  return false;
}

void PrepareCompare(Prepare& p) {
  enum Field : int { kDirection };
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {TensorType::kBool});
  const uint32_t direction = p.options_2().Scalar<uint32_t>(kDirection);
  p.Check(direction <= static_cast<uint32_t>(Direction::kLt), "comparison direction ", direction);
  WithArithmetic(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    EmitBinaryOp<T, bool>(p, 1, [d = static_cast<Direction>(direction)](T a, T b) { return Compare(d, Widen(a), Widen(b)); });
  });
}

/// Emits y = f(a, b, c) with operands that broadcast.
template <class A, class B, class F>
void EmitTernary(Prepare& p, F f) {
  Shape shape = BroadcastShapes(p, BroadcastShapes(p, p.shape(0), p.shape(1)), p.shape(2));
  p.SetShape(0, shape);
  const BroadcastPlan plan = PlanBroadcast(p, {p.shape(0), p.shape(1), p.shape(2)}, shape);
  p.Emit([=, a = p.in(0), b = p.in(1), c = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    const A* pa = run.get<A>(a);
    const B *pb = run.get<B>(b), *pc = run.get<B>(c);
    B* to = run.get<B>(y);
    const int64_t step[3] = {plan.fixed[0] ? 0 : 1, plan.fixed[1] ? 0 : 1, plan.fixed[2] ? 0 : 1};
    ForRuns(run, plan, 2, [&](const Offsets& at, int64_t first, int64_t n) {
      for (int64_t i = 0; i < n; ++i) to[first + i] = f(pa[at[0] + i * step[0]], pb[at[1] + i * step[1]], pc[at[2] + i * step[2]]);
    });
  });
}

// Operands: the least, the values, the most.
void PrepareClamp(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  for (int i = 1; i < 3; ++i) p.CheckType(i, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  WithArithmetic(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    EmitTernary<T, T>(p, [](T low, T x, T high) { return Narrow<T>(MinimumOp()(MaximumOp()(Widen(low), Widen(x)), Widen(high))); });
  });
}

void PrepareSelect(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckType(0, {TensorType::kBool});
  p.CheckType(2, {p.type(1)});
  p.CheckOutputType(0, {p.type(1)});
  WithElement(p, p.type(1), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, std::string>) {
      p.Refuse(StatusCode::kUnimplemented, "operands of type STRING");
    } else {
      EmitTernary<uint8_t, T>(p, [](uint8_t which, const T& a, const T& b) { return which != 0 ? a : b; });
    }
  });
}

using kernels::Binary;
using kernels::Unary;

constexpr OpDef kOps[] = {
    {.name = "STABLEHLO_ABS", .prepare = PrepareAbs},
    {.name = "STABLEHLO_ADD", .prepare = PrepareArithmetic<AddOp, Binary::kAdd>},
    {.name = "STABLEHLO_AND", .prepare = PrepareBitwise<AndOp>},
    {.name = "STABLEHLO_CBRT", .prepare = PrepareCubeRoot},
    {.name = "STABLEHLO_CLAMP", .prepare = PrepareClamp},
    {.name = "STABLEHLO_COMPARE", .prepare = PrepareCompare},
    {.name = "STABLEHLO_COSINE", .prepare = PrepareReal<Unary::kCos, Cosine>},
    {.name = "STABLEHLO_DIVIDE", .prepare = PrepareArithmetic<DivideOp, Binary::kDiv>},
    {.name = "STABLEHLO_EXPONENTIAL", .prepare = PrepareReal<Unary::kExp, Exponential>},
    {.name = "STABLEHLO_FLOOR", .prepare = PrepareReal<Unary::kFloor, Floor>},
    {.name = "STABLEHLO_LOG", .prepare = PrepareReal<Unary::kLog, Logarithm>},
    {.name = "STABLEHLO_LOGISTIC", .prepare = PrepareReal<Unary::kLogistic, Logistic>},
    {.name = "STABLEHLO_MAXIMUM", .prepare = PrepareArithmetic<MaximumOp, Binary::kMaximum>},
    {.name = "STABLEHLO_MINIMUM", .prepare = PrepareArithmetic<MinimumOp, Binary::kMinimum>},
    {.name = "STABLEHLO_MULTIPLY", .prepare = PrepareArithmetic<MultiplyOp, Binary::kMul>},
    {.name = "STABLEHLO_NEGATE", .prepare = PrepareNegate},
    {.name = "STABLEHLO_OR", .prepare = PrepareBitwise<OrOp>},
    {.name = "STABLEHLO_POWER", .prepare = PrepareNumeric<PowerOp>},
    {.name = "STABLEHLO_REMAINDER", .prepare = PrepareNumeric<RemainderOp>},
    {.name = "STABLEHLO_RSQRT", .prepare = PrepareReal<Unary::kRsqrt, InverseRoot>},
    {.name = "STABLEHLO_SELECT", .prepare = PrepareSelect},
    {.name = "STABLEHLO_SHIFT_LEFT", .prepare = PrepareShiftLeft},
    {.name = "STABLEHLO_SUBTRACT", .prepare = PrepareArithmetic<SubtractOp, Binary::kSub>},
    {.name = "STABLEHLO_TANH", .prepare = PrepareReal<Unary::kTanh, HyperbolicTangent>},
};

}  // namespace

std::span<const OpDef> stablehlo_elementwise_ops() { return kOps; }

}  // namespace sigrun::ops
