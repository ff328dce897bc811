#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "ops/op.h"
#include "ops/support/float_product.h"
#include "ops/support/gemm.h"
#include "ops/support/gemm_i16.h"
#include "ops/support/quantization.h"

// DEPTHWISE_CONV_2D with a filter [1, height, width, out]. The depth multiplier follows from the shapes. Over one input channel it is a
// convolution whose filter is transposed.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

enum Field : int { kPadding, kStrideW, kStrideH, kDepthMultiplier, kActivation, kDilationW, kDilationH };

constexpr int kInput = 0, kFilter = 1, kBias = 2;

ConvShape Geometry(const Prepare& p) {
  CheckRank(p, kInput, 4, "input");
  CheckRank(p, kFilter, 4, "filter");
  const Shape &input = p.shape(kInput), &filter = p.shape(kFilter);
  p.Check(filter[0] == 1, "filter ", ToString(filter), " does not begin with 1");
  p.Check(input[3] > 0 && filter[3] % input[3] == 0, "filter has ", filter[3], " channels, which is no multiple of the input's ", input[3]);
  Window window = ReadWindow(p);
  ReadDilations(p, kDilationW, kDilationH, &window);
  window.kernel_h = filter[1];
  window.kernel_w = filter[2];
  ConvShape s = PlaceWindow(p, window, input);
  s.in_channels = input[3];
  s.out_channels = filter[3];
  return s;
}

std::string Key(const ConvShape& s) {
  return Concat("depthwise ", s.kernel_height, "x", s.kernel_width, " ", s.in_channels, " to ", s.out_channels);
}

// f(lines) on ranges of the output's lines.
template <class F>
void ForLines(const RunContext& run, const ConvShape& s, const F& f) {
  // A multiply-add of a depthwise convolution takes four to eight times as long as a matrix product's.
  run.Parallel(s.batch * s.out_height, 4 * MacCost(int64_t{s.taps()} * s.out_width * s.out_channels), [&](Range lines, int) { f(lines); });
}

LineGeometry Lines(const ConvShape& s, size_t element_bytes, size_t weight_bytes) {
  return LinesOf(s, element_bytes, element_bytes, weight_bytes, int64_t{s.taps()} * s.out_channels);
}

template <class F>
struct LinesStep {
  LineGeometry geometry;
  F compute;
};
template <class F>
LinesStep(LineGeometry, F) -> LinesStep<F>;

// The step by itself, or with its neighbours.
template <class F>
void EmitLines(Prepare& p, const ConvShape& s, const LinesStep<F>& step) {
  p.Emit([=, compute = step.compute, in = p.in(kInput), out = p.out(0)](RunContext& run) noexcept {
    ForLines(run, s, [&](Range lines) { compute(run, run.get<std::byte>(in), run.get<std::byte>(out), lines, 0); });
  });
  p.AlsoByLines(kInput, step.geometry, step.compute);
}

// Steps from lines to lines as one: each makes lines as the next wants them, into a buffer that stays in the cache.
template <class... F>
void EmitChain(Prepare& p, const LinesStep<F>&... steps) {
  struct Owned {
    std::tuple<F...> steps;
    LineChain chain;
  };
  const auto owned = std::make_shared<Owned>(Owned{{steps.compute...}, {}});
  std::array chain = std::apply([&](const F&... compute) { return std::array{MakeLineStep(steps.geometry, &compute)...}; }, owned->steps);
  chain.front().input_slot = p.in(kInput);
  chain.back().output_slot = p.out(0);
  for (const LineStep& step : chain) {
    if (!owned->chain.Append(step, LineChain::CacheBytes())) owned->chain.Append(step, SIZE_MAX);
  }
  const Slot buffers = p.Scratch(owned->chain.buffer_bytes() * static_cast<size_t>(p.workers()));
  p.Emit([=, workers = p.workers()](RunContext& run) noexcept { owned->chain.Run(run, buffers, workers); });
}

// A step that takes each line by itself.
LineGeometry SingleLines(const ConvShape& s, size_t in_bytes, size_t out_bytes) {
  LineGeometry g{.images = s.batch, .in_lines = s.in_height, .out_lines = s.in_height, .in_bytes = in_bytes};
  g.out_bytes = out_bytes;
  g.cost = static_cast<int64_t>(out_bytes);
  return g;
}

// Each of n elements `times` times. Eight are written at once, also where they are too many: what follows overwrites them.
template <class T>
void Repeat(const T* x, int64_t n, int32_t times, T* y) {
  constexpr int32_t kAtOnce = 8;
  const int32_t written = (times + kAtOnce - 1) / kAtOnce * kAtOnce;
  const T* const end = y + n * times;
  for (; end - y >= written; ++x, y += times) {
    std::array<T, kAtOnce> group;
    group.fill(*x);
    for (int32_t i = 0; i < times; i += kAtOnce) std::memcpy(y + i, group.data(), sizeof(group));
  }
  for (; y < end; ++x, y += times) std::fill_n(y, times, *x);
}

// The convolution of a multiplier of 1 that has the same output where each channel of its input is repeated: kernels are made for it.
ConvShape Repeated(ConvShape s) {
  s.in_channels = s.out_channels;
  return s;
}
template <class T>
auto RepeatLines(const ConvShape& s) {
  const int64_t line = int64_t{s.in_width} * s.in_channels;
  const int32_t times = s.out_channels / s.in_channels;
  return LinesStep{SingleLines(s, static_cast<size_t>(line) * sizeof(T), static_cast<size_t>(line * times) * sizeof(T)),
                   [=](const RunContext&, const std::byte* from, std::byte* to, Range lines, int) noexcept {
                     Repeat(reinterpret_cast<const T*>(from) + lines.begin * line, (lines.end - lines.begin) * line, times,
                            reinterpret_cast<T*>(to) + lines.begin * line * times);
                   }};
}
// float32 kernels take an input channel's outputs as a vector, which more of them fill.
bool RepeatsF32(const ConvShape& s) { return s.out_channels > s.in_channels && s.out_channels <= 8 * s.in_channels; }

// From bfloat16 to bfloat16.
void EmitBf16(Prepare& p, const ConvShape& s) {
  const auto& k = p.kernels();
  p.Check(p.ReadersTakeBf16(0), "its input is bfloat16, which its output cannot be");
  p.StoreAsBf16(0);
  p.Explain(Concat("lines of ", s.kernel_height, " x ", s.kernel_width, " windows, bfloat16, ", k.tier));
  const Packed packed = PackWeights(p, kFilter, kBias, Key(s) + " bfloat16", k.pack_depthwise_bf16_bytes(s), 0,
                                    [s, pack = k.pack_depthwise_bf16](const void* filter, const void* bias, std::byte* to, std::byte*) {
                                      pack(s, static_cast<const float*>(filter), static_cast<const float*>(bias), to);
                                    });
  const Epilogue epilogue = PrepareEpilogue(p);
  const auto compute = [=, kernel = k.depthwise_bf16](const RunContext& run, const std::byte* from, std::byte* to, Range lines,
                                                      int) noexcept {
    kernel(s, reinterpret_cast<const uint16_t*>(from), packed.get(run), reinterpret_cast<uint16_t*>(to), epilogue.at(run), lines);
  };
  EmitLines(p, s, LinesStep{Lines(s, sizeof(uint16_t), k.pack_depthwise_bf16_bytes(s)), compute});
}

Packed PackF32(Prepare& p, const ConvShape& s) {
  const auto& k = p.kernels();
  return PackWeights(p, kFilter, kBias, Key(s), k.pack_depthwise_f32_bytes(s), 0,
                     [s, pack = k.pack_depthwise_f32](const void* filter, const void* bias, std::byte* to, std::byte*) {
                       pack(s, static_cast<const float*>(filter), static_cast<const float*>(bias), to);
                     });
}

// What computes lines of the output.
auto ComputeF32(Prepare& p, const ConvShape& s, const Packed& packed, Epilogue end) {
  constexpr int32_t kLines = 4;  // what a kernel may compute side by side
  const FunctionApart apart(p, s.out_channels, int64_t{s.out_width} * s.out_channels, kLines, &end);
  return LinesStep{
      Lines(s, sizeof(float), p.kernels().pack_depthwise_f32_bytes(s)),
      [=, kernel = p.kernels().depthwise_f32](const RunContext& run, const std::byte* in, std::byte* to, Range lines, int) noexcept {
        float* output = reinterpret_cast<float*>(to);
        apart.Run(output, lines,
                  [&](Range part) { kernel(s, reinterpret_cast<const float*>(in), packed.get(run), output, end.at(run), part); });
      }};
}

void EmitF32(Prepare& p, const ConvShape& s) {
  p.Explain(Concat("lines of ", s.kernel_height, " x ", s.kernel_width, " windows, float32, ", p.kernels().tier));
  const ConvShape computed = RepeatsF32(s) ? Repeated(s) : s;
  const Packed packed = PackF32(p, computed);
  const Epilogue epilogue = PrepareEpilogue(p);
  const auto by_lines = ComputeF32(p, computed, packed, epilogue);
  if (RepeatsF32(s)) return EmitChain(p, RepeatLines<float>(s), by_lines);
  EmitLines(p, s, by_lines);
  const int32_t grain = p.kernels().f32_block_channels;
  if (grain == 0 || s.in_channels != s.out_channels) return;
  p.AlsoByChannels({s.out_channels, grain, sizeof(float), true},
                   [=, kernel = p.kernels().depthwise_f32, bytes = p.kernels().pack_depthwise_f32_bytes](
                       const RunContext& run, const std::byte* in, std::byte* to, Range lines, ChannelBlock block, int) noexcept {
                     ConvShape part = s;
                     part.out_channels = block.channels.begin;
                     const std::byte* w = packed.get(run) + bytes(part);
                     part.in_channels = part.out_channels = block.channels.end - block.channels.begin;
                     part.pixel_channels = block.pixel;
                     kernel(part, reinterpret_cast<const float*>(in), w, reinterpret_cast<float*>(to),
                            epilogue.at(run, block.channels.begin), lines);
                   });
}

// The int8 filter as floats: sums of rounded activations times these differ from LiteRT's integer sums only in the last bits.
Packed PackDequantized(Prepare& p, const ConvShape& s, const WeightScales& scales) {
  const auto& k = p.kernels();
  const size_t elements = static_cast<size_t>(p.elements(kFilter));
  return PackWeights(
      p, kFilter, kBias, Key(s) + " dequantised", k.pack_depthwise_f32_bytes(s), elements * sizeof(float),
      [s, scales, elements, pack = k.pack_depthwise_f32](const void* filter, const void* bias, std::byte* to, std::byte* scratch) {
        float* floats = reinterpret_cast<float*>(scratch);
        for (size_t i = 0; i < elements; ++i) {
          const size_t channel = i % static_cast<size_t>(s.out_channels);
          floats[i] = static_cast<float>(static_cast<const int8_t*>(filter)[i] - scales.zero_point) * scales.at(channel);
        }
        pack(s, floats, static_cast<const float*>(bias), to);
      });
}

void EmitHybrid(Prepare& p, const ConvShape& s, const WeightScales& scales) {
  if (p.output_elements(0) == 0) return;
  const auto& k = p.kernels();
  p.Explain(Concat("activations rounded, lines of ", s.kernel_height, " x ", s.kernel_width, " windows, float32, ", k.tier));
  const size_t line = static_cast<size_t>(s.in_width) * static_cast<size_t>(s.in_channels);
  const LinesStep round{SingleLines(s, line * sizeof(float), line * sizeof(float)),
                        [=, kernel = k.round_asymmetric, extremes = EmitExtremes(p, kInput, s.batch)](
                            const RunContext& run, const std::byte* from, std::byte* to, Range lines, int) noexcept {
                          const size_t first = static_cast<size_t>(lines.begin) * line;
                          kernel(reinterpret_cast<const float*>(from) + first, reinterpret_cast<float*>(to) + first,
                                 static_cast<size_t>(lines.end - lines.begin) * line,
                                 run.get<kernels::ExtremesF32>(extremes)[lines.begin / s.in_height]);
                        }};
  const ConvShape computed = RepeatsF32(s) ? Repeated(s) : s;
  const Packed packed = PackDequantized(p, computed, scales);
  const auto multiply = ComputeF32(p, computed, packed, PrepareEpilogue(p));
  return RepeatsF32(s) ? EmitChain(p, round, RepeatLines<float>(s), multiply) : EmitChain(p, round, multiply);
}

void Emit8(Prepare& p, const ConvShape& of_input, const WeightScales& scales, ScaleProduct product) {
  const auto& k = p.kernels();
  const bool repeats = of_input.out_channels > of_input.in_channels;
  const ConvShape s = repeats ? Repeated(of_input) : of_input;
  const bool is_unsigned = p.type(kInput) == TensorType::kUInt8;
  const Prepare::Affine input = CheckedAffine(p, kInput);
  Requantization requantize = PrepareRequantization(p, input.scale, scales, s.out_channels, product);
  if (p.output_elements(0) == 0) return;
  const std::vector<int32_t> biases = ShortenShifts(p, kFilter, kBias, 1, s.out_channels, s.taps(), scales.zero_point, &requantize);
  const int32_t zero_point = ToInt8Domain(input.zero_point, p.type(kInput)),
                weight_zero_point = ToInt8Domain(scales.zero_point, p.type(kFilter));
  p.Explain(Concat("lines of ", s.kernel_height, " x ", s.kernel_width, " windows, 8-bit, ", k.tier));
  const std::string key = Concat(Key(s), " stride ", s.stride_w, " dilation ", s.dilation_w, " zero points ", zero_point, " ",
                                 weight_zero_point, is_unsigned ? " flipped" : "", KeyOfBiases(biases));
  const Packed packed = PackWeights(p, kFilter, kBias, key, k.pack_depthwise_i8_bytes(s), 0,
                                    [=, pack = k.pack_depthwise_i8](const void* filter, const void* bias, std::byte* to, std::byte*) {
                                      const int32_t* all = biases.empty() ? static_cast<const int32_t*>(bias) : biases.data();
                                      pack(s, static_cast<const int8_t*>(filter), is_unsigned, all, zero_point, weight_zero_point, to);
                                    });
  const LinesStep by_lines{
      Lines(s, 1, k.pack_depthwise_i8_bytes(s)),
      [=, kernel = k.depthwise_i8](const RunContext& run, const std::byte* from, std::byte* to, Range lines, int) noexcept {
        kernel(s, {from, zero_point, is_unsigned}, packed.get(run), to, requantize.params(), lines);
      }};
  if (repeats) return EmitChain(p, RepeatLines<uint8_t>(of_input), by_lines);
  EmitLines(p, s, by_lines);
}

// f(tap, pixel of the input) for the taps of an output pixel that lie in the image.
template <class F>
void ForTaps(const ConvShape& s, int32_t row, const F& f) {
  const int32_t x = row % s.out_width, y = row / s.out_width % s.out_height, image = row / (s.out_width * s.out_height);
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    const int32_t in_y = y * s.stride_h - s.pad_top + ky * s.dilation_h;
    for (int32_t kx = 0; kx < s.kernel_width; ++kx) {
      const int32_t in_x = x * s.stride_w - s.pad_left + kx * s.dilation_w;
      if (in_y < 0 || in_y >= s.in_height || in_x < 0 || in_x >= s.in_width) continue;
      f(ky * s.kernel_width + kx, (static_cast<ptrdiff_t>(image) * s.in_height + in_y) * s.in_width + in_x);
    }
  }
}

// INT16, exactly as LiteRT's reference: 64-bit sums.
void Emit16(Prepare& p, const ConvShape& s) {
  p.CheckType(kFilter, {TensorType::kInt8, TensorType::kInt4, TensorType::kInt2, TensorType::kInt16});
  const RequantizationI16 requantize = PrepareRequantizationI16(
      p, kInput, kFilter, kBias, -1, ReadWeightScales(p, kFilter, 3, s.out_channels), s.out_channels, ScaleProduct::kDouble);
  if (p.output_elements(0) == 0) return;
  const bool wide_bias = p.has_input(kBias) && p.type(kBias) == TensorType::kInt64;
  const Packed packed = PackWeights(p, kFilter, -1, Key(s) + " int16", static_cast<size_t>(p.elements(kFilter)) * sizeof(int16_t), 0,
                                    [=, n = p.elements(kFilter)](const void* filter, const void*, std::byte* to, std::byte*) {
                                      int16_t* words = reinterpret_cast<int16_t*>(to);
                                      std::copy_n(static_cast<const int8_t*>(filter), n, words);  // also of an INT16 filter, as LiteRT does
                                    });
  const Slot sums = p.Scratch(static_cast<size_t>(p.workers()) * static_cast<size_t>(s.out_channels) * sizeof(int64_t));
  p.Emit([=, in = p.in(kInput), bias = p.in(kBias), out = p.out(0)](RunContext& run) noexcept {
    const int32_t multiplier = s.out_channels / s.in_channels;
    run.Parallel(s.rows(), 4 * MacCost(int64_t{s.taps()} * s.out_channels), [&](Range rows, int worker) {
      int64_t* sum = run.get<int64_t>(sums) + static_cast<ptrdiff_t>(worker) * s.out_channels;
      for (int32_t row = rows.begin; row < rows.end; ++row) {
        for (int32_t c = 0; c < s.out_channels; ++c) {
          sum[c] = bias.index < 0 ? 0 : wide_bias ? BiasI16(run.get<int64_t>(bias)[c]) : run.get<int32_t>(bias)[c];
        }
        ForTaps(s, row, [&](int32_t tap, ptrdiff_t pixel) {
          const int16_t *x = run.get<int16_t>(in) + pixel * s.in_channels,
                        *w = reinterpret_cast<const int16_t*>(packed.get(run)) + static_cast<ptrdiff_t>(tap) * s.out_channels;
          if (multiplier == 1) {
            for (int32_t c = 0; c < s.out_channels; ++c) sum[c] += int32_t{x[c]} * w[c];
          } else {
            for (int32_t c = 0; c < s.out_channels; ++c) sum[c] += int32_t{x[c / multiplier]} * w[c];
          }
        });
        int16_t* y = run.get<int16_t>(out) + static_cast<ptrdiff_t>(row) * s.out_channels;
        for (int32_t c = 0; c < s.out_channels; ++c) y[c] = requantize.Scale(sum[c], c);
      }
    });
  });
}

void PrepareDepthwiseConv2D(Prepare& p) {
  p.CheckCounts(2, 3, 1);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const TensorType type = p.type(kInput);
  p.CheckOutputType(0, {type});
  const ConvShape shape = Geometry(p);
  if (type == TensorType::kInt16) {
    CheckBiasI16(p, kBias, shape.out_channels);
  } else {
    CheckBias(p, kBias, shape.out_channels, type == TensorType::kFloat32 ? TensorType::kFloat32 : TensorType::kInt32);
  }
  p.SetShape(0, OutputShape(shape));
  const Gemm gemm{.shape = shape, .input = kInput, .weights = kFilter, .bias = kBias, .stride_n = 1, .stride_k = shape.out_channels};
  const bool is_gemm = shape.in_channels == 1;
  if (type == TensorType::kFloat32) {
    if (p.type(kFilter) != TensorType::kFloat32) {
      CheckIntWeights(p, kFilter);
      const WeightScales scales = ReadSymmetricWeightScales(p, kFilter, 3, shape.out_channels);
      return is_gemm ? EmitGemmHybrid(p, gemm, scales, {.asymmetric = true, .per_image = true}) : EmitHybrid(p, shape, scales);
    }
    if (is_gemm) return EmitGemmF32(p, gemm);
    if (p.output_elements(0) == 0) return;
    return p.is_bf16(kInput) ? EmitBf16(p, shape) : EmitF32(p, shape);
  }
  if (type == TensorType::kInt16)
    return is_gemm ? EmitGemm16(p, gemm, ReadWeightScales(p, kFilter, 3, shape.out_channels), ScaleProduct::kDouble, -1, true)
                   : Emit16(p, shape);
  type == TensorType::kUInt8 ? p.CheckType(kFilter, {type}) : CheckIntWeights(p, kFilter);
  const WeightScales scales = ReadSymmetricWeightScales(p, kFilter, 3, shape.out_channels);
  const auto product = type == TensorType::kUInt8 ? ScaleProduct::kFloatIfSingle : ScaleProduct::kDouble;
  return is_gemm ? EmitGemm8(p, gemm, scales, product) : Emit8(p, shape, scales, product);
}

// Its kernels have no input of bfloat16 with an output of float32.
bool TakesBf16(const Prepare& p, int i) {
  const Node& node = p.node();
  return i == kInput && AllowsBf16(p) && p.type(kFilter) == TensorType::kFloat32 && node.function == kernels::ActivationF32::kNone &&
         node.residual < 0 && p.ReadersTakeBf16(0);
}

constexpr OpDef kOps[] = {
    {.name = "DEPTHWISE_CONV_2D",
     .prepare = PrepareDepthwiseConv2D,
     .activation_field = kActivation,
     .traits = kFusesPadding | kFusesDilation | kFusesEpilogue | kFlushesDenormals,
     .takes_bf16 = TakesBf16},
};

}  // namespace

std::span<const OpDef> depthwise_conv_2d_ops() { return kOps; }

}  // namespace sigrun::ops
