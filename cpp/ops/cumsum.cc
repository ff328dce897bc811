#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// CUMSUM along a constant axis.
namespace sigrun::ops {
namespace {

enum Field : int { kExclusive, kReverse };

void PrepareCumsum(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& shape = p.shape(0);
  p.Check(!shape.empty(), "the input is a scalar");
  const size_t axis = ResolveAxis(p, KnownInt(p, 1, "axis"), shape.size());
  const bool exclusive = p.options().Bool(kExclusive), reverse = p.options().Bool(kReverse);
  const int64_t outer = Product(shape, 0, axis), size = shape[axis], inner = Product(shape, axis + 1, shape.size());
  p.SetShape(0, shape);
  WithType<F32, F64, I32, I64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      for (int64_t o = 0; o < outer; ++o) {
        const T* from = run.get<T>(x) + o * size * inner;
        T* to = run.get<T>(y) + o * size * inner;
        for (int64_t k = 0; k < size; ++k) {
          const int64_t at = (reverse ? size - 1 - k : k) * inner;
          const int64_t before = reverse ? at + inner : at - inner;
          const T* last = k > 0 ? to + before : nullptr;
          const T* added = exclusive ? (k > 0 ? from + before : nullptr) : from + at;
          for (int64_t c = 0; c < inner; ++c) to[at + c] = Plus(last == nullptr ? T{0} : last[c], added == nullptr ? T{0} : added[c]);
        }
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "CUMSUM", .prepare = PrepareCumsum},
};

}  // namespace

std::span<const OpDef> cumsum_ops() { return kOps; }

}  // namespace sigrun::ops
