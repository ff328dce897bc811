#include <algorithm>

#include "ops/op.h"
#include "ops/support/gemm.h"
#include "ops/support/numbers.h"
#include "ops/support/quantization.h"

// CONV_3D and CONV_3D_TRANSPOSE of float32: NDHWC images, filters [depth, height, width, in, out] and [depth, height, width, out, in].
namespace sigrun::ops {
namespace {

enum Field : int { kPadding, kStrideD, kStrideW, kStrideH, kActivation, kDilationD, kDilationW, kDilationH };

struct Geometry {
  int64_t batch, in_channels, out_channels;
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3];
  bool transposed;

  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }

  /// The input's position along dimension d that a tap of an output's position reads, or -1.
  int64_t Source(int d, int64_t position, int64_t tap) const {
    int64_t at = transposed ? position + before[d] - tap * dilation[d] : position * stride[d] - before[d] + tap * dilation[d];
    if (transposed && (at < 0 || at % stride[d] != 0)) return -1;
    if (transposed) at /= stride[d];
    return at < in[d] ? at : -1;
  }

  /// Adds the products of one pixel and one tap to a pixel of the output.
  void AddTap(const float* x, const float* w, float* y) const {
    if (transposed) {
      for (int64_t o = 0; o < out_channels; ++o, w += in_channels) {
        float sum = 0;
        for (int64_t i = 0; i < in_channels; ++i) sum += x[i] * w[i];
        y[o] += sum;
      }
    } else {
      for (int64_t i = 0; i < in_channels; ++i, w += out_channels) {
        for (int64_t o = 0; o < out_channels; ++o) y[o] += x[i] * w[o];
      }
    }
  }

  /// The output's pixel `index` from the images `x` and the filter `w`.
  void Pixel(int64_t index, const float* x, const float* w, float* y) const {
    const int64_t position[] = {index / (out[2] * out[1]) % out[0], index / out[2] % out[1], index % out[2]};
    const int64_t image = index / (out[2] * out[1] * out[0]);
    for (int64_t tap = 0; tap < taps(); ++tap) {
      const int64_t d = Source(0, position[0], tap / (kernel[2] * kernel[1]));
      const int64_t r = Source(1, position[1], tap / kernel[2] % kernel[1]);
      const int64_t c = Source(2, position[2], tap % kernel[2]);
      if (d < 0 || r < 0 || c < 0) continue;
      AddTap(x + (((image * in[0] + d) * in[1] + r) * in[2] + c) * in_channels, w + tap * in_channels * out_channels, y);
    }
  }
};

Geometry MakeGeometry(const Shape& input, const Shape& filter, bool transposed) {
  Geometry g{};
  g.batch = input[0];
  g.in_channels = filter[transposed ? 4 : 3];
  g.out_channels = filter[transposed ? 3 : 4];
  std::copy_n(input.begin() + 1, 3, g.in);
  std::copy_n(filter.begin(), 3, g.kernel);
  g.transposed = transposed;
  return g;
}

/// Reads window and padding; `large` are the sizes that the window slides over, `small` gets how often it fits.
void ReadWindow3d(const Prepare& p, Geometry& g, const int64_t* large, int64_t* small) {
  constexpr int kStrides[] = {kStrideD, kStrideH, kStrideW}, kDilations[] = {kDilationD, kDilationH, kDilationW};
  const auto padding = p.options().Scalar<schema::Padding>(kPadding);
  p.Check(padding == schema::Padding::kSame || padding == schema::Padding::kValid, "padding ", static_cast<int>(padding));
  for (int d = 0; d < 3; ++d) {
    g.stride[d] = p.options().Scalar<int32_t>(kStrides[d]);
    g.dilation[d] = p.options().Scalar<int32_t>(kDilations[d], 1);
    p.Check(g.stride[d] >= 1 && g.dilation[d] >= 1, "a stride of ", g.stride[d], " and a dilation of ", g.dilation[d]);
    p.Check(g.kernel[d] >= 1, "an empty filter");
    const int64_t reach = (g.kernel[d] - 1) * g.dilation[d] + 1;
    small[d] = (large[d] + g.stride[d] - (padding == schema::Padding::kSame ? 1 : reach)) / g.stride[d];
    p.Check(small[d] >= 0, "a window of ", reach, " over ", large[d], " positions");
    g.before[d] = std::max<int64_t>(0, (small[d] - 1) * g.stride[d] + reach - large[d]) / 2;
  }
}

void CheckOperands(const Prepare& p, int input, int bias, const Geometry& g) {
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(p.shape(input)[4] == g.in_channels, "the filter has ", g.in_channels, " input channels, the input has ", p.shape(input)[4]);
  CheckBias(p, bias, g.out_channels, TensorType::kFloat32);
}

void EmitConvolution(Prepare& p, const Geometry& g, int input, int bias) {
  if (p.output_elements(0) == 0) return;
  const int64_t pixels = g.batch * g.out[0] * g.out[1] * g.out[2];
  p.Check(pixels <= INT32_MAX, pixels, " pixels");
  const kernels::ClampF32 clamp = ActivationClamp(p);
  p.Emit([=, x = p.in(input), w = p.in(1), b = p.has_input(bias) ? p.in(bias) : Slot{}, y = p.out(0)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(pixels), MacCost(g.taps() * g.in_channels * g.out_channels), [&](kernels::Range range, int) {
      const float* biases = run.get<float>(b);
      for (int64_t i = range.begin; i < range.end; ++i) {
        float* to = run.get<float>(y) + i * g.out_channels;
        std::fill_n(to, g.out_channels, 0.0f);
        g.Pixel(i, run.get<float>(x), run.get<float>(w), to);
        for (int64_t o = 0; o < g.out_channels; ++o) {
          to[o] = std::min(clamp.max, std::max(clamp.min, biases == nullptr ? to[o] : to[o] + biases[o]));
        }
      }
    });
  });
}

void CheckImages(const Prepare& p, int input) {
  for (const int i : {input, 1}) {
    p.CheckType(i, {TensorType::kFloat32});
    p.Check(p.shape(i).size() == 5, "input ", i, " has shape ", ToString(p.shape(i)), ", expected 5 dimensions");
  }
}

void PrepareConv3d(Prepare& p) {
  p.CheckCounts(2, 3, 1);
  CheckImages(p, 0);
  const Shape& input = p.shape(0);
  const Shape& filter = p.shape(1);
  Geometry g = MakeGeometry(input, filter, false);
  ReadWindow3d(p, g, g.in, g.out);
  CheckOperands(p, 0, 2, g);
  p.SetShape(0, {input[0], static_cast<int32_t>(g.out[0]), static_cast<int32_t>(g.out[1]), static_cast<int32_t>(g.out[2]), filter[4]});
  EmitConvolution(p, g, 0, 2);
}

void PrepareConv3dTranspose(Prepare& p) {
  p.CheckCounts(3, 4, 1);
  CheckImages(p, 2);
  const Shape shape = KnownShape(p, 0, "output shape");
  const Shape& input = p.shape(2);
  const Shape& filter = p.shape(1);
  p.Check(shape.size() == 5 && shape[0] == input[0] && shape[4] == filter[3], "an output of shape ", ToString(shape),
          " from an input of shape ", ToString(input), " and a filter of shape ", ToString(filter));
  Geometry g = MakeGeometry(input, filter, true);
  std::copy_n(shape.begin() + 1, 3, g.out);
  int64_t fits[3];
  ReadWindow3d(p, g, g.out, fits);
  CheckOperands(p, 2, 3, g);
  p.SetShape(0, shape);
  EmitConvolution(p, g, 2, 3);
}

constexpr OpDef kOps[] = {
    {.name = "CONV_3D", .prepare = PrepareConv3d, .activation_field = kActivation},
    {.name = "CONV_3D_TRANSPOSE", .prepare = PrepareConv3dTranspose, .activation_field = kActivation},
};

}  // namespace

std::span<const OpDef> conv_3d_ops() { return kOps; }

}  // namespace sigrun::ops
