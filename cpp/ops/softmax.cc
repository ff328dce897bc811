#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/op.h"
#include "ops/support/fixed_point.h"
#include "ops/support/gemm.h"
#include "ops/support/lookup.h"
#include "ops/support/quantization.h"
#include "ops/support/small_float.h"

// SOFTMAX and LOG_SOFTMAX along the last dimension. The quantised ones depend on the distance of a value from its row's maximum, of which
// there are 256: their exponentials stand in a table, in LiteRT's fixed point.
namespace sigrun::ops {
namespace {

using kernels::Range;
using kernels::RoundingDivideByPOT;
using kernels::SaturatingRoundingDoublingHighMul;
using kernels::WrapAdd;
using kernels::WrapSub;

enum Field : int { kBeta };

constexpr int kInputBits = 5;  // integer bits of a scaled distance
constexpr int kSumBits = 12;   // integer bits of a sum of exponentials

// exp(x) for x <= 0 with 5 integer bits, as a number with none: a Taylor series around -1/8 for the remainder modulo 1/4, times a factor
// for every higher bit.
int32_t ExpOfNegative(int32_t x) {
  if (x == 0) return INT32_MAX;
  constexpr int kFractionBits = 31 - kInputBits;
  constexpr int32_t kQuarter = 1 << (kFractionBits - 2);
  const int32_t remainder = (x & (kQuarter - 1)) - kQuarter;
  const int32_t z = (1 << 28) + SaturatingShiftLeft(remainder, kInputBits);
  const int32_t z2 = SaturatingRoundingDoublingHighMul(z, z);
  const int32_t z3 = SaturatingRoundingDoublingHighMul(z2, z);
  const int32_t z4_over_4 = RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(z2, z2), 2);
  const int32_t higher = RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(z4_over_4 + z3, 715827883) + z2, 1);
  constexpr int32_t kExpOfEighth = 1895147668;
  int32_t y = kExpOfEighth + SaturatingRoundingDoublingHighMul(kExpOfEighth, z + higher);
  // exp(-1/4), exp(-1/2), exp(-1), ... exp(-16)
  constexpr int32_t kFactors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  const int32_t quarters = WrapSub(remainder, x) >> (kFractionBits - 2);
  for (int bit = 0; bit < 7; ++bit) {
    if ((quarters >> bit & 1) != 0) y = SaturatingRoundingDoublingHighMul(y, kFactors[bit]);
  }
  return y;
}

// How a distance from the maximum becomes a fixed-point exponent.
struct Scaling {
  FixedPoint factor;
  int32_t least;  // smaller distances count as minus infinity

  int32_t operator()(int32_t distance) const { return ScaleBy(distance, factor.multiplier, factor.shift); }
};

Scaling PrepareScaling(const Prepare& p, float beta) {
  const Prepare::Affine input = CheckedAffine(p, 0);
  p.Check(std::isfinite(beta) && beta > 0, "beta is ", beta);
  const double real = static_cast<double>(beta) * static_cast<double>(input.scale) * (1 << (31 - kInputBits));
  const FixedPoint factor = QuantizeMultiplier(std::min(real, static_cast<double>(INT32_MAX)));
  const double radius = ((1 << kInputBits) - 1) * std::ldexp(1.0, 31 - kInputBits - factor.shift);
  return {factor, -static_cast<int32_t>(std::min(std::floor(radius), 1e6))};
}

// An exponential as it is summed.
int32_t RoundExp(int32_t exp) { return static_cast<int32_t>((static_cast<uint32_t>(exp) + (1u << (kSumBits - 1))) >> kSumBits); }

// The exponentials of all distances; what lies beyond `least` is 0.
struct ExpTable {
  std::array<int32_t, 256> exact = {};   // by distance
  std::array<int32_t, 256> rising = {};  // the same from the farthest distance to 0
  kernels::SumTable rounded;             // the same with 12 integer bits
  bool falls = false;
};
ExpTable MakeExpTable(const Scaling& scaling) {
  ExpTable table;
  for (int32_t d = 0; d < 256 && -d >= scaling.least; ++d) {
    const int32_t exp = ExpOfNegative(scaling(-d));
    table.exact[static_cast<size_t>(d)] = table.rising[static_cast<size_t>(255 - d)] = exp;
    const int32_t rounded = RoundExp(exp);
    table.rounded.whole[255 - d] = rounded;
    table.rounded.low[255 - d] = static_cast<int16_t>(rounded & 0x7fff);
    table.rounded.high[255 - d] = static_cast<int16_t>(rounded >> 15);
  }
  table.falls = std::is_sorted(table.exact.rbegin(), table.exact.rend());
  return table;
}

// The bit that makes 8-bit values unsigned ones in the same order.
template <class T>
constexpr uint8_t kFlip = std::numeric_limits<T>::min() < 0 ? 0x80 : 0;

template <class T>
int32_t SumOfExps(const kernels::Kernels& k, const ExpTable& exps, const T* x, int64_t depth, int32_t max) {
  constexpr int64_t kFew = 64;  // for which the kernel would fill registers with the table
  if (depth <= kFew) {
    return std::accumulate(x, x + depth, 0, [&](int32_t sum, T v) { return sum + exps.rounded.whole[255 - (max - v)]; });
  }
  const uint8_t first = static_cast<uint8_t>(255 - max);
  const int64_t sum = k.sum_lookups_8(reinterpret_cast<const uint8_t*>(x), first, exps.rounded, static_cast<size_t>(depth));
  return static_cast<int32_t>(std::min<int64_t>(sum, INT32_MAX));
}

template <class F>
void EmitRows(Prepare& p, int64_t cost, F row) {
  p.SetShape(0, p.shape(0));
  p.Check(!p.shape(0).empty(), "the input is a scalar");
  p.Check(p.elements(0) <= INT32_MAX, "the input is too large");
  const int64_t depth = p.shape(0).back();
  if (p.elements(0) == 0) return;
  p.Emit([=, rows = static_cast<int32_t>(p.elements(0) / depth), in = p.in(0), out = p.out(0)](RunContext& run) noexcept {
    run.Parallel(rows, cost * depth, [&](Range range, int) { row(run, in, out, depth, range); });
  });
}

// As float32, rounded once.
void EmitSoftmaxF16(Prepare& p, float beta) {
  const int64_t depth = p.shape(0).empty() ? 0 : p.shape(0).back();
  const Slot rows = p.Scratch(static_cast<size_t>(p.elements(0)) * sizeof(float));
  EmitRows(p, 8, [=, kernel = p.kernels().softmax_f32](const RunContext& run, Slot in, Slot out, int64_t, Range range) {
    const int64_t first = range.begin * depth, n = (range.end - range.begin) * depth;
    float* wide = run.get<float>(rows);
    WidenRun(run.get<Half>(in) + first, wide + first, static_cast<size_t>(n));
    kernel(wide, wide, static_cast<int32_t>(depth), beta, range);
    NarrowRun(wide + first, run.get<Half>(out) + first, static_cast<size_t>(n));
  });
}

void EmitSoftmaxF32(Prepare& p, float beta) {
  EmitRows(p, 4, [beta, kernel = p.kernels().softmax_f32](const RunContext& run, Slot in, Slot out, int64_t depth, Range rows) {
    kernel(run.get<float>(in), run.get<float>(out), static_cast<int32_t>(depth), beta, rows);
  });
}

template <class T>
struct Extremes {
  T min, max;
};
// As unsigned bytes, of which every processor finds many at once.
template <class T>
Extremes<T> FindExtremes(const T* x, int64_t depth) {
  uint8_t min = 255, max = 0;
  for (int64_t c = 0; c < depth; ++c) {
    const uint8_t value = static_cast<uint8_t>(static_cast<uint8_t>(x[c]) ^ kFlip<T>);
    max = std::max(max, value);
    min = std::min(min, value);
  }
  return {static_cast<T>(min ^ kFlip<T>), static_cast<T>(max ^ kFlip<T>)};
}

// Of rows too short for the vectors of the loop above: eight values at a time, the last ones maybe twice.
template <class T>
int32_t MaxOfRow(const T* x, int64_t depth) {
  constexpr int64_t kAtOnce = 8;
  if (depth < kAtOnce) return *std::max_element(x, x + depth);
  std::array<uint8_t, kAtOnce> max = {};
  const auto take = [&](const T* from) {
    for (size_t i = 0; i < kAtOnce; ++i) max[i] = std::max(max[i], static_cast<uint8_t>(static_cast<uint8_t>(from[i]) ^ kFlip<T>));
  };
  for (int64_t c = 0; c + kAtOnce < depth; c += kAtOnce) take(x + c);
  take(x + depth - kAtOnce);
  return static_cast<T>(*std::max_element(max.begin(), max.end()) ^ kFlip<T>);
}

// What a row makes of a distance to its maximum, above the least value.
int32_t ShareOf(const ExpTable& exps, int32_t inverse, int shift, int32_t distance) {
  if (shift > 31) return 0;
  return RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(inverse, exps.exact[static_cast<size_t>(distance)]), shift);
}

template <class Y>
Y FromShare(int32_t share) {
  constexpr int32_t kMin = std::numeric_limits<Y>::min(), kMax = std::numeric_limits<Y>::max();
  return static_cast<Y>(kernels::ClampI32(share + kMin, kMin, kMax));
}

// All distances of a row. Where they fall, all that follows a 0 is 0.
template <class Y>
void FillShares(const ExpTable& exps, int32_t inverse, int shift, int32_t distances, Y* shares) {
  int32_t d = 0;
  for (; d < distances; ++d) {
    const int32_t share = ShareOf(exps, inverse, shift, d);
    if (share == 0 && exps.falls) break;
    shares[d] = FromShare<Y>(share);
  }
  std::fill(shares + d, shares + distances, FromShare<Y>(0));
}

// The same as bytes, looked up by the values themselves: the table holds the share of each pattern of bits.
template <class T>
void TakeShares(const kernels::Kernels& k, const ExpTable& exps, int32_t inverse, int shift, const T* x, T min, T max, uint8_t* y,
                size_t depth) {
  constexpr int32_t kMin = std::numeric_limits<T>::min(), kMax = std::numeric_limits<T>::max();
  std::array<uint8_t, 256> shares = {};  // by value, from the least on
  const size_t distances = static_cast<size_t>(max - min + 1);
  uint8_t* first = shares.data() + (min - kMin);
  if (shift > 31) {
    std::fill_n(first, distances, static_cast<uint8_t>(kMin));
  } else {
    k.requantize_8(exps.rising.data() + 256 - distances, first, distances, inverse, shift, kMin, kMin, kMax);
  }
  if (kMin < 0) std::rotate(shares.begin(), shares.begin() + 128, shares.end());
  k.lookup_8(reinterpret_cast<const uint8_t*>(x), shares.data(), y, depth);
}

// What a sum of exponentials makes of each of them.
struct Inverse {
  int32_t multiplier;
  int shift;
};
template <class Y>
Inverse InverseOf(int32_t sum) {
  int bits_over_unit = 0;
  const int32_t multiplier = Reciprocal(sum, &bits_over_unit);
  return {multiplier, bits_over_unit - (31 - kSumBits) + 31 - static_cast<int>(sizeof(Y) * 8)};
}

// Rows that are short beside the table of all distances, some at a time: so the processor works at several inverses at once, and what was
// stored by elements has arrived when it is loaded by vectors.
constexpr int64_t kShortRow = 128, kRowsAtOnce = 8;
template <class T>
void TakeShortRows(const kernels::Kernels& k, const ExpTable& exps, const T* x, int64_t depth, int64_t rows, T* y) {
  constexpr int32_t kMin = std::numeric_limits<T>::min(), kMax = std::numeric_limits<T>::max();
  constexpr int64_t kVector = 16;
  const int64_t row = (depth + kVector - 1) / kVector * kVector;
  std::array<int32_t, kRowsAtOnce* kShortRow> exact = {};
  for (int64_t first = 0; first < rows; first += kRowsAtOnce) {
    const int64_t end = std::min(first + kRowsAtOnce, rows);
    std::array<int32_t, kRowsAtOnce> sums;
    for (int64_t r = first; r < end; ++r) {
      int32_t* to = exact.data() + (r - first) * row;
      const T* from = x + r * depth;
      const int32_t max = MaxOfRow(from, depth);
      int64_t sum = 0;
      for (int64_t c = 0; c < depth; ++c) {
        to[c] = exps.exact[static_cast<size_t>(max - from[c])];
        sum += RoundExp(to[c]);
      }
      sums[static_cast<size_t>(r - first)] = static_cast<int32_t>(std::min<int64_t>(sum, INT32_MAX));
    }
    std::array<Inverse, kRowsAtOnce> inverses;
    for (size_t r = 0; r < static_cast<size_t>(end - first); ++r) inverses[r] = InverseOf<T>(sums[r]);
    for (int64_t r = first; r < end; ++r) {
      const auto [multiplier, shift] = inverses[static_cast<size_t>(r - first)];
      const int64_t n = r * depth + row <= rows * depth ? row : depth;  // rows that follow overwrite what is too much
      uint8_t* to = reinterpret_cast<uint8_t*>(y + r * depth);
      if (shift > 31) {
        std::fill_n(to, depth, static_cast<uint8_t>(kMin));
      } else {
        k.requantize_8(exact.data() + (r - first) * row, to, static_cast<size_t>(n), multiplier, shift, kMin, kMin, kMax);
      }
    }
  }
}

// Rows of two, by their difference.
template <class T>
struct Pairs {
  std::array<std::array<T, 2>, 511> shares;

  explicit Pairs(const kernels::Kernels& k, const ExpTable& exps) {
    constexpr int32_t kMin = std::numeric_limits<T>::min(), kMax = std::numeric_limits<T>::max();
    for (int32_t difference = -255; difference <= 255; ++difference) {
      const T x[2] = {static_cast<T>(difference < 0 ? kMin : kMax), static_cast<T>(difference < 0 ? kMin - difference : kMax - difference)};
      TakeShortRows(k, exps, x, 2, 1, shares[static_cast<size_t>(difference + 255)].data());
    }
  }
};
template <class T>
void EmitSoftmaxOfPairs(Prepare& p, const ExpTable& exps) {
  EmitRows(p, 1, [pairs = Pairs<T>(p.kernels(), exps)](const RunContext& run, Slot in, Slot out, int64_t, Range rows) {
    const T* x = run.get<T>(in);
    T* y = run.get<T>(out);
    for (int64_t i = rows.begin * 2; i < rows.end * 2; i += 2) {
      const auto& share = pairs.shares[static_cast<size_t>(x[i] - x[i + 1] + 255)];
      y[i] = share[0];
      y[i + 1] = share[1];
    }
  });
}

template <class T, class Y>
void EmitSoftmax(Prepare& p, float beta) {
  const ExpTable all = MakeExpTable(PrepareScaling(p, beta));
  if constexpr (sizeof(Y) == 1) {
    constexpr int64_t kManyRows = 1024;  // for which a table of what becomes of all pairs is worth its making
    if (!p.shape(0).empty() && p.shape(0).back() == 2 && p.elements(0) >= 2 * kManyRows) return EmitSoftmaxOfPairs<T>(p, all);
  }
  EmitRows(p, 4, [exps = all, k = &p.kernels()](const RunContext& run, Slot in, Slot out, int64_t depth, Range rows) {
    if constexpr (sizeof(Y) == 1) {
      const int64_t first = rows.begin * depth;
      if (depth <= kShortRow) {
        return TakeShortRows<T>(*k, exps, run.get<T>(in) + first, depth, rows.end - rows.begin, run.get<Y>(out) + first);
      }
    }
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      const T* x = run.get<T>(in) + r * depth;
      Y* y = run.get<Y>(out) + r * depth;
      const auto [min, max] = FindExtremes(x, depth);
      const auto [inverse, shift] = InverseOf<Y>(SumOfExps(*k, exps, x, depth, max));
      if (8 * depth < max - min) {
        for (int64_t c = 0; c < depth; ++c) y[c] = FromShare<Y>(ShareOf(exps, inverse, shift, max - x[c]));
        continue;
      }
      if constexpr (sizeof(Y) == 1) {
        TakeShares(*k, exps, inverse, shift, x, min, max, reinterpret_cast<uint8_t*>(y), static_cast<size_t>(depth));
        continue;
      }
      Y shares[256];
      FillShares(exps, inverse, shift, max - min + 1, shares);
      for (int64_t c = 0; c < depth; ++c) y[c] = shares[max - x[c]];
    }
  });
}

// --- INT16: the exponential and the reciprocal are tables ---

struct Softmax16 {
  kernels::MulI8Params factor;  // takes a distance from the maximum to 16 bits over [-10, 0], below which nothing is left of an exponential
  kernels::Pieces16 exp;
  Table16 few_exp, reciprocal;  // few_exp is exp

  void FillExps(const kernels::Kernels& k, const int16_t* x, int16_t* y, int64_t depth) const {
    constexpr int64_t kFew = 16;  // for which a kernel would take longer to begin
    constexpr int16_t kOne = 1;
    const int32_t max = std::accumulate(x, x + depth, INT32_MIN, [](int32_t a, int32_t b) { return std::max(a, b); });
    if (depth < kFew) {
      for (int64_t c = 0; c < depth; ++c) {
        const int32_t scaled = WrapAdd(ScaleBy(x[c] - max, factor.output_multiplier, factor.output_shift), factor.output_offset);
        y[c] = Lookup16(few_exp, static_cast<int16_t>(kernels::ClampI32(scaled, factor.min, factor.max)));
      }
      return;
    }
    kernels::MulI8Params scale = factor;
    scale.a_offset = -max;
    k.mul_i16(x, &kOne, y, static_cast<size_t>(depth), scale, kernels::Operands::kVectorScalar);
    k.pieces_16(y, y, static_cast<size_t>(depth), exp);
  }
  void operator()(const kernels::Kernels& k, const int16_t* x, int16_t* y, int64_t depth) const {
    FillExps(k, x, y, depth);
    const int64_t sum = std::min<int64_t>(std::accumulate(y, y + depth, int64_t{0}), INT32_MAX);
    // The sum is 1 + x times a power of two; the table holds 1 / (1 + x).
    const int headroom = std::countl_zero(static_cast<uint32_t>(sum));
    const int32_t mantissa = static_cast<int32_t>(((sum << (headroom - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
    const int32_t inverse = Lookup16(reciprocal, static_cast<int16_t>(kernels::ClampI32(mantissa, -32768, 32767)));
    const int shift = 31 - headroom;
    const int32_t half = shift > 0 ? 1 << (shift - 1) : 0;
    for (int64_t c = 0; c < depth; ++c) y[c] = static_cast<int16_t>(std::clamp((y[c] * inverse + half) >> shift, 0, 32767));
  }
};

void EmitSoftmax16(Prepare& p, float beta) {
  const Prepare::Affine input = CheckedAffine(p, 0);
  p.Check(std::isfinite(beta) && beta > 0, "beta is ", beta);
  const FixedPoint factor = QuantizeMultiplier(static_cast<double>(input.scale * beta) / (10.0 / 65535.0));
  const Table16 exp = MakeRealTable16(-10.0, 0.0, 32768.0, [](double x) { return std::exp(x); });
  const Softmax16 softmax{{0, 0, 32767, factor.multiplier, factor.shift, -32768, 32767},
                          MakePieces16(exp),
                          exp,
                          MakeRealTable16(0.0, 1.0, 32768.0, [](double x) { return 1.0 / (1.0 + x); })};
  EmitRows(p, 8, [softmax, k = &p.kernels()](const RunContext& run, Slot in, Slot out, int64_t depth, Range rows) {
    for (int64_t r = rows.begin; r < rows.end; ++r) softmax(*k, run.get<int16_t>(in) + r * depth, run.get<int16_t>(out) + r * depth, depth);
  });
}

// The scale and zero point that the result is in whatever the file says; LiteRT insists for int8 alone.
void CheckSoftmaxOutput(const Prepare& p) {
  const Prepare::Affine output = CheckedOutputAffine(p, 0);
  constexpr float kScale = 1.0f / 256;
  p.Check(output.zero_point == -128 && std::abs(output.scale - kScale) <= 0.001f * kScale, "the output has the scale ", output.scale,
          " and the zero point ", output.zero_point, ", expected 1/256 and -128");
}

void PrepareSoftmax(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32, TensorType::kFloat16, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const float beta = p.options().Scalar<float>(kBeta);
  if (p.type(0) == TensorType::kFloat16) {
    p.CheckOutputType(0, {TensorType::kFloat16});
    return EmitSoftmaxF16(p, beta);
  }
  if (p.type(0) == TensorType::kFloat32) {
    p.CheckOutputType(0, {TensorType::kFloat32});
    return EmitSoftmaxF32(p, beta);
  }
  if (p.type(0) == TensorType::kUInt8) {
    p.CheckOutputType(0, {TensorType::kUInt8});
    return EmitSoftmax<uint8_t, uint8_t>(p, beta);
  }
  if (p.type(0) == TensorType::kInt16) {
    p.CheckOutputType(0, {TensorType::kInt16});
    return EmitSoftmax16(p, beta);
  }
  p.CheckOutputType(0, {TensorType::kInt8, TensorType::kInt16});
  if (p.output_type(0) == TensorType::kInt16) return EmitSoftmax<int8_t, int16_t>(p, beta);
  CheckSoftmaxOutput(p);
  EmitSoftmax<int8_t, int8_t>(p, beta);
}

// --- LOG_SOFTMAX ---

// The exponentials stand where the results come to be. Short rows are taken some at a time, so that the functions get long ones.
void LogSoftmaxRows(const kernels::Kernels& k, const float* x, float* y, int64_t depth, int64_t rows) {
  constexpr int64_t kElements = 1024, kMostRows = 128, kFewElements = 16;
  const auto unary = [&](kernels::Unary op) { return k.unary_f32[static_cast<size_t>(op)]; };
  const auto max_of = [&](const float* row) {
    if (depth > kFewElements) return k.max_f32(row, static_cast<size_t>(depth));
    return std::accumulate(row, row + depth, -std::numeric_limits<float>::infinity(), [](float a, float b) { return std::max(a, b); });
  };
  const auto sum_of = [&](const float* row) {
    return depth > kFewElements ? k.sum_f32(row, static_cast<size_t>(depth)) : std::accumulate(row, row + depth, 0.0f);
  };
  const int64_t at_once = std::clamp<int64_t>(kElements / depth, 1, kMostRows);
  std::array<float, kMostRows> max, log_sum;
  for (int64_t count; rows > 0; x += count * depth, y += count * depth, rows -= count) {
    count = std::min(rows, at_once);
    const size_t n = static_cast<size_t>(count * depth);
    for (int64_t r = 0, i = 0; r < count; ++r) {
      const float most = max[static_cast<size_t>(r)] = max_of(x + i);
      for (const int64_t end = i + depth; i < end; ++i) y[i] = x[i] - most;
    }
    unary(kernels::Unary::kExp)(y, y, n);
    for (int64_t r = 0; r < count; ++r) log_sum[static_cast<size_t>(r)] = sum_of(y + r * depth);
    unary(kernels::Unary::kLog)(log_sum.data(), log_sum.data(), static_cast<size_t>(count));
    for (int64_t r = 0, i = 0; r < count; ++r) {
      const float most = max[static_cast<size_t>(r)], log = log_sum[static_cast<size_t>(r)];
      for (const int64_t end = i + depth; i < end; ++i) y[i] = x[i] - most - log;
    }
  }
}

int32_t SaturatingAdd(int32_t a, int32_t b) {
  return static_cast<int32_t>(std::clamp<int64_t>(static_cast<int64_t>(a) + b, INT32_MIN, INT32_MAX));
}
int32_t Product(int32_t a, int32_t b) { return SaturatingRoundingDoublingHighMul(a, b); }

// log(x) for x >= 1 with 12 integer bits, as a number with 5: x is brought near sqrt(sqrt(1/2)) by a power of two and maybe sqrt(1/2), the
// logarithm of the rest is a rational function.
int32_t LogOfSum(int32_t x) {
  constexpr int kOutputBits = 5, kAccumulatorBits = kOutputBits + 1;
  constexpr int32_t kLog2 = 1488522236, kRootRootHalf = 1805811301, kRootHalf = 1518500250;
  constexpr int32_t kQuarter = 1 << (31 - kAccumulatorBits - 2);
  const int headroom_a = std::countl_zero(static_cast<uint32_t>(x));
  const int32_t rest_a = SaturatingShiftLeft(Product(SaturatingShiftLeft(x, headroom_a - 1), kRootHalf), 1);
  const int32_t power_a = SaturatingAdd(SaturatingShiftLeft(kSumBits - headroom_a, 31 - kAccumulatorBits), kQuarter);
  const int headroom_b = std::countl_zero(static_cast<uint32_t>(Product(x, kRootHalf))) - 1;
  const int32_t rest_b = SaturatingShiftLeft(x, headroom_b);
  const int32_t power_b = SaturatingAdd(SaturatingShiftLeft(kSumBits - headroom_b, 31 - kAccumulatorBits), -kQuarter);
  const int32_t rest = std::min(rest_a, rest_b), power = std::max(power_a, power_b);

  const int64_t sum = static_cast<int64_t>(rest) + kRootRootHalf;
  const int32_t half_sum = static_cast<int32_t>((sum + (sum >= 0 ? 1 : -1)) / 2);
  const int32_t distance = WrapSub(rest, kRootRootHalf);
  const int32_t q = WrapAdd(distance, distance);
  const int32_t q2 = Product(q, q);
  const int32_t numerator = WrapAdd(Product(q, rest), Product(Product(q, q2), 117049297));
  const int32_t inner = WrapAdd(WrapAdd(1057819769, q), Product(127690142, q2));
  const int32_t denominator_minus_one = WrapAdd(Product(half_sum, inner), Product(638450708, q));
  const int32_t log_rest = Product(RoundingDivideByPOT(numerator, kAccumulatorBits), InverseOfOnePlus(denominator_minus_one));
  return SaturatingShiftLeft(WrapAdd(Product(power, kLog2), log_rest), kAccumulatorBits - kOutputBits);
}

template <class T>
void EmitLogSoftmax(Prepare& p) {
  const Prepare::Affine output = CheckedOutputAffine(p, 0);
  constexpr int32_t kMin = std::numeric_limits<T>::min(), kMax = std::numeric_limits<T>::max();
  p.Check(output.scale == 16.0f / 256 && output.zero_point == kMax, "the output has the scale ", output.scale, " and the zero point ",
          output.zero_point, ", expected 1/16 and ", kMax);
  const Scaling scaling = PrepareScaling(p, 1.0f);
  const FixedPoint reverse = QuantizeMultiplier(std::ldexp(1.0, 31 - scaling.factor.shift) / scaling.factor.multiplier);
  std::array<int32_t, 256> scaled = {};  // distances that count
  for (int32_t d = 0; d < 256 && -d >= scaling.least; ++d) scaled[static_cast<size_t>(d)] = scaling(-d);
  EmitRows(p, 4,
           [scaled, reverse, beyond = scaling.least - 1, exps = MakeExpTable(scaling), k = &p.kernels()](
               const RunContext& run, Slot in, Slot out, int64_t depth, Range rows) {
             for (int64_t r = rows.begin; r < rows.end; ++r) {
               const T* x = run.get<T>(in) + r * depth;
               T* y = run.get<T>(out) + r * depth;
               const bool is_short = depth <= kShortRow;
               const auto [min, max] = is_short ? Extremes<T>{0, static_cast<T>(MaxOfRow(x, depth))} : FindExtremes(x, depth);
               const int32_t log_sum = LogOfSum(SumOfExps(*k, exps, x, depth, max));
               const int32_t least = std::max(beyond, ScaleBy(WrapAdd(log_sum, INT32_MIN), reverse.multiplier, reverse.shift));
               const auto log_of = [&](int32_t distance) {
                 constexpr int kOutputBits = 4;
                 if (-distance <= least) return static_cast<T>(kMin);
                 const int32_t log = WrapSub(scaled[static_cast<size_t>(distance)], log_sum);
                 const int32_t rounded = WrapAdd(RoundingDivideByPOT(log, 31 - kInputBits - kOutputBits), kMax);
                 return static_cast<T>(kernels::ClampI32(rounded, kMin, kMax));
               };
               if (is_short || depth <= max - min) {
                 for (int64_t c = 0; c < depth; ++c) y[c] = log_of(max - x[c]);
                 continue;
               }
               Table8 logs;
               for (int32_t v = min; v <= max; ++v) logs[static_cast<uint8_t>(v)] = static_cast<uint8_t>(log_of(max - v));
               k->lookup_8(reinterpret_cast<const uint8_t*>(x), logs.data(), reinterpret_cast<uint8_t*>(y), static_cast<size_t>(depth));
             }
           });
}

void PrepareLogSoftmax(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
  p.CheckOutputType(0, {p.type(0)});
  if (p.type(0) == TensorType::kInt8) return EmitLogSoftmax<int8_t>(p);
  if (p.type(0) == TensorType::kUInt8) return EmitLogSoftmax<uint8_t>(p);
  EmitRows(p, 4, [k = &p.kernels()](const RunContext& run, Slot in, Slot out, int64_t depth, Range rows) {
    const int64_t first = rows.begin * depth;
    LogSoftmaxRows(*k, run.get<float>(in) + first, run.get<float>(out) + first, depth, rows.end - rows.begin);
  });
}

constexpr OpDef kOps[] = {
    {.name = "SOFTMAX", .prepare = PrepareSoftmax, .traits = kFlushesDenormals},
    {.name = "LOG_SOFTMAX", .prepare = PrepareLogSoftmax, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> softmax_ops() { return kOps; }

}  // namespace sigrun::ops
