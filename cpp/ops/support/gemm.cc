#include "ops/support/gemm.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "ops/support/fixed_point.h"
#include "ops/support/float_product.h"
#include "ops/support/linear_sum.h"
#include "ops/support/quantization.h"
#include "ops/support/shifted_product.h"
#include "ops/support/worker_scratch.h"

namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::ExtremesF32;
using kernels::Range;
using schema::Padding;

// Beyond this, positions of windows might not fit 32 bits.
constexpr int64_t kMaxExtent = 1 << 29;

// One dimension of a window that is placed: the size of the output, and the padding in front.
struct Placed {
  int32_t out, before;
};

Placed PlaceAlong(const Prepare& p, Padding padding, int32_t in, int32_t kernel, int32_t stride, int32_t dilation, int64_t fused_before,
                  int64_t fused_after) {
  const int64_t extent = int64_t{kernel - 1} * dilation + 1, padded = in + fused_before + fused_after;
  p.Check(extent <= kMaxExtent && padded <= kMaxExtent && stride <= kMaxExtent, "a window of ", extent, " over ", padded,
          " pixels is too large");
  if (padding == Padding::kSame) {
    const int32_t out = static_cast<int32_t>((padded + stride - 1) / stride);
    return {out, PaddingBefore(static_cast<int32_t>(padded), out, kernel, stride, dilation) + static_cast<int32_t>(fused_before)};
  }
  p.Check(padded + stride >= extent, "a window of ", extent, " does not fit into ", padded, " pixels");
  return {static_cast<int32_t>((padded + stride - extent) / stride), static_cast<int32_t>(fused_before)};
}

// FNV-1a: tells constants apart whose addresses may be reused.
uint64_t Hash(const std::byte* bytes, size_t n) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < n; ++i) hash = (hash ^ static_cast<uint64_t>(bytes[i])) * 1099511628211u;
  return hash;
}

std::string GemmKey(const Gemm& g) {
  return Concat("gemm ", g.shape.kernel_height, "x", g.shape.kernel_width, "x", g.shape.in_channels, "x", g.shape.out_channels, "x",
                g.shape.groups, " ", g.stride_n, " ", g.stride_k);
}

int64_t MacsOfRow(const ConvShape& s) { return int64_t{s.taps()} * s.in_channels * s.out_channels * s.groups; }

Range RowsOf(const ConvShape& s, Range lines) { return {lines.begin * s.out_width, lines.end * s.out_width}; }

// What threads share is the output's channels where reading all weights costs each of them more than reading pixels that another has
// written: those of the input, and those of the output in the next step. Sums do not depend on the cut.
constexpr int32_t kLeastChannels = 64;   // of a thread
constexpr size_t kLeastBytes = 1 << 17;  // of weights
bool SplitsChannels(const Prepare& p, const ConvShape& s, size_t weight_bytes) {
  const int64_t weights = MacsOfRow(s), pixels = int64_t{s.rows()} * (s.in_channels + s.out_channels);
  return p.workers() > 1 && s.groups == 1 && s.out_channels >= kLeastChannels * p.workers() && weight_bytes >= kLeastBytes &&
         weights > 2 * pixels;
}

// The most groups up to `most` that all groups can be taken in.
int32_t GroupsAtOnce(const ConvShape& s, int32_t most) {
  int32_t at_once = std::clamp(most, 1, s.groups);
  while (s.groups % at_once != 0) --at_once;
  return at_once;
}

struct Pieces {
  int32_t count, channels;        // of channels, and those of each but the last
  int32_t row_grain, row_ranges;  // of rows, for RunContext::Parallel
  int64_t cost;                   // of a piece, or of a row
  static Pieces Of(const Prepare& p, const ConvShape& s, size_t weight_bytes) {
    if (!SplitsChannels(p, s, weight_bytes)) {
      return {1, s.out_channels, RowGrain(p, s), s.rows() < kManyRows * p.workers() ? 1 : 2, MacCost(MacsOfRow(s))};
    }
    constexpr int32_t kGrain = 32;
    const int32_t channels = (s.out_channels + p.workers() * kGrain - 1) / (p.workers() * kGrain) * kGrain;
    const int32_t count = (s.out_channels + channels - 1) / channels;
    // Few rows wait for the weights to come from memory, about four bytes of them for an operation.
    const int64_t cost = std::max(MacCost(MacsOfRow(s) * s.rows()), static_cast<int64_t>(weight_bytes / 4));
    return {count, channels, 1, 1, cost / count};
  }
  // Every range of rows reads all weights.
  static constexpr int32_t kManyRows = 192;
  // Whole lines where threads can share them evenly: other operators are cut at lines, and find what their thread has written.
  static int32_t RowGrain(const Prepare& p, const ConvShape& s) {
    const int32_t lines = s.batch * s.out_height, most = (lines + p.workers() - 1) / p.workers();
    return int64_t{10} * most * p.workers() <= int64_t{11} * lines ? s.out_width : 1;
  }
  ConvShape Shape(ConvShape s, int32_t piece) const {
    if (count == 1) return s;
    s.pixel_channels = s.out_channels;
    s.out_channels = std::min(channels, s.out_channels - piece * channels);
    return s;
  }
  std::string key() const { return count == 1 ? "" : Concat(" pieces of ", channels); }
};

// f(shape, its first output channel, its packed weights, rows, worker) for all rows and pieces.
template <class F>
void ForPieces(const RunContext& run, const ConvShape& s, const Pieces& pieces, const std::byte* packed, size_t piece_bytes, const F& f) {
  if (pieces.count == 1) {
    const auto all = [&](Range rows, int worker) { f(s, 0, packed, rows, worker); };
    return run.Parallel(s.rows(), pieces.cost, all, pieces.row_grain, pieces.row_ranges);
  }
  run.Parallel(pieces.count, pieces.cost, [&](Range range, int worker) {
    for (int32_t i = range.begin; i < range.end; ++i) {
      f(pieces.Shape(s, i), i * pieces.channels, packed + static_cast<size_t>(i) * piece_bytes, Range{0, s.rows()}, worker);
    }
  });
}

}  // namespace

// --- geometry
// -------------------------------------------------------------------------------------------------------------------------------

Window ReadWindow(const Prepare& p) {
  constexpr int kPadding = 0, kStrideW = 1, kStrideH = 2;
  const int padding = p.options().Scalar<int8_t>(kPadding);
  p.Check(padding == 0 || padding == 1, "padding ", padding);
  Window w;
  w.padding = static_cast<Padding>(padding);
  w.stride_w = p.options().Scalar<int32_t>(kStrideW);
  w.stride_h = p.options().Scalar<int32_t>(kStrideH);
  p.Check(w.stride_h > 0 && w.stride_w > 0, "strides ", w.stride_h, " and ", w.stride_w, " must be positive");
  return w;
}

void ReadDilations(const Prepare& p, int width_field, int height_field, Window* window) {
  const auto of = [&](int field, int32_t fused) {
    const int64_t dilation = int64_t{p.options().Scalar<int32_t>(field, 1)} * fused;
    return static_cast<int32_t>(std::min<int64_t>(dilation, INT32_MAX));
  };
  window->dilation_h = of(height_field, p.node().dilation[0]);
  window->dilation_w = of(width_field, p.node().dilation[1]);
}

int32_t PaddingBefore(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation) {
  const int64_t total = (int64_t{out} - 1) * stride + (int64_t{kernel} - 1) * dilation + 1 - in;
  return total > 0 ? static_cast<int32_t>(total / 2) : 0;
}

ConvShape PlaceWindow(const Prepare& p, const Window& w, const Shape& input) {
  p.Check(w.dilation_h > 0 && w.dilation_w > 0, "dilations ", w.dilation_h, " and ", w.dilation_w, " must be positive");
  p.Check(w.kernel_h > 0 && w.kernel_w > 0 && int64_t{w.kernel_h} * w.kernel_w <= INT32_MAX, "a window of ", w.kernel_h, " x ", w.kernel_w);
  const std::array<int32_t, 4> fused = p.node().padding.value_or(std::array<int32_t, 4>{});
  const Placed y = PlaceAlong(p, w.padding, input[1], w.kernel_h, w.stride_h, w.dilation_h, fused[0], fused[1]);
  const Placed x = PlaceAlong(p, w.padding, input[2], w.kernel_w, w.stride_w, w.dilation_w, fused[2], fused[3]);
  ConvShape s;
  s.batch = input[0];
  s.in_height = input[1];
  s.in_width = input[2];
  s.out_height = y.out;
  s.out_width = x.out;
  s.kernel_height = w.kernel_h;
  s.kernel_width = w.kernel_w;
  s.stride_h = w.stride_h;
  s.stride_w = w.stride_w;
  s.dilation_h = w.dilation_h;
  s.dilation_w = w.dilation_w;
  s.pad_top = y.before;
  s.pad_left = x.before;
  p.Check(int64_t{s.batch} * s.out_height * s.out_width <= INT32_MAX, "the output has too many pixels");
  return s;
}

LineGeometry LinesOf(const ConvShape& s, size_t in_bytes, size_t out_bytes, size_t weight_bytes, int64_t macs) {
  // groups is 1 for a depthwise convolution.
  return {.images = s.batch,
          .in_lines = s.in_height,
          .out_lines = s.out_height,
          .in_bytes = static_cast<size_t>(int64_t{s.in_width} * s.in_channels * s.groups) * in_bytes,
          .out_bytes = static_cast<size_t>(int64_t{s.out_width} * s.out_channels * s.groups) * out_bytes,
          .stride = s.stride_h,
          .before = s.pad_top,
          .extent = (s.kernel_height - 1) * s.dilation_h + 1,
          .weight_bytes = weight_bytes,
          .cost = s.out_width * (macs / 8 + 1)};
}

void CheckRank(const Prepare& p, int i, size_t rank, const char* what) {
  p.Check(p.shape(i).size() == rank, "the ", what, " ", ToString(p.shape(i)), " has rank ", p.shape(i).size(), ", expected ", rank);
  p.Check(p.elements(i) <= INT32_MAX, "the ", what, " ", ToString(p.shape(i)), " is too large");
}

void CheckBias(const Prepare& p, int i, int64_t n, TensorType type) {
  if (!p.has_input(i)) return;
  p.CheckType(i, {type});
  p.Check(p.elements(i) == n, "the bias has ", p.elements(i), " elements, the output has ", n, " channels");
}

// --- quantisation
// ---------------------------------------------------------------------------------------------------------------------------

namespace {
Prepare::Affine CheckAffine(const Prepare& p, Prepare::Affine affine, TensorType type, const char* role, int i) {
  const QuantizedRange range = TypeRange(type);
  p.Check(affine.zero_point >= range.min && affine.zero_point <= range.max, role, " ", i, " has the zero point ", affine.zero_point,
          ", which is no ", TensorTypeName(type));
  return affine;
}
}  // namespace

Prepare::Affine CheckedAffine(const Prepare& p, int i) { return CheckAffine(p, p.affine(i), p.type(i), "input", i); }
Prepare::Affine CheckedOutputAffine(const Prepare& p, int o) { return CheckAffine(p, p.output_affine(o), p.output_type(o), "output", o); }

WeightScales ReadWeightScales(const Prepare& p, int i, int32_t dimension, int64_t channels) {
  const Quantization& q = p.quantization(i);
  if (q.block_size > 0) p.Refuse(StatusCode::kUnimplemented, "weights quantised by blocks");
  const bool single = q.scale.size() == 1;
  p.Check(single || static_cast<int64_t>(q.scale.size()) == channels, "the weights have ", q.scale.size(), " quantisation scales for ",
          channels, " channels");
  p.Check(single || q.dimension == dimension, "the weights are quantised along dimension ", q.dimension, ", expected ", dimension);
  for (const float scale : q.scale) p.Check(std::isfinite(scale) && scale >= 0, "the weights have the quantisation scale ", scale);
  const QuantizedRange range = TypeRange(p.type(i));
  for (const int64_t z : q.zero_point) {
    p.Check(z >= range.min && z <= range.max, "the weights have the zero point ", z, ", which is no ", TensorTypeName(p.type(i)));
    p.Check(single || z == 0, "the weights have the zero point ", z, " in a channel, expected 0");
  }
  return {q.scale, single ? static_cast<int32_t>(q.zero_point[0]) : 0};
}

WeightScales ReadSymmetricWeightScales(const Prepare& p, int i, int32_t dimension, int64_t channels) {
  WeightScales scales = ReadWeightScales(p, i, dimension, channels);
  if (p.type(i) != TensorType::kUInt8) scales.zero_point = 0;
  return scales;
}

Requantization PrepareRequantization(const Prepare& p, float input_scale, const WeightScales& weights, int64_t channels,
                                     ScaleProduct product) {
  const bool has_residual = p.node().residual >= 0;
  const Prepare::Affine output = has_residual ? p.intermediate_affine(0) : CheckedOutputAffine(p, 0);
  const QuantizedRange range = ActivationRange(p, has_residual ? p.node().inner_activation : p.activation(), p.output_type(0), output);
  Requantization r;
  r.zero_point = output.zero_point;
  r.min = range.min;
  r.max = range.max;
  for (int64_t c = 0; c < channels; ++c) {
    const float weight_scale = weights.at(static_cast<size_t>(c));
    const bool in_float = product == ScaleProduct::kFloatIfSingle && !weights.per_channel();
    const double scale = in_float ? static_cast<double>(input_scale * weight_scale) : static_cast<double>(input_scale) * weight_scale;
    if (product == ScaleProduct::kUnquantized) {
      r.scale.push_back(scale / output.scale);
      r.bounded = r.bounded && r.scale.back() <= 0.25;
      continue;
    }
    const FixedPoint fixed = QuantizeMultiplier(scale / output.scale);
    r.multiplier.push_back(fixed.multiplier);
    r.shift.push_back(fixed.shift);
  }
  return r;
}

std::vector<int32_t> ShortenShifts(const Prepare& p, int weights, int bias, ptrdiff_t stride_n, ptrdiff_t stride_k, int64_t depth,
                                   int32_t weight_zero_point, Requantization* r) {
  constexpr int32_t kLongShift = -22, kMostInput = 255;  // of an input's distance from its zero point
  const bool is_unsigned = p.type(weights) == TensorType::kUInt8, has_bias = bias >= 0 && p.has_input(bias);
  const auto* w = reinterpret_cast<const uint8_t*>(p.constant(weights));
  const auto* b = has_bias ? reinterpret_cast<const int32_t*>(p.constant(bias)) : nullptr;
  std::vector<int32_t> biases;
  if (TensorTypeBits(p.type(weights)) != 8 || w == nullptr || (has_bias && b == nullptr)) return biases;
  const size_t channels = r->multiplier.size();
  for (size_t n = 0; n < channels; ++n) {
    int32_t &multiplier = r->multiplier[n], &shift = r->shift[n];
    if (multiplier != 0 && shift > kLongShift) continue;
    int64_t spread = 0;
    for (int64_t k = 0; k < depth; ++k) {
      const uint8_t raw = w[static_cast<ptrdiff_t>(n) * stride_n + k * stride_k];
      spread += kMostInput * std::abs((is_unsigned ? raw : static_cast<int8_t>(raw)) - weight_zero_point);
    }
    const int64_t middle = has_bias ? b[n] : 0, low = middle - spread, high = middle + spread;
    if (low < INT32_MIN || high > INT32_MAX) continue;
    const int32_t y = ScaleBy(static_cast<int32_t>(low), multiplier, shift);
    if (y != ScaleBy(static_cast<int32_t>(high), multiplier, shift) || (y != 0 && spread != 0)) continue;
    multiplier = y == 0 ? 0 : 1 << 30;
    shift = -1;
    if (y == 0) continue;
    if (biases.empty()) biases.assign(b, b + channels);
    biases[n] = 4 * y;
  }
  return biases;
}

std::string KeyOfBiases(const std::vector<int32_t>& biases) {
  return biases.empty() ? "" : Concat(" biases ", Hash(reinterpret_cast<const std::byte*>(biases.data()), biases.size() * sizeof(int32_t)));
}

// --- weights in the kernels' layouts
// ----------------------------------------------------------------------------------------------------------

void CheckIntWeights(const Prepare& p, int i) { p.CheckType(i, {TensorType::kInt8, TensorType::kInt4, TensorType::kInt2}); }

void UnpackInts(int bits, const void* from, int64_t n, int8_t* to) {
  const uint8_t* bytes = static_cast<const uint8_t*>(from);
  const int each = 8 / bits;
  for (int64_t i = 0; i < n; ++i) {
    const int at = static_cast<int>(i % each) * bits;
    to[i] = static_cast<int8_t>(static_cast<int8_t>(bytes[i / each] << (8 - bits - at)) >> (8 - bits));
  }
}

namespace {

// The same filler for weights of 4 or 2 bits: they become bytes in its scratch first.
FillPacked FillUnpacked(int bits, int64_t elements, size_t scratch_bytes, FillPacked fill) {
  return [=, fill = std::move(fill)](const void* weights, const void* bias, std::byte* packed, std::byte* scratch) {
    int8_t* bytes = reinterpret_cast<int8_t*>(scratch + scratch_bytes);
    UnpackInts(bits, weights, elements, bytes);
    fill(bytes, bias, packed, scratch);
  };
}

}  // namespace

bool IsPackedOnce(const Prepare& p, int weights, int bias) { return p.is_constant(weights) && (!p.has_input(bias) || p.is_constant(bias)); }

Packed PackWeights(Prepare& p, int weights, int bias, const std::string& key, size_t bytes, size_t scratch_bytes, FillPacked fill,
                   bool as_halves) {
  if (const int bits = TensorTypeBits(p.type(weights)); bits < 8) {
    scratch_bytes = (scratch_bytes + 63) / 64 * 64;
    fill = FillUnpacked(bits, p.elements(weights), scratch_bytes, std::move(fill));
    scratch_bytes += static_cast<size_t>(p.elements(weights));
  }
  const bool has_bias = p.has_input(bias);
  if (IsPackedOnce(p, weights, bias)) {
    const std::byte* known_bias = has_bias ? p.constant(bias) : nullptr;
    const size_t bias_bytes = has_bias ? BytesOf(p.type(bias), p.elements(bias)) : 0;
    const std::string full_key = has_bias ? Concat(key, " bias ", Hash(known_bias, bias_bytes)) : key;
    return {p.Pack(weights, full_key, bytes,
                   [&](std::byte* packed) {
                     const AlignedBytes scratch(scratch_bytes);
                     const void* from = as_halves ? static_cast<const void*>(p.halves(weights)) : p.constant(weights);
                     fill(from, known_bias, packed, scratch.data());
                   }),
            {}};
  }
  const Slot packed = p.Scratch(bytes), scratch = scratch_bytes > 0 ? p.Scratch(scratch_bytes) : Slot{};
  p.Emit([fill = std::move(fill), packed, scratch, w = p.in(weights), b = has_bias ? p.in(bias) : Slot{}](RunContext& run) noexcept {
    fill(run.get<std::byte>(w), run.get<std::byte>(b), run.get<std::byte>(packed), run.get<std::byte>(scratch));
  });
  return {nullptr, packed};
}

// --- the end of a float convolution
// ---------------------------------------------------------------------------------------------------------

namespace {

// Lets the output take the residual's memory. Not if it is also the input, which the sums of other elements may still need.
void TakeResidual(Prepare& p) {
  const Node& node = p.node();
  p.Check(p.shape(node.residual) == p.output_shape(0), "a residual ", ToString(p.shape(node.residual)), " for the output ",
          ToString(p.output_shape(0)));
  if (std::count(node.inputs.begin(), node.inputs.end(), node.inputs[static_cast<size_t>(node.residual)]) == 1) {
    p.MayOverwrite(0, node.residual);
  }
}

}  // namespace

Epilogue PrepareEpilogue(Prepare& p) {
  const Node& node = p.node();
  Epilogue e{ActivationClamp(p), node.function, node.alpha, p.in(node.slope), p.in(node.residual), p.is_bf16(node.residual)};
  const int64_t channels = p.output_shape(0).back();
  if (node.slope >= 0) p.Check(p.elements(node.slope) == channels, p.elements(node.slope), " slopes for ", channels, " channels");
  if (node.residual < 0) return e;
  TakeResidual(p);
  return e;
}

kernels::UnaryF32 FunctionOf(const kernels::Kernels& k, kernels::ActivationF32 activation) {
  using kernels::ActivationF32, kernels::Unary;
  const auto kernel = [&](Unary function) { return k.unary_f32[static_cast<size_t>(function)]; };
  switch (activation) {
    case ActivationF32::kHardSwish: return kernel(Unary::kHardSwish);
    case ActivationF32::kSilu: return kernel(Unary::kSwish);
    case ActivationF32::kLogistic: return kernel(Unary::kLogistic);
    case ActivationF32::kTanh: return kernel(Unary::kTanh);
    default: return nullptr;
  }
}

int64_t WholeChannels(const kernels::Kernels& k, int32_t channels) {
  constexpr int32_t kDepth = 15;  // with its bias, a channel is a line of 64 bytes
  return static_cast<int64_t>(k.pack_f32_bytes(kDepth, channels) / 64);
}

FunctionApart::FunctionApart(const Prepare& p, int32_t channels, int64_t floats, int32_t together, Epilogue* epilogue) : floats_(floats) {
  using kernels::ActivationF32;
  constexpr int64_t kFloats = 4096;
  constexpr size_t kPeriod = 256;
  const ActivationF32 activation = epilogue->function;
  const bool slopes = activation == ActivationF32::kLeakyRelu || activation == ActivationF32::kPrelu;
  const bool fills = WholeChannels(p.kernels(), channels) == channels;
  if (!epilogue->clamp.is_none() || activation == ActivationF32::kNone) return;
  if (fills && (slopes || activation == ActivationF32::kHardSwish)) return;  // a few operations on what stands in registers
  if (activation == ActivationF32::kPrelu && !p.is_constant(p.node().slope)) return;
  if (slopes) {
    std::vector<float> of_pixel(static_cast<size_t>(channels), epilogue->alpha), repeated;
    if (activation == ActivationF32::kPrelu) std::copy_n(p.constant_as<float>(p.node().slope), channels, of_pixel.begin());
    while (repeated.size() < kPeriod) repeated.insert(repeated.end(), of_pixel.begin(), of_pixel.end());
    slopes_ = std::make_shared<const std::vector<float>>(std::move(repeated));
    multiply_ = p.kernels().binary(kernels::Binary::kPrelu, kernels::Operands::kVectorVector);
  } else {
    function_ = FunctionOf(p.kernels(), activation);
  }
  epilogue->function = ActivationF32::kNone;
  rows_ = static_cast<int32_t>((kFloats / floats / together + 1) * together);
}

void FunctionApart::Apply(float* y, int64_t n) const {
  if (function_ != nullptr) return function_(y, y, static_cast<size_t>(n));
  const int64_t period = static_cast<int64_t>(slopes_->size());
  for (int64_t i = 0; i < n; i += period) multiply_(y + i, slopes_->data(), y + i, static_cast<size_t>(std::min(period, n - i)), {});
}

namespace {

// Call when the output has its shape, and before p.out(0).
ResidualSum PrepareResidualSum(Prepare& p) {
  const int at = p.node().residual;
  if (at < 0) return {};
  TakeResidual(p);
  kernels::AddI8Params add =
      QuantizedSum(p.intermediate_affine(0), CheckedAffine(p, at), CheckedOutputAffine(p, 0), 20, QuantizedActivationRange(p, 0));
  add.linear = FindLinearSum(add, false);
  return {p.in(at), add};
}

}  // namespace

// --- products
// -------------------------------------------------------------------------------------------------------------------------------

namespace {

// Few rows take no longer than reading the weights takes, where those are more than a core's L2 keeps.
bool KeepsHalves(const Prepare& p, const Gemm& g, const ConvShape& s) {
  constexpr int64_t kFewRows = 8, kManyWeights = 1 << 19;
  return p.halves(g.weights) != nullptr && p.elements(g.weights) >= kManyWeights && s.rows() <= kFewRows && s.packed_groups == 1 &&
         IsPackedOnce(p, g.weights, g.bias);
}

FloatProduct ChooseProduct(const Prepare& p, const Gemm& g, const ConvShape& s) {
  const FloatProduct product(p, s, p.is_constant(g.weights));
  return product.is_float32() && KeepsHalves(p, g, s) ? FloatProduct::OfHalves(p) : product;
}

}  // namespace

void EmitGemmF32(Prepare& p, const Gemm& g) {
  if (p.output_elements(0) == 0) return;
  ConvShape s = g.shape;
  s.packed_groups = GroupsAtOnce(s, p.kernels().f32_group_channels / std::max(s.in_channels, s.out_channels));
  const int32_t depth = s.taps() * s.in_channels;
  kernels::Bf16Operands operands{.input = p.is_bf16(g.input), .residual = p.is_bf16(p.node().residual)};
  const FloatProduct product = operands.input || operands.residual ? FloatProduct::OfBf16(p) : ChooseProduct(p, g, s);
  operands.output = product.is_bf16() && depth <= kernels::kMostBf16OutputDepth && p.ReadersTakeBf16(0);
  if (operands.output) p.StoreAsBf16(0);
  if (!product.is_float32()) s.packed_groups = 1;
  const Pieces pieces = Pieces::Of(p, s, product.PackBytes(depth, s.out_channels) * static_cast<size_t>(s.groups));
  const int32_t packs = s.groups / s.packed_groups;
  const size_t group_bytes = product.PackBytes(depth, pieces.channels * s.packed_groups);
  const Packed packed = PackWeights(
      p, g.weights, g.bias, Concat(GemmKey(g), pieces.key(), product.key()), group_bytes * static_cast<size_t>(packs * pieces.count), 0,
      [=, stride_n = g.stride_n, stride_k = g.stride_k](const void* w, const void* b, std::byte* to, std::byte*) {
        for (int32_t i = 0; i < packs * pieces.count; ++i) {
          const int32_t first = i * s.packed_groups * pieces.channels;
          const float* bias = b == nullptr ? nullptr : static_cast<const float*>(b) + first;
          const auto pack = [&]<class T>(const T* weights) {
            const kernels::WeightView<T> view = {weights + first * stride_n, stride_n, stride_k};
            product.Pack(depth, s.packed_groups * pieces.Shape(s, i).out_channels, view, bias, to + static_cast<size_t>(i) * group_bytes);
          };
          product.takes_halves() ? pack(static_cast<const uint16_t*>(w)) : pack(static_cast<const float*>(w));
        }
      },
      product.takes_halves());
  p.Explain(Concat("implicit matrix product ", s.rows(), " x ", depth, " x ", s.out_channels * s.groups,
                   product.is_float32() ? ", float32" : "", product.takes_halves() ? " with weights of" : "", product.key(), ", ",
                   p.kernels().tier));
  const Epilogue epilogue = PrepareEpilogue(p);
  constexpr int32_t kTiles = 96;  // a multiple of the rows of all register tiles
  Epilogue end = epilogue;
  const int32_t channels = s.out_channels * s.groups;
  const FunctionApart apart = pieces.count > 1 || operands.output ? FunctionApart{} : FunctionApart(p, channels, channels, kTiles, &end);
  const auto scratch = WorkerScratch(p, product.ScratchBytes(s));
  p.Emit([=, in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
    ForPieces(run, s, pieces, packed.get(run), group_bytes,
              [&](const ConvShape& piece, int32_t first, const std::byte* w, Range rows, int worker) {
                void* to = Advance(run.get<std::byte>(out), first, operands.output);
                apart.Run(static_cast<float*>(to), rows, [&](Range part) {
                  product.Conv(piece, operands, run.get<std::byte>(in), w, to, end.at(run, first), scratch.of(run, worker), part);
                });
              });
  });
  if (s.out_height == 1 || pieces.count > 1) return;
  const LineGeometry geometry =
      LinesOf(s, FloatBytes(operands.input), FloatBytes(operands.output), group_bytes * static_cast<size_t>(packs), MacsOfRow(s));
  p.AlsoByLines(g.input, geometry, [=](const RunContext& run, const std::byte* in, std::byte* out, Range lines, int worker) noexcept {
    apart.Run(reinterpret_cast<float*>(out), RowsOf(s, lines),
              [&](Range part) { product.Conv(s, operands, in, packed.get(run), out, end.at(run), scratch.of(run, worker), part); });
  });
  const int32_t grain = p.kernels().f32_block_channels;
  if (grain == 0 || s.groups > 1 || !product.is_float32() || p.node().residual >= 0) return;
  p.AlsoByChannels({s.out_channels, grain, sizeof(float), false}, [=](const RunContext& run, const std::byte* in, std::byte* out,
                                                                      Range lines, ChannelBlock block, int worker) noexcept {
    ConvShape part = s;
    part.out_channels = block.channels.end - block.channels.begin;
    part.pixel_channels = block.pixel;
    const std::byte* w = packed.get(run) + product.PackBytes(depth, block.channels.begin);
    product.Conv(part, operands, in, w, out, epilogue.at(run, block.channels.begin), scratch.of(run, worker), RowsOf(s, lines));
  });
}

namespace {

// Groups of few channels as fewer with more, between which the weights are 0: as long as these share vectors, they cost less. Integers stay
// the same, where floats would be multiplied by 0 though they may be infinite.
ConvShape MergeGroups(const Prepare& p, ConvShape s) {
  const int32_t merged = GroupsAtOnce(s, p.kernels().i8_columns / s.out_channels);
  s.groups /= merged;
  s.in_channels *= merged;
  s.out_channels *= merged;
  return s;
}

// The weights of a merged group, as that of groups `own` from `weights` on.
kernels::WeightView<int8_t> ExpandGroups(const ConvShape& s, const ConvShape& own, const int8_t* weights, int32_t zero,
                                         std::byte* scratch) {
  const ptrdiff_t depth = static_cast<ptrdiff_t>(s.taps()) * s.in_channels;
  std::memset(scratch, zero, static_cast<size_t>(s.out_channels * depth));
  for (int32_t n = 0; n < s.out_channels; ++n) {
    std::byte* to = scratch + n * depth + static_cast<ptrdiff_t>(n / own.out_channels) * own.in_channels;
    for (int32_t tap = 0; tap < s.taps(); ++tap, weights += own.in_channels, to += s.in_channels) {
      std::memcpy(to, weights, static_cast<size_t>(own.in_channels));
    }
  }
  return {reinterpret_cast<const int8_t*>(scratch), depth, 1};
}

// int8 weights of all groups or pieces, one after the other; uint8 ones are flipped.
struct PackedI8 {
  ConvShape shape;  // as the kernels take it
  Packed weights;
  size_t group_bytes;
  Pieces pieces;
};
PackedI8 PackGemmI8(Prepare& p, const Gemm& g, int bias, std::vector<int32_t> biases, int32_t input_zero_point, int32_t weight_zero_point) {
  const ConvShape s = MergeGroups(p, g.shape), own = g.shape;
  const auto& k = p.kernels();
  const bool flip = p.type(g.weights) == TensorType::kUInt8, expands = s.groups < own.groups;
  const Pieces pieces = Pieces::Of(p, s, k.pack_i8_bytes(s) * static_cast<size_t>(s.groups));
  const size_t group_bytes = k.pack_i8_bytes(pieces.Shape(s, 0));
  const size_t expanded_bytes = expands ? static_cast<size_t>(int64_t{s.out_channels} * s.taps() * s.in_channels) : 0;
  const std::string key = Concat(GemmKey(g), pieces.key(), " zero points ", input_zero_point, " ", weight_zero_point,
                                 flip ? " flipped" : "", KeyOfBiases(biases));
  const Packed packed = PackWeights(
      p, g.weights, bias, key, group_bytes * static_cast<size_t>(s.groups * pieces.count), expanded_bytes,
      [=, biases = std::move(biases), pack = k.pack_i8, stride_n = g.stride_n, stride_k = g.stride_k](const void* w, const void* b,
                                                                                                      std::byte* to, std::byte* scratch) {
        for (int32_t i = 0; i < s.groups * pieces.count; ++i) {
          const int32_t first = i * pieces.channels;
          const int32_t* all = biases.empty() ? static_cast<const int32_t*>(b) : biases.data();
          const int32_t* sums = all == nullptr ? nullptr : all + first;
          kernels::WeightView<int8_t> view{static_cast<const int8_t*>(w) + first * stride_n, stride_n, stride_k};
          if (expands) view = ExpandGroups(s, own, view.data, flip ? weight_zero_point + 128 : weight_zero_point, scratch);
          pack(pieces.Shape(s, i), view, flip, sums, input_zero_point, weight_zero_point, to + static_cast<size_t>(i) * group_bytes);
        }
      });
  return {s, packed, group_bytes, pieces};
}

}  // namespace

void EmitGemm8(Prepare& p, const Gemm& g, const WeightScales& scales, ScaleProduct product) {
  const TensorType type = p.type(g.input);
  const Prepare::Affine input = CheckedAffine(p, g.input);
  Requantization requantize = PrepareRequantization(p, input.scale, scales, int64_t{g.shape.out_channels} * g.shape.groups, product);
  if (p.output_elements(0) == 0) return;
  std::shared_ptr<LazyShiftedProducts> products;
  if (g.shape.rows() > 1 && !requantize.scale.empty()) {
    const int32_t zero = requantize.zero_point;
    products = std::make_shared<LazyShiftedProducts>(requantize.scale, requantize.min - zero, requantize.max - zero);
  }
  const int64_t depth = int64_t{g.shape.taps()} * g.shape.in_channels;
  std::vector<int32_t> biases = ShortenShifts(p, g.weights, g.bias, g.stride_n, g.stride_k, depth, scales.zero_point, &requantize);
  const auto& k = p.kernels();
  const int32_t zero_point = ToInt8Domain(input.zero_point, type);
  const PackedI8 packed = PackGemmI8(p, g, g.bias, std::move(biases), zero_point, ToInt8Domain(scales.zero_point, p.type(g.weights)));
  const ConvShape s = packed.shape;
  p.Explain(
      Concat("implicit matrix product ", s.rows(), " x ", s.taps() * s.in_channels, " x ", s.out_channels * s.groups, ", 8-bit, ", k.tier));
  const bool is_unsigned = type == TensorType::kUInt8;
  const WorkerScratch scratch(p, k.conv_i8_scratch_bytes(s));
  const ResidualSum sum = PrepareResidualSum(p);
  p.Emit([=, conv = k.conv_i8, in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
    const kernels::InputI8 x{run.get<std::byte>(in), zero_point, is_unsigned};
    ForPieces(run, s, packed.pieces, packed.weights.get(run), packed.group_bytes,
              [&](const ConvShape& piece, int32_t first, const std::byte* w, Range rows, int worker) {
                kernels::RequantizeParams params = requantize.params(first);
                if (products != nullptr) params.product = products->Next(rows.end - rows.begin, first);
                sum.Attach(run, first, &params);
                conv(piece, x, w, run.get<std::byte>(out) + first, params, scratch.of(run, worker), rows);
              });
  });
  if (s.out_height == 1 || packed.pieces.count > 1) return;
  p.AlsoByLines(g.input, LinesOf(s, 1, 1, packed.group_bytes * static_cast<size_t>(s.groups), MacsOfRow(s)),
                [=, conv = k.conv_i8](const RunContext& run, const std::byte* in, std::byte* out, Range lines, int worker) noexcept {
                  kernels::RequantizeParams params = requantize.params();
                  const Range rows = RowsOf(s, lines);
                  sum.Attach(run, 0, &params);
                  conv(s, {in, zero_point, is_unsigned}, packed.weights.get(run), out, params, scratch.of(run, worker), rows);
                });
}

namespace {

// A run of which threads take parts, and what one element of it costs.
constexpr int64_t kLongRun = 1 << 14, kRoundingCost = 2;

// f(first, count, part) for the parts of `n` elements; there are at most kParts.
constexpr int32_t kParts = 16;
template <class F>
void ForParts(const RunContext& run, size_t n, const F& f) {
  if (n == 0) return;
  const size_t step = (n + kParts * 64 - 1) / (kParts * 64) * 64;
  run.Parallel(static_cast<int32_t>((n + step - 1) / step), kRoundingCost * static_cast<int64_t>(step), [&](Range range, int) {
    for (int32_t part = range.begin; part < range.end; ++part) {
      const size_t first = static_cast<size_t>(part) * step;
      f(first, std::min(step, n - first), part);
    }
  });
}

void Include(ExtremesF32 more, ExtremesF32* all) { *all = {std::min(all->low, more.low), std::max(all->high, more.high)}; }

// The search ends where both bounds have been met, as most images behind a RELU6 soon do.
ExtremesF32 FindExtremes(const RunContext& run, const kernels::Kernels& k, const float* x, size_t n, kernels::ClampF32 bounds) {
  constexpr size_t kChunk = 1 << 12;
  ExtremesF32 found[kParts] = {}, all{};
  std::atomic<bool> met = false;
  ForParts(run, n, [&](size_t first, size_t count, int32_t part) {
    const size_t step = std::isinf(bounds.max) ? count : kChunk, end = first + count;
    for (; first < end && !met.load(std::memory_order_relaxed); first += step) {
      Include(k.extremes_f32(x + first, std::min(step, end - first)), &found[part]);
      if (found[part].low <= bounds.min && found[part].high >= bounds.max) met.store(true, std::memory_order_relaxed);
    }
  });
  for (const ExtremesF32& part : found) Include(part, &all);
  return all;
}

size_t LengthOfRuns(const Prepare& p, int input, int32_t count) { return count == 0 ? 0 : static_cast<size_t>(p.elements(input) / count); }

}  // namespace

RoundedRuns::RoundedRuns(Prepare& p, int input, int32_t count, bool asymmetric, bool is_unsigned)
    : RoundedRuns(p, p.in(input), LengthOfRuns(p, input, count), count, asymmetric, is_unsigned, InputBounds(p, input),
                  p.Derive(input, Concat("rounded ", count, asymmetric ? " asymmetric" : " symmetric", is_unsigned ? " uint8" : " int8"),
                           {LengthOfRuns(p, input, count) * static_cast<size_t>(count), static_cast<size_t>(count) * sizeof(float),
                            static_cast<size_t>(count) * sizeof(int32_t)})) {}

RoundedRuns::RoundedRuns(Prepare& p, Slot in, size_t length, int32_t count, bool asymmetric, bool is_unsigned)
    : RoundedRuns(p, in, length, count, asymmetric, is_unsigned, kernels::ClampF32{},
                  {{p.Scratch(length * static_cast<size_t>(count)), p.Scratch(static_cast<size_t>(count) * sizeof(float)),
                    p.Scratch(static_cast<size_t>(count) * sizeof(int32_t))},
                   true}) {}

RoundedRuns::RoundedRuns(Prepare& p, Slot in, size_t length, int32_t count, bool asymmetric, bool is_unsigned, kernels::ClampF32 bounds,
                         const Prepare::Derived& memory)
    : count_(count),
      length_(length),
      asymmetric_(asymmetric),
      is_unsigned_(is_unsigned),
      fresh_(memory.fresh),
      in_(in),
      values_(memory.slots[0]),
      scale_(memory.slots[1]),
      zero_point_(memory.slots[2]),
      bounds_(bounds),
      kernels_(&p.kernels()) {}

void RoundedRuns::Fill(const RunContext& run, Range runs) const {
  const float* x = run.get<float>(in_);
  int8_t* y = run.get<int8_t>(values_);
  if (asymmetric_) {
    kernels_->quantize_rows_asymmetric(x, y, length_, is_unsigned_, run.get<float>(scale_), run.get<int32_t>(zero_point_), runs);
  } else {
    kernels_->quantize_rows_symmetric(x, y, length_, is_unsigned_, run.get<float>(scale_), runs);
  }
}

void RoundedRuns::Fill(const RunContext& run) const {
  if (static_cast<int64_t>(length_) < kLongRun) {
    return run.Parallel(count_, kRoundingCost * static_cast<int64_t>(length_), [&](Range range, int) { Fill(run, range); });
  }
  for (int32_t i = 0; i < count_; ++i) {
    const float* x = run.get<float>(in_) + static_cast<size_t>(i) * length_;
    int8_t* y = run.get<int8_t>(values_) + static_cast<size_t>(i) * length_;
    const ExtremesF32 extremes = FindExtremes(run, *kernels_, x, length_, bounds_);
    ForParts(run, length_, [&](size_t first, size_t count, int32_t part) {
      float scale;
      int32_t zero_point = 0;
      if (asymmetric_) {
        kernels_->quantize_asymmetric(x + first, y + first, count, is_unsigned_, extremes, &scale, &zero_point);
      } else {
        kernels_->quantize_symmetric(x + first, y + first, count, is_unsigned_, extremes, &scale);
      }
      if (part > 0) return;
      run.get<float>(scale_)[i] = scale;
      run.get<int32_t>(zero_point_)[i] = zero_point;
    });
  }
}

void EmitGemmHybrid(Prepare& p, const Gemm& g, const WeightScales& scales, HybridRounding rounding) {
  if (p.output_elements(0) == 0) return;
  const auto& k = p.kernels();
  const PackedI8 packed = PackGemmI8(p, g, -1, {}, 0, scales.zero_point);
  const ConvShape s = packed.shape;
  p.Explain(Concat("activations rounded to 8 bits, matrix product ", s.rows(), " x ", s.taps() * s.in_channels, " x ",
                   s.out_channels * s.groups, ", ", k.tier));
  const RoundedRuns rounded(p, g.input, rounding.per_image ? s.batch : s.rows(), rounding.asymmetric, k.i8_takes_unsigned);
  // A thread that takes rows of its own rounds them itself.
  const bool rounds_own = rounded.fresh() && !rounding.per_image && packed.pieces.count == 1;
  p.Emit([=, conv = k.conv_i8_f32, channel_scale = scales.Each(s.out_channels * s.groups), epilogue = PrepareEpilogue(p),
          scratch = WorkerScratch(p, k.conv_i8_scratch_bytes(s)), out = p.out(0),
          bias = g.bias >= 0 ? p.in(g.bias) : Slot{}](RunContext& run) noexcept {
    const float* addend = run.get<float>(bias);
    if (rounded.fresh() && !rounds_own) rounded.Fill(run);
    ForPieces(run, s, packed.pieces, packed.weights.get(run), packed.group_bytes,
              [&](const ConvShape& piece, int32_t first, const std::byte* w, Range rows, int worker) {
                if (rounds_own) rounded.Fill(run, rows);
                conv(piece, rounded.input(run), w, run.get<float>(out) + first, rounded.scale(run), rounded.zero_point(run),
                     rounding.per_image, channel_scale.data() + first, addend == nullptr ? nullptr : addend + first,
                     epilogue.at(run, first).residual, epilogue.clamp, scratch.of(run, worker), rows);
              });
  });
}

Slot EmitExtremes(Prepare& p, int input, int64_t images) {
  const size_t count = static_cast<size_t>(images), length = count == 0 ? 0 : static_cast<size_t>(p.elements(input)) / count;
  const Slot found = p.Scratch(count * sizeof(ExtremesF32));
  p.Emit([=, k = &p.kernels(), bounds = InputBounds(p, input), in = p.in(input)](RunContext& run) noexcept {
    for (size_t i = 0; i < count; ++i)
      run.get<ExtremesF32>(found)[i] = FindExtremes(run, *k, run.get<float>(in) + i * length, length, bounds);
  });
  return found;
}

}  // namespace sigrun::ops
