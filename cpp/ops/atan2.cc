#include <cmath>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/broadcast.h"

// ATAN2 of two operands.
namespace sigrun::ops {
namespace {

void PrepareAtan2(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  WithType<F32, F64, F16, BF16>(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
    EmitBinaryOp<T, T>(p, 32, [](T y, T x) { return T(std::atan2(static_cast<Wide>(y), static_cast<Wide>(x))); });
  });
}

constexpr OpDef kOps[] = {
    {.name = "ATAN2", .prepare = PrepareAtan2},
};

}  // namespace

std::span<const OpDef> atan2_ops() { return kOps; }

}  // namespace sigrun::ops
