#include "ops/op.h"
#include "ops/support/strided_copy.h"

// SPLIT into equal parts along an axis, SPLIT_V into parts of given sizes.
namespace sigrun::ops {
namespace {

// Cuts input `value` along `axis` into the outputs, which take sizes[o] entries each.
void EmitParts(Prepare& p, int value, size_t axis, const std::vector<int64_t>& sizes) {
  const Shape& input = p.shape(value);
  const int64_t outer = Product(input, 0, axis), inner = Product(input, axis + 1, input.size());
  for (int o = 0; o < p.outputs(); ++o) {
    p.CheckOutputType(o, {p.type(value)});
    Shape shape = input;
    shape[axis] = static_cast<int32_t>(sizes[static_cast<size_t>(o)]);
    p.SetShape(o, shape);
  }
  if (p.outputs() == 1) return p.Alias(0, value);
  const TensorType type = p.type(value);
  if (outer > 1 && outer <= INT32_MAX && type != TensorType::kString && TensorTypeBits(type) >= 8 && p.elements(value) > 0) {
    std::vector<Piece> pieces;
    for (int o = 0; o < p.outputs(); ++o) pieces.push_back({p.out(o), sizes[static_cast<size_t>(o)] * inner * TensorTypeBits(type) / 8});
    return EmitPieces(p, outer, p.in(value), std::move(pieces), false);
  }
  int64_t at = 0;
  for (int o = 0; o < p.outputs(); ++o) {
    const int64_t size = sizes[static_cast<size_t>(o)];
    const CopyLoop loops[] = {{outer, input[axis] * inner, size * inner}, {size * inner, 1, 1}};
    EmitCopy(p, value, o, PlanCopy(p, loops, at, 0));
    at += size * inner;
  }
}

void CheckSplits(const Prepare& p) {
  const int32_t splits = p.options().Scalar<int32_t>(0);
  p.Check(p.outputs() >= 1 && splits == p.outputs(), "num_splits is ", splits, ", it has ", p.outputs(), " outputs");
}

void PrepareSplit(Prepare& p) {
  p.CheckCounts(2, 2, p.outputs());
  CheckSplits(p);
  const size_t axis = ResolveAxis(p, ConstantInt(p, 0, "axis"), p.shape(1).size());
  const int32_t size = p.shape(1)[axis];
  p.Check(size % p.outputs() == 0, "dimension ", axis, " of the input ", ToString(p.shape(1)), " does not divide into ", p.outputs(),
          " parts");
  EmitParts(p, 1, axis, std::vector<int64_t>(static_cast<size_t>(p.outputs()), size / p.outputs()));
}

void PrepareSplitV(Prepare& p) {
  p.CheckCounts(3, 3, p.outputs());
  CheckSplits(p);
  const size_t axis = ResolveAxis(p, ConstantInt(p, 2, "axis"), p.shape(0).size());
  const int64_t whole = p.shape(0)[axis];
  std::vector<int64_t> sizes = p.ConstantInts(1, "sizes");
  p.Check(sizes.size() == static_cast<size_t>(p.outputs()), "sizes has ", sizes.size(), " elements for ", p.outputs(), " outputs");
  int64_t known = 0, unknown = -1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    p.Check(sizes[i] >= -1 && sizes[i] <= whole, "part ", i, " has size ", sizes[i], " of ", whole);
    p.Check(sizes[i] >= 0 || unknown < 0, "more than one -1 in sizes");
    if (sizes[i] < 0) unknown = static_cast<int64_t>(i);
    known += sizes[i] < 0 ? 0 : sizes[i];
  }
  if (unknown >= 0 && known <= whole) sizes[static_cast<size_t>(unknown)] = whole - known;
  p.Check(unknown >= 0 ? known <= whole : known == whole, "the sizes add up to ", known, ", the input has ", whole, " along axis ", axis);
  EmitParts(p, 0, axis, sizes);
}

constexpr OpDef kOps[] = {
    {.name = "SPLIT", .prepare = PrepareSplit},
    {.name = "SPLIT_V", .prepare = PrepareSplitV},
};

}  // namespace

std::span<const OpDef> split_ops() { return kOps; }

}  // namespace sigrun::ops
