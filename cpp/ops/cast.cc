#include <complex>
#include <type_traits>

#include "kernels/common/convert.h"
#include "kernels/elements.h"
#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/elements.h"

// CAST and STABLEHLO_CONVERT among the numeric types and BOOL. A float goes to an integer towards zero, saturated, NaN to the largest;
// integers wrap; what is not zero is true; of a complex number the real part counts.
namespace sigrun::ops {
namespace {

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
  } else {
    return kernels::ConvertNumber<To>(x);
  }
}

using Conversion = void (*)(const void* from, void* to, size_t n);

template <class From, class To>
void ConvertRun(const void* from, void* to, size_t n) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
  for (size_t i = 0; i < n; ++i) y[i] = Convert<To>(x[i]);
}

template <class T, class... Types>
constexpr bool kIsAmong = (std::is_same_v<T, Types> || ...);
template <class T>
constexpr bool kHasKernel = kIsAmong<T, float, int32_t, int64_t, int16_t, int8_t, uint8_t, Boolean>;

// The place of such a type in the kernels' table; kCount for all others.
kernels::Element ElementOf(TensorType type) {
  using kernels::Element;
  switch (type) {
    case TensorType::kFloat32: return Element::kF32;
    case TensorType::kInt32: return Element::kI32;
    case TensorType::kInt64: return Element::kI64;
    case TensorType::kInt16: return Element::kI16;
    case TensorType::kInt8: return Element::kI8;
    case TensorType::kUInt8: return Element::kU8;
    case TensorType::kBool: return Element::kBool;
    default: return Element::kCount;
  }
}

// find.Get<T>() for the type's T; null for a type that has no place in a cast, and for two that kernels convert.
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
    if constexpr (kHasKernel<From> && kHasKernel<To>) {
      return nullptr;
    } else {
      return ConvertRun<From, To>;
    }
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
  Conversion convert = WithType<Conversion>(from, FindFrom{to});
  const kernels::Element a = ElementOf(from), b = ElementOf(to);
  if (a != kernels::Element::kCount && b != kernels::Element::kCount) {
    convert = p.kernels().elements->convert[static_cast<size_t>(a)][static_cast<size_t>(b)];
  }
  if (convert == nullptr) p.Refuse(StatusCode::kUnimplemented, Concat("a cast from ", TensorTypeName(from), " to ", TensorTypeName(to)));
  if (TensorTypeBits(from) == TensorTypeBits(to)) p.MayOverwrite(0, 0);
  p.Emit([=, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const int64_t x_bytes = TensorTypeBits(from) / 8, y_bytes = TensorTypeBits(to) / 8;
    ForElements(run, n, 2, [&](int64_t begin, int64_t count) {
      convert(run.get<std::byte>(x) + begin * x_bytes, run.get<std::byte>(y) + begin * y_bytes, static_cast<size_t>(count));
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "CAST", .prepare = PrepareCast},
    {.name = "STABLEHLO_CONVERT", .prepare = PrepareCast},
};

}  // namespace

std::span<const OpDef> cast_ops() { return kOps; }

}  // namespace sigrun::ops
