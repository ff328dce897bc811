#include "ops/support/shuffled_product.h"

#include <algorithm>

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
int32_t Sum(const uint8_t* x, const int8_t* weights, int32_t k, int32_t lane) {
  int32_t sum = 0;
  for (int32_t d = 0; d < k; d += kDepth, weights += kChannels * kDepth) {
    for (int32_t i = 0; i < kDepth; ++i) sum += (int32_t{x[d + i]} - 128) * weights[lane * kDepth + i];
  }
  return sum;
}

}  // namespace

void PrepareShuffledProduct(Prepare& p) {
  p.CheckCounts(3, 3, 2);
  for (const int i : {kInput, kFilter}) p.CheckType(i, {TensorType::kUInt8});
  p.CheckOutputType(0, {TensorType::kInt16});
  p.CheckOutputType(1, {TensorType::kUInt8});
  CheckRank(p, kFilter, 2, "filter");
  const int32_t n = p.shape(kFilter)[0], k = p.shape(kFilter)[1];
  p.Check(n > 0 && k > 0 && n % kChannels == 0 && k % kDepth == 0, "shuffled weights of shape ", ToString(p.shape(kFilter)),
          ", expected multiples of 4 and 16");
  CheckBias(p, kBias, n, TensorType::kInt32);
  p.Check(p.elements(kInput) % k == 0 && p.elements(kInput) <= INT32_MAX, "input ", ToString(p.shape(kInput)),
          " does not divide into rows of ", k);
  p.Check(p.activation() == schema::Activation::kNone, "shuffled weights with an activation");
  const int32_t rows = static_cast<int32_t>(p.elements(kInput) / k);
  p.SetShape(0, {rows, n});
  p.SetShape(1, p.shape(kInput));
  const double scale = static_cast<double>(p.affine(kInput).scale) * static_cast<double>(p.affine(kFilter).scale);
  p.Emit([=, by = QuantizeMultiplier(scale / static_cast<double>(p.output_affine(0).scale)), in = p.in(kInput), filter = p.in(kFilter),
          bias = p.in(kBias), out = p.out(0), laid_out = p.out(1)](RunContext& run) noexcept {
    const uint8_t* x = run.get<uint8_t>(in);
    LayOut(x, rows, k, run.get<uint8_t>(laid_out));
    run.Parallel(n / kChannels, int64_t{kChannels} * k * rows, [&](kernels::Range range, int) {
      for (int32_t c = range.begin * kChannels; c < range.end * kChannels; ++c) {
        const int8_t* weights = run.get<int8_t>(filter) + static_cast<ptrdiff_t>(c / kChannels) * kChannels * k;
        for (int32_t row = 0; row < rows; ++row) {
          const int32_t sum = Sum(x + static_cast<ptrdiff_t>(row) * k, weights, k, c % kChannels);
          const int32_t scaled = ScaleBy(kernels::WrapAdd(sum, run.get<int32_t>(bias)[c]), by.multiplier, by.shift);
          run.get<int16_t>(out)[static_cast<ptrdiff_t>(row) * n + c] = static_cast<int16_t>(std::clamp(scaled, -32768, 32767));
        }
      }
    });
  });
}

}  // namespace sigrun::ops
