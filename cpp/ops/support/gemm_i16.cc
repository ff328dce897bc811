#include "ops/support/gemm_i16.h"

#include <algorithm>
#include <cmath>

#include "ops/support/fixed_point.h"

namespace sigrun::ops {

using kernels::ConvShape;
using kernels::Range;

namespace {

// So many products of 16 by 9 bits fit into 32.
constexpr int32_t kBlock = 128;

template <int kChannels>
void Dot(const int16_t* x, const int16_t* w, ptrdiff_t stride, int32_t k, int64_t* sums) {
  for (int32_t begin = 0; begin < k; begin += kBlock) {
    const int32_t n = std::min(kBlock, k - begin);
    for (int c = 0; c < kChannels; ++c) {
      const int16_t* row = w + c * stride;
      int32_t sum = 0;
      for (int32_t i = 0; i < n; ++i) sum += int32_t{x[i]} * row[i];
      sums[c] += sum;
    }
    x += n;
    w += n;
  }
}

void DotAll(const int16_t* x, const int16_t* w, ptrdiff_t stride, int32_t k, int32_t count, int64_t* sums) {
  if (count == WeightsI16::kMostSums) return Dot<WeightsI16::kMostSums>(x, w, stride, k, sums);
  for (int32_t c = 0; c < count; ++c) Dot<1>(x, w + c * stride, 0, k, sums + c);
}

}  // namespace

void WeightsI16::Pack(const void* weights, ptrdiff_t stride_n, ptrdiff_t stride_k, const void* bias, TensorType bias_type,
                      std::byte* to) const {
  int64_t* sums = reinterpret_cast<int64_t*>(to);
  int16_t* high = reinterpret_cast<int16_t*>(sums + n);
  int16_t* low = high + static_cast<ptrdiff_t>(n) * k;
  for (int32_t i = 0; i < n; ++i) {
    sums[i] = bias == nullptr                   ? 0
              : bias_type == TensorType::kInt64 ? BiasI16(static_cast<const int64_t*>(bias)[i])
                                                : static_cast<const int32_t*>(bias)[i];
    for (int32_t d = 0; d < k; ++d) {
      const ptrdiff_t from = i * stride_n + d * stride_k, at = static_cast<ptrdiff_t>(i) * k + d;
      if (split) {
        const int16_t w = static_cast<const int16_t*>(weights)[from];
        high[at] = static_cast<int16_t>(w >> 8);
        low[at] = static_cast<int16_t>(w & 255);
      } else {
        high[at] = static_cast<const int8_t*>(weights)[from];
      }
    }
  }
}

void WeightsI16::Sum(const std::byte* packed, const int16_t* x, int32_t first, int32_t count, int64_t* sums) const {
  const int64_t* bias = reinterpret_cast<const int64_t*>(packed);
  const int16_t* high = reinterpret_cast<const int16_t*>(bias + n) + static_cast<ptrdiff_t>(first) * k;
  std::fill_n(sums, count, 0);
  DotAll(x, high, k, k, count, sums);
  if (split) {
    for (int32_t c = 0; c < count; ++c) sums[c] *= 256;
    DotAll(x, high + static_cast<ptrdiff_t>(n) * k, k, k, count, sums);
  }
  for (int32_t c = 0; c < count; ++c) sums[c] += bias[first + c];
}

int16_t RequantizationI16::Scale(int64_t sum, int32_t channel) const {
  if (!scales.scale.empty()) {
    const double scaled = static_cast<double>(sum) * scales.scale[static_cast<size_t>(channel)];
    // Rounded half away from zero: what is cut off is exact, and std::round would be a call an element.
    const double bounded = std::clamp<double>(scaled, INT16_MIN - 1, INT16_MAX + 1);
    const int32_t whole = static_cast<int32_t>(bounded);
    const double rest = bounded - whole;
    return static_cast<int16_t>(std::clamp(whole + (rest >= 0.5) - (rest <= -0.5), scales.min, scales.max));
  }
  const int32_t multiplier = scales.multiplier[static_cast<size_t>(channel)], shift = scales.shift[static_cast<size_t>(channel)];
  int64_t scaled = 0;
  if (wide) {
    const int32_t reduced = multiplier < 0x7FFF0000 ? (multiplier + (1 << 15)) >> 16 : 0x7FFF;
    const int right = 15 - shift;
    scaled = (sum * reduced + (int64_t{1} << (right - 1))) >> right;
  } else {
    scaled = ScaleBy(static_cast<int32_t>(sum), multiplier, shift);
  }
  return static_cast<int16_t>(std::clamp<int64_t>(scaled, scales.min, scales.max));
}

RequantizationI16 PrepareRequantizationI16(const Prepare& p, int input, int weights, int bias, int bias_type_field,
                                           const WeightScales& scales, int64_t channels, ScaleProduct product) {
  const Prepare::Affine in = p.affine(input), out = p.output_affine(0);
  p.Check(in.zero_point == 0 && out.zero_point == 0, "INT16 with the zero points ", in.zero_point, " and ", out.zero_point, ", expected 0");
  p.Check(scales.zero_point == 0, "the weights (input ", weights, ") have the zero point ", scales.zero_point, ", expected 0");
  RequantizationI16 r{PrepareRequantization(p, in.scale, scales, channels, product), true};
  const auto type = bias_type_field < 0 ? TensorType::kInt64 : static_cast<TensorType>(p.options().Scalar<int8_t>(bias_type_field));
  r.wide = bias >= 0 && p.has_input(bias) ? p.type(bias) == TensorType::kInt64 : type != TensorType::kInt32;
  for (const int32_t shift : r.scales.shift) p.Check(!r.wide || shift < 15, "the scales of input, weights and output do not fit together");
  return r;
}

void CheckBiasI16(const Prepare& p, int i, int64_t n) {
  if (!p.has_input(i)) return;
  p.CheckType(i, {TensorType::kInt64, TensorType::kInt32});
  CheckBias(p, i, n, p.type(i));
}

namespace {

// The window of one output pixel, of one group's channels; zeros beyond the image.
void Gather(const ConvShape& s, const int16_t* input, int32_t row, int32_t group, int16_t* to) {
  const int32_t x = row % s.out_width, y = row / s.out_width % s.out_height, image = row / (s.out_width * s.out_height);
  const ptrdiff_t pixel = static_cast<ptrdiff_t>(s.in_channels) * s.groups;
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    const int32_t in_y = y * s.stride_h - s.pad_top + ky * s.dilation_h;
    for (int32_t kx = 0; kx < s.kernel_width; ++kx, to += s.in_channels) {
      const int32_t in_x = x * s.stride_w - s.pad_left + kx * s.dilation_w;
      if (in_y < 0 || in_y >= s.in_height || in_x < 0 || in_x >= s.in_width) {
        std::fill_n(to, s.in_channels, int16_t{0});
      } else {
        const ptrdiff_t at = (static_cast<ptrdiff_t>(image) * s.in_height + in_y) * s.in_width + in_x;
        std::copy_n(input + at * pixel + static_cast<ptrdiff_t>(group) * s.in_channels, s.in_channels, to);
      }
    }
  }
}

// Rows of the input that are windows as they stand.
bool ReadsInPlace(const ConvShape& s) {
  return s.taps() == 1 && s.groups == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.in_height == s.out_height && s.in_width == s.out_width;
}

void Channels(const int16_t* x, const WeightsI16& weights, const std::byte* packed, const RequantizationI16& requantize,
              int32_t first_channel, Range channels, int16_t* to) {
  int64_t sums[WeightsI16::kMostSums];
  for (int32_t n = channels.begin; n < channels.end; n += WeightsI16::kMostSums) {
    const int32_t count = std::min(WeightsI16::kMostSums, channels.end - n);
    weights.Sum(packed, x, n, count, sums);
    for (int32_t c = 0; c < count; ++c) to[n + c] = requantize.Scale(sums[c], first_channel + n + c);
  }
}

}  // namespace

void ConvI16(const ConvShape& s, const int16_t* input, const WeightsI16& weights, const std::byte* packed,
             const RequantizationI16& requantize, int16_t* output, int16_t* patch, Range rows) {
  const bool in_place = ReadsInPlace(s);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    int16_t* to = output + static_cast<ptrdiff_t>(row) * s.out_channels * s.groups;
    for (int32_t group = 0; group < s.groups; ++group) {
      if (!in_place) Gather(s, input, row, group, patch);
      const int16_t* x = in_place ? input + static_cast<ptrdiff_t>(row) * s.in_channels : patch;
      const int32_t first = group * s.out_channels;
      Channels(x, weights, packed + static_cast<size_t>(group) * weights.bytes(), requantize, first, {0, s.out_channels}, to + first);
    }
  }
}

Slot PatchScratch(Prepare& p, const ConvShape& s) {
  return p.Scratch(static_cast<size_t>(p.workers()) * static_cast<size_t>(s.taps()) * static_cast<size_t>(s.in_channels) * sizeof(int16_t));
}

void EmitGemm16(Prepare& p, const Gemm& g, const WeightScales& scales, ScaleProduct product, int bias_type_field, bool filter_bytes) {
  const ConvShape s = g.shape;
  const bool has_bias = g.bias >= 0 && p.has_input(g.bias);
  const RequantizationI16 requantize =
      PrepareRequantizationI16(p, g.input, g.weights, g.bias, bias_type_field, scales, int64_t{s.out_channels} * s.groups, product);
  if (p.output_elements(0) == 0) return;
  const WeightsI16 weights{s.out_channels, s.taps() * s.in_channels, p.type(g.weights) == TensorType::kInt16 && !filter_bytes};
  const size_t bias_size = has_bias && p.type(g.bias) == TensorType::kInt64 ? sizeof(int64_t) : sizeof(int32_t);
  const TensorType bias_type = has_bias ? p.type(g.bias) : TensorType::kInt64;
  const Packed packed = PackWeights(
      p, g.weights, g.bias, Concat("int16 ", weights.n, "x", weights.k, " ", g.stride_n, " ", g.stride_k),
      weights.bytes() * static_cast<size_t>(s.groups), 0,
      [=, stride_n = g.stride_n, stride_k = g.stride_k](const void* w, const void* b, std::byte* to, std::byte*) {
        const ptrdiff_t size = weights.split ? 2 : 1;
        for (int32_t group = 0; group < s.groups; ++group) {
          const ptrdiff_t first = static_cast<ptrdiff_t>(group) * s.out_channels;
          const std::byte* bias = b == nullptr ? nullptr : static_cast<const std::byte*>(b) + static_cast<size_t>(first) * bias_size;
          weights.Pack(static_cast<const std::byte*>(w) + first * stride_n * size, stride_n, stride_k, bias, bias_type,
                       to + static_cast<size_t>(group) * weights.bytes());
        }
      });
  const int64_t row_cost = 2 * MacCost(int64_t{weights.k} * s.out_channels * s.groups);
  if (s.rows() == 1 && ReadsInPlace(s)) {
    p.Emit([=, in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
      run.Parallel(
          s.out_channels, row_cost / s.out_channels + 1,
          [&](Range channels, int) {
            Channels(run.get<int16_t>(in), weights, packed.get(run), requantize, 0, channels, run.get<int16_t>(out));
          },
          WeightsI16::kMostSums);
    });
    return;
  }
  p.Emit([=, in = p.in(g.input), patches = PatchScratch(p, s), out = p.out(0)](RunContext& run) noexcept {
    run.Parallel(s.rows(), row_cost, [&](Range rows, int worker) {
      ConvI16(s, run.get<int16_t>(in), weights, packed.get(run), requantize, run.get<int16_t>(out), PatchOf(run, patches, s, worker), rows);
    });
  });
}

}  // namespace sigrun::ops
