#include <algorithm>

#include "ops/op.h"
#include "ops/support/float_product.h"
#include "ops/support/gemm.h"
#include "ops/support/numbers.h"
#include "ops/support/quantization.h"
#include "ops/support/worker_scratch.h"

// CONV_3D and CONV_3D_TRANSPOSE of float32: NDHWC images, filters [depth, height, width, in, out] and [depth, height, width, out, in]. A
// plane of CONV_3D's output is the sum of convolutions in two dimensions, one for each plane of the input that the filter reaches.
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

  /// Adds the products of one pixel and one tap of a transposed convolution to a pixel of the output.
  void AddTap(const float* x, const float* w, float* y) const {
    for (int64_t o = 0; o < out_channels; ++o, w += in_channels) {
      float sum = 0;
      for (int64_t i = 0; i < in_channels; ++i) sum += x[i] * w[i];
      y[o] += sum;
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
    p.Check(small[d] >= 0 && reach <= INT32_MAX, "a window of ", reach, " over ", large[d], " positions");
    g.before[d] = std::max<int64_t>(0, (small[d] - 1) * g.stride[d] + reach - large[d]) / 2;
  }
}

void CheckOperands(const Prepare& p, int input, int bias, const Geometry& g) {
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(p.shape(input)[4] == g.in_channels, "the filter has ", g.in_channels, " input channels, the input has ", p.shape(input)[4]);
  CheckBias(p, bias, g.out_channels, TensorType::kFloat32);
}

void EmitTransposed(Prepare& p, const Geometry& g) {
  constexpr int kInput = 2, kBias = 3;
  if (p.output_elements(0) == 0) return;
  const int64_t pixels = g.batch * g.out[0] * g.out[1] * g.out[2];
  p.Check(pixels <= INT32_MAX, pixels, " pixels");
  const kernels::ClampF32 clamp = ActivationClamp(p);
  p.Emit([=, x = p.in(kInput), w = p.in(1), b = p.has_input(kBias) ? p.in(kBias) : Slot{}, y = p.out(0)](RunContext& run) noexcept {
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

kernels::ConvShape PlaneShape(const Geometry& g) {
  kernels::ConvShape s;
  const auto number = [](int64_t n) { return static_cast<int32_t>(n); };
  s.in_height = number(g.in[1]), s.in_width = number(g.in[2]), s.in_channels = number(g.in_channels);
  s.out_height = number(g.out[1]), s.out_width = number(g.out[2]), s.out_channels = number(g.out_channels);
  s.kernel_height = number(g.kernel[1]), s.kernel_width = number(g.kernel[2]);
  s.stride_h = number(g.stride[1]), s.stride_w = number(g.stride[2]);
  s.dilation_h = number(g.dilation[1]), s.dilation_w = number(g.dilation[2]);
  s.pad_top = number(g.before[1]), s.pad_left = number(g.before[2]);
  return s;
}

struct Planes {
  Geometry geometry;
  kernels::ConvShape shape;  // of one plane
  FloatProduct product;
  size_t tap_bytes;
  kernels::ClampF32 clamp;

  int64_t in_size() const { return geometry.in[1] * geometry.in[2] * geometry.in_channels; }
  int64_t out_size() const { return geometry.out[1] * geometry.out[2] * geometry.out_channels; }

  /// Pixels of one plane of the output, from the image's first plane `x` on.
  void Sum(int64_t depth, const float* x, const std::byte* packed, const float* bias, float* y, std::byte* scratch,
           kernels::Range rows) const {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      float* to = y + row * geometry.out_channels;
      for (int64_t i = 0; i < geometry.out_channels; ++i) to[i] = bias == nullptr ? 0.0f : bias[i];
    }
    kernels::EpilogueF32 epilogue;
    epilogue.residual = y;
    int64_t last = geometry.kernel[0] - 1;
    while (last > 0 && geometry.Source(0, depth, last) < 0) --last;
    for (int64_t tap = 0; tap <= last; ++tap) {
      const int64_t source = geometry.Source(0, depth, tap);
      if (tap == last) epilogue.clamp = clamp;
      // A plane without taps is a convolution of nothing.
      if (source < 0 && tap < last) continue;
      if (source < 0) return Clamp(y, rows);
      product.Conv(shape, x + source * in_size(), packed + static_cast<size_t>(tap) * tap_bytes, y, epilogue, scratch, rows);
    }
  }

  void Clamp(float* y, kernels::Range rows) const {
    for (int64_t i = rows.begin * geometry.out_channels; i < rows.end * geometry.out_channels; ++i) {
      y[i] = std::min(clamp.max, std::max(clamp.min, y[i]));
    }
  }
};

// Blocks of a plane's pixels stay in the cache until all taps have been added.
void EmitPlanes(Prepare& p, const Geometry& g) {
  constexpr int kBias = 2;
  constexpr int32_t kBlock = 20 * kRowGrain;
  if (p.output_elements(0) == 0) return;
  p.Check(p.output_elements(0) <= INT32_MAX, "an output of ", p.output_elements(0), " elements");
  const kernels::ConvShape s = PlaneShape(g);
  const FloatProduct product(p, s, p.is_constant(1));
  const int32_t k = s.taps() * s.in_channels;
  const Planes planes{g, s, product, product.PackBytes(k, s.out_channels), ActivationClamp(p)};
  const auto fill = [planes, k](const void* w, const void*, std::byte* to, std::byte*) {
    const int32_t n = planes.shape.out_channels;
    for (int64_t tap = 0; tap < planes.geometry.kernel[0]; ++tap, to += planes.tap_bytes) {
      planes.product.Pack(k, n, {static_cast<const float*>(w) + tap * k * n, 1, n}, nullptr, to);
    }
  };
  const size_t bytes = planes.tap_bytes * static_cast<size_t>(g.kernel[0]);
  const Packed packed = PackWeights(p, 1, -1, Concat("planes", product.key()), bytes, 0, fill);
  const WorkerScratch scratch(p, product.ScratchBytes(s));
  const int32_t blocks = (s.rows() + kBlock - 1) / kBlock;
  const int64_t units = g.batch * g.out[0] * blocks;
  p.Emit([=, x = p.in(0), b = p.has_input(kBias) ? p.in(kBias) : Slot{}, y = p.out(0)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(units), MacCost(g.kernel[0] * k * g.out_channels * kBlock), [&](kernels::Range range, int worker) {
      for (int32_t i = range.begin; i < range.end; ++i) {
        const int64_t plane = i / blocks, image = plane / g.out[0];
        const kernels::Range rows{i % blocks * kBlock, std::min(s.rows(), (i % blocks + 1) * kBlock)};
        planes.Sum(plane % g.out[0], run.get<float>(x) + image * g.in[0] * planes.in_size(), packed.get(run), run.get<float>(b),
                   run.get<float>(y) + plane * planes.out_size(), scratch.of(run, worker), rows);
      }
    });
  });
}

void CheckImages(const Prepare& p, int input) {
  for (const int i : {input, 1}) {
    p.CheckType(i, {TensorType::kFloat32});
    CheckRank(p, i, 5, i == 1 ? "filter" : "input");
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
  EmitPlanes(p, g);
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
  EmitTransposed(p, g);
}

constexpr OpDef kOps[] = {
    {.name = "CONV_3D", .prepare = PrepareConv3d, .activation_field = kActivation},
    {.name = "CONV_3D_TRANSPOSE", .prepare = PrepareConv3dTranspose, .activation_field = kActivation},
};

}  // namespace

std::span<const OpDef> conv_3d_ops() { return kOps; }

}  // namespace sigrun::ops
