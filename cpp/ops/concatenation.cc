#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/op.h"
#include "ops/support/lookup.h"
#include "ops/support/quantization.h"
#include "ops/support/strided_copy.h"

// CONCATENATION: the inputs one after the other along an axis. UINT8 inputs of another scale are requantised as the reference does.
namespace sigrun::ops {
namespace {

void CheckInputs(Prepare& p) {
  p.Check(p.inputs() >= 1, "it has no inputs");
  p.CheckCounts(p.inputs(), p.inputs(), 1);
  p.CheckOutputType(0, {p.type(0)});
  constexpr int kActivation = 1;
  if (p.options().Scalar<int8_t>(kActivation) != 0) p.Refuse(StatusCode::kUnimplemented, "a fused activation");
  for (int i = 1; i < p.inputs(); ++i) p.CheckType(i, {p.type(0)});
}

Shape OutputShape(const Prepare& p, size_t axis) {
  Shape shape = p.shape(0);
  int64_t along = 0;
  for (int i = 0; i < p.inputs(); ++i) {
    const Shape& input = p.shape(i);
    bool fits = input.size() == shape.size();
    for (size_t d = 0; d < shape.size() && fits; ++d) fits = d == axis || input[d] == shape[d];
    p.Check(fits, "input ", i, " of shape ", ToString(input), " does not fit input 0 of shape ", ToString(p.shape(0)), " along axis ",
            axis);
    along += input[axis];
  }
  p.Check(along <= INT32_MAX, "the output has ", along, " entries along axis ", axis);
  shape[axis] = static_cast<int32_t>(along);
  return shape;
}

// Null if input `i` has the output's quantisation.
bool NeedsTable(const Prepare& p, int i) {
  if (p.type(i) != TensorType::kUInt8 || p.quantization(i).empty() || p.output_quantization(0).empty()) return false;
  const Prepare::Affine from = p.affine(i), to = p.output_affine(0);
  return from.scale != to.scale || from.zero_point != to.zero_point;
}

Table8 RequantizeTable(const Prepare& p, int i) {
  const Prepare::Affine from = p.affine(i), to = p.output_affine(0);
  const float scale = from.scale * (1.f / to.scale);
  const float bias = static_cast<float>(-from.zero_point) * scale;
  return MakeTable8(TensorType::kUInt8, [&](int32_t x) {
    const int64_t y = int64_t{RoundToInt(std::round(static_cast<float>(x) * scale + bias))} + to.zero_point;
    return static_cast<int32_t>(std::clamp<int64_t>(y, 0, 255));
  });
}

// Signed inputs are only moved, so they must already have the output's quantisation.
void CheckSameScale(const Prepare& p, int i) {
  if (p.type(i) != TensorType::kInt8 || p.quantization(i).scale.size() != 1 || p.output_quantization(0).scale.size() != 1) return;
  p.Check(p.affine(i).scale == p.output_affine(0).scale && p.affine(i).zero_point == p.output_affine(0).zero_point, "input ", i,
          " and the output have different scales or zero points");
}

void PrepareConcatenation(Prepare& p) {
  CheckInputs(p);
  const size_t rank = p.shape(0).size();
  p.Check(rank > 0, "its inputs are scalars");
  const size_t axis = ResolveAxis(p, p.options().Scalar<int32_t>(0), rank);
  const Shape shape = OutputShape(p, axis);
  p.SetShape(0, shape);
  const int64_t outer = Product(shape, 0, axis), inner = Product(shape, axis + 1, rank), row = shape[axis] * inner;
  int64_t at = 0;
  bool moves = p.inputs() > 1 && outer > 1 && outer <= INT32_MAX && p.type(0) != TensorType::kString && TensorTypeBits(p.type(0)) >= 8;
  for (int i = 0; i < p.inputs(); ++i) {
    CheckSameScale(p, i);
    moves = moves && !NeedsTable(p, i);
  }
  if (moves && p.output_elements(0) > 0) {
    std::vector<Piece> pieces;
    for (int i = 0; i < p.inputs(); ++i) pieces.push_back({p.in(i), p.shape(i)[axis] * inner * TensorTypeBits(p.type(0)) / 8});
    return EmitPieces(p, outer, p.out(0), std::move(pieces), true);
  }
  for (int i = 0; i < p.inputs(); ++i) {
    const int64_t piece = p.shape(i)[axis] * inner;
    if (NeedsTable(p, i)) {
      p.Emit([=, table = RequantizeTable(p, i), kernel = p.kernels().lookup_8, x = p.in(i), y = p.out(0)](RunContext& run) noexcept {
        const uint8_t* from = run.get<uint8_t>(x);
        uint8_t* to = run.get<uint8_t>(y) + at;
        for (int64_t o = 0; o < outer; ++o) kernel(from + o * piece, table.data(), to + o * row, static_cast<size_t>(piece));
      });
    } else {
      const CopyLoop loops[] = {{outer, piece, row}, {piece, 1, 1}};
      EmitCopy(p, i, 0, PlanCopy(p, loops, 0, at));
    }
    at += piece;
  }
}

constexpr OpDef kOps[] = {{.name = "CONCATENATION", .prepare = PrepareConcatenation}};

}  // namespace

std::span<const OpDef> concatenation_ops() { return kOps; }

}  // namespace sigrun::ops
