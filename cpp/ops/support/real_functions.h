#pragma once

#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/elements.h"

// Functions of one real operand that TFLite has no operator for, but TensorFlow and StableHLO have.
namespace sigrun::ops {

inline constexpr auto kAcos = [](auto x) { return std::acos(x); };
inline constexpr auto kAcosh = [](auto x) { return std::acosh(x); };
inline constexpr auto kAsin = [](auto x) { return std::asin(x); };
inline constexpr auto kAsinh = [](auto x) { return std::asinh(x); };
inline constexpr auto kAtan = [](auto x) { return std::atan(x); };
inline constexpr auto kAtanh = [](auto x) { return std::atanh(x); };
inline constexpr auto kCosh = [](auto x) { return std::cosh(x); };
inline constexpr auto kErf = [](auto x) { return std::erf(x); };
inline constexpr auto kErfc = [](auto x) { return std::erfc(x); };
inline constexpr auto kLgamma = [](auto x) { return std::lgamma(x); };
inline constexpr auto kSinh = [](auto x) { return std::sinh(x); };
inline constexpr auto kTan = [](auto x) { return std::tan(x); };

/// y = kFunction(x) for all elements of a floating-point type, each computed as Widen says.
template <auto kFunction>
void PrepareReal(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
  p.MayOverwrite(0, 0);
  WithType<F32, F64, F16, BF16>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      ForElements(run, n, 32, [&](int64_t begin, int64_t count) {
        const T* from = run.get<T>(x) + begin;
        std::transform(from, from + count, run.get<T>(y) + begin, [](T v) { return Narrow<T>(kFunction(Widen(v))); });
      });
    });
  });
}

}  // namespace sigrun::ops
