#include <cmath>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/float16.h"
#include "ops/support/lookup.h"

// GELU, with the error function or its approximation by tanh.
namespace sigrun::ops {
namespace {

// As LiteRT writes it: 1 + erf(x) would round elsewhere.
float Gelu(float x) { return 0.5f * x * std::erfc(x * -0.70710678118654752440f); }

float ApproximateGelu(float x) { return 0.5f * x * (1 + std::tanh(0.79788456080286535588f * (x + 0.044715f * x * x * x))); }

void EmitHalf(Prepare& p, float (*f)(float)) {
  p.MayOverwrite(0, 0);
  p.Emit([f, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const Half* from = run.get<Half>(x);
    Half* to = run.get<Half>(y);
    ForElements(run, n, 32, [&](int64_t begin, int64_t count) {
      for (int64_t i = begin; i < begin + count; ++i) to[i] = static_cast<Half>(f(static_cast<float>(from[i])));
    });
  });
}

void PrepareGelu(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
  float (*const f)(float) = p.options().Bool(0) ? ApproximateGelu : Gelu;
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitUnaryF32(p, p.options().Bool(0) ? kernels::Unary::kGeluTanh : kernels::Unary::kGelu);
    case TensorType::kFloat16: return EmitHalf(p, f);
    case TensorType::kInt16: return EmitLookup16(p, MakeRealTable16(p, f));
    case TensorType::kInt8:
    case TensorType::kUInt8: return EmitLookup8(p, MakeRealTable8(p, f));
    default: p.Refuse(StatusCode::kUnimplemented, Concat("an input of type ", TensorTypeName(p.type(0))));
  }
}

constexpr OpDef kOps[] = {
    {.name = "GELU", .prepare = PrepareGelu, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> gelu_ops() { return kOps; }

}  // namespace sigrun::ops
