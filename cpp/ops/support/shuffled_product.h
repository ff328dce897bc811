#pragma once

#include "ops/op.h"

namespace sigrun::ops {

/// FULLY_CONNECTED with weights_format SHUFFLED4x16INT8, by which LSTMs of 2018 were split: UINT8 input around 128 and INT16 output; a second
/// output holds the input as the kernel of that time laid it out.
void PrepareShuffledProduct(Prepare& p);

}  // namespace sigrun::ops
