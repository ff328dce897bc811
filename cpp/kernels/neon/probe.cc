#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::neon {

void OverlayF32(Kernels& table);
void OverlayI8(Kernels& table);

bool Supported() { return CpuHas(kNeon); }

void Overlay(Kernels& table) {
  OverlayF32(table);
  OverlayI8(table);
}

}  // namespace sigrun::kernels::neon
