#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "ops/op.h"
#include "ops/support/gemm.h"
#include "ops/support/gemm_i16.h"
#include "ops/support/quantization.h"
#include "ops/support/worker_scratch.h"

// TRANSPOSE_CONV with weights [out, height, width, in]. Output pixels whose positions are equal modulo the strides (a phase) are a plain
// convolution with stride 1 by every stride-th tap, mirrored. Phases are computed densely, and their pixels then dealt out: one convolution
// a phase, or all phases side by side as the channels of one, whichever takes fewer vector steps. The latter reads the input once and deals
// whole runs of pixels; it wins where windows do not overlap or channels are few, and pays with zeros where the phases' windows differ.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

enum Field : int { kPadding, kStrideW, kStrideH, kActivation, kBiasType };

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

// Neighbouring phases of one dimension under a window that holds all of theirs.
struct PhasesAlong {
  std::vector<PhaseAlong> phases;
  int32_t outputs = 0, taps = 0, pad = 0;
  explicit PhasesAlong(std::vector<PhaseAlong> all) : phases(std::move(all)) {
    int32_t behind = 0;
    for (const PhaseAlong& phase : phases) {
      outputs = std::max(outputs, phase.outputs);
      pad = std::max(pad, phase.pad);
      behind = std::max(behind, phase.taps - phase.pad);
    }
    taps = pad + behind;
  }
  int32_t size() const { return static_cast<int32_t>(phases.size()); }
};

// Phases that one convolution computes; a pixel of it is [phase y, phase x, channel].
struct Group {
  PhasesAlong y, x;
  ConvShape shape;
};

struct Geometry {
  int32_t kernel_h, kernel_w, stride_h, stride_w, out_height, out_width, out_channels;
  std::vector<Group> groups;
};

Group MakeGroup(const Shape& input, int32_t out_channels, PhasesAlong y, PhasesAlong x) {
  Group group{std::move(y), std::move(x), {}};
  ConvShape& s = group.shape;
  s.batch = input[0];
  s.in_height = input[1];
  s.in_width = input[2];
  s.in_channels = input[3];
  s.out_height = group.y.outputs;
  s.out_width = group.x.outputs;
  s.out_channels = group.y.size() * group.x.size() * out_channels;
  s.kernel_height = group.y.taps;
  s.kernel_width = group.x.taps;
  s.pad_top = group.y.pad;
  s.pad_left = group.x.pad;
  return group;
}

// Rough cost of a convolution: channels fill vectors of 16, and every pixel is written.
double Cost(const ConvShape& s) {
  constexpr int32_t kLanes = 16;
  return static_cast<double>(s.rows()) * ((s.out_channels + kLanes - 1) / kLanes) *
         (static_cast<double>(s.taps()) * s.in_channels + kLanes);
}

std::vector<Group> MakeGroups(const Shape& input, int32_t out_channels, const std::vector<PhaseAlong>& y,
                              const std::vector<PhaseAlong>& x) {
  std::vector<Group> groups, together;
  if (y.empty() || x.empty()) return groups;
  double cost = 0;
  for (const PhaseAlong& py : y) {
    for (const PhaseAlong& px : x) {
      groups.push_back(MakeGroup(input, out_channels, PhasesAlong({py}), PhasesAlong({px})));
      cost += Cost(groups.back().shape);
    }
  }
  constexpr int64_t kMostChannels = 1 << 14;
  if (static_cast<int64_t>(groups.size()) * out_channels > kMostChannels) return groups;
  together.push_back(MakeGroup(input, out_channels, PhasesAlong(y), PhasesAlong(x)));
  return Cost(together[0].shape) <= cost ? together : groups;
}

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
  std::vector<PhaseAlong> y, x;
  for (int32_t i = 0; i < std::min(window.stride_h, output[1]); ++i)
    y.emplace_back(i, output[1], weights[1], window.stride_h, forward.pad_top);
  for (int32_t i = 0; i < std::min(window.stride_w, output[2]); ++i)
    x.emplace_back(i, output[2], weights[2], window.stride_w, forward.pad_left);
  p.SetShape(0, output);
  return {weights[1], weights[2], window.stride_h, window.stride_w, output[1], output[2], output[3], MakeGroups(input, output[3], y, x)};
}

// The weight that tap `j` of a group's window takes in `phase`, or -1 beyond the kernel.
int64_t KernelTap(const PhasesAlong& phases, const PhaseAlong& phase, int32_t j, int32_t stride, int32_t kernel) {
  const int32_t own = j - (phases.pad - phase.pad);
  if (own < 0 || own >= phase.taps) return -1;
  const int64_t tap = int64_t{phase.taps - 1 - own} * stride + phase.remainder;
  return tap < kernel ? tap : -1;
}

// The taps of a group as dense weights [phase y, phase x, out, y, x, in]; `zero` stands for those beyond the kernel.
template <class T>
void GatherTaps(const Geometry& g, const Group& group, const T* weights, T zero, T* to) {
  const int32_t depth = group.shape.in_channels;
  const auto gather = [&](const PhaseAlong& y, const PhaseAlong& x, int32_t n, int32_t jy, int32_t jx) {
    const int64_t ky = KernelTap(group.y, y, jy, g.stride_h, g.kernel_h), kx = KernelTap(group.x, x, jx, g.stride_w, g.kernel_w);
    if (ky < 0 || kx < 0) {
      std::fill_n(to, depth, zero);
    } else {
      std::copy_n(weights + ((int64_t{n} * g.kernel_h + ky) * g.kernel_w + kx) * depth, depth, to);
    }
    to += depth;
  };
  for (const PhaseAlong& y : group.y.phases) {
    for (const PhaseAlong& x : group.x.phases) {
      for (int32_t n = 0; n < g.out_channels; ++n) {
        for (int32_t jy = 0; jy < group.y.taps; ++jy) {
          for (int32_t jx = 0; jx < group.x.taps; ++jx) gather(y, x, n, jy, jx);
        }
      }
    }
  }
}

size_t TapElements(const Group& group) {
  return static_cast<size_t>(group.shape.taps()) * static_cast<size_t>(group.shape.in_channels) *
         static_cast<size_t>(group.shape.out_channels);
}

// One bias a channel of the group, in memory behind the gathered taps; null if there is none.
template <class T>
const T* RepeatBias(const Geometry& g, const Group& group, const void* bias, std::byte* to) {
  if (bias == nullptr) return nullptr;
  T* repeated = reinterpret_cast<T*>(to);
  for (int32_t i = 0; i < group.shape.out_channels; ++i) repeated[i] = static_cast<const T*>(bias)[i % g.out_channels];
  return repeated;
}

constexpr size_t kAlignment = 64;
size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
size_t BiasBytes(const Group& group) { return static_cast<size_t>(group.shape.out_channels) * sizeof(float); }

std::string Key(const Geometry& g, const Group& group) {
  const ConvShape& s = group.shape;
  return Concat("transpose ", g.kernel_h, "x", g.kernel_w, " stride ", g.stride_h, "x", g.stride_w, " phases ", group.y.size(), "x",
                group.x.size(), " from ", group.y.phases[0].remainder, ",", group.x.phases[0].remainder, " pads ", s.pad_top, ",",
                s.pad_left, " taps ", s.kernel_height, "x", s.kernel_width, " ", s.in_channels, " to ", s.out_channels);
}

// Where the pixels of a group go. Bytes, so that it serves all types.
class Dealer {
 public:
  Dealer(const Geometry& g, const Group& group, size_t pixel_bytes)
      : shape_(group.shape),
        first_y_(group.y.phases[0].first),
        first_x_(group.x.phases[0].first),
        phases_y_(group.y.size()),
        phases_x_(group.x.size()),
        stride_h_(g.stride_h),
        stride_w_(g.stride_w),
        out_height_(g.out_height),
        out_width_(g.out_width),
        pixel_bytes_(pixel_bytes) {}

  size_t row_bytes() const { return static_cast<size_t>(phases_y_ * phases_x_) * pixel_bytes_; }

  /// `from` is the first of `rows`.
  void Deal(const std::byte* from, std::byte* output, Range rows) const {
    switch (static_cast<size_t>(phases_x_) * pixel_bytes_) {  // a run of known length is a few moves
      case 4: return DealRuns<4>(from, output, rows);
      case 8: return DealRuns<8>(from, output, rows);
      case 16: return DealRuns<16>(from, output, rows);
      case 32: return DealRuns<32>(from, output, rows);
      case 64: return DealRuns<64>(from, output, rows);
      default: return DealRuns<0>(from, output, rows);
    }
  }

 private:
  // kRun: bytes of all phases along x, or 0 for any number.
  template <size_t kRun>
  void DealRuns(const std::byte* from, std::byte* output, Range rows) const {
    const size_t run = kRun != 0 ? kRun : static_cast<size_t>(phases_x_) * pixel_bytes_;
    const size_t step = static_cast<size_t>(stride_w_) * pixel_bytes_, line = static_cast<size_t>(out_width_) * pixel_bytes_;
    for (int32_t row = rows.begin; row < rows.end;) {
      const int32_t x = row % shape_.out_width, count = std::min(shape_.out_width - x, rows.end - row);
      const int32_t y = first_y_ + row / shape_.out_width % shape_.out_height * stride_h_;
      const int64_t image = row / (shape_.out_width * shape_.out_height);
      const int32_t left = first_x_ + x * stride_w_;
      // The last pixels of a line may have no room for all phases, of which there are no more than a stride.
      const int32_t whole = std::min((out_width_ - left - phases_x_ + stride_w_) / stride_w_, count);
      for (int32_t py = 0; py < phases_y_ && y + py < out_height_; ++py) {
        const std::byte* source = from + static_cast<size_t>(py) * run;
        std::byte* to = output + static_cast<size_t>(image * out_height_ + y + py) * line + static_cast<size_t>(left) * pixel_bytes_;
        for (int32_t i = 0; i < whole; ++i)
          std::memcpy(to + static_cast<size_t>(i) * step, source + static_cast<size_t>(i) * row_bytes(), run);
        for (int32_t i = whole; i < count; ++i) {
          const size_t rest = static_cast<size_t>(out_width_ - left - i * stride_w_) * pixel_bytes_;
          std::memcpy(to + static_cast<size_t>(i) * step, source + static_cast<size_t>(i) * row_bytes(), rest);
        }
      }
      from += static_cast<size_t>(count) * row_bytes();
      row += count;
    }
  }

  ConvShape shape_;
  int32_t first_y_, first_x_, phases_y_, phases_x_, stride_h_, stride_w_, out_height_, out_width_;
  size_t pixel_bytes_;
};

// Computes a group's rows with conv(output, rows, worker) and deals its pixels of `pixel_bytes` to the output, while they are in the cache.
template <class Conv>
void EmitGroup(Prepare& p, const Geometry& g, const Group& group, size_t pixel_bytes, Conv conv) {
  const ConvShape s = group.shape;
  const bool dense = g.stride_h == 1 && g.stride_w == 1;
  const Dealer dealer(g, group, pixel_bytes);
  const Slot scratch = dense ? Slot{} : p.Scratch(static_cast<size_t>(s.rows()) * dealer.row_bytes());
  const int64_t macs = int64_t{s.taps()} * s.in_channels * s.out_channels;
  constexpr size_t kBlockBytes = 16 << 10;
  const int32_t block = static_cast<int32_t>(std::max<size_t>(kBlockBytes / dealer.row_bytes() / kRowGrain, 1)) * kRowGrain;
  p.Emit([=, conv = std::move(conv), out = p.out(0)](RunContext& run) noexcept {
    std::byte* y = run.get<std::byte>(out);
    if (dense)
      return run.Parallel(
          s.rows(), MacCost(macs), [&](Range rows, int worker) { conv(run, y, rows, worker); }, kRowGrain);
    std::byte* own = run.get<std::byte>(scratch);
    run.Parallel(
        s.rows(), MacCost(macs),
        [&](Range rows, int worker) {
          for (int32_t row = rows.begin; row < rows.end; row += block) {
            const Range some{row, std::min(row + block, rows.end)};
            conv(run, own, some, worker);
            dealer.Deal(own + static_cast<size_t>(row) * dealer.row_bytes(), y, some);
          }
        },
        kRowGrain);
  });
}

Packed PackGroupF32(Prepare& p, const Geometry& g, const Group& group) {
  const int32_t depth = group.shape.taps() * group.shape.in_channels, channels = group.shape.out_channels;
  const size_t tap_bytes = Aligned(TapElements(group) * sizeof(float));
  return PackWeights(p, kWeights, kBias, Key(g, group), p.kernels().pack_f32_bytes(depth, channels), tap_bytes + BiasBytes(group),
                     [=, pack = p.kernels().pack_f32](const void* weights, const void* bias, std::byte* to, std::byte* scratch) {
                       float* taps = reinterpret_cast<float*>(scratch);
                       GatherTaps(g, group, static_cast<const float*>(weights), 0.0f, taps);
                       pack(depth, channels, {taps, depth, 1}, RepeatBias<float>(g, group, bias, scratch + tap_bytes), to);
                     });
}

void EmitF32(Prepare& p, const Geometry& g) {
  for (const Group& group : g.groups) {
    EmitGroup(p, g, group, static_cast<size_t>(g.out_channels) * sizeof(float),
              [=, s = group.shape, packed = PackGroupF32(p, g, group), input = p.in(kInput), kernel = p.kernels().conv_f32,
               clamp = ActivationClamp(p)](const RunContext& run, std::byte* to, Range rows, int) {
                kernel(s, run.get<float>(input), packed.get(run), reinterpret_cast<float*>(to), {clamp}, rows);
              });
  }
}

// The scales of a group's channels.
WeightScales RepeatScales(const WeightScales& scales, const Group& group) {
  WeightScales repeated = scales;
  if (scales.per_channel()) repeated.scale.resize(static_cast<size_t>(group.shape.out_channels));
  for (size_t i = 0; i < repeated.scale.size(); ++i) repeated.scale[i] = scales.scale[i % scales.scale.size()];
  return repeated;
}

// Biases as they may come with every call, one a channel of the group.
Slot EmitRepeatedBias(Prepare& p, const Geometry& g, const Group& group) {
  if (!p.has_input(kBias)) return {};
  const Slot repeated = p.Scratch(BiasBytes(group));
  p.Emit([=, n = group.shape.out_channels, own = g.out_channels, bias = p.in(kBias)](RunContext& run) noexcept {
    for (int32_t i = 0; i < n; ++i) run.get<float>(repeated)[i] = run.get<float>(bias)[i % own];
  });
  return repeated;
}

void EmitGroupHybrid(Prepare& p, const Geometry& g, const Group& group, const WeightScales& scales, const RoundedRuns& rounded) {
  const ConvShape s = group.shape;
  const auto& k = p.kernels();
  const Packed packed =
      PackWeights(p, kWeights, -1, Concat(Key(g, group), " hybrid ", scales.zero_point), k.pack_i8_bytes(s), TapElements(group),
                  [=, pack = k.pack_i8, zero = scales.zero_point](const void* weights, const void*, std::byte* to, std::byte* scratch) {
                    int8_t* taps = reinterpret_cast<int8_t*>(scratch);
                    GatherTaps(g, group, static_cast<const int8_t*>(weights), static_cast<int8_t>(zero), taps);
                    pack(s, {taps, static_cast<ptrdiff_t>(s.taps()) * s.in_channels, 1}, false, nullptr, 0, zero, to);
                  });
  const Slot bias = EmitRepeatedBias(p, g, group);
  EmitGroup(p, g, group, static_cast<size_t>(g.out_channels) * sizeof(float),
            [=, conv = k.conv_i8_f32, clamp = ActivationClamp(p), channel_scale = RepeatScales(scales, group).Each(s.out_channels),
             scratch = WorkerScratch(p, k.conv_i8_scratch_bytes(s))](const RunContext& run, std::byte* to, Range rows, int worker) {
              conv(s, rounded.input(run), packed.get(run), reinterpret_cast<float*>(to), rounded.scale(run), rounded.zero_point(run), true,
                   channel_scale.data(), run.get<float>(bias), nullptr, clamp, scratch.of(run, worker), rows);
            });
}

// float32 with INT8 weights: images are rounded to 8 bits, each with a scale of its own.
void EmitHybrid(Prepare& p, const Geometry& g) {
  const WeightScales scales = ReadSymmetricWeightScales(p, kWeights, 0, g.out_channels);
  if (p.output_elements(0) == 0) return;
  const RoundedRuns rounded(p, kInput, p.shape(kInput)[0], true, p.kernels().i8_takes_unsigned);
  if (rounded.fresh()) p.Emit([rounded](RunContext& run) noexcept { rounded.Fill(run); });
  for (const Group& group : g.groups) EmitGroupHybrid(p, g, group, scales, rounded);
}

void EmitGroup8(Prepare& p, const Geometry& g, const Group& group, const Requantization& requantize, int32_t zero_point,
                int32_t weight_zero_point) {
  const ConvShape s = group.shape;
  const auto& k = p.kernels();
  const bool is_unsigned = p.type(kInput) == TensorType::kUInt8;
  const std::string key = Concat(Key(g, group), " zero points ", zero_point, " ", weight_zero_point, is_unsigned ? " flipped" : "");
  const size_t tap_bytes = Aligned(TapElements(group));
  const Packed packed = PackWeights(p, kWeights, kBias, key, k.pack_i8_bytes(s), tap_bytes + BiasBytes(group),
                                    [=, pack = k.pack_i8](const void* weights, const void* bias, std::byte* to, std::byte* scratch) {
                                      int8_t* taps = reinterpret_cast<int8_t*>(scratch);
                                      const int8_t zero = static_cast<int8_t>(is_unsigned ? weight_zero_point + 128 : weight_zero_point);
                                      GatherTaps(g, group, static_cast<const int8_t*>(weights), zero, taps);
                                      pack(s, {taps, static_cast<ptrdiff_t>(s.taps()) * s.in_channels, 1}, is_unsigned,
                                           RepeatBias<int32_t>(g, group, bias, scratch + tap_bytes), zero_point, weight_zero_point, to);
                                    });
  EmitGroup(p, g, group, static_cast<size_t>(g.out_channels),
            [=, kernel = k.conv_i8, scratch = WorkerScratch(p, k.conv_i8_scratch_bytes(s)), in = p.in(kInput)](
                const RunContext& run, std::byte* to, Range rows, int worker) {
              const kernels::InputI8 x{run.get<std::byte>(in), zero_point, is_unsigned};
              kernel(s, x, packed.get(run), to, requantize.params(), scratch.of(run, worker), rows);
            });
}

void Emit8(Prepare& p, const Geometry& g) {
  const TensorType type = p.type(kInput);
  type == TensorType::kUInt8 ? p.CheckType(kWeights, {type}) : CheckIntWeights(p, kWeights);
  const Prepare::Affine input = CheckedAffine(p, kInput);
  const WeightScales scales = ReadSymmetricWeightScales(p, kWeights, 0, g.out_channels);
  const auto product = type == TensorType::kUInt8 ? ScaleProduct::kFloatIfSingle : ScaleProduct::kDouble;
  if (p.output_elements(0) == 0) return;
  for (const Group& group : g.groups) {
    const Requantization requantize = PrepareRequantization(p, input.scale, RepeatScales(scales, group), group.shape.out_channels, product);
    EmitGroup8(p, g, group, requantize, ToInt8Domain(input.zero_point, type), ToInt8Domain(scales.zero_point, type));
  }
}

// INT16, exactly as LiteRT's reference: sums are 64 bits wide, or 32 where biases are INT32.
void Emit16(Prepare& p, const Geometry& g) {
  p.CheckType(kWeights, {TensorType::kInt8, TensorType::kInt4, TensorType::kInt2});
  CheckBiasI16(p, kBias, g.out_channels);
  const WeightScales scales = ReadSymmetricWeightScales(p, kWeights, 0, g.out_channels);
  if (p.output_elements(0) == 0) return;
  const TensorType bias_type = p.has_input(kBias) ? p.type(kBias) : TensorType::kInt64;
  for (const Group& group : g.groups) {
    const ConvShape s = group.shape;
    const RequantizationI16 requantize =
        PrepareRequantizationI16(p, kInput, kWeights, kBias, kBiasType, RepeatScales(scales, group), s.out_channels, ScaleProduct::kDouble);
    const WeightsI16 weights{s.out_channels, s.taps() * s.in_channels, false};
    const size_t tap_bytes = Aligned(TapElements(group));
    const Packed packed = PackWeights(p, kWeights, kBias, Key(g, group) + " int16", weights.bytes(), tap_bytes + 2 * BiasBytes(group),
                                      [=](const void* w, const void* bias, std::byte* to, std::byte* scratch) {
                                        int8_t* taps = reinterpret_cast<int8_t*>(scratch);
                                        GatherTaps(g, group, static_cast<const int8_t*>(w), int8_t{0}, taps);
                                        const void* sums =
                                            bias_type == TensorType::kInt64
                                                ? static_cast<const void*>(RepeatBias<int64_t>(g, group, bias, scratch + tap_bytes))
                                                : RepeatBias<int32_t>(g, group, bias, scratch + tap_bytes);
                                        weights.Pack(taps, weights.k, 1, sums, bias_type, to);
                                      });
    EmitGroup(p, g, group, static_cast<size_t>(g.out_channels) * sizeof(int16_t),
              [=, patches = PatchScratch(p, s), in = p.in(kInput)](const RunContext& run, std::byte* to, Range rows, int worker) {
                ConvI16(s, run.get<int16_t>(in), weights, packed.get(run), requantize, reinterpret_cast<int16_t*>(to),
                        PatchOf(run, patches, s, worker), rows);
              });
  }
}

void PrepareTransposeConv(Prepare& p) {
  p.CheckCounts(3, 4, 1);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const TensorType type = p.type(kInput);
  p.CheckOutputType(0, {type});
  const Geometry g = ReadGeometry(p);
  if (type == TensorType::kInt16) return Emit16(p, g);
  CheckBias(p, kBias, g.out_channels, type == TensorType::kFloat32 ? TensorType::kFloat32 : TensorType::kInt32);
  if (type != TensorType::kFloat32) return Emit8(p, g);
  if (p.type(kWeights) != TensorType::kFloat32) {
    CheckIntWeights(p, kWeights);
    return EmitHybrid(p, g);
  }
  if (p.output_elements(0) != 0) EmitF32(p, g);
}

constexpr OpDef kOps[] = {
    {.name = "TRANSPOSE_CONV", .prepare = PrepareTransposeConv, .activation_field = kActivation, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> transpose_conv_ops() { return kOps; }

}  // namespace sigrun::ops
