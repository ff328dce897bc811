#pragma once

#include "kernels/common/depthwise_f32.h"
#include "kernels/common/elementwise_f32.h"
#include "kernels/common/few_rows_f32.h"
#include "kernels/common/gemm_f32.h"
#include "kernels/common/pool_f32.h"
#include "kernels/common/reduce_f32.h"
#include "kernels/common/resize_f32.h"
#include "kernels/common/winograd_f32.h"
#include "kernels/common/winograd_line_f32.h"
#include "kernels/kernels.h"

// All float32 kernels, written over the vocabulary of a simd.h that is included before.
namespace sigrun::kernels {
namespace {

void OverlayAllF32(Kernels& table) {
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

}  // namespace
}  // namespace sigrun::kernels
