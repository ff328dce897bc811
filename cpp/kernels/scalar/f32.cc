#include <math.h>

#include <cstring>
#include <span>

#include "kernels/common/bf16.h"
#include "kernels/common/inline.h"
#include "kernels/common/sum_squares.h"
#include "kernels/kernels.h"
#include "kernels/winograd_lines.h"
#include "kernels/winograd_squares.h"

namespace sigrun::kernels {
namespace {
SIGRUN_INLINE float AddScaled(float a, float s, float b) { return a + s * b; }
}  // namespace
}  // namespace sigrun::kernels

#include "kernels/common/winograd_transform.h"

// The specification of the float32 kernels: plain loops, one sum after the other.
namespace sigrun::kernels {
namespace {

constexpr float kInfinity = __builtin_inff();

// The comparisons are written so that NaN passes through a clamp.
SIGRUN_INLINE float Clamp(float x, float low, float high) {
  const float y = low > x ? low : x;
  return high < y ? high : y;
}

float HardSwish(float x) { return x * Clamp((x + 3.0f) * (1.0f / 6.0f), 0.0f, 1.0f); }
// By e^-|x|, so that large negative arguments give small results instead of 0.
float Logistic(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (e + 1.0f);
}

float Activate(const EpilogueF32& e, float x, int32_t channel) {
  switch (e.activation) {
    case ActivationF32::kNone: break;
    case ActivationF32::kHardSwish: return HardSwish(x);
    case ActivationF32::kSilu: return x * Logistic(x);
    case ActivationF32::kLogistic: return Logistic(x);
    case ActivationF32::kTanh: return tanhf(x);
    case ActivationF32::kLeakyRelu: return x < 0.0f ? x * e.alpha : x;
    case ActivationF32::kPrelu: return x < 0.0f ? x * e.slope[channel] : x;
  }
  return x;
}

// What is stored at `at` of the output: in a pixel's channel `channel`, the sum is sum.
float Finish(const EpilogueF32& e, float sum, ptrdiff_t at, int32_t channel) {
  if (e.residual != nullptr) sum += e.residual[at];
  return Clamp(Activate(e, sum, channel), e.clamp.min, e.clamp.max);
}

// --- GEMM and convolution; packed: [bias][n][k]
// -------------------------------------------------------------------------------------------

size_t PackF32Bytes(int32_t k, int32_t n) {
  const size_t bytes = static_cast<size_t>(n) * (static_cast<size_t>(k) + 1) * sizeof(float);
  return (bytes + 63) / 64 * 64;
}

void PackF32(int32_t k, int32_t n, WeightView<float> weights, const float* bias, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  for (int32_t i = 0; i < n; ++i) *to++ = bias != nullptr ? bias[i] : 0.0f;
  for (int32_t i = 0; i < n; ++i) {
    for (int32_t j = 0; j < k; ++j) *to++ = weights.data[i * weights.stride_n + j * weights.stride_k];
  }
}

float FloatOf(float x) { return x; }

// The element of the input at (image, y, x), or null for a padded tap.
template <class T>
const T* InputPixel(const ConvShape& s, const T* input, int32_t image, int32_t y, int32_t x) {
  if (y < 0 || y >= s.in_height || x < 0 || x >= s.in_width) return nullptr;
  return input + ((static_cast<ptrdiff_t>(image) * s.in_height + y) * s.in_width + x) * s.in_channels * s.groups;
}

struct Pixel {
  int32_t image, y, x;
};

Pixel PixelAt(const ConvShape& s, int32_t row) {
  return {row / (s.out_height * s.out_width), row / s.out_width % s.out_height, row % s.out_width};
}

// One output: the sum over the window of a group's channels with the weights of one output channel.
float ConvSum(const ConvShape& s, const float* input, Pixel at, int32_t group, const float* weights, float sum) {
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_width; ++kx, weights += s.in_channels) {
      const float* pixel = InputPixel(s, input, at.image, at.y * s.stride_h - s.pad_top + ky * s.dilation_h,
                                      at.x * s.stride_w - s.pad_left + kx * s.dilation_w);
      if (pixel == nullptr) continue;
      for (int32_t c = 0; c < s.in_channels; ++c) sum += pixel[group * s.in_channels + c] * weights[c];
    }
  }
  return sum;
}

void ConvF32(const ConvShape& s, const float* input, const std::byte* packed, float* output, const EpilogueF32& epilogue, Range rows) {
  const int32_t k = s.kernel_height * s.kernel_width * s.in_channels, channels = s.packed_groups * s.out_channels;
  const size_t packed_bytes = PackF32Bytes(k, channels);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    ptrdiff_t at = row * s.output_stride();
    for (int32_t i = 0; i < s.groups / s.packed_groups; ++i) {
      const float* bias = reinterpret_cast<const float*>(packed + static_cast<size_t>(i) * packed_bytes);
      const float* weights = bias + channels;
      for (int32_t n = 0; n < channels; ++n, ++at, weights += k) {
        const int32_t channel = i * channels + n;
        output[at] = Finish(epilogue, ConvSum(s, input, PixelAt(s, row), channel / s.out_channels, weights, bias[n]), at, channel);
      }
    }
  }
}

void FewRowsF32(int32_t m, int32_t k, int32_t n, const float* a, ptrdiff_t a_stride, WeightView<float> right, float* output,
                ptrdiff_t output_stride, ClampF32 clamp) {
  for (int32_t i = 0; i < m; ++i) {
    for (int32_t j = 0; j < n; ++j) {
      float sum = 0.0f;
      for (int32_t x = 0; x < k; ++x) sum += a[i * a_stride + x] * right.data[j * right.stride_n + x * right.stride_k];
      output[i * output_stride + j] = Clamp(sum, clamp.min, clamp.max);
    }
  }
}

// --- the same with bfloat16 products; packed: [bias][part][n][k], each part as a float
// ----------------------------------------------------------------------------------------------------

size_t PackBf16Bytes(int32_t k, int32_t n, int32_t parts) {
  const size_t bytes = static_cast<size_t>(n) * (static_cast<size_t>(k) * static_cast<size_t>(parts) + 1) * sizeof(float);
  return (bytes + 63) / 64 * 64;
}

/// A number as parts, bfloat16 each; those that are not taken are 0.
struct Parts {
  float of[3];
};
Parts PartsOf(float x, int32_t parts) {
  if (parts == 3) {
    const ThreeBf16 three = SplitInThree(x);
    return {{FloatOf(three.part[0]), FloatOf(three.part[1]), FloatOf(three.part[2])}};
  }
  const Bf16 rounded = RoundToBf16(x);
  return {{FloatOf(rounded), parts == 2 ? FloatOf(RestAfter(x, rounded)) : 0.0f, 0.0f}};
}

void PackBf16(int32_t k, int32_t n, int32_t parts, WeightView<float> weights, const float* bias, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  for (int32_t i = 0; i < n; ++i) *to++ = bias != nullptr ? bias[i] : 0.0f;
  for (int32_t part = 0; part < parts; ++part) {
    for (int32_t i = 0; i < n; ++i) {
      for (int32_t j = 0; j < k; ++j) {
        const float x = weights.data[i * weights.stride_n + j * weights.stride_k];
        *to++ = PartsOf(x, parts).of[part];
      }
    }
  }
}

// ConvSum of the parts: of the products of a pair of numbers the `orders` greatest kinds, the least first. A part of the weights lies
// `next` behind the one before.
template <class T>
float ConvSumBf16(const ConvShape& s, int32_t parts, int32_t orders, const T* input, Pixel at, int32_t group, const float* weights,
                  ptrdiff_t next, float sum) {
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_width; ++kx, weights += s.in_channels) {
      const T* pixel = InputPixel(s, input, at.image, at.y * s.stride_h - s.pad_top + ky * s.dilation_h,
                                  at.x * s.stride_w - s.pad_left + kx * s.dilation_w);
      if (pixel == nullptr) continue;
      for (int32_t c = 0; c < s.in_channels; ++c) {
        const float x = FloatOf(pixel[group * s.in_channels + c]);
        const Parts a = PartsOf(x, parts);
        for (int32_t least = orders - 1; least >= 0; --least) {
          for (int32_t i = 0; i <= least; ++i) sum += a.of[i] * weights[c + (least - i) * next];
        }
      }
    }
  }
  return sum;
}

size_t ConvBf16ScratchBytes(const ConvShape&, int32_t) { return 0; }

template <class T>
void ConvBf16Of(const ConvShape& s, int32_t parts, Bf16Operands operands, const T* input, const std::byte* packed, void* output,
                const EpilogueF32& epilogue, Range rows) {
  const int32_t k = s.kernel_height * s.kernel_width * s.in_channels;
  const size_t group_bytes = PackBf16Bytes(k, s.out_channels, parts);
  const ptrdiff_t next = static_cast<ptrdiff_t>(s.out_channels) * k;
  EpilogueF32 end = epilogue;
  if (operands.residual) end.residual = nullptr;
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    ptrdiff_t at = row * s.output_stride();
    for (int32_t g = 0; g < s.groups; ++g) {
      const float* bias = reinterpret_cast<const float*>(packed + static_cast<size_t>(g) * group_bytes);
      const float* weights = bias + s.out_channels;
      for (int32_t n = 0; n < s.out_channels; ++n, ++at, weights += k) {
        const Pixel pixel = PixelAt(s, row);
        float sum = ConvSumBf16(s, parts, parts, input, pixel, g, weights, next, bias[n]);
        // An infinity's lesser parts, or a 0 that it is multiplied by, are NaN: the greatest parts tell which of both it is.
        if (parts > 1 && !isfinite(sum)) {
          const float greatest = ConvSumBf16(s, parts, 1, input, pixel, g, weights, next, bias[n]);
          if (!isfinite(greatest)) sum = greatest;
        }
        if (operands.residual) sum += FloatOf(reinterpret_cast<const Bf16*>(epilogue.residual)[at]);
        const float y = Finish(end, sum, at, g * s.out_channels + n);
        if (operands.output) {
          static_cast<Bf16*>(output)[at] = RoundToBf16(y);
        } else {
          static_cast<float*>(output)[at] = y;
        }
      }
    }
  }
}

void ConvBf16(const ConvShape& s, int32_t parts, Bf16Operands operands, const void* input, const std::byte* packed, void* output,
              const EpilogueF32& epilogue, std::byte*, Range rows) {
  if (operands.input) return ConvBf16Of(s, parts, operands, static_cast<const Bf16*>(input), packed, output, epilogue, rows);
  ConvBf16Of(s, parts, operands, static_cast<const float*>(input), packed, output, epilogue, rows);
}

// --- depthwise; packed: [bias][filter]
// -----------------------------------------------------------------------------------------------------

size_t PackDepthwiseF32Bytes(const ConvShape& s) {
  return static_cast<size_t>(s.out_channels) * static_cast<size_t>(s.kernel_height * s.kernel_width + 1) * sizeof(float);
}

void PackDepthwiseF32(const ConvShape& s, const float* filter, const float* bias, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  const ptrdiff_t count = static_cast<ptrdiff_t>(s.kernel_height) * s.kernel_width * s.out_channels;
  for (int32_t c = 0; c < s.out_channels; ++c) *to++ = bias != nullptr ? bias[c] : 0.0f;
  for (ptrdiff_t i = 0; i < count; ++i) *to++ = filter[i];
}

template <class T>
float DepthwiseSum(const ConvShape& s, const T* input, Pixel at, int32_t channel, const float* weights, float sum) {
  const int32_t multiplier = s.out_channels / s.in_channels;
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_width; ++kx, weights += s.out_channels) {
      const T* pixel = InputPixel(s, input, at.image, at.y * s.stride_h - s.pad_top + ky * s.dilation_h,
                                  at.x * s.stride_w - s.pad_left + kx * s.dilation_w);
      if (pixel != nullptr) sum += FloatOf(pixel[channel / multiplier]) * weights[channel];
    }
  }
  return sum;
}

void Store(float* to, float x) { *to = x; }
void Store(Bf16* to, float x) { *to = RoundToBf16(x); }

template <class T>
void Depthwise(const ConvShape& s, const T* input, const std::byte* packed, T* output, const EpilogueF32& epilogue, Range lines) {
  const float* bias = reinterpret_cast<const float*>(packed);
  for (int32_t line = lines.begin; line < lines.end; ++line) {
    for (int32_t x = 0; x < s.out_width; ++x) {
      const Pixel at = {line / s.out_height, line % s.out_height, x};
      const ptrdiff_t pixel = (static_cast<ptrdiff_t>(line) * s.out_width + x) * s.output_stride();
      for (int32_t c = 0; c < s.out_channels; ++c) {
        Store(output + pixel + c, Finish(epilogue, DepthwiseSum(s, input, at, c, bias + s.out_channels, bias[c]), pixel + c, c));
      }
    }
  }
}

// --- Winograd; packed: [point][out_channels][in_channels]
// ----------------------------------------------------------------------------------

// transform(kFrom values, kTo results) over the columns of `from`, then over the rows of what they gave.
template <int kFrom, int kTo, class Transform>
void TransformSquare(const float (&from)[kFrom][kFrom], float (&to)[kTo][kTo], const Transform& transform) {
  float half[kTo][kFrom];
  for (int j = 0; j < kFrom; ++j) {
    float column[kFrom], t[kTo];
    for (int i = 0; i < kFrom; ++i) column[i] = from[i][j];
    transform(column, t);
    for (int i = 0; i < kTo; ++i) half[i][j] = t[i];
  }
  for (int i = 0; i < kTo; ++i) transform(half[i], to[i]);
}

template <int m>
void WinogradFilters(int32_t k, int32_t n, const float* filters, float* to) {
  const ptrdiff_t plane = static_cast<ptrdiff_t>(n) * k;
  for (ptrdiff_t i = 0; i < plane; ++i, ++to) {
    float g[3][3], u[m + 2][m + 2];
    for (int tap = 0; tap < 9; ++tap) g[tap / 3][tap % 3] = filters[(i / k * 9 + tap) * k + i % k];
    TransformSquare(g, u, [](const auto& from, auto& result) { WinogradTransformFilter(from, result); });
    for (int point = 0; point < (m + 2) * (m + 2); ++point) to[point * plane] = u[point / (m + 2)][point % (m + 2)];
  }
}

size_t PackWinogradF32Bytes(int32_t m, int32_t k, int32_t n) {
  return static_cast<size_t>((m + 2) * (m + 2)) * static_cast<size_t>(k) * static_cast<size_t>(n) * sizeof(float);
}

void PackWinogradF32(int32_t m, int32_t k, int32_t n, const float* filters, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  return m == 2 ? WinogradFilters<2>(k, n, filters, to) : WinogradFilters<4>(k, n, filters, to);
}

template <int m>
void WinogradInput(const ConvShape& s, const float* input, float* to, ptrdiff_t plane, Range tiles) {
  const WinogradSquares squares(s, m);
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int32_t top = squares.Line(tile) - s.pad_top, left = squares.Column(tile) - s.pad_left;
    for (int32_t c = 0; c < s.in_channels; ++c, ++to) {
      float d[m + 2][m + 2], t[m + 2][m + 2];
      for (int32_t i = 0; i < (m + 2) * (m + 2); ++i) {
        const int32_t y = top + i / (m + 2) * s.dilation_h, x = left + i % (m + 2) * s.dilation_w;
        const float* pixel = InputPixel(s, input, squares.Image(tile), y, x);
        d[i / (m + 2)][i % (m + 2)] = pixel == nullptr ? 0.0f : pixel[c];
      }
      TransformSquare(d, t, [](const auto& from, auto& result) { WinogradTransformInput(from, result); });
      for (int32_t i = 0; i < (m + 2) * (m + 2); ++i) to[i * plane] = t[i / (m + 2)][i % (m + 2)];
    }
  }
}

void WinogradMultiplyF32(int32_t k, int32_t n, int32_t tiles, const float* from, ptrdiff_t from_plane, const std::byte* packed, float* to,
                         ptrdiff_t to_plane, Range points) {
  from += points.begin * from_plane;
  to += points.begin * to_plane;
  const float* weights = reinterpret_cast<const float*>(packed) + static_cast<ptrdiff_t>(points.begin) * n * k;
  for (int32_t point = points.begin; point < points.end; ++point, from += from_plane, to += to_plane) {
    for (int32_t j = 0; j < n; ++j, weights += k) {
      for (int32_t tile = 0; tile < tiles; ++tile) {
        float sum = 0.0f;
        for (int32_t c = 0; c < k; ++c) sum += from[static_cast<ptrdiff_t>(tile) * k + c] * weights[c];
        to[static_cast<ptrdiff_t>(tile) * n + j] = sum;
      }
    }
  }
}

template <int m>
void WinogradOutput(const ConvShape& s, const float* from, ptrdiff_t plane, const float* bias, float* output, const EpilogueF32& epilogue,
                    Range tiles) {
  const WinogradSquares squares(s, m);
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile) {
    for (int32_t c = 0; c < s.out_channels; ++c, ++from) {
      float sums[m + 2][m + 2], pixels[m][m];
      for (int32_t i = 0; i < (m + 2) * (m + 2); ++i) sums[i / (m + 2)][i % (m + 2)] = from[i * plane];
      TransformSquare(sums, pixels, [](const auto& column, auto& result) { WinogradTransformOutput(column, result); });
      for (int32_t i = 0; i < m; ++i) {
        for (int32_t j = 0; j < m; ++j) {
          const int32_t y = squares.Line(tile) + i * s.dilation_h, x = squares.Column(tile) + j * s.dilation_w;
          if (y >= s.out_height || x >= s.out_width) continue;
          const ptrdiff_t line = static_cast<ptrdiff_t>(squares.Image(tile)) * s.out_height + y;
          const ptrdiff_t position = (line * s.out_width + x) * s.out_channels + c;
          output[position] = Finish(epilogue, pixels[i][j] + bias[c], position, c);
        }
      }
    }
  }
}

void WinogradInputF32(const ConvShape& s, int32_t m, const float* input, float* to, ptrdiff_t plane, Range tiles) {
  return m == 2 ? WinogradInput<2>(s, input, to, plane, tiles) : WinogradInput<4>(s, input, to, plane, tiles);
}

void WinogradOutputF32(const ConvShape& s, int32_t m, const float* from, ptrdiff_t plane, const float* bias, float* output,
                       const EpilogueF32& epilogue, Range tiles) {
  return m == 2 ? WinogradOutput<2>(s, from, plane, bias, output, epilogue, tiles)
                : WinogradOutput<4>(s, from, plane, bias, output, epilogue, tiles);
}

// --- Winograd over lines; packed: [point][out_channels][part][in_channels]
// ------------------------------------------------------------------

size_t PackWinogradLineF32Bytes(const ConvShape& s, int32_t taps) {
  return kWinogradLinePoints * static_cast<size_t>(WinogradLines(s, taps).parts * s.in_channels) * static_cast<size_t>(s.out_channels) *
         sizeof(float);
}

template <int kTaps>
void WinogradLineFilters(const ConvShape& s, const float* filters, float* to) {
  const WinogradLines lines(s, kTaps);
  const int32_t k = lines.parts * s.in_channels;
  const ptrdiff_t plane = static_cast<ptrdiff_t>(s.out_channels) * k;
  for (ptrdiff_t i = 0; i < plane; ++i, ++to) {
    const int32_t part = static_cast<int32_t>(i % k) / s.in_channels, c = static_cast<int32_t>(i % k) % s.in_channels;
    float g[kTaps], u[kWinogradLinePoints];
    for (int32_t j = 0; j < kTaps; ++j) {
      const int32_t tap = lines.Tap(part, j);
      g[j] = tap < lines.window ? filters[(i / k * lines.window + tap) * s.in_channels + c] : 0.0f;
    }
    WinogradTransformFilter(g, u);
    for (int point = 0; point < kWinogradLinePoints; ++point) to[point * plane] = u[point];
  }
}

void PackWinogradLineF32(const ConvShape& s, int32_t taps, const float* filters, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  return taps == 3   ? WinogradLineFilters<3>(s, filters, to)
         : taps == 4 ? WinogradLineFilters<4>(s, filters, to)
                     : WinogradLineFilters<5>(s, filters, to);
}

void WinogradLineInputF32(const ConvShape& s, int32_t taps, const float* input, float* to, ptrdiff_t plane, Range tiles) {
  const WinogradLines lines(s, taps);
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int32_t line = tile / lines.line_tiles, y = line % lines.out_lines * lines.across_stride - lines.across_pad;
    const int32_t left = lines.along.First(tile % lines.line_tiles) * lines.stride - lines.pad;
    for (int32_t part = 0; part < lines.parts; ++part) {
      for (int32_t c = 0; c < s.in_channels; ++c, ++to) {
        float d[kWinogradLinePoints], t[kWinogradLinePoints];
        for (int32_t i = 0; i < kWinogradLinePoints; ++i) {
          const int32_t x = left + lines.Offset(part) + i * lines.input_step;
          const bool inside = y >= 0 && y < lines.in_lines && x >= 0 && x < lines.in_length;
          d[i] = inside ? input[lines.InputPixel(line / lines.out_lines, y, x) * s.in_channels + c] : 0.0f;
        }
        WinogradTransformInput(d, t);
        for (int32_t i = 0; i < kWinogradLinePoints; ++i) to[i * plane] = t[i];
      }
    }
  }
}

template <int kPixels>
void WinogradLineOutput(const ConvShape& s, const float* from, ptrdiff_t plane, const float* bias, float* output,
                        const EpilogueF32& epilogue, Range tiles) {
  const WinogradLines lines(s, kWinogradLinePoints + 1 - kPixels);
  for (int32_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int32_t line = tile / lines.line_tiles, first = lines.along.First(tile % lines.line_tiles);
    for (int32_t c = 0; c < s.out_channels; ++c, ++from) {
      float sums[kWinogradLinePoints], pixels[kPixels];
      for (int32_t i = 0; i < kWinogradLinePoints; ++i) sums[i] = from[i * plane];
      WinogradTransformOutput(sums, pixels);
      for (int32_t i = 0; i < kPixels; ++i) {
        const int32_t x = first + i * lines.along.step;
        if (x >= lines.out_length) continue;
        const ptrdiff_t position = lines.OutputPixel(line, x) * s.out_channels + c;
        output[position] = Finish(epilogue, pixels[i] + bias[c], position, c);
      }
    }
  }
}

void WinogradLineOutputF32(const ConvShape& s, int32_t taps, const float* from, ptrdiff_t plane, const float* bias, float* output,
                           const EpilogueF32& epilogue, Range tiles) {
  return taps == 3   ? WinogradLineOutput<4>(s, from, plane, bias, output, epilogue, tiles)
         : taps == 4 ? WinogradLineOutput<3>(s, from, plane, bias, output, epilogue, tiles)
                     : WinogradLineOutput<2>(s, from, plane, bias, output, epilogue, tiles);
}

// --- pooling; a window wholly outside the image gives 0 --------------------------------------------------------------------------------

struct MaxPool {
  static constexpr float kInitial = -kInfinity;
  static float Step(float sum, float x) { return x > sum ? x : sum; }
  static float Finish(float sum, int32_t) { return sum; }
};
struct AveragePool {
  static constexpr float kInitial = 0.0f;
  static float Step(float sum, float x) { return sum + x; }
  static float Finish(float sum, int32_t count) { return sum / static_cast<float>(count); }
};

template <class Pool>
float PoolWindow(const ConvShape& s, const float* input, Pixel at, int32_t channel, ClampF32 clamp) {
  float sum = Pool::kInitial;
  int32_t count = 0;
  for (int32_t ky = 0; ky < s.kernel_height; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_width; ++kx) {
      const float* pixel = InputPixel(s, input, at.image, at.y * s.stride_h - s.pad_top + ky * s.dilation_h,
                                      at.x * s.stride_w - s.pad_left + kx * s.dilation_w);
      if (pixel == nullptr) continue;
      sum = Pool::Step(sum, pixel[channel]);
      ++count;
    }
  }
  return count == 0 ? 0.0f : Clamp(Pool::Finish(sum, count), clamp.min, clamp.max);
}

template <class Pool>
void PoolF32(const ConvShape& s, const float* input, float* output, ClampF32 clamp, Range lines) {
  for (int32_t line = lines.begin; line < lines.end; ++line) {
    for (int32_t x = 0; x < s.out_width; ++x) {
      const Pixel at = {line / s.out_height, line % s.out_height, x};
      float* out = output + (static_cast<ptrdiff_t>(line) * s.out_width + x) * s.in_channels;
      for (int32_t c = 0; c < s.in_channels; ++c) out[c] = PoolWindow<Pool>(s, input, at, c, clamp);
    }
  }
}

// --- elementwise -------------------------------------------------------------------------------------------------------------------------

float Abs(float x) { return fabsf(x); }
float Neg(float x) { return -x; }
float Square(float x) { return x * x; }
float Sqrt(float x) { return sqrtf(x); }
float Rsqrt(float x) { return 1.0f / sqrtf(x); }
float Exp(float x) { return expf(x); }
float Log(float x) { return logf(x); }
float Sin(float x) { return sinf(x); }
float Cos(float x) { return cosf(x); }
float Tanh(float x) { return tanhf(x); }
float Relu(float x) { return 0.0f > x ? 0.0f : x; }
float Relu6(float x) { return Clamp(x, 0.0f, 6.0f); }
float ReluN1To1(float x) { return Clamp(x, -1.0f, 1.0f); }
float Relu0To1(float x) { return Clamp(x, 0.0f, 1.0f); }
float Floor(float x) { return floorf(x); }
float Ceil(float x) { return ceilf(x); }
float Round(float x) { return rintf(x); }  // half to even in the default rounding mode
float Elu(float x) { return x < 0.0f ? expm1f(x) : x; }
float Sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x - x; }
float Gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0x1.6a09e6p-1f)); }
float GeluTanh(float x) { return 0.5f * x * (1.0f + tanhf(0x1.988454p-1f * (x + 0x1.6e4e26p-5f * x * x * x))); }
float Swish(float x) { return x * Logistic(x); }

float Add(float a, float b) { return a + b; }
float Sub(float a, float b) { return a - b; }
float Mul(float a, float b) { return a * b; }
float Div(float a, float b) { return a / b; }
float Maximum(float a, float b) { return a > b ? a : b; }
float Minimum(float a, float b) { return a < b ? a : b; }
float SquaredDifference(float a, float b) { return (a - b) * (a - b); }
float Pow(float a, float b) { return powf(a, b); }
float Prelu(float a, float b) { return a >= 0.0f ? a : a * b; }

template <float (*kFunction)(float)>
void UnaryLoop(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = kFunction(x[i]);
}

// A stride is 0 for an operand that is one value, else 1.
template <float (*kFunction)(float, float), size_t kStrideA, size_t kStrideB>
void BinaryLoop(const float* a, const float* b, float* y, size_t n, ClampF32 clamp) {
  for (size_t i = 0; i < n; ++i) y[i] = Clamp(kFunction(a[i * kStrideA], b[i * kStrideB]), clamp.min, clamp.max);
}

void AccumulateF32(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] += x[i];
}

// The bits of the float32 that equals a binary16; a signalling NaN becomes quiet, as in the processors' own conversion.
uint32_t F16BitsToF32Bits(uint32_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31u;
  uint32_t mantissa = h & 0x3ffu;
  if (exponent == 31) return sign | 0x7f800000u | (mantissa == 0 ? 0u : 0x400000u) | (mantissa << 13);
  if (exponent != 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
  if (mantissa == 0) return sign;
  uint32_t shift = 0;
  while ((mantissa & 0x400u) == 0) {
    mantissa <<= 1;
    ++shift;
  }
  return sign | ((113 - shift) << 23) | ((mantissa & 0x3ffu) << 13);
}

void F16ToF32(const uint16_t* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = F16BitsToF32Bits(x[i]);
    memcpy(&y[i], &bits, sizeof(bits));
  }
}

// Widened at once: the values are the same.
void PackF16(int32_t k, int32_t n, WeightView<uint16_t> weights, const float* bias, std::byte* packed) {
  float* to = reinterpret_cast<float*>(packed);
  for (int32_t i = 0; i < n; ++i) *to++ = bias != nullptr ? bias[i] : 0.0f;
  for (int32_t i = 0; i < n; ++i) {
    for (int32_t j = 0; j < k; ++j) F16ToF32(&weights.data[i * weights.stride_n + j * weights.stride_k], to++, 1);
  }
}

// --- rows
// ---------------------------------------------------------------------------------------------------------------------------------

float SumF32(const float* x, size_t n) {
  float sum = 0.0f;
  for (size_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

// NaN is passed over; minus infinity if there is nothing else.
float MaxF32(const float* x, size_t n) {
  float max = -kInfinity;
  for (size_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max;
}

float MinF32(const float* x, size_t n) {
  float min = kInfinity;
  for (size_t i = 0; i < n; ++i) min = x[i] < min ? x[i] : min;
  return min;
}

void SumColumnsF32(const float* x, ptrdiff_t stride, size_t rows, float* y, size_t n) {
  for (size_t c = 0; c < n; ++c) {
    float sum = 0.0f;
    for (size_t r = 0; r < rows; ++r) sum += x[static_cast<ptrdiff_t>(r) * stride + static_cast<ptrdiff_t>(c)];
    y[c] += sum;
  }
}

template <bool kMin>
void ExtremeColumnsF32(const float* x, ptrdiff_t stride, size_t rows, float* y, size_t n) {
  for (size_t r = 0; r < rows; ++r, x += stride) {
    for (size_t c = 0; c < n; ++c) y[c] = (kMin ? x[c] < y[c] : x[c] > y[c]) ? x[c] : y[c];
  }
}

void Transpose32(const uint32_t* x, ptrdiff_t x_stride, uint32_t* y, ptrdiff_t y_stride, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) y[r * y_stride + c] = x[c * x_stride + r];
  }
}

void SoftmaxRow(const float* x, float* y, size_t n, float beta) {
  const float max = MaxF32(x, n);
  float sum = 0.0f;
  for (size_t i = 0; i < n; ++i) {
    y[i] = expf((x[i] - max) * beta);
    sum += y[i];
  }
  for (size_t i = 0; i < n; ++i) y[i] /= sum;
}

void SoftmaxF32(const float* x, float* y, int32_t depth, float beta, Range rows) {
  const size_t n = static_cast<size_t>(depth);
  for (size_t row = static_cast<size_t>(rows.begin); row < static_cast<size_t>(rows.end); ++row)
    SoftmaxRow(x + row * n, y + row * n, n, beta);
}

void MaskedSoftmaxF32(const float* x, const float* mask, ptrdiff_t mask_stride, float* y, int32_t depth, float scale, Range rows) {
  for (ptrdiff_t row = rows.begin; row < rows.end; ++row) {
    const float* in = x + row * depth;
    float* out = y + row * depth;
    for (ptrdiff_t i = 0; i < depth; ++i) out[i] = in[i] * scale + (mask == nullptr ? 0.0f : mask[row * mask_stride + i]);
    SoftmaxRow(out, out, static_cast<size_t>(depth), 1.0f);
  }
}

void LayerNormF32(const float* x, const float* scale, const float* shift, float* y, int32_t depth, float epsilon, Range rows) {
  const float n = static_cast<float>(depth);
  for (ptrdiff_t row = rows.begin; row < rows.end; ++row) {
    const float* in = x + row * depth;
    float* out = y + row * depth;
    const float mean = SumF32(in, static_cast<size_t>(depth)) / n;
    float squares = 0.0f;
    for (ptrdiff_t i = 0; i < depth; ++i) squares += SquaredDifference(in[i], mean);
    const float factor = Rsqrt(squares / n + epsilon);
    for (ptrdiff_t i = 0; i < depth; ++i) out[i] = (in[i] - mean) * (factor * scale[i]) + shift[i];
  }
}

void RmsNormF32(const float* x, const float* scale, float* y, int32_t depth, float weight, float epsilon, Range rows) {
  for (ptrdiff_t row = rows.begin; row < rows.end; ++row) {
    const float* in = x + row * depth;
    float* out = y + row * depth;
    const float squares = static_cast<float>(SumSquaresInDouble(in, static_cast<size_t>(depth)));
    const float factor = 1.0f / sqrtf(weight * squares + epsilon);
    for (ptrdiff_t i = 0; i < depth; ++i) out[i] = in[i] * factor * scale[i];
  }
}

void MixColumnsF32(const float* top, const float* bottom, int32_t, float weight, const ColumnsF32* columns, int32_t count, int32_t depth,
                   float* y) {
  for (const ColumnsF32& c : std::span(columns, static_cast<size_t>(count))) {
    const ptrdiff_t left = ptrdiff_t{c.first} * depth, right = ptrdiff_t{c.second} * depth;
    const float wb = weight, wt = 1 - wb, wr = c.weight, wl = 1 - wr;
    if (bottom == nullptr) {
      for (ptrdiff_t i = 0; i < depth; ++i) *y++ = top[left + i] * wl + top[right + i] * wr;
      continue;
    }
    for (ptrdiff_t i = 0; i < depth; ++i) {
      *y++ = top[left + i] * (wt * wl) + bottom[left + i] * (wb * wl) + top[right + i] * (wt * wr) + bottom[right + i] * (wb * wr);
    }
  }
}

void MixLinesF32(const float* top, const float* bottom, float weight, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = top[i] * (1 - weight) + bottom[i] * weight;
}

template <float (*kFunction)(float)>
void SetUnary(Kernels& t, Unary op) {
  t.unary_f32[static_cast<size_t>(op)] = UnaryLoop<kFunction>;
}

template <float (*kFunction)(float, float)>
void SetBinary(Kernels& t, Binary op) {
  BinaryF32* row = t.binary_f32[static_cast<size_t>(op)];
  row[static_cast<size_t>(Operands::kVectorVector)] = BinaryLoop<kFunction, 1, 1>;
  row[static_cast<size_t>(Operands::kVectorScalar)] = BinaryLoop<kFunction, 1, 0>;
  row[static_cast<size_t>(Operands::kScalarVector)] = BinaryLoop<kFunction, 0, 1>;
}

void SetElementwise(Kernels& t) {
  SetUnary<Abs>(t, Unary::kAbs);
  SetUnary<Neg>(t, Unary::kNeg);
  SetUnary<Square>(t, Unary::kSquare);
  SetUnary<Sqrt>(t, Unary::kSqrt);
  SetUnary<Rsqrt>(t, Unary::kRsqrt);
  SetUnary<Exp>(t, Unary::kExp);
  SetUnary<Log>(t, Unary::kLog);
  SetUnary<Sin>(t, Unary::kSin);
  SetUnary<Cos>(t, Unary::kCos);
  SetUnary<Tanh>(t, Unary::kTanh);
  SetUnary<Logistic>(t, Unary::kLogistic);
  SetUnary<Relu>(t, Unary::kRelu);
  SetUnary<Relu6>(t, Unary::kRelu6);
  SetUnary<ReluN1To1>(t, Unary::kReluN1To1);
  SetUnary<Relu0To1>(t, Unary::kRelu0To1);
  SetUnary<HardSwish>(t, Unary::kHardSwish);
  SetUnary<Floor>(t, Unary::kFloor);
  SetUnary<Ceil>(t, Unary::kCeil);
  SetUnary<Round>(t, Unary::kRound);
  SetUnary<Elu>(t, Unary::kElu);
  SetUnary<Sign>(t, Unary::kSign);
  SetUnary<Gelu>(t, Unary::kGelu);
  SetUnary<GeluTanh>(t, Unary::kGeluTanh);
  SetUnary<Swish>(t, Unary::kSwish);
  SetBinary<Add>(t, Binary::kAdd);
  SetBinary<Sub>(t, Binary::kSub);
  SetBinary<Mul>(t, Binary::kMul);
  SetBinary<Div>(t, Binary::kDiv);
  SetBinary<Maximum>(t, Binary::kMaximum);
  SetBinary<Minimum>(t, Binary::kMinimum);
  SetBinary<SquaredDifference>(t, Binary::kSquaredDifference);
  SetBinary<Pow>(t, Binary::kPow);
  SetBinary<Prelu>(t, Binary::kPrelu);
}

}  // namespace

namespace scalar {

void OverlayF32(Kernels& t) {
  t.f32_group_channels = 1;
  t.f32_block_channels = 0;
  t.pack_f32_bytes = PackF32Bytes;
  t.pack_f32 = PackF32;
  t.conv_f32 = ConvF32;
  t.few_rows_f32 = FewRowsF32;
  t.bf16_parts = 0;
  t.pack_bf16_bytes = PackBf16Bytes;
  t.pack_bf16 = PackBf16;
  t.conv_bf16_scratch_bytes = ConvBf16ScratchBytes;
  t.conv_bf16 = ConvBf16;
  t.pack_depthwise_f32_bytes = PackDepthwiseF32Bytes;
  t.pack_depthwise_f32 = PackDepthwiseF32;
  t.depthwise_f32 = Depthwise<float>;
  t.pack_depthwise_bf16_bytes = PackDepthwiseF32Bytes;
  t.pack_depthwise_bf16 = PackDepthwiseF32;
  t.depthwise_bf16 = Depthwise<Bf16>;
  t.pack_f16_bytes = PackF32Bytes;
  t.pack_f16 = PackF16;
  t.conv_f16 = ConvF32;
  t.pack_winograd_f32_bytes = PackWinogradF32Bytes;
  t.pack_winograd_f32 = PackWinogradF32;
  t.winograd_input_f32 = WinogradInputF32;
  t.winograd_multiply_f32 = WinogradMultiplyF32;
  t.winograd_output_f32 = WinogradOutputF32;
  t.pack_winograd_line_f32_bytes = PackWinogradLineF32Bytes;
  t.pack_winograd_line_f32 = PackWinogradLineF32;
  t.winograd_line_input_f32 = WinogradLineInputF32;
  t.winograd_line_output_f32 = WinogradLineOutputF32;
  t.max_pool_f32 = PoolF32<MaxPool>;
  t.average_pool_f32 = PoolF32<AveragePool>;
  t.f16_to_f32 = F16ToF32;
  t.sum_f32 = SumF32;
  t.max_f32 = MaxF32;
  t.min_f32 = MinF32;
  t.sum_columns_f32 = SumColumnsF32;
  t.max_columns_f32 = ExtremeColumnsF32<false>;
  t.min_columns_f32 = ExtremeColumnsF32<true>;
  t.transpose_32 = Transpose32;
  t.accumulate_f32 = AccumulateF32;
  t.softmax_f32 = SoftmaxF32;
  t.masked_softmax_f32 = MaskedSoftmaxF32;
  t.layer_norm_f32 = LayerNormF32;
  t.rms_norm_f32 = RmsNormF32;
  t.mix_columns_f32 = MixColumnsF32;
  t.mix_lines_f32 = MixLinesF32;
  SetElementwise(t);
}

}  // namespace scalar
}  // namespace sigrun::kernels
