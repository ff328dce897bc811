#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/inline.h"
#include "kernels/common/x86.h"

// Bytes by a table, 64 at a time, with vpshufb. On a Zen 5 50 GB/s, read and written.
namespace sigrun::kernels {
namespace {

struct Indices {
  __m512i v;
};
SIGRUN_INLINE Indices LoadIndices(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
SIGRUN_INLINE void StoreIndices(uint8_t* p, Indices x) { _mm512_storeu_si512(p, x.v); }
/// A row of the table in every 128 bits.
SIGRUN_INLINE Indices LoadRow(const uint8_t* p) { return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
SIGRUN_INLINE Indices operator^(Indices a, Indices b) { return {_mm512_xor_si512(a.v, b.v)}; }
SIGRUN_INLINE Indices Shuffle(Indices row, Indices x) { return {_mm512_shuffle_epi8(row.v, x.v)}; }
SIGRUN_INLINE Indices Lower16(Indices x) { return {_mm512_sub_epi8(x.v, _mm512_set1_epi8(16))}; }
SIGRUN_INLINE Indices Lower16Saturated(Indices x) { return {_mm512_subs_epi8(x.v, _mm512_set1_epi8(16))}; }

}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/lookup.h"

namespace sigrun::kernels {
namespace {

// Words by a table of 256, 32 at a time: vpermi2w takes the low six bits of an index, bits 6 and 7 choose among its results.
struct WordTable {
  __m512i rows[8];
};
SIGRUN_INLINE WordTable LoadTable(const int16_t* table) {
  WordTable t;
  SIGRUN_UNROLL
  for (int i = 0; i < 8; ++i) t.rows[i] = _mm512_loadu_si512(table + 32 * i);
  return t;
}
SIGRUN_INLINE __m512i LookUpWords(__m512i x, __mmask32 bit_6, __mmask32 bit_7, const WordTable& t) {
  const auto quarter = [&](int i) SIGRUN_INLINE_LAMBDA { return _mm512_permutex2var_epi16(t.rows[2 * i], x, t.rows[2 * i + 1]); };
  const __m512i low = _mm512_mask_blend_epi16(bit_6, quarter(0), quarter(1)), high = _mm512_mask_blend_epi16(bit_6, quarter(2), quarter(3));
  return _mm512_mask_blend_epi16(bit_7, low, high);
}

// The low 15 bits are summed in pairs as 32 bits, the others as words. On a Zen 5 a row of 128 takes 12 ns, a
// quarter of what it takes one by one.
int64_t SumLookups(const uint8_t* x, uint8_t first, const SumTable& table, size_t n) {
  constexpr size_t kWords = 32, kRun = kWords << 9;  // as long as neither sum overflows
  const WordTable low_table = LoadTable(table.low), high_table = LoadTable(table.high);
  const __m256i start = _mm256_set1_epi8(static_cast<char>(first));
  const __m512i ones = _mm512_set1_epi16(1), bit_6 = _mm512_set1_epi16(64), bit_7 = _mm512_set1_epi16(128);
  int64_t sum = 0;
  for (size_t begin = 0; begin < n; begin += kRun) {
    const size_t end = begin + kRun < n ? begin + kRun : n;
    __m512i lows = _mm512_setzero_si512(), highs = lows;
    for (size_t i = begin; i < end; i += kWords) {
      const __mmask32 valid = end - i >= kWords ? ~__mmask32{0} : (__mmask32{1} << (end - i)) - 1;
      const __m512i index = _mm512_cvtepu8_epi16(_mm256_add_epi8(_mm256_maskz_loadu_epi8(valid, x + i), start));
      const __mmask32 in_odd = _mm512_test_epi16_mask(index, bit_6), in_upper = _mm512_test_epi16_mask(index, bit_7);
      const __m512i low = LookUpWords(index, in_odd, in_upper, low_table), high = LookUpWords(index, in_odd, in_upper, high_table);
      lows = _mm512_add_epi32(lows, _mm512_madd_epi16(_mm512_maskz_mov_epi16(valid, low), ones));
      highs = _mm512_mask_add_epi16(highs, valid, highs, high);
    }
    const __m512i high_pairs = _mm512_madd_epi16(highs, ones);
    sum += int64_t{_mm512_reduce_add_epi32(lows)} + int64_t{_mm512_reduce_add_epi32(high_pairs)} * 32768;
  }
  return sum;
}

}  // namespace
}  // namespace sigrun::kernels
