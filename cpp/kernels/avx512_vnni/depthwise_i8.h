#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/avx512/simd_i8.h"
#include "kernels/common/depthwise_i8.h"
#include "kernels/common/rescale_i8.h"

// 8-bit depthwise convolution by vpdpbusd: four taps of a column of the window are one dot product. A line of columns is transposed once,
// by unpacking bytes within 128 bits, and serves every window that it is part of; the packs that narrow the sums put the channels back in
// order. Requantisation takes most of the time: 3x3 windows over 144 channels run at 0.7 of what its instructions allow on Zen 5.
namespace sigrun::kernels {
namespace {

// Packed: what the kernel below packs; from `parts`, int32 how many int8 numbers sum up to a weight less its zero point; then blocks of
// channels. A block is int32 bias[width] for unsigned activations 2^31 higher, as Rescale wants them, and the first and the second parts as
// int8 [tap of a line][group of lines][width][4], all in the order of ChannelAt.
// A window of a single line is a column of four pixels apart by its dilation, and a quarter as wide.
SIGRUN_INLINE bool IsLine(const ConvShape& s) { return s.kernel_height == 1 && s.kernel_width > 2; }
SIGRUN_INLINE ConvShape AsColumns(ConvShape s) {
  if (!IsLine(s)) return s;
  s.kernel_width = (s.kernel_width + 3) / 4;
  s.dilation_w *= 4;
  return s;
}

struct ColumnLayout {
  size_t parts, blocks, bytes;
  int32_t groups, taps;
  explicit ColumnLayout(const ConvShape& s) : groups((s.kernel_height + 3) / 4), taps(AsColumns(s).kernel_width) {
    parts = DepthwiseLayout(s).bytes;
    blocks = parts + 64;
    bytes = blocks;
    for (int32_t c = 0; c < s.out_channels; c += Width(s, c)) bytes += BlockBytes(Width(s, c));
  }
  // Channels from c on are taken by blocks of 64, and the rest by one of 16, 32 or 64.
  static int32_t Width(const ConvShape& s, int32_t c) {
    const int32_t left = s.out_channels - c;
    return left > 2 * kLanes ? 4 * kLanes : left > kLanes ? 2 * kLanes : kLanes;
  }
  // The last block is moved back where it would end beyond the channels.
  static int32_t First(const ConvShape& s, int32_t c) {
    const int32_t width = Width(s, c);
    return c + width <= s.out_channels ? c : s.out_channels < width ? 0 : s.out_channels - width;
  }
  size_t BlockBytes(int32_t width) const { return static_cast<size_t>(width) * 4 + 2 * PartBytes(width); }
  size_t PartBytes(int32_t width) const { return static_cast<size_t>(width) * 4 * groups * taps; }
};

// The channel at a position of a block: unpacking takes four of every 16 channels into a vector.
SIGRUN_INLINE int32_t ChannelAt(int32_t position, int32_t width) {
  const int32_t quarter = width / 4;
  return position % quarter / 4 * 16 + position / quarter * 4 + position % 4;
}

constexpr size_t kColumnBytes = size_t{32} << 10;
// Columns of input that n windows of a line see.
SIGRUN_INLINE ptrdiff_t Columns(const ConvShape& s, ptrdiff_t n) {
  return (n - 1) * s.stride_w + static_cast<ptrdiff_t>(s.kernel_width - 1) * s.dilation_w + 1;
}

SIGRUN_INLINE bool HasColumns(const ConvShape& window) {
  const ConvShape s = AsColumns(window);
  return s.in_channels == s.out_channels && s.kernel_height <= 8 && s.kernel_width <= 64 && s.stride_w <= 64 && s.dilation_w <= 64 &&
         static_cast<size_t>(Columns(s, 4)) * ((s.kernel_height + 3) / 4) * 256 <= kColumnBytes;
}

size_t PackColumnsBytes(const ConvShape& s) { return HasColumns(s) ? ColumnLayout(s).bytes : DepthwiseLayout(s).bytes; }

void PackColumns(const ConvShape& s, const int8_t* filter, bool flip_weights, const int32_t* bias, int32_t input_zero_point,
                 int32_t weight_zero_point, std::byte* packed) {
  PackDepthwise(s, filter, flip_weights, bias, input_zero_point, weight_zero_point, packed);
  if (!HasColumns(s)) return;
  const ColumnLayout layout(s);
  std::memset(packed + layout.parts, 0, layout.bytes - layout.parts);
  int32_t parts = 1;
  std::byte* block = packed + layout.blocks;
  for (int32_t c = 0, width; c < s.out_channels; c += width, block += layout.BlockBytes(width)) {
    width = ColumnLayout::Width(s, c);
    int32_t* sums = reinterpret_cast<int32_t*>(block);
    int8_t* weights = reinterpret_cast<int8_t*>(sums + width);
    int32_t channels[4 * kLanes];
    for (int32_t i = 0; i < width; ++i) channels[i] = ColumnLayout::First(s, c) + ChannelAt(i, width);
    const auto for_channels = [&](const auto& pack) {
      for (int32_t i = 0; i < width; ++i) {
        if (channels[i] < s.out_channels) pack(i, channels[i]);
      }
    };
    for_channels([&](int32_t i, int32_t n) { sums[i] = WrapAdd(bias != nullptr ? bias[n] : 0, INT32_MIN); });
    for (int32_t tap = 0; tap < s.taps(); ++tap) {
      const int8_t* from = filter + static_cast<ptrdiff_t>(tap) * s.out_channels;
      const int32_t y = IsLine(s) ? tap % 4 : tap / s.kernel_width, x = IsLine(s) ? tap / 4 : tap % s.kernel_width;
      int8_t* to = weights + (static_cast<ptrdiff_t>(x) * layout.groups + y / 4) * width * 4 + y % 4;
      for_channels([&](int32_t i, int32_t n) {
        const int8_t raw = static_cast<int8_t>(static_cast<uint8_t>(from[n]) ^ (flip_weights ? 0x80 : 0));
        const int32_t w = raw - weight_zero_point, fits = ClampI32(w, -128, 127);
        to[4 * i] = static_cast<int8_t>(fits);
        if (w != fits) {
          to[4 * i + layout.PartBytes(width)] = static_cast<int8_t>(w - fits);
          const int32_t needed = w > 2 * 127 ? 3 : 2;
          if (needed > parts) parts = needed;
        }
        sums[i] = WrapSub(sums[i], WrapMul(input_zero_point + 128, w));
      });
    }
  }
  std::memcpy(packed + layout.parts, &parts, sizeof(parts));
}

// The lines of input under one line of output, from a block's first channel on. A padded line is a row of zero points that does not move.
struct ColumnLines {
  const uint8_t* lines[8];
  ptrdiff_t steps[8];
  int32_t in_width;
  int32_t groups;
  int32_t apart;         // pixels from one line to the next where they are one, else 0
  const uint8_t* zeros;  // a row of zero points
  uint8_t flip;          // what makes a byte unsigned
  uint8_t padding;       // an unsigned zero point
  __mmask64 mask;        // the block's channels
};

template <int kVectors>
SIGRUN_INLINE void TransposeFour(const uint8_t* const (&lines)[4], uint8_t flip, __mmask64 mask, uint8_t* to) {
  if constexpr (kVectors == 4) {
    const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
    __m512i r[4];
    SIGRUN_UNROLL
    for (int i = 0; i < 4; ++i) r[i] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, lines[i]), flips);
    const __m512i low01 = _mm512_unpacklo_epi8(r[0], r[1]), low23 = _mm512_unpacklo_epi8(r[2], r[3]);
    const __m512i high01 = _mm512_unpackhi_epi8(r[0], r[1]), high23 = _mm512_unpackhi_epi8(r[2], r[3]);
    _mm512_storeu_si512(to, _mm512_unpacklo_epi16(low01, low23));
    _mm512_storeu_si512(to + 64, _mm512_unpackhi_epi16(low01, low23));
    _mm512_storeu_si512(to + 128, _mm512_unpacklo_epi16(high01, high23));
    _mm512_storeu_si512(to + 192, _mm512_unpackhi_epi16(high01, high23));
  } else {
    // Narrow blocks in 256 bits; those of 16 channels leave the upper half of each quarter behind.
    const __m256i flips = _mm256_set1_epi8(static_cast<char>(flip));
    __m256i r[4];
    SIGRUN_UNROLL
    for (int i = 0; i < 4; ++i) r[i] = _mm256_xor_si256(_mm256_maskz_loadu_epi8(static_cast<__mmask32>(mask), lines[i]), flips);
    const __m256i low01 = _mm256_unpacklo_epi8(r[0], r[1]), low23 = _mm256_unpacklo_epi8(r[2], r[3]);
    const __m256i high01 = _mm256_unpackhi_epi8(r[0], r[1]), high23 = _mm256_unpackhi_epi8(r[2], r[3]);
    const __m256i quarters[4] = {_mm256_unpacklo_epi16(low01, low23), _mm256_unpackhi_epi16(low01, low23),
                                 _mm256_unpacklo_epi16(high01, high23), _mm256_unpackhi_epi16(high01, high23)};
    SIGRUN_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (kVectors == 2) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32 * i), quarters[i]);
      } else {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 * i), _mm256_castsi256_si128(quarters[i]));
      }
    }
  }
}

// A column of pixels of one line, of which some may be beside the image.
template <int kVectors>
void TransposeSides(const ColumnLines& t, ptrdiff_t x, uint8_t* to) {
  const uint8_t* four[4];
  for (int i = 0; i < 4; ++i) {
    const ptrdiff_t at = x + i * t.apart;
    four[i] = at >= 0 && at < t.in_width ? t.lines[0] + at * t.steps[0] : t.zeros;
  }
  TransposeFour<kVectors>(four, t.flip, t.mask, to);
}

/// `count` columns from x on, as [column][group of lines][width][4].
template <int kVectors, int kGroups>
void TransposeColumns(const ColumnLines& t, ptrdiff_t x, ptrdiff_t count, uint8_t* to) {
  constexpr ptrdiff_t kBytesOfColumn = kGroups * kVectors * 64;
  const ptrdiff_t end = x + count, whole = t.in_width - 3 * t.apart, inside = end < whole ? end : whole;
  const auto beside = [&] {
    if (t.apart > 0) return TransposeSides<kVectors>(t, x, to);
    std::memset(to, t.padding, kBytesOfColumn);
  };
  for (; x < end && (x < 0 || inside <= 0); ++x, to += kBytesOfColumn) beside();
  // In registers: a store of bytes may change any memory.
  const uint8_t* from[kGroups][4];
  ptrdiff_t steps[kGroups][4];
  SIGRUN_UNROLL
  for (int i = 0; i < 4 * kGroups; ++i) {
    steps[i / 4][i % 4] = t.steps[i];
    from[i / 4][i % 4] = t.lines[i] + x * t.steps[i];
  }
  const __mmask64 mask = t.mask;
  const uint8_t flip = t.flip;
  for (; x < inside; ++x) {
    SIGRUN_UNROLL
    for (int g = 0; g < kGroups; ++g, to += kVectors * 64) {
      TransposeFour<kVectors>(from[g], flip, mask, to);
      SIGRUN_UNROLL
      for (int i = 0; i < 4; ++i) from[g][i] += steps[g][i];
    }
  }
  for (; x < end; ++x, to += kBytesOfColumn) beside();
}

/// The bytes of a block from its sums.
template <int kVectors>
SIGRUN_INLINE void StoreBlock(uint8_t* to, const I32 (&sums)[kVectors], const ByteOutput& bytes, __mmask64 mask) {
  if constexpr (kVectors == 4) {
    const __m512i words[2] = {_mm512_packs_epi32(sums[0].v, sums[1].v), _mm512_packs_epi32(sums[2].v, sums[3].v)};
    const __m512i min = _mm512_broadcast_i32x4(bytes.min.v), max = _mm512_broadcast_i32x4(bytes.max.v);
    const __m512i clamped = _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(words[0], words[1]), min), max);
    _mm512_mask_storeu_epi8(to, mask, _mm512_xor_si512(clamped, _mm512_broadcast_i32x4(bytes.flip.v)));
  } else if constexpr (kVectors == 2) {
    const __m512i words = _mm512_packs_epi32(sums[0].v, sums[1].v),
                  order = _mm512_setr_epi32(0, 8, 1, 9, 4, 12, 5, 13, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i packed = _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, _mm512_packs_epi16(words, words)));
    const __m256i min = _mm256_broadcastsi128_si256(bytes.min.v), max = _mm256_broadcastsi128_si256(bytes.max.v);
    const __m256i clamped = _mm256_min_epi8(_mm256_max_epi8(packed, min), max);
    _mm256_mask_storeu_epi8(to, static_cast<__mmask32>(mask), _mm256_xor_si256(clamped, _mm256_broadcastsi128_si256(bytes.flip.v)));
  } else {
    _mm_mask_storeu_epi8(to, static_cast<__mmask16>(mask), ToBytes(sums[0], bytes).v);
  }
}

// How sums become bytes: by Requantize, by Rescale, or by Rescale where nothing is below the zero point.
enum class Ending { kAny, kRescaled, kRectified };

// A block of channels while it runs.
struct ColumnBlock {
  const int32_t* bias;
  const int8_t* weights;
  int32_t taps, groups;      // of a line, of lines
  ptrdiff_t tap_step, step;  // bytes between columns of neighbouring taps, of neighbouring windows
  ptrdiff_t part_bytes;
  Ending ending;
  Rescale rescale[4];
  // Where it is not rescalable.
  I32 multiplier[4], left[4], right[4];
  int32_t zero_point;
};

// What becomes of a sum that is 2^31 higher.
template <Ending kEnding>
SIGRUN_INLINE I32 FromSum(const ColumnBlock& b, int v, __m512i sum) {
  if constexpr (kEnding == Ending::kRectified) return RectifiedUnsigned({sum}, b.rescale[v]);
  if constexpr (kEnding == Ending::kRescaled) return RescaledUnsigned({sum}, b.rescale[v]);
  const I32 x{_mm512_xor_si512(sum, _mm512_set1_epi32(INT32_MIN))};
  return Requantize(x, b.multiplier[v], b.left[v], b.right[v]) + Set1(b.zero_point);
}

/// kPixels outputs of a block. kTaps and kGroups are those of the window, or 0 for any; kParts is 2 where weights have a second part.
template <int kVectors, int kPixels, int kTaps, int kGroups, int kParts, Ending kEnding>
SIGRUN_INLINE void ColumnPixels(const ColumnBlock& b, const uint8_t* columns, const ByteOutput& bytes, __mmask64 mask, uint8_t* out,
                                ptrdiff_t out_step) {
  I32 sums[kPixels][kVectors];
  const int32_t taps = kTaps > 0 ? kTaps : b.taps, groups = kGroups > 0 ? kGroups : b.groups;
  SIGRUN_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    __m512i acc[kPixels];
    SIGRUN_UNROLL
    for (int p = 0; p < kPixels; ++p) acc[p] = _mm512_loadu_si512(b.bias + v * kLanes);
    const auto tap = [&](int32_t x) SIGRUN_INLINE_LAMBDA {
      for (int32_t g = 0; g < groups; ++g) {
        const uint8_t* from = columns + x * b.tap_step + (g * kVectors + v) * 64;
        const int8_t* weights = b.weights + ((x * groups + g) * kVectors + v) * 64;
        const __m512i four = _mm512_loadu_si512(weights);
        SIGRUN_UNROLL
        for (int p = 0; p < kPixels; ++p) acc[p] = _mm512_dpbusd_epi32(acc[p], _mm512_loadu_si512(from + p * b.step), four);
        if constexpr (kParts == 1) continue;
        const __m512i second = _mm512_loadu_si512(weights + b.part_bytes);
        SIGRUN_UNROLL
        for (int p = 0; p < kPixels; ++p) acc[p] = _mm512_dpbusd_epi32(acc[p], _mm512_loadu_si512(from + p * b.step), second);
      }
    };
    if constexpr (kTaps > 0) {
      SIGRUN_UNROLL
      for (int32_t x = 0; x < kTaps; ++x) tap(x);
    } else {
      for (int32_t x = 0; x < taps; ++x) tap(x);
    }
    SIGRUN_UNROLL
    for (int p = 0; p < kPixels; ++p) sums[p][v] = FromSum<kEnding>(b, v, acc[p]);
  }
  SIGRUN_UNROLL
  for (int p = 0; p < kPixels; ++p) StoreBlock<kVectors>(out + p * out_step, sums[p], bytes, mask);
}

template <int kVectors, int kTaps, int kGroups, int kParts, Ending kEnding>
void ColumnWindows(const ColumnBlock& b, const uint8_t* columns, ptrdiff_t count, const ByteOutput& bytes, __mmask64 mask, uint8_t* out,
                   ptrdiff_t channels) {
  ptrdiff_t i = 0;
  for (; count >= 4 && i < count; i += 4) {
    const ptrdiff_t at = i + 4 <= count ? i : count - 4;
    ColumnPixels<kVectors, 4, kTaps, kGroups, kParts, kEnding>(b, columns + at * b.step, bytes, mask, out + at * channels, channels);
  }
  for (; i < count; ++i) {
    ColumnPixels<kVectors, 1, kTaps, kGroups, kParts, kEnding>(b, columns + i * b.step, bytes, mask, out + i * channels, channels);
  }
}

template <int kVectors, int kParts, Ending kEnding>
SIGRUN_INLINE auto WindowsOf(const ColumnBlock& b) {
  if (b.taps == 3 && b.groups == 1) return ColumnWindows<kVectors, 3, 1, kParts, kEnding>;
  if (b.taps == 5 && b.groups == 2) return ColumnWindows<kVectors, 5, 2, kParts, kEnding>;
  if (b.groups == 1) return ColumnWindows<kVectors, 0, 1, kParts, kEnding>;
  return ColumnWindows<kVectors, 0, 0, kParts, kEnding>;
}
template <int kVectors, int kParts>
SIGRUN_INLINE auto WindowsOf(const ColumnBlock& b) {
  if (b.ending == Ending::kRectified) return WindowsOf<kVectors, kParts, Ending::kRectified>(b);
  if (b.ending == Ending::kRescaled) return WindowsOf<kVectors, kParts, Ending::kRescaled>(b);
  return ColumnWindows<kVectors, 0, 0, 2, Ending::kAny>;
}

template <int kVectors, int kParts>
void ColumnLine(const ConvShape& s, const ColumnBlock& b, const ColumnLines& t, const ByteOutput& bytes, uint8_t* out) {
  alignas(64) uint8_t columns[kColumnBytes + 64];
  const ptrdiff_t channels = s.out_channels, column_bytes = static_cast<ptrdiff_t>(t.groups) * kVectors * 64;
  const ptrdiff_t fit = (static_cast<ptrdiff_t>(kColumnBytes) / column_bytes - Columns(s, 1)) / s.stride_w + 1;
  for (ptrdiff_t x = 0; x < s.out_width; x += fit) {
    const ptrdiff_t count = s.out_width - x < fit ? s.out_width - x : fit;
    const auto transpose = t.groups == 1 ? TransposeColumns<kVectors, 1> : TransposeColumns<kVectors, 2>;
    transpose(t, x * s.stride_w - s.pad_left, Columns(s, count), columns);
    WindowsOf<kVectors, kParts>(b)(b, columns, count, bytes, t.mask, out + x * channels, channels);
  }
}

// The multipliers and shifts of a block in its order.
template <int kVectors>
SIGRUN_INLINE void FillRescale(const RequantizeParams& p, int32_t first, int32_t channels, const ByteOutput& bytes, ColumnBlock* to) {
  alignas(64) int32_t multiplier[kVectors * kLanes], shift[kVectors * kLanes];
  constexpr int32_t kWidth = kVectors * kLanes;
  to->zero_point = bytes.zero_point;
  // Channels keep their order within four.
  for (int32_t i = 0; i < kWidth; i += 4) {
    const int32_t n = first + ChannelAt(i, kWidth);
    if (n + 4 <= channels) {
      std::memcpy(multiplier + i, p.multiplier + n, 4 * sizeof(int32_t));
      std::memcpy(shift + i, p.shift + n, 4 * sizeof(int32_t));
      continue;
    }
    for (int32_t k = 0; k < 4; ++k) {
      multiplier[i + k] = n + k < channels ? p.multiplier[n + k] : 0;
      shift[i + k] = n + k < channels ? p.shift[n + k] : -1;
    }
  }
  const bool rescalable = AreRescalable(multiplier, shift, kWidth, bytes.zero_point);
  to->ending = !rescalable ? Ending::kAny : bytes.rectified ? Ending::kRectified : Ending::kRescaled;
  const I32 none = Set1(0), most = Set1(31);
  for (int v = 0; v < kVectors; ++v) {
    const I32 m = Load(multiplier + v * kLanes), left = Load(shift + v * kLanes), right = none - left;
    to->rescale[v] = MakeRescale(m, right, bytes.zero_point);
    if (bytes.rectified) to->rescale[v] = Rectified(to->rescale[v]);
    to->multiplier[v] = m;
    to->left[v] = Clamp(left, none, most);
    to->right[v] = Clamp(right, none, most);
  }
}

template <int kVectors, int kParts>
void ColumnBlockLines(const ConvShape& window, InputI8 input, const uint8_t* zeros, const std::byte* block, int32_t first,
                      const RequantizeParams& requantize, const ByteOutput& bytes, uint8_t* output, Range lines) {
  const ConvShape s = AsColumns(window);
  const int32_t channels = s.out_channels;
  ColumnLines t;
  t.in_width = s.in_width;
  t.apart = IsLine(window) ? window.dilation_w : 0;
  t.zeros = zeros + first;
  t.groups = (s.kernel_height + 3) / 4;
  t.flip = input.is_unsigned ? 0 : 0x80;
  t.padding = static_cast<uint8_t>(input.zero_point + 128);
  t.mask = channels - first >= 64 ? ~__mmask64{0} : (__mmask64{1} << (channels - first)) - 1;
  if (kVectors < 4) t.mask &= (__mmask64{1} << (kVectors * kLanes % 64)) - 1;
  ColumnBlock b;
  b.bias = reinterpret_cast<const int32_t*>(block);
  b.weights = reinterpret_cast<const int8_t*>(b.bias + kVectors * kLanes);
  b.taps = s.kernel_width;
  b.groups = t.groups;
  b.tap_step = static_cast<ptrdiff_t>(s.dilation_w) * t.groups * kVectors * 64;
  b.step = static_cast<ptrdiff_t>(s.stride_w) * t.groups * kVectors * 64;
  b.part_bytes = static_cast<ptrdiff_t>(s.kernel_width) * t.groups * kVectors * 64;
  FillRescale<kVectors>(requantize, first, channels, bytes, &b);
  const ptrdiff_t line_bytes = static_cast<ptrdiff_t>(s.in_width) * channels;
  uint8_t* out = output + static_cast<ptrdiff_t>(lines.begin) * s.out_width * channels + first;
  for (int32_t line = lines.begin; line < lines.end; ++line, out += static_cast<ptrdiff_t>(s.out_width) * channels) {
    const uint8_t* image = static_cast<const uint8_t*>(input.data) + line / s.out_height * (s.in_height * line_bytes) + first;
    for (int32_t i = 0; i < t.groups * 4; ++i) {
      const int64_t y = static_cast<int64_t>(line % s.out_height) * s.stride_h - s.pad_top + static_cast<int64_t>(i) * s.dilation_h;
      const bool inside = i < s.kernel_height && y >= 0 && y < s.in_height;
      t.lines[i] = inside ? image + y * line_bytes : zeros + first;
      t.steps[i] = inside ? channels : 0;
    }
    for (int32_t i = 1; i < 4 && t.apart > 0; ++i) {
      t.lines[i] = t.lines[0] + i * t.apart * t.steps[0];
      t.steps[i] = t.steps[0];
    }
    ColumnLine<kVectors, kParts>(s, b, t, bytes, out);
  }
}

template <int kParts>
void DepthwiseBlocks(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                     const ByteOutput& bytes, Range lines) {
  const DepthwiseLayout below(s);
  const ColumnLayout layout(s);
  const uint8_t* zeros = reinterpret_cast<const uint8_t*>(packed + (input.is_unsigned ? below.flipped_zeros : below.zeros));
  const std::byte* block = packed + layout.blocks;
  for (int32_t c = 0, width; c < s.out_channels; c += width, block += layout.BlockBytes(width)) {
    width = ColumnLayout::Width(s, c);
    const auto run = width == 4 * kLanes   ? ColumnBlockLines<4, kParts>
                     : width == 2 * kLanes ? ColumnBlockLines<2, kParts>
                                           : ColumnBlockLines<1, kParts>;
    run(s, input, zeros, block, ColumnLayout::First(s, c), requantize, bytes, static_cast<uint8_t*>(output), lines);
  }
}

void DepthwiseColumns(const ConvShape& s, InputI8 input, const std::byte* packed, void* output, const RequantizeParams& requantize,
                      Range lines) {
  const ByteOutput bytes = MakeByteOutput(requantize);
  if (!HasColumns(s) || !bytes.fits) return Depthwise(s, input, packed, output, requantize, lines);
  const int32_t parts = LoadAs<int32_t>(reinterpret_cast<const uint8_t*>(packed + ColumnLayout(s).parts));
  if (parts > 2) return Depthwise(s, input, packed, output, requantize, lines);
  const auto run = parts == 1 ? DepthwiseBlocks<1> : DepthwiseBlocks<2>;
  run(s, input, packed, output, requantize, bytes, lines);
}

}  // namespace
}  // namespace sigrun::kernels
