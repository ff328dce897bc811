#pragma once

#include "kernels/kernels.h"

// Bilinear resizing: a line of the output from one line of the input or two, pixel after pixel, channels in vectors, or from two such
// lines. All lanes of a vector are written as long as the line goes on, which the next pixel puts right. Bound by loads: two or four for
// each vector stored.
namespace sigrun::kernels {
namespace {

struct MixWeights {
  F32 top_left, bottom_left, top_right, bottom_right;
};

/// `load(offset)` of the neighbours' channels; kLines: 1 has no bottom.
template <int kLines>
SIGRUN_INLINE F32 Mix(const MixWeights& w, const float* const (&left)[2], const float* const (&right)[2], ptrdiff_t i, const auto& load) {
  F32 sum = load(left[0] + i) * w.top_left;
  if (kLines == 2) sum = sum + load(left[1] + i) * w.bottom_left;
  sum = sum + load(right[0] + i) * w.top_right;
  return kLines == 2 ? sum + load(right[1] + i) * w.bottom_right : sum;
}

template <int kLines>
SIGRUN_INLINE void MixColumnsOf(const float* top, const float* bottom, int32_t in_width, float weight, const ColumnsF32* columns,
                                int32_t count, int32_t depth, float* y) {
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
    const ptrdiff_t at = ptrdiff_t{columns[c].first} * depth, next = ptrdiff_t{columns[c].second} * depth;
    const F32 wr = Set1(columns[c].weight), wl = Set1(1.0f) - wr;
    const MixWeights weights = kLines == 1 ? MixWeights{wl, wl, wr, wr} : MixWeights{wt * wl, wb * wl, wt * wr, wb * wr};
    const float *const left[] = {top + at, bottom + at}, *const right[] = {top + next, bottom + next};
    const ptrdiff_t end = c < whole ? depth : depth / F32::lanes * F32::lanes;
    ptrdiff_t i = 0;
    for (; i < end; i += F32::lanes) Store(y + i, Mix<kLines>(weights, left, right, i, [](const float* p) { return Load(p); }));
    if (i >= depth) continue;
    const int rest = static_cast<int>(depth - i);
    StorePartial(y + i, Mix<kLines>(weights, left, right, i, [rest](const float* p) { return LoadPartial(p, rest); }), rest);
  }
}

void MixColumnsF32(const float* top, const float* bottom, int32_t in_width, float weight, const ColumnsF32* columns, int32_t count,
                   int32_t depth, float* y) {
  if (bottom == nullptr) return MixColumnsOf<1>(top, top, in_width, weight, columns, count, depth, y);
  MixColumnsOf<2>(top, bottom, in_width, weight, columns, count, depth, y);
}

void MixLinesF32(const float* top, const float* bottom, float weight, float* y, size_t n) {
  const F32 wb = Set1(weight), wt = Set1(1 - weight);
  size_t i = 0;
  for (; i + F32::lanes <= n; i += F32::lanes) Store(y + i, Load(top + i) * wt + Load(bottom + i) * wb);
  if (i == n) return;
  const int rest = static_cast<int>(n - i);
  StorePartial(y + i, LoadPartial(top + i, rest) * wt + LoadPartial(bottom + i, rest) * wb, rest);
}

inline void OverlayResize(Kernels& table) {
  table.mix_columns_f32 = MixColumnsF32;
  table.mix_lines_f32 = MixLinesF32;
}

}  // namespace
}  // namespace sigrun::kernels
