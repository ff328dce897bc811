#include "kernels/common/elements.h"

namespace sigrun::kernels::avx512 {

void OverlayElements(Kernels& table) { table.elements = &kElementKernels; }

}  // namespace sigrun::kernels::avx512
