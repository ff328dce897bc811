#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/support/fixed_point.h"
#include "ops/support/gemm.h"

// L2_NORMALIZATION along the last dimension. Quantised outputs have the scale 1/128.
namespace sigrun::ops {
namespace {

enum Field : int { kActivation };

// The squares stand where the results come to be.
void NormalizeRow(const kernels::Kernels& k, const float* x, float* y, int64_t depth) {
  const size_t n = static_cast<size_t>(depth);
  k.unary_f32[static_cast<size_t>(kernels::Unary::kSquare)](x, y, n);
  const float norm = std::max(std::sqrt(k.sum_f32(y, n)), 1e-6f);
  k.binary(kernels::Binary::kDiv, kernels::Operands::kVectorScalar)(x, &norm, y, n, {});
}

template <class T>
void NormalizeRow(const T* x, T* y, int64_t depth, int32_t zero_point) {
  int64_t sum = 0;
  for (int64_t c = 0; c < depth; ++c) sum += (x[c] - zero_point) * (x[c] - zero_point);
  int shift = 0;
  const int32_t inverse = InverseSqrt(static_cast<int32_t>(std::min<int64_t>(sum, INT32_MAX)), &shift);
  for (int64_t c = 0; c < depth; ++c) {
    if constexpr (std::is_signed_v<T>) {
      y[c] = static_cast<T>(kernels::ClampI32(ScaleBy(x[c] - zero_point, inverse, shift + 7), -128, 127));
    } else {
      y[c] = static_cast<T>(kernels::ClampI32(128 + ScaleBy(128 * (x[c] - zero_point), inverse, shift), 0, 255));
    }
  }
}

template <class T, class Row>
void EmitRows(Prepare& p, Row row) {
  const int64_t depth = p.shape(0).back();
  if (p.output_elements(0) == 0) return;
  p.Emit([=, rows = static_cast<int32_t>(p.elements(0) / depth), in = p.in(0), out = p.out(0)](RunContext& run) noexcept {
    run.Parallel(rows, 2 * depth, [&](kernels::Range range, int) {
      for (int64_t r = range.begin; r < range.end; ++r) row(run.get<T>(in) + r * depth, run.get<T>(out) + r * depth, depth);
    });
  });
}

void PrepareL2Normalization(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
  p.CheckOutputType(0, {p.type(0)});
  p.Check(!p.shape(0).empty(), "the input is a scalar");
  p.Check(p.elements(0) <= INT32_MAX, "the input is too large");
  constexpr int kActivation = 0;
  if (p.options().Scalar<int8_t>(kActivation) != 0) p.Refuse(StatusCode::kUnimplemented, "a fused activation");
  p.SetShape(0, p.shape(0));
  if (p.type(0) == TensorType::kFloat32)
    return EmitRows<float>(p, [k = &p.kernels()](const float* x, float* y, int64_t depth) { NormalizeRow(*k, x, y, depth); });
  const int32_t zero_point = CheckedAffine(p, 0).zero_point;
  const Prepare::Affine output = CheckedOutputAffine(p, 0);
  const bool is_signed = p.type(0) == TensorType::kInt8;
  p.Check(output.scale == 1.0f / 128 && output.zero_point == (is_signed ? 0 : 128), "the output has the scale ", output.scale,
          " and the zero point ", output.zero_point, ", expected 1/128 and ", is_signed ? 0 : 128);
  if (is_signed) {
    EmitRows<int8_t>(p, [zero_point](const int8_t* x, int8_t* y, int64_t depth) { NormalizeRow(x, y, depth, zero_point); });
  } else {
    EmitRows<uint8_t>(p, [zero_point](const uint8_t* x, uint8_t* y, int64_t depth) { NormalizeRow(x, y, depth, zero_point); });
  }
}

constexpr OpDef kOps[] = {
    {.name = "L2_NORMALIZATION", .prepare = PrepareL2Normalization},
};

}  // namespace

std::span<const OpDef> l2_normalization_ops() { return kOps; }

}  // namespace sigrun::ops
