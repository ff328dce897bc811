#include "kernels/avx512_vnni/dot_i8.h"
#include "kernels/avx512/low_bits.h"
#include "kernels/common/plain_tiles_i8.h"
// The vocabulary above comes first.
#include "kernels/avx512_vnni/depthwise_i8.h"
#include "kernels/common/conv_i8.h"
#include "kernels/common/low_bits_i8.h"

namespace sigrun::kernels::avx512_vnni {

void OverlayI8(Kernels& table) {
  OverlayConvI8(table);
  OverlayLowBits(table);
  table.pack_depthwise_i8_bytes = PackColumnsBytes;
  table.pack_depthwise_i8 = PackColumns;
  table.depthwise_i8 = DepthwiseColumns;
}

}  // namespace sigrun::kernels::avx512_vnni
