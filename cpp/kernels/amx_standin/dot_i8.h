#pragma once

#include <cstdint>

#include "kernels/avx2/simd_i8.h"
#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"

// avx512_vnni/dot_i8.h in plain C++: the same activations, groups and panels.
namespace sigrun::kernels {
namespace {

using Activation = uint8_t;
constexpr int kGroup = 4;
constexpr int kPanelVectors = 4;
constexpr int kTileRows = 12;
constexpr bool kTilesEndInFloats = false;

template <int kRows, int kVectors>
void Tile(const TileRun& run, int32_t* sums) {
  constexpr int kWidth = kVectors * kLanes;
  for (int i = 0; i < kRows * kWidth; ++i) {
    const int row = i / kWidth, column = i % kWidth;
    const int8_t* w = run.weights + column * kGroup;
    uint32_t sum = static_cast<uint32_t>(run.bias[column]);
    for (int32_t segment = 0; segment < run.segments; ++segment) {
      const uint8_t* a = run.a + row * run.a_stride + segment * run.segment_step;
      for (int32_t k = 0; k < run.k_groups; ++k, a += kGroup, w += kWidth * kGroup) {
        for (int j = 0; j < kGroup; ++j) sum += static_cast<uint32_t>(a[j] * w[j]);
      }
    }
    sums[i] = static_cast<int32_t>(sum);
  }
}

}  // namespace
}  // namespace sigrun::kernels
