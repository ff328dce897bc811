#include "ops/support/window_columns.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/support/float_product.h"
#include "ops/support/worker_scratch.h"

namespace sigrun::ops {
namespace {

using kernels::ActivationF32;
using kernels::ConvShape;
using kernels::Operands;
using kernels::Range;

constexpr int32_t kMostChannels = 8;
constexpr int64_t kBandFloats = 1 << 14;  // columns of a band of lines
constexpr float kZero = 0.0f;

/// Every pixel of the input's lines, the window's columns as channels.
ConvShape Columns(ConvShape s) {
  s.out_width = s.in_width;
  s.out_channels *= s.kernel_width;
  s.kernel_width = s.stride_w = s.dilation_w = 1;
  s.pad_left = 0;
  return s;
}

// One line of the output: bias + residual + the columns of a pixel's window that lie in the image. kChannels is 0 if known only while
// running.
template <int kChannels>
void SumColumns(const ConvShape& s, const float* columns, const float* bias, const float* residual, float* output) {
  const int32_t n = kChannels > 0 ? kChannels : s.out_channels;
  const ptrdiff_t pixel = static_cast<ptrdiff_t>(s.kernel_width) * n;
  for (int32_t x = 0; x < s.out_width; ++x, output += n) {
    float sum[kMostChannels];
    for (int32_t j = 0; j < n; ++j) sum[j] = bias[j];
    const int32_t left = x * s.stride_w - s.pad_left;
    for (int32_t kx = 0; kx < s.kernel_width; ++kx) {
      const int32_t at = left + kx * s.dilation_w;
      if (at < 0 || at >= s.in_width) continue;
      const float* from = columns + at * pixel + static_cast<ptrdiff_t>(kx) * n;
      for (int32_t j = 0; j < n; ++j) sum[j] += from[j];
    }
    for (int32_t j = 0; j < n; ++j) output[j] = residual == nullptr ? sum[j] : sum[j] + residual[static_cast<ptrdiff_t>(x) * n + j];
  }
}

using SumColumnsFunction = void (*)(const ConvShape&, const float*, const float*, const float*, float*);
SumColumnsFunction ChooseSum(int32_t channels) {
  constexpr SumColumnsFunction kFunctions[] = {SumColumns<0>, SumColumns<1>, SumColumns<2>, SumColumns<3>, SumColumns<4>};
  return kFunctions[channels <= 4 ? channels : 0];
}

}  // namespace

bool SuitsWindowColumns(const Prepare& p, const Gemm& g) {
  const ConvShape& s = g.shape;
  const ActivationF32 activation = p.node().function;
  if (!IsPackedOnce(p, g.weights, g.bias) || s.groups != 1 || s.kernel_width < 2 || s.out_channels > kMostChannels || s.rows() == 0 ||
      g.stride_k != 1 || g.stride_n != ptrdiff_t{s.taps()} * s.in_channels ||
      (activation != ActivationF32::kNone && FunctionOf(p.kernels(), activation) == nullptr)) {
    return false;
  }
  const int64_t direct = int64_t{s.taps()} * s.in_channels * WholeChannels(p.kernels(), s.out_channels) * s.out_width;
  const ConvShape columns = Columns(s);
  const int64_t products = int64_t{s.kernel_height} * s.in_channels * WholeChannels(p.kernels(), columns.out_channels) * s.in_width;
  constexpr int64_t kSum = 16;  // multiplications that take as long as one addition of a column's channel
  return 4 * (products + kSum * columns.out_channels * s.out_width) < 3 * direct;
}

void EmitWindowColumnsF32(Prepare& p, const Gemm& g) {
  const ConvShape s = g.shape, columns = Columns(s);
  const FloatProduct product(p, columns);
  const int32_t depth = s.kernel_height * s.in_channels;
  const size_t product_bytes = product.PackBytes(depth, columns.out_channels);
  const size_t bias_bytes = static_cast<size_t>(s.out_channels) * sizeof(float);
  const Packed packed = PackWeights(
      p, g.weights, g.bias,
      Concat("columns ", s.kernel_height, "x", s.kernel_width, "x", s.in_channels, "x", s.out_channels, product.key()),
      product_bytes + bias_bytes, static_cast<size_t>(columns.out_channels) * static_cast<size_t>(depth) * sizeof(float),
      [=](const void* weights, const void* bias, std::byte* to, std::byte* scratch) {
        // [column][output channel][line][input channel]
        float* turned = reinterpret_cast<float*>(scratch);
        const float* from = static_cast<const float*>(weights);
        for (int32_t i = 0; i < columns.out_channels * s.kernel_height; ++i) {
          const int32_t ky = i % s.kernel_height, n = i / s.kernel_height % s.out_channels, kx = i / s.kernel_height / s.out_channels;
          std::copy_n(from + ((ptrdiff_t{n} * s.kernel_height + ky) * s.kernel_width + kx) * s.in_channels, s.in_channels,
                      turned + ptrdiff_t{i} * s.in_channels);
        }
        product.Pack(depth, columns.out_channels, {turned, depth, 1}, nullptr, to);
        if (bias != nullptr) {
          std::memcpy(to + product_bytes, bias, bias_bytes);
        } else {
          std::memset(to + product_bytes, 0, bias_bytes);
        }
      });
  p.Explain(Concat("matrix product of ", s.rows(), " x ", depth, " x ", columns.out_channels, ", columns summed, ",
                   product.is_float32() ? "float32, " : product.key() + ", ", p.kernels().tier));
  const int64_t line_floats = int64_t{s.in_width} * columns.out_channels;
  const int32_t band = static_cast<int32_t>(std::clamp<int64_t>(kBandFloats / line_floats, 1, s.out_height));
  const WorkerScratch sums(p, static_cast<size_t>(band * line_floats) * sizeof(float)), rounding(p, product.ScratchBytes(columns));
  const Epilogue epilogue = PrepareEpilogue(p);
  const ActivationF32 activation = p.node().function;
  const bool clamps = std::isfinite(epilogue.clamp.min) || std::isfinite(epilogue.clamp.max);
  p.Emit([=, in = p.in(g.input), out = p.out(0), sum = ChooseSum(s.out_channels), none = kernels::EpilogueF32{},
          subtract = p.kernels().binary(kernels::Binary::kSub, Operands::kVectorScalar),
          function = FunctionOf(p.kernels(), activation)](RunContext& run) noexcept {
    const kernels::EpilogueF32 end = epilogue.at(run);
    const float* bias = reinterpret_cast<const float*>(packed.get(run) + product_bytes);
    const ptrdiff_t out_floats = static_cast<ptrdiff_t>(s.out_width) * s.out_channels;
    run.Parallel(s.batch * s.out_height, MacCost(line_floats * depth), [&](Range lines, int worker) {
      float* buffer = reinterpret_cast<float*>(sums.of(run, worker));
      for (int32_t line = lines.begin; line < lines.end; line += band) {
        const int32_t count = std::min(band, lines.end - line);
        // Where the first line of the first image would be.
        const size_t before = static_cast<size_t>(line * line_floats) * sizeof(float);
        float* first = reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(buffer) - before);
        product.Conv(columns, run.get<float>(in), packed.get(run), first, none, rounding.of(run, worker),
                     {line * s.in_width, (line + count) * s.in_width});
        for (int32_t i = 0; i < count; ++i) {
          float* to = run.get<float>(out) + (line + i) * out_floats;
          sum(s, buffer + i * line_floats, bias, end.residual == nullptr ? nullptr : end.residual + (line + i) * out_floats, to);
          if (function != nullptr) function(to, to, static_cast<size_t>(out_floats));
          if (clamps) subtract(to, &kZero, to, static_cast<size_t>(out_floats), end.clamp);
        }
      }
    });
  });
}

}  // namespace sigrun::ops
