#pragma once

#include "ops/op.h"

namespace sigrun::ops {

/// FULLY_CONNECTED of UINT8 with an INT16 output, as quantised LSTMs of 2018 were split. The output has its shape.
void EmitWideProduct(Prepare& p);

/// The same with weights_format SHUFFLED4x16INT8, around 128: a second output holds the input as the kernel of that time laid it out.
void PrepareShuffledProduct(Prepare& p);

}  // namespace sigrun::ops
