#include "ops/support/float_product.h"

#include <algorithm>

namespace sigrun::ops {
namespace {

using kernels::ConvShape;

// Multiplications and additions for a pixel of the output: below, rounding and gathering its window cost more than the products save.
constexpr int64_t kLeastWork = 384;

int64_t WorkOfAPixel(const ConvShape& s) { return int64_t{s.taps()} * s.in_channels * s.out_channels; }

int64_t DivideUp(int64_t x, int64_t by) { return (x + by - 1) / by; }

// Cycles of one group, counted for a core whose vector unit begins two FMAs of 16 numbers a cycle, whose tile unit takes 16 cycles for 16 x
// 16 sums over 32 of k, and which reads weights that its L2 does not keep at 5 bytes a cycle.
constexpr int64_t kSide = 16, kUnit = 32, kKeptWeights = 1 << 20, kBytesOfCycle = 5;

int64_t ReadingCycles(int64_t weight_bytes) { return weight_bytes > kKeptWeights ? weight_bytes / kBytesOfCycle : 0; }

int64_t FmaCycles(const ConvShape& s, bool constant) {
  constexpr int64_t kProducts = 29;  // of the 32 a cycle that tiles of registers reach
  const int64_t rows = s.rows(), k = int64_t{s.taps()} * s.in_channels;
  const int64_t channels = DivideUp(int64_t{s.out_channels} * s.packed_groups, kSide) * kSide / s.packed_groups;
  const int64_t products = rows * k * channels / kProducts, ends = 3 * rows * channels / kSide, packing = constant ? 0 : k * channels / 2;
  return std::max(products + ends, ReadingCycles(k * channels * 4)) + packing;
}

// Of a row: rounding or splitting its own elements, by units of k, and gathering its window from pixels that are rounded once.
int64_t RoundingCycles(const ConvShape& s, int32_t parts) {
  constexpr int64_t kOfUnit[] = {3, 12, 10}, kGatherUnit = 2, kGatherLine = 8;
  const int64_t own = DivideUp(s.in_channels, kUnit) * kOfUnit[parts - 1];
  if (s.taps() == 1) return own;
  const int64_t lines = s.dilation_w == 1 ? s.kernel_height : s.taps();
  return own * s.stride_h * s.stride_w + parts * (kGatherUnit * DivideUp(int64_t{s.taps()} * s.in_channels, kUnit) + kGatherLine * lines);
}

int64_t TileCycles(const ConvShape& s, int32_t parts, bool constant) {
  constexpr int64_t kEnd = 100;  // of a tile of sums
  const int64_t row_tiles = DivideUp(s.rows(), kSide), column_tiles = DivideUp(s.out_channels, kSide);
  const int64_t units = DivideUp(int64_t{s.taps()} * s.in_channels, kUnit), weights = units * kUnit * column_tiles * kSide;
  // A line or column of tiles alone has too few independent sums to keep the unit busy.
  const int64_t each = row_tiles == 1 || column_tiles == 1 ? 2 * kSide : kSide;
  const int64_t products = parts * (parts + 1) / 2 * row_tiles * column_tiles * units * each, packing = constant ? 0 : 3 * weights / 2;
  const int64_t computing = products + s.rows() * RoundingCycles(s, parts) + row_tiles * column_tiles * kEnd;
  return std::max(computing, ReadingCycles(weights * 2 * parts)) + packing;
}

}  // namespace

FloatProduct::FloatProduct(const Prepare& p, const ConvShape& shape, bool constant) : kernels_(&p.kernels()), parts_(0), share_(1.0) {
  const int32_t least = p.precision() == Precision::kHighest ? 3 : p.precision() == Precision::kHigh ? 2 : 1;
  if (kernels_->bf16_parts < 3) {
    if (least <= kernels_->bf16_parts && WorkOfAPixel(shape) >= kLeastWork && shape.packed_groups == 1) parts_ = least;
    return;
  }
  const auto fma = static_cast<double>(std::max<int64_t>(FmaCycles(shape, constant), 1));
  for (int32_t parts = least; parts <= kernels_->bf16_parts; ++parts) {
    const double share = static_cast<double>(TileCycles(shape, parts, constant)) / fma;
    if (share >= share_) continue;
    share_ = share;
    parts_ = parts;
  }
}

FloatProduct FloatProduct::OfBf16(const Prepare& p) { return {p.kernels(), 1}; }

FloatProduct FloatProduct::OfHalves(const Prepare& p) {
  FloatProduct product(p.kernels(), 0);
  product.takes_halves_ = true;
  return product;
}

bool AllowsBf16(const Prepare& p) { return p.precision() == Precision::kMedium && p.kernels().bf16_parts > 0; }

bool ProductTakesBf16(const Prepare& p, int filter) {
  if (!AllowsBf16(p) || p.type(filter) != TensorType::kFloat32 || !p.is_constant(filter)) return false;
  const Shape& s = p.shape(filter);
  return s.size() == 4 && s[1] == 1 && s[2] == 1 && int64_t{s[0]} * s[3] >= kLeastWork;
}

}  // namespace sigrun::ops
