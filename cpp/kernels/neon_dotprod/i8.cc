#include "kernels/neon_dotprod/dot_i8.h"
#include "kernels/common/plain_tiles_i8.h"
#include "kernels/neon/low_bits.h"
// The vocabulary above comes first.
#include "kernels/common/conv_i8.h"
#include "kernels/common/low_bits_i8.h"
#include "kernels/neon_dotprod/depthwise_i8.h"

namespace sigrun::kernels::neon_dotprod {

void OverlayI8(Kernels& table) {
  OverlayConvI8(table);
  OverlayLowBits(table);
  OverlayDepthwiseQuads(table);
}

}  // namespace sigrun::kernels::neon_dotprod
