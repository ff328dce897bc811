#include "ops/support/winograd.h"

#include <algorithm>
#include <cstring>

#include "ops/support/float_product.h"

namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

constexpr int32_t kLeastChannels = 16;    // below, the transforms cost more than the products save
constexpr int64_t kBandFloats = 1 << 17;  // transformed inputs and products of a band: half of a usual L2
constexpr ptrdiff_t kSkew = 16;           // floats between planes, so that they do not meet in the same sets of L1
constexpr int32_t kWeightRows = 8;        // rows of a product that take as long as reading its weights

int32_t TilesOf(const ConvShape& s, int32_t m) { return s.batch * ((s.out_height + m - 1) / m) * ((s.out_width + m - 1) / m); }
int32_t PointsOf(int32_t m) { return (m + 2) * (m + 2); }

// Multiplications of a pair of channels, reading of weights included.
int64_t CostOf(const ConvShape& s, int32_t m) { return PointsOf(m) * (int64_t{TilesOf(s, m)} + kWeightRows); }
int64_t DirectCost(const ConvShape& s) { return 9 * (int64_t{s.rows()} + kWeightRows); }

int32_t ChooseTile(const ConvShape& s) { return CostOf(s, 4) < CostOf(s, 2) ? 4 : 2; }

/// Tiles that are transformed, multiplied and transformed back at once: bands of equal size, as many for each thread.
int32_t BandTiles(const ConvShape& s, int32_t m, int32_t workers) {
  const int64_t fitting = kBandFloats / (PointsOf(m) * int64_t{s.in_channels + s.out_channels});
  const int64_t most = std::clamp<int64_t>(fitting, 2 * kRowGrain, 16 * kRowGrain), tiles = TilesOf(s, m);
  int64_t bands = std::max<int64_t>((tiles + most / 2) / most, 1);
  if (bands > 1) bands = (bands + workers - 1) / workers * workers;
  return static_cast<int32_t>((tiles + bands - 1) / bands);
}

// Against float32, or against bfloat16: a unit that gains by one part alone takes half of the time, one that gains by two far less.
bool SavesTime(const Prepare& p, const ConvShape& s) {
  const int64_t cost = CostOf(s, ChooseTile(s)), direct = DirectCost(s);
  if (FloatProduct(p, s).is_float32()) return 5 * cost < 4 * direct;
  return p.kernels().bf16_parts == 1 && 2 * cost < direct;
}

struct WinogradBand {
  int32_t m, tiles;
  ptrdiff_t in_plane, out_plane;
  Packed packed;
  size_t bias_offset;
};

// So few tiles that threads share the weights: each takes some of the points.
void EmitOneBand(Prepare& p, const Gemm& g, const WinogradBand& w) {
  const ConvShape s = g.shape;
  const auto& k = p.kernels();
  const int32_t m = w.m, c = s.in_channels, n = s.out_channels, points = PointsOf(m);
  const Slot scratch = p.Scratch(static_cast<size_t>(points * (w.in_plane + w.out_plane)) * sizeof(float));
  p.Emit([=, transform = k.winograd_input_f32, multiply = k.winograd_multiply_f32, finish = k.winograd_output_f32,
          epilogue = PrepareEpilogue(p), in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
    const std::byte* weights = w.packed.get(run);
    float *inputs = run.get<float>(scratch), *products = inputs + points * w.in_plane;
    run.Parallel(w.tiles, MacCost(int64_t{points} * c * 8), [&](Range tiles, int) {
      transform(s, m, run.get<float>(in), inputs + ptrdiff_t{tiles.begin} * c, w.in_plane, tiles);
    });
    run.Parallel(points, MacCost(int64_t{w.tiles} * c * n),
                 [&](Range range, int) { multiply(c, n, w.tiles, inputs, w.in_plane, weights, products, w.out_plane, range); });
    run.Parallel(w.tiles, MacCost(int64_t{points} * n * 8), [&](Range tiles, int) {
      finish(s, m, products + ptrdiff_t{tiles.begin} * n, w.out_plane, reinterpret_cast<const float*>(weights + w.bias_offset),
             run.get<float>(out), epilogue.at(run), tiles);
    });
  });
}

}  // namespace

bool SuitsWinograd(const Prepare& p, const Gemm& g) {
  const ConvShape& s = g.shape;
  const bool constant = p.constant(g.weights) != nullptr && (!p.has_input(g.bias) || p.constant(g.bias) != nullptr);
  return constant && s.groups == 1 && s.kernel_height == 3 && s.kernel_width == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.in_channels >= kLeastChannels && s.out_channels >= kLeastChannels &&
         s.in_channels <= kernels::kMaxWinogradChannels && g.stride_k == 1 && g.stride_n == 9 * ptrdiff_t{s.in_channels} && SavesTime(p, s);
}

void EmitWinogradF32(Prepare& p, const Gemm& g) {
  const ConvShape s = g.shape;
  const auto& k = p.kernels();
  const int32_t m = ChooseTile(s), c = s.in_channels, n = s.out_channels;
  const size_t filter_bytes = k.pack_winograd_f32_bytes(m, c, n), bias_bytes = static_cast<size_t>(n) * sizeof(float);
  const Packed packed = PackWeights(p, g.weights, g.bias, Concat("winograd ", m, " ", c, "x", n), filter_bytes + bias_bytes, 0,
                                    [=, pack = k.pack_winograd_f32](const void* w, const void* b, std::byte* to, std::byte*) {
                                      pack(m, c, n, static_cast<const float*>(w), to);
                                      if (b != nullptr) {
                                        std::memcpy(to + filter_bytes, b, bias_bytes);
                                      } else {
                                        std::memset(to + filter_bytes, 0, bias_bytes);
                                      }
                                    });
  const int32_t tiles = TilesOf(s, m), band = std::min(BandTiles(s, m, p.workers()), tiles);
  const ptrdiff_t in_plane = static_cast<ptrdiff_t>(band) * c + kSkew, out_plane = static_cast<ptrdiff_t>(band) * n + kSkew;
  const size_t worker_floats = static_cast<size_t>(PointsOf(m) * (in_plane + out_plane));
  if (band == tiles && p.workers() > 1) return EmitOneBand(p, g, {m, tiles, in_plane, out_plane, packed, filter_bytes});
  const Slot scratch = p.Scratch(worker_floats * sizeof(float) * static_cast<size_t>(p.workers()));
  p.Explain(Concat("Winograd F(", m, "x", m, ", 3x3), float32, ", k.tier));
  p.Emit([=, transform = k.winograd_input_f32, multiply = k.winograd_multiply_f32, finish = k.winograd_output_f32,
          epilogue = PrepareEpilogue(p), in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
    const std::byte* w = packed.get(run);
    const float* bias = reinterpret_cast<const float*>(w + filter_bytes);
    const kernels::EpilogueF32 end = epilogue.at(run);
    run.Parallel((tiles + band - 1) / band, int64_t{band} * MacCost(int64_t{PointsOf(m)} * c * n), [&](Range bands, int worker) {
      float* own = run.get<float>(scratch) + static_cast<size_t>(worker) * worker_floats;
      float* products = own + PointsOf(m) * in_plane;
      for (int32_t i = bands.begin; i < bands.end; ++i) {
        const Range range = {i * band, std::min(tiles, (i + 1) * band)};
        transform(s, m, run.get<float>(in), own, in_plane, range);
        multiply(c, n, range.end - range.begin, own, in_plane, w, products, out_plane, {0, PointsOf(m)});
        finish(s, m, products, out_plane, bias, run.get<float>(out), end, range);
      }
    });
  });
}

}  // namespace sigrun::ops
