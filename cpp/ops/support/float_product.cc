#include "ops/support/float_product.h"

namespace sigrun::ops {
namespace {

// Multiplications and additions for each line of the window: below, rounding the line costs more than the products save.
constexpr int64_t kLeastWork = 512;
constexpr int32_t kLeastRowsOfTwoParts = 16;

int64_t WorkOfALine(const kernels::ConvShape& s) {
  const bool whole = s.dilation_w == 1 && s.groups == 1;
  return int64_t{whole ? s.kernel_width : 1} * s.in_channels * s.out_channels;
}

}  // namespace

FloatProduct::FloatProduct(const Prepare& p, const kernels::ConvShape& shape) : kernels_(&p.kernels()), parts_(0) {
  if (p.precision() == Precision::kHighest || WorkOfALine(shape) < kLeastWork) return;
  const int32_t wanted = p.precision() == Precision::kHigh ? 2 : 1;
  // As many bytes of weights as float32 has, for so few rows that reading them is most of the work.
  if (wanted == 2 && shape.rows() < kLeastRowsOfTwoParts) return;
  if (wanted <= kernels_->bf16_parts) parts_ = wanted;
}

}  // namespace sigrun::ops
