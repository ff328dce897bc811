#include "kernels/avx2/simd.h"
#include "kernels/kernels.h"
// The loops are written over the vocabulary above.
#include "kernels/common/depthwise_f32.h"
#include "kernels/common/elementwise_f32.h"
#include "kernels/common/few_rows_f32.h"
#include "kernels/common/gemm_f32.h"
#include "kernels/common/pool_f32.h"
#include "kernels/common/reduce_f32.h"
#include "kernels/common/resize_f32.h"
#include "kernels/common/winograd_f32.h"
#include "kernels/common/winograd_line_f32.h"

namespace sigrun::kernels::avx2 {

void OverlayF32(Kernels& table) {
  OverlayGemm(table);
  OverlayFewRows(table);
  OverlayDepthwise(table);
  OverlayPool(table);
  OverlayElementwise(table);
  OverlayResize(table);
  OverlayReduce(table);
  OverlayWinograd(table);
  OverlayWinogradLine(table);
}

}  // namespace sigrun::kernels::avx2
