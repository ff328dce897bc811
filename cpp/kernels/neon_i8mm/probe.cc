#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::neon_i8mm {

void OverlayI8(Kernels& table);

bool Supported() { return CpuHas(kNeon | kDotprod | kI8mm); }

void Overlay(Kernels& table) { OverlayI8(table); }

}  // namespace sigrun::kernels::neon_i8mm
