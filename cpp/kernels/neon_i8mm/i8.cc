#include "kernels/neon_i8mm/dot_i8.h"
#include "kernels/common/plain_tiles_i8.h"
// The vocabulary above comes first.
#include "kernels/common/conv_i8.h"

namespace sigrun::kernels::neon_i8mm {

void OverlayI8(Kernels& table) { OverlayConvI8(table); }

}  // namespace sigrun::kernels::neon_i8mm
