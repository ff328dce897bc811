#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::amx_standin {

void OverlayBf16(Kernels& table);
void OverlayI8(Kernels& table);

bool Supported() { return CpuHas(kAvx2 | kFma | kF16c); }

void Overlay(Kernels& table) {
  OverlayBf16(table);
  OverlayI8(table);
}

}  // namespace sigrun::kernels::amx_standin
