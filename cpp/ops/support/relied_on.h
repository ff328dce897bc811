#pragma once

#include "ops/op.h"

namespace sigrun::ops {

/// Refuses an input whose shape is not what a pass relied on: the constant `extents`, -1 where any will do. The operators are then planned
/// as the file has them.
inline void CheckReliedOn(const Prepare& p, int input, int extents) {
  const Shape& shape = p.shape(input);
  const int32_t* wanted = p.constant_as<int32_t>(extents);
  bool fits = wanted != nullptr && p.elements(extents) == static_cast<int64_t>(shape.size());
  for (size_t d = 0; fits && d < shape.size(); ++d) fits = wanted[d] < 0 || wanted[d] == shape[d];
  p.Check(fits, "an input of shape ", ToString(shape), " instead of the file's");
}

}  // namespace sigrun::ops
