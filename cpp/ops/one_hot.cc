#include <algorithm>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// ONE_HOT: along a new axis, on_value where the index is the position, else off_value.
namespace sigrun::ops {
namespace {

void PrepareOneHot(Prepare& p) {
  p.CheckCounts(4, 4, 1);
  for (int i = 2; i < 4; ++i) {
    p.CheckType(i, {p.output_type(0)});
    p.Check(p.elements(i) == 1, "input ", i, " has ", p.elements(i), " elements, expected 1");
  }
  const Shape& indices = p.shape(0);
  const int64_t depth = KnownInt(p, 1, "depth");
  p.Check(depth >= 0 && depth <= INT32_MAX, "depth is ", depth);
  const int32_t option = p.options().Scalar<int32_t>(0);
  const size_t axis = ResolveAxis(p, option, indices.size() + 1);
  const int64_t outer = Product(indices, 0, axis), inner = Product(indices, axis, indices.size());
  Shape shape = indices;
  shape.insert(shape.begin() + static_cast<ptrdiff_t>(axis), static_cast<int32_t>(depth));
  p.SetShape(0, shape);
  WithElement(p, p.output_type(0), [&]<class T>(std::type_identity<T>) {
    WithType<I32, I64, U8>(p, p.type(0), "indices", [&]<class I>(std::type_identity<I>) {
      p.Emit([=, i = p.in(0), on = p.in(2), off = p.in(3), y = p.out(0)](RunContext& run) noexcept {
        const I* index = run.get<I>(i);
        T* to = Elements<T>(run, y);
        const T set = *Elements<const T>(run, on);
        FillElements(to, outer * depth * inner, *Elements<const T>(run, off));
        for (int64_t o = 0; o < outer; ++o) {
          for (int64_t c = 0; c < inner; ++c) {
            const int64_t at = static_cast<int64_t>(index[o * inner + c]);
            if (at >= 0 && at < depth) to[(o * depth + at) * inner + c] = set;
          }
        }
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "ONE_HOT", .prepare = PrepareOneHot},
};

}  // namespace

std::span<const OpDef> one_hot_ops() { return kOps; }

}  // namespace sigrun::ops
