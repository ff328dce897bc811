#include <algorithm>
#include <utility>

#include "ops/op.h"
#include "ops/support/float_product.h"
#include "ops/support/gemm.h"
#include "ops/support/gemm_i16.h"
#include "ops/support/window_columns.h"
#include "ops/support/winograd.h"

// CONV_2D: input [batch, height, width, channels], filter [out_channels, kernel_height, kernel_width, channels / groups], bias
// [out_channels].
namespace sigrun::ops {
namespace {

using kernels::ConvShape;

enum Field : int { kPadding, kStrideW, kStrideH, kActivation, kDilationW, kDilationH, kBiasType };

constexpr int kInput = 0, kFilter = 1, kBias = 2;

ConvShape Geometry(const Prepare& p) {
  CheckRank(p, kInput, 4, "input");
  CheckRank(p, kFilter, 4, "filter");
  const Shape &input = p.shape(kInput), &filter = p.shape(kFilter);
  p.Check(input[3] > 0 && filter[3] > 0 && input[3] % filter[3] == 0, "filter has ", filter[3], " input channels, the input has ",
          input[3]);
  const int32_t groups = input[3] / filter[3];
  p.Check(filter[0] > 0 && filter[0] % groups == 0, "filter has ", filter[0], " output channels for ", groups, " groups");
  Window window = ReadWindow(p);
  ReadDilations(p, kDilationW, kDilationH, &window);
  window.kernel_h = filter[1];
  window.kernel_w = filter[2];
  ConvShape s = PlaceWindow(p, window, input);
  s.groups = groups;
  s.in_channels = filter[3];
  s.out_channels = filter[0] / groups;
  return s;
}

// A column of pixels stands in memory as a line does, whose windows kernels read in place.
ConvShape AsLine(ConvShape s) {
  if (s.in_width != 1 || s.out_width != 1 || s.kernel_width != 1 || s.pad_left != 0) return s;
  s.in_width = std::exchange(s.in_height, 1);
  s.out_width = std::exchange(s.out_height, 1);
  s.kernel_width = std::exchange(s.kernel_height, 1);
  s.stride_w = std::exchange(s.stride_h, 1);
  s.dilation_w = std::exchange(s.dilation_h, 1);
  s.pad_left = std::exchange(s.pad_top, 0);
  return s;
}

bool HasOneScale(const WeightScales& scales) {
  return std::all_of(scales.scale.begin(), scales.scale.end(), [&](float scale) { return scale == scales.scale[0]; });
}

void PrepareConv2D(Prepare& p) {
  p.CheckCounts(2, 3, 1);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const TensorType type = p.type(kInput);
  p.CheckOutputType(0, {type});
  const ConvShape shape = Geometry(p);
  const int64_t channels = int64_t{shape.out_channels} * shape.groups;
  if (type == TensorType::kInt16) {
    CheckBiasI16(p, kBias, channels);
  } else {
    CheckBias(p, kBias, channels, type == TensorType::kFloat32 ? TensorType::kFloat32 : TensorType::kInt32);
  }
  p.SetShape(0, OutputShape(shape));
  const Gemm gemm{
      .shape = AsLine(shape), .input = kInput, .weights = kFilter, .bias = kBias, .stride_n = ptrdiff_t{shape.taps()} * shape.in_channels};
  if (type == TensorType::kInt16) {
    p.CheckType(kFilter, {TensorType::kInt8, TensorType::kInt4, TensorType::kInt2, TensorType::kInt16});
    return EmitGemm16(p, gemm, ReadWeightScales(p, kFilter, 0, channels), ScaleProduct::kDouble, kBiasType, true);
  }
  if (type != TensorType::kFloat32) {
    type == TensorType::kUInt8 ? p.CheckType(kFilter, {type}) : CheckIntWeights(p, kFilter);
    return EmitGemm8(p, gemm, ReadWeightScales(p, kFilter, 0, channels),
                     type == TensorType::kUInt8 ? ScaleProduct::kFloatIfSingle : ScaleProduct::kDouble);
  }
  if (p.type(kFilter) == TensorType::kFloat32) {
    const std::optional<WinogradForm> winograd = ChooseWinograd(p, gemm);
    if (winograd.has_value()) return EmitWinogradF32(p, gemm, *winograd);
    return SuitsWindowColumns(p, gemm) ? EmitWindowColumnsF32(p, gemm) : EmitGemmF32(p, gemm);
  }
  CheckIntWeights(p, kFilter);
  // The reference quantises images symmetrically, unless the filter's channels differ in scale or stand in groups.
  const WeightScales scales = ReadWeightScales(p, kFilter, 0, channels);
  EmitGemmHybrid(p, gemm, scales, {.asymmetric = shape.groups > 1 || !HasOneScale(scales), .per_image = true});
}

bool TakesBf16(const Prepare& p, int i) { return (i == kInput || i == p.node().residual) && ProductTakesBf16(p, kFilter); }

constexpr OpDef kOps[] = {{.name = "CONV_2D",
                           .prepare = PrepareConv2D,
                           .activation_field = kActivation,
                           .traits = kFusesPadding | kFusesDilation | kFusesEpilogue | kFusesSum | kFusesHybridSum | kFlushesDenormals,
                           .takes_bf16 = TakesBf16}};

}  // namespace

std::span<const OpDef> conv_2d_ops() { return kOps; }

}  // namespace sigrun::ops
