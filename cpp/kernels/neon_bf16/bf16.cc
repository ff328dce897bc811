#include "kernels/neon_bf16/tile_bf16.h"
// The vocabulary above comes first.
#include "kernels/common/conv_bf16.h"
#include "kernels/common/depthwise_bf16.h"

namespace sigrun::kernels::neon_bf16 {

// BFMMLA does two to four times the products of FMLA, by the core: three of them for one float32 product may be slower.
void OverlayBf16(Kernels& table) {
  OverlayConvBf16(table, 1);
  OverlayDepthwiseBf16(table);
}

}  // namespace sigrun::kernels::neon_bf16
