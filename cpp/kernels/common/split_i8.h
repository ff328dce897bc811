#pragma once

#include "kernels/common/conv_i8.h"

// conv_i8.h's kernels for the shapes that suit tiles, and for the others those of the tier below. Packing and products agree, because only
// the window and the channels are asked.
namespace sigrun::kernels {
namespace {

struct ConvI8Below {
  decltype(Kernels::pack_i8_bytes) pack_bytes;
  decltype(Kernels::pack_i8) pack;
  decltype(Kernels::conv_i8_scratch_bytes) scratch_bytes;
  decltype(Kernels::conv_i8) conv;
  decltype(Kernels::conv_i8_f32) conv_f32;
};
ConvI8Below below;  // set once, when the tables are made

size_t SplitPackBytes(const ConvShape& s) { return SuitsTiles(s) ? PackBytes(s) : below.pack_bytes(s); }

void SplitPack(const ConvShape& s, WeightView<int8_t> weights, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
               int32_t weight_zero_point, std::byte* packed) {
  (SuitsTiles(s) ? Pack : below.pack)(s, weights, flip_weights, bias, input_zero_point, weight_zero_point, packed);
}

size_t SplitScratchBytes(const ConvShape& s) { return SuitsTiles(s) ? ConvScratchBytes(s) : below.scratch_bytes(s); }

void SplitConv(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
               std::byte* scratch, Range rows) {
  (SuitsTiles(s) ? Conv : below.conv)(s, input, packed, output, requantize, scratch, rows);
}

void SplitConvF32(const ConvShape& s, InputI8 input, const std::byte* packed, float* output, const float* row_scale,
                  const int32_t* row_zero_point, bool scale_per_batch, const float* channel_scale, const float* bias, const float* residual,
                  ClampF32 clamp, std::byte* scratch, Range rows) {
  (SuitsTiles(s) ? ConvF32 : below.conv_f32)(s, input, packed, output, row_scale, row_zero_point, scale_per_batch, channel_scale, bias,
                                             residual, clamp, scratch, rows);
}

void OverlaySplitConvI8(Kernels& table) {
  below = {table.pack_i8_bytes, table.pack_i8, table.conv_i8_scratch_bytes, table.conv_i8, table.conv_i8_f32};
  table.i8_columns = kColumnUnit;
  table.i8_takes_unsigned = kTakesUnsigned;
  table.pack_i8_bytes = SplitPackBytes;
  table.pack_i8 = SplitPack;
  table.conv_i8_scratch_bytes = SplitScratchBytes;
  table.conv_i8 = SplitConv;
  table.conv_i8_f32 = SplitConvF32;
}

}  // namespace
}  // namespace sigrun::kernels
