#include "kernels/avx2/simd.h"
// The vocabulary above comes first.
#include "kernels/amx_standin/rows_bf16.h"
#include "kernels/amx_standin/tiles.h"
#include "kernels/common/amx_bf16.h"
#include "kernels/common/conv_bf16.h"

namespace sigrun::kernels::amx_standin {

void OverlayBf16(Kernels& table) { OverlayConvBf16(table, 3); }

}  // namespace sigrun::kernels::amx_standin
