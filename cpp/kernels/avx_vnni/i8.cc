#include "kernels/avx_vnni/dot_i8.h"
#include "kernels/avx2/low_bits.h"
#include "kernels/common/plain_tiles_i8.h"
// The vocabulary above comes first.
#include "kernels/common/conv_i8.h"
#include "kernels/common/low_bits_i8.h"

namespace sigrun::kernels::avx_vnni {

void OverlayI8(Kernels& table) {
  OverlayConvI8(table);
  OverlayLowBits(table);
}

}  // namespace sigrun::kernels::avx_vnni
