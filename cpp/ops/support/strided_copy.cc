#include "ops/support/strided_copy.h"

#include <vector>

namespace sigrun::ops {
namespace {

// Puts a loop along which the input is consecutive next to the innermost one, where CopyTile finds it: the order of the outer loops is
// free.
void PairForTiles(StridedCopy& copy) {
  if (copy.loops < 3 || copy.loop[copy.loops - 1].from == 1) return;
  for (int d = 0; d < copy.loops - 2; ++d) {
    if (copy.loop[d].from != 1) continue;
    std::swap(copy.loop[d], copy.loop[copy.loops - 2]);
    return;
  }
}

}  // namespace

std::vector<int64_t> DenseStrides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

StridedCopy PlanCopy(const Prepare& p, std::span<const CopyLoop> loops, int64_t from, int64_t to) {
  StridedCopy copy;
  copy.from = from;
  copy.to = to;
  std::vector<CopyLoop> kept;
  for (const CopyLoop& loop : loops) {
    if (loop.extent == 0) copy.empty = true;
    if (loop.extent == 1) continue;
    const bool joins = !kept.empty() && kept.back().from == loop.from * loop.extent && kept.back().to == loop.to * loop.extent;
    if (joins) {
      kept.back() = {kept.back().extent * loop.extent, loop.from, loop.to};
    } else {
      kept.push_back(loop);
    }
  }
  if (copy.empty) return copy;
  if (kept.size() > kMaxLoops) p.Refuse(StatusCode::kUnimplemented, "a copy over too many dimensions");
  int64_t outer = 1;
  for (size_t d = 0; d + 1 < kept.size(); ++d) outer *= kept[d].extent;
  p.Check(outer <= INT32_MAX, "a copy of too many pieces");
  copy.loops = static_cast<int>(kept.size());
  std::copy(kept.begin(), kept.end(), copy.loop);
  PairForTiles(copy);
  return copy;
}

void EmitCopy(Prepare& p, int input, int output, const StridedCopy& copy) {
  if (copy.empty) return;
  WithElement(p, p.type(input), [&]<class T>(std::type_identity<T>) {
    p.Emit([copy, x = p.in(input), y = p.out(output)](RunContext& run) noexcept {
      RunCopy(run, copy, Elements<const T>(run, x), Elements<T>(run, y));
    });
  });
}

}  // namespace sigrun::ops
