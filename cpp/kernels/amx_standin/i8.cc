#include "kernels/amx_standin/dot_i8.h"
#include "kernels/amx_standin/tiles.h"
// The vocabulary above comes first.
#include "kernels/common/amx_i8.h"
#include "kernels/common/split_i8.h"

namespace sigrun::kernels::amx_standin {

void OverlayI8(Kernels& table) { OverlaySplitConvI8(table); }

}  // namespace sigrun::kernels::amx_standin
