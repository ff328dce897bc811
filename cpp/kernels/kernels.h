#pragma once

#include <cstddef>
#include <cstdint>

// The table of kernels: pure functions on pointers, sizes and strides. A kernel knows no tensor and no graph, allocates nothing, throws
// nothing, and may be called from several threads at once on disjoint ranges of its rows. Pointers need only the alignment of their
// element; packed weights and scratch are aligned to 64 bytes. Results do not depend on how the rows are cut into ranges.
//
// The scalar tier is the specification: every other tier equals it exactly for integers, and within a bound that follows from the length of
// the sum for floats.
namespace sigrun::kernels {

/// Inclusive bounds of a fused activation; infinities where there is none.
/// None by default.
struct ClampF32 {
  float min = -__builtin_inff();
  float max = __builtin_inff();
  bool is_none() const { return min == -__builtin_inff() && max == __builtin_inff(); }
};

/// A function of the sums of a convolution that is more than a clamp. Logistic(x) is 1 / (1 + e^-x).
enum class ActivationF32 : uint8_t {
  kNone,
  kHardSwish,  // x * clamp(x + 3, 0, 6) / 6
  kSilu,       // x * Logistic(x)
  kLogistic,
  kTanh,
  kLeakyRelu,  // x < 0 ? x * alpha : x
  kPrelu,      // the same with slope[channel]
};

/// What becomes of a convolution's sums before they are stored: clamp(activation(sum + residual)).
struct EpilogueF32 {
  ClampF32 clamp = {};
  ActivationF32 activation = ActivationF32::kNone;
  float alpha = 0.0f;               // of kLeakyRelu
  const float* slope = nullptr;     // of kPrelu, one an output channel of all groups
  const float* residual = nullptr;  // null, or laid out as the output; may be the output. See Bf16Operands
};

/// The least and the largest of some numbers and 0; those that are none do not count.
struct ExtremesF32 {
  float low;
  float high;
};

/// Which operands of a kernel are bfloat16 in memory, the upper halves of floats: those that are stand in half of the bytes.
struct Bf16Operands {
  bool input = false, output = false, residual = false;
};
/// The most k of a product with an output of bfloat16, which cannot hold a part of a sum.
inline constexpr int32_t kMostBf16OutputDepth = 1024;

/// Half-open range of rows (of output pixels, of matrix rows, of elements: the kernel says which).
struct Range {
  int32_t begin;
  int32_t end;
};

/// Geometry of a 2-D convolution over NHWC tensors. in_channels and out_channels are those of one group; a pixel of the input is
/// in_channels * groups elements, one of the output out_channels * groups. For a depthwise convolution in_channels is the input's depth,
/// out_channels the output's, groups is 1, and the depth multiplier is out_channels / in_channels.
struct ConvShape {
  int32_t batch = 1;
  int32_t in_height = 1, in_width = 1, in_channels = 1;
  int32_t out_height = 1, out_width = 1, out_channels = 1;
  int32_t kernel_height = 1, kernel_width = 1;
  int32_t stride_h = 1, stride_w = 1;
  int32_t dilation_h = 1, dilation_w = 1;
  int32_t pad_top = 0, pad_left = 0;
  int32_t groups = 1;
  int32_t packed_groups = 1;   // of conv_f32: groups whose output channels are packed side by side, as those of one
  int32_t pixel_channels = 0;  // from one pixel of the output to the next, where these are some of its channels; 0: they are all

  /// [rows, k] x [k, n]: a 1x1 convolution over one row of pixels.
  static constexpr ConvShape MatMul(int32_t rows, int32_t k, int32_t n) {
    ConvShape s;
    s.in_width = s.out_width = rows;
    s.in_channels = k;
    s.out_channels = n;
    return s;
  }
  [[gnu::always_inline]] constexpr int32_t taps() const { return kernel_height * kernel_width; }
  [[gnu::always_inline]] constexpr int32_t rows() const { return batch * out_height * out_width; }
  [[gnu::always_inline]] constexpr ptrdiff_t output_stride() const {
    return pixel_channels > 0 ? pixel_channels : ptrdiff_t{out_channels} * groups;
  }
};

/// Weights of a GEMM as the caller has them: element (n, k) of group g at data[(g * n_count + n) * stride_n + k * stride_k], where
/// k = (ky * kernel_width + kx) * in_channels + c. OHWI filters and FULLY_CONNECTED weights have stride_n = K, stride_k = 1.
template <class T>
struct WeightView {
  const T* data;
  ptrdiff_t stride_n;
  ptrdiff_t stride_k;
};

/// (x * multiplier[n] + addend[n]) >> shift[n], an int64 that shifts of 32 to 50 bits make an int32: a product with a scale, rounded once.
struct ShiftedProduct {
  const int32_t* multiplier = nullptr;  // from 2^30 on, or 0 for a channel that has none; null: none has one
  const int32_t* shift = nullptr;
  const int64_t* addend = nullptr;
};

/// LiteRT's fixed-point requantisation, one entry an output channel: x -> MultiplyByQuantizedMultiplier(x, multiplier, shift)
/// (saturating rounding doubling high multiply, then a rounding right shift; a positive shift is a left shift before), + zero_point,
/// clamped to [min, max] and stored as its low 8 bits, so that int8 and uint8 outputs are the same code.
struct RequantizeParams {
  const int32_t* multiplier;
  const int32_t* shift;
  int32_t zero_point;
  int32_t min;
  int32_t max;
  /// If not null, conv_i8 takes x * scale[n] in double, rounded half away from zero, for the fixed-point product: LiteRT's FULLY_CONNECTED.
  const double* scale = nullptr;
  bool bounded = false;  // no such scale is above 1/4
  /// Gives the same bytes as `scale`, if there is one; kernels may take either.
  ShiftedProduct product = {};
  /// If not null, conv_i8 adds the residual to its int8 output, as add_i8 does. The residual is laid out as the output, and may be it.
  const struct AddI8Params* add = nullptr;
  const int8_t* residual = nullptr;
};

/// 8-bit activations of a quantised kernel. uint8 data is taken as int8 by flipping the top bit: value - 128, zero_point - 128.
/// zero_point is given in the int8 domain; it is also what padded taps hold.
struct InputI8 {
  const void* data;
  int32_t zero_point;
  bool is_unsigned;
};

/// An 8-bit sum as one linear form: (a * (a_high * 2^15 + a_low) + b * (b_high * 2^15 + b_low) + addend_high * 2^15 + addend_low) >> (shift
/// + 15), clamped. What is low is not negative, and nothing overflows 32 bits where the high and the low parts are summed apart.
struct LinearI8 {
  int16_t a_high, a_low, b_high, b_low;
  int32_t addend_high, addend_low;
  int32_t shift;
  bool holds = false;  // for every pair of bytes the form is what the operator computes
};

/// Weights [n, k] of 4 or 2 bits, with a scale for each `block` of k, which divides k.
struct LowBitShape {
  int32_t bits, n, k, block;
};

/// Two columns of a line and the distance from the first of them, 1 being the second.
struct ColumnsF32 {
  int32_t first, second;
  float weight;
};
/// The same, 2^10 being the second.
struct ColumnsI32 {
  int32_t first, second, weight;
};
/// Kernels may write so many elements behind a line between two lines.
inline constexpr int32_t kMixLanes = 16;

/// Rows of activations, each block completed by zeros to whole kLowBitUnits, and its sum times -2^(bits - 1). zero_point null: all 0.
inline constexpr int32_t kLowBitUnit = 16;
inline constexpr int32_t kLowBitChannels = 16;  // what threads may share
struct LowBitRows {
  const int8_t* data;
  const int32_t* block_sums;
  const float* scale;
  const int32_t* zero_point;
  int32_t count;
};

/// Operands of an 8-bit elementwise ADD or SUB exactly as LiteRT's reference computes it: each operand (value + offset) << left_shift is
/// scaled by its multiplier, both are summed, scaled to the output, output_offset added, and clamped.
struct AddI8Params {
  int32_t left_shift;
  int32_t a_offset, a_multiplier, a_shift;
  int32_t b_offset, b_multiplier, b_shift;  // the multiplier is negated for SUB
  int32_t output_offset, output_multiplier, output_shift;
  int32_t min, max;
  LinearI8 linear = {};  // a shorter way to the same
};

/// Numbers in [0, 2^19] by the 256 values of a byte; also as low + high * 2^15.
struct SumTable {
  int32_t whole[256] = {};
  int16_t low[256] = {}, high[256] = {};
};

/// 8-bit MUL: (a + a_offset) * (b + b_offset), scaled, + output_offset, clamped.
struct MulI8Params {
  int32_t a_offset, b_offset;
  int32_t output_offset, output_multiplier, output_shift;
  int32_t min, max;
};

/// A function of 16-bit numbers in linear pieces. The argument is s = (x * multiplier + nudge) >> shift, + bias, its piece the upper bits
/// of |s| behind the lowest `bits`, at most `last`; those below 0 have the pieces from 256 on. y is the low 16 bits of
/// (offset + slope * the lowest bits) >> right. Nothing may overflow 32 bits.
struct Pieces16 {
  int32_t multiplier = 1, nudge = 0, shift = 0, bias = 0;
  int32_t bits = 0, last = 0, right = 0;
  int32_t offset[512] = {}, slope[512] = {};
};

/// kGelu is x times the normal distribution's function, kGeluTanh its approximation by tanh, kSwish x * logistic(x).
enum class Unary : uint8_t {
  // clang-format off
  kAbs, kNeg, kSquare, kSqrt, kRsqrt, kExp, kLog, kSin, kCos, kTanh, kLogistic, kRelu, kRelu6, kReluN1To1, kRelu0To1, kHardSwish,
  kFloor, kCeil, kRound, kElu, kSign, kGelu, kGeluTanh, kSwish, kCount
  // clang-format on
};

/// kPrelu is a where a >= 0, else a * b.
enum class Binary : uint8_t { kAdd, kSub, kMul, kDiv, kMaximum, kMinimum, kSquaredDifference, kPow, kPrelu, kCount };

inline constexpr int32_t kMaxWinogradChannels = 1024;

/// Which operand of an elementwise kernel is one value for the whole run.
enum class Operands : uint8_t { kVectorVector, kVectorScalar, kScalarVector, kCount };

using UnaryF32 = void (*)(const float* x, float* y, size_t n);
using BinaryF32 = void (*)(const float* a, const float* b, float* y, size_t n, ClampF32 clamp);

/// A row of pointers that a tier overlays on the tier below. All of them are set once `scalar` has filled the table.
struct Kernels {
  const char* tier;  // name of the highest tier in the table: also part of the key of packed weights

  // --- float32 GEMM and convolution: out[row, n] = epilogue(bias[n] + sum_k in[row, k] * w[n, k]) --------------------------------------
  /// Groups with so many input and so many output channels may be packed as one, see ConvShape: a vector then has channels of them all.
  int32_t f32_group_channels;
  /// If not 0: from output channel c on, a multiple of this, packed weights are those of the channels from c on alone, and stand behind as
  /// many bytes as the c channels before take by themselves. So are those of depthwise_f32 whose depth multiplier is 1.
  int32_t f32_block_channels;
  /// Bytes of one group's packed weights with their bias.
  size_t (*pack_f32_bytes)(int32_t k, int32_t n);
  /// Packs group `group` of the view; `bias` points at the group's first bias, or is null for zeros.
  void (*pack_f32)(int32_t k, int32_t n, WeightView<float> weights, const float* bias, std::byte* packed);
  /// Output pixels [rows.begin, rows.end) of all groups; groups' packed weights stand one after the other. Padded taps read as 0.
  void (*conv_f32)(const ConvShape& shape, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue,
                   Range rows);

  /// The same with weights that stay IEEE binary16 in memory and are widened as they are used.
  size_t (*pack_f16_bytes)(int32_t k, int32_t n);
  void (*pack_f16)(int32_t k, int32_t n, WeightView<uint16_t> weights, const float* bias, std::byte* packed);
  void (*conv_f16)(const ConvShape& shape, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue,
                   Range rows);

  /// The bits of conv_f32, for a few rows a and a matrix right(j, k) that is read where it stands and has stride_k or stride_n 1.
  void (*few_rows_f32)(int32_t m, int32_t k, int32_t n, const float* a, ptrdiff_t a_stride, WeightView<float> right, float* output,
                       ptrdiff_t output_stride, ClampF32 clamp);

  // --- the same with bfloat16 products and float32 sums, of numbers rounded to the nearest bfloat16 (parts = 1), or as sums of two or
  // three, of whose 4 or 9 products the 1 or 3 least are left out. Three are as exact as float32, NaN and infinities included. Denormals
  // may be 0 -----
  /// The most parts for which conv_bf16 is faster than conv_f32 on machines of this tier, or 0. Only a tier that says 3, and scalar,
  /// take 3.
  int32_t bf16_parts;
  size_t (*pack_bf16_bytes)(int32_t k, int32_t n, int32_t parts);
  void (*pack_bf16)(int32_t k, int32_t n, int32_t parts, WeightView<float> weights, const float* bias, std::byte* packed);
  /// Bytes of scratch one call of conv_bf16 needs.
  size_t (*conv_bf16_scratch_bytes)(const ConvShape& shape, int32_t parts);
  /// Operands may be bfloat16 where parts = 1. An output of bfloat16 is rounded last, and k is at most kMostBf16OutputDepth.
  void (*conv_bf16)(const ConvShape& shape, int32_t parts, Bf16Operands operands, const void* input, const std::byte* packed, void* output,
                    const EpilogueF32& epilogue, std::byte* scratch, Range rows);

  // --- Winograd F(m x m, 3x3), m = 2 or 4, float32, for a 3x3 window of strides 1 and one group. A tile is m x m pixels of the output as
  // kernels/winograd_squares.h cuts it; there are batch * lines * columns. A transformed tile is (m + 2)^2 points in planes `plane`
  // floats apart, each plane [tile - tiles.begin][channel]
  // ---------------------------------------------------------------------------------------
  size_t (*pack_winograd_f32_bytes)(int32_t m, int32_t in_channels, int32_t out_channels);
  /// G g G^T of the filters [out_channels][3][3][in_channels], a matrix a point.
  void (*pack_winograd_f32)(int32_t m, int32_t in_channels, int32_t out_channels, const float* filters, std::byte* packed);
  /// B^T d B of the inputs of the tiles. in_channels is at most kMaxWinogradChannels. Padded taps read as 0.
  void (*winograd_input_f32)(const ConvShape& shape, int32_t m, const float* input, float* to, ptrdiff_t plane, Range tiles);
  /// The sums over in_channels of `tiles` transformed tiles, for some of the points; `from`, `packed` and `to` are those of point 0.
  void (*winograd_multiply_f32)(int32_t in_channels, int32_t out_channels, int32_t tiles, const float* from, ptrdiff_t from_plane,
                                const std::byte* packed, float* to, ptrdiff_t to_plane, Range points);
  /// epilogue(bias + A^T sums A) of the tiles; bias is not null.
  void (*winograd_output_f32)(const ConvShape& shape, int32_t m, const float* from, ptrdiff_t plane, const float* bias, float* output,
                              const EpilogueF32& epilogue, Range tiles);

  // --- Winograd F(7 - taps, taps), taps = 3, 4 or 5, float32, for a window of one line as kernels/winograd_lines.h cuts it. There are
  // batch * out_height * line_tiles tiles of 6 points; a plane is [tile - tiles.begin][part][channel]. Products are those of
  // winograd_multiply_f32 with parts * in_channels channels
  // ------------------------------------------------------------------------------------------------------
  size_t (*pack_winograd_line_f32_bytes)(const ConvShape& shape, int32_t taps);
  /// filters [out_channels][kernel_width][in_channels]
  void (*pack_winograd_line_f32)(const ConvShape& shape, int32_t taps, const float* filters, std::byte* packed);
  void (*winograd_line_input_f32)(const ConvShape& shape, int32_t taps, const float* input, float* to, ptrdiff_t plane, Range tiles);
  void (*winograd_line_output_f32)(const ConvShape& shape, int32_t taps, const float* from, ptrdiff_t plane, const float* bias,
                                   float* output, const EpilogueF32& epilogue, Range tiles);

  // --- float32 depthwise; filter is [kernel_height, kernel_width, out_channels] ----------------------------------------------------------
  size_t (*pack_depthwise_f32_bytes)(const ConvShape& shape);
  void (*pack_depthwise_f32)(const ConvShape& shape, const float* filter, const float* bias, std::byte* packed);
  /// Output lines [lines.begin, lines.end) of the batch * out_height lines.
  void (*depthwise_f32)(const ConvShape& shape, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue,
                        Range lines);

  /// The same from bfloat16 to bfloat16; no residual, and no activation but the clamp.
  size_t (*pack_depthwise_bf16_bytes)(const ConvShape& shape);
  void (*pack_depthwise_bf16)(const ConvShape& shape, const float* filter, const float* bias, std::byte* packed);
  void (*depthwise_bf16)(const ConvShape& shape, const uint16_t* input, const std::byte* packed, uint16_t* output,
                         const EpilogueF32& epilogue, Range lines);

  // --- int8 GEMM and convolution, int32 sums
  // ----------------------------------------------------------------------------------------------
  /// Output channels that cost as much as one.
  int32_t i8_columns;
  /// Products take activations as uint8, and copy those that are not.
  bool i8_takes_unsigned;
  /// Bytes of one group's packed weights with bias, sums and corrections. Of the shape, packing looks at the window and the channels only.
  size_t (*pack_i8_bytes)(const ConvShape& shape);
  /// weights are int8 (uint8 ones with the top bit flipped by `flip_weights`); input_zero_point and weight_zero_point in the int8 domain
  /// are folded in, so that the accumulator is bias[n] + sum (a - input_zero_point) * (w - weight_zero_point).
  void (*pack_i8)(const ConvShape& shape, WeightView<int8_t> weights, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
                  int32_t weight_zero_point, std::byte* packed);
  /// Bytes of scratch one call of conv_i8 or conv_i8_f32 needs.
  size_t (*conv_i8_scratch_bytes)(const ConvShape& shape);
  /// Output pixels [rows.begin, rows.end), requantised to 8 bits. requantize has out_channels * groups entries.
  void (*conv_i8)(const ConvShape& shape, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                  std::byte* scratch, Range rows);
  /// Hybrid (dynamic range): out[row, n] = clamp(acc * (row_scale[r] * channel_scale[n]) + bias[n] + residual[row, n]) where acc is the
  /// exact int32 accumulator. r is the row, or the row's batch entry when scale_per_batch is set: convolutions quantise a whole image at
  /// once, and row_zero_point then likewise holds one entry a batch entry. packed was made with bias = null and input_zero_point = 0; the
  /// activations' zero points row_zero_point (null: all 0), in the int8 domain, are applied inside, and the input's is not looked at. bias
  /// may be null. So may the residual, which is laid out as the output, and may be it.
  void (*conv_i8_f32)(const ConvShape& shape, InputI8 input, const std::byte* packed, float* output, const float* row_scale,
                      const int32_t* row_zero_point, bool scale_per_batch, const float* channel_scale, const float* bias,
                      const float* residual, ClampF32 clamp, std::byte* scratch, Range rows);

  // --- hybrid products with weights that stay 4 or 2 bits in memory ---------------------------------------------------------------------
  size_t (*pack_low_bits_bytes)(const LowBitShape& shape);
  /// weights are bytes [n, k], scale is [n, k / block].
  void (*pack_low_bits)(const LowBitShape& shape, const int8_t* weights, const float* scale, std::byte* packed);
  /// out[row, n] = clamp((sum over blocks of float(sum of a * w) * scale[n, block] - zero_point * weight_sum[n]) * row_scale + bias[n]),
  /// each operation rounded, summed from zero_point's term on; weight_sum[n] = sum over blocks of float(sum of w) * scale. A single block
  /// gives float(sum of (a - zero_point) * w) * (row_scale * scale[n]) + bias[n]. Channels [channels.begin, channels.end) * kLowBitChannels
  /// of all rows; bias may be null.
  void (*low_bits_f32)(const LowBitShape& shape, const LowBitRows& rows, const std::byte* packed, const float* bias, ClampF32 clamp,
                       float* output, Range channels);

  // --- int8 depthwise; filter is [kernel_height, kernel_width, out_channels]
  // ----------------------------------------------------------------
  size_t (*pack_depthwise_i8_bytes)(const ConvShape& shape);
  void (*pack_depthwise_i8)(const ConvShape& shape, const int8_t* filter, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
                            int32_t weight_zero_point, std::byte* packed);
  void (*depthwise_i8)(const ConvShape& shape, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                       Range lines);

  // --- pooling over NHWC; kernel_* is the window, out-of-image taps do not count
  // ------------------------------------------------------------
  void (*max_pool_f32)(const ConvShape& shape, const float* input, float* output, ClampF32 clamp, Range lines);
  void (*average_pool_f32)(const ConvShape& shape, const float* input, float* output, ClampF32 clamp, Range lines);
  /// 8-bit: max/average (rounded half away from zero, as the reference), clamped to [min, max] in the element's own domain.
  void (*max_pool_i8)(const ConvShape& shape, const int8_t* input, int8_t* output, int32_t min, int32_t max, Range lines);
  void (*average_pool_i8)(const ConvShape& shape, const int8_t* input, int8_t* output, int32_t min, int32_t max, Range lines);
  void (*max_pool_u8)(const ConvShape& shape, const uint8_t* input, uint8_t* output, int32_t min, int32_t max, Range lines);
  void (*average_pool_u8)(const ConvShape& shape, const uint8_t* input, uint8_t* output, int32_t min, int32_t max, Range lines);

  // --- elementwise
  // -------------------------------------------------------------------------------------------------------------------------
  UnaryF32 unary_f32[static_cast<size_t>(Unary::kCount)];
  BinaryF32 binary_f32[static_cast<size_t>(Binary::kCount)][static_cast<size_t>(Operands::kCount)];
  BinaryF32 binary(Binary op, Operands operands) const { return binary_f32[static_cast<size_t>(op)][static_cast<size_t>(operands)]; }
  /// The low 8 bits of clamp(MultiplyByQuantizedMultiplier(x[i], multiplier, -right) + offset, min, max).
  void (*requantize_8)(const int32_t* x, uint8_t* y, size_t n, int32_t multiplier, int32_t right, int32_t offset, int32_t min, int32_t max);
  /// y[i] = table[x[i]] over bytes; int8 data is indexed by its bit pattern.
  void (*lookup_8)(const uint8_t* x, const uint8_t* table, uint8_t* y, size_t n);
  /// The logistic function and tanh of fixed-point numbers with 0 to 7 integer bits as fractions of 2^15, which gemmlowp approximates so.
  /// y may be x.
  void (*logistic_16)(const int16_t* x, int16_t* y, size_t n, int32_t integer_bits);
  void (*tanh_16)(const int16_t* x, int16_t* y, size_t n, int32_t integer_bits);
  void (*pieces_16)(const int16_t* x, int16_t* y, size_t n, const Pieces16& pieces);
  /// The sum of table[x[i] + first], where the index is a byte that wraps.
  int64_t (*sum_lookups_8)(const uint8_t* x, uint8_t first, const SumTable& table, size_t n);
  void (*add_i8)(const int8_t* a, const int8_t* b, int8_t* y, size_t n, const AddI8Params& params, Operands operands);
  /// The same up to the difference of both, which is squared and scaled to the output.
  void (*squared_difference_i8)(const int8_t* a, const int8_t* b, int8_t* y, size_t n, const AddI8Params& params, Operands operands);
  void (*add_u8)(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t n, const AddI8Params& params, Operands operands);
  void (*mul_i8)(const int8_t* a, const int8_t* b, int8_t* y, size_t n, const MulI8Params& params, Operands operands);
  void (*mul_u8)(const uint8_t* a, const uint8_t* b, uint8_t* y, size_t n, const MulI8Params& params, Operands operands);
  /// The same of 16 bits. SUB takes b's product away, whose multiplier is not negated.
  void (*add_i16)(const int16_t* a, const int16_t* b, int16_t* y, size_t n, const AddI8Params& params, Operands operands);
  void (*sub_i16)(const int16_t* a, const int16_t* b, int16_t* y, size_t n, const AddI8Params& params, Operands operands);
  void (*mul_i16)(const int16_t* a, const int16_t* b, int16_t* y, size_t n, const MulI8Params& params, Operands operands);
  /// round half away from zero (x / scale) + zero_point, saturated: LiteRT's reference QUANTIZE.
  void (*quantize_i8)(const float* x, int8_t* y, size_t n, float scale, int32_t zero_point);
  void (*quantize_u8)(const float* x, uint8_t* y, size_t n, float scale, int32_t zero_point);
  void (*quantize_i16)(const float* x, int16_t* y, size_t n, float scale, int32_t zero_point);
  void (*dequantize_i8)(const int8_t* x, float* y, size_t n, float scale, int32_t zero_point);
  void (*dequantize_u8)(const uint8_t* x, float* y, size_t n, float scale, int32_t zero_point);
  void (*dequantize_i16)(const int16_t* x, float* y, size_t n, float scale, int32_t zero_point);
  /// IEEE binary16 bits to float32, exactly.
  void (*f16_to_f32)(const uint16_t* x, float* y, size_t n);
  /// Hybrid activations, rows [rows.begin, rows.end) of [*, n]: symmetric gives scale = max|x| / 127 and zero point 0; asymmetric covers
  /// [min(x, 0), max(x, 0)] in 256 steps. Both as LiteRT's reference (portable_tensor_utils) rounds. If is_unsigned, bytes are stored as
  /// uint8, 128 higher; zero points stay in the int8 domain.
  void (*quantize_rows_symmetric)(const float* x, int8_t* y, size_t n, bool is_unsigned, float* scale, Range rows);
  void (*quantize_rows_asymmetric)(const float* x, int8_t* y, size_t n, bool is_unsigned, float* scale, int32_t* zero_point, Range rows);
  /// The same of a row that is taken in parts: the extremes of a part, and a part of a row of these extremes.
  ExtremesF32 (*extremes_f32)(const float* x, size_t n);
  void (*quantize_symmetric)(const float* x, int8_t* y, size_t n, bool is_unsigned, ExtremesF32 of_row, float* scale);
  void (*quantize_asymmetric)(const float* x, int8_t* y, size_t n, bool is_unsigned, ExtremesF32 of_row, float* scale, int32_t* zero_point);
  /// What quantize_asymmetric and dequantize_i8 make of a part, one after the other.
  void (*round_asymmetric)(const float* x, float* y, size_t n, ExtremesF32 of_row);

  // --- rows
  // --------------------------------------------------------------------------------------------------------------------------------
  float (*sum_f32)(const float* x, size_t n);
  float (*max_f32)(const float* x, size_t n);  // n >= 1
  float (*min_f32)(const float* x, size_t n);
  /// Of columns [0, n) of a matrix whose rows are `stride` apart: y[c] += the sum of column c, begun at 0, in the order of the rows.
  void (*sum_columns_f32)(const float* x, ptrdiff_t stride, size_t rows, float* y, size_t n);
  /// y[c] becomes the maximum, or minimum, of y[c] and column c. NaN is never taken for better.
  void (*max_columns_f32)(const float* x, ptrdiff_t stride, size_t rows, float* y, size_t n);
  void (*min_columns_f32)(const float* x, ptrdiff_t stride, size_t rows, float* y, size_t n);
  /// y[r * y_stride + c] = x[c * x_stride + r] for r < rows, c < columns.
  void (*transpose_32)(const uint32_t* x, ptrdiff_t x_stride, uint32_t* y, ptrdiff_t y_stride, int64_t rows, int64_t columns);
  /// y[i] += x[i]
  void (*accumulate_f32)(const float* x, float* y, size_t n);
  /// Rows [rows.begin, rows.end) of [*, depth]: exp(beta * (x - max)) / sum.
  void (*softmax_f32)(const float* x, float* y, int32_t depth, float beta, Range rows);
  /// Attention's softmax: rows [rows.begin, rows.end) of x * scale + mask. Row r of the mask is at mask + r * mask_stride; null: no mask.
  void (*masked_softmax_f32)(const float* x, const float* mask, ptrdiff_t mask_stride, float* y, int32_t depth, float scale, Range rows);
  /// Rows [rows.begin, rows.end) of [*, depth]: (x - mean) / sqrt(variance + epsilon) * scale + shift, scale and shift of depth values.
  void (*layer_norm_f32)(const float* x, const float* scale, const float* shift, float* y, int32_t depth, float epsilon, Range rows);
  /// The same rows: x / sqrt(weight * sum(x^2) + epsilon) * scale. Every tier gives the same bits: what follows may be rounded to 8 bits.
  void (*rms_norm_f32)(const float* x, const float* scale, float* y, int32_t depth, float weight, float epsilon, Range rows);
  /// Pixels of `depth` channels between columns, the next never left of the last, of two lines of in_width pixels, `weight` being the
  /// distance from the top one. The order of the sums is top left, bottom left, top right, bottom right. Null: there is no bottom line.
  void (*mix_columns_f32)(const float* top, const float* bottom, int32_t in_width, float weight, const ColumnsF32* columns, int32_t count,
                          int32_t depth, float* y);
  /// A line between two others: y[i] = top[i] * (1 - weight) + bottom[i] * weight.
  void (*mix_lines_f32)(const float* top, const float* bottom, float weight, float* y, size_t n);
  /// A line between two others, in units of 2^-10: y[i] = a[i] * (1024 - weight) + b[i] * weight. kMixLanes more are written.
  void (*mix_lines_i8)(const int8_t* a, const int8_t* b, int32_t weight, int32_t* y, size_t n);
  /// Pixels of `depth` channels between columns of such a line, over 2^20, rounded half away from zero.
  void (*mix_columns_i32)(const int32_t* line, const ColumnsI32* columns, int32_t count, int32_t depth, int8_t* y);
  /// y[i] += x[i], wrapping
  void (*accumulate_i8)(const int8_t* x, int32_t* y, size_t n);
  void (*accumulate_u8)(const uint8_t* x, int32_t* y, size_t n);
  /// The sum of x[0, n), wrapping.
  int32_t (*sum_i8)(const int8_t* x, size_t n);
  int32_t (*sum_u8)(const uint8_t* x, size_t n);

  /// What kernels/elements.h declares.
  const struct ElementKernels* elements;
};

/// One instruction-set tier, lowest first. `supported` says whether this machine has every feature that the tier's code uses.
struct Tier {
  const char* name;
  bool (*supported)();
  void (*overlay)(Kernels& table);  // replaces the rows that the tier does better; `scalar` fills all of them
  bool standin;  // the code of another tier over a software model of its unit, for tests: never chosen unless named, and no part of what
                 // follows
};

/// Every tier compiled into this build, lowest first, whether this machine can run it or not.
struct TierList {
  const Tier* data;
  size_t size;
};
TierList CompiledTiers();

/// The table for this machine, capped by the environment variable SIGRUN_MAX_ISA (a tier's name). Built once, thread-safe.
/// An unknown name caps nothing; build_info reports what is in use.
const Kernels& Best();

/// The table with the compiled and supported tiers up to and including `tier`; null if there is no such tier or the machine lacks it.
const Kernels* UpTo(const char* tier);

}  // namespace sigrun::kernels
