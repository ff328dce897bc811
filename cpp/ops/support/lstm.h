#pragma once

#include <array>
#include <cstdint>

#include "ops/op.h"
#include "ops/support/recurrent.h"

// One direction of an LSTM. Gates are input, forget, cell and output, in this order; an LSTM without an input gate couples it with the
// forget gate (CIFG).
namespace sigrun::ops {

enum Gate : int { kInputGate, kForgetGate, kCellGate, kOutputGate, kGates };

/// The operands of one direction, as input numbers; -1 for none. The cell gate has no peephole.
struct LstmOperands {
  int input = 0, aux = -1;
  std::array<int, kGates> input_weights, aux_weights = {-1, -1, -1, -1}, recurrent_weights, peephole, bias, norm = {-1, -1, -1, -1};
  int projection, projection_bias, output_state, cell_state;
};

struct LstmOptions {
  int8_t activation = 0;
  float cell_clip = 0, projection_clip = 0;
  bool time_major = true, asymmetric = false;
  bool forward = true;
};

/// Sizes that follow from the weights.
struct LstmSizes {
  Sequences sequences;
  int32_t input, aux, cell, output;
  bool has_input_gate;
};
LstmSizes ReadLstmSizes(const Prepare& p, const LstmOperands& operands, bool time_major);

/// A step that runs the direction over float32 input and writes columns [column, column + sizes.output) of output `o`. Its shape is set.
void EmitLstmFloat(Prepare& p, const LstmOperands& operands, const LstmOptions& options, int o, int32_t column);

/// INT8 input, output and weights, an INT16 cell state, and five intermediate tensors of which the scales matter.
void EmitLstmInt8(Prepare& p, const LstmOperands& operands, const LstmOptions& options);

/// The same with twelve intermediate tensors: three a gate, to which its products and their sum are rounded. The cell state is below 1.
void EmitRoundedLstmInt8(Prepare& p, const LstmOperands& operands, const LstmOptions& options);

}  // namespace sigrun::ops
