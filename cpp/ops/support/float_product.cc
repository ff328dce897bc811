#include "ops/support/float_product.h"

namespace sigrun::ops {
namespace {

// Multiplications and additions for a pixel of the output: below, rounding and gathering its window cost more than the products save.
constexpr int64_t kLeastWork = 384;
constexpr int32_t kLeastRowsOfTwoParts = 16;

int64_t WorkOfAPixel(const kernels::ConvShape& s) { return int64_t{s.taps()} * s.in_channels * s.out_channels; }

}  // namespace

FloatProduct::FloatProduct(const Prepare& p, const kernels::ConvShape& shape) : kernels_(&p.kernels()), parts_(0) {
  if (p.precision() == Precision::kHighest || WorkOfAPixel(shape) < kLeastWork) return;
  const int32_t wanted = p.precision() == Precision::kHigh ? 2 : 1;
  // As many bytes of weights as float32 has, for so few rows that reading them is most of the work.
  if (wanted == 2 && shape.rows() < kLeastRowsOfTwoParts) return;
  if (wanted <= kernels_->bf16_parts) parts_ = wanted;
}

FloatProduct FloatProduct::OfBf16(const Prepare& p) { return {p.kernels(), 1}; }

bool AllowsBf16(const Prepare& p) { return p.precision() == Precision::kMedium && p.kernels().bf16_parts > 0; }

bool ProductTakesBf16(const Prepare& p, int filter) {
  if (!AllowsBf16(p) || p.type(filter) != TensorType::kFloat32 || p.constant(filter) == nullptr) return false;
  const Shape& s = p.shape(filter);
  return s.size() == 4 && s[1] == 1 && s[2] == 1 && int64_t{s[0]} * s[3] >= kLeastWork;
}

}  // namespace sigrun::ops
