#include "kernels/amx/tiles.h"
#include "kernels/avx512_vnni/dot_i8.h"
// The vocabulary above comes first.
#include "kernels/common/amx_i8.h"
#include "kernels/common/split_i8.h"

namespace sigrun::kernels::amx {

void OverlayI8(Kernels& table) { OverlaySplitConvI8(table); }

}  // namespace sigrun::kernels::amx
