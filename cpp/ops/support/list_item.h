#pragma once

#include "ops/op.h"

namespace sigrun::ops {

/// A list with item `index` replaced, as a pass finds it among slices and concatenations: inputs list [n, ...], item [1, ...], and the
/// scalar index. In place if nobody else reads the list.
extern const OpDef kSetListItem;

}  // namespace sigrun::ops
