#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::amx {

void OverlayBf16(Kernels& table);
void OverlayI8(Kernels& table);

bool Supported() {
  return CpuHas(kAvx2 | kFma | kF16c | kAvx512F | kAvx512Bw | kAvx512Dq | kAvx512Vl | kAvx512Vnni | kAvx512Bf16 | kAmxTile | kAmxInt8 |
                kAmxBf16);
}

void Overlay(Kernels& table) {
  OverlayBf16(table);
  OverlayI8(table);
}

}  // namespace sigrun::kernels::amx
