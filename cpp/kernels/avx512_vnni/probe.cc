#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::avx512_vnni {

void OverlayI8(Kernels& table);

bool Supported() { return CpuHas(kAvx2 | kFma | kF16c | kAvx512F | kAvx512Bw | kAvx512Dq | kAvx512Vl | kAvx512Vnni); }

void Overlay(Kernels& table) { OverlayI8(table); }

}  // namespace sigrun::kernels::avx512_vnni
