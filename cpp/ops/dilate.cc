#include <algorithm>

#include "ops/op.h"
#include "ops/support/numbers.h"
#include "ops/support/strided_copy.h"

// DILATE: the elements of every dimension drawn apart, a value between them.
namespace sigrun::ops {
namespace {

void PrepareDilate(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckType(2, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  const std::vector<int64_t> dilations = p.ConstantInts(1, "dilations");
  p.Check(dilations.size() == input.size(), dilations.size(), " dilations for an input of rank ", input.size());
  p.Check(p.elements(2) == 1, "the padding value has ", p.elements(2), " elements, expected 1");
  Shape shape;
  for (size_t d = 0; d < input.size(); ++d) {
    p.Check(dilations[d] >= 1 && dilations[d] <= INT32_MAX, "dilation ", dilations[d]);
    const int64_t size = input[d] == 0 ? 0 : (input[d] - 1) * dilations[d] + 1;
    p.Check(size <= INT32_MAX, "dimension ", d, " of the output would be ", size);
    shape.push_back(static_cast<int32_t>(size));
  }
  p.SetShape(0, shape);
  if (shape == input) return p.Alias(0, 0);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([n = p.output_elements(0), x = p.in(2), y = p.out(0)](RunContext& run) noexcept {
      std::fill_n(Elements<T>(run, y), n, *Elements<const T>(run, x));
    });
  });
  const std::vector<int64_t> from = DenseStrides(input), to = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < input.size(); ++d) loops.push_back({input[d], from[d], to[d] * dilations[d]});
  EmitCopy(p, 0, 0, PlanCopy(p, loops));
}

constexpr OpDef kOps[] = {
    {.name = "DILATE", .prepare = PrepareDilate},
};

}  // namespace

std::span<const OpDef> dilate_ops() { return kOps; }

}  // namespace sigrun::ops
