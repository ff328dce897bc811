#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/gemm.h"

// TensorFlow's FusedBatchNormV3 and its gradient over float32 NHWC images, for models that train on the device. What a forward pass keeps
// for its gradient are the mean and the variance that it took.
namespace sigrun::ops {
namespace {

struct Norm {
  float epsilon, factor;  // of the moving averages
  bool trains;
  int64_t rows, depth;
};

Norm ReadNorm(const Prepare& p, int image, std::initializer_list<int> vectors) {
  const FlexNode node(p);
  p.CheckType(image, {TensorType::kFloat32});
  CheckRank(p, image, 4, "image");
  if (node.Bytes("data_format", "NHWC") != "NHWC") p.Refuse(StatusCode::kUnimplemented, "a data format other than NHWC");
  const int32_t depth = p.shape(image)[3];
  p.Check(depth >= 1, "an image ", ToString(p.shape(image)));
  for (const int i : vectors) {
    p.CheckType(i, {TensorType::kFloat32});
    p.Check(p.elements(i) == depth, "operand ", i, " of shape ", ToString(p.shape(i)), " for ", depth, " channels");
  }
  for (int o = 0; o < p.outputs(); ++o) p.CheckOutputType(o, {TensorType::kFloat32});
  return {node.Real("epsilon", 1e-4f), node.Real("exponential_avg_factor", 1.0f), node.Bool("is_training", true), p.elements(image) / depth,
          depth};
}

// Sums of f(row, channel) over the rows, in double.
template <class F>
void ForChannels(const Norm& n, double* sums, const F& f) {
  std::fill_n(sums, n.depth, 0.0);
  for (int64_t r = 0; r < n.rows; ++r) {
    for (int64_t c = 0; c < n.depth; ++c) sums[c] += f(r * n.depth + c, c);
  }
}

constexpr int kImage = 0, kScale = 1, kOffset = 2, kMean = 3, kVariance = 4;

void PrepareForward(Prepare& p) {
  p.CheckCounts(3, 5, 6);
  const FlexNode node(p);
  const bool trains = node.Bool("is_training", true), averages = !trains || node.Real("exponential_avg_factor", 1.0f) != 1.0f;
  const Norm n = averages ? ReadNorm(p, kImage, {kScale, kOffset, kMean, kVariance}) : ReadNorm(p, kImage, {kScale, kOffset});
  p.SetShape(0, p.shape(kImage));
  for (int o = 1; o < 5; ++o) p.SetShape(o, {static_cast<int32_t>(n.depth)});
  p.SetShape(5, {0});
  const Slot scratch = p.Scratch(static_cast<size_t>(n.depth) * sizeof(double));
  std::vector<Slot> outputs;
  for (int o = 0; o < 5; ++o) outputs.push_back(p.out(o));
  p.Emit([=, x = p.in(kImage), scale = p.in(kScale), offset = p.in(kOffset), old_mean = averages ? p.in(kMean) : Slot{},
          old_variance = averages ? p.in(kVariance) : Slot{}](RunContext& run) noexcept {
    const float* from = run.get<float>(x);
    float *mean = run.get<float>(outputs[3]), *variance = run.get<float>(outputs[4]);  // as they were taken
    double* sums = run.get<double>(scratch);
    const double rows = static_cast<double>(std::max<int64_t>(n.rows, 1));
    if (n.trains) {
      ForChannels(n, sums, [&](int64_t i, int64_t) { return static_cast<double>(from[i]); });
      for (int64_t c = 0; c < n.depth; ++c) mean[c] = static_cast<float>(sums[c] / rows);
      ForChannels(n, sums, [&](int64_t i, int64_t c) {
        return (static_cast<double>(from[i]) - mean[c]) * (static_cast<double>(from[i]) - mean[c]);
      });
      for (int64_t c = 0; c < n.depth; ++c) variance[c] = static_cast<float>(sums[c] / rows);
    } else {
      std::copy_n(run.get<float>(old_mean), n.depth, mean);
      std::copy_n(run.get<float>(old_variance), n.depth, variance);
    }
    // The moving variance is that of the population of which the batch is a sample.
    const float bessel = n.trains ? static_cast<float>(rows / std::max(rows - 1, 1.0)) : 1.0f;
    for (int64_t c = 0; c < n.depth; ++c) {
      const bool mixes = n.trains && n.factor != 1.0f;
      const float next = variance[c] * bessel;
      run.get<float>(outputs[1])[c] = mixes ? (1 - n.factor) * run.get<float>(old_mean)[c] + n.factor * mean[c] : mean[c];
      run.get<float>(outputs[2])[c] = mixes ? (1 - n.factor) * run.get<float>(old_variance)[c] + n.factor * next : next;
    }
    float* to = run.get<float>(outputs[0]);
    for (int64_t i = 0; i < n.rows * n.depth; ++i) {
      const int64_t c = i % n.depth;
      to[i] = (from[i] - mean[c]) / std::sqrt(variance[c] + n.epsilon) * run.get<float>(scale)[c] + run.get<float>(offset)[c];
    }
  });
}

void PrepareGradient(Prepare& p) {
  constexpr int kGradient = 0, kInput = 1, kFactor = 2, kTakenMean = 3, kTakenVariance = 4;
  p.CheckCounts(6, 6, 5);
  const Norm n = ReadNorm(p, kInput, {kFactor, kTakenMean, kTakenVariance});
  p.CheckType(kGradient, {TensorType::kFloat32});
  p.Check(p.shape(kGradient) == p.shape(kInput), "a gradient ", ToString(p.shape(kGradient)), " of an image ", ToString(p.shape(kInput)));
  p.SetShape(0, p.shape(kInput));
  for (int o = 1; o < 3; ++o) p.SetShape(o, {static_cast<int32_t>(n.depth)});
  for (int o = 3; o < 5; ++o) p.SetShape(o, {});
  const Slot scratch = p.Scratch(2 * static_cast<size_t>(n.depth) * sizeof(double));
  p.Emit([=, g = p.in(kGradient), x = p.in(kInput), factor = p.in(kFactor), means = p.in(kTakenMean), variances = p.in(kTakenVariance),
          dx = p.out(0), dscale = p.out(1), doffset = p.out(2), unused = p.out(3), unused_too = p.out(4)](RunContext& run) noexcept {
    *run.get<float>(unused) = *run.get<float>(unused_too) = 0;
    const float *gradient = run.get<float>(g), *from = run.get<float>(x), *mean = run.get<float>(means),
                *variance = run.get<float>(variances);
    double *sums = run.get<double>(scratch), *products = sums + n.depth;
    const auto inverse = [&](int64_t c) { return 1 / std::sqrt(static_cast<double>(variance[c]) + n.epsilon); };
    ForChannels(n, sums, [&](int64_t i, int64_t) { return static_cast<double>(gradient[i]); });
    ForChannels(n, products, [&](int64_t i, int64_t c) { return gradient[i] * (static_cast<double>(from[i]) - mean[c]) * inverse(c); });
    const double rows = static_cast<double>(std::max<int64_t>(n.rows, 1));
    for (int64_t c = 0; c < n.depth; ++c) {
      run.get<float>(doffset)[c] = static_cast<float>(sums[c]);
      run.get<float>(dscale)[c] = static_cast<float>(products[c]);
    }
    for (int64_t i = 0; i < n.rows * n.depth; ++i) {
      const int64_t c = i % n.depth;
      const double normal = (static_cast<double>(from[i]) - mean[c]) * inverse(c);
      const double moved = n.trains ? sums[c] / rows + normal * products[c] / rows : 0;
      run.get<float>(dx)[i] = static_cast<float>(run.get<float>(factor)[c] * inverse(c) * (gradient[i] - moved));
    }
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexFusedBatchNormGradV3", .prepare = PrepareGradient},
    {.name = "FlexFusedBatchNormV3", .prepare = PrepareForward},
};

}  // namespace

std::span<const OpDef> flex_batch_norm_ops() { return kOps; }

}  // namespace sigrun::ops
