#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

// Requantisation by scales in double, as integers can do it.
namespace sigrun::ops {

/// What kernels::ShiftedProduct points at; empty where there is none.
struct ShiftedProducts {
  std::vector<int32_t> multiplier, shift;
  std::vector<int64_t> addend;
  /// From channel `first` on.
  kernels::ShiftedProduct at(int32_t first) const {
    if (multiplier.empty()) return {};
    return {multiplier.data() + first, shift.data() + first, addend.data() + first};
  }
};

/// Products that give what fixed_point.h's RoundScaled gives for every int32, clamped to [least, most], which lie within 10 bits. A step
/// from one result to the next lies between two integers; factor and addend are chosen so that all steps of a channel stay where they are.
/// A channel has none, and the multiplier 0, if one of its steps is at an integer, or 31 bits of a factor are too few.
ShiftedProducts FindShiftedProducts(const std::vector<double>& scale, int32_t least, int32_t most);

}  // namespace sigrun::ops
