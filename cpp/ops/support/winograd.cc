#include "ops/support/winograd.h"

#include <algorithm>
#include <cstring>

#include "kernels/winograd_lines.h"
#include "kernels/winograd_squares.h"
#include "ops/support/float_product.h"

namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;
using kernels::WinogradLines;
using kernels::WinogradSquares;

constexpr int32_t kLeastChannels = 16;      // below, the transforms cost more than the products save
constexpr int32_t kLeastLineChannels = 32;  // of a part of a line, whose products save less
constexpr int64_t kBandFloats = 1 << 17;    // transformed inputs and products of a band: half of a usual L2
constexpr ptrdiff_t kSkew = 16;             // floats between planes, so that they do not meet in the same sets of L1
constexpr int32_t kWeightRows = 8;          // rows of a product that take as long as reading its weights from memory, ...
constexpr int32_t kCachedWeightRows = 2;    // or from L2
constexpr int64_t kCachedWeights = 1 << 16;
constexpr int64_t kSmallerWeights = 8;  // F(2x2) has 4/9 of the weights of F(4x4): an eighth of the cost may go for it

// Multiplications of a pair of channels by `count` matrices of weights, each for some rows, reading of weights included.
int64_t CostOf(const ConvShape& s, int64_t count, int64_t rows) {
  const bool cached = count * s.in_channels * s.out_channels <= kCachedWeights;
  return count * (rows + (cached ? kCachedWeightRows : kWeightRows));
}
int64_t CostOf(const WinogradForm& f) { return CostOf(f.shape, int64_t{f.depth / f.shape.in_channels} * f.points, f.tiles); }
int64_t DirectCost(const ConvShape& s) { return CostOf(s, s.taps(), s.rows()); }

WinogradForm Squares(const ConvShape& s, int32_t m) {
  const WinogradSquares squares(s, m);
  return {.shape = s, .m = m, .points = (m + 2) * (m + 2), .tiles = s.batch * squares.lines * squares.columns, .depth = s.in_channels};
}

WinogradForm Lines(const ConvShape& s, int32_t taps) {
  const WinogradLines lines(s, taps);
  return {.shape = s,
          .taps = taps,
          .points = kernels::kWinogradLinePoints,
          .tiles = s.batch * lines.out_lines * lines.line_tiles,
          .depth = lines.parts * s.in_channels};
}

/// Tiles that are transformed, multiplied and transformed back at once: bands of equal size, as many for each thread.
int32_t BandTiles(const WinogradForm& f, int32_t workers) {
  const int64_t fitting = kBandFloats / (f.points * int64_t{f.depth + f.shape.out_channels});
  const int64_t most = std::clamp<int64_t>(fitting, 2 * kRowGrain, 16 * kRowGrain);
  int64_t bands = std::max<int64_t>((f.tiles + most / 2) / most, 1);
  if (bands > 1) bands = (bands + workers - 1) / workers * workers;
  return static_cast<int32_t>((f.tiles + bands - 1) / bands);
}

// Against float32, or against bfloat16: a unit that gains by one part alone takes half of the time; its weights are a quarter to an eighth
// of those of the transformed filters, so that more rows have to pay for these. Tiles of products take the share that is counted: about 0.4
// for three parts, which F(4x4, 3x3) beats on large images, and too little for it with fewer parts.
bool SavesTime(const Prepare& p, const WinogradForm& f) {
  const int64_t cost = CostOf(f), direct = DirectCost(f.shape);
  const FloatProduct product(p, f.shape);
  if (product.is_float32()) return 5 * cost < 4 * direct;
  if (p.kernels().bf16_parts == 1) return 2 * (cost + kWeightRows * f.points) < direct;
  return 5 * static_cast<double>(cost) < 4 * static_cast<double>(direct) * product.share();
}

/// The kernels of a form.
struct Transforms {
  const kernels::Kernels* kernels;
  WinogradForm form;

  size_t PackBytes() const {
    return form.taps > 0 ? kernels->pack_winograd_line_f32_bytes(form.shape, form.taps)
                         : kernels->pack_winograd_f32_bytes(form.m, form.depth, form.shape.out_channels);
  }
  void Pack(const float* filters, std::byte* packed) const {
    if (form.taps > 0) return kernels->pack_winograd_line_f32(form.shape, form.taps, filters, packed);
    kernels->pack_winograd_f32(form.m, form.depth, form.shape.out_channels, filters, packed);
  }
  void Input(const float* input, float* to, ptrdiff_t plane, Range tiles) const {
    if (form.taps > 0) return kernels->winograd_line_input_f32(form.shape, form.taps, input, to, plane, tiles);
    kernels->winograd_input_f32(form.shape, form.m, input, to, plane, tiles);
  }
  void Multiply(int32_t tiles, const float* from, ptrdiff_t from_plane, const std::byte* packed, float* to, ptrdiff_t to_plane,
                Range points) const {
    kernels->winograd_multiply_f32(form.depth, form.shape.out_channels, tiles, from, from_plane, packed, to, to_plane, points);
  }
  void Output(const float* from, ptrdiff_t plane, const float* bias, float* output, const kernels::EpilogueF32& epilogue,
              Range tiles) const {
    if (form.taps > 0) return kernels->winograd_line_output_f32(form.shape, form.taps, from, plane, bias, output, epilogue, tiles);
    kernels->winograd_output_f32(form.shape, form.m, from, plane, bias, output, epilogue, tiles);
  }
};

// Of three taps or more, in one direction.
bool IsLine(const ConvShape& s) {
  const bool line = s.kernel_height == 1 && s.kernel_width >= 3 && (s.stride_w == 1 || s.dilation_w == 1);
  return line || (s.kernel_width == 1 && s.kernel_height >= 3 && (s.stride_h == 1 || s.dilation_h == 1));
}

struct WinogradBand {
  int32_t tiles;
  ptrdiff_t in_plane, out_plane;
  Packed packed;
  size_t bias_offset;
};

// So few tiles that threads share the weights: each takes some of the points.
void EmitOneBand(Prepare& p, const Gemm& g, const Transforms& t, const WinogradBand& w) {
  const int32_t depth = t.form.depth, n = t.form.shape.out_channels, points = t.form.points;
  const Slot scratch = p.Scratch(static_cast<size_t>(points * (w.in_plane + w.out_plane)) * sizeof(float));
  p.Emit([=, epilogue = PrepareEpilogue(p), in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
    const std::byte* weights = w.packed.get(run);
    float *inputs = run.get<float>(scratch), *products = inputs + points * w.in_plane;
    run.Parallel(w.tiles, MacCost(int64_t{points} * depth * 8),
                 [&](Range tiles, int) { t.Input(run.get<float>(in), inputs + ptrdiff_t{tiles.begin} * depth, w.in_plane, tiles); });
    run.Parallel(points, MacCost(int64_t{w.tiles} * depth * n),
                 [&](Range range, int) { t.Multiply(w.tiles, inputs, w.in_plane, weights, products, w.out_plane, range); });
    run.Parallel(w.tiles, MacCost(int64_t{points} * n * 8), [&](Range tiles, int) {
      t.Output(products + ptrdiff_t{tiles.begin} * n, w.out_plane, reinterpret_cast<const float*>(weights + w.bias_offset),
               run.get<float>(out), epilogue.at(run), tiles);
    });
  });
}

std::string NameOf(const WinogradForm& f) {
  return f.taps > 0 ? Concat("Winograd F(", kernels::kWinogradLinePoints + 1 - f.taps, ", ", f.taps, ")")
                    : Concat("Winograd F(", f.m, "x", f.m, ", 3x3)");
}

}  // namespace

std::optional<WinogradForm> ChooseWinograd(const Prepare& p, const Gemm& g) {
  const ConvShape& s = g.shape;
  if (!IsPackedOnce(p, g.weights, g.bias) || s.groups != 1 || std::min(s.in_channels, s.out_channels) < kLeastChannels ||
      s.in_channels > kernels::kMaxWinogradChannels || g.stride_k != 1 || g.stride_n != ptrdiff_t{s.taps()} * s.in_channels) {
    return std::nullopt;
  }
  std::optional<WinogradForm> best;
  const auto consider = [&](const WinogradForm& f) {
    if (!best.has_value() || CostOf(f) < CostOf(*best)) best = f;
  };
  const bool fits = s.dilation_h <= s.out_height && s.dilation_w <= s.out_width;
  if (s.kernel_height == 3 && s.kernel_width == 3 && s.stride_h == 1 && s.stride_w == 1 && fits) {
    consider(Squares(s, 2));
    if (kSmallerWeights * CostOf(Squares(s, 4)) < (kSmallerWeights - 1) * CostOf(*best)) best = Squares(s, 4);
  } else if (IsLine(s) && std::min(s.in_channels, s.out_channels) >= kLeastLineChannels) {
    for (const int32_t taps : {5, 4, 3}) consider(Lines(s, taps));
  }
  return best.has_value() && SavesTime(p, *best) ? best : std::nullopt;
}

void EmitWinogradF32(Prepare& p, const Gemm& g, const WinogradForm& form) {
  const Transforms t = {&p.kernels(), form};
  const int32_t n = form.shape.out_channels, points = form.points, tiles = form.tiles;
  const size_t filter_bytes = t.PackBytes(), bias_bytes = static_cast<size_t>(n) * sizeof(float);
  const Packed packed =
      PackWeights(p, g.weights, g.bias,
                  Concat(NameOf(form), " ", form.shape.taps(), "/", form.shape.stride_h, "/", form.shape.stride_w, " ", form.depth, "x", n),
                  filter_bytes + bias_bytes, 0, [=](const void* w, const void* b, std::byte* to, std::byte*) {
                    t.Pack(static_cast<const float*>(w), to);
                    if (b != nullptr) {
                      std::memcpy(to + filter_bytes, b, bias_bytes);
                    } else {
                      std::memset(to + filter_bytes, 0, bias_bytes);
                    }
                  });
  p.Explain(Concat(NameOf(form), ", float32, ", p.kernels().tier));
  const int32_t band = std::min(BandTiles(form, p.workers()), tiles);
  const ptrdiff_t in_plane = ptrdiff_t{band} * form.depth + kSkew, out_plane = ptrdiff_t{band} * n + kSkew;
  const size_t worker_floats = static_cast<size_t>(points * (in_plane + out_plane));
  if (band == tiles && p.workers() > 1) return EmitOneBand(p, g, t, {tiles, in_plane, out_plane, packed, filter_bytes});
  const Slot scratch = p.Scratch(worker_floats * sizeof(float) * static_cast<size_t>(p.workers()));
  p.Emit([=, epilogue = PrepareEpilogue(p), in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
    const std::byte* w = packed.get(run);
    const float* bias = reinterpret_cast<const float*>(w + filter_bytes);
    const kernels::EpilogueF32 end = epilogue.at(run);
    run.Parallel((tiles + band - 1) / band, int64_t{band} * MacCost(int64_t{points} * form.depth * n), [&](Range bands, int worker) {
      float* own = run.get<float>(scratch) + static_cast<size_t>(worker) * worker_floats;
      float* products = own + points * in_plane;
      for (int32_t i = bands.begin; i < bands.end; ++i) {
        const Range range = {i * band, std::min(tiles, (i + 1) * band)};
        t.Input(run.get<float>(in), own, in_plane, range);
        t.Multiply(range.end - range.begin, own, in_plane, w, products, out_plane, {0, points});
        t.Output(products, out_plane, bias, run.get<float>(out), end, range);
      }
    });
  });
}

}  // namespace sigrun::ops
