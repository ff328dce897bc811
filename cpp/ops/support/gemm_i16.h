#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/op.h"
#include "ops/support/gemm.h"

// Products of INT16 activations with INT8 or INT16 weights, exactly as LiteRT's reference sums and scales them: in 64 bits, or in 32 where
// biases are INT32.
namespace sigrun::ops {

/// Weights [n, k] as the loops want them. INT16 ones are split into a high and a low byte, so that 16-bit products of either can be summed
/// in 32 bits for a while.
struct WeightsI16 {
  int32_t n, k;
  bool split;
  /// A multiple of 8, so that the biases of the next group are aligned.
  size_t bytes() const {
    const size_t words = static_cast<size_t>(n) * static_cast<size_t>(k) * (split ? 2 : 1);
    return static_cast<size_t>(n) * sizeof(int64_t) + (words + 3) / 4 * 4 * sizeof(int16_t);
  }
  /// `weights` is int16_t if split, else int8_t; `bias` is of the type, or null.
  void Pack(const void* weights, ptrdiff_t stride_n, ptrdiff_t stride_k, const void* bias, TensorType bias_type, std::byte* to) const;
  /// The sums of channels [first, first + count) for one vector of k activations; count is at most kMostSums.
  static constexpr int32_t kMostSums = 4;
  void Sum(const std::byte* packed, const int16_t* x, int32_t first, int32_t count, int64_t* sums) const;
};

/// A bias, or what is nearest to it with room for a sum: 64 bits hold a scaled sum of less than 2^48.
inline int64_t BiasI16(int64_t bias) {
  constexpr int64_t kMost = int64_t{3} << 46;
  return std::clamp(bias, -kMost, kMost);
}

/// Scales sums to the output.
struct RequantizationI16 {
  Requantization scales;
  bool wide = true;  // 64-bit sums
  int16_t Scale(int64_t sum, int32_t channel) const;
};
/// Throws if a zero point is not 0. `bias` is the operand's number; `bias_type_field` that of quantized_bias_type in the options, or -1.
RequantizationI16 PrepareRequantizationI16(const Prepare& p, int input, int weights, int bias, int bias_type_field,
                                           const WeightScales& scales, int64_t channels, ScaleProduct product);

/// Throws unless the optional bias is INT64 or INT32 and has n elements.
void CheckBiasI16(const Prepare& p, int i, int64_t n);

/// Output pixels `rows` of a convolution. `packed` holds the weights of all groups one after the other; `patch` has room for one window.
void ConvI16(const kernels::ConvShape& s, const int16_t* input, const WeightsI16& weights, const std::byte* packed,
             const RequantizationI16& requantize, int16_t* output, int16_t* patch, kernels::Range rows);

/// Room for a window a worker.
Slot PatchScratch(Prepare& p, const kernels::ConvShape& s);
inline int16_t* PatchOf(const RunContext& run, Slot patches, const kernels::ConvShape& s, int worker) {
  return run.get<int16_t>(patches) + static_cast<ptrdiff_t>(worker) * s.taps() * s.in_channels;
}

/// INT16 input and output. LiteRT's convolutions read an INT16 filter as the INT8 that it begins with: `filter_bytes`.
void EmitGemm16(Prepare& p, const Gemm& gemm, const WeightScales& scales, ScaleProduct product, int bias_type_field, bool filter_bytes);

}  // namespace sigrun::ops
