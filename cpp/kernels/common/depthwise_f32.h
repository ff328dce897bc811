#pragma once

#include "kernels/common/inline.h"

namespace sigrun::kernels {
namespace {

using Element = float;
SIGRUN_INLINE float FloatOf(float x) { return x; }

}  // namespace
}  // namespace sigrun::kernels

// What an element is comes first.
#include "kernels/common/depthwise.h"

namespace sigrun::kernels {
namespace {

void OverlayDepthwise(Kernels& t) {
  t.pack_depthwise_f32_bytes = PackDepthwiseBytes;
  t.pack_depthwise_f32 = PackDepthwise;
  t.depthwise_f32 = Depthwise;
}

}  // namespace
}  // namespace sigrun::kernels
