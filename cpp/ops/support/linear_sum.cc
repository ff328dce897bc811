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

// least <= addend <= greatest if every pair is to come out right.
struct Bounds {
  int64_t least = INT64_MIN, greatest = INT64_MAX;
};

// What the form lacks to the results of one a and all b, and how far it may fall short.
struct Row {
  int32_t y[kBytes];
  uint32_t growth[kBytes];  // of the form since the first pair, its low bits
  int64_t form, b_factor;   // the form of the first pair, and its growth from one b to the next
  int bits;
  int64_t Least(int32_t j) const { return y[j] * (int64_t{1} << bits) - (form + b_factor * j); }
};

// Results grow or fall along a row. Where they are clamped, only the pair next to those that are not counts; the others' lack of the form
// grows or falls along a run of equal results, and stays within 32 bits of what the row's first one lacks.
void Narrow(const Row& row, int32_t min, int32_t max, Bounds* bounds) {
  const bool grows = row.y[0] < row.y[kBytes - 1] || (row.y[0] == row.y[kBytes - 1] && row.b_factor >= 0);
  const int32_t first = grows ? min : max, last = grows ? max : min;
  const auto* const inner = std::partition_point(row.y, row.y + kBytes, [=](int32_t y) { return y == first; });
  const auto* const clamped = std::partition_point(inner, row.y + kBytes, [=](int32_t y) { return y != last; });
  const int32_t begin = static_cast<int32_t>(inner - row.y), end = static_cast<int32_t>(clamped - row.y);
  const int32_t mins = grows ? begin : kBytes - end, maxes = grows ? kBytes - end : begin;
  const int64_t room = (int64_t{1} << row.bits) - 1;
  const int32_t last_min = grows ? begin - 1 : end, first_max = grows ? end : begin - 1;
  if (mins > 0) bounds->greatest = std::min(bounds->greatest, row.Least(last_min) + room);
  if (maxes > 0) bounds->least = std::max(bounds->least, row.Least(first_max));
  if (begin >= end) return;
  const int64_t base = row.Least(begin);
  const uint32_t offset = static_cast<uint32_t>(row.form + base);
  int32_t low = 0, high = 0;
  for (int32_t j = begin; j < end; ++j) {
    const int32_t lack = static_cast<int32_t>((static_cast<uint32_t>(row.y[j]) << row.bits) - row.growth[j] - offset);
    low = lack < low ? lack : low;
    high = lack > high ? lack : high;
  }
  bounds->least = std::max(bounds->least, base + high);
  bounds->greatest = std::min(bounds->greatest, base + low + room);
}

}  // namespace

LinearI8 FindLinearSum(const Kernels& kernels, const AddI8Params& p, bool is_unsigned) {
  const int32_t first = is_unsigned ? 0 : -128;
  const auto real = [](int32_t multiplier, int32_t shift) { return std::ldexp(static_cast<double>(multiplier), shift - 31); };
  const double to_output = std::ldexp(real(p.output_multiplier, p.output_shift), p.left_shift);
  const double a = real(p.a_multiplier, p.a_shift) * to_output, b = real(p.b_multiplier, p.b_shift) * to_output;
  // As many bits as the larger factor leaves.
  const int bits = 30 - std::max(std::ilogb(std::max(std::abs(a), std::abs(b))) + 1, 0);
  if (p.output_multiplier <= 0 || p.output_shift > 0 || p.output_shift < -31 || bits <= kLowBits) return {};
  const int64_t a_factor = std::llround(std::ldexp(a, bits)), b_factor = std::llround(std::ldexp(b, bits));
  const int64_t most = (int64_t{1} << 30) - 1;
  if (std::max(std::abs(a_factor), std::abs(b_factor)) > most) return {};

  uint8_t all[kBytes], results[kBytes];
  for (int32_t i = 0; i < kBytes; ++i) all[i] = static_cast<uint8_t>(first + i);
  const auto* bytes = reinterpret_cast<const int8_t*>(all);
  Row row{.y = {}, .growth = {}, .form = 0, .b_factor = b_factor, .bits = bits};
  for (uint32_t j = 0; j < kBytes; ++j) row.growth[j] = static_cast<uint32_t>(b_factor) * j;
  Bounds bounds;
  for (int32_t i = 0; i < kBytes; ++i) {
    if (is_unsigned) {
      kernels.add_u8(all + i, all, results, kBytes, p, Operands::kScalarVector);
    } else {
      kernels.add_i8(bytes + i, bytes, reinterpret_cast<int8_t*>(results), kBytes, p, Operands::kScalarVector);
    }
    for (int32_t j = 0; j < kBytes; ++j) row.y[j] = is_unsigned ? results[j] : static_cast<int8_t>(results[j]);
    row.form = a_factor * (first + i) + b_factor * first;
    Narrow(row, p.min, p.max, &bounds);
  }
  const auto [least, greatest] = bounds;
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

LazyLinearSum::LazyLinearSum(const Kernels& kernels, const AddI8Params& params, bool is_unsigned, int64_t elements)
    : kernels_(kernels), plain_(params), best_(params), is_unsigned_(is_unsigned) {
  constexpr int64_t kMany = 1024;
  if (elements >= kMany) IsFound(kSearched);
}

void LazyLinearSum::Search() noexcept { best_.linear = FindLinearSum(kernels_, plain_, is_unsigned_); }

}  // namespace sigrun::ops
