#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/fixed_point.h"
#include "kernels/kernels.h"

// Kernels over lines of bytes that compilers turn into vectors of the tier by themselves. A store of bytes may change any memory, so that
// everything else is said to stand apart.
namespace sigrun::kernels {
namespace {

void MixBytes(const int8_t* __restrict a, const int8_t* __restrict b, const int16_t* __restrict weights, int16_t* __restrict y, size_t n) {
  const int16_t wa = weights[0], wb = weights[1];
  for (size_t i = 0; i < n; ++i) y[i] = static_cast<int16_t>(a[i] * wa + b[i] * wb);
}

void MixWords(const int16_t* __restrict a, const int16_t* __restrict b, const int16_t* __restrict weights, int32_t shift,
              int8_t* __restrict y, size_t n) {
  const int16_t wa = weights[0], wb = weights[1];
  const auto half = static_cast<int16_t>((1 << shift) >> 1);
  // Half away from zero: a negative sum is rounded as if it were 1 less, unless nothing is rounded.
  const auto less = static_cast<int16_t>(half == 0 ? 0 : -1);
  for (size_t i = 0; i < n; ++i) {
    const auto sum = static_cast<int16_t>(a[i] * wa + b[i] * wb);
    y[i] = static_cast<int8_t>(static_cast<int16_t>(sum + half + ((sum >> 15) & less)) >> shift);
  }
}

template <class T>
void Accumulate(const T* __restrict x, int32_t* __restrict y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = WrapAdd(y[i], x[i]);
}

template <class T>
int32_t Sum(const T* x, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum = WrapAdd(sum, x[i]);
  return sum;
}

inline void OverlayLinesI8(Kernels& table) {
  table.mix_i8 = MixBytes;
  table.mix_i16 = MixWords;
  table.accumulate_i8 = Accumulate<int8_t>;
  table.accumulate_u8 = Accumulate<uint8_t>;
  table.sum_i8 = Sum<int8_t>;
  table.sum_u8 = Sum<uint8_t>;
}

}  // namespace
}  // namespace sigrun::kernels
