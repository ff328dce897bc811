#include "kernels/neon/dot_i8.h"
#include "kernels/common/plain_tiles_i8.h"
#include "kernels/neon/low_bits.h"
// The vocabulary above comes first.
#include "kernels/common/conv_i8.h"
#include "kernels/common/depthwise_i8.h"
#include "kernels/common/elementwise_i8.h"
#include "kernels/common/elementwise_16.h"
#include "kernels/common/low_bits_i8.h"
#include "kernels/common/pool_i8.h"
#include "kernels/common/rows_i8.h"
#include "kernels/neon/depthwise_i8.h"

namespace sigrun::kernels {
namespace {

// The table fills sixteen registers, four to an instruction; an index outside of a part leaves the byte alone.
void Lookup(const uint8_t* x, const uint8_t* table, uint8_t* y, size_t n) {
  const uint8x16x4_t t0 = vld1q_u8_x4(table), t1 = vld1q_u8_x4(table + 64), t2 = vld1q_u8_x4(table + 128), t3 = vld1q_u8_x4(table + 192);
  const auto look = [&](uint8x16_t index) SIGRUN_INLINE_LAMBDA {
    uint8x16_t value = vqtbl4q_u8(t0, index);
    value = vqtbx4q_u8(value, t1, vsubq_u8(index, vdupq_n_u8(64)));
    value = vqtbx4q_u8(value, t2, vsubq_u8(index, vdupq_n_u8(128)));
    return vqtbx4q_u8(value, t3, vsubq_u8(index, vdupq_n_u8(192)));
  };
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const uint8x16_t index[4] = {vld1q_u8(x + i), vld1q_u8(x + i + 16), vld1q_u8(x + i + 32), vld1q_u8(x + i + 48)};
    SIGRUN_UNROLL
    for (int v = 0; v < 4; ++v) vst1q_u8(y + i + v * 16, look(index[v]));
  }
  for (; i + 16 <= n; i += 16) vst1q_u8(y + i, look(vld1q_u8(x + i)));
  for (; i < n; ++i) y[i] = table[x[i]];
}

SIGRUN_INLINE int32x4_t Mixed(const int32_t* a, const int32_t* b, int32x4_t wa, int32x4_t wb) {
  const int32x4_t sum = vmlaq_s32(vmulq_s32(vld1q_s32(a), wa), vld1q_s32(b), wb);
  return vrshrq_n_s32(vsraq_n_s32(sum, sum, 31), 20);
}
SIGRUN_INLINE int16x8_t MixedHalf(const int32_t* a, const int32_t* b, int32x4_t wa, int32x4_t wb) {
  return vmovn_high_s32(vmovn_s32(Mixed(a, b, wa, wb)), Mixed(a + 4, b + 4, wa, wb));
}
// All lanes of a vector are written as long as the line goes on, which the next pixel puts right. 1.5 instructions for a byte.
void MixColumns(const int32_t* line, const ColumnsI32* columns, int32_t count, int32_t depth, int8_t* y) {
  ptrdiff_t left = static_cast<ptrdiff_t>(count) * depth;
  for (; count > 0; --count, ++columns, y += depth, left -= depth) {
    const int32_t *a = line + columns->first * ptrdiff_t{depth}, *b = line + columns->second * ptrdiff_t{depth};
    const int32x4_t wb = vdupq_n_s32(columns->weight), wa = vsubq_s32(vdupq_n_s32(1024), wb);
    int32_t i = 0;
    for (; i + 8 < depth; i += 16) {
      const int8x8_t low = vmovn_s16(MixedHalf(a + i, b + i, wa, wb));
      const int8x16_t mixed = vmovn_high_s16(low, MixedHalf(a + i + 8, b + i + 8, wa, wb));
      if (left - i >= 16) {
        vst1q_s8(y + i, mixed);
      } else {
        std::memcpy(y + i, &mixed, static_cast<size_t>(left - i));
      }
    }
    if (i >= depth) continue;
    const int8x8_t mixed = vmovn_s16(MixedHalf(a + i, b + i, wa, wb));
    if (left - i >= 8) {
      vst1_s8(y + i, mixed);
    } else {
      std::memcpy(y + i, &mixed, static_cast<size_t>(left - i));
    }
  }
}

}  // namespace

namespace neon {

void OverlayI8(Kernels& table) {
  OverlayConvI8(table);
  OverlayLowBits(table);
  table.pack_depthwise_i8_bytes = PackPairsBytes;
  table.pack_depthwise_i8 = PackPairs;
  table.depthwise_i8 = DepthwisePairs;
  OverlayPoolI8(table);
  OverlayElementwiseI8(table);
  OverlayRowsI8(table);
  OverlayElementwise16(table);
  table.lookup_8 = Lookup;
  table.mix_columns_i32 = MixColumns;
}

}  // namespace neon
}  // namespace sigrun::kernels
