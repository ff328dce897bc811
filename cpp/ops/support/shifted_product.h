#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

// Requantisation by scales in double, as integers can do it.
namespace sigrun::ops {

/// Products that give what fixed_point.h's RoundScaled gives by a scale of each channel, for every int32, clamped to [least, most], which
/// lie within 10 bits. A step from one result to the next lies between two integers; factor and addend are chosen so that all steps of a
/// channel stay where they are. A channel has none if one of its steps is at an integer, or 31 bits of a factor are too few.
///
/// To find them takes about as long as they save in some thousand rows, and is left until there have been so many: a net is then loaded
/// without, and no product costs more than twice what it would if its future were known. Threads may share it.
class LazyShiftedProducts {
 public:
  LazyShiftedProducts(std::vector<double> scale, int32_t least, int32_t most);
  /// How to multiply the next `rows`, from channel `first` on.
  kernels::ShiftedProduct Next(int64_t rows, int32_t first) noexcept {
    if (!found_.load(std::memory_order_acquire) && !Count(rows)) return {};
    return {multiplier_.data() + first, shift_.data() + first, addend_.data() + first};
  }

 private:
  bool Count(int64_t rows) noexcept;
  void Find(size_t channel) noexcept;

  std::vector<double> scale_;
  int32_t least_, most_;
  std::vector<int32_t> multiplier_, shift_;
  std::vector<int64_t> addend_;
  std::atomic<int64_t> rows_{0};    // so far
  std::atomic<bool> found_{false};  // the products are written
};

}  // namespace sigrun::ops
