#include <bit>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/broadcast.h"

// SELECT and SELECT_V2: elements of one operand or the other, of any type.
namespace sigrun::ops {
namespace {

template <class T>
void ChooseRun(const kernels::ElementKernels& kernels, const uint8_t* condition, const T* yes, const T* no, T* to, int64_t n,
               const bool* fixed) {
  if (fixed[0]) {
    const T* from = *condition ? yes : no;
    if (!fixed[*condition ? 1 : 2]) return CopyElements(from, to, n);
  }
  if constexpr (std::is_trivially_copyable_v<T> && sizeof(T) <= 8) {
    constexpr size_t kLog2 = static_cast<size_t>(std::countr_zero(sizeof(T)));
    if (!fixed[0]) return kernels.choose[kLog2](condition, yes, no, to, static_cast<size_t>(n), fixed[1], fixed[2]);
  }
  const int64_t step_c = fixed[0] ? 0 : 1, step_y = fixed[1] ? 0 : 1, step_n = fixed[2] ? 0 : 1;
  for (int64_t i = 0; i < n; ++i) to[i] = condition[i * step_c] ? yes[i * step_y] : no[i * step_n];
}

// Inputs: condition of shape `condition`, then the two that are chosen from; the output has its shape.
void EmitSelect(Prepare& p, const Shape& condition) {
  const BroadcastPlan plan = PlanBroadcast(p, {condition, p.shape(1), p.shape(2)}, p.output_shape(0));
  WithElement(p, p.type(1), [&]<class T>(std::type_identity<T>) {
    p.Emit([plan, &kernels = *p.kernels().elements, c = p.in(0), a = p.in(1), b = p.in(2), y = p.out(0)](RunContext& run) noexcept {
      const uint8_t* condition_data = run.get<uint8_t>(c);
      const T* yes = Elements<const T>(run, a);
      const T* no = Elements<const T>(run, b);
      T* to = Elements<T>(run, y);
      ForRuns(run, plan, 2, [&](const Offsets& at, int64_t out, int64_t n) {
        ChooseRun(kernels, condition_data + at[0], yes + at[1], no + at[2], to + out, n, plan.fixed);
      });
    });
  });
}

void CheckSelect(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckType(0, {TensorType::kBool});
  p.CheckType(2, {p.type(1)});
  p.CheckOutputType(0, {p.type(1)});
}

// The condition is a scalar, of the operands' shape, or one value for each entry of their first dimension.
void PrepareSelect(Prepare& p) {
  CheckSelect(p);
  const Shape& shape = p.shape(1);
  p.Check(p.shape(2) == shape, "its operands have the shapes ", ToString(shape), " and ", ToString(p.shape(2)));
  Shape condition = p.shape(0);
  if (condition.size() == 1 && shape.size() > 1 && condition[0] == shape[0]) condition.resize(shape.size(), 1);
  p.Check(condition.empty() || p.elements(0) == 1 || condition == shape ||
              (condition.size() == shape.size() && condition[0] == shape[0] && p.elements(0) == shape[0]),
          "the condition ", ToString(p.shape(0)), " does not fit operands of shape ", ToString(shape));
  if (p.elements(0) == 1) condition.clear();
  p.SetShape(0, shape);
  EmitSelect(p, condition);
}

void PrepareSelectV2(Prepare& p) {
  CheckSelect(p);
  p.SetShape(0, BroadcastShapes(p, p.shape(0), BroadcastShapes(p, p.shape(1), p.shape(2))));
  EmitSelect(p, p.shape(0));
}

constexpr OpDef kOps[] = {
    {.name = "SELECT", .prepare = PrepareSelect},
    {.name = "SELECT_V2", .prepare = PrepareSelectV2},
};

}  // namespace

std::span<const OpDef> select_ops() { return kOps; }

}  // namespace sigrun::ops
