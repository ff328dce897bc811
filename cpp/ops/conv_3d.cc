#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.h"
#include "ops/support/float_product.h"
#include "ops/support/gemm.h"
#include "ops/support/numbers.h"
#include "ops/support/quantization.h"
#include "ops/support/strided_copy.h"
#include "ops/support/worker_scratch.h"

// CONV_3D and CONV_3D_TRANSPOSE of float32: NDHWC images, filters [depth, height, width, in, out] and [depth, height, width, out, in]. A
// plane of CONV_3D's output is the sum of convolutions in two dimensions, one for each plane of the input that the filter reaches.
// Positions of a transposed convolution's output that lie whole strides apart see the same taps of the filter. Such a phase is a product:
// what its windows see, gathered in blocks that stay in the cache, by the weights of its taps.
namespace sigrun::ops {
namespace {

enum Field : int { kPadding, kStrideD, kStrideW, kStrideH, kActivation, kDilationD, kDilationW, kDilationH };

struct Geometry {
  int64_t batch, in_channels, out_channels;
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3];
  bool transposed;

  /// The input's position along the depth that a tap reads for a position of CONV_3D's output, or -1.
  int64_t Source(int64_t position, int64_t tap) const {
    const int64_t at = position * stride[0] - before[0] + tap * dilation[0];
    return at < in[0] ? at : -1;
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
    while (last > 0 && geometry.Source(depth, last) < 0) --last;
    for (int64_t tap = 0; tap <= last; ++tap) {
      const int64_t source = geometry.Source(depth, tap);
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

/// A phase of a transposed convolution along one dimension: positions first + i * step of the output for i < count. Tap taps[t] of the
/// filter reads position i + offsets[t] of the input; offsets ascend.
struct Axis {
  int64_t first, step, count;
  std::vector<int64_t> taps, offsets;

  /// Neighbouring taps read neighbouring positions.
  bool IsRun() const { return !taps.empty() && offsets.back() - offsets.front() == static_cast<int64_t>(taps.size()) - 1; }
};

Axis MakeAxis(const Geometry& g, int d, int64_t phase) {
  Axis a{phase, g.stride[d], (g.out[d] - phase + g.stride[d] - 1) / g.stride[d], {}, {}};
  for (int64_t tap = g.kernel[d]; tap-- > 0;) {
    const int64_t at = phase + g.before[d] - tap * g.dilation[d];
    if (at % g.stride[d] != 0) continue;
    a.taps.push_back(tap);
    a.offsets.push_back(at / g.stride[d]);
  }
  return a;
}

/// Of all three dimensions, as a product [rows, k] x [k, n].
struct Phase {
  Geometry geometry;
  Axis depth, height, width;
  int32_t rows, k, n, block;
  size_t begin = 0;  // of the packed weights

  Phase(const Prepare& p, const Geometry& g, Axis d, Axis h, Axis w)
      : geometry(g), depth(std::move(d)), height(std::move(h)), width(std::move(w)) {
    const int64_t pixels = g.batch * depth.count * height.count * width.count;
    const int64_t floats = static_cast<int64_t>(depth.taps.size() * height.taps.size() * width.taps.size()) * g.in_channels;
    p.Check(pixels <= INT32_MAX && floats <= INT32_MAX, pixels, " windows of ", floats, " floats");
    rows = static_cast<int32_t>(pixels);
    k = static_cast<int32_t>(floats);
    n = static_cast<int32_t>(g.out_channels);
    constexpr int32_t kFloats = 24576, kLeast = 4 * kRowGrain, kMost = 20 * kRowGrain;
    block = std::clamp(kFloats / std::max(k, 1) / kRowGrain * kRowGrain, kLeast, kMost);
  }

  int32_t blocks() const { return (rows + block - 1) / block; }
  kernels::ConvShape shape() const { return kernels::ConvShape::MatMul(block, k, n); }
  size_t window_floats() const { return static_cast<size_t>(block) * static_cast<size_t>(k); }
  size_t result_floats() const { return static_cast<size_t>(block) * static_cast<size_t>(n); }

  /// Weights [n][k].
  void GatherWeights(const float* w, float* to) const {
    const Geometry& g = geometry;
    for (int64_t o = 0; o < n; ++o) {
      for (const int64_t d : depth.taps) {
        for (const int64_t h : height.taps) {
          for (const int64_t t : width.taps) {
            const int64_t tap = (d * g.kernel[1] + h) * g.kernel[2] + t;
            to = std::copy_n(w + (tap * n + o) * g.in_channels, g.in_channels, to);
          }
        }
      }
    }
  }

  /// What the taps along the width read of a line of the input for windows `from` to `end`, each k behind the one before. No line: zeros.
  void GatherLine(const float* line, int64_t from, int64_t end, float* to) const {
    const int64_t taps = static_cast<int64_t>(width.taps.size()), c = geometry.in_channels, size = geometry.in[2];
    const auto gather_taps = [&](int64_t i) {
      float* window = to + (i - from) * k;
      std::fill_n(window, taps * c, 0.0f);
      for (int64_t t = 0; t < taps && line != nullptr; ++t) {
        const int64_t at = i + width.offsets[static_cast<size_t>(t)];
        if (at >= 0 && at < size) CopyShort(line + at * c, window + t * c, c);
      }
    };
    int64_t inside = end, outside = end;  // windows that lie in the line
    if (line != nullptr && width.IsRun()) {
      inside = std::clamp(-width.offsets[0], from, end);
      outside = std::clamp(size - taps + 1 - width.offsets[0], inside, end);
      CopyRuns(line + (inside + width.offsets[0]) * c, c, to + (inside - from) * k, k, taps * c, outside - inside);
    }
    for (int64_t i = from; i < inside; ++i) gather_taps(i);
    for (int64_t i = outside; i < end; ++i) gather_taps(i);
  }

  /// Calls f(row, image, position along the depth and the height, first and end along the width) for rows of the product.
  template <class F>
  void ForLines(kernels::Range range, const F& f) const {
    for (int32_t row = range.begin; row < range.end;) {
      const int64_t first = row % width.count, line = row / width.count, end = std::min(width.count, first + range.end - row);
      const int64_t h = line % height.count, d = line / height.count % depth.count, image = line / height.count / depth.count;
      f(row - range.begin, image, d, h, first, end);
      row += static_cast<int32_t>(end - first);
    }
  }

  void GatherWindows(const float* x, kernels::Range range, float* to) const {
    const Geometry& g = geometry;
    const int64_t floats = static_cast<int64_t>(width.taps.size()) * g.in_channels;
    ForLines(range, [&](int32_t row, int64_t image, int64_t i, int64_t j, int64_t first, int64_t end) {
      float* tap = to + static_cast<ptrdiff_t>(row) * k;
      for (size_t d = 0; d < depth.taps.size(); ++d) {
        const int64_t z = i + depth.offsets[d];
        for (size_t h = 0; h < height.taps.size(); ++h, tap += floats) {
          const int64_t y = j + height.offsets[h];
          const bool inside = z >= 0 && z < g.in[0] && y >= 0 && y < g.in[1];
          GatherLine(inside ? x + ((image * g.in[0] + z) * g.in[1] + y) * g.in[2] * g.in_channels : nullptr, first, end, tap);
        }
      }
    });
  }

  void Scatter(const float* from, kernels::Range range, float* y) const {
    const Geometry& g = geometry;
    ForLines(range, [&](int32_t row, int64_t image, int64_t i, int64_t j, int64_t first, int64_t end) {
      const int64_t z = depth.first + i * depth.step,
                    line = ((image * g.out[0] + z) * g.out[1] + height.first + j * height.step) * g.out[2];
      const float* pixel = from + static_cast<ptrdiff_t>(row) * n;
      CopyRuns(pixel, n, y + (line + width.first + first * width.step) * n, width.step * n, n, end - first);
    });
  }
};

std::vector<Phase> MakePhases(const Prepare& p, const Geometry& g) {
  std::vector<Phase> phases;
  const auto count = [&](int d) { return std::min(g.stride[d], g.out[d]); };
  constexpr int64_t kMost = 4096;
  int64_t most = 1;
  for (int d = 0; d < 3; ++d) most = std::min(most * count(d), kMost + 1);
  p.Check(most <= kMost, "strides of ", g.stride[0], ", ", g.stride[1], " and ", g.stride[2]);
  for (int64_t d = 0; d < count(0); ++d) {
    for (int64_t h = 0; h < count(1); ++h) {
      for (int64_t w = 0; w < count(2); ++w) phases.emplace_back(p, g, MakeAxis(g, 0, d), MakeAxis(g, 1, h), MakeAxis(g, 2, w));
    }
  }
  return phases;
}

// What tells the packed weights of one constant apart.
std::string KeyOf(const Geometry& g, const FloatProduct& product) {
  std::string key = Concat("phases", product.key());
  for (int d = 0; d < 3; ++d) key += Concat(" ", g.stride[d], " ", g.dilation[d], " ", g.before[d], " ", std::min(g.stride[d], g.out[d]));
  return key;
}

void EmitPhases(Prepare& p, const Geometry& g) {
  constexpr int kInput = 2, kBias = 3;
  if (p.output_elements(0) == 0) return;
  std::vector<Phase> phases = MakePhases(p, g);
  const auto longest = std::ranges::max_element(phases, {}, &Phase::k);
  const FloatProduct product(p, kernels::ConvShape::MatMul(longest->rows, longest->k, longest->n), p.is_constant(1));
  size_t bytes = 0, window_floats = 0, result_floats = 0, product_bytes = 0;
  for (Phase& phase : phases) {
    phase.begin = bytes;
    bytes += (product.PackBytes(phase.k, phase.n) + 63) / 64 * 64;
    window_floats = std::max(window_floats, phase.window_floats());
    result_floats = std::max(result_floats, phase.result_floats());
    product_bytes = std::max(product_bytes, product.ScratchBytes(phase.shape()));
  }
  const auto fill = [=](const void* w, const void* bias, std::byte* to, std::byte* scratch) {
    float* weights = reinterpret_cast<float*>(scratch);
    for (const Phase& phase : phases) {
      phase.GatherWeights(static_cast<const float*>(w), weights);
      product.Pack(phase.k, phase.n, {weights, phase.k, 1}, static_cast<const float*>(bias), to + phase.begin);
    }
  };
  const size_t weight_bytes = static_cast<size_t>(longest->k) * static_cast<size_t>(longest->n) * sizeof(float);
  const Packed packed = PackWeights(p, 1, kBias, KeyOf(g, product), bytes, weight_bytes, fill);
  const WorkerScratch windows(p, window_floats * sizeof(float)), results(p, result_floats * sizeof(float)), scratch(p, product_bytes);
  kernels::EpilogueF32 epilogue;
  epilogue.clamp = ActivationClamp(p);
  p.Emit([=, x = p.in(kInput), y = p.out(0)](RunContext& run) noexcept {
    for (const Phase& phase : phases) {
      run.Parallel(phase.blocks(), MacCost(int64_t{phase.k} * phase.n * phase.block), [&](kernels::Range range, int worker) {
        float* seen = reinterpret_cast<float*>(windows.of(run, worker));
        float* result = reinterpret_cast<float*>(results.of(run, worker));
        for (int32_t i = range.begin; i < range.end; ++i) {
          const kernels::Range rows{i * phase.block, std::min(phase.rows, (i + 1) * phase.block)};
          phase.GatherWindows(run.get<float>(x), rows, seen);
          product.Conv(phase.shape(), seen, packed.get(run) + phase.begin, result, epilogue, scratch.of(run, worker),
                       {0, rows.end - rows.begin});
          phase.Scatter(result, rows, run.get<float>(y));
        }
      });
    }
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
  EmitPhases(p, g);
}

constexpr OpDef kOps[] = {
    {.name = "CONV_3D", .prepare = PrepareConv3d, .activation_field = kActivation, .traits = kFlushesDenormals},
    {.name = "CONV_3D_TRANSPOSE", .prepare = PrepareConv3dTranspose, .activation_field = kActivation, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> conv_3d_ops() { return kOps; }

}  // namespace sigrun::ops
