#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::neon_dotprod {

void OverlayI8(Kernels& table);

bool Supported() { return CpuHas(kNeon | kDotprod); }

void Overlay(Kernels& table) { OverlayI8(table); }

}  // namespace sigrun::kernels::neon_dotprod
