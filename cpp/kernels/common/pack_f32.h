#pragma once

#include <string.h>

#include "kernels/common/math.h"
#include "kernels/common/sums_f32.h"
#include "kernels/kernels.h"

// The packed weights of gemm_f32.h: panels of kPanel output channels (the last as narrow as whole vectors allow), each
// [bias][k][channel], weights as float or as binary16.
namespace sigrun::kernels {
namespace {

constexpr int kPanel = kTileVectors * F32::lanes;

template <class W>
size_t PackBytes(int32_t k, int32_t n) {
  const size_t channels = static_cast<size_t>((n + F32::lanes - 1) / F32::lanes * F32::lanes);
  const size_t bytes = channels * (static_cast<size_t>(k) * sizeof(W) + sizeof(float));
  return (bytes + 63) / 64 * 64;
}
size_t PackF32Bytes(int32_t k, int32_t n) { return PackBytes<float>(k, n); }

// A channel's bias and k weights.
template <class W>
SIGRUN_INLINE ptrdiff_t PanelBytes(ptrdiff_t k) {
  return static_cast<ptrdiff_t>(sizeof(float)) + k * static_cast<ptrdiff_t>(sizeof(W));
}

SIGRUN_INLINE int32_t PanelWidth(int32_t channels) {
  return channels >= kPanel ? kPanel : (channels + F32::lanes - 1) / F32::lanes * F32::lanes;
}

// k rows of a panel from weights of any strides, in short runs along k, so that a line of weights is read once even if the channels are
// far apart.
template <class W>
SIGRUN_INLINE void PackPanel(int32_t k, int32_t width, int32_t count, const WeightView<W>& from, W* to) {
  constexpr int32_t kRun = 16;
  for (int32_t first = 0; first < k; first += kRun, to += kRun * width) {
    const int32_t run = k - first < kRun ? k - first : kRun;
    for (int32_t j = 0; j < count; ++j) {
      const W* p = from.data + j * from.stride_n + first * from.stride_k;
      for (int32_t i = 0; i < run; ++i) to[i * width + j] = p[i * from.stride_k];
    }
    for (int32_t j = count; j < width; ++j) {
      for (int32_t i = 0; i < run; ++i) to[i * width + j] = 0;
    }
  }
}

// The same where the k of a channel lie side by side: squares of channels and k are turned in registers.
SIGRUN_INLINE void PackTurned(int32_t k, int32_t width, int32_t count, const WeightView<float>& from, float* to) {
  constexpr int kLanes = F32::lanes;
  for (int32_t first = 0; first < k; first += kLanes, to += kLanes * width) {
    const int rows = k - first < kLanes ? k - first : kLanes;
    for (int32_t column = 0; column < width; column += kLanes) {
      F32 square[kLanes];
      SIGRUN_UNROLL
      for (int j = 0; j < kLanes; ++j) {
        const float* p = from.data + (column + j) * from.stride_n + first;
        square[j] = column + j >= count ? Set1(0.0f) : rows == kLanes ? Load(p) : LoadPartial(p, rows);
      }
      Transpose(square);
      if (rows == kLanes) {
        SIGRUN_UNROLL
        for (int i = 0; i < kLanes; ++i) Store(to + i * width + column, square[i]);
      } else {
        for (int i = 0; i < rows; ++i) Store(to + i * width + column, square[i]);
      }
    }
  }
}

template <class W>
void Pack(int32_t k, int32_t n, WeightView<W> weights, const float* bias, std::byte* packed) {
  for (int32_t first = 0; first < n; first += kPanel, weights.data += kPanel * weights.stride_n) {
    const int32_t width = PanelWidth(n - first), count = n - first < width ? n - first : width;
    float* to = reinterpret_cast<float*>(packed);
    for (int32_t j = 0; j < width; ++j) to[j] = bias != nullptr && j < count ? bias[first + j] : 0.0f;
    W* panel = reinterpret_cast<W*>(to + width);
    if (weights.stride_n == 1 && count == kPanel) {
      for (int32_t i = 0; i < k; ++i) memcpy(panel + i * kPanel, weights.data + i * weights.stride_k, kPanel * sizeof(W));
    } else if constexpr (sizeof(W) == sizeof(float)) {
      weights.stride_k == 1 ? PackTurned(k, width, count, weights, panel) : PackPanel(k, width, count, weights, panel);
    } else {
      PackPanel(k, width, count, weights, panel);
    }
    packed = reinterpret_cast<std::byte*>(panel + static_cast<ptrdiff_t>(k) * width);
  }
}

}  // namespace
}  // namespace sigrun::kernels
