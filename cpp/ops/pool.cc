#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/support/gemm.h"
#include "ops/support/quantization.h"

// MAX_POOL_2D, AVERAGE_POOL_2D, L2_POOL_2D. Quantised pooling works on the stored values: input and output share scale and zero point.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

enum Field : int { kPadding, kStrideW, kStrideH, kFilterW, kFilterH, kActivation };

ConvShape Geometry(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  CheckRank(p, 0, 4, "input");
  Window window = ReadWindow(p);
  window.kernel_w = p.options().Scalar<int32_t>(kFilterW);
  window.kernel_h = p.options().Scalar<int32_t>(kFilterH);
  ConvShape s = PlaceWindow(p, window, p.shape(0));
  s.in_channels = s.out_channels = p.shape(0)[3];
  p.SetShape(0, OutputShape(s));
  return s;
}

template <class F>
void ForLines(const RunContext& run, const ConvShape& s, const F& f) {
  run.Parallel(s.batch * s.out_height, int64_t{s.taps()} * s.out_width * s.out_channels / 2, [&](Range lines, int) { f(lines); });
}

template <class Kernel>
void EmitF32(Prepare& p, const ConvShape& s, Kernel kernel) {
  if (p.output_elements(0) == 0) return;
  p.Emit([=, clamp = ActivationClamp(p), in = p.in(0), out = p.out(0)](RunContext& run) noexcept {
    ForLines(run, s, [&](Range lines) { kernel(s, run.get<float>(in), run.get<float>(out), clamp, lines); });
  });
  p.AlsoByLines(0, LinesOf(s, sizeof(float), sizeof(float), 0, int64_t{s.taps()} * s.out_channels),
                [=, clamp = ActivationClamp(p)](const RunContext&, const std::byte* from, std::byte* to, Range lines, int) noexcept {
                  kernel(s, reinterpret_cast<const float*>(from), reinterpret_cast<float*>(to), clamp, lines);
                });
}

template <class T>
void EmitQuantized(Prepare& p, const ConvShape& s, void (*kernel)(const ConvShape&, const T*, T*, int32_t, int32_t, Range)) {
  const bool clamps = p.activation() != schema::Activation::kNone;
  const QuantizedRange range = clamps ? QuantizedActivationRange(p, 0) : TypeRange(p.type(0));
  if (p.output_elements(0) == 0) return;
  p.Emit([=, in = p.in(0), out = p.out(0)](RunContext& run) noexcept {
    ForLines(run, s, [&](Range lines) { kernel(s, run.get<T>(in), run.get<T>(out), range.min, range.max, lines); });
  });
  p.AlsoByLines(0, LinesOf(s, sizeof(T), sizeof(T), 0, int64_t{s.taps()} * s.out_channels),
                [=](const RunContext&, const std::byte* from, std::byte* to, Range lines, int) noexcept {
                  kernel(s, reinterpret_cast<const T*>(from), reinterpret_cast<T*>(to), range.min, range.max, lines);
                });
}

// Windows that no kernel has: Op takes the elements of one, finish(op, how many) gives the result.
template <class Op, class T, class Finish>
void PoolWindows(const ConvShape& s, const T* x, T* y, Range lines, const Finish& finish) {
  const ptrdiff_t depth = s.in_channels, line_elements = s.in_width * depth;
  for (int32_t line = lines.begin; line < lines.end; ++line) {
    const int32_t top = line % s.out_height * s.stride_h - s.pad_top;
    const int32_t y0 = std::max(0, top), y1 = std::min(s.in_height, top + s.kernel_height);
    const T* image = x + line / s.out_height * s.in_height * line_elements;
    for (int32_t ox = 0; ox < s.out_width; ++ox) {
      const int32_t left = ox * s.stride_w - s.pad_left;
      const int32_t x0 = std::max(0, left), x1 = std::min(s.in_width, left + s.kernel_width);
      T* to = y + (static_cast<ptrdiff_t>(line) * s.out_width + ox) * depth;
      for (ptrdiff_t c = 0; c < depth; ++c) {
        Op op;
        for (int32_t iy = y0; iy < y1; ++iy) {
          for (int32_t ix = x0; ix < x1; ++ix) op.Take(image[iy * line_elements + ix * depth + c]);
        }
        to[c] = finish(op, std::max(1, (y1 - y0) * (x1 - x0)));
      }
    }
  }
}

struct Max16 {
  int32_t sum = INT16_MIN;
  void Take(int16_t x) { sum = std::max<int32_t>(sum, x); }
  int32_t Finish(int32_t) const { return sum; }
};
struct Average16 {
  int64_t sum = 0;
  void Take(int16_t x) { sum += x; }
  // Rounded half away from zero.
  int32_t Finish(int32_t count) const { return static_cast<int32_t>((sum > 0 ? sum + count / 2 : sum - count / 2) / count); }
};

template <class Op>
void Pool16(const ConvShape& s, const int16_t* x, int16_t* y, int32_t min, int32_t max, Range lines) {
  PoolWindows<Op>(s, x, y, lines,
                  [=](const Op& op, int32_t count) { return static_cast<int16_t>(std::clamp(op.Finish(count), min, max)); });
}

void PrepareMaxPool2D(Prepare& p) {
  p.CheckType(0, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const ConvShape s = Geometry(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, s, p.kernels().max_pool_f32);
  if (p.type(0) == TensorType::kInt8) return EmitQuantized<int8_t>(p, s, p.kernels().max_pool_i8);
  if (p.type(0) == TensorType::kInt16) return EmitQuantized<int16_t>(p, s, Pool16<Max16>);
  EmitQuantized<uint8_t>(p, s, p.kernels().max_pool_u8);
}

void PrepareAveragePool2D(Prepare& p) {
  p.CheckType(0, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const ConvShape s = Geometry(p);
  if (p.type(0) == TensorType::kFloat32) return EmitF32(p, s, p.kernels().average_pool_f32);
  if (p.type(0) == TensorType::kInt8) return EmitQuantized<int8_t>(p, s, p.kernels().average_pool_i8);
  if (p.type(0) == TensorType::kInt16) return EmitQuantized<int16_t>(p, s, Pool16<Average16>);
  EmitQuantized<uint8_t>(p, s, p.kernels().average_pool_u8);
}

// The root of the mean square of a window.
struct SumOfSquares {
  float sum = 0;
  void Take(float x) { sum += x * x; }
};
void L2Pool(const ConvShape& s, const float* x, float* y, kernels::ClampF32 clamp, Range lines) {
  PoolWindows<SumOfSquares>(s, x, y, lines, [=](const SumOfSquares& op, int32_t count) {
    const float root = std::sqrt(op.sum / static_cast<float>(count));
    return root < clamp.min ? clamp.min : root > clamp.max ? clamp.max : root;  // NaN stays one
  });
}

void PrepareL2Pool2D(Prepare& p) {
  p.CheckType(0, {TensorType::kFloat32});
  EmitF32(p, Geometry(p), L2Pool);
}

constexpr OpDef kOps[] = {
    {.name = "MAX_POOL_2D", .prepare = PrepareMaxPool2D, .activation_field = kActivation, .traits = kSkipsPadding | kFlushesDenormals},
    {.name = "AVERAGE_POOL_2D", .prepare = PrepareAveragePool2D, .activation_field = kActivation, .traits = kFlushesDenormals},
    {.name = "L2_POOL_2D", .prepare = PrepareL2Pool2D, .activation_field = kActivation},
};

}  // namespace

std::span<const OpDef> pool_ops() { return kOps; }

}  // namespace sigrun::ops
