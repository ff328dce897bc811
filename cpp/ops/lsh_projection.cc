#include <cstring>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/fingerprint.h"

// LSH_PROJECTION: bits that say on which side of random planes the input lies; the planes are FarmHash fingerprints of seed and element.
namespace sigrun::ops {
namespace {

enum class Form : int8_t { kSparse = 1, kDense = 2 };

/// The side of the plane `seed`; `key` has room for the seed and one item.
int32_t Bit(float seed, const std::byte* items, int64_t count, size_t item_bytes, const float* weights, std::byte* key) {
  double score = 0;
  std::memcpy(key, &seed, sizeof(seed));
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(key + sizeof(seed), items + static_cast<size_t>(i) * item_bytes, item_bytes);
    const double value = static_cast<double>(static_cast<int64_t>(Fingerprint::Of(key, sizeof(seed) + item_bytes)));
    score += weights == nullptr ? value : static_cast<double>(weights[i]) * value;
  }
  return score > 0 ? 1 : 0;
}

void PrepareLshProjection(Prepare& p) {
  p.CheckCounts(2, 3, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kInt32});
  const Shape& seeds = p.shape(0);
  const Shape& input = p.shape(1);
  const Form form = p.options().Scalar<Form>(0);
  p.Check(form == Form::kSparse || form == Form::kDense, "projection type ", static_cast<int>(form));
  p.Check(seeds.size() == 2 && seeds[1] <= 32, "hash functions of shape ", ToString(seeds));
  p.Check(!input.empty() && input[0] >= 1, "an input of shape ", ToString(input));
  if (TensorTypeBits(p.type(1)) < 8) p.Refuse(StatusCode::kUnimplemented, Concat("an input of type ", TensorTypeName(p.type(1))));
  const bool weighted = p.has_input(2);
  if (weighted) p.CheckType(2, {TensorType::kFloat32});
  p.Check(!weighted || p.shape(2) == Shape({input[0]}), "weights of another shape than ", input[0], " items");
  const size_t item_bytes = BytesOf(p.type(1), p.elements(1) / input[0]);
  const int32_t functions = seeds[0], bits = seeds[1];
  const int64_t results = form == Form::kDense ? int64_t{functions} * bits : functions;
  p.Check(results <= INT32_MAX, results, " results");
  p.SetShape(0, {static_cast<int32_t>(results)});
  const Slot scratch = p.Scratch(sizeof(float) + item_bytes);
  p.Emit([=, count = input[0], h = p.in(0), x = p.in(1), w = weighted ? p.in(2) : Slot{}, y = p.out(0)](RunContext& run) noexcept {
    int32_t* to = run.get<int32_t>(y);
    for (int32_t f = 0; f < functions; ++f) {
      uint32_t signature = 0;
      for (int32_t b = 0; b < bits; ++b) {
        const int32_t bit = Bit(run.get<float>(h)[int64_t{f} * bits + b], run.get<std::byte>(x), count, item_bytes, run.get<float>(w),
                                run.get<std::byte>(scratch));
        signature = signature << 1 | static_cast<uint32_t>(bit);
        if (form == Form::kDense) *to++ = bit;
      }
      // Signatures of different functions do not collide.
      if (form == Form::kSparse) *to++ = static_cast<int32_t>(signature + (bits < 32 ? static_cast<uint32_t>(f) << bits : 0));
    }
  });
}

constexpr OpDef kOps[] = {
    {.name = "LSH_PROJECTION", .prepare = PrepareLshProjection},
};

}  // namespace

std::span<const OpDef> lsh_projection_ops() { return kOps; }

}  // namespace sigrun::ops
