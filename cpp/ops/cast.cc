#include <cmath>
#include <complex>
#include <limits>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/float16.h"

// CAST among the numeric types and BOOL. A float goes to an integer towards zero, saturated, NaN to the largest; integers wrap; what is not
// zero is true; of a complex number the real part counts.
namespace sigrun::ops {
namespace {

// A BOOL as the byte that holds it, which in a file may be any.
struct Boolean {
  uint8_t byte;
};

template <class To>
To FromDouble(double x) {
  // The bounds as doubles; the upper one is exact or one more than the type holds.
  constexpr double kLow = static_cast<double>(std::numeric_limits<To>::min()), kHigh = static_cast<double>(std::numeric_limits<To>::max());
  if (!(x < kHigh)) return std::numeric_limits<To>::max();
  return x <= kLow ? std::numeric_limits<To>::min() : static_cast<To>(x);
}

template <class To, class From>
To Convert(From x) {
  using Complex = std::complex<float>;
  if constexpr (std::is_same_v<From, To>) {
    return x;
  } else if constexpr (std::is_same_v<From, Half>) {
    return Convert<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<From, Boolean>) {
    return Convert<To>(static_cast<uint8_t>(x.byte != 0));
  } else if constexpr (std::is_same_v<To, Boolean>) {
    return {static_cast<uint8_t>(x != From{})};
  } else if constexpr (std::is_same_v<From, Complex>) {
    return Convert<To>(x.real());
  } else if constexpr (std::is_same_v<To, Half>) {
    return Half(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, Complex>) {
    return Complex(static_cast<float>(x), 0.0f);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return FromDouble<To>(static_cast<double>(x));
  } else {
    return static_cast<To>(x);
  }
}

template <class F>
void WithNumber(const Prepare& p, TensorType type, const F& f) {
  switch (type) {
    case TensorType::kFloat32: return f(std::type_identity<float>());
    case TensorType::kFloat16: return f(std::type_identity<Half>());
    case TensorType::kFloat64: return f(std::type_identity<double>());
    case TensorType::kInt8: return f(std::type_identity<int8_t>());
    case TensorType::kInt16: return f(std::type_identity<int16_t>());
    case TensorType::kInt32: return f(std::type_identity<int32_t>());
    case TensorType::kInt64: return f(std::type_identity<int64_t>());
    case TensorType::kUInt8: return f(std::type_identity<uint8_t>());
    case TensorType::kUInt16: return f(std::type_identity<uint16_t>());
    case TensorType::kUInt32: return f(std::type_identity<uint32_t>());
    case TensorType::kUInt64: return f(std::type_identity<uint64_t>());
    case TensorType::kBool: return f(std::type_identity<Boolean>());
    case TensorType::kComplex64: return f(std::type_identity<std::complex<float>>());
    default:
      p.Refuse(StatusCode::kUnimplemented, Concat("a cast from ", TensorTypeName(p.type(0)), " to ", TensorTypeName(p.output_type(0))));
  }
}

void PrepareCast(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.SetShape(0, p.shape(0));
  if (p.type(0) == p.output_type(0)) return p.Alias(0, 0);
  WithNumber(p, p.type(0), [&]<class From>(std::type_identity<From>) {
    WithNumber(p, p.output_type(0), [&]<class To>(std::type_identity<To>) {
      if (sizeof(From) == sizeof(To)) p.MayOverwrite(0, 0);
      p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
        const From* from = run.get<From>(x);
        To* to = run.get<To>(y);
        ForElements(run, n, 2, [&](int64_t begin, int64_t count) {
          for (int64_t i = begin; i < begin + count; ++i) to[i] = Convert<To>(from[i]);
        });
      });
    });
  });
}

constexpr OpDef kOps[] = {{.name = "CAST", .prepare = PrepareCast}};

}  // namespace

std::span<const OpDef> cast_ops() { return kOps; }

}  // namespace sigrun::ops
