#include "ops/support/shifted_product.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sigrun::ops {
namespace {

constexpr int kLeastShift = 32, kMostShift = 50;

/// What an addend has to lie between for products with a factor to step where those with a scale do.
struct Bounds {
  double below, above;
  bool certain;  // whether rounding leaves no doubt of where the steps are
};

Bounds BoundsOfAddend(double scale, double factor, int32_t least, int32_t most) {
  constexpr double kToIntegers = 0x1.8p52;  // added to a number below 2^51, leaves the nearest integer
  constexpr double kRounding = 0x1p-18;     // more than what rounding changes a step of up to 2^30 by
  const double inverse = 1 / scale;
  double nearest = 1, below = -1, above = 2;
  for (int32_t r = least + 1; r <= most; ++r) {
    const double step = (r - 0.5) * inverse, integer = (step + kToIntegers) - kToIntegers;
    const double first = integer < step ? integer + 1 : integer;  // behind the step
    nearest = std::min(nearest, std::fabs(integer - step));
    below = std::max(below, r - factor * first);
    above = std::min(above, r - factor * (first - 1));
  }
  return {below, above, nearest >= kRounding};
}

}  // namespace

LazyShiftedProducts::LazyShiftedProducts(std::vector<double> scale, int32_t least, int32_t most)
    : scale_(std::move(scale)),
      least_(least),
      most_(most),
      multiplier_(scale_.size(), 0),
      shift_(scale_.size(), kLeastShift),
      addend_(scale_.size(), 0) {}

bool LazyShiftedProducts::Count(int64_t rows) noexcept {
  constexpr int64_t kMany = 4096;
  const int64_t before = rows_.fetch_add(rows, std::memory_order_relaxed);
  if (before >= kMany || before + rows < kMany) return false;
  for (size_t n = 0; n < scale_.size(); ++n) Find(n);
  found_.store(true, std::memory_order_release);
  return true;
}

void LazyShiftedProducts::Find(size_t channel) noexcept {
  constexpr double kNarrow = 0x1p-20;  // of the scale; the bounds are mostly some hundredths of it apart
  const double scale = scale_[channel];
  int exponent;
  const double mantissa = std::round(std::ldexp(std::frexp(scale, &exponent), 31));
  const int shift = 31 - exponent;
  if (!(scale > 0) || shift < kLeastShift || shift > kMostShift) return;
  for (const int off : {0, 1, -1, 2, -2}) {
    const double multiplier = mantissa + off;
    if (multiplier < 0x1p30 || multiplier >= 0x1p31) continue;
    const Bounds b = BoundsOfAddend(scale, std::ldexp(multiplier, -shift), least_, most_);
    if (!b.certain) return;
    if (b.above - b.below < kNarrow * scale) continue;
    multiplier_[channel] = static_cast<int32_t>(multiplier);
    shift_[channel] = shift;
    addend_[channel] = std::llround(std::ldexp((b.below + b.above) / 2, shift));
    return;
  }
}

}  // namespace sigrun::ops
