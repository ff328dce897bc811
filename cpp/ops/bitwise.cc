#include <algorithm>

#include "ops/op.h"
#include "ops/support/broadcast.h"
#include "ops/support/numbers.h"

// BITCAST, BITWISE_XOR, RIGHT_SHIFT.
namespace sigrun::ops {
namespace {

// The same bytes as elements of another width: the last dimension counts the narrow elements of a wide one.
void PrepareBitcast(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  const int from = TensorTypeBits(p.type(0)), to = TensorTypeBits(p.output_type(0));
  if (from < 8 || to < 8) {
    p.Refuse(StatusCode::kUnimplemented, Concat("from ", TensorTypeName(p.type(0)), " to ", TensorTypeName(p.output_type(0))));
  }
  Shape shape = p.shape(0);
  if (from > to) {
    shape.push_back(from / to);
  } else if (from < to) {
    p.Check(!shape.empty() && shape.back() == to / from, "an input of shape ", ToString(shape), ", expected ", to / from,
            " in its last dimension");
    shape.pop_back();
  }
  p.SetShape(0, shape);
  p.Alias(0, 0);
}

void CheckOperands(const Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
}

void PrepareXor(Prepare& p) {
  CheckOperands(p);
  WithType<I8, U8, I16, U16, I32, U32, I64, U64>(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    EmitBinaryOp<T, T>(p, 1, [](T a, T b) { return static_cast<T>(a ^ b); });
  });
}

void PrepareRightShift(Prepare& p) {
  CheckOperands(p);
  WithType<I8, U8, I16, U16, I32, U32, I64, U64>(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    EmitBinaryOp<T, T>(p, 1, [](T a, T b) { return static_cast<T>(a >> std::clamp<T>(b, 0, sizeof(T) * 8 - 1)); });
  });
}

constexpr OpDef kOps[] = {
    {.name = "BITCAST", .prepare = PrepareBitcast},
    {.name = "BITWISE_XOR", .prepare = PrepareXor},
    {.name = "RIGHT_SHIFT", .prepare = PrepareRightShift},
};

}  // namespace

std::span<const OpDef> bitwise_ops() { return kOps; }

}  // namespace sigrun::ops
