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

namespace {

constexpr int32_t kLowBits = 15, kBytes = 256;
constexpr int64_t kMostAsked = 512;  // pairs, of forms that fail

double Real(int32_t multiplier, int32_t shift) { return std::ldexp(multiplier, shift - 31); }

// One operand: what it adds to the exact sum, and to the form, of each byte.
struct Operand {
  int32_t exact[kBytes];
  int64_t form[kBytes] = {};
  double least = 0, greatest = 0;  // of the form beyond what the exact sum, in double, comes to in the form's units

  Operand(int32_t first, int32_t offset, int32_t left_shift, int32_t multiplier, int32_t shift) {
    for (int32_t i = 0; i < kBytes; ++i) {
      exact[i] = MultiplyByQuantizedMultiplier(WrapShiftLeft(first + i + offset, left_shift), multiplier, shift);
    }
  }
  void SetForm(int32_t first, int64_t factor, double units) {
    for (int32_t i = 0; i < kBytes; ++i) {
      form[i] = factor * (first + i);
      const double beyond = static_cast<double>(form[i]) - exact[i] * units;
      least = i == 0 ? beyond : std::min(least, beyond);
      greatest = i == 0 ? beyond : std::max(greatest, beyond);
    }
  }
};

// Calls near(i, j), until it is false, for all bytes for which (a[i] + b[j] + c) mod 2^bits is at most `reach` before 0 or less than that
// behind. Where they are on a circle decides on a bucket of b's.
template <class F>
void ForPairsNearStep(const Operand& a, const Operand& b, int64_t c, int bits, int64_t reach, const F& near) {
  constexpr int kBucketShift = 32 - 8;
  const auto position = [=](int64_t x) { return static_cast<uint32_t>(x) << (32 - bits); };
  int32_t last[kBytes], before[kBytes];  // of a bucket, and of the same one
  std::fill_n(last, kBytes, -1);
  for (int32_t j = 0; j < kBytes; ++j) {
    int32_t& bucket = last[position(b.form[j]) >> kBucketShift];
    before[j] = bucket;
    bucket = j;
  }
  const uint32_t window = position(2 * reach);
  for (int32_t i = 0; i < kBytes; ++i) {
    const uint32_t offset = position(a.form[i] + c + reach), begin = 0 - offset, end = (begin + window) >> kBucketShift;
    for (uint32_t bucket = begin >> kBucketShift;; bucket = (bucket + 1) % kBytes) {
      for (int32_t j = last[bucket]; j >= 0; j = before[j]) {
        if (position(b.form[j]) + offset < window && !near(i, j)) return;
      }
      if (bucket == end) break;
    }
  }
}

struct Pair {
  int32_t i, j;
};

// Those with which all pairs come out right, from `least` to `greatest`; which pairs say so.
struct Addends {
  int64_t least, greatest;
  Pair of_least = {}, of_greatest = {};
  int64_t asked = 0;  // pairs
};

Addends FindAddends(const AddI8Params& p, const Operand& a, const Operand& b, int bits) {
  // The result reaches a number where the exact sum, in units of the form, and half a result come to it: but for the two roundings of the
  // result, which move that by half a unit of the first at most.
  const double result = std::ldexp(1.0, bits), least_beyond = a.least + b.least, greatest_beyond = a.greatest + b.greatest;
  const int64_t middle = std::llround((p.output_offset + 0.5) * result - (least_beyond + greatest_beyond) / 2);
  const double apart = (greatest_beyond - least_beyond) / 2 + std::ldexp(result, p.output_shift - 1) + 2;
  // Pairs farther from a step than that, and than an addend is from the middle, come out right; those that are nearer say what it may be.
  constexpr double kLeastReach = 1.0 / 4096, kMostReach = 1.0 / 256;
  if (apart > kMostReach * result) return {1, 0};
  const int64_t reach = std::llround(std::max(apart, kLeastReach * result));
  Addends found{middle - reach + 1, middle + reach - 1};
  ForPairsNearStep(a, b, middle, bits, reach, [&](int32_t i, int32_t j) {
    const int32_t sum = MultiplyByQuantizedMultiplier(WrapAdd(a.exact[i], b.exact[j]), p.output_multiplier, p.output_shift);
    const int64_t y = std::clamp(sum + p.output_offset, p.min, p.max), one = int64_t{1} << bits;
    const int64_t least = y * one - (a.form[i] + b.form[j]), greatest = least + one - 1;
    if (y > p.min && least > found.least) found.least = least, found.of_least = {i, j};
    if (y < p.max && greatest < found.greatest) found.greatest = greatest, found.of_greatest = {i, j};
    return ++found.asked < kMostAsked || found.least <= found.greatest;
  });
  return found;
}

LinearI8 MakeForm(int64_t a_factor, int64_t b_factor, int64_t addend, int bits) {
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

}  // namespace

LinearI8 FindLinearSum(const AddI8Params& p, bool is_unsigned) {
  const int32_t first = is_unsigned ? 0 : -128;
  const double of_byte = std::ldexp(Real(p.output_multiplier, p.output_shift), p.left_shift);
  const double a = Real(p.a_multiplier, p.a_shift) * of_byte, b = Real(p.b_multiplier, p.b_shift) * of_byte;
  // As many bits as the larger factor leaves.
  const int bits = 30 - std::max(std::ilogb(std::max(std::abs(a), std::abs(b))) + 1, 0);
  if (p.output_multiplier <= 0 || p.output_shift > 0 || p.output_shift < -31 || bits <= kLowBits) return {};
  int64_t a_factor = std::llround(std::ldexp(a, bits)), b_factor = std::llround(std::ldexp(b, bits));
  const double units = std::ldexp(Real(p.output_multiplier, p.output_shift), bits);
  Operand left(first, p.a_offset, p.left_shift, p.a_multiplier, p.a_shift),
      right(first, p.b_offset, p.left_shift, p.b_multiplier, p.b_shift);
  // Where two pairs contradict each other, the form is tilted from one to the other.
  for (int64_t asked = 0; asked < kMostAsked;) {
    const int64_t most = (int64_t{1} << 30) - 1;
    if (std::max(std::abs(a_factor), std::abs(b_factor)) > most) return {};
    left.SetForm(first, a_factor, units);
    right.SetForm(first, b_factor, units);
    const Addends addends = FindAddends(p, left, right, bits);
    const int64_t lack = addends.least - addends.greatest, bound = int64_t{1} << 44;
    if (lack <= 0 && addends.least >= -bound && addends.greatest <= bound) {
      return MakeForm(a_factor, b_factor, addends.greatest + lack / 2, bits);
    }
    const int64_t i = addends.of_least.i - addends.of_greatest.i, j = addends.of_least.j - addends.of_greatest.j;
    if (lack <= 0 || (i == 0 && j == 0)) return {};
    asked += addends.asked;
    const int64_t step = lack / (std::abs(i) + std::abs(j)) + 1;
    a_factor += i > 0 ? step : i < 0 ? -step : 0;
    b_factor += j > 0 ? step : j < 0 ? -step : 0;
  }
  return {};
}

}  // namespace sigrun::ops
