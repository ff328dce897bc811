#include <algorithm>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// BUCKETIZE: how many of the boundaries do not exceed the element.
namespace sigrun::ops {
namespace {

void PrepareBucketize(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kInt32});
  const auto stored = p.options().Scalars<float>(0, "boundaries");
  std::vector<float> boundaries;
  for (uint32_t i = 0; i < stored.size(); ++i) boundaries.push_back(stored[i]);
  p.Check(std::is_sorted(boundaries.begin(), boundaries.end()), "the boundaries are not sorted");
  p.SetShape(0, p.shape(0));
  WithType<F32, F64, I32, I64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit([boundaries, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      const T* from = run.get<T>(x);
      int32_t* to = run.get<int32_t>(y);
      for (int64_t i = 0; i < n; ++i)
        to[i] = static_cast<int32_t>(std::upper_bound(boundaries.begin(), boundaries.end(), from[i]) - boundaries.begin());
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "BUCKETIZE", .prepare = PrepareBucketize},
};

}  // namespace

std::span<const OpDef> bucketize_ops() { return kOps; }

}  // namespace sigrun::ops
