#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sigrun::kernels::avx512_bf16 {

void OverlayBf16(Kernels& table);

bool Supported() { return CpuHas(kAvx2 | kFma | kF16c | kAvx512F | kAvx512Bw | kAvx512Dq | kAvx512Vl | kAvx512Bf16); }

void Overlay(Kernels& table) {
  OverlayBf16(table);
  if (CpuHas(kSlowBf16)) table.bf16_parts = 0;
}

}  // namespace sigrun::kernels::avx512_bf16
