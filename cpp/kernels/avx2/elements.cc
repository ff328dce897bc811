#include "kernels/common/elements.h"

namespace sigrun::kernels::avx2 {

void OverlayElements(Kernels& table) { table.elements = &kElementKernels; }

}  // namespace sigrun::kernels::avx2
