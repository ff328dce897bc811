#pragma once

#include <cstdint>

#include "kernels/avx2/simd_i8.h"
#include "kernels/common/inline.h"
#include "kernels/common/tile_end_i8.h"
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
    SegmentStart start(run);
    for (int32_t segment = 0; segment < run.segments; ++segment, start.Next()) {
      const uint8_t* a = run.a + row * run.a_stride + start.at();
      for (int32_t k = 0; k < run.k_groups; ++k, a += kGroup, w += kWidth * kGroup) {
        for (int j = 0; j < kGroup; ++j) sum += static_cast<uint32_t>(a[j] * w[j]);
      }
    }
    sums[i] = static_cast<int32_t>(sum);
  }
}

// tile_i8.h's for panels of more vectors.
SIGRUN_INLINE void EndSums(const TileRun& run, int32_t rows, int32_t width, const int32_t* sums) {
  for (int32_t i = 0; i < rows * width; i += kLanes) {
    const int32_t row = i / width, column = i % width, left = run.end->channels - column;
    const ptrdiff_t at = row * run.end->out_stride + column;
    if (left <= 0) continue;
    I32 x = RescaledUnsigned(Load(sums + i), run.end->rescale[column / kLanes]);
    if (run.residual != nullptr) x = AddResidual(x, run.residual + at, left, *run.end);
    const Bytes y = ToBytes(x, run.end->bytes);
    left < kLanes ? StoreLanes(run.out + at, y, left) : StoreLanes(run.out + at, y);
  }
}

}  // namespace
}  // namespace sigrun::kernels
