#include <string>

#include "ops/op.h"

// RESHAPE, SQUEEZE, EXPAND_DIMS, and what undoes the latter, which only a graph has: another shape over the same bytes. IDENTITY, which
// only a graph has, too: not even another shape. Nothing runs.
namespace sigrun::ops {
namespace {

// The new shape with its one -1, if any, filled in.
Shape Resolve(const Prepare& p, const std::vector<int64_t>& wanted) {
  const int64_t total = p.elements(0);
  int64_t known = 1;
  int unknown = -1;
  Shape shape;
  for (size_t i = 0; i < wanted.size(); ++i) {
    p.Check(wanted[i] >= -1 && wanted[i] <= INT32_MAX, "dimension ", wanted[i], " in the new shape");
    if (wanted[i] == -1) {
      p.Check(unknown < 0, "more than one -1 in the new shape");
      unknown = static_cast<int>(i);
      shape.push_back(1);
      continue;
    }
    shape.push_back(static_cast<int32_t>(wanted[i]));
    p.Check(wanted[i] == 0 || known <= (int64_t{1} << 40) / wanted[i], "the new shape is too large");
    known *= wanted[i];
  }
  if (unknown >= 0) {
    p.Check(known == 0 ? total == 0 : total % known == 0, "the input ", ToString(p.shape(0)), " does not divide into the new shape ",
            ToString(shape));
    shape[static_cast<size_t>(unknown)] = known == 0 ? 0 : static_cast<int32_t>(total / known);
    known *= shape[static_cast<size_t>(unknown)];
  }
  p.Check(known == total, "the input ", ToString(p.shape(0)), " has ", total, " elements, the new shape ", ToString(shape), " has ", known);
  return shape;
}

std::vector<int64_t> WantedShape(const Prepare& p) {
  if (p.has_input(1)) return p.ConstantInts(1, "new shape");
  const auto option = p.options().Scalars<int32_t>(0, "new_shape");
  std::vector<int64_t> wanted;
  for (uint32_t i = 0; i < option.size(); ++i) wanted.push_back(option[i]);
  // Old converters wrote a scalar's shape as [0].
  if (wanted.size() == 1 && wanted[0] == 0) wanted.clear();
  return wanted;
}

void PrepareReshape(Prepare& p) {
  p.CheckCounts(1, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, Resolve(p, WantedShape(p)));
  p.Alias(0, 0);
}

void PrepareSqueeze(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& in = p.shape(0);
  const auto axes = p.options().Scalars<int32_t>(0, "squeeze_dims");
  const int32_t rank = static_cast<int32_t>(in.size());
  std::vector<bool> drop(in.size(), false);
  for (int32_t d = 0; d < rank && axes.empty(); ++d) drop[static_cast<size_t>(d)] = in[static_cast<size_t>(d)] == 1;
  for (uint32_t i = 0; i < axes.size(); ++i) {
    const int32_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    p.Check(axis >= 0 && axis < rank, "axis ", axes[i], " of an input of rank ", rank);
    p.Check(in[static_cast<size_t>(axis)] == 1, "axis ", axes[i], " of ", ToString(in), " is not 1");
    drop[static_cast<size_t>(axis)] = true;
  }
  Shape out;
  for (size_t d = 0; d < in.size(); ++d) {
    if (!drop[d]) out.push_back(in[d]);
  }
  p.SetShape(0, out);
  p.Alias(0, 0);
}

// The one axis of an operator that takes it as an operand, for so many dimensions.
int64_t ReadAxis(const Prepare& p, int64_t rank) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const std::vector<int64_t> axes = p.ConstantInts(1, "axis");
  p.Check(axes.size() == 1, "axis has ", axes.size(), " elements, expected 1");
  const int64_t axis = axes[0] < 0 ? axes[0] + rank : axes[0];
  p.Check(axis >= 0 && axis < rank, "axis ", axes[0], " for an input of rank ", p.shape(0).size());
  return axis;
}

void PrepareExpandDims(Prepare& p) {
  Shape out = p.shape(0);
  out.insert(out.begin() + ReadAxis(p, static_cast<int64_t>(out.size()) + 1), 1);
  p.SetShape(0, out);
  p.Alias(0, 0);
}

void PrepareDropAxis(Prepare& p) {
  Shape out = p.shape(0);
  const auto axis = out.begin() + ReadAxis(p, static_cast<int64_t>(out.size()));
  p.Check(*axis == 1, "an axis of ", *axis, " in ", ToString(out));
  out.erase(axis);
  p.SetShape(0, out);
  p.Alias(0, 0);
}

void PrepareIdentity(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
  p.Alias(0, 0);
}

constexpr OpDef kOps[] = {
    {.name = "RESHAPE", .prepare = PrepareReshape},        {.name = "SQUEEZE", .prepare = PrepareSqueeze},
    {.name = "EXPAND_DIMS", .prepare = PrepareExpandDims}, {.name = "IDENTITY", .prepare = PrepareIdentity},
    {.name = "FlexIdentity", .prepare = PrepareIdentity},  {.name = "sigrun.drop_axis", .prepare = PrepareDropAxis},
};

}  // namespace

std::span<const OpDef> reshape_ops() { return kOps; }

}  // namespace sigrun::ops
