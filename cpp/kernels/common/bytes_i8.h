#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/common/inline.h"

// always_inline for a lambda, which is called once for the vectors of a row and once for its tail.
#define SIGRUN_INLINE_LAMBDA __attribute__((always_inline))

// The last few bytes of a row, without a touch of what lies behind them.
namespace sigrun::kernels {
namespace {

template <class T>
SIGRUN_INLINE T LoadAs(const uint8_t* p) {
  T x;
  std::memcpy(&x, p, sizeof(T));
  return x;
}

/// dst[0, n) = src[0, n) for n < 16, by pieces that overlap.
SIGRUN_INLINE void CopyFew(uint8_t* dst, const uint8_t* src, int32_t n) {
  if (n >= 8) {
    const uint64_t head = LoadAs<uint64_t>(src), tail = LoadAs<uint64_t>(src + n - 8);
    std::memcpy(dst, &head, 8);
    std::memcpy(dst + n - 8, &tail, 8);
  } else if (n >= 4) {
    const uint32_t head = LoadAs<uint32_t>(src), tail = LoadAs<uint32_t>(src + n - 4);
    std::memcpy(dst, &head, 4);
    std::memcpy(dst + n - 4, &tail, 4);
  } else if (n > 0) {
    const uint8_t first = src[0], middle = src[n / 2], last = src[n - 1];
    dst[0] = first;
    dst[n / 2] = middle;
    dst[n - 1] = last;
  }
}

}  // namespace
}  // namespace sigrun::kernels
