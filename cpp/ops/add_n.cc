#include <algorithm>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// ADD_N: the sum of any number of tensors of one shape.
namespace sigrun::ops {
namespace {

void PrepareAddN(Prepare& p) {
  p.Check(p.inputs() >= 1, "it has no inputs");
  p.CheckCounts(p.inputs(), p.inputs(), 1);
  p.CheckOutputType(0, {p.type(0)});
  for (int i = 1; i < p.inputs(); ++i) {
    p.CheckType(i, {p.type(0)});
    p.Check(p.shape(i) == p.shape(0), "input ", i, " has shape ", ToString(p.shape(i)), ", input 0 ", ToString(p.shape(0)));
  }
  p.SetShape(0, p.shape(0));
  WithType<F32, F64, I32, I64>(p, p.type(0), "inputs", [&]<class T>(std::type_identity<T>) {
    std::vector<Slot> inputs;
    for (int i = 0; i < p.inputs(); ++i) inputs.push_back(p.in(i));
    p.Emit([inputs, n = p.elements(0), y = p.out(0)](RunContext& run) noexcept {
      T* to = run.get<T>(y);
      ForElements(run, n, static_cast<int64_t>(inputs.size()), [&](int64_t begin, int64_t count) {
        std::fill_n(to + begin, count, T{0});
        for (const Slot slot : inputs) {
          const T* from = run.get<T>(slot);
          for (int64_t i = begin; i < begin + count; ++i) to[i] = Plus(to[i], from[i]);
        }
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "ADD_N", .prepare = PrepareAddN, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> add_n_ops() { return kOps; }

}  // namespace sigrun::ops
