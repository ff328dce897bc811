#pragma once

#include "kernels/kernels.h"

// Bilinear resizing: a line of the output from two lines of the input, pixel after pixel, channels in vectors. All lanes of a vector are
// written as long as the line goes on, which the next pixel puts right. Bound by loads: four for each vector stored.
namespace sigrun::kernels {
namespace {

struct MixWeights {
  F32 top_left, bottom_left, top_right, bottom_right;
};

/// `load(p)` of the four neighbours' channels from i on.
SIGRUN_INLINE F32 Mix(const MixWeights& w, const float* top_left, const float* bottom_left, const float* top_right,
                      const float* bottom_right, const auto& load) {
  const F32 left = load(top_left) * w.top_left + load(bottom_left) * w.bottom_left;
  return left + load(top_right) * w.top_right + load(bottom_right) * w.bottom_right;
}

void MixColumnsF32(const float* top, const float* bottom, int32_t in_width, float weight, const ColumnsF32* columns, int32_t count,
                   int32_t depth, float* y) {
  const int32_t vectors = (depth + F32::lanes - 1) / F32::lanes;
  // Whole vectors from here on stay within the lines.
  const auto is_whole = [&](int32_t column) {
    const ptrdiff_t over = ptrdiff_t{vectors} * F32::lanes - depth;
    return over <= ptrdiff_t{count - 1 - column} * depth && over <= ptrdiff_t{in_width - 1 - columns[column].second} * depth;
  };
  int32_t whole = count;
  while (whole > 0 && !is_whole(whole - 1)) --whole;
  const F32 wb = Set1(weight), wt = Set1(1 - weight);
  for (int32_t c = 0; c < count; ++c, y += depth) {
    const ptrdiff_t left = ptrdiff_t{columns[c].first} * depth, right = ptrdiff_t{columns[c].second} * depth;
    const F32 wr = Set1(columns[c].weight), wl = Set1(1.0f) - wr;
    const MixWeights weights = {wt * wl, wb * wl, wt * wr, wb * wr};
    const float *top_left = top + left, *bottom_left = bottom + left, *top_right = top + right, *bottom_right = bottom + right;
    const ptrdiff_t end = c < whole ? depth : depth / F32::lanes * F32::lanes;
    ptrdiff_t i = 0;
    for (; i < end; i += F32::lanes) {
      Store(y + i, Mix(weights, top_left + i, bottom_left + i, top_right + i, bottom_right + i, [](const float* p) { return Load(p); }));
    }
    if (i >= depth) continue;
    const int rest = static_cast<int>(depth - i);
    const auto load = [rest](const float* p) { return LoadPartial(p, rest); };
    StorePartial(y + i, Mix(weights, top_left + i, bottom_left + i, top_right + i, bottom_right + i, load), rest);
  }
}

inline void OverlayResize(Kernels& table) { table.mix_columns_f32 = MixColumnsF32; }

}  // namespace
}  // namespace sigrun::kernels
