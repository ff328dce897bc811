#include "kernels/common/elements.h"

namespace sigrun::kernels::scalar {

void OverlayElements(Kernels& table) { table.elements = &kElementKernels; }

}  // namespace sigrun::kernels::scalar
