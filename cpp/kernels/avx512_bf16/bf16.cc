#include "kernels/avx512_bf16/tile_bf16.h"
// The vocabulary above comes first.
#include "kernels/common/conv_bf16.h"
#include "kernels/common/depthwise_bf16.h"

namespace sigrun::kernels::avx512_bf16 {

// vdpbf16ps does twice the products of an FMA: three of them for one float32 product would be slower.
void OverlayBf16(Kernels& table) {
  OverlayConvBf16(table, 1);
  OverlayDepthwiseBf16(table);
}

}  // namespace sigrun::kernels::avx512_bf16
