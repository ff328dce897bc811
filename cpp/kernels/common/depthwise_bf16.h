#pragma once

#include "kernels/common/bf16.h"

// Depthwise convolution from bfloat16 to bfloat16 by float32 sums, over Load, LoadPartial, Store and StorePartial of a tier's bfloat16.
namespace sigrun::kernels {
namespace {

using Element = Bf16;

}  // namespace
}  // namespace sigrun::kernels

// What an element is comes first.
#include "kernels/common/depthwise.h"

namespace sigrun::kernels {
namespace {

void OverlayDepthwiseBf16(Kernels& t) {
  t.pack_depthwise_bf16_bytes = PackDepthwiseBytes;
  t.pack_depthwise_bf16 = PackDepthwise;
  t.depthwise_bf16 = Depthwise;
}

}  // namespace
}  // namespace sigrun::kernels
