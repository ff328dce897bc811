#include <bit>
#include <cmath>
#include <complex>
#include <limits>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/elements.h"

// CAST and STABLEHLO_CONVERT among the numeric types and BOOL. A float goes to an integer towards zero, saturated, NaN to the largest;
// integers wrap; what is not zero is true; of a complex number the real part counts.
namespace sigrun::ops {
namespace {

template <class To>
To FromDouble(double x) {
  // The bounds as doubles; the upper one is exact or one more than the type holds.
  constexpr double kLow = static_cast<double>(std::numeric_limits<To>::min()), kHigh = static_cast<double>(std::numeric_limits<To>::max());
  if (!(x < kHigh)) return std::numeric_limits<To>::max();
  return x <= kLow ? std::numeric_limits<To>::min() : static_cast<To>(x);
}

// The same without a branch, where floats hold the bounds, or one more than the upper one.
template <class To>
To FromFloat(float x) {
  constexpr float kLow = static_cast<float>(std::numeric_limits<To>::min()), kHigh = static_cast<float>(std::numeric_limits<To>::max());
  const float inside = x < kHigh ? (x > kLow ? x : kLow) : 0.0f;
  const int32_t y = static_cast<int32_t>(inside);
  return static_cast<To>(x < kHigh ? y : int32_t{std::numeric_limits<To>::max()});
}

template <class To, class From>
To Convert(From x) {
  using Complex = std::complex<float>;
  if constexpr (std::is_same_v<From, To>) {
    return x;
  } else if constexpr (kIsSmallFloat<From>) {
    return Convert<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<From, Boolean>) {
    return Convert<To>(static_cast<uint8_t>(x.byte != 0));
  } else if constexpr (std::is_same_v<To, Boolean>) {
    return {static_cast<uint8_t>(x != From{})};
  } else if constexpr (std::is_same_v<From, Complex>) {
    return Convert<To>(x.real());
  } else if constexpr (kIsSmallFloat<To>) {
    return To(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, Complex>) {
    return Complex(static_cast<float>(x), 0.0f);
  } else if constexpr (std::is_same_v<From, float> && std::is_integral_v<To> && (sizeof(To) < 4 || std::is_same_v<To, int32_t>)) {
    return FromFloat<To>(x);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return FromDouble<To>(static_cast<double>(x));
  } else {
    return static_cast<To>(x);
  }
}

using Conversion = void (*)(const void* from, void* to, int64_t begin, int64_t count);

// Bytes that are 0 or not.
void BooleansToFloats(const uint8_t* __restrict x, float* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::bit_cast<float>(x[i] != 0 ? std::bit_cast<uint32_t>(1.0f) : 0u);
}

template <class From, class To>
void ConvertRun(const void* from, void* to, int64_t begin, int64_t count) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
  if constexpr (std::is_same_v<From, Boolean> && std::is_same_v<To, float>) {
    return BooleansToFloats(reinterpret_cast<const uint8_t*>(x + begin), y + begin, count);
  }
  for (int64_t i = begin; i < begin + count; ++i) y[i] = Convert<To>(x[i]);
}

// find.Get<T>() for the type's T; null for a type that has no place in a cast.
template <class Result, class Finder>
Result WithType(TensorType type, const Finder& find) {
  switch (type) {
    case TensorType::kFloat32: return find.template Get<float>();
    case TensorType::kFloat16: return find.template Get<Half>();
    case TensorType::kBFloat16: return find.template Get<BFloat16>();
    case TensorType::kFloat64: return find.template Get<double>();
    case TensorType::kInt8: return find.template Get<int8_t>();
    case TensorType::kInt16: return find.template Get<int16_t>();
    case TensorType::kInt32: return find.template Get<int32_t>();
    case TensorType::kInt64: return find.template Get<int64_t>();
    case TensorType::kUInt8: return find.template Get<uint8_t>();
    case TensorType::kUInt16: return find.template Get<uint16_t>();
    case TensorType::kUInt32: return find.template Get<uint32_t>();
    case TensorType::kUInt64: return find.template Get<uint64_t>();
    case TensorType::kBool: return find.template Get<Boolean>();
    case TensorType::kComplex64: return find.template Get<std::complex<float>>();
    default: return nullptr;
  }
}

template <class From>
struct FindTo {
  template <class To>
  Conversion Get() const {
    return ConvertRun<From, To>;
  }
};

struct FindFrom {
  TensorType to;
  template <class From>
  Conversion Get() const {
    return WithType<Conversion>(to, FindTo<From>{});
  }
};

void PrepareCast(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.SetShape(0, p.shape(0));
  const TensorType from = p.type(0), to = p.output_type(0);
  if (from == to) return p.Alias(0, 0);
  const Conversion convert = WithType<Conversion>(from, FindFrom{to});
  if (convert == nullptr) p.Refuse(StatusCode::kUnimplemented, Concat("a cast from ", TensorTypeName(from), " to ", TensorTypeName(to)));
  if (TensorTypeBits(from) == TensorTypeBits(to)) p.MayOverwrite(0, 0);
  p.Emit([convert, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    ForElements(run, n, 2, [&](int64_t begin, int64_t count) { convert(run.get<std::byte>(x), run.get<std::byte>(y), begin, count); });
  });
}

constexpr OpDef kOps[] = {
    {.name = "CAST", .prepare = PrepareCast},
    {.name = "STABLEHLO_CONVERT", .prepare = PrepareCast},
};

}  // namespace

std::span<const OpDef> cast_ops() { return kOps; }

}  // namespace sigrun::ops
