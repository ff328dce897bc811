#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/blocks_i8.h"
#include "kernels/common/elementwise_i8.h"
#include "kernels/common/rescale_i8.h"
#include "kernels/common/tile_end_i8.h"
#include "kernels/kernels.h"

// What conv_i8.h makes of sums of products, panel by panel: bytes or floats.
namespace sigrun::kernels {
namespace {

// The part of `all` that belongs to a panel of `n` channels from `first` on; completed by zeros where they do not fill its vectors.
template <class T>
const T* OfPanel(const T* all, int32_t first, int32_t n, T (&completed)[kPanel]) {
  if (n % kLanes == 0) return all + first;
  for (int32_t i = 0; i < kPanel; ++i) completed[i] = i < n ? all[first + i] : T{0};
  return completed;
}

// Requantises to bytes.
struct RequantizeEpilogue {
  uint8_t* output;
  ptrdiff_t output_stride;
  const RequantizeParams& params;
  ByteOutput bytes = MakeByteOutput(params);
  int32_t channel = 0, channels = 0;
  bool rescalable = false, ends_in_tile = false;
  TileEnd end;
  const int32_t *multiplier = nullptr, *shift = nullptr;
  const double* scale = nullptr;
  struct {
    alignas(64) int32_t multiplier[kPanel], shift[kPanel];
    alignas(64) double scale[kPanel];
  } completed;

  RequantizeEpilogue(uint8_t* to, ptrdiff_t stride, const RequantizeParams& p) : output(to), output_stride(stride), params(p) {}

  void Panel(int32_t first, int32_t n, const int32_t* /*weight_sums*/) {
    channel = first;
    channels = n;
    ends_in_tile = false;
    if (params.scale != nullptr) {
      scale = OfPanel(params.scale, first, n, completed.scale);
      ends_in_tile = kTilesEnd && n % kLanes == 0 && bytes.fits && params.add == nullptr && SetShiftedProduct(params.product, first, n);
      return;
    }
    multiplier = OfPanel(params.multiplier, first, n, completed.multiplier);
    shift = OfPanel(params.shift, first, n, completed.shift);
    rescalable = bytes.fits && AreRescalable(multiplier, shift, n, bytes.zero_point);
    if (!kTilesEnd || !rescalable) return;
    end.bytes = bytes;
    if (params.add != nullptr) end.bytes = MakeByteOutput(params.add->output_offset, params.add->min, params.add->max);
    ends_in_tile = params.add == nullptr || (params.add->linear.holds && end.bytes.fits);
    if (!ends_in_tile) return;
    SetEnd(n);
    if (params.add != nullptr) {
      end.min = Set1(params.min);
      end.max = Set1(params.max);
      end.linear = MakeLinear(params.add->linear);
    }
    for (int32_t i = 0; i < n; i += kLanes) {
      end.rescale[i / kLanes] = MakeRescale(Load(multiplier + i), Set1(0) - Load(shift + i), bytes.zero_point);
    }
  }
  void SetEnd(int32_t n) {
    end.out_stride = output_stride;
    end.channels = n;
    end.never_below_zero = params.min >= params.zero_point;
  }
  // False if there is none, or the tier has no use for it.
  template <class Product>
  bool SetShiftedProduct(const Product& product, int32_t first, int32_t n) {
    if constexpr (requires { MakeRescale(product, first, 0); }) {
      if (product.multiplier == nullptr) return false;
      for (int32_t i = first; i < first + n; ++i) {
        if (product.multiplier[i] == 0) return false;
      }
      SetEnd(n);
      end.bytes = bytes;
      end.bytes.rectified = true;  // such a Rescale rounds once, whatever the sign, as others do where there is no other sign
      for (int32_t i = 0; i < n; i += kLanes) end.rescale[i / kLanes] = MakeRescale(product, first + i, bytes.zero_point);
      return true;
    }
    return false;
  }
  SIGRUN_INLINE bool EndsInTile(int32_t row, int32_t /*width*/, TileRun* run) const {
    run->end = ends_in_tile ? &end : nullptr;
    const ptrdiff_t at = row * output_stride + channel;
    run->out = output + at;
    run->residual = ends_in_tile && params.add != nullptr ? params.residual + at : nullptr;
    return ends_in_tile;
  }
  SIGRUN_INLINE bool MayRepeat() const { return params.add == nullptr; }
  SIGRUN_INLINE bool TakesRow() const { return params.scale != nullptr && bytes.fits && params.add == nullptr; }
  SIGRUN_INLINE static int32_t RowZeroPoint(int32_t /*row*/) { return 0; }
  void Row(int32_t row, int32_t first, int32_t n, const int32_t* sums) const {
    const ByteOutput to = bytes;
    uint8_t* out = output + row * output_stride + first;
    const double* from = params.scale + first;
    int32_t i = 0;
    const auto real = [&](int32_t at) SIGRUN_INLINE_LAMBDA { return MakeRealScale(from + at, to.zero_point); };
    if (params.bounded) {
      for (; i + kLanes <= n; i += kLanes) StoreLanes(out + i, ToBytes(Rescaled<true>(Load(sums + i), real(i)), to));
    } else {
      for (; i + kLanes <= n; i += kLanes) StoreLanes(out + i, ToBytes(Rescaled(Load(sums + i), real(i)), to));
    }
    if (i == n) return;
    double last[kLanes] = {};
    for (int32_t k = i; k < n; ++k) last[k - i] = from[k];
    StoreLanes(out + i, ToBytes(Rescaled(Load(sums + i), MakeRealScale(last, to.zero_point)), to), n - i);
  }

  /// One vector of channels of every row: n of its lanes.
  template <class ToOutput>
  SIGRUN_INLINE void Column(uint8_t* out, ptrdiff_t stride, int32_t n, int32_t rows, int32_t width, const int32_t* sums,
                            ToOutput to_output) const {
    if (n >= kLanes) {
      for (int32_t row = 0; row < rows; ++row, out += stride, sums += width) StoreLanes(out, to_output(Load(sums)));
    } else {
      for (int32_t row = 0; row < rows; ++row, out += stride, sums += width) StoreLanes(out, to_output(Load(sums)), n);
    }
  }
  SIGRUN_INLINE I32 Requantized(I32 x, int32_t i) const {
    const I32 s = Load(shift + i), none = Set1(0), most = Set1(31);
    return Requantize(x, Load(multiplier + i), Clamp(s, none, most), Clamp(none - s, none, most));
  }
  SIGRUN_INLINE void GeneralColumn(uint8_t* out, ptrdiff_t stride, int32_t i, int32_t rows, int32_t width, const int32_t* sums) const {
    const I32 zero_point = Set1(params.zero_point), min = Set1(params.min), max = Set1(params.max);
    for (int32_t row = 0; row < rows; ++row) {
      const I32 x = Load(sums + row * width);
      const I32 y = Clamp((params.scale != nullptr ? RoundScaled(x, scale + i) : Requantized(x, i)) + zero_point, min, max);
      uint8_t* to = out + row * stride;
      if (channels - i >= kLanes) {
        StoreLow8(to, y);
      } else {
        StoreLow8(to, y, channels - i);
      }
    }
  }
  void Tile(int32_t first, int32_t rows, int32_t width, const int32_t* sums) const {
    const ptrdiff_t at = static_cast<ptrdiff_t>(first) * output_stride + channel;
    if (params.add == nullptr) return StoreBytes(output + at, output_stride, rows, width, sums);
    // The residual may stand where the sum is stored.
    alignas(64) uint8_t before[kMostRows * kPanel];
    StoreBytes(before, kPanel, rows, width, sums);
    for (int32_t row = 0; row < rows; ++row) {
      const ptrdiff_t to = at + row * output_stride;
      AddElements(reinterpret_cast<const int8_t*>(before + row * kPanel), params.residual + to, reinterpret_cast<int8_t*>(output + to),
                  static_cast<size_t>(channels), *params.add, Operands::kVectorVector);
    }
  }
  void StoreBytes(uint8_t* out, ptrdiff_t stride, int32_t rows, int32_t width, const int32_t* sums) const {
    const ByteOutput to = bytes;  // in registers: a store of bytes may change any memory
    for (int32_t i = 0; i < channels; i += kLanes, out += kLanes, sums += kLanes) {
      if (params.scale != nullptr && bytes.fits) {
        const RealScale real = MakeRealScale(scale + i, to.zero_point);
        if (params.bounded && to.whole) {
          Column(out, stride, channels - i, rows, width, sums,
                 [=](I32 x) SIGRUN_INLINE_LAMBDA { return SaturateBytes(Rescaled<true>(x, real)); });
        } else {
          Column(out, stride, channels - i, rows, width, sums, [=](I32 x) SIGRUN_INLINE_LAMBDA { return ToBytes(Rescaled(x, real), to); });
        }
      } else if (rescalable && params.scale == nullptr) {
        const Rescale rescale = MakeRescale(Load(multiplier + i), Set1(0) - Load(shift + i), to.zero_point);
        if (to.whole) {
          Column(out, stride, channels - i, rows, width, sums,
                 [=](I32 x) SIGRUN_INLINE_LAMBDA { return SaturateBytes(Rescaled(x, rescale)); });
        } else {
          Column(out, stride, channels - i, rows, width, sums,
                 [=](I32 x) SIGRUN_INLINE_LAMBDA { return ToBytes(Rescaled(x, rescale), to); });
        }
      } else {
        GeneralColumn(out, stride, i, rows, width, sums);
      }
    }
  }
};

constexpr int32_t kNoZeroPoints[kMostRows] = {};
constexpr float kNoAddends[kPanel] = {};

// Scales to floats and takes the rows' zero points out.
struct FloatEpilogue {
  const Source& source;
  float* output;
  ptrdiff_t output_stride;
  const float* row_scale;
  const float* channel_scale;
  const float* bias;
  const float* residual;
  ClampF32 clamp;
  bool is_deep;
  int32_t channel = 0, channels = 0;
  struct {
    alignas(64) float scale[kPanel], addend[kPanel];
  } completed;  // a single row takes no panel, and does without a fill
  FloatEnd end;

  FloatEpilogue(const ConvShape& s, const Source& from, float* to, const float* row_scales, const float* channel_scales,
                const float* addends, const float* added, ClampF32 bounds)
      : source(from),
        output(to),
        output_stride(s.output_stride()),
        row_scale(row_scales),
        channel_scale(channel_scales),
        bias(addends),
        residual(added),
        clamp(bounds),
        is_deep(int64_t{s.taps()} * s.in_channels > kMostInFloatEnd) {}

  SIGRUN_INLINE bool EndsInTile(int32_t row, int32_t /*width*/, TileRun* run) {
    run->float_end = nullptr;
    if (!kTilesEndInFloats || is_deep) return false;
    const int32_t own = Own(row);
    const ptrdiff_t at = row * output_stride + channel;
    end.row_scale = row_scale + own;
    end.continues = source.row_zero_point != nullptr;
    end.row_zero_point = source.row_zero_point == nullptr ? kNoZeroPoints : source.row_zero_point + own;
    end.out = output + at;
    end.residual = residual == nullptr ? nullptr : residual + at;
    run->float_end = &end;
    return true;
  }
  SIGRUN_INLINE bool MayRepeat() const { return residual == nullptr; }
  SIGRUN_INLINE bool TakesRow() const { return residual == nullptr; }
  // Whose scale is the row's.
  SIGRUN_INLINE int32_t Own(int32_t row) const { return source.is_one_image ? 0 : row; }
  SIGRUN_INLINE int32_t RowZeroPoint(int32_t row) const { return source.ZeroPoint(row); }
  void Row(int32_t row, int32_t first, int32_t n, const int32_t* sums) const {
    const F32 factor = Set1(row_scale[Own(row)]);
    const F32 min = Set1(clamp.min), max = Set1(clamp.max), none = Set1(0.0f);
    float* out = output + row * output_stride + first;
    const float *scales = channel_scale + first, *addends = bias != nullptr ? bias + first : nullptr;
    const auto end = [=](const int32_t* sum, F32 by, F32 with)
                         SIGRUN_INLINE_LAMBDA { return Min(max, Max(min, ToFloat(Load(sum)) * (factor * by) + with)); };
    int32_t i = 0;
    for (; i + kLanes <= n; i += kLanes) Store(out + i, end(sums + i, Load(scales + i), addends != nullptr ? Load(addends + i) : none));
    if (i == n) return;
    const int32_t few = n - i;
    StoreFew(out + i, end(sums + i, LoadFew(scales + i, few), addends != nullptr ? LoadFew(addends + i, few) : none), few);
  }
  void Panel(int32_t first, int32_t n, const int32_t* sums) {
    channel = first;
    channels = n;
    for (int32_t i = n; i < n + kPanel; i += kLanes) {  // the next panel's, while this one runs
      __builtin_prefetch(channel_scale + first + i);
      if (bias != nullptr) __builtin_prefetch(bias + first + i);
    }
    end.weight_sums = sums;
    end.scale = OfPanel(channel_scale, first, n, completed.scale);
    end.addend = bias == nullptr ? kNoAddends : OfPanel(bias, first, n, completed.addend);
    end.clamp = clamp;
    end.plain = n % kLanes == 0 && clamp.min == -__builtin_inff() && clamp.max == __builtin_inff();
    end.channels = n;
    end.stride = output_stride;
    end.row_step = source.is_one_image ? 0 : 1;
  }
  // Of a panel that fills its vectors, whose parameters then stay in registers.
  void WholeTile(int32_t first, int32_t rows, const int32_t* sums) const {
    I32 of_weights[kPanelVectors];
    F32 scales[kPanelVectors], addends[kPanelVectors];
    SIGRUN_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) {
      of_weights[v] = Load(end.weight_sums + v * kLanes);
      scales[v] = Load(end.scale + v * kLanes);
      addends[v] = Load(end.addend + v * kLanes);
    }
    const F32 min = Set1(clamp.min), max = Set1(clamp.max);
    for (int32_t r = 0; r < rows; ++r, sums += kPanel) {
      const ptrdiff_t at = (first + r) * output_stride + channel;
      const I32 zero_point = Set1(source.ZeroPoint(first + r));
      const F32 factor = Set1(row_scale[Own(first + r)]);
      SIGRUN_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        F32 y = ToFloat(Load(sums + v * kLanes) - zero_point * of_weights[v]) * (factor * scales[v]) + addends[v];
        if (residual != nullptr) y = y + Load(residual + at + v * kLanes);
        Store(output + at + v * kLanes, Min(max, Max(min, y)));
      }
    }
  }
  void Tile(int32_t first, int32_t rows, int32_t width, const int32_t* sums) const {
    if (channels == kPanel) return WholeTile(first, rows, sums);
    for (int32_t r = 0; r < rows; ++r) {
      const int32_t row = first + r;
      const I32 zero_point = Set1(source.ZeroPoint(row));
      const F32 factor = Set1(row_scale[Own(row)]);
      const F32 min = Set1(clamp.min), max = Set1(clamp.max);
      const ptrdiff_t at = row * output_stride + channel;
      for (int32_t i = 0; i < channels; i += kLanes) {
        const int32_t left = channels - i;
        F32 y = ToFloat(Load(sums + r * width + i) - zero_point * Load(end.weight_sums + i)) * (factor * Load(end.scale + i)) +
                Load(end.addend + i);
        if (residual != nullptr) y = y + LoadUpTo(residual + at + i, left);
        StoreUpTo(output + at + i, Min(max, Max(min, y)), left);
      }
    }
  }
};

}  // namespace
}  // namespace sigrun::kernels
