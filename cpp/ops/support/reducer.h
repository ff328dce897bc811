#pragma once

#include "ops/op.h"
#include "ops/support/arithmetic.h"

// What a subgraph of two scalar arguments computes, where another operator combines elements with it.
namespace sigrun::ops {

enum class Reducer { kAdd, kMultiply, kMaximum, kMinimum, kAnd, kOr, kSecond };

/// Reads subgraph `index`: a single operator on its two arguments, or its second argument as it is. Refuses all else.
Reducer ReadReducer(const Prepare& p, int32_t index);

/// Calls f(op) with the operation of arithmetic.h.
template <class F>
void WithReducer(Reducer reducer, const F& f) {
  switch (reducer) {
    case Reducer::kAdd: return f(AddOp());
    case Reducer::kMultiply: return f(MultiplyOp());
    case Reducer::kMaximum: return f(MaximumOp());
    case Reducer::kMinimum: return f(MinimumOp());
    case Reducer::kAnd: return f(AndOp());
    case Reducer::kOr: return f(OrOp());
    case Reducer::kSecond: return f(SecondOp());
  }
}

}  // namespace sigrun::ops
