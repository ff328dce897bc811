#include "kernels/neon/dot_i8.h"
#include "kernels/common/plain_tiles_i8.h"
#include "kernels/neon/low_bits.h"
// The vocabulary above comes first.
#include "kernels/common/conv_i8.h"
#include "kernels/common/depthwise_i8.h"
#include "kernels/common/elementwise_i8.h"
#include "kernels/common/low_bits_i8.h"
#include "kernels/common/pool_i8.h"
#include "kernels/common/rows_i8.h"
#include "kernels/neon/depthwise_i8.h"

namespace sigrun::kernels {
namespace {

// The table fills sixteen registers, four to an instruction; an index outside of a part leaves the byte alone.
void Lookup(const uint8_t* x, const uint8_t* table, uint8_t* y, size_t n) {
  const uint8x16x4_t t0 = vld1q_u8_x4(table), t1 = vld1q_u8_x4(table + 64), t2 = vld1q_u8_x4(table + 128), t3 = vld1q_u8_x4(table + 192);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const uint8x16_t index = vld1q_u8(x + i);
    uint8x16_t value = vqtbl4q_u8(t0, index);
    value = vqtbx4q_u8(value, t1, vsubq_u8(index, vdupq_n_u8(64)));
    value = vqtbx4q_u8(value, t2, vsubq_u8(index, vdupq_n_u8(128)));
    vst1q_u8(y + i, vqtbx4q_u8(value, t3, vsubq_u8(index, vdupq_n_u8(192))));
  }
  for (; i < n; ++i) y[i] = table[x[i]];
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
  table.lookup_8 = Lookup;
}

}  // namespace neon
}  // namespace sigrun::kernels
