#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "ops/op.h"

// Operators of one 8-bit operand as a table of 256 results.
namespace sigrun::ops {

/// Indexed by the element's bit pattern; holds bit patterns.
using Table8 = std::array<uint8_t, 256>;

/// f(int32_t value) -> int32_t for every value of the 8-bit type `input`; the low 8 bits of the result are kept.
template <class F>
Table8 MakeTable8(TensorType input, const F& f) {
  Table8 table;
  for (int32_t bits = 0; bits < 256; ++bits) {
    const int32_t value = input == TensorType::kUInt8 ? bits : static_cast<int8_t>(bits);
    table[static_cast<size_t>(bits)] = static_cast<uint8_t>(f(value));
  }
  return table;
}

/// The table of a real function, rounded as LiteRT's reference fills its own.
Table8 MakeRealTable8(const Prepare& p, float (*f)(float));

/// A step that maps input 0 to output 0 through the table. The output's shape is set.
void EmitLookup8(Prepare& p, const Table8& table);

/// round(x) half away from zero as int32, saturated; NaN gives 0.
inline int32_t RoundToInt(double x) {
  const double r = std::round(x);
  return r >= 2147483647.0 ? INT32_MAX : r <= -2147483648.0 ? INT32_MIN : std::isnan(r) ? 0 : static_cast<int32_t>(r);
}

}  // namespace sigrun::ops
