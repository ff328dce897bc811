#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "ops/op.h"

// Elements that an operator moves without looking at them, and loops over many elements.
namespace sigrun::ops {

/// An element of N bytes; needs no alignment.
template <size_t N>
struct Bytes {
  std::byte bytes[N];
};

/// Calls f(std::type_identity<T>()) where T is Bytes<1, 2, 4, 8 or 16>, or std::string. Refuses types whose elements are not whole bytes.
template <class F>
void WithElement(const Prepare& p, TensorType type, const F& f) {
  if (type == TensorType::kString) return f(std::type_identity<std::string>());
  switch (TensorTypeBits(type)) {
    case 8: return f(std::type_identity<Bytes<1>>());
    case 16: return f(std::type_identity<Bytes<2>>());
    case 32: return f(std::type_identity<Bytes<4>>());
    case 64: return f(std::type_identity<Bytes<8>>());
    case 128: return f(std::type_identity<Bytes<16>>());
    default: p.Refuse(StatusCode::kUnimplemented, Concat("elements of type ", TensorTypeName(type)));
  }
}

/// The first element of a slot's tensor: of the vector's strings if T is std::string.
template <class T>
T* Elements(const RunContext& run, Slot slot) {
  if constexpr (std::is_same_v<std::remove_const_t<T>, std::string>) {
    Strings* strings = run.get<Strings>(slot);
    return strings == nullptr ? nullptr : strings->data();
  } else {
    return run.get<T>(slot);
  }
}

template <class T>
void CopyElements(const T* from, T* to, int64_t n) {
  if constexpr (std::is_same_v<T, std::string>) {
    std::copy_n(from, n, to);
  } else if (n > 0) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
  }
}

/// n elements of one value.
template <class T>
void FillElements(T* to, int64_t n, const T& value) {
  if constexpr (std::is_same_v<T, Bytes<1>>) {
    if (n > 0) std::memset(to, std::to_integer<int>(value.bytes[0]), static_cast<size_t>(n));
  } else if constexpr (std::is_same_v<T, Bytes<4>>) {
    // As words, of which compilers make vectors.
    uint32_t word;
    std::memcpy(&word, &value, sizeof(word));
    std::fill_n(reinterpret_cast<uint32_t*>(to), n, word);
  } else {
    std::fill_n(to, n, value);
  }
}

/// Calls f(begin, count) on pieces that cover [0, n), maybe from several threads; `cost` is that of one element.
template <class F>
void ForElements(const RunContext& run, int64_t n, int64_t cost, const F& f) {
  constexpr int64_t kBlock = 4096;
  if (n <= kBlock) {
    if (n > 0) f(int64_t{0}, n);
    return;
  }
  run.Parallel(static_cast<int32_t>((n + kBlock - 1) / kBlock), cost * kBlock, [&](kernels::Range blocks, int) {
    const int64_t begin = blocks.begin * kBlock;
    f(begin, std::min(n, blocks.end * kBlock) - begin);
  });
}

/// A step that applies a float32 kernel to input 0. The output's shape is set.
inline void EmitUnaryF32(Prepare& p, kernels::Unary op) {
  p.MayOverwrite(0, 0);
  p.Emit([n = p.elements(0), kernel = p.kernels().unary_f32[static_cast<size_t>(op)], x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const float* from = run.get<float>(x);
    float* to = run.get<float>(y);
    ForElements(run, n, 16, [&](int64_t begin, int64_t count) { kernel(from + begin, to + begin, static_cast<size_t>(count)); });
  });
}

/// `axis` counted from the front; throws unless it lies in [-rank, rank).
inline size_t ResolveAxis(const Prepare& p, int64_t axis, size_t rank) {
  const int64_t r = static_cast<int64_t>(rank);
  p.Check(axis >= -r && axis < r, "axis ", axis, " of an operand of rank ", r);
  return static_cast<size_t>(axis < 0 ? axis + r : axis);
}

/// The only element of the constant integer input `i`.
inline int64_t ConstantInt(const Prepare& p, int i, const char* what) {
  const std::vector<int64_t> values = p.ConstantInts(i, what);
  p.Check(values.size() == 1, what, " has ", values.size(), " elements, expected 1");
  return values[0];
}

/// Product of the dimensions [begin, end).
inline int64_t Product(const Shape& shape, size_t begin, size_t end) {
  int64_t product = 1;
  for (size_t d = begin; d < end; ++d) product *= shape[d];
  return product;
}

}  // namespace sigrun::ops
