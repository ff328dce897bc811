#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "ops/op.h"
#include "ops/support/gemm.h"
#include "ops/support/quantization.h"

// TRANSPOSE_CONV with weights [out, height, width, in]. Output pixels whose positions are equal modulo the strides (a phase) are a plain
// convolution with stride 1 by every stride-th tap, mirrored; each phase is computed densely and its pixels are then dealt out.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

enum Field : int { kPadding, kStrideW, kStrideH, kActivation };

constexpr int kOutputShape = 0, kWeights = 1, kInput = 2, kBias = 3;

// One dimension of a phase: outputs first, first + stride, ...; tap j of the convolution is tap (taps - 1 - j) * stride + remainder of the
// weights, or a zero beyond them.
struct PhaseAlong {
  int32_t first, outputs, taps, remainder, pad;
  PhaseAlong(int32_t first_output, int32_t size, int32_t kernel, int32_t stride, int32_t padding) : first(first_output) {
    outputs = (size - first + stride - 1) / stride;
    remainder = (first + padding) % stride;
    const int32_t ahead = (first + padding) / stride;
    const int32_t real = kernel > remainder ? (kernel - remainder + stride - 1) / stride : 0;
    taps = std::max(real, ahead + 1);
    pad = taps - 1 - ahead;
  }
};

struct Phase {
  PhaseAlong y, x;
  ConvShape shape;
};

struct Geometry {
  int32_t kernel_h, kernel_w, stride_h, stride_w, out_height, out_width, out_channels;
  std::vector<Phase> phases;
};

Geometry ReadGeometry(Prepare& p) {
  CheckRank(p, kInput, 4, "input");
  CheckRank(p, kWeights, 4, "weights");
  const std::vector<int64_t> wanted = p.ConstantInts(kOutputShape, "output shape");
  p.Check(wanted.size() == 4, "the output shape has ", wanted.size(), " dimensions, expected 4");
  const Shape &input = p.shape(kInput), &weights = p.shape(kWeights);
  for (const int64_t d : wanted) p.Check(d >= 0 && d <= 1 << 29, "dimension ", d, " in the output shape");
  p.Check(wanted[0] == input[0], "the output shape has batch ", wanted[0], ", the input ", input[0]);
  p.Check(weights[3] == input[3] && input[3] > 0, "weights have ", weights[3], " input channels, the input has ", input[3]);
  p.Check(wanted[3] == weights[0], "the output shape has ", wanted[3], " channels, the weights have ", weights[0]);
  const Shape output(wanted.begin(), wanted.end());
  Window window = ReadWindow(p);
  window.kernel_h = weights[1];
  window.kernel_w = weights[2];
  p.Check(window.stride_h <= 1 << 15 && window.stride_w <= 1 << 15, "strides ", window.stride_h, " and ", window.stride_w,
          " are too large");
  // The convolution that this one transposes goes from the output to the input.
  const ConvShape forward = PlaceWindow(p, window, output);
  Geometry g{weights[1], weights[2], window.stride_h, window.stride_w, output[1], output[2], output[3], {}};
  for (int32_t py = 0; py < std::min(g.stride_h, g.out_height); ++py) {
    for (int32_t px = 0; px < std::min(g.stride_w, g.out_width); ++px) {
      Phase phase{{py, output[1], g.kernel_h, g.stride_h, forward.pad_top}, {px, output[2], g.kernel_w, g.stride_w, forward.pad_left}, {}};
      ConvShape& s = phase.shape;
      s.batch = input[0];
      s.in_height = input[1];
      s.in_width = input[2];
      s.in_channels = input[3];
      s.out_height = phase.y.outputs;
      s.out_width = phase.x.outputs;
      s.out_channels = output[3];
      s.kernel_height = phase.y.taps;
      s.kernel_width = phase.x.taps;
      s.pad_top = phase.y.pad;
      s.pad_left = phase.x.pad;
      g.phases.push_back(phase);
    }
  }
  p.SetShape(0, output);
  return g;
}

// The taps of a phase as dense weights [out, y, x, in]; `zero` stands for those beyond the kernel. convert(weight, output channel)
template <class From, class To, class Convert>
void GatherTaps(const Geometry& g, const Phase& phase, const From* weights, To zero, To* to, Convert convert) {
  const int32_t depth = phase.shape.in_channels;
  for (int32_t n = 0; n < g.out_channels; ++n) {
    for (int32_t jy = 0; jy < phase.y.taps; ++jy) {
      for (int32_t jx = 0; jx < phase.x.taps; ++jx, to += depth) {
        const int64_t ky = int64_t{phase.y.taps - 1 - jy} * g.stride_h + phase.y.remainder;
        const int64_t kx = int64_t{phase.x.taps - 1 - jx} * g.stride_w + phase.x.remainder;
        if (ky >= g.kernel_h || kx >= g.kernel_w) {
          std::fill_n(to, depth, zero);
          continue;
        }
        const From* from = weights + ((int64_t{n} * g.kernel_h + ky) * g.kernel_w + kx) * depth;
        for (int32_t c = 0; c < depth; ++c) to[c] = convert(from[c], n);
      }
    }
  }
}

size_t TapElements(const Phase& phase) {
  return static_cast<size_t>(phase.shape.taps()) * static_cast<size_t>(phase.shape.in_channels) *
         static_cast<size_t>(phase.shape.out_channels);
}

std::string Key(const Geometry& g, const Phase& phase) {
  const ConvShape& s = phase.shape;
  return Concat("transpose ", g.kernel_h, "x", g.kernel_w, " stride ", g.stride_h, "x", g.stride_w, " taps ", s.kernel_height, "x",
                s.kernel_width, " from ", phase.y.remainder, ",", phase.x.remainder, " ", s.in_channels, " to ", s.out_channels);
}

// Where a phase's pixel stands in the output, in pixels.
int64_t PixelInOutput(const Geometry& g, const Phase& phase, int32_t row) {
  const ConvShape& s = phase.shape;
  const int64_t y = phase.y.first + int64_t{row / s.out_width % s.out_height} * g.stride_h;
  const int64_t x = phase.x.first + int64_t{row % s.out_width} * g.stride_w;
  return (int64_t{row / (s.out_width * s.out_height)} * g.out_height + y) * g.out_width + x;
}

// Computes a phase's rows with conv(output, rows, worker) and deals its pixels of `pixel_bytes` to the output.
template <class Conv>
void EmitPhase(Prepare& p, const Geometry& g, const Phase& phase, size_t pixel_bytes, Conv conv) {
  const ConvShape s = phase.shape;
  const bool dense = g.stride_h == 1 && g.stride_w == 1;
  const Slot scratch = dense ? Slot{} : p.Scratch(static_cast<size_t>(s.rows()) * pixel_bytes);
  const int64_t macs = int64_t{s.taps()} * s.in_channels * s.out_channels;
  Geometry strides = g;
  strides.phases.clear();
  p.Emit([=, g = std::move(strides), conv = std::move(conv), out = p.out(0)](RunContext& run) noexcept {
    std::byte* y = run.get<std::byte>(out);
    std::byte* own = dense ? y : run.get<std::byte>(scratch);
    run.Parallel(
        s.rows(), MacCost(macs),
        [&](Range rows, int worker) {
          conv(run, own, rows, worker);
          if (dense) return;
          for (int32_t row = rows.begin; row < rows.end; ++row) {
            std::memcpy(y + static_cast<size_t>(PixelInOutput(g, phase, row)) * pixel_bytes, own + static_cast<size_t>(row) * pixel_bytes,
                        pixel_bytes);
          }
        },
        kRowGrain);
  });
}

// Weights of a phase through convert(weight, output channel) -> float.
template <class From, class Convert>
Packed PackPhaseF32(Prepare& p, const Geometry& g, const Phase& phase, const std::string& key, Convert convert) {
  const int32_t depth = phase.shape.taps() * phase.shape.in_channels;
  return PackWeights(p, kWeights, kBias, key, p.kernels().pack_f32_bytes(depth, g.out_channels), TapElements(phase) * sizeof(float),
                     [=, pack = p.kernels().pack_f32](const void* weights, const void* bias, std::byte* to, std::byte* scratch) {
                       float* taps = reinterpret_cast<float*>(scratch);
                       GatherTaps(g, phase, static_cast<const From*>(weights), 0.0f, taps, convert);
                       pack(depth, g.out_channels, {taps, depth, 1}, static_cast<const float*>(bias), to);
                     });
}

void EmitPhaseF32(Prepare& p, const Geometry& g, const Phase& phase, Slot input, const Packed& packed) {
  EmitPhase(p, g, phase, static_cast<size_t>(g.out_channels) * sizeof(float),
            [=, s = phase.shape, kernel = p.kernels().conv_f32, clamp = ActivationClamp(p)](const RunContext& run, std::byte* to,
                                                                                            Range rows, int) {
              kernel(s, run.get<float>(input), packed.get(run), reinterpret_cast<float*>(to), clamp, rows);
            });
}

void EmitF32(Prepare& p, const Geometry& g) {
  for (const Phase& phase : g.phases) {
    const Packed packed = PackPhaseF32<float>(p, g, phase, Key(g, phase), [](float w, int32_t) { return w; });
    EmitPhaseF32(p, g, phase, p.in(kInput), packed);
  }
}

void EmitHybrid(Prepare& p, const Geometry& g) {
  const WeightScales scales = ReadSymmetricWeightScales(p, kWeights, 0, g.out_channels);
  if (p.output_elements(0) == 0) return;
  const Slot rounded = EmitRoundedActivations(p, kInput, p.shape(kInput)[0]);
  for (const Phase& phase : g.phases) {
    const Packed packed = PackPhaseF32<int8_t>(p, g, phase, Key(g, phase) + " dequantised", [scales](int8_t w, int32_t n) {
      return static_cast<float>(w - scales.zero_point) * scales.at(static_cast<size_t>(n));
    });
    EmitPhaseF32(p, g, phase, rounded, packed);
  }
}

void EmitPhase8(Prepare& p, const Geometry& g, const Phase& phase, const Requantization& requantize, int32_t zero_point,
                int32_t weight_zero_point) {
  const ConvShape s = phase.shape;
  const auto& k = p.kernels();
  const bool is_unsigned = p.type(kInput) == TensorType::kUInt8;
  const std::string key = Concat(Key(g, phase), " zero points ", zero_point, " ", weight_zero_point, is_unsigned ? " flipped" : "");
  const Packed packed =
      PackWeights(p, kWeights, kBias, key, k.pack_i8_bytes(s.taps(), s.in_channels, s.out_channels), TapElements(phase),
                  [=, pack = k.pack_i8](const void* weights, const void* bias, std::byte* to, std::byte* scratch) {
                    int8_t* taps = reinterpret_cast<int8_t*>(scratch);
                    const int8_t zero = static_cast<int8_t>(is_unsigned ? weight_zero_point + 128 : weight_zero_point);
                    GatherTaps(g, phase, static_cast<const int8_t*>(weights), zero, taps, [](int8_t w, int32_t) { return w; });
                    pack(s.taps(), s.in_channels, s.out_channels, {taps, static_cast<ptrdiff_t>(s.taps()) * s.in_channels, 1}, is_unsigned,
                         static_cast<const int32_t*>(bias), zero_point, weight_zero_point, to);
                  });
  const size_t scratch_bytes = k.conv_i8_scratch_bytes(s);
  EmitPhase(p, g, phase, static_cast<size_t>(g.out_channels),
            [=, kernel = k.conv_i8, scratch = p.Scratch(scratch_bytes * static_cast<size_t>(p.workers())), in = p.in(kInput)](
                const RunContext& run, std::byte* to, Range rows, int worker) {
              const kernels::InputI8 x{run.get<std::byte>(in), zero_point, is_unsigned};
              std::byte* own = run.get<std::byte>(scratch) + static_cast<size_t>(worker) * scratch_bytes;
              kernel(s, x, packed.get(run), to, requantize.params(), own, rows);
            });
}

void Emit8(Prepare& p, const Geometry& g) {
  const TensorType type = p.type(kInput);
  p.CheckType(kWeights, {type});
  const Prepare::Affine input = CheckedAffine(p, kInput);
  const WeightScales scales = ReadSymmetricWeightScales(p, kWeights, 0, g.out_channels);
  const auto product = type == TensorType::kUInt8 ? ScaleProduct::kFloatIfSingle : ScaleProduct::kDouble;
  const Requantization requantize = PrepareRequantization(p, input.scale, scales, g.out_channels, product);
  if (p.output_elements(0) == 0) return;
  for (const Phase& phase : g.phases) {
    EmitPhase8(p, g, phase, requantize, ToInt8Domain(input.zero_point, type), ToInt8Domain(scales.zero_point, type));
  }
}

void PrepareTransposeConv(Prepare& p) {
  p.CheckCounts(3, 4, 1);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
  const TensorType type = p.type(kInput);
  p.CheckOutputType(0, {type});
  const Geometry g = ReadGeometry(p);
  CheckBias(p, kBias, g.out_channels, type == TensorType::kFloat32 ? TensorType::kFloat32 : TensorType::kInt32);
  if (type != TensorType::kFloat32) return Emit8(p, g);
  p.CheckType(kWeights, {TensorType::kFloat32, TensorType::kInt8});
  if (p.type(kWeights) == TensorType::kInt8) return EmitHybrid(p, g);
  if (p.output_elements(0) != 0) EmitF32(p, g);
}

constexpr OpDef kOps[] = {
    {.name = "TRANSPOSE_CONV", .prepare = PrepareTransposeConv, .activation_field = kActivation},
};

}  // namespace

std::span<const OpDef> transpose_conv_ops() { return kOps; }

}  // namespace sigrun::ops
