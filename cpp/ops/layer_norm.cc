#include <limits>
#include <vector>

#include "ops/op.h"
#include "ops/support/relied_on.h"

// Layer normalisation along the last dimension, which a pass makes of the operators that a file spells it with: (x - mean) /
// sqrt(variance + epsilon) * scale + shift. Scale and shift are one value or one a channel.
namespace sigrun::ops {
namespace {

// kReliedOn are the extents of x that the pass relied on, or -1.
enum Input : int { kInput, kScale, kShift, kEpsilon, kReliedOn, kInputs };

std::vector<float> OneEach(const Prepare& p, int i, int32_t depth) {
  const float* values = p.constant_as<float>(i);
  const int64_t n = p.elements(i);
  p.Check(values != nullptr && (n == 1 || n == depth), "input ", i, " has the shape ", ToString(p.shape(i)), " for a depth of ", depth);
  std::vector<float> each(static_cast<size_t>(depth));
  for (size_t c = 0; c < each.size(); ++c) each[c] = values[n == 1 ? 0 : c];
  return each;
}

void PrepareLayerNorm(Prepare& p) {
  p.CheckCounts(kInputs, kInputs, 1);
  for (const int i : {kInput, kScale, kShift, kEpsilon}) p.CheckType(i, {TensorType::kFloat32});
  p.CheckType(kReliedOn, {TensorType::kInt32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(!p.shape(kInput).empty() && p.elements(kInput) <= INT32_MAX, "an input of shape ", ToString(p.shape(kInput)));
  CheckReliedOn(p, kInput, kReliedOn);
  const float* epsilon = p.constant_as<float>(kEpsilon);
  p.Check(epsilon != nullptr && p.elements(kEpsilon) == 1, "epsilon must be one constant");
  p.SetShape(0, p.shape(kInput));
  if (p.elements(kInput) == 0) return;
  const int32_t depth = p.shape(kInput).back();
  p.MayOverwrite(0, kInput);
  p.Emit([depth, epsilon = *epsilon, scale = OneEach(p, kScale, depth), shift = OneEach(p, kShift, depth),
          rows = static_cast<int32_t>(p.elements(kInput) / depth), kernel = p.kernels().layer_norm_f32, in = p.in(kInput),
          out = p.out(0)](RunContext& run) noexcept {
    const float* x = run.get<float>(in);
    float* y = run.get<float>(out);
    run.Parallel(rows, 2 * depth, [&](kernels::Range range, int) { kernel(x, scale.data(), shift.data(), y, depth, epsilon, range); });
  });
}

constexpr OpDef kOps[] = {{.name = "sigrun.layer_norm", .prepare = PrepareLayerNorm, .traits = kFlushesDenormals}};

}  // namespace

std::span<const OpDef> layer_norm_ops() { return kOps; }

}  // namespace sigrun::ops
