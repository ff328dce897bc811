#include <algorithm>

#include "ops/op.h"
#include "ops/support/strided_copy.h"

// DYNAMIC_UPDATE_SLICE: the operand with a box of it replaced by `update`, at indices that are moved so that the box lies inside.
namespace sigrun::ops {
namespace {

struct Start {
  size_t rank = 0;
  int64_t last[kMaxLoops];  // the largest start at which the update still fits
  int64_t stride[kMaxLoops];

  template <class I>
  int64_t Offset(const I* indices) const {
    int64_t at = 0;
    for (size_t d = 0; d < rank; ++d) at += std::clamp<int64_t>(indices[d], 0, last[d]) * stride[d];
    return at;
  }
};

template <class T, class I>
void EmitUpdate(Prepare& p, const Start& start, const StridedCopy& copy) {
  if (p.node().inputs[0] != p.node().inputs[1]) p.MayOverwrite(0, 0);
  p.Emit([=, n = p.elements(0), x = p.in(0), u = p.in(1), s = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    const T* from = Elements<const T>(run, x);
    T* to = Elements<T>(run, y);
    if (from != to) ForElements(run, n, 1, [&](int64_t begin, int64_t count) { CopyElements(from + begin, to + begin, count); });
    if (!copy.empty) RunCopy(run, copy, Elements<const T>(run, u), to + start.Offset(run.get<I>(s)));
  });
}

void PrepareDynamicUpdateSlice(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckType(2, {TensorType::kInt32, TensorType::kInt64});
  p.CheckOutputType(0, {p.type(0)});
  const Shape& operand = p.shape(0);
  const Shape& update = p.shape(1);
  p.Check(update.size() == operand.size(), "the update ", ToString(update), " has not the rank of the operand ", ToString(operand));
  p.Check(p.shape(2).size() <= 1 && p.elements(2) == static_cast<int64_t>(operand.size()), "start indices of shape ", ToString(p.shape(2)),
          " for an operand of rank ", operand.size());
  if (operand.size() > kMaxLoops) p.Refuse(StatusCode::kUnimplemented, Concat("an operand of rank ", operand.size()));
  const std::vector<int64_t> from = DenseStrides(update), to = DenseStrides(operand);
  Start start;
  start.rank = operand.size();
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < operand.size(); ++d) {
    p.Check(update[d] <= operand[d], "the update ", ToString(update), " is larger than the operand ", ToString(operand));
    start.last[d] = operand[d] - update[d];
    start.stride[d] = to[d];
    loops.push_back({update[d], from[d], to[d]});
  }
  p.SetShape(0, operand);
  const StridedCopy copy = PlanCopy(p, loops);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    if (p.type(2) == TensorType::kInt64) {
      EmitUpdate<T, int64_t>(p, start, copy);
    } else {
      EmitUpdate<T, int32_t>(p, start, copy);
    }
  });
}

constexpr OpDef kOps[] = {{.name = "DYNAMIC_UPDATE_SLICE", .prepare = PrepareDynamicUpdateSlice}};

}  // namespace

std::span<const OpDef> dynamic_update_slice_ops() { return kOps; }

}  // namespace sigrun::ops
