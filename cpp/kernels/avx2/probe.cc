#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::avx2 {

void OverlayF32(Kernels& table);
void OverlayI8(Kernels& table);
void OverlayElements(Kernels& table);

bool Supported() { return CpuHas(kAvx2 | kFma | kF16c); }

void Overlay(Kernels& table) {
  OverlayF32(table);
  OverlayI8(table);
  OverlayElements(table);
}

}  // namespace sigrun::kernels::avx2
