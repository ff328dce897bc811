#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/fixed_point.h"
#include "kernels/kernels.h"

// Kernels over lines of bytes that compilers turn into vectors of the tier by themselves. A store of bytes may change any memory, so that
// everything else is said to stand apart.
namespace sigrun::kernels {
namespace {

void MixLines(const int8_t* __restrict a, const int8_t* __restrict b, int32_t weight, int32_t* __restrict y, size_t n) {
  const int32_t wa = 1024 - weight;
  for (size_t i = 0; i < n; ++i) y[i] = a[i] * wa + b[i] * weight;
  for (size_t i = n; i < n + kMixLanes; ++i) y[i] = 0;
}

// All lanes of a vector are written as long as the line goes on, which the next pixel puts right.
void MixColumns(const int32_t* line, const ColumnsI32* columns, int32_t count, int32_t depth, int8_t* y) {
  constexpr int32_t kHalf = 1 << 19;
  ptrdiff_t left = static_cast<ptrdiff_t>(count) * depth;
  for (int32_t c = 0; c < count; ++c, y += depth, left -= depth) {
    const int32_t *a = line + columns[c].first * ptrdiff_t{depth}, *b = line + columns[c].second * ptrdiff_t{depth};
    const int32_t wb = columns[c].weight, wa = 1024 - wb;
    for (int32_t i = 0; i < depth; i += kMixLanes) {
      int8_t mixed[kMixLanes];
      for (int32_t j = 0; j < kMixLanes; ++j) {
        const int32_t sum = a[i + j] * wa + b[i + j] * wb;
        mixed[j] = static_cast<int8_t>((sum + kHalf + (sum >> 31)) >> 20);
      }
      if (left - i >= kMixLanes) {
        std::memcpy(y + i, mixed, kMixLanes);
      } else {
        std::memcpy(y + i, mixed, static_cast<size_t>(left - i));
      }
    }
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
  table.mix_lines_i8 = MixLines;
  table.mix_columns_i32 = MixColumns;
  table.accumulate_i8 = Accumulate<int8_t>;
  table.accumulate_u8 = Accumulate<uint8_t>;
  table.sum_i8 = Sum<int8_t>;
  table.sum_u8 = Sum<uint8_t>;
}

}  // namespace
}  // namespace sigrun::kernels
