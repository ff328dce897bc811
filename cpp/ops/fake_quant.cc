#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/support/elements.h"

// FAKE_QUANT: floats rounded to the steps of a quantised range.
namespace sigrun::ops {
namespace {

enum Field : int { kMin, kMax, kNumBits, kNarrowRange };

void PrepareFakeQuant(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  const float min = p.options().Scalar<float>(kMin), max = p.options().Scalar<float>(kMax);
  const int32_t bits = p.options().Scalar<int32_t>(kNumBits);
  p.Check(bits >= 2 && bits <= 16, "num_bits is ", bits, ", expected 2 to 16");
  p.Check(std::isfinite(min) && std::isfinite(max) && min <= 0 && max >= 0 && min < max, "the range [", min, ", ", max, "]");
  const float first = p.options().Bool(kNarrowRange) ? 1.0f : 0.0f, last = static_cast<float>((1 << bits) - 1);
  const float scale = (max - min) / (last - first);
  const float zero = std::round(std::clamp(first - min / scale, first, last));
  const float low = (first - zero) * scale, high = (last - zero) * scale, steps = 1.0f / scale;
  p.SetShape(0, p.shape(0));
  p.MayOverwrite(0, 0);
  p.Emit([=, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const float* from = run.get<float>(x);
    float* to = run.get<float>(y);
    ForElements(run, n, 4, [&](int64_t begin, int64_t count) {
      for (int64_t i = begin; i < begin + count; ++i) {
        to[i] = std::round((std::min(high, std::max(low, from[i])) - low) * steps) * scale + low;
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "FAKE_QUANT", .prepare = PrepareFakeQuant},
};

}  // namespace

std::span<const OpDef> fake_quant_ops() { return kOps; }

}  // namespace sigrun::ops
