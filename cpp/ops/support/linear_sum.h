#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/support/lazy_search.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {

/// The linear form that equals an 8-bit ADD, or SUB, for all pairs of bytes; it does not hold if there is none. What two roundings of the
/// operands and one of the result make of a pair differs from a linear form in a few pairs at most, and an addend that suits these as well
/// is mostly found.
kernels::LinearI8 FindLinearSum(const kernels::Kernels& kernels, const kernels::AddI8Params& params, bool is_unsigned);

/// An 8-bit ADD or SUB with its linear form. Where a call adds few elements, the form is searched once there have been as many as the
/// search takes. Threads may share it.
class LazyLinearSum {
 public:
  /// A call adds about `elements`.
  LazyLinearSum(const kernels::Kernels& kernels, const kernels::AddI8Params& params, bool is_unsigned, int64_t elements);
  /// What to add the next `elements` by.
  const kernels::AddI8Params& Next(size_t elements) noexcept { return IsFound(elements) ? best_ : plain_; }

 private:
  static constexpr size_t kSearched = 256 * 256;  // pairs of bytes
  bool IsFound(size_t elements) noexcept {
    return search_.IsDone(elements, kSearched, [this] { Search(); });
  }
  void Search() noexcept;

  const kernels::Kernels& kernels_;
  kernels::AddI8Params plain_, best_;
  bool is_unsigned_;
  LazySearch search_;  // writes best_
};

/// A quantised ADD of a and b to y within `range`, without its linear form; for SUB the same.
kernels::AddI8Params QuantizedSum(Prepare::Affine a, Prepare::Affine b, Prepare::Affine y, int32_t left_shift, QuantizedRange range);

}  // namespace sigrun::ops
