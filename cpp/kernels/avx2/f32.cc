#include "kernels/avx2/simd.h"
// The loops are written over the vocabulary above.
#include "kernels/common/all_f32.h"

namespace sigrun::kernels::avx2 {

void OverlayF32(Kernels& table) { OverlayAllF32(table); }

}  // namespace sigrun::kernels::avx2
