#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

// Kernels on elements as they are: integers that wrap, comparisons, choices and conversions. They are one table for themselves, which the
// table of kernels points to: plain loops, which a tier compiles for its vectors.
namespace sigrun::kernels {

/// Arithmetic on INT32 and INT64. The extremes are those of signed numbers; what else there is wraps.
enum class Arithmetic : uint8_t { kAdd, kSub, kMul, kMaximum, kMinimum, kCount };

enum class Comparison : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kCount };

/// Types of elements. A bool is a byte, true unless it is 0.
enum class Element : uint8_t { kF32, kI32, kI64, kI16, kI8, kU8, kBool, kCount };

/// y[i] = op(a[i], b[i]). y may be an operand whose elements take as many bytes.
using PairsKernel = void (*)(const void* a, const void* b, void* y, size_t n, Operands operands);

struct ElementKernels {
  static constexpr size_t kWords = 2;  // types of integers: INT32, INT64
  PairsKernel arithmetic[kWords][static_cast<size_t>(Arithmetic::kCount)];
  /// The greater of two and the lesser, of INT8, UINT8 and INT16.
  PairsKernel extreme[3][2];
  /// *y = op(... op(*y, x[0]) ..., x[n - 1]), in any order; null for kSub.
  void (*fold[kWords][static_cast<size_t>(Arithmetic::kCount)])(const void* x, size_t n, void* y);
  /// Results are bools; operands FLOAT32, INT32 or INT64.
  static constexpr size_t kCompared = 3;
  PairsKernel compare[kCompared][static_cast<size_t>(Comparison::kCount)];
  /// *y += the sum of x[0, n); y[i] += x[i].
  void (*sum_i32)(const int32_t* x, size_t n, int64_t* y);
  void (*accumulate_i32)(const int32_t* x, int64_t* y, size_t n);
  /// y[i] = condition[i] ? yes[i] : no[i], where either may be one value, of elements of 1, 2, 4 and 8 bytes. y overlaps none.
  void (*choose[4])(const uint8_t* condition, const void* yes, const void* no, void* y, size_t n, bool one_yes, bool one_no);
  /// As CAST converts, from one type to another. y may be x if they take as many bytes.
  void (*convert[static_cast<size_t>(Element::kCount)][static_cast<size_t>(Element::kCount)])(const void* x, void* y, size_t n);
};

}  // namespace sigrun::kernels
