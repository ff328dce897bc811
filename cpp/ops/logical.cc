#include "ops/op.h"
#include "ops/support/broadcast.h"

// LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT on BOOL.
namespace sigrun::ops {
namespace {

// Bytes are read, not bools: a file may hold any.
struct And {
  bool operator()(uint8_t a, uint8_t b) const { return a != 0 && b != 0; }
};
struct Or {
  bool operator()(uint8_t a, uint8_t b) const { return a != 0 || b != 0; }
};

template <class Op>
void PrepareLogical(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(0, {TensorType::kBool});
  p.CheckType(1, {TensorType::kBool});
  p.CheckOutputType(0, {TensorType::kBool});
  EmitBinaryOp<uint8_t, bool>(p, 1, Op());
}

void PrepareNot(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kBool});
  p.CheckOutputType(0, {TensorType::kBool});
  p.SetShape(0, p.shape(0));
  p.MayOverwrite(0, 0);
  p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const uint8_t* from = run.get<uint8_t>(x);
    bool* to = run.get<bool>(y);
    for (int64_t i = 0; i < n; ++i) to[i] = from[i] == 0;
  });
}

constexpr OpDef kOps[] = {
    {.name = "LOGICAL_AND", .prepare = PrepareLogical<And>},
    {.name = "LOGICAL_OR", .prepare = PrepareLogical<Or>},
    {.name = "LOGICAL_NOT", .prepare = PrepareNot},
};

}  // namespace

std::span<const OpDef> logical_ops() { return kOps; }

}  // namespace sigrun::ops
