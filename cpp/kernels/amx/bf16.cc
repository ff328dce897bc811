#include "kernels/amx/tiles.h"
#include "kernels/avx512_bf16/rows_bf16.h"
// The vocabulary above comes first.
#include "kernels/common/amx_bf16.h"
#include "kernels/common/conv_bf16.h"

namespace sigrun::kernels::amx {

// A tile product does 16 times the products of an FMA, so that six of them for one float32 product are still much faster.
void OverlayBf16(Kernels& table) { OverlayConvBf16(table, 3); }

}  // namespace sigrun::kernels::amx
