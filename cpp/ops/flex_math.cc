#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/broadcast.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/real_functions.h"

// TensorFlow's arithmetic inside a .tflite file. What a builtin operator computes, too, is that operator; the functions that TFLite lacks
// and the gradients that training needs are here.
namespace sigrun::ops {
namespace {

/// A string as a template argument.
template <size_t N>
struct Name {
  char text[N];
  consteval Name(const char (&s)[N]) { std::copy_n(s, N, text); }  // NOLINT: implicit on purpose
};

/// The same as another operator that needs no options.
template <Name kBuiltin>
void As(Prepare& p) {
  FindOp(kBuiltin.text)->prepare(p);
}

/// A reduction: the node says whether reduced dimensions are kept, as 1.
template <Name kBuiltin>
void AsReduction(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  const std::vector<int64_t> axes = p.ConstantInts(1, "axes");
  As<kBuiltin>(p);
  if (!FlexNode(p).Bool("keep_dims", false)) return;
  Shape shape = p.shape(0);
  for (const int64_t axis : axes) shape[ResolveAxis(p, axis, shape.size())] = 1;
  p.SetShape(0, shape);
}

// --- functions of one operand ---

template <auto kFunction>
void PrepareTest(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kBool});
  p.SetShape(0, p.shape(0));
  WithType<F32, F64, F16, BF16>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      const T* from = run.get<T>(x);
      std::transform(from, from + n, run.get<bool>(y), [](T v) { return kFunction(Widen(v)); });
    });
  });
}

constexpr auto kExpm1 = [](auto x) { return std::expm1(x); };
constexpr auto kLog1p = [](auto x) { return std::log1p(x); };
constexpr auto kReciprocal = []<class W>(W x) { return W{1} / x; };
constexpr auto kSoftsign = []<class W>(W x) { return x / (std::abs(x) + W{1}); };
constexpr auto kDouble = [](auto x) { return x + x; };
constexpr auto kIsFinite = [](auto x) { return std::isfinite(x); };
constexpr auto kIsInf = [](auto x) { return std::isinf(x); };
constexpr auto kIsNan = [](auto x) { return std::isnan(x); };
// Without an overflow for large x.
constexpr auto kSoftplus = []<class W>(W x) { return std::max(x, W{0}) + std::log1p(std::exp(-std::abs(x))); };
constexpr auto kSelu = []<class W>(W x) {
  return W(1.0507009873554804934193349852946) * (x < 0 ? W(1.6732632423543772848170429916717) * std::expm1(x) : x);
};

// --- functions of two operands ---

template <class F, class... Types>
void PrepareBinary(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  WithType<Types...>(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    EmitBinaryOp<T, T>(p, 16, [](T a, T b) { return Narrow<T>(F()(Widen(a), Widen(b))); });
  });
}

template <class F>
void PrepareRealBinary(Prepare& p) {
  PrepareBinary<F, F32, F64, F16, BF16>(p);
}
template <class F>
void PrepareBits(Prepare& p) {
  PrepareBinary<F, I8, U8, I16, U16, I32, U32, I64, U64>(p);
}

#define SIGRUN_BINARY_FUNCTION(name, expression) \
  struct name {                                  \
    template <class W>                           \
    W operator()(W a, W b) const {               \
      return static_cast<W>(expression);         \
    }                                            \
  }
SIGRUN_BINARY_FUNCTION(DivNoNan, b == W{0} ? W{0} : a / b);
SIGRUN_BINARY_FUNCTION(MulNoNan, b == W{0} ? W{0} : a * b);
SIGRUN_BINARY_FUNCTION(Xdivy, a == W{0} ? W{0} : a / b);
SIGRUN_BINARY_FUNCTION(Xlogy, a == W{0} ? W{0} : a * std::log(b));
SIGRUN_BINARY_FUNCTION(Xlog1py, a == W{0} ? W{0} : a * std::log1p(b));
SIGRUN_BINARY_FUNCTION(BitXor, a ^ b);
// Gradients: a is what TensorFlow puts first, the function's result or its argument, b the gradient that arrives, or the other way round.
SIGRUN_BINARY_FUNCTION(EluGrad, b < W{0} ? a * (b + W{1}) : a);
SIGRUN_BINARY_FUNCTION(ReciprocalGrad, -b* a* a);
SIGRUN_BINARY_FUNCTION(Relu6Grad, b > W{0} && b < W{6} ? a : W{0});
SIGRUN_BINARY_FUNCTION(ReluGrad, b > W{0} ? a : W{0});
SIGRUN_BINARY_FUNCTION(RsqrtGrad, W(-0.5) * b * a * a * a);
SIGRUN_BINARY_FUNCTION(SigmoidGrad, b* a*(W{1} - a));
SIGRUN_BINARY_FUNCTION(SoftplusGrad, a / (std::exp(-b) + W{1}));
SIGRUN_BINARY_FUNCTION(SoftsignGrad, a / ((std::abs(b) + W{1}) * (std::abs(b) + W{1})));
SIGRUN_BINARY_FUNCTION(SqrtGrad, b* W(0.5) / a);
SIGRUN_BINARY_FUNCTION(TanhGrad, b*(W{1} - a * a));
#undef SIGRUN_BINARY_FUNCTION

// --- sums and products along a dimension that TFLite lacks ---

void PrepareBiasAdd(Prepare& p) {
  const std::string format(FlexNode(p).Bytes("data_format", "NHWC"));
  if (format != "NHWC") p.Refuse(StatusCode::kUnimplemented, Concat("the data format '", format, "'"));
  p.CheckCounts(2, 2, 1);
  p.Check(p.shape(1).size() == 1 && p.shape(0).size() >= 2 && p.shape(0).back() == p.shape(1)[0], "an input ", ToString(p.shape(0)),
          " and a bias ", ToString(p.shape(1)));
  As<"STABLEHLO_ADD">(p);
}

void PrepareBiasAddGrad(Prepare& p) {
  const std::string format(FlexNode(p).Bytes("data_format", "NHWC"));
  if (format != "NHWC") p.Refuse(StatusCode::kUnimplemented, Concat("the data format '", format, "'"));
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(!p.shape(0).empty(), "its input is a scalar");
  const int64_t depth = p.shape(0).back(), rows = Product(p.shape(0), 0, p.shape(0).size() - 1);
  p.SetShape(0, {p.shape(0).back()});
  p.Emit([=, add = p.kernels().accumulate_f32, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    std::fill_n(run.get<float>(y), depth, 0.0f);
    for (int64_t r = 0; r < rows; ++r) add(run.get<float>(x) + r * depth, run.get<float>(y), static_cast<size_t>(depth));
  });
}

void PrepareL2Loss(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.SetShape(0, {});
  p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(run.get<float>(x)[i]) * static_cast<double>(run.get<float>(x)[i]);
    *run.get<float>(y) = static_cast<float>(sum / 2);
  });
}

// Losses and gradients of logits [batch, classes] against labels: probabilities of the same shape, or classes.
struct CrossEntropy {
  int64_t batch, classes;

  /// exp(logit - max) into `gradient`; the logarithm of their sum.
  float Normalize(const float* logits, float* gradient, float* max) const {
    *max = *std::max_element(logits, logits + classes);
    float sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += gradient[c] = std::exp(logits[c] - *max);
    for (int64_t c = 0; c < classes; ++c) gradient[c] /= sum;
    return std::log(sum);
  }
};

CrossEntropy CheckLogits(Prepare& p) {
  p.CheckCounts(2, 2, 2);
  p.CheckType(0, {TensorType::kFloat32});
  for (int o = 0; o < 2; ++o) p.CheckOutputType(o, {TensorType::kFloat32});
  p.Check(p.shape(0).size() == 2 && p.shape(0)[1] >= 1, "logits of shape ", ToString(p.shape(0)));
  p.SetShape(0, {p.shape(0)[0]});
  p.SetShape(1, p.shape(0));
  return {p.shape(0)[0], p.shape(0)[1]};
}

void PrepareCrossEntropy(Prepare& p) {
  const CrossEntropy e = CheckLogits(p);
  p.CheckType(1, {TensorType::kFloat32});
  p.Check(p.shape(1) == p.shape(0), "logits ", ToString(p.shape(0)), " and labels ", ToString(p.shape(1)));
  p.Emit([e, x = p.in(0), l = p.in(1), y = p.out(0), g = p.out(1)](RunContext& run) noexcept {
    for (int64_t b = 0; b < e.batch; ++b) {
      const float *logits = run.get<float>(x) + b * e.classes, *labels = run.get<float>(l) + b * e.classes;
      float *gradient = run.get<float>(g) + b * e.classes, max = 0, loss = 0;
      const float log_sum = e.Normalize(logits, gradient, &max);
      for (int64_t c = 0; c < e.classes; ++c) {
        loss += labels[c] * (log_sum - (logits[c] - max));
        gradient[c] -= labels[c];
      }
      run.get<float>(y)[b] = loss;
    }
  });
}

void PrepareSparseCrossEntropy(Prepare& p) {
  const CrossEntropy e = CheckLogits(p);
  p.Check(p.shape(1) == Shape{p.shape(0)[0]}, "logits ", ToString(p.shape(0)), " and labels ", ToString(p.shape(1)));
  WithType<I32, I64>(p, p.type(1), "labels", [&]<class I>(std::type_identity<I>) {
    p.Emit([e, x = p.in(0), l = p.in(1), y = p.out(0), g = p.out(1)](RunContext& run) noexcept {
      for (int64_t b = 0; b < e.batch; ++b) {
        const I label = run.get<I>(l)[b];
        if (label < 0 || label >= e.classes)
          return run.Fail(Concat("label ", label, " at position ", b, " is outside [0, ", e.classes, ")"));
        const float* logits = run.get<float>(x) + b * e.classes;
        float *gradient = run.get<float>(g) + b * e.classes, max = 0;
        run.get<float>(y)[b] = e.Normalize(logits, gradient, &max) - (logits[label] - max);
        gradient[label] -= 1;
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexAbs", .prepare = As<"STABLEHLO_ABS">},
    {.name = "FlexAcos", .prepare = PrepareReal<kAcos>},
    {.name = "FlexAcosh", .prepare = PrepareReal<kAcosh>},
    {.name = "FlexAdd", .prepare = As<"STABLEHLO_ADD">},
    {.name = "FlexAddN", .prepare = As<"ADD_N">},
    {.name = "FlexAddV2", .prepare = As<"STABLEHLO_ADD">},
    {.name = "FlexAll", .prepare = AsReduction<"REDUCE_ALL">},
    {.name = "FlexAny", .prepare = AsReduction<"REDUCE_ANY">},
    {.name = "FlexArgMax", .prepare = As<"ARG_MAX">},
    {.name = "FlexArgMin", .prepare = As<"ARG_MIN">},
    {.name = "FlexAsin", .prepare = PrepareReal<kAsin>},
    {.name = "FlexAsinh", .prepare = PrepareReal<kAsinh>},
    {.name = "FlexAtan", .prepare = PrepareReal<kAtan>},
    {.name = "FlexAtan2", .prepare = As<"ATAN2">},
    {.name = "FlexAtanh", .prepare = PrepareReal<kAtanh>},
    {.name = "FlexBiasAdd", .prepare = PrepareBiasAdd},
    {.name = "FlexBiasAddGrad", .prepare = PrepareBiasAddGrad},
    {.name = "FlexBitwiseAnd", .prepare = As<"STABLEHLO_AND">},
    {.name = "FlexBitwiseOr", .prepare = As<"STABLEHLO_OR">},
    {.name = "FlexBitwiseXor", .prepare = PrepareBits<BitXor>},
    {.name = "FlexBroadcastTo", .prepare = As<"BROADCAST_TO">},
    {.name = "FlexCast", .prepare = As<"CAST">},
    {.name = "FlexCeil", .prepare = As<"CEIL">},
    {.name = "FlexCos", .prepare = As<"STABLEHLO_COSINE">},
    {.name = "FlexCosh", .prepare = PrepareReal<kCosh>},
    {.name = "FlexDivNoNan", .prepare = PrepareRealBinary<DivNoNan>},
    {.name = "FlexDouble", .prepare = PrepareReal<kDouble>},
    {.name = "FlexElu", .prepare = As<"ELU">},
    {.name = "FlexEluGrad", .prepare = PrepareRealBinary<EluGrad>},
    {.name = "FlexEqual", .prepare = As<"EQUAL">},
    {.name = "FlexErf", .prepare = PrepareReal<kErf>},
    {.name = "FlexErfc", .prepare = PrepareReal<kErfc>},
    {.name = "FlexExp", .prepare = As<"STABLEHLO_EXPONENTIAL">},
    {.name = "FlexExpandDims", .prepare = As<"EXPAND_DIMS">},
    {.name = "FlexExpm1", .prepare = PrepareReal<kExpm1>},
    {.name = "FlexFill", .prepare = As<"FILL">},
    {.name = "FlexFloor", .prepare = As<"STABLEHLO_FLOOR">},
    {.name = "FlexFloorDiv", .prepare = As<"FLOOR_DIV">},
    {.name = "FlexFloorMod", .prepare = As<"FLOOR_MOD">},
    {.name = "FlexGatherNd", .prepare = As<"GATHER_ND">},
    {.name = "FlexGreater", .prepare = As<"GREATER">},
    {.name = "FlexGreaterEqual", .prepare = As<"GREATER_EQUAL">},
    {.name = "FlexInv", .prepare = PrepareReal<kReciprocal>},
    {.name = "FlexIsFinite", .prepare = PrepareTest<kIsFinite>},
    {.name = "FlexIsInf", .prepare = PrepareTest<kIsInf>},
    {.name = "FlexIsNan", .prepare = PrepareTest<kIsNan>},
    {.name = "FlexL2Loss", .prepare = PrepareL2Loss},
    {.name = "FlexLeftShift", .prepare = As<"STABLEHLO_SHIFT_LEFT">},
    {.name = "FlexLess", .prepare = As<"LESS">},
    {.name = "FlexLessEqual", .prepare = As<"LESS_EQUAL">},
    {.name = "FlexLgamma", .prepare = PrepareReal<kLgamma>},
    {.name = "FlexLog", .prepare = As<"STABLEHLO_LOG">},
    {.name = "FlexLog1p", .prepare = PrepareReal<kLog1p>},
    {.name = "FlexLogicalAnd", .prepare = As<"LOGICAL_AND">},
    {.name = "FlexLogicalNot", .prepare = As<"LOGICAL_NOT">},
    {.name = "FlexLogicalOr", .prepare = As<"LOGICAL_OR">},
    {.name = "FlexMax", .prepare = AsReduction<"REDUCE_MAX">},
    {.name = "FlexMaximum", .prepare = As<"STABLEHLO_MAXIMUM">},
    {.name = "FlexMean", .prepare = AsReduction<"MEAN">},
    {.name = "FlexMin", .prepare = AsReduction<"REDUCE_MIN">},
    {.name = "FlexMinimum", .prepare = As<"STABLEHLO_MINIMUM">},
    {.name = "FlexMul", .prepare = As<"STABLEHLO_MULTIPLY">},
    {.name = "FlexMulNoNan", .prepare = PrepareRealBinary<MulNoNan>},
    {.name = "FlexNeg", .prepare = As<"STABLEHLO_NEGATE">},
    {.name = "FlexNotEqual", .prepare = As<"NOT_EQUAL">},
    {.name = "FlexPad", .prepare = As<"PAD">},
    {.name = "FlexPadV2", .prepare = As<"PADV2">},
    {.name = "FlexPow", .prepare = As<"STABLEHLO_POWER">},
    {.name = "FlexProd", .prepare = AsReduction<"REDUCE_PROD">},
    {.name = "FlexRank", .prepare = As<"RANK">, .traits = kReadsShapes},
    {.name = "FlexRange", .prepare = As<"RANGE">},
    {.name = "FlexRealDiv", .prepare = As<"STABLEHLO_DIVIDE">},
    {.name = "FlexReciprocal", .prepare = PrepareReal<kReciprocal>},
    {.name = "FlexReciprocalGrad", .prepare = PrepareRealBinary<ReciprocalGrad>},
    {.name = "FlexRelu", .prepare = As<"RELU">},
    {.name = "FlexRelu6", .prepare = As<"RELU6">},
    {.name = "FlexRelu6Grad", .prepare = PrepareRealBinary<Relu6Grad>},
    {.name = "FlexReluGrad", .prepare = PrepareRealBinary<ReluGrad>},
    {.name = "FlexReshape", .prepare = As<"RESHAPE">},
    {.name = "FlexReverseV2", .prepare = As<"REVERSE_V2">},
    {.name = "FlexRightShift", .prepare = As<"RIGHT_SHIFT">},
    {.name = "FlexRint", .prepare = As<"ROUND">},
    {.name = "FlexRound", .prepare = As<"ROUND">},
    {.name = "FlexRsqrt", .prepare = As<"STABLEHLO_RSQRT">},
    {.name = "FlexRsqrtGrad", .prepare = PrepareRealBinary<RsqrtGrad>},
    {.name = "FlexScatterNd", .prepare = As<"SCATTER_ND">},
    {.name = "FlexSelectV2", .prepare = As<"SELECT_V2">},
    {.name = "FlexSelu", .prepare = PrepareReal<kSelu>},
    {.name = "FlexShape", .prepare = As<"SHAPE">, .traits = kReadsShapes},
    {.name = "FlexSigmoid", .prepare = As<"STABLEHLO_LOGISTIC">},
    {.name = "FlexSigmoidGrad", .prepare = PrepareRealBinary<SigmoidGrad>},
    {.name = "FlexSign", .prepare = As<"SIGN">},
    {.name = "FlexSin", .prepare = As<"SIN">},
    {.name = "FlexSinh", .prepare = PrepareReal<kSinh>},
    {.name = "FlexSlice", .prepare = As<"SLICE">},
    {.name = "FlexSoftmaxCrossEntropyWithLogits", .prepare = PrepareCrossEntropy},
    {.name = "FlexSoftplus", .prepare = PrepareReal<kSoftplus>},
    {.name = "FlexSoftplusGrad", .prepare = PrepareRealBinary<SoftplusGrad>},
    {.name = "FlexSoftsign", .prepare = PrepareReal<kSoftsign>},
    {.name = "FlexSoftsignGrad", .prepare = PrepareRealBinary<SoftsignGrad>},
    {.name = "FlexSparseSoftmaxCrossEntropyWithLogits", .prepare = PrepareSparseCrossEntropy},
    {.name = "FlexSqrt", .prepare = As<"SQRT">},
    {.name = "FlexSqrtGrad", .prepare = PrepareRealBinary<SqrtGrad>},
    {.name = "FlexSquare", .prepare = As<"SQUARE">},
    {.name = "FlexSquaredDifference", .prepare = As<"SQUARED_DIFFERENCE">},
    {.name = "FlexSub", .prepare = As<"STABLEHLO_SUBTRACT">},
    {.name = "FlexSum", .prepare = AsReduction<"SUM">},
    {.name = "FlexTan", .prepare = PrepareReal<kTan>},
    {.name = "FlexTanh", .prepare = As<"STABLEHLO_TANH">},
    {.name = "FlexTanhGrad", .prepare = PrepareRealBinary<TanhGrad>},
    {.name = "FlexTile", .prepare = As<"TILE">},
    {.name = "FlexTopKV2", .prepare = As<"TOPK_V2">},
    {.name = "FlexTranspose", .prepare = As<"TRANSPOSE">},
    {.name = "FlexTruncateDiv", .prepare = As<"STABLEHLO_DIVIDE">},
    {.name = "FlexTruncateMod", .prepare = As<"STABLEHLO_REMAINDER">},
    {.name = "FlexUnique", .prepare = As<"UNIQUE">},
    {.name = "FlexWhere", .prepare = As<"WHERE">},
    {.name = "FlexXdivy", .prepare = PrepareRealBinary<Xdivy>},
    {.name = "FlexXlog1py", .prepare = PrepareRealBinary<Xlog1py>},
    {.name = "FlexXlogy", .prepare = PrepareRealBinary<Xlogy>},
    {.name = "FlexZerosLike", .prepare = As<"ZEROS_LIKE">},
};

}  // namespace

std::span<const OpDef> flex_math_ops() { return kOps; }

}  // namespace sigrun::ops
