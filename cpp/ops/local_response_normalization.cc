#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/support/elements.h"

// LOCAL_RESPONSE_NORMALIZATION: every channel over a power of the sum of squares of its neighbours.
namespace sigrun::ops {
namespace {

enum Field : int { kRadius, kBias, kAlpha, kBeta };

struct Normalization {
  int64_t depth, radius;
  float bias, alpha, beta;

  void Run(const float* x, float* y) const {
    for (int64_t c = 0; c < depth; ++c) {
      const int64_t begin = std::max<int64_t>(0, c - radius), end = std::min(depth, c + radius + 1);
      float sum = 0;
      for (int64_t k = begin; k < end; ++k) sum += x[k] * x[k];
      y[c] = x[c] * std::pow(bias + alpha * sum, -beta);
    }
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
  const Normalization f{shape[3], std::min(radius, shape[3]), real(kBias), real(kAlpha), real(kBeta)};
  p.SetShape(0, shape);
  const int64_t rows = Product(shape, 0, 3);
  p.Check(rows <= INT32_MAX, rows, " pixels");
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(rows), f.depth * (2 * f.radius + 16), [&](kernels::Range range, int) {
      for (int64_t r = range.begin; r < range.end; ++r) f.Run(run.get<float>(x) + r * f.depth, run.get<float>(y) + r * f.depth);
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "LOCAL_RESPONSE_NORMALIZATION", .prepare = PrepareLocalResponseNormalization},
};

}  // namespace

std::span<const OpDef> local_response_normalization_ops() { return kOps; }

}  // namespace sigrun::ops
