#include <algorithm>

#include "ops/op.h"
#include "ops/support/numbers.h"

// BROADCAST_ARGS: the shape that two shapes, given as tensors, broadcast to.
namespace sigrun::ops {
namespace {

void PrepareBroadcastArgs(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  for (int i = 0; i < 2; ++i) p.Check(p.shape(i).size() == 1, "input ", i, " has shape ", ToString(p.shape(i)), ", expected a vector");
  const int32_t ranks[] = {p.shape(0)[0], p.shape(1)[0]};
  const int32_t rank = std::max(ranks[0], ranks[1]);
  p.SetShape(0, {rank});
  WithType<I32, I64>(p, p.type(0), "shapes", [&]<class T>(std::type_identity<T>) {
    p.Emit([=, a = p.in(0), b = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      for (int32_t d = 1; d <= rank; ++d) {
        const T u = d <= ranks[0] ? run.get<T>(a)[ranks[0] - d] : 1, v = d <= ranks[1] ? run.get<T>(b)[ranks[1] - d] : 1;
        if (u != v && u != 1 && v != 1) return run.Fail(Concat("dimensions ", u, " and ", v, " do not broadcast"));
        run.get<T>(y)[rank - d] = u == 1 ? v : u;
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "BROADCAST_ARGS", .prepare = PrepareBroadcastArgs},
};

}  // namespace

std::span<const OpDef> broadcast_args_ops() { return kOps; }

}  // namespace sigrun::ops
