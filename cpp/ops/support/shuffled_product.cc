#include "ops/support/shuffled_product.h"

#include <algorithm>
#include <cmath>

#include "ops/support/fixed_point.h"
#include "ops/support/gemm.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {
namespace {

constexpr int kInput = 0, kFilter = 1, kBias = 2;
constexpr int32_t kChannels = 4, kDepth = 16;  // of a block

// The input minus 128: rows, or in pieces of 16 one of each row in turn, if there are four.
void LayOut(const uint8_t* x, int32_t rows, int32_t k, uint8_t* to) {
  constexpr uint8_t kSign = 0x80;
  const int32_t piece = rows == 4 ? kDepth : k;
  for (int32_t d = 0; d < k; d += piece) {
    for (int32_t row = 0; row < rows; ++row) {
      const uint8_t* from = x + static_cast<ptrdiff_t>(row) * k + d;
      to = std::transform(from, from + piece, to, [](uint8_t v) { return static_cast<uint8_t>(v ^ kSign); });
    }
  }
}

// A row times the channel that is `lane` of a block of four, which `weights` are: 16 of each channel in turn.
int32_t ShuffledSum(const uint8_t* x, const int8_t* weights, int32_t k, int32_t lane) {
  int32_t sum = 0;
  for (int32_t d = 0; d < k; d += kDepth, weights += kChannels * kDepth) {
    for (int32_t i = 0; i < kDepth; ++i) sum += (int32_t{x[d + i]} - 128) * weights[lane * kDepth + i];
  }
  return sum;
}

struct Sizes {
  int32_t rows, n, k;
};

Sizes ReadSizes(const Prepare& p) {
  for (const int i : {kInput, kFilter}) p.CheckType(i, {TensorType::kUInt8});
  p.CheckOutputType(0, {TensorType::kInt16});
  CheckRank(p, kFilter, 2, "filter");
  const int32_t n = p.shape(kFilter)[0], k = p.shape(kFilter)[1];
  p.Check(n > 0 && k > 0 && p.elements(kInput) % k == 0 && p.elements(kInput) <= INT32_MAX, "input ", ToString(p.shape(kInput)),
          " does not divide into rows of filter ", ToString(p.shape(kFilter)));
  CheckBias(p, kBias, n, TensorType::kInt32);
  return {static_cast<int32_t>(p.elements(kInput) / k), n, k};
}

int16_t Scale(const Requantization& by, int32_t sum, int32_t channel) {
  const size_t c = static_cast<size_t>(channel);
  if (!by.scale.empty()) {
    const double scaled = std::round(static_cast<double>(sum) * by.scale[c]) + by.zero_point;
    return static_cast<int16_t>(std::clamp<double>(scaled, by.min, by.max));
  }
  const int32_t scaled = ScaleBy(sum, by.multiplier[c], by.shift[c]);
  return static_cast<int16_t>(std::clamp(kernels::WrapAdd(scaled, by.zero_point), by.min, by.max));
}

// Scales what sum(x, filter, channel) adds up of a row, plus the bias.
template <class F>
void EmitProduct(Prepare& p, const Sizes& s, ScaleProduct product, F sum) {
  const WeightScales scales = ReadWeightScales(p, kFilter, 0, s.n);
  p.Emit([=, by = PrepareRequantization(p, p.affine(kInput).scale, scales, s.n, product), in = p.in(kInput), filter = p.in(kFilter),
          bias = p.in(kBias), out = p.out(0)](RunContext& run) noexcept {
    const int32_t* biases = run.get<int32_t>(bias);
    run.Parallel(s.n, int64_t{s.k} * s.rows, [&](kernels::Range range, int) {
      for (int32_t c = range.begin; c < range.end; ++c) {
        for (int32_t row = 0; row < s.rows; ++row) {
          const uint8_t* x = run.get<uint8_t>(in) + static_cast<ptrdiff_t>(row) * s.k;
          const int32_t total = kernels::WrapAdd(sum(x, run.get<uint8_t>(filter), c), biases == nullptr ? 0 : biases[c]);
          run.get<int16_t>(out)[static_cast<ptrdiff_t>(row) * s.n + c] = Scale(by, total, c);
        }
      }
    });
  });
}

}  // namespace

void EmitWideProduct(Prepare& p) {
  const Sizes s = ReadSizes(p);
  const int32_t zero = p.affine(kInput).zero_point, filter_zero = ReadWeightScales(p, kFilter, 0, s.n).zero_point;
  EmitProduct(p, s, ScaleProduct::kUnquantized, [=](const uint8_t* x, const uint8_t* filter, int32_t c) {
    const uint8_t* w = filter + static_cast<ptrdiff_t>(c) * s.k;
    int32_t sum = 0;
    for (int32_t i = 0; i < s.k; ++i) sum = kernels::WrapAdd(sum, (x[i] - zero) * (w[i] - filter_zero));
    return sum;
  });
}

void PrepareShuffledProduct(Prepare& p) {
  p.CheckCounts(3, 3, 2);
  const Sizes s = ReadSizes(p);
  p.CheckOutputType(1, {TensorType::kUInt8});
  p.Check(s.n % kChannels == 0 && s.k % kDepth == 0, "shuffled weights of shape ", ToString(p.shape(kFilter)),
          ", expected multiples of 4 and 16");
  p.SetShape(0, {s.rows, s.n});
  p.SetShape(1, p.shape(kInput));
  p.Emit([=, in = p.in(kInput), laid_out = p.out(1)](RunContext& run) noexcept {
    LayOut(run.get<uint8_t>(in), s.rows, s.k, run.get<uint8_t>(laid_out));
  });
  EmitProduct(p, s, ScaleProduct::kFloatIfSingle, [k = s.k](const uint8_t* x, const uint8_t* filter, int32_t c) {
    const auto* block = reinterpret_cast<const int8_t*>(filter) + static_cast<ptrdiff_t>(c / kChannels) * kChannels * k;
    return ShuffledSum(x, block, k, c % kChannels);
  });
}

}  // namespace sigrun::ops
