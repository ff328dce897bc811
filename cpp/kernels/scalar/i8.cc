// The specification of the 8-bit kernels: plain loops that every other tier equals exactly.

#include "kernels/common/fixed_point.h"
#include "kernels/common/fixed_point_16.h"
#include "kernels/common/lines_i8.h"
#include "kernels/common/low_bit_sums.h"
#include "kernels/common/row_params_i8.h"
#include "kernels/kernels.h"

namespace sigrun::kernels {
namespace {

constexpr size_t RoundUp64(size_t bytes) { return (bytes + 63) / 64 * 64; }

int32_t Flipped(uint8_t value, bool flip) { return static_cast<int8_t>(value ^ (flip ? 0x80 : 0)); }

int32_t Requantized(int32_t acc, const RequantizeParams& p, int32_t n) {
  return ClampI32(WrapAdd(MultiplyByQuantizedMultiplier(acc, p.multiplier[n], p.shift[n]), p.zero_point), p.min, p.max);
}

float Clamped(float x, ClampF32 clamp) {
  const float low = x < clamp.min ? clamp.min : x;
  return clamp.max < low ? clamp.max : low;
}

// Packed weights, of a convolution and of a depthwise one alike: int32 bias[n], then int16 (weight - weight_zero_point).
const int32_t* Bias(const std::byte* packed) { return reinterpret_cast<const int32_t*>(packed); }
const int16_t* Weights(const std::byte* packed, int32_t n) {
  return reinterpret_cast<const int16_t*>(packed + RoundUp64(static_cast<size_t>(n) * sizeof(int32_t)));
}
size_t PackedBytes(size_t n, size_t k) { return RoundUp64(n * sizeof(int32_t)) + RoundUp64(n * k * sizeof(int16_t)); }

// Where the output pixel `row` stands.
struct Pixel {
  int32_t batch, y, x;
};
Pixel PixelOf(const ConvShape& s, int32_t row) {
  return {row / (s.out_height * s.out_width), row / s.out_width % s.out_height, row % s.out_width};
}

// The input element of channel c under tap (ky, kx) of an output pixel, or -1 for a padded one. `depth` is the channels of a whole pixel.
ptrdiff_t InputIndex(const ConvShape& s, Pixel p, int32_t ky, int32_t kx, int32_t depth, int32_t c) {
  const int64_t y = static_cast<int64_t>(p.y) * s.stride_h - s.pad_top + static_cast<int64_t>(ky) * s.dilation_h;
  const int64_t x = static_cast<int64_t>(p.x) * s.stride_w - s.pad_left + static_cast<int64_t>(kx) * s.dilation_w;
  if (y < 0 || y >= s.in_height || x < 0 || x >= s.in_width) return -1;
  return ((static_cast<ptrdiff_t>(p.batch) * s.in_height + y) * s.in_width + x) * depth + c;
}

size_t PackBytes(const ConvShape& s) {
  return PackedBytes(static_cast<size_t>(s.out_channels), static_cast<size_t>(s.taps()) * s.in_channels);
}

void Pack(const ConvShape& s, WeightView<int8_t> weights, bool flip_weights, const int32_t* bias, int32_t /*input_zero_point*/,
          int32_t weight_zero_point, std::byte* packed) {
  const int32_t n = s.out_channels;
  const ptrdiff_t k_count = static_cast<ptrdiff_t>(s.taps()) * s.in_channels;
  int32_t* packed_bias = reinterpret_cast<int32_t*>(packed);
  int16_t* packed_weights = const_cast<int16_t*>(Weights(packed, n));
  for (int32_t i = 0; i < n; ++i) {
    packed_bias[i] = bias != nullptr ? bias[i] : 0;
    for (ptrdiff_t k = 0; k < k_count; ++k) {
      const uint8_t w = static_cast<uint8_t>(weights.data[i * weights.stride_n + k * weights.stride_k]);
      packed_weights[i * k_count + k] = static_cast<int16_t>(Flipped(w, flip_weights) - weight_zero_point);
    }
  }
}

size_t ConvScratchBytes(const ConvShape&) { return 0; }

// bias[n] + sum (a - zero_point) * (w - weight_zero_point), where padded taps hold the zero point and so add nothing.
int32_t ConvSum(const ConvShape& s, const uint8_t* input, bool flip, int32_t zero_point, const std::byte* packed, Pixel pixel,
                int32_t group, int32_t n) {
  const int32_t depth = s.in_channels * s.groups;
  const int16_t* w = Weights(packed, s.out_channels) + static_cast<ptrdiff_t>(n) * s.taps() * s.in_channels;
  int32_t sum = Bias(packed)[n];
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_width; ++kx, w += s.in_channels) {
      const ptrdiff_t base = InputIndex(s, pixel, ky, kx, depth, group * s.in_channels);
      if (base < 0) continue;
      for (int32_t c = 0; c < s.in_channels; ++c) sum = WrapAdd(sum, (Flipped(input[base + c], flip) - zero_point) * w[c]);
    }
  }
  return sum;
}

// f(a scaled, b scaled), scaled to the output.
template <class T, class F>
void ScaledElements(const T* a, const T* b, T* y, size_t n, const AddI8Params& p, Operands operands, F f) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t x0 = WrapShiftLeft(WrapAdd(a[operands == Operands::kScalarVector ? 0 : i], p.a_offset), p.left_shift);
    const int32_t x1 = WrapShiftLeft(WrapAdd(b[operands == Operands::kVectorScalar ? 0 : i], p.b_offset), p.left_shift);
    const int32_t result =
        f(MultiplyByQuantizedMultiplier(x0, p.a_multiplier, p.a_shift), MultiplyByQuantizedMultiplier(x1, p.b_multiplier, p.b_shift));
    const int32_t scaled = WrapAdd(MultiplyByQuantizedMultiplier(result, p.output_multiplier, p.output_shift), p.output_offset);
    y[i] = static_cast<T>(ClampI32(scaled, p.min, p.max));
  }
}

template <class T>
void AddElements(const T* a, const T* b, T* y, size_t n, const AddI8Params& p, Operands operands) {
  ScaledElements(a, b, y, n, p, operands, WrapAdd);
}

void SubElements(const int16_t* a, const int16_t* b, int16_t* y, size_t n, const AddI8Params& p, Operands operands) {
  ScaledElements(a, b, y, n, p, operands, WrapSub);
}

void Conv(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize, std::byte*,
          Range rows) {
  const size_t group_bytes = PackBytes(s);
  const int32_t channels = s.out_channels * s.groups;
  const uint8_t* in = static_cast<const uint8_t*>(input.data);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    uint8_t* out = static_cast<uint8_t*>(output) + row * s.output_stride();
    for (int32_t i = 0; i < channels; ++i) {
      const int32_t group = i / s.out_channels;
      const int32_t sum =
          ConvSum(s, in, input.is_unsigned, input.zero_point, packed + group * group_bytes, PixelOf(s, row), group, i % s.out_channels);
      int32_t y = 0;
      if (requantize.scale != nullptr) {
        y = ClampI32(WrapAdd(RoundScaled(sum, requantize.scale[i]), requantize.zero_point), requantize.min, requantize.max);
      } else {
        y = Requantized(sum, requantize, i);
      }
      if (requantize.add != nullptr) {
        const int8_t a = static_cast<int8_t>(y), b = requantize.residual[row * s.output_stride() + i];
        int8_t added = 0;
        AddElements(&a, &b, &added, 1, *requantize.add, Operands::kVectorVector);
        y = added;
      }
      *out++ = static_cast<uint8_t>(y);
    }
  }
}

void ConvF32(const ConvShape& s, InputI8 input, const std::byte* packed, float* output, const float* row_scale,
             const int32_t* row_zero_point, bool scale_per_batch, const float* channel_scale, const float* bias, const float* residual,
             ClampF32 clamp, std::byte*, Range rows) {
  const size_t group_bytes = PackBytes(s);
  const int32_t channels = s.out_channels * s.groups;
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const ptrdiff_t at = row * s.output_stride();
    const Pixel pixel = PixelOf(s, row);
    const int32_t r = scale_per_batch ? pixel.batch : row;
    const int32_t zero_point = row_zero_point != nullptr ? row_zero_point[r] : 0;
    for (int32_t i = 0; i < channels; ++i) {
      const int32_t group = i / s.out_channels;
      const int32_t sum = ConvSum(s, static_cast<const uint8_t*>(input.data), input.is_unsigned, zero_point, packed + group * group_bytes,
                                  pixel, group, i % s.out_channels);
      const float scaled = static_cast<float>(sum) * (row_scale[r] * channel_scale[i]);
      const float sum_of_row = scaled + (bias != nullptr ? bias[i] : 0.0f);
      output[at + i] = Clamped(residual != nullptr ? sum_of_row + residual[at + i] : sum_of_row, clamp);
    }
  }
}

// Packed weights of few bits: float scale[n][blocks], float weight_sum[n], then int8 weights [n][k].
size_t LowBitScaleBytes(const LowBitShape& s) { return RoundUp64(static_cast<size_t>(s.n) * (s.k / s.block) * sizeof(float)); }
size_t LowBitSumBytes(const LowBitShape& s) { return RoundUp64(static_cast<size_t>(s.n) * sizeof(float)); }
size_t PackLowBitsBytes(const LowBitShape& s) {
  return LowBitScaleBytes(s) + LowBitSumBytes(s) + RoundUp64(static_cast<size_t>(s.n) * s.k);
}

void PackLowBits(const LowBitShape& s, const int8_t* weights, const float* scale, std::byte* packed) {
  const size_t n = static_cast<size_t>(s.n);
  __builtin_memcpy(packed, scale, n * (s.k / s.block) * sizeof(float));
  float* sums = reinterpret_cast<float*>(packed + LowBitScaleBytes(s));
  for (int32_t i = 0; i < s.n; ++i) {
    sums[i] = WeightedSum(s, weights + static_cast<ptrdiff_t>(i) * s.k, scale + static_cast<ptrdiff_t>(i) * (s.k / s.block));
  }
  __builtin_memcpy(packed + LowBitScaleBytes(s) + LowBitSumBytes(s), weights, n * s.k);
}

void LowBitsF32(const LowBitShape& s, const LowBitRows& rows, const std::byte* packed, const float* bias, ClampF32 clamp, float* output,
                Range channels) {
  const int32_t blocks = s.k / s.block, stride = (s.block + kLowBitUnit - 1) / kLowBitUnit * kLowBitUnit;
  const float* scale = reinterpret_cast<const float*>(packed);
  const float* weight_sum = reinterpret_cast<const float*>(packed + LowBitScaleBytes(s));
  const int8_t* weights = reinterpret_cast<const int8_t*>(packed + LowBitScaleBytes(s) + LowBitSumBytes(s));
  const int32_t end = channels.end * kLowBitChannels < s.n ? channels.end * kLowBitChannels : s.n;
  for (int32_t r = 0; r < rows.count; ++r) {
    const int32_t zero_point = rows.zero_point != nullptr ? rows.zero_point[r] : 0, offset = blocks == 1 ? zero_point : 0;
    for (int32_t n = channels.begin * kLowBitChannels; n < end; ++n) {
      float y = -static_cast<float>(zero_point) * weight_sum[n];
      const float last = bias != nullptr ? bias[n] : 0.0f;
      for (int32_t b = 0; b < blocks; ++b) {
        const int8_t* a = rows.data + (static_cast<ptrdiff_t>(r) * blocks + b) * stride;
        const int8_t* w = weights + static_cast<ptrdiff_t>(n) * s.k + static_cast<ptrdiff_t>(b) * s.block;
        int32_t sum = 0;
        for (int32_t i = 0; i < s.block; ++i) sum = WrapAdd(sum, (a[i] - offset) * w[i]);
        const float block_scale = scale[static_cast<ptrdiff_t>(n) * blocks + b];
        y = blocks == 1 ? static_cast<float>(sum) * (rows.scale[r] * block_scale) : static_cast<float>(sum) * block_scale + y;
      }
      output[static_cast<ptrdiff_t>(r) * s.n + n] = Clamped((blocks == 1 ? y : y * rows.scale[r]) + last, clamp);
    }
  }
}

size_t PackDepthwiseBytes(const ConvShape& s) { return PackedBytes(static_cast<size_t>(s.out_channels), static_cast<size_t>(s.taps())); }

void PackDepthwise(const ConvShape& s, const int8_t* filter, bool flip_weights, const int32_t* bias, int32_t /*input_zero_point*/,
                   int32_t weight_zero_point, std::byte* packed) {
  int32_t* packed_bias = reinterpret_cast<int32_t*>(packed);
  int16_t* packed_weights = const_cast<int16_t*>(Weights(packed, s.out_channels));
  for (int32_t i = 0; i < s.out_channels; ++i) packed_bias[i] = bias != nullptr ? bias[i] : 0;
  const ptrdiff_t count = static_cast<ptrdiff_t>(s.taps()) * s.out_channels;
  for (ptrdiff_t i = 0; i < count; ++i) {
    packed_weights[i] = static_cast<int16_t>(Flipped(static_cast<uint8_t>(filter[i]), flip_weights) - weight_zero_point);
  }
}

void Depthwise(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize, Range lines) {
  const uint8_t* in = static_cast<const uint8_t*>(input.data);
  const int32_t multiplier = s.out_channels / s.in_channels;
  uint8_t* out = static_cast<uint8_t*>(output) + static_cast<ptrdiff_t>(lines.begin) * s.out_width * s.out_channels;
  for (int32_t row = lines.begin * s.out_width; row < lines.end * s.out_width; ++row) {
    const Pixel pixel = PixelOf(s, row);
    for (int32_t i = 0; i < s.out_channels; ++i) {
      const int16_t* w = Weights(packed, s.out_channels) + i;
      int32_t sum = Bias(packed)[i];
      for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
        for (int32_t kx = 0; kx < s.kernel_width; ++kx, w += s.out_channels) {
          const ptrdiff_t at = InputIndex(s, pixel, ky, kx, s.in_channels, i / multiplier);
          if (at >= 0) sum = WrapAdd(sum, (Flipped(in[at], input.is_unsigned) - input.zero_point) * *w);
        }
      }
      *out++ = static_cast<uint8_t>(Requantized(sum, requantize, i));
    }
  }
}

// Calls visit(output index, pixel, channel) for every output element of the lines.
template <class Visit>
void ForEachOutput(const ConvShape& s, Range lines, Visit visit) {
  ptrdiff_t at = static_cast<ptrdiff_t>(lines.begin) * s.out_width * s.in_channels;
  for (int32_t row = lines.begin * s.out_width; row < lines.end * s.out_width; ++row) {
    for (int32_t c = 0; c < s.in_channels; ++c) visit(at++, PixelOf(s, row), c);
  }
}

template <class T>
void MaxPool(const ConvShape& s, const T* input, T* output, int32_t min, int32_t max, Range lines) {
  ForEachOutput(s, lines, [&](ptrdiff_t at, Pixel pixel, int32_t c) {
    int32_t best = static_cast<T>(-1) < 0 ? -128 : 0;
    for (int32_t tap = 0; tap < s.taps(); ++tap) {
      const ptrdiff_t from = InputIndex(s, pixel, tap / s.kernel_width, tap % s.kernel_width, s.in_channels, c);
      if (from >= 0 && input[from] > best) best = input[from];
    }
    output[at] = static_cast<T>(ClampI32(best, min, max));
  });
}

// The rounded mean of the taps inside the image; a window wholly outside gives 0.
template <class T>
void AveragePool(const ConvShape& s, const T* input, T* output, int32_t min, int32_t max, Range lines) {
  ForEachOutput(s, lines, [&](ptrdiff_t at, Pixel pixel, int32_t c) {
    int64_t sum = 0, count = 0;
    for (int32_t tap = 0; tap < s.taps(); ++tap) {
      const ptrdiff_t from = InputIndex(s, pixel, tap / s.kernel_width, tap % s.kernel_width, s.in_channels, c);
      if (from < 0) continue;
      sum += input[from];
      ++count;
    }
    const int64_t mean = count == 0 ? 0 : (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
    output[at] = static_cast<T>(ClampI32(static_cast<int32_t>(mean), min, max));
  });
}

void RequantizeRow(const int32_t* x, uint8_t* y, size_t n, int32_t multiplier, int32_t right, int32_t offset, int32_t min, int32_t max) {
  for (size_t i = 0; i < n; ++i) {
    y[i] = static_cast<uint8_t>(ClampI32(WrapAdd(MultiplyByQuantizedMultiplier(x[i], multiplier, -right), offset), min, max));
  }
}

void Lookup(const uint8_t* x, const uint8_t* table, uint8_t* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = table[x[i]];
}

void Logistics(const int16_t* x, int16_t* y, size_t n, int32_t integer_bits) {
  for (size_t i = 0; i < n; ++i) y[i] = fixed16::Logistic(x[i], integer_bits);
}
void Tanhs(const int16_t* x, int16_t* y, size_t n, int32_t integer_bits) {
  for (size_t i = 0; i < n; ++i) y[i] = fixed16::Tanh(x[i], integer_bits);
}

void TakePieces(const int16_t* x, int16_t* y, size_t n, const Pieces16& p) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t s = ((x[i] * p.multiplier + p.nudge) >> p.shift) + p.bias, magnitude = s < 0 ? -s : s;
    const int32_t above = magnitude >> p.bits, piece = (above < p.last ? above : p.last) + (s < 0 ? 256 : 0);
    y[i] = static_cast<int16_t>((p.offset[piece] + p.slope[piece] * (magnitude & ((1 << p.bits) - 1))) >> p.right);
  }
}

int64_t SumLookups(const uint8_t* x, uint8_t first, const SumTable& table, size_t n) {
  constexpr size_t kRun = 4096;  // what the table holds is at most 2^19
  int64_t sum = 0;
  for (size_t begin = 0; begin < n; begin += kRun) {
    const size_t end = begin + kRun < n ? begin + kRun : n;
    uint32_t part[4] = {};  // apart, so that they do not wait for each other
    const auto value = [&](size_t i) { return static_cast<uint32_t>(table.whole[static_cast<uint8_t>(x[i] + first)]); };
    size_t i = begin;
    for (; i + 4 <= end; i += 4) {
      for (size_t k = 0; k < 4; ++k) part[k] += value(i + k);
    }
    for (; i < end; ++i) part[0] += value(i);
    for (const uint32_t p : part) sum += p;
  }
  return sum;
}

void SquaredDifferences(const int8_t* a, const int8_t* b, int8_t* y, size_t n, const AddI8Params& p, Operands operands) {
  ScaledElements(a, b, y, n, p, operands, [](int32_t x0, int32_t x1) { return WrapMul(WrapSub(x0, x1), WrapSub(x0, x1)); });
}

template <class T>
void MulElements(const T* a, const T* b, T* y, size_t n, const MulI8Params& p, Operands operands) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t x0 = WrapAdd(a[operands == Operands::kScalarVector ? 0 : i], p.a_offset);
    const int32_t x1 = WrapAdd(b[operands == Operands::kVectorScalar ? 0 : i], p.b_offset);
    const int32_t scaled = WrapAdd(MultiplyByQuantizedMultiplier(WrapMul(x0, x1), p.output_multiplier, p.output_shift), p.output_offset);
    y[i] = static_cast<T>(ClampI32(scaled, p.min, p.max));
  }
}

// x limited to [min, max] and then rounded half away from zero. NaN counts as min.
int32_t RoundedWithin(float x, float min, float max) {
  const float low = x > min ? x : min;
  return static_cast<int32_t>(__builtin_roundf(low < max ? low : max));
}

template <class T>
void Quantize(const float* x, T* y, size_t n, float scale, int32_t zero_point) {
  constexpr int32_t kValues = 1 << (8 * sizeof(T)), kMin = static_cast<T>(-1) < 0 ? -kValues / 2 : 0;
  constexpr float kMost = 131072.0f;
  for (size_t i = 0; i < n; ++i) {
    y[i] = static_cast<T>(ClampI32(WrapAdd(RoundedWithin(x[i] / scale, -kMost, kMost), zero_point), kMin, kMin + kValues - 1));
  }
}

template <class T>
void Dequantize(const T* x, float* y, size_t n, float scale, int32_t zero_point) {
  for (size_t i = 0; i < n; ++i) y[i] = static_cast<float>(WrapSub(x[i], zero_point)) * scale;
}

ExtremesF32 Extremes(const float* x, size_t n) {
  ExtremesF32 e{0.0f, 0.0f};
  for (size_t i = 0; i < n; ++i) {
    e.low = x[i] < e.low ? x[i] : e.low;
    e.high = x[i] > e.high ? x[i] : e.high;
  }
  return e;
}

int8_t Stored(int32_t byte, bool is_unsigned) { return static_cast<int8_t>(is_unsigned ? byte + 128 : byte); }

void QuantizeSymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, ExtremesF32 of_row, float* scale) {
  const float range = -of_row.low > of_row.high ? -of_row.low : of_row.high;
  *scale = range == 0.0f ? 1.0f : range / 127.0f;
  const float inverse = range == 0.0f ? 0.0f : 127.0f / range;
  for (size_t i = 0; i < n; ++i) {
    y[i] = Stored(range == 0.0f ? 0 : RoundedWithin(x[i] * inverse, -127.0f, 127.0f), is_unsigned);
  }
}

int32_t RoundedAsymmetric(float x, ExtremesF32 of_row, float scale, int32_t zero_point) {
  if (of_row.low == of_row.high) return 0;
  const float inverse = 1.0f / scale;
  return ClampI32(RoundedWithin(x * inverse, -256.0f, 256.0f) + zero_point, -128, 127);
}

void QuantizeAsymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, ExtremesF32 of_row, float* scale, int32_t* zero_point) {
  AsymmetricParams(of_row.low, of_row.high, scale, zero_point);
  for (size_t i = 0; i < n; ++i) y[i] = Stored(RoundedAsymmetric(x[i], of_row, *scale, *zero_point), is_unsigned);
}

void RoundAsymmetric(const float* x, float* y, size_t n, ExtremesF32 of_row) {
  float scale;
  int32_t zero_point;
  AsymmetricParams(of_row.low, of_row.high, &scale, &zero_point);
  for (size_t i = 0; i < n; ++i) y[i] = static_cast<float>(RoundedAsymmetric(x[i], of_row, scale, zero_point) - zero_point) * scale;
}

void QuantizeRowsSymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, float* scale, Range rows) {
  for (ptrdiff_t r = rows.begin; r < rows.end; ++r) {
    const float* row = x + r * static_cast<ptrdiff_t>(n);
    QuantizeSymmetric(row, y + r * static_cast<ptrdiff_t>(n), n, is_unsigned, Extremes(row, n), scale + r);
  }
}

void QuantizeRowsAsymmetric(const float* x, int8_t* y, size_t n, bool is_unsigned, float* scale, int32_t* zero_point, Range rows) {
  for (ptrdiff_t r = rows.begin; r < rows.end; ++r) {
    const float* row = x + r * static_cast<ptrdiff_t>(n);
    QuantizeAsymmetric(row, y + r * static_cast<ptrdiff_t>(n), n, is_unsigned, Extremes(row, n), scale + r, zero_point + r);
  }
}

}  // namespace

namespace scalar {

void OverlayI8(Kernels& table) {
  table.i8_columns = 1;
  table.i8_takes_unsigned = false;
  table.pack_i8_bytes = PackBytes;
  table.pack_i8 = Pack;
  table.conv_i8_scratch_bytes = ConvScratchBytes;
  table.conv_i8 = Conv;
  table.conv_i8_f32 = ConvF32;
  table.pack_low_bits_bytes = PackLowBitsBytes;
  table.pack_low_bits = PackLowBits;
  table.low_bits_f32 = LowBitsF32;
  table.pack_depthwise_i8_bytes = PackDepthwiseBytes;
  table.pack_depthwise_i8 = PackDepthwise;
  table.depthwise_i8 = Depthwise;
  table.max_pool_i8 = MaxPool<int8_t>;
  table.max_pool_u8 = MaxPool<uint8_t>;
  table.average_pool_i8 = AveragePool<int8_t>;
  table.average_pool_u8 = AveragePool<uint8_t>;
  table.requantize_8 = RequantizeRow;
  table.lookup_8 = Lookup;
  table.sum_lookups_8 = SumLookups;
  table.logistic_16 = Logistics;
  table.tanh_16 = Tanhs;
  table.pieces_16 = TakePieces;
  table.add_i8 = AddElements<int8_t>;
  table.add_u8 = AddElements<uint8_t>;
  table.squared_difference_i8 = SquaredDifferences;
  table.mul_i8 = MulElements<int8_t>;
  table.mul_u8 = MulElements<uint8_t>;
  table.add_i16 = AddElements<int16_t>;
  table.sub_i16 = SubElements;
  table.mul_i16 = MulElements<int16_t>;
  table.quantize_i8 = Quantize<int8_t>;
  table.quantize_u8 = Quantize<uint8_t>;
  table.quantize_i16 = Quantize<int16_t>;
  table.dequantize_i8 = Dequantize<int8_t>;
  table.dequantize_u8 = Dequantize<uint8_t>;
  table.dequantize_i16 = Dequantize<int16_t>;
  table.quantize_rows_symmetric = QuantizeRowsSymmetric;
  table.quantize_rows_asymmetric = QuantizeRowsAsymmetric;
  table.extremes_f32 = Extremes;
  table.quantize_symmetric = QuantizeSymmetric;
  table.quantize_asymmetric = QuantizeAsymmetric;
  table.round_asymmetric = RoundAsymmetric;
  OverlayLinesI8(table);
}

}  // namespace scalar
}  // namespace sigrun::kernels
