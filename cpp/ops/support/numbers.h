#pragma once

#include <cstdint>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/integer.h"

// Elements that an operator computes with in their own type.
namespace sigrun::ops {

/// Types given as template arguments of WithType: the tensor type and the C++ type of its elements.
template <TensorType kType, class T>
struct Typed {
  static constexpr TensorType kTensorType = kType;
  using Element = T;
};
using F32 = Typed<TensorType::kFloat32, float>;
using F64 = Typed<TensorType::kFloat64, double>;
using I8 = Typed<TensorType::kInt8, int8_t>;
using U8 = Typed<TensorType::kUInt8, uint8_t>;
using I16 = Typed<TensorType::kInt16, int16_t>;
using U16 = Typed<TensorType::kUInt16, uint16_t>;
using I32 = Typed<TensorType::kInt32, int32_t>;
using U32 = Typed<TensorType::kUInt32, uint32_t>;
using I64 = Typed<TensorType::kInt64, int64_t>;
using U64 = Typed<TensorType::kUInt64, uint64_t>;

/// Calls f(std::type_identity<T>()) for the one of `Types` that `type` is; refuses all others, naming `what` ("an input").
template <class... Types, class F>
void WithType(const Prepare& p, TensorType type, const char* what, const F& f) {
  const bool found = ((type == Types::kTensorType && (f(std::type_identity<typename Types::Element>()), true)) || ...);
  if (!found) p.Refuse(StatusCode::kUnimplemented, Concat(what, " of type ", TensorTypeName(type)));
}

/// Sums and products that wrap where integers would overflow.
template <class T>
T Plus(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a + b;
  } else {
    return WrappingAdd(a, b);
  }
}
template <class T>
T Times(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a * b;
  } else {
    return WrappingMul(a, b);
  }
}

/// Prepare::ConstantInts() of an input with one element, which may also be INT16.
inline int64_t KnownInt(const Prepare& p, int i, const char* what) {
  p.Check(p.elements(i) == 1, what, " has ", p.elements(i), " elements, expected 1");
  return p.type(i) == TensorType::kInt16 ? *p.known_as<int16_t>(i) : p.ConstantInts(i, what)[0];
}

/// Prepare::ConstantInts() of a vector of dimensions.
inline Shape KnownShape(const Prepare& p, int i, const char* what) {
  p.Check(p.shape(i).size() == 1, what, " has shape ", ToString(p.shape(i)), ", expected a vector");
  Shape shape;
  for (const int64_t d : p.ConstantInts(i, what)) {
    p.Check(d >= 0 && d <= INT32_MAX, "dimension ", d, " in ", what);
    shape.push_back(static_cast<int32_t>(d));
  }
  return shape;
}

}  // namespace sigrun::ops
