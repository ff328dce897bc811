#include "ops/op.h"
#include "ops/support/strided_copy.h"

// TRANSPOSE.
namespace sigrun::ops {
namespace {

void PrepareTranspose(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  const std::vector<int64_t> permutation = p.ConstantInts(1, "permutation");
  p.Check(permutation.size() == input.size(), "the permutation has ", permutation.size(), " elements for an input of rank ", input.size());
  const std::vector<int64_t> from = DenseStrides(input);
  std::vector<bool> seen(input.size(), false);
  Shape shape;
  std::vector<CopyLoop> loops;
  for (const int64_t axis : permutation) {
    const size_t d = ResolveAxis(p, axis, input.size());
    p.Check(!seen[d], "axis ", axis, " occurs twice in the permutation");
    seen[d] = true;
    shape.push_back(input[d]);
    loops.push_back({input[d], from[d], 0});
  }
  p.SetShape(0, shape);
  const std::vector<int64_t> to = DenseStrides(shape);
  for (size_t d = 0; d < loops.size(); ++d) loops[d].to = to[d];
  const StridedCopy copy = PlanCopy(p, loops);
  if (copy.empty || copy.contiguous()) return p.Alias(0, 0);
  EmitCopy(p, 0, 0, copy);
}

constexpr OpDef kOps[] = {{.name = "TRANSPOSE", .prepare = PrepareTranspose}};

}  // namespace

std::span<const OpDef> transpose_ops() { return kOps; }

}  // namespace sigrun::ops
