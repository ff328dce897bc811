#include <algorithm>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/worker_scratch.h"

// LOCAL_RESPONSE_NORMALIZATION: every channel over a power of the sum of squares of its neighbours.
namespace sigrun::ops {
namespace {

enum Field : int { kRadius, kBias, kAlpha, kBeta };

struct Normalization {
  const kernels::Kernels* k;
  int64_t depth, radius;
  float bias, alpha, beta;

  void By(kernels::Unary op, const float* x, float* y) const { k->unary_f32[static_cast<size_t>(op)](x, y, static_cast<size_t>(depth)); }
  void By(kernels::Binary op, const float* a, const float* b, float* y, kernels::Operands operands) const {
    k->binary(op, operands)(a, b, y, static_cast<size_t>(depth), {});
  }

  // The sums stand where the results come to be. The most common powers are no powers.
  void Run(const float* x, float* y, float* squares) const {
    using kernels::Binary, kernels::Operands, kernels::Unary;
    By(Unary::kSquare, x, squares);
    std::fill_n(y, depth, 0.0f);
    for (int64_t d = -radius; d <= radius; ++d) {
      const int64_t begin = std::max<int64_t>(0, -d), end = std::min(depth, depth - d);
      if (begin < end) k->accumulate_f32(squares + begin + d, y + begin, static_cast<size_t>(end - begin));
    }
    By(Binary::kMul, y, &alpha, y, Operands::kVectorScalar);
    By(Binary::kAdd, y, &bias, y, Operands::kVectorScalar);
    if (beta == 1.0f) return By(Binary::kDiv, x, y, y, Operands::kVectorVector);
    const float exponent = -beta;
    beta == 0.5f ? By(Unary::kRsqrt, y, y) : By(Binary::kPow, y, &exponent, y, Operands::kVectorScalar);
    By(Binary::kMul, x, y, y, Operands::kVectorVector);
  }
};

void PrepareLocalResponseNormalization(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  const Shape& shape = p.shape(0);
  p.Check(shape.size() == 4, "an input of rank ", shape.size(), ", expected 4");
  const auto real = [&](Field field) { return p.options().Scalar<float>(field); };
  const int32_t radius = p.options().Scalar<int32_t>(kRadius);
  p.Check(radius >= 0, "a radius of ", radius);
  const Normalization f{&p.kernels(), shape[3], std::min(radius, shape[3]), real(kBias), real(kAlpha), real(kBeta)};
  p.SetShape(0, shape);
  const int64_t rows = Product(shape, 0, 3);
  p.Check(rows <= INT32_MAX, rows, " pixels");
  const WorkerScratch scratch(p, static_cast<size_t>(f.depth) * sizeof(float));
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(rows), f.depth * (2 * f.radius + 16), [&](kernels::Range range, int worker) {
      float* squares = reinterpret_cast<float*>(scratch.of(run, worker));
      for (int64_t r = range.begin; r < range.end; ++r) f.Run(run.get<float>(x) + r * f.depth, run.get<float>(y) + r * f.depth, squares);
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "LOCAL_RESPONSE_NORMALIZATION", .prepare = PrepareLocalResponseNormalization, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> local_response_normalization_ops() { return kOps; }

}  // namespace sigrun::ops
