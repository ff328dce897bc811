#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/common/inline.h"

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

/// The n < 16 bytes at p in two registers, zeros behind them.
struct FewBytes {
  uint64_t low, high;
};
SIGRUN_INLINE FewBytes ReadFew(const uint8_t* p, int32_t n) {
  if (n >= 8) return {LoadAs<uint64_t>(p), n == 8 ? 0 : LoadAs<uint64_t>(p + n - 8) >> (8 * (16 - n))};
  if (n >= 4) return {LoadAs<uint32_t>(p) | static_cast<uint64_t>(LoadAs<uint32_t>(p + n - 4)) << (8 * (n - 4)), 0};
  if (n <= 0) return {0, 0};
  return {p[0] | static_cast<uint64_t>(p[n / 2]) << (8 * (n / 2)) | static_cast<uint64_t>(p[n - 1]) << (8 * (n - 1)), 0};
}

/// Writes the low n < 8 bytes of `bytes`.
SIGRUN_INLINE void WriteFew(uint8_t* p, uint64_t bytes, int32_t n) {
  if (n & 4) {
    const uint32_t four = static_cast<uint32_t>(bytes);
    std::memcpy(p, &four, 4);
    bytes >>= 32;
    p += 4;
  }
  if (n & 2) {
    const uint16_t two = static_cast<uint16_t>(bytes);
    std::memcpy(p, &two, 2);
    bytes >>= 16;
    p += 2;
  }
  if (n & 1) *p = static_cast<uint8_t>(bytes);
}

}  // namespace
}  // namespace sigrun::kernels
