#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/fixed_point.h"
#include "kernels/common/inline.h"
#include "kernels/common/tile_run_i8.h"
#include "kernels/kernels.h"

// The packed weights of conv_i8.h, over the same vocabulary.
namespace sigrun::kernels {
namespace {

constexpr bool kWide = sizeof(Activation) == 2;
constexpr bool kTakesUnsigned = static_cast<Activation>(-1) > 0;
constexpr int32_t kActivationOffset = kTakesUnsigned ? 128 : 0;
constexpr int32_t kPanel = kPanelVectors * kLanes;
constexpr int32_t kPairColumns = kLanes / 2, kMostPaired = kPanel - kPairColumns;  // channels of a vector and of a panel of GroupPairs
constexpr int32_t kMaxBlockRows = 512;
constexpr int32_t kFewChannels = 64;  // of groups that share pixels

// Packed: a header, then panels of kPanel output channels, the last one as many vectors wide as it needs. A panel is int32 bias[width] with
// the zero points folded in, int32 sum[width] of (w - weight_zero_point), int8 weights [k group][width][kGroup], or as GroupPairs has them.
struct WeightHeader {
  int32_t weight_zero_point;
  int32_t has_least;  // TileRun's, where kTellsLeast
};

struct PanelLayout {
  int32_t width;
  int32_t pairs;    // TileRun's
  int32_t columns;  // that weights are packed for
  size_t sums, weights, bytes;
  PanelLayout(int32_t k_groups, int32_t channels_left, bool by_pairs) {
    const int32_t whole = (channels_left + kColumnUnit - 1) / kColumnUnit * kColumnUnit;
    width = whole < kPanel ? whole : kPanel;
    pairs = by_pairs && channels_left <= kMostPaired ? (channels_left + kPairColumns - 1) / kPairColumns : 0;
    columns = pairs > 0 ? pairs * kPairColumns : width;
    sums = static_cast<size_t>(width) * sizeof(int32_t);
    weights = 2 * sums;
    bytes = (weights + static_cast<size_t>(k_groups) * columns * kGroup + 63) / 64 * 64;
  }
  // Where weights of a group of k begin, and how far from one channel to the next.
  ptrdiff_t Group(int32_t k) const {
    if (pairs == 0) return static_cast<ptrdiff_t>(k) * columns * kGroup;
    return static_cast<ptrdiff_t>(k / 2) * columns * 2 * kGroup + k % 2 * kGroup;
  }
  int32_t step() const { return pairs == 0 ? kGroup : 2 * kGroup; }
};

// A row of k = (ky, kx, c): segments that zeros complete to whole units. A segment is a line of the window, if that costs little; then
// lines of the input can be read in place.
struct Depth {
  int32_t segments, segment_k, segment_groups;
  bool pairs = false;         // a narrow last panel has pairs of groups
  int32_t unit = kDepthUnit;  // what segments must be multiples of to need no zeros
  SIGRUN_INLINE explicit Depth(const ConvShape& s) {
    const int64_t line = static_cast<int64_t>(s.kernel_width) * s.in_channels, whole = (line + kDepthUnit - 1) / kDepthUnit * kDepthUnit;
    // Zeros cost every panel, unless they are few or packed once.
    constexpr bool few = kGroup < 8 || RowPacker<Activation>::kUsed;
    const bool by_lines = 3 * whole <= 4 * line || (whole <= 2 * kGroup && (few || whole < 2 * line));
    const bool by_taps = kPairs && s.groups > 1 && s.in_channels <= kFewChannels;  // SharesPixels
    segments = by_taps ? s.taps() : by_lines ? s.kernel_height : 1;
    segment_k = by_taps ? s.in_channels : by_lines ? static_cast<int32_t>(line) : s.taps() * s.in_channels;
    segment_groups = (segment_k + kDepthUnit - 1) / kDepthUnit * (kDepthUnit / kGroup);
    const int32_t last = s.out_channels % kPanel;
    if (!kPairs || last == 0 || last > kMostPaired) return;
    // What two groups at once save has to pay for their sums to be joined.
    constexpr int32_t kShort = 8;
    if (last > kPairColumns && groups() <= kShort) return;
    // A group completes an odd number where that is cheaper than to take all one by one. Pieces of a product agree about k.
    const bool completes = s.out_channels == last && s.pixel_channels == 0 && (segment_groups > 4 || last <= kPairColumns || by_taps);
    pairs = segment_groups % 2 == 0 || completes;
    if (!pairs) return;
    segment_groups += segment_groups % 2;
    unit = 2 * kGroup;
  }
  int32_t groups() const { return segments * segment_groups; }
  // Rows need no zeros.
  bool IsWhole(const ConvShape& s) const { return groups() * kGroup == s.taps() * s.in_channels; }
};

size_t PackBytes(const ConvShape& s) {
  const Depth depth(s);
  const int32_t k_groups = depth.groups(), n = s.out_channels;
  size_t bytes = 64 + static_cast<size_t>(n / kPanel) * PanelLayout(k_groups, kPanel, depth.pairs).bytes;
  if (n % kPanel != 0) bytes += PanelLayout(k_groups, n % kPanel, depth.pairs).bytes;
  return bytes;
}

// What is done to weights: the top bit flipped, `subtracted` taken away, and weight_zero_point left to the sums.
struct WeightOffsets {
  uint8_t mask;
  int32_t subtracted, weight_zero_point;
};

// A zero point is subtracted from the weights if all of them stay int8.
WeightOffsets ChooseOffsets(const ConvShape& s, WeightView<int8_t> weights, bool flip, int32_t weight_zero_point) {
  const WeightOffsets left{static_cast<uint8_t>(flip ? 0x80 : 0), 0, weight_zero_point};
  if (weight_zero_point == 0) return left;
  if (!flip && (weights.stride_n == 1 || weights.stride_k == 1)) {
    const bool by_k = weights.stride_k == 1;
    const int32_t near = by_k ? s.taps() * s.in_channels : s.out_channels, far = by_k ? s.out_channels : s.taps() * s.in_channels;
    const int8_t* from = weights.data;
    int8_t low = 127, high = -128;
    for (int32_t i = 0; i < far; ++i, from += by_k ? weights.stride_n : weights.stride_k) {
      for (int32_t j = 0; j < near; ++j) {
        low = from[j] < low ? from[j] : low;
        high = from[j] > high ? from[j] : high;
      }
    }
    return low - weight_zero_point >= -128 && high - weight_zero_point <= 127 ? WeightOffsets{0, weight_zero_point, 0} : left;
  }
  for (int32_t n = 0; n < s.out_channels; ++n) {
    for (int32_t k = 0; k < s.taps() * s.in_channels; ++k) {
      const int8_t raw = weights.data[n * weights.stride_n + k * weights.stride_k];
      const int32_t w = static_cast<int8_t>(static_cast<uint8_t>(raw) ^ left.mask) - weight_zero_point;
      if (w < -128 || w > 127) return left;
    }
  }
  return {left.mask, weight_zero_point, 0};
}

// Groups of four of channels whose k lie side by side, for as many lines of 64 bytes as they are: two groups of two channels are moved at
// once. Returns how many k that are.
int32_t PackWholeLines(const WeightView<int8_t>& weights, int32_t k, int32_t channels, const PanelLayout& layout, uint8_t* begin) {
  constexpr int32_t kLine = 64;
  constexpr uint64_t kLow = UINT32_MAX;
  const ptrdiff_t group_bytes = layout.Group(1);
  int32_t done = 0;
  for (; done + kLine <= k; done += kLine, begin += kLine / 4 * group_bytes) {
    const int8_t* line = weights.data + done;
    int32_t n = 0;
    for (; n + 2 <= channels; n += 2, line += 2 * weights.stride_n) {
      uint8_t* to = begin + n * 4;
      for (int32_t i = 0; i < kLine; i += 8, to += 2 * group_bytes) {
        uint64_t a, b;
        std::memcpy(&a, line + i, sizeof(a));
        std::memcpy(&b, line + weights.stride_n + i, sizeof(b));
        const uint64_t first = (a & kLow) | b << 32, second = a >> 32 | (b & ~kLow);
        std::memcpy(to, &first, sizeof(first));
        std::memcpy(to + group_bytes, &second, sizeof(second));
      }
    }
    for (int32_t i = 0; n < channels && i < kLine; i += 4) std::memcpy(begin + n * 4 + i / 4 * group_bytes, line + i, 4);
  }
  return done;
}

// A segment of the channels of a panel whose k lie side by side, or lie side by side themselves, as the right sides of matrix products do:
// groups are moved whole, and summed apart.
void PackGroups(const WeightView<int8_t>& weights, const Depth& depth, int32_t first_group, int32_t subtracted, int32_t channels,
                const PanelLayout& layout, uint8_t* begin, int32_t* sums) {
  const ptrdiff_t step = layout.step();
  const bool in_lines = kGroup == 4 && step == kGroup && weights.stride_k == 1 && subtracted == 0;
  const int32_t moved = in_lines ? PackWholeLines(weights, depth.segment_k, channels, layout, begin + layout.Group(first_group)) : 0;
  for (int32_t k = moved; k < depth.segment_k; k += kGroup) {
    uint8_t* to = begin + layout.Group(first_group + k / kGroup);
    const int32_t count = depth.segment_k - k < kGroup ? depth.segment_k - k : kGroup;
    const int8_t* from = weights.data + k * weights.stride_k;
    if (count == kGroup && weights.stride_k == 1) {
      for (int32_t n = 0; n < channels; ++n) std::memcpy(to + n * step, from + n * weights.stride_n, kGroup);
    } else if (count == kGroup) {
      for (int32_t n = 0; n < channels; ++n) {
        for (int i = 0; i < kGroup; ++i) to[n * step + i] = static_cast<uint8_t>(from[i * weights.stride_k + n]);
      }
    } else {
      for (int32_t i = 0; i < count; ++i) {
        for (int32_t n = 0; n < channels; ++n) {
          to[n * step + i] = static_cast<uint8_t>(from[i * weights.stride_k + n * weights.stride_n]);
        }
      }
    }
    for (int32_t n = 0; n < channels && subtracted != 0; ++n) {
      for (int32_t i = 0; i < count; ++i) to[n * step + i] = static_cast<uint8_t>(to[n * step + i] - subtracted);
    }
    for (int32_t i = 0; i < count && weights.stride_k != 1; ++i) {
      for (int32_t n = 0; n < channels; ++n) sums[n] += from[i * weights.stride_k + n];
    }
  }
  for (int32_t n = 0; n < channels; ++n) {
    const int8_t* from = weights.data + n * weights.stride_n;
    for (int32_t k = 0; k < depth.segment_k && weights.stride_k == 1; ++k) sums[n] += from[k];
    sums[n] -= depth.segment_k * subtracted;
  }
}

SIGRUN_INLINE bool PacksGroups(const WeightView<int8_t>& weights, const Depth& depth, const WeightOffsets& offsets) {
  const bool near = weights.stride_k == 1 || weights.stride_n == 1;
  return near && offsets.mask == 0 && depth.groups() < (1 << 22) / kGroup;
}

void PackBiases(int32_t k, const WeightOffsets& offsets, const int32_t* bias, int32_t input_zero_point, int32_t channels,
                const int32_t* sums, const PanelLayout& layout, std::byte* panel) {
  for (int32_t n = 0; n < channels; ++n) {
    const int32_t centred = WrapSub(sums[n], WrapMul(k, offsets.weight_zero_point));
    reinterpret_cast<int32_t*>(panel)[n] = WrapSub(bias != nullptr ? bias[n] : 0, WrapMul(input_zero_point + kActivationOffset, centred));
    reinterpret_cast<int32_t*>(panel + layout.sums)[n] = centred;
  }
}

// One output channel of a panel.
void PackChannel(const int8_t* weights, ptrdiff_t stride_k, const Depth& depth, const WeightOffsets& offsets, int32_t bias,
                 int32_t input_zero_point, const PanelLayout& layout, int32_t column, std::byte* panel) {
  uint8_t* begin = reinterpret_cast<uint8_t*>(panel + layout.weights) + column * layout.step();
  int32_t sum = 0;
  for (int32_t segment = 0; segment < depth.segments; ++segment) {
    for (int32_t k = 0; k < depth.segment_groups * kGroup; k += kGroup) {
      uint8_t* out = begin + layout.Group(segment * depth.segment_groups + k / kGroup);
      for (int32_t i = 0; i < kGroup && k + i < depth.segment_k; ++i, weights += stride_k) {
        out[i] = static_cast<uint8_t>((static_cast<uint8_t>(*weights) ^ offsets.mask) - offsets.subtracted);
        sum = WrapAdd(sum, static_cast<int8_t>(out[i]));
      }
    }
  }
  // sum (a - za)(w - zw) = sum a' w - zw sum a' - za' (sum w - k zw), where a' = a + offset and za' = za + offset.
  const int32_t centred = WrapSub(sum, WrapMul(WrapMul(depth.segments, depth.segment_k), offsets.weight_zero_point));
  reinterpret_cast<int32_t*>(panel)[column] = WrapSub(bias, WrapMul(input_zero_point + kActivationOffset, centred));
  reinterpret_cast<int32_t*>(panel + layout.sums)[column] = centred;
}

int32_t HasLeast(const std::byte* from, const std::byte* end) {
  uint8_t any = 0;
  for (; from != end; ++from) any |= *from == std::byte{0x80} ? 1 : 0;
  return any;
}

void Pack(const ConvShape& s, WeightView<int8_t> weights, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
          int32_t weight_zero_point, std::byte* packed) {
  const Depth depth(s);
  const int32_t n = s.out_channels;
  std::memset(packed, 0, PackBytes(s));
  const WeightOffsets offsets = ChooseOffsets(s, weights, flip_weights, weight_zero_point);
  reinterpret_cast<WeightHeader*>(packed)->weight_zero_point = offsets.weight_zero_point;
  std::byte* panel = packed + 64;
  const auto tell_least = [&](const PanelLayout& layout) {
    int32_t& has_least = reinterpret_cast<WeightHeader*>(packed)->has_least;
    if (kTellsLeast<Activation> && has_least == 0) has_least = HasLeast(panel + layout.weights, panel + layout.bytes);
  };
  for (int32_t first = 0; first < n; first += kPanel) {
    const PanelLayout layout(depth.groups(), n - first, depth.pairs);
    const int32_t channels = n - first < layout.width ? n - first : layout.width;
    if (PacksGroups(weights, depth, offsets)) {
      int32_t sums[kPanel] = {};
      WeightView<int8_t> view{weights.data + first * weights.stride_n, weights.stride_n, weights.stride_k};
      for (int32_t segment = 0; segment < depth.segments; ++segment, view.data += depth.segment_k * weights.stride_k) {
        PackGroups(view, depth, segment * depth.segment_groups, offsets.subtracted, channels, layout,
                   reinterpret_cast<uint8_t*>(panel + layout.weights), sums);
      }
      PackBiases(depth.segments * depth.segment_k, offsets, bias == nullptr ? nullptr : bias + first, input_zero_point, channels, sums,
                 layout, panel);
      tell_least(layout);
      panel += layout.bytes;
      continue;
    }
    for (int32_t i = 0; i < channels; ++i) {
      PackChannel(weights.data + (first + i) * weights.stride_n, weights.stride_k, depth, offsets, bias != nullptr ? bias[first + i] : 0,
                  input_zero_point, layout, i, panel);
    }
    tell_least(layout);
    panel += layout.bytes;
  }
}

}  // namespace
}  // namespace sigrun::kernels
