#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"

// Bytes by a table, a vector at a time; a tier's own header says with which. A byte shuffle takes the low four bits of an index, and gives
// 0 where the top bit is set. An index is lowered by 16 from step to step; what it has met by the time it falls below 0 is the exclusive or
// of differences of rows of the table, which leave the row of its upper bits. Indices from 128 on begin below 0, and meet the eight rows
// before they fall again.
namespace sigrun::kernels {
namespace {

constexpr int kTableRows = 16;

SIGRUN_INLINE void TableDifferences(const uint8_t* table, Indices (&rows)[kTableRows]) {
  Indices before{};
  SIGRUN_UNROLL
  for (int i = 0; i < kTableRows; ++i) {
    const Indices row = LoadRow(table + 16 * i);
    rows[i] = row ^ before;
    if (i >= 8) rows[i] = rows[i] ^ rows[i - 8];
    before = row;
  }
}

SIGRUN_INLINE Indices LookUp(Indices x, const Indices (&rows)[kTableRows]) {
  Indices y = Shuffle(rows[0], x);
  SIGRUN_UNROLL
  for (int i = 1; i < kTableRows; ++i) {
    x = i <= 8 ? Lower16(x) : Lower16Saturated(x);
    y = y ^ Shuffle(rows[i], x);
  }
  return y;
}

void Lookup(const uint8_t* x, const uint8_t* table, uint8_t* y, size_t n) {
  constexpr size_t kBytesAtOnce = sizeof(Indices);
  size_t i = 0;
  if (n >= 2 * kBytesAtOnce) {
    Indices rows[kTableRows];
    TableDifferences(table, rows);
    for (; i + kBytesAtOnce <= n; i += kBytesAtOnce) StoreIndices(y + i, LookUp(LoadIndices(x + i), rows));
  }
  for (; i < n; ++i) y[i] = table[x[i]];
}

}  // namespace
}  // namespace sigrun::kernels
