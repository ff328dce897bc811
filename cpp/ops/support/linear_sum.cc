#include "ops/support/linear_sum.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/fixed_point.h"

namespace sigrun::ops {

using namespace kernels;

AddI8Params QuantizedSum(Prepare::Affine a, Prepare::Affine b, Prepare::Affine y, int32_t left_shift, QuantizedRange range) {
  const double twice_max_scale = 2 * std::max(a.scale, b.scale);
  const FixedPoint ma = QuantizeMultiplier(a.scale / twice_max_scale);
  const FixedPoint mb = QuantizeMultiplier(b.scale / twice_max_scale);
  const FixedPoint my = QuantizeMultiplier(twice_max_scale / (static_cast<float>(1 << left_shift) * y.scale));
  return {left_shift, -a.zero_point, ma.multiplier, ma.shift, -b.zero_point, mb.multiplier,
          mb.shift,   y.zero_point,  my.multiplier, my.shift, range.min,     range.max};
}

LinearI8 FindLinearSum(const AddI8Params& p, bool is_unsigned, bool subtract) {
  constexpr int32_t kLowBits = 15, kBytes = 256;
  const int32_t first = is_unsigned ? 0 : -128;
  int32_t scaled_a[kBytes], scaled_b[kBytes];
  for (int32_t i = 0; i < kBytes; ++i) {
    scaled_a[i] = MultiplyByQuantizedMultiplier(WrapShiftLeft(first + i + p.a_offset, p.left_shift), p.a_multiplier, p.a_shift);
    scaled_b[i] = MultiplyByQuantizedMultiplier(WrapShiftLeft(first + i + p.b_offset, p.left_shift), p.b_multiplier, p.b_shift);
    if (subtract) scaled_b[i] = -scaled_b[i];
  }
  const auto real = [](int32_t multiplier, int32_t shift) { return std::ldexp(static_cast<double>(multiplier), shift - 31); };
  const double to_output = std::ldexp(real(p.output_multiplier, p.output_shift), p.left_shift);
  const double a = real(p.a_multiplier, p.a_shift) * to_output, b = real(p.b_multiplier, p.b_shift) * to_output * (subtract ? -1 : 1);
  // As many bits as the larger factor leaves.
  const int bits = 30 - std::max(std::ilogb(std::max(std::abs(a), std::abs(b))) + 1, 0);
  if (p.output_multiplier <= 0 || p.output_shift > 0 || p.output_shift < -31 || bits <= kLowBits) return {};
  const int64_t a_factor = std::llround(std::ldexp(a, bits)), b_factor = std::llround(std::ldexp(b, bits));
  const int64_t most = (int64_t{1} << 30) - 1;
  if (std::max(std::abs(a_factor), std::abs(b_factor)) > most) return {};

  // least <= addend <= greatest if every pair is to come out right; what is clamped has room to one side.
  int64_t least = INT64_MIN, greatest = INT64_MAX;
  for (int32_t i = 0; i < kBytes; ++i) {
    for (int32_t j = 0; j < kBytes; ++j) {
      const int32_t sum = MultiplyByQuantizedMultiplier(WrapAdd(scaled_a[i], scaled_b[j]), p.output_multiplier, p.output_shift);
      const int64_t y = ClampI32(WrapAdd(sum, p.output_offset), p.min, p.max);
      const int64_t form = a_factor * (first + i) + b_factor * (first + j);
      if (y > p.min) least = std::max(least, y * (int64_t{1} << bits) - form);
      if (y < p.max) greatest = std::min(greatest, (y + 1) * (int64_t{1} << bits) - 1 - form);
    }
  }
  const int64_t bound = int64_t{1} << 44;
  if (least > greatest || least < -bound || greatest > bound) return {};
  const int64_t addend = least + (greatest - least) / 2;
  const auto high = [](int64_t x) { return x >> kLowBits; };
  const auto low = [](int64_t x) { return static_cast<int16_t>(x & ((1 << kLowBits) - 1)); };
  return {static_cast<int16_t>(high(a_factor)),
          low(a_factor),
          static_cast<int16_t>(high(b_factor)),
          low(b_factor),
          static_cast<int32_t>(high(addend)),
          low(addend),
          bits - kLowBits,
          true};
}

}  // namespace sigrun::ops
