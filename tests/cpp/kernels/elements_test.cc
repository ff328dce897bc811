#include "kernels/elements.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernel_test.h"

namespace sigrun::kernels {
namespace {

constexpr size_t kBytes[] = {4, 4, 8, 2, 1, 1, 1};  // of each Element
constexpr Operands kOperands[] = {Operands::kVectorVector, Operands::kVectorScalar, Operands::kScalarVector};
constexpr size_t kMost = 531;
constexpr size_t kLengths[] = {0, 1, 2, 7, 16, 33, 64, 127, 200, kMost};

using Memory = std::vector<std::byte>;

template <class T>
Memory MemoryOf(const std::vector<T>& values) {
  Memory memory(values.size() * sizeof(T));
  std::memcpy(memory.data(), values.data(), memory.size());
  return memory;
}

template <class T>
Memory Integers(uint32_t seed, bool small) {
  std::vector<T> values = small            ? RandomInts<T>(kMost, seed, -3, 3)
                          : sizeof(T) == 8 ? RandomInts<T>(kMost, seed, INT64_MIN / 2, INT64_MAX / 2)
                                           : RandomInts<T>(kMost, seed);
  values[3] = std::numeric_limits<T>::min();
  values[4] = std::numeric_limits<T>::max();
  values[5] = 0;
  return MemoryOf(values);
}

Memory Floats(uint32_t seed, float most) {
  std::vector<float> values = RandomFloats(kMost, seed, -most, most);
  for (size_t i = 0; i < kMost; i += 7) values[i] = std::round(values[i]);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float special[] = {NAN, kInfinity, -kInfinity, 0.0f, -0.0f, 1e-40f, 0x1p31f, -0x1p31f, 0x1p63f, -0x1p63f, 127.9f, -128.9f, 255.5f};
  for (size_t i = 0; i < std::size(special); ++i) values[11 * i + seed] = special[i];
  return MemoryOf(values);
}

// Small numbers, of which many are equal, or any.
Memory Operand(Element type, uint32_t seed, bool small) {
  switch (type) {
    case Element::kF32: return Floats(seed, small ? 3.0f : 1e10f);
    case Element::kI32: return Integers<int32_t>(seed, small);
    case Element::kI64: return Integers<int64_t>(seed, small);
    case Element::kI16: return Integers<int16_t>(seed, small);
    case Element::kI8: return Integers<int8_t>(seed, small);
    default: return MemoryOf(RandomInts<uint8_t>(kMost, seed, 0, small ? 2 : 255));
  }
}

// What a kernel on pairs writes, and that it does no other where y is its first or its second operand.
void ExpectPairs(const char* tier, PairsKernel expected, PairsKernel kernel, Element type, size_t result_bytes) {
  const size_t bytes = kBytes[static_cast<size_t>(type)];
  for (const bool small : {true, false}) {
    const Memory a = Operand(type, 1, small), b = Operand(type, 2, small);
    for (const Operands operands : kOperands) {
      for (const size_t n : kLengths) {
        Memory y(kMost * result_bytes), z = y;
        expected(a.data(), b.data(), y.data(), n, operands);
        kernel(a.data(), b.data(), z.data(), n, operands);
        EXPECT_EQ(y, z) << tier << ", " << n;
        if (result_bytes != bytes || n == 0) continue;
        for (const bool first : {true, false}) {
          Memory in_place = first ? a : b;
          kernel(first ? in_place.data() : a.data(), first ? b.data() : in_place.data(), in_place.data(), n, Operands::kVectorVector);
          expected(a.data(), b.data(), y.data(), n, Operands::kVectorVector);
          EXPECT_EQ(std::memcmp(in_place.data(), y.data(), n * bytes), 0) << tier << ", " << n;
        }
      }
    }
  }
}

TEST(Elements, ArithmeticIsThatOfScalar) {
  for (const Kernels* tier : AllTiers()) {
    for (size_t word = 0; word < ElementKernels::kWords; ++word) {
      const Element type = word == 0 ? Element::kI32 : Element::kI64;
      for (size_t op = 0; op < static_cast<size_t>(Arithmetic::kCount); ++op) {
        ExpectPairs(tier->tier, Scalar().elements->arithmetic[word][op], tier->elements->arithmetic[word][op], type,
                    kBytes[static_cast<size_t>(type)]);
      }
    }
  }
}

TEST(Elements, ExtremesAreThoseOfScalar) {
  constexpr Element kTypes[] = {Element::kI8, Element::kU8, Element::kI16};
  for (const Kernels* tier : AllTiers()) {
    for (size_t type = 0; type < std::size(kTypes); ++type) {
      for (size_t least = 0; least < 2; ++least) {
        ExpectPairs(tier->tier, Scalar().elements->extreme[type][least], tier->elements->extreme[type][least], kTypes[type],
                    kBytes[static_cast<size_t>(kTypes[type])]);
      }
    }
  }
  const int8_t a[] = {-128, 127, -1}, b[] = {127, -128, 0};
  int8_t y[3];
  Scalar().elements->extreme[0][0](a, b, y, 3, Operands::kVectorVector);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(y[i], std::max(a[i], b[i]));
  Scalar().elements->extreme[0][1](a, b, y, 3, Operands::kVectorVector);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(y[i], std::min(a[i], b[i]));
}

TEST(Elements, ComparisonsAreThoseOfScalar) {
  for (const Kernels* tier : AllTiers()) {
    for (size_t type = 0; type < ElementKernels::kCompared; ++type) {
      for (size_t op = 0; op < static_cast<size_t>(Comparison::kCount); ++op) {
        ExpectPairs(tier->tier, Scalar().elements->compare[type][op], tier->elements->compare[type][op], static_cast<Element>(type), 1);
      }
    }
  }
}

TEST(Elements, ArithmeticWraps) {
  const int32_t a[] = {INT32_MAX, INT32_MIN, 7, -7}, b[] = {1, -1, -3, 1 << 30};
  const int32_t expected[static_cast<size_t>(Arithmetic::kCount)][4] = {{INT32_MIN, INT32_MAX, 4, (1 << 30) - 7},
                                                                        {INT32_MAX - 1, INT32_MIN + 1, 10, -(1 << 30) - 7},
                                                                        {INT32_MAX, INT32_MIN, -21, 1 << 30},
                                                                        {INT32_MAX, -1, 7, 1 << 30},
                                                                        {1, INT32_MIN, -3, -7}};
  for (const Kernels* tier : AllTiers()) {
    for (size_t op = 0; op < static_cast<size_t>(Arithmetic::kCount); ++op) {
      int32_t y[4];
      tier->elements->arithmetic[0][op](a, b, y, 4, Operands::kVectorVector);
      for (size_t i = 0; i < 4; ++i) EXPECT_EQ(y[i], expected[op][i]) << tier->tier << ", " << op << ", " << i;
    }
  }
}

TEST(Elements, FoldsAreThoseOfPairs) {
  for (const Kernels* tier : AllTiers()) {
    for (size_t word = 0; word < ElementKernels::kWords; ++word) {
      const Memory x = Operand(word == 0 ? Element::kI32 : Element::kI64, 3, false);
      for (size_t op = 0; op < static_cast<size_t>(Arithmetic::kCount); ++op) {
        if (static_cast<Arithmetic>(op) == Arithmetic::kSub) continue;
        for (const size_t n : kLengths) {
          int64_t expected = 12345, y = expected;
          for (size_t i = 0; i < n; ++i) {
            Scalar().elements->arithmetic[word][op](&expected, x.data() + i * (4 << word), &expected, 1, Operands::kVectorVector);
          }
          tier->elements->fold[word][op](x.data(), n, &y);
          EXPECT_EQ(y, expected) << tier->tier << ", " << op << ", " << n;
        }
      }
    }
  }
}

TEST(Elements, WideSums) {
  std::vector<int32_t> x = RandomInts<int32_t>(kMost, 4);
  for (size_t i = 0; i < 100; ++i) x[i] = INT32_MAX;
  for (const Kernels* tier : AllTiers()) {
    for (const size_t n : kLengths) {
      std::vector<int64_t> expected = RandomInts<int64_t>(kMost, 5, -1000, 1000), y = expected;
      int64_t whole = 77, sum = whole;
      for (size_t i = 0; i < n; ++i) expected[i] += x[i], whole += x[i];
      tier->elements->accumulate_i32(x.data(), y.data(), n);
      tier->elements->sum_i32(x.data(), n, &sum);
      EXPECT_EQ(y, expected) << tier->tier << ", " << n;
      EXPECT_EQ(sum, whole) << tier->tier << ", " << n;
    }
  }
}

TEST(Elements, ChoicesOfAnySize) {
  const std::vector<uint8_t> condition = RandomInts<uint8_t>(kMost, 6, 0, 3);
  const std::vector<uint8_t> yes = RandomInts<uint8_t>(kMost * 8, 7), no = RandomInts<uint8_t>(kMost * 8, 8);
  for (const Kernels* tier : AllTiers()) {
    for (size_t log2 = 0; log2 < 4; ++log2) {
      const size_t bytes = size_t{1} << log2;
      for (int fixed = 0; fixed < 4; ++fixed) {
        for (const size_t n : kLengths) {
          const bool one_yes = fixed % 2 != 0, one_no = fixed / 2 != 0;
          std::vector<uint8_t> expected(kMost * 8), y = expected;
          for (size_t i = 0; i < n; ++i) {
            const uint8_t* from = condition[i] != 0 ? yes.data() + (one_yes ? 0 : i * bytes) : no.data() + (one_no ? 0 : i * bytes);
            std::memcpy(expected.data() + i * bytes, from, bytes);
          }
          tier->elements->choose[log2](condition.data(), yes.data(), no.data(), y.data(), n, one_yes, one_no);
          EXPECT_EQ(y, expected) << tier->tier << ", " << bytes << ", " << fixed << ", " << n;
        }
      }
    }
  }
}

TEST(Elements, ConversionsAreThoseOfScalar) {
  constexpr size_t kTypes = static_cast<size_t>(Element::kCount);
  for (const Kernels* tier : AllTiers()) {
    for (size_t from = 0; from < kTypes; ++from) {
      for (size_t to = 0; to < kTypes; ++to) {
        for (const bool small : {true, false}) {
          const Memory x = Operand(static_cast<Element>(from), 9, small);
          for (const size_t n : kLengths) {
            Memory expected(kMost * kBytes[to]), y = expected;
            Scalar().elements->convert[from][to](x.data(), expected.data(), n);
            tier->elements->convert[from][to](x.data(), y.data(), n);
            EXPECT_EQ(y, expected) << tier->tier << ", " << from << " to " << to << ", " << n;
          }
        }
      }
    }
  }
}

TEST(Elements, FloatsBecomeIntegersTowardsZeroAndSaturated) {
  const float x[] = {1.9f, -1.9f, 300.0f, -300.0f, 1e20f, -1e20f, NAN};
  const int8_t narrow[] = {1, -1, 127, -128, 127, -128, 127};
  const int64_t wide[] = {1, -1, 300, -300, INT64_MAX, INT64_MIN, INT64_MAX};
  for (const Kernels* tier : AllTiers()) {
    const auto& convert = tier->elements->convert[static_cast<size_t>(Element::kF32)];
    int8_t y8[std::size(x)];
    int64_t y64[std::size(x)];
    convert[static_cast<size_t>(Element::kI8)](x, y8, std::size(x));
    convert[static_cast<size_t>(Element::kI64)](x, y64, std::size(x));
    for (size_t i = 0; i < std::size(x); ++i) {
      EXPECT_EQ(y8[i], narrow[i]) << tier->tier << ", " << i;
      EXPECT_EQ(y64[i], wide[i]) << tier->tier << ", " << i;
    }
  }
}

}  // namespace
}  // namespace sigrun::kernels
