#include <array>
#include <cmath>
#include <vector>

#include "ops/op.h"

// Normalisation by the root of the weighted sum of squares along the last dimension, which a pass makes of the operators that a file spells
// it with: x * scale / sqrt(weight * sum(x * x) + epsilon). The scale is one value or one a channel; a weight of 0 means one over the
// depth.
namespace sigrun::ops {
namespace {

constexpr int kInput = 0, kScale = 1, kNumbers = 2;

// Sixteen sums side by side, in doubles and in one order on every processor: what follows may be rounded to 8 bits.
float SumOfSquares(const float* x, int32_t n) {
  constexpr int32_t kLanes = 16;
  std::array<double, kLanes> sums = {};
  int32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int32_t lane = 0; lane < kLanes; ++lane) sums[static_cast<size_t>(lane)] += double{x[i + lane]} * x[i + lane];
  }
  for (int32_t lane = 0; i + lane < n; ++lane) sums[static_cast<size_t>(lane)] += double{x[i + lane]} * x[i + lane];
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return static_cast<float>(sums[0]);
}

void PrepareRmsNorm(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  for (int i = 0; i < p.inputs(); ++i) p.CheckType(i, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(!p.shape(kInput).empty() && p.elements(kInput) <= INT32_MAX, "an input of shape ", ToString(p.shape(kInput)));
  const float *scales = p.constant_as<float>(kScale), *numbers = p.constant_as<float>(kNumbers);
  const int32_t depth = p.shape(kInput).back();
  p.Check(scales != nullptr && (p.elements(kScale) == 1 || p.elements(kScale) == depth), "a scale of shape ", ToString(p.shape(kScale)),
          " for a depth of ", depth);
  p.Check(numbers != nullptr && p.elements(kNumbers) == 2, "weight and epsilon must be constants");
  p.SetShape(0, p.shape(kInput));
  if (p.elements(kInput) == 0) return;
  std::vector<float> scale(scales, scales + p.elements(kScale));
  scale.resize(static_cast<size_t>(depth), scale[0]);
  const float weight = numbers[0] != 0.0f ? numbers[0] : 1.0f / static_cast<float>(depth), epsilon = numbers[1];
  p.MayOverwrite(0, kInput);
  p.Emit([=, scale = std::move(scale), rows = static_cast<int32_t>(p.elements(kInput) / depth), in = p.in(kInput),
          out = p.out(0)](RunContext& run) noexcept {
    run.Parallel(rows, 2 * depth, [&](kernels::Range range, int) {
      for (int64_t row = range.begin; row < range.end; ++row) {
        const float* x = run.get<float>(in) + row * depth;
        float* y = run.get<float>(out) + row * depth;
        const float factor = 1.0f / std::sqrt(weight * SumOfSquares(x, depth) + epsilon);
        for (int32_t i = 0; i < depth; ++i) y[i] = x[i] * factor * scale[static_cast<size_t>(i)];
      }
    });
  });
}

constexpr OpDef kOps[] = {{.name = "sigrun.rms_norm", .prepare = PrepareRmsNorm}};

}  // namespace

std::span<const OpDef> rms_norm_ops() { return kOps; }

}  // namespace sigrun::ops
