#include <utility>
#include <vector>

#include "ops/op.h"

// Normalisation by the root of the weighted sum of squares along the last dimension, which a pass makes of the operators that a file spells
// it with: x * scale / sqrt(weight * sum(x * x) + epsilon). The scale is one value or one a channel; a weight of 0 means one over the
// depth.
namespace sigrun::ops {
namespace {

constexpr int kInput = 0, kScale = 1, kNumbers = 2;

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
  p.Emit([=, scale = std::move(scale), rows = static_cast<int32_t>(p.elements(kInput) / depth), kernel = p.kernels().rms_norm_f32,
          in = p.in(kInput), out = p.out(0)](RunContext& run) noexcept {
    run.Parallel(rows, depth, [&](kernels::Range range, int) {
      kernel(run.get<float>(in), scale.data(), run.get<float>(out), depth, weight, epsilon, range);
    });
  });
}

constexpr OpDef kOps[] = {{.name = "sigrun.rms_norm", .prepare = PrepareRmsNorm, .traits = kFlushesDenormals}};

}  // namespace

std::span<const OpDef> rms_norm_ops() { return kOps; }

}  // namespace sigrun::ops
