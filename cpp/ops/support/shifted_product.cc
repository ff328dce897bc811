#include "ops/support/shifted_product.h"

#include <algorithm>
#include <cmath>

namespace sigrun::ops {
namespace {

/// What an addend has to lie between for products with `factor` to step where those with `scale` do; nothing if `below` >= `above`.
struct Bounds {
  double below, above;
};

Bounds BoundsOfAddend(double scale, double factor, int32_t least, int32_t most) {
  constexpr double kToIntegers = 0x1.8p52;  // added to a number below 2^51, leaves the nearest integer
  constexpr double kRounding = 0x1p-18;     // more than what rounding changes a step of up to 2^30 by
  const double inverse = 1 / scale;
  double nearest = 1, farthest = 0, below = -1, above = 2;
  for (int32_t r = least + 1; r <= most; ++r) {
    const double step = (r - 0.5) * inverse, rounded = (step + kToIntegers) - kToIntegers;
    const double first = rounded < step ? rounded + 1 : rounded, distance = first - step;  // the first integer behind the step
    nearest = std::min(nearest, distance);
    farthest = std::max(farthest, distance);
    below = std::max(below, r - factor * first);
    above = std::min(above, r - factor * (first - 1));
  }
  if (nearest < kRounding || farthest > 1 - kRounding) return {1, 0};
  return {below, above};
}

}  // namespace

ShiftedProducts FindShiftedProducts(const std::vector<double>& scale, int32_t least, int32_t most) {
  constexpr int kLeastShift = 32, kMostShift = 50;
  constexpr double kNarrow = 0x1p-20;  // of the scale, of which the bounds are mostly a few hundredths apart
  ShiftedProducts found;
  found.multiplier.resize(scale.size());
  found.shift.resize(scale.size(), kLeastShift);
  found.addend.resize(scale.size());
  for (size_t n = 0; n < scale.size(); ++n) {
    int exponent;
    const double mantissa = std::round(std::ldexp(std::frexp(scale[n], &exponent), 31));
    const int shift = 31 - exponent;
    if (!(scale[n] > 0) || shift < kLeastShift || shift > kMostShift) continue;
    for (const int off : {0, 1, -1, 2, -2}) {
      const double multiplier = mantissa + off;
      if (multiplier < 0x1p30 || multiplier >= 0x1p31) continue;
      const Bounds b = BoundsOfAddend(scale[n], std::ldexp(multiplier, -shift), least, most);
      if (b.above - b.below < kNarrow * scale[n]) continue;
      found.multiplier[n] = static_cast<int32_t>(multiplier);
      found.shift[n] = shift;
      found.addend[n] = std::llround(std::ldexp((b.below + b.above) / 2, shift));
      break;
    }
  }
  return found;
}

}  // namespace sigrun::ops
