#include <algorithm>

#include "ops/op.h"
#include "ops/support/numbers.h"
#include "ops/support/strided_copy.h"

// REVERSE_V2: whole axes backwards. REVERSE_SEQUENCE: of every batch entry the first few steps.
namespace sigrun::ops {
namespace {

void PrepareReverse(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& shape = p.shape(0);
  std::vector<bool> reversed(shape.size(), false);
  for (const int64_t axis : p.ConstantInts(1, "axes")) {
    const size_t d = ResolveAxis(p, axis, shape.size());
    p.Check(!reversed[d], "axis ", d, " is named twice");
    reversed[d] = true;
  }
  p.SetShape(0, shape);
  const std::vector<int64_t> strides = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  int64_t from = 0;
  for (size_t d = 0; d < shape.size(); ++d) {
    const bool backwards = reversed[d] && shape[d] > 1;
    if (backwards) from += (shape[d] - 1) * strides[d];
    loops.push_back({shape[d], backwards ? -strides[d] : strides[d], strides[d]});
  }
  if (from == 0) return p.Alias(0, 0);
  EmitCopy(p, 0, 0, PlanCopy(p, loops, from));
}

// The input as [outer, first, middle, second, inner], where the first and the second are the batch and the steps, or the other way round.
struct Sequences {
  int64_t outer, first, middle, second, inner;
  bool steps_first;
};

template <class T, class I>
void RunReverseSequence(RunContext& run, const Sequences& s, const T* from, const I* lengths, T* to) {
  const int64_t batch = s.steps_first ? s.second : s.first, steps = s.steps_first ? s.first : s.second;
  for (int64_t b = 0; b < batch; ++b) {
    if (lengths[b] < 0 || lengths[b] > steps)
      return run.Fail(Concat("length ", lengths[b], " of sequence ", b, " is outside [0, ", steps, "]"));
  }
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.first; ++i) {
      for (int64_t m = 0; m < s.middle; ++m) {
        for (int64_t j = 0; j < s.second; ++j, to += s.inner) {
          const int64_t length = static_cast<int64_t>(lengths[s.steps_first ? j : i]);
          const int64_t step = s.steps_first ? i : j;
          const int64_t source = step < length ? length - 1 - step : step;
          const int64_t first = s.steps_first ? source : i, second = s.steps_first ? j : source;
          CopyElements(from + (((o * s.first + first) * s.middle + m) * s.second + second) * s.inner, to, s.inner);
        }
      }
    }
  }
}

void PrepareReverseSequence(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& shape = p.shape(0);
  const size_t steps = ResolveAxis(p, p.options().Scalar<int32_t>(0), shape.size());
  const size_t batch = ResolveAxis(p, p.options().Scalar<int32_t>(1), shape.size());
  p.Check(steps != batch, "the sequences and the batch are both axis ", steps);
  p.Check(p.shape(1).size() == 1 && p.shape(1)[0] == shape[batch], "lengths of shape ", ToString(p.shape(1)), " for a batch of ",
          shape[batch]);
  p.SetShape(0, shape);
  const size_t a = std::min(steps, batch), b = std::max(steps, batch);
  const Sequences s{Product(shape, 0, a), shape[a], Product(shape, a + 1, b), shape[b], Product(shape, b + 1, shape.size()), a == steps};
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    WithType<I32, I64>(p, p.type(1), "lengths", [&]<class I>(std::type_identity<I>) {
      p.Emit([s, x = p.in(0), i = p.in(1), y = p.out(0)](RunContext& run) noexcept {
        RunReverseSequence(run, s, Elements<const T>(run, x), run.get<I>(i), Elements<T>(run, y));
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "REVERSE_V2", .prepare = PrepareReverse},
    {.name = "REVERSE_SEQUENCE", .prepare = PrepareReverseSequence},
};

}  // namespace

std::span<const OpDef> reverse_ops() { return kOps; }

}  // namespace sigrun::ops
