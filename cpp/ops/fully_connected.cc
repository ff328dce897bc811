#include "ops/op.h"
#include "ops/support/gemm.h"

// FULLY_CONNECTED: input [..., k] taken as rows of k, filter [n, k], bias [n]; output [rows, n], or the input's shape with its last
// dimension replaced if keep_num_dims is set.
namespace sigrun::ops {
namespace {

enum Field : int { kActivation, kWeightsFormat, kKeepNumDims, kAsymmetricQuantizeInputs };

constexpr int kInput = 0, kFilter = 1, kBias = 2;

void PrepareFullyConnected(Prepare& p) {
  p.CheckCounts(2, 3, 1);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
  const TensorType type = p.type(kInput);
  p.CheckOutputType(0, {type});
  if (p.options().Scalar<int8_t>(kWeightsFormat) != 0) p.Refuse(StatusCode::kUnimplemented, "shuffled weights");
  CheckRank(p, kFilter, 2, "filter");
  const int32_t n = p.shape(kFilter)[0], k = p.shape(kFilter)[1];
  p.Check(n > 0 && k > 0, "filter has the shape ", ToString(p.shape(kFilter)));
  const int64_t total = p.elements(kInput);
  p.Check(total % k == 0, "input ", ToString(p.shape(kInput)), " has ", total, " elements, which do not divide into rows of ", k);
  p.Check(total <= INT32_MAX, "input ", ToString(p.shape(kInput)), " is too large");
  const int32_t rows = static_cast<int32_t>(total / k);
  CheckBias(p, kBias, n, type == TensorType::kFloat32 ? TensorType::kFloat32 : TensorType::kInt32);
  Shape out = {rows, n};
  if (p.options().Bool(kKeepNumDims)) {
    out = p.shape(kInput);
    p.Check(!out.empty() && out.back() == k, "input ", ToString(out), " must end in ", k, " to keep its dimensions");
    out.back() = n;
  }
  p.SetShape(0, out);
  const Gemm gemm{.shape = kernels::ConvShape::MatMul(rows, k, n), .input = kInput, .weights = kFilter, .bias = kBias, .stride_n = k};
  if (type != TensorType::kFloat32) {
    p.CheckType(kFilter, {type});
    return EmitGemm8(p, gemm, ReadWeightScales(p, kFilter, 0, n), ScaleProduct::kUnquantized);
  }
  p.CheckType(kFilter, {TensorType::kFloat32, TensorType::kInt8});
  if (p.type(kFilter) == TensorType::kFloat32) return EmitGemmF32(p, gemm);
  EmitGemmHybrid(p, gemm, ReadWeightScales(p, kFilter, 0, n),
                 {.asymmetric = p.options().Bool(kAsymmetricQuantizeInputs), .per_image = false});
}

constexpr OpDef kOps[] = {{.name = "FULLY_CONNECTED", .prepare = PrepareFullyConnected, .activation_field = kActivation, .traits = kFusesEpilogue}};

}  // namespace

std::span<const OpDef> fully_connected_ops() { return kOps; }

}  // namespace sigrun::ops
