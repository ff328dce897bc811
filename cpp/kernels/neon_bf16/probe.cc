#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::neon_bf16 {

void OverlayBf16(Kernels& table);

bool Supported() { return CpuHas(kNeon | kBf16); }

void Overlay(Kernels& table) { OverlayBf16(table); }

}  // namespace sigrun::kernels::neon_bf16
