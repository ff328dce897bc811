#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::avx_vnni {

void OverlayI8(Kernels& table);

bool Supported() { return CpuHas(kAvx2 | kFma | kF16c | kAvxVnni); }

void Overlay(Kernels& table) { OverlayI8(table); }

}  // namespace sigrun::kernels::avx_vnni
