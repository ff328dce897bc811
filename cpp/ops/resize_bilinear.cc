#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/gemm.h"
#include "ops/support/worker_scratch.h"

// RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR of NHWC images to a constant size. As in LiteRT, int8 and int16 are interpolated in fixed
// point with 10 bits, uint8 in floats.
namespace sigrun::ops {
namespace {

using kernels::Range;

constexpr int kInput = 0, kSize = 1;

struct Options {
  bool align_corners, half_pixel_centers;
};

struct Geometry {
  int32_t batch, in_height, in_width, depth, out_height, out_width;
  Options options;
  int32_t lines() const { return batch * out_height; }
  const auto* Line(const auto* input, int32_t line, int32_t y) const {
    return input + (ptrdiff_t{line / out_height} * in_height + y) * in_width * depth;
  }
  auto* Output(auto* output, int32_t line) const { return output + ptrdiff_t{line} * out_width * depth; }
};

Geometry ReadGeometry(Prepare& p, Options options) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(kInput)});
  CheckRank(p, kInput, 4, "input");
  const Shape& in = p.shape(kInput);
  const std::vector<int64_t> size = p.ConstantInts(kSize, "size");
  p.Check(size.size() == 2, "the size has ", size.size(), " elements, expected 2");
  constexpr int64_t kMost = 1 << 20;  // fixed-point positions must fit 32 bits
  p.Check(size[0] > 0 && size[1] > 0 && size[0] <= kMost && size[1] <= kMost, "the size ", size[0], " x ", size[1]);
  p.Check(in[1] > 0 && in[2] > 0 && in[1] <= kMost && in[2] <= kMost, "the input ", ToString(in));
  p.Check(!(options.align_corners && options.half_pixel_centers), "align_corners and half_pixel_centers exclude each other");
  const Geometry g{in[0], in[1], in[2], in[3], static_cast<int32_t>(size[0]), static_cast<int32_t>(size[1]), options};
  p.SetShape(0, {g.batch, g.out_height, g.out_width, g.depth});
  p.Check(p.output_elements(0) <= INT32_MAX, "the output ", ToString(p.output_shape(0)), " is too large");
  return g;
}

using kernels::ColumnsF32, kernels::ColumnsI32;

std::vector<ColumnsF32> FloatNeighbours(int32_t in, int32_t out, Options options) {
  float scale = static_cast<float>(in) / static_cast<float>(out);
  if (options.align_corners && out > 1) scale = static_cast<float>(in - 1) / static_cast<float>(out - 1);
  std::vector<ColumnsF32> neighbours;
  for (int32_t i = 0; i < out; ++i) {
    const float at = options.half_pixel_centers ? (static_cast<float>(i) + 0.5f) * scale - 0.5f : static_cast<float>(i) * scale;
    const int32_t first = std::clamp(static_cast<int32_t>(std::floor(at)), 0, in - 1);
    const int32_t second = std::clamp(static_cast<int32_t>(std::ceil(at)), 0, in - 1);
    neighbours.push_back({first, second, at - static_cast<float>(first)});
  }
  return neighbours;
}

constexpr int32_t kOne = 1 << 10;

std::vector<ColumnsI32> FixedNeighbours(int32_t in, int32_t out, Options options) {
  const bool aligns = options.align_corners && out > 1;
  const int64_t from = aligns ? in - 1 : in, to = aligns ? out - 1 : out;
  const int64_t scale = (kOne * from + to / 2) / to;
  std::vector<ColumnsI32> neighbours;
  for (int64_t i = 0; i < out; ++i) {
    const int64_t at = options.half_pixel_centers ? i * scale + scale / 2 - kOne / 2 : i * scale;
    const int64_t first = std::clamp<int64_t>(at / kOne, 0, in - 1), second = std::clamp<int64_t>((at + kOne - 1) / kOne, 0, in - 1);
    neighbours.push_back({static_cast<int32_t>(first), static_cast<int32_t>(second), static_cast<int32_t>(at - first * kOne)});
  }
  return neighbours;
}

void MixLine(const kernels::Kernels&, const Geometry& g, const int16_t* top, const int16_t* bottom, int32_t wy,
             const std::vector<ColumnsI32>& xs, void*, int16_t* to) {
  constexpr int64_t kHalf = int64_t{kOne} * kOne / 2;
  for (const ColumnsI32& x : xs) {
    const ptrdiff_t left = ptrdiff_t{x.first} * g.depth, right = ptrdiff_t{x.second} * g.depth;
    const int64_t wx = x.weight, wa = (kOne - wy) * (kOne - wx), wb = (kOne - wy) * wx, wc = wy * (kOne - wx), wd = wy * wx;
    for (int32_t i = 0; i < g.depth; ++i) {
      const int64_t sum = top[left + i] * wa + bottom[left + i] * wc + top[right + i] * wb + bottom[right + i] * wd;
      *to++ = static_cast<int16_t>((sum + (sum > 0 ? kHalf : -kHalf)) / (2 * kHalf));
    }
  }
}

void MixLine(const kernels::Kernels& k, const Geometry& g, const int8_t* top, const int8_t* bottom, int32_t wy,
             const std::vector<ColumnsI32>& xs, void* scratch, int8_t* to) {
  int32_t* between = static_cast<int32_t*>(scratch);
  k.mix_lines_i8(top, bottom, wy, between, static_cast<size_t>(g.in_width) * g.depth);
  k.mix_columns_i32(between, xs.data(), g.out_width, g.depth, to);
}

void ScaleBytes(const uint8_t* __restrict from, float scale, float* __restrict to, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) to[i] = from[i] * scale;
}
// A store of bytes may change any memory, so that everything else is said to stand apart. In the order of LiteRT's sum, which decides what
// is rounded up: half up, and the float below a half, as LiteRT does.
void BetweenColumns(const float* __restrict a, const float* __restrict c, const float* __restrict b, const float* __restrict d, float vx,
                    float wx, uint8_t* __restrict to, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) {
    const float sum = a[i] * vx + c[i] * vx + b[i] * wx + d[i] * wx;
    const int32_t rounded = static_cast<int32_t>(sum + 0.5f);
    to[i] = static_cast<uint8_t>(std::clamp(rounded, 0, 255));
  }
}

void MixLine(const kernels::Kernels&, const Geometry& g, const uint8_t* top, const uint8_t* bottom, float wy,
             const std::vector<ColumnsF32>& xs, void* scratch, uint8_t* to) {
  const ptrdiff_t depth = g.depth, n = g.in_width * depth;
  float *above = static_cast<float*>(scratch), *below = above + n;
  ScaleBytes(top, 1 - wy, above, n);
  ScaleBytes(bottom, wy, below, n);
  for (const auto& x : xs) {
    const ptrdiff_t left = x.first * depth, right = x.second * depth;
    BetweenColumns(above + left, below + left, above + right, below + right, 1 - x.weight, x.weight, to, depth);
    to += depth;
  }
}

template <class T, class Columns>
void EmitBilinear(Prepare& p, const Geometry& g, std::vector<Columns> ys, std::vector<Columns> xs) {
  // Of bytes: a line of int32 and kMixLanes more, or two of floats.
  const auto scratch =
      WorkerScratch(p, sizeof(T) == 1 ? (static_cast<size_t>(g.in_width) * g.depth * 2 + kernels::kMixLanes) * sizeof(float) : 0);
  p.Emit(
      [g, scratch, k = &p.kernels(), ys = std::move(ys), xs = std::move(xs), in = p.in(kInput), out = p.out(0)](RunContext& run) noexcept {
        run.Parallel(g.lines(), int64_t{g.out_width} * g.depth * 4, [&](Range lines, int worker) {
          for (int32_t line = lines.begin; line < lines.end; ++line) {
            const auto& y = ys[static_cast<size_t>(line % g.out_height)];
            const T* top = g.Line(run.get<T>(in), line, y.first);
            const T* bottom = g.Line(run.get<T>(in), line, y.second);
            MixLine(*k, g, top, bottom, y.weight, xs, scratch.of(run, worker), g.Output(run.get<T>(out), line));
          }
        });
      });
}

// Where a line of the input is wanted for several of the output: it is mixed to the output's columns once, and lines of the output lie
// between two such ones, which are kept. Columns are taken as many at a time as stay in the nearest cache.
void EmitEnlargedF32(Prepare& p, const Geometry& g, std::vector<ColumnsF32> ys, std::vector<ColumnsF32> xs) {
  constexpr int32_t kPart = 2 << 10;
  const int32_t columns = std::min(std::max(1, kPart / g.depth), g.out_width), n = columns * g.depth;
  const auto scratch = WorkerScratch(p, static_cast<size_t>(n) * 2 * sizeof(float));
  p.Emit([=, k = &p.kernels(), ys = std::move(ys), xs = std::move(xs), in = p.in(kInput), out = p.out(0)](RunContext& run) noexcept {
    run.Parallel(g.lines(), int64_t{g.out_width} * g.depth, [&](Range lines, int worker) {
      float* const first = reinterpret_cast<float*>(scratch.of(run, worker));
      float* const kept[] = {first, first + n};
      for (int32_t x = 0; x < g.out_width; x += columns) {
        const int32_t count = std::min(columns, g.out_width - x);
        const float* of[2] = {};
        // `other` stays.
        const auto mixed = [&](const float* line, const float* other) -> const float* {
          const int i = of[0] == line || (of[1] != line && of[0] != other) ? 0 : 1;
          if (of[i] != line) k->mix_columns_f32(line, nullptr, g.in_width, 0.0f, xs.data() + x, count, g.depth, kept[i]);
          of[i] = line;
          return kept[i];
        };
        for (int32_t line = lines.begin; line < lines.end; ++line) {
          const ColumnsF32& y = ys[static_cast<size_t>(line % g.out_height)];
          const float *top = g.Line(run.get<float>(in), line, y.first), *bottom = g.Line(run.get<float>(in), line, y.second);
          const float *above = mixed(top, bottom), *below = mixed(bottom, top);
          k->mix_lines_f32(above, below, y.weight, g.Output(run.get<float>(out), line) + ptrdiff_t{x} * g.depth,
                           static_cast<size_t>(count) * g.depth);
        }
      }
    });
  });
}

// Pixels that fill a small part of a vector are mixed from one line, which vectors have mixed from two.
void EmitBilinearF32(Prepare& p, const Geometry& g, std::vector<ColumnsF32> ys, std::vector<ColumnsF32> xs) {
  if (2 * g.out_height >= 3 * g.in_height) return EmitEnlargedF32(p, g, std::move(ys), std::move(xs));
  constexpr int32_t kFewChannels = 4;
  const size_t n = static_cast<size_t>(g.in_width) * g.depth;
  const auto scratch = WorkerScratch(p, g.depth <= kFewChannels ? n * sizeof(float) : 0);
  p.Emit([=, k = &p.kernels(), ys = std::move(ys), xs = std::move(xs), in = p.in(kInput), out = p.out(0)](RunContext& run) noexcept {
    run.Parallel(g.lines(), int64_t{g.out_width} * g.depth, [&](Range lines, int worker) {
      float* const between = reinterpret_cast<float*>(scratch.of(run, worker));
      for (int32_t line = lines.begin; line < lines.end; ++line) {
        const ColumnsF32& y = ys[static_cast<size_t>(line % g.out_height)];
        const float *top = g.Line(run.get<float>(in), line, y.first), *bottom = g.Line(run.get<float>(in), line, y.second);
        if (g.depth <= kFewChannels) {
          k->mix_lines_f32(top, bottom, y.weight, between, n);
          top = between;
          bottom = nullptr;
        }
        k->mix_columns_f32(top, bottom, g.in_width, y.weight, xs.data(), g.out_width, g.depth, g.Output(run.get<float>(out), line));
      }
    });
  });
}

void PrepareResizeBilinear(Prepare& p) {
  enum Field : int { kAlignCorners = 2, kHalfPixelCenters = 3 };
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const Options options{p.options().Bool(kAlignCorners), p.options().Bool(kHalfPixelCenters)};
  Geometry g = ReadGeometry(p, options);
  if (p.output_elements(0) == 0) return;
  // A column of pixels is a line of them.
  if (g.in_width == 1 && g.out_width == 1) {
    std::swap(g.in_width, g.in_height);
    std::swap(g.out_width, g.out_height);
  }
  const auto in_float = [&](int32_t in, int32_t out) { return FloatNeighbours(in, out, options); };
  const auto in_fixed = [&](int32_t in, int32_t out) { return FixedNeighbours(in, out, options); };
  switch (p.type(kInput)) {
    case TensorType::kInt8: return EmitBilinear<int8_t>(p, g, in_fixed(g.in_height, g.out_height), in_fixed(g.in_width, g.out_width));
    case TensorType::kInt16: return EmitBilinear<int16_t>(p, g, in_fixed(g.in_height, g.out_height), in_fixed(g.in_width, g.out_width));
    case TensorType::kUInt8: return EmitBilinear<uint8_t>(p, g, in_float(g.in_height, g.out_height), in_float(g.in_width, g.out_width));
    default: return EmitBilinearF32(p, g, in_float(g.in_height, g.out_height), in_float(g.in_width, g.out_width));
  }
}

std::vector<int32_t> Nearest(int32_t in, int32_t out, Options options) {
  const bool aligns = options.align_corners && out > 1;
  const float scale = aligns ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : static_cast<float>(in) / static_cast<float>(out);
  std::vector<int32_t> nearest;
  for (int32_t i = 0; i < out; ++i) {
    const float at = (static_cast<float>(i) + (options.half_pixel_centers ? 0.5f : 0.0f)) * scale;
    nearest.push_back(std::clamp(static_cast<int32_t>(options.align_corners ? std::round(at) : std::floor(at)), 0, in - 1));
  }
  return nearest;
}

void PrepareResizeNearestNeighbor(Prepare& p) {
  enum Field : int { kAlignCorners = 0, kHalfPixelCenters = 1 };
  const Options options{p.options().Bool(kAlignCorners), p.options().Bool(kHalfPixelCenters)};
  const Geometry g = ReadGeometry(p, options);
  if (p.output_elements(0) == 0) return;
  WithElement(p, p.type(kInput), [&]<class T>(std::type_identity<T>) {
    p.Emit([g, ys = Nearest(g.in_height, g.out_height, g.options), xs = Nearest(g.in_width, g.out_width, g.options), in = p.in(kInput),
            out = p.out(0)](RunContext& run) noexcept {
      run.Parallel(g.lines(), int64_t{g.out_width} * g.depth, [&](Range lines, int) {
        for (int32_t line = lines.begin; line < lines.end; ++line) {
          const T* from = g.Line(Elements<const T>(run, in), line, ys[static_cast<size_t>(line % g.out_height)]);
          T* to = g.Output(Elements<T>(run, out), line);
          for (const int32_t x : xs) {
            CopyElements(from + ptrdiff_t{x} * g.depth, to, g.depth);
            to += g.depth;
          }
        }
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "RESIZE_BILINEAR", .prepare = PrepareResizeBilinear, .traits = kFlushesDenormals},
    {.name = "RESIZE_NEAREST_NEIGHBOR", .prepare = PrepareResizeNearestNeighbor},
};

}  // namespace

std::span<const OpDef> resize_bilinear_ops() { return kOps; }

}  // namespace sigrun::ops
