#pragma once

#include <stdint.h>

#include <type_traits>

#include "kernels/common/convert.h"
#include "kernels/common/inline.h"
#include "kernels/elements.h"

// The kernels of kernels/elements.h: loops that compilers turn into vectors, whatever the tier.
namespace sigrun::kernels {
namespace {

struct AddWords {
  template <class T>
  SIGRUN_INLINE T operator()(T a, T b) const {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  }
};
struct SubWords {
  template <class T>
  SIGRUN_INLINE T operator()(T a, T b) const {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
  }
};
struct MulWords {
  template <class T>
  SIGRUN_INLINE T operator()(T a, T b) const {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
  }
};
struct Greatest {
  template <class T>
  SIGRUN_INLINE T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Least {
  template <class T>
  SIGRUN_INLINE T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct IsEqual {
  template <class T>
  SIGRUN_INLINE uint8_t operator()(T a, T b) const {
    return a == b;
  }
};
struct IsNotEqual {
  template <class T>
  SIGRUN_INLINE uint8_t operator()(T a, T b) const {
    return a != b;
  }
};
struct IsLess {
  template <class T>
  SIGRUN_INLINE uint8_t operator()(T a, T b) const {
    return a < b;
  }
};
struct IsLessEqual {
  template <class T>
  SIGRUN_INLINE uint8_t operator()(T a, T b) const {
    return a <= b;
  }
};

template <class T, class Y, class Op>
void Pairs(const void* left, const void* right, void* to, size_t n, Operands operands) {
  const T *a = static_cast<const T*>(left), *b = static_cast<const T*>(right);
  Y* y = static_cast<Y*>(to);
  constexpr Op op;
  if (operands == Operands::kVectorVector) {
    for (size_t i = 0; i < n; ++i) y[i] = op(a[i], b[i]);
  } else if (operands == Operands::kVectorScalar) {
    const T one = *b;
    for (size_t i = 0; i < n; ++i) y[i] = op(a[i], one);
  } else {
    const T one = *a;
    for (size_t i = 0; i < n; ++i) y[i] = op(one, b[i]);
  }
}

// Four sums to a lane, so that none waits for the other.
template <class T, class Op>
void FoldRun(const void* from, size_t n, void* to) {
  constexpr size_t kAtOnce = 256 / sizeof(T);
  const T* x = static_cast<const T*>(from);
  constexpr Op op;
  T result = *static_cast<T*>(to);
  size_t i = 0;
  if (n >= 2 * kAtOnce) {
    T all[kAtOnce];
    for (size_t lane = 0; lane < kAtOnce; ++lane) all[lane] = x[lane];
    for (i = kAtOnce; i + kAtOnce <= n; i += kAtOnce) {
      SIGRUN_UNROLL
      for (size_t lane = 0; lane < kAtOnce; ++lane) all[lane] = op(all[lane], x[i + lane]);
    }
    for (size_t lane = 0; lane < kAtOnce; ++lane) result = op(result, all[lane]);
  }
  for (; i < n; ++i) result = op(result, x[i]);
  *static_cast<T*>(to) = result;
}

void SumWide(const int32_t* x, size_t n, int64_t* y) {
  int64_t sum = *y;
  for (size_t i = 0; i < n; ++i) sum += x[i];
  *y = sum;
}
void AccumulateWide(const int32_t* x, int64_t* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] += x[i];
}

template <class Word>
void Choose(const uint8_t* __restrict condition, const void* left, const void* right, void* to, size_t n, bool one_yes, bool one_no) {
  const Word* __restrict yes = static_cast<const Word*>(left), * __restrict no = static_cast<const Word*>(right);
  Word* __restrict y = static_cast<Word*>(to);
  // Without a branch: a vector of masks chooses.
  const auto loop = [&](auto of_yes, auto of_no) {
    for (size_t i = 0; i < n; ++i) {
      const Word mask = static_cast<Word>(Word{0} - static_cast<Word>(condition[i] != 0));
      y[i] = static_cast<Word>((of_yes(i) & mask) | (of_no(i) & static_cast<Word>(~mask)));
    }
  };
  const auto each_yes = [&](size_t i) { return yes[i]; };
  const auto each_no = [&](size_t i) { return no[i]; };
  const auto same_yes = [word = *yes](size_t) { return word; };
  const auto same_no = [word = *no](size_t) { return word; };
  if (one_yes && one_no) {
    loop(same_yes, same_no);
  } else if (one_yes) {
    loop(same_yes, each_no);
  } else if (one_no) {
    loop(each_yes, same_no);
  } else {
    loop(each_yes, each_no);
  }
}

struct Bool {
  uint8_t byte;
};

template <class From, class To>
void ConvertRun(const void* from, void* to, size_t n) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
  for (size_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<To, Bool>) {
      if constexpr (std::is_same_v<From, Bool>) {
        y[i].byte = x[i].byte != 0;
      } else {
        y[i].byte = x[i] != From{0};
      }
    } else if constexpr (std::is_same_v<From, Bool> && std::is_same_v<To, float>) {
      y[i] = std::bit_cast<float>(x[i].byte != 0 ? std::bit_cast<uint32_t>(1.0f) : 0u);
    } else if constexpr (std::is_same_v<From, Bool>) {
      y[i] = x[i].byte != 0;
    } else {
      y[i] = ConvertNumber<To>(x[i]);
    }
  }
}

#define SIGRUN_ARITHMETIC(T) \
  { Pairs<T, T, AddWords>, Pairs<T, T, SubWords>, Pairs<T, T, MulWords>, Pairs<T, T, Greatest>, Pairs<T, T, Least> }
#define SIGRUN_EXTREME(T) \
  { Pairs<T, T, Greatest>, Pairs<T, T, Least> }
#define SIGRUN_FOLD(T) \
  { FoldRun<T, AddWords>, nullptr, FoldRun<T, MulWords>, FoldRun<T, Greatest>, FoldRun<T, Least> }
#define SIGRUN_COMPARE(T) \
  { Pairs<T, uint8_t, IsEqual>, Pairs<T, uint8_t, IsNotEqual>, Pairs<T, uint8_t, IsLess>, Pairs<T, uint8_t, IsLessEqual> }
#define SIGRUN_CONVERT(T)                                                                                                \
  {                                                                                                                      \
    ConvertRun<T, float>, ConvertRun<T, int32_t>, ConvertRun<T, int64_t>, ConvertRun<T, int16_t>, ConvertRun<T, int8_t>, \
        ConvertRun<T, uint8_t>, ConvertRun<T, Bool>                                                                      \
  }

constexpr ElementKernels kElementKernels = {
    .arithmetic = {SIGRUN_ARITHMETIC(int32_t), SIGRUN_ARITHMETIC(int64_t)},
    .extreme = {SIGRUN_EXTREME(int8_t), SIGRUN_EXTREME(uint8_t), SIGRUN_EXTREME(int16_t)},
    .fold = {SIGRUN_FOLD(int32_t), SIGRUN_FOLD(int64_t)},
    .compare = {SIGRUN_COMPARE(float), SIGRUN_COMPARE(int32_t), SIGRUN_COMPARE(int64_t)},
    .sum_i32 = SumWide,
    .accumulate_i32 = AccumulateWide,
    .choose = {Choose<uint8_t>, Choose<uint16_t>, Choose<uint32_t>, Choose<uint64_t>},
    .convert = {SIGRUN_CONVERT(float), SIGRUN_CONVERT(int32_t), SIGRUN_CONVERT(int64_t), SIGRUN_CONVERT(int16_t), SIGRUN_CONVERT(int8_t),
                SIGRUN_CONVERT(uint8_t), SIGRUN_CONVERT(Bool)},
};

}  // namespace
}  // namespace sigrun::kernels
