#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "ops/support/bfloat16.h"
#include "ops/support/float16.h"
#include "ops/support/numbers.h"

// Arithmetic on every type that a tensor's elements may have, one C++ type each.
namespace sigrun::ops {

/// A BOOL as the byte that holds it, which in a file may be any.
struct Boolean {
  uint8_t byte;
};

using F16 = Typed<TensorType::kFloat16, Half>;
using BF16 = Typed<TensorType::kBFloat16, BFloat16>;
using Bools = Typed<TensorType::kBool, Boolean>;

template <class T>
inline constexpr bool kIsSmallFloat = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

/// What an element is computed with.
template <class T>
auto Widen(T x) {
  if constexpr (kIsSmallFloat<T>) {
    return static_cast<float>(x);
  } else if constexpr (std::is_same_v<T, Boolean>) {
    return x.byte != 0;
  } else {
    return x;
  }
}

/// Back to an element.
template <class T, class W>
T Narrow(W x) {
  if constexpr (std::is_same_v<T, Boolean>) {
    return {static_cast<uint8_t>(x ? 1 : 0)};
  } else {
    return static_cast<T>(x);
  }
}

/// Operations on pairs of widened elements. Integers wrap; for bools a sum and a maximum is OR, a product and a minimum AND.
struct AddOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_same_v<W, bool>) {
      return a || b;
    } else {
      return Plus(a, b);
    }
  }
};
struct MultiplyOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_same_v<W, bool>) {
      return a && b;
    } else {
      return Times(a, b);
    }
  }
};
struct MaximumOp {
  template <class W>
  W operator()(W a, W b) const {
    return a < b ? b : a;
  }
};
struct MinimumOp {
  template <class W>
  W operator()(W a, W b) const {
    return b < a ? b : a;
  }
};
/// Bitwise on integers.
struct AndOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_floating_point_v<W>) {
      return a != W{0} && b != W{0} ? W{1} : W{0};
    } else {
      return static_cast<W>(a & b);
    }
  }
};
struct OrOp {
  template <class W>
  W operator()(W a, W b) const {
    if constexpr (std::is_floating_point_v<W>) {
      return a != W{0} || b != W{0} ? W{1} : W{0};
    } else {
      return static_cast<W>(a | b);
    }
  }
};
/// The second operand.
struct SecondOp {
  template <class W>
  W operator()(W, W b) const {
    return b;
  }
};

/// WithType over all types that arithmetic is defined for.
template <class F>
void WithArithmetic(const Prepare& p, TensorType type, const char* what, const F& f) {
  WithType<F32, F64, F16, BF16, I8, U8, I16, U16, I32, U32, I64, U64, Bools>(p, type, what, f);
}

}  // namespace sigrun::ops
