#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "ops/op.h"
#include "ops/support/affine.h"

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

/// INT16 through 512 linear pieces: the value of each at its begin, corrected for the error in its middle, and the end of the last.
using Table16 = std::array<int16_t, 513>;

/// The table of a real function float -> float, as LiteRT's reference fills its own.
template <class F>
Table16 MakeRealTable16(const Prepare& p, const F& f);
/// The same of a function over [first, last] whose results are stored in units of 1 / per_unit: the reference has tables in double.
template <class Real, class F>
Table16 MakeRealTable16(Real first, Real last, Real per_unit, const F& f);

inline int16_t Lookup16(const Table16& table, int16_t x) {
  const size_t piece = static_cast<size_t>(256 + (x >> 7));
  const int16_t slope = static_cast<int16_t>(table[piece + 1] - table[piece]);  // wraps, as the reference's does
  return static_cast<int16_t>(table[piece] + ((slope * (x & 0x7f) + 64) >> 7));
}

/// The same for a kernel.
kernels::Pieces16 MakePieces16(const Table16& table);

/// A step that maps input 0 to output 0, both INT16, by the pieces or through the table. The output's shape is set.
void EmitPieces16(Prepare& p, const kernels::Pieces16& pieces);
void EmitLookup16(Prepare& p, const Table16& table);

/// round(x) half away from zero as int32, saturated; NaN gives 0.
inline int32_t RoundToInt(double x) {
  const double r = std::round(x);
  return r >= 2147483647.0 ? INT32_MAX : r <= -2147483648.0 ? INT32_MIN : std::isnan(r) ? 0 : static_cast<int32_t>(r);
}

template <class F>
Table16 MakeRealTable16(const Prepare& p, const F& f) {
  const Prepare::Affine in = InputAffine(p, 0), out = OutputAffine(p, 0);
  const float low = out.scale * static_cast<float>(-32768 - out.zero_point), high = out.scale * static_cast<float>(32767 - out.zero_point);
  return MakeRealTable16(in.scale * static_cast<float>(-32768 - in.zero_point), in.scale * static_cast<float>(32767 - in.zero_point),
                         65536.0f / (high - low), f);
}

template <class Real, class F>
Table16 MakeRealTable16(Real first, Real last, Real per_unit, const F& f) {
  constexpr int kSteps = 512;
  const Real step = (last - first) / kSteps;
  const auto store = [](Real x) { return static_cast<int16_t>(std::isnan(x) ? 0 : std::min<Real>(std::max<Real>(x, -32768), 32767)); };
  Table16 table;
  for (int i = 0; i < kSteps; ++i) {
    const Real begin = first + static_cast<Real>(i) * step;
    const Real sample = std::round(f(begin) * per_unit);
    const Real interpolated = std::round((f(first + static_cast<Real>(i + 1) * step) * per_unit + sample) / 2);
    const Real middle = std::round(f(begin + step / 2) * per_unit);
    table[static_cast<size_t>(i)] = store(sample - std::round((interpolated - middle) / 2));
  }
  table[kSteps] = store(std::round(f(last) * per_unit));
  return table;
}

}  // namespace sigrun::ops
