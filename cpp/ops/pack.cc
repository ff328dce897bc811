#include "ops/op.h"
#include "ops/support/strided_copy.h"

// PACK: inputs of one shape along a new axis. UNPACK: the other way round.
namespace sigrun::ops {
namespace {

void PreparePack(Prepare& p) {
  p.Check(p.inputs() >= 1, "it has no inputs");
  p.CheckCounts(p.inputs(), p.inputs(), 1);
  p.CheckOutputType(0, {p.type(0)});
  const int32_t count = p.options().Scalar<int32_t>(0);
  p.Check(count == p.inputs(), "values_count is ", count, ", it has ", p.inputs(), " inputs");
  Shape shape = p.shape(0);
  for (int i = 1; i < p.inputs(); ++i) {
    p.CheckType(i, {p.type(0)});
    p.Check(p.shape(i) == shape, "input ", i, " has shape ", ToString(p.shape(i)), ", input 0 ", ToString(shape));
  }
  const size_t axis = ResolveAxis(p, p.options().Scalar<int32_t>(1), shape.size() + 1);
  const int64_t outer = Product(shape, 0, axis), piece = Product(shape, axis, shape.size());
  shape.insert(shape.begin() + static_cast<ptrdiff_t>(axis), p.inputs());
  p.SetShape(0, shape);
  if (p.inputs() == 1) return p.Alias(0, 0);
  for (int i = 0; i < p.inputs(); ++i) {
    const CopyLoop loops[] = {{outer, piece, piece * p.inputs()}, {piece, 1, 1}};
    EmitCopy(p, i, 0, PlanCopy(p, loops, 0, i * piece));
  }
}

void PrepareUnpack(Prepare& p) {
  p.CheckCounts(1, 1, p.outputs());
  Shape shape = p.shape(0);
  const int32_t count = p.options().Scalar<int32_t>(0);
  const size_t axis = ResolveAxis(p, p.options().Scalar<int32_t>(1), shape.size());
  p.Check(count == p.outputs() && count == shape[axis], "num is ", count, ", it has ", p.outputs(), " outputs, the input has shape ",
          ToString(shape));
  const int64_t outer = Product(shape, 0, axis), piece = Product(shape, axis + 1, shape.size());
  shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis));
  for (int o = 0; o < p.outputs(); ++o) {
    p.CheckOutputType(o, {p.type(0)});
    p.SetShape(o, shape);
  }
  if (count == 1) return p.Alias(0, 0);
  for (int o = 0; o < p.outputs(); ++o) {
    const CopyLoop loops[] = {{outer, piece * count, piece}, {piece, 1, 1}};
    EmitCopy(p, 0, o, PlanCopy(p, loops, o * piece, 0));
  }
}

constexpr OpDef kOps[] = {
    {.name = "PACK", .prepare = PreparePack},
    {.name = "UNPACK", .prepare = PrepareUnpack},
};

}  // namespace

std::span<const OpDef> pack_ops() { return kOps; }

}  // namespace sigrun::ops
