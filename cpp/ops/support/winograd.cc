#include "ops/support/winograd.h"

#include <algorithm>
#include <cstring>

namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

constexpr int32_t kPoints = 16;         // of a transformed tile
constexpr int32_t kLeastChannels = 16;  // below, the transforms cost more than the products save
constexpr int32_t kLeastTiles = 48;
constexpr int64_t kBandFloats = 1 << 17;  // transformed inputs and products of a band: half of a usual L2
constexpr ptrdiff_t kSkew = 16;           // floats between planes, so that they do not meet in the same sets of L1

int32_t TilesOf(const ConvShape& s) { return s.batch * ((s.out_height + 1) / 2) * ((s.out_width + 1) / 2); }

/// Tiles that are transformed, multiplied and transformed back at once.
int32_t BandTiles(const ConvShape& s) {
  const int64_t tiles = kBandFloats / (kPoints * int64_t{s.in_channels + s.out_channels}) / kRowGrain * kRowGrain;
  return static_cast<int32_t>(std::clamp<int64_t>(tiles, 2 * kRowGrain, 16 * kRowGrain));
}

// G g G^T of the filter of one output and one input channel, its taps `stride` apart.
void TransformFilter(const float* g, ptrdiff_t stride, float (&u)[kPoints]) {
  float half[4][3];
  for (int x = 0; x < 3; ++x) {
    const float a = g[x * stride], b = g[(3 + x) * stride], c = g[(6 + x) * stride];
    half[0][x] = a;
    half[1][x] = 0.5f * ((a + c) + b);
    half[2][x] = 0.5f * ((a + c) - b);
    half[3][x] = c;
  }
  for (int y = 0; y < 4; ++y) {
    const float a = half[y][0], b = half[y][1], c = half[y][2];
    u[4 * y] = a;
    u[4 * y + 1] = 0.5f * ((a + c) + b);
    u[4 * y + 2] = 0.5f * ((a + c) - b);
    u[4 * y + 3] = c;
  }
}

// All filters as kPoints matrices [out_channels][in_channels].
void TransformFilters(const ConvShape& s, const Gemm& g, const float* weights, float* to) {
  const ptrdiff_t matrix = static_cast<ptrdiff_t>(s.out_channels) * s.in_channels;
  for (int32_t n = 0; n < s.out_channels; ++n) {
    for (int32_t c = 0; c < s.in_channels; ++c, ++to) {
      float u[kPoints];
      TransformFilter(weights + n * g.stride_n + c * g.stride_k, s.in_channels * g.stride_k, u);
      for (int32_t i = 0; i < kPoints; ++i) to[i * matrix] = u[i];
    }
  }
}

}  // namespace

bool SuitsWinograd(const Prepare& p, const Gemm& g) {
  const ConvShape& s = g.shape;
  const bool constant = p.constant(g.weights) != nullptr && (!p.has_input(g.bias) || p.constant(g.bias) != nullptr);
  return constant && s.groups == 1 && s.kernel_height == 3 && s.kernel_width == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.in_channels >= kLeastChannels && s.out_channels >= kLeastChannels &&
         s.in_channels <= kernels::kMaxWinogradChannels && s.out_height >= 4 && s.out_width >= 4 && TilesOf(s) >= kLeastTiles;
}

void EmitWinogradF32(Prepare& p, const Gemm& g) {
  const ConvShape s = g.shape;
  const auto& k = p.kernels();
  const size_t group_bytes = k.pack_f32_bytes(s.in_channels, s.out_channels),
               bias_bytes = static_cast<size_t>(s.out_channels) * sizeof(float);
  const size_t filter_floats = static_cast<size_t>(s.in_channels) * static_cast<size_t>(s.out_channels);
  // The matrices of the points, one after the other, and the bias.
  const Packed packed = PackWeights(p, g.weights, g.bias, Concat("winograd 2x2 ", s.in_channels, "x", s.out_channels),
                                    kPoints * group_bytes + bias_bytes, kPoints * filter_floats * sizeof(float),
                                    [=, pack = k.pack_f32](const void* w, const void* b, std::byte* to, std::byte* scratch) {
                                      float* filters = reinterpret_cast<float*>(scratch);
                                      TransformFilters(s, g, static_cast<const float*>(w), filters);
                                      for (int32_t i = 0; i < kPoints; ++i, filters += filter_floats, to += group_bytes) {
                                        pack(s.in_channels, s.out_channels, {filters, s.in_channels, 1}, nullptr, to);
                                      }
                                      if (b != nullptr) {
                                        std::memcpy(to, b, bias_bytes);
                                      } else {
                                        std::memset(to, 0, bias_bytes);
                                      }
                                    });
  const int32_t tiles = TilesOf(s), band = std::min(BandTiles(s), tiles);
  const ptrdiff_t in_plane = static_cast<ptrdiff_t>(band) * s.in_channels + kSkew,
                  out_plane = static_cast<ptrdiff_t>(band) * s.out_channels + kSkew;
  const size_t worker_floats = static_cast<size_t>(kPoints * (in_plane + out_plane));
  const Slot scratch = p.Scratch(worker_floats * sizeof(float) * static_cast<size_t>(p.workers()));
  p.Emit([=, transform = k.winograd_input_f32, conv = k.conv_f32, finish = k.winograd_output_f32, epilogue = PrepareEpilogue(p),
          in = p.in(g.input), out = p.out(0)](RunContext& run) noexcept {
    const std::byte* w = packed.get(run);
    const float* bias = reinterpret_cast<const float*>(w + kPoints * group_bytes);
    const kernels::EpilogueF32 none, end = epilogue.at(run);
    run.Parallel((tiles + band - 1) / band, int64_t{band} * MacCost(int64_t{kPoints} * s.in_channels * s.out_channels),
                 [&](Range bands, int worker) {
                   float* own = run.get<float>(scratch) + static_cast<size_t>(worker) * worker_floats;
                   float* products = own + kPoints * in_plane;
                   for (int32_t i = bands.begin; i < bands.end; ++i) {
                     const Range range = {i * band, std::min(tiles, (i + 1) * band)};
                     transform(s, run.get<float>(in), own, in_plane, range);
                     const ConvShape product = ConvShape::MatMul(range.end - range.begin, s.in_channels, s.out_channels);
                     for (int32_t point = 0; point < kPoints; ++point) {
                       conv(product, own + point * in_plane, w + static_cast<size_t>(point) * group_bytes, products + point * out_plane,
                            none, {0, product.out_width});
                     }
                     finish(s, products, out_plane, bias, run.get<float>(out), end, range);
                   }
                 });
  });
}

}  // namespace sigrun::ops
