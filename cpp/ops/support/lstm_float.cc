#include <algorithm>
#include <cmath>

#include "ops/support/elements.h"
#include "ops/support/lstm.h"

namespace sigrun::ops {

LstmSizes ReadLstmSizes(const Prepare& p, const LstmOperands& operands, bool time_major) {
  LstmSizes s{};
  s.sequences = ReadSequences(p, operands.input, time_major);
  s.input = p.shape(operands.input).back();
  const int gate = operands.input_weights[kOutputGate], recurrent = operands.recurrent_weights[kOutputGate];
  p.Check(p.has_input(gate) && p.has_input(recurrent), "its weights (inputs ", gate, " and ", recurrent, ") are missing");
  p.Check(p.shape(gate).size() == 2, "its weights (input ", gate, ") have the shape ", ToString(p.shape(gate)));
  s.cell = p.shape(gate)[0];
  p.Check(!p.shape(recurrent).empty() && p.shape(recurrent).size() <= 2, "its recurrent weights (input ", recurrent, ") have the shape ",
          ToString(p.shape(recurrent)));
  s.output = p.shape(recurrent).back();
  p.Check(s.cell > 0 && s.output > 0, "it has no cells");
  s.has_input_gate = p.has_input(operands.input_weights[kInputGate]);
  p.Check(s.has_input_gate == p.has_input(operands.recurrent_weights[kInputGate]), "it has half an input gate");
  p.Check(p.has_input(operands.projection) || s.output == s.cell, s.cell, " cells give ", s.output, " outputs without a projection");
  if (operands.aux >= 0) {
    p.Check(p.shape(operands.aux).size() == p.shape(operands.input).size() && p.elements(operands.aux) > 0,
            "its auxiliary input has the shape ", ToString(p.shape(operands.aux)));
    s.aux = p.shape(operands.aux).back();
    p.Check(p.elements(operands.aux) / s.aux == s.sequences.total(), "its auxiliary input has the shape ", ToString(p.shape(operands.aux)));
  }
  return s;
}

namespace {

// A vector of cells: float32, or int8 with a scale.
class CellVector {
 public:
  CellVector() = default;
  CellVector(Prepare& p, int i, int32_t n, const char* what) {
    if (!p.has_input(i)) return;
    p.CheckType(i, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
    CheckOperand(p, i, p.type(i), {n}, what);
    if (p.type(i) != TensorType::kFloat32) scale_ = p.affine(i).scale;
    slot_ = p.in(i);
    present_ = true;
  }
  explicit operator bool() const { return present_; }
  // y += vector * x
  void MultiplyAdd(const RunContext& run, const float* x, float* y, int32_t n) const {
    if (scale_ != 0) {
      const int8_t* w = run.get<int8_t>(slot_);
      for (int32_t i = 0; i < n; ++i) y[i] += scale_ * static_cast<float>(w[i]) * x[i];
    } else {
      const float* w = run.get<float>(slot_);
      for (int32_t i = 0; i < n; ++i) y[i] += w[i] * x[i];
    }
  }

 private:
  bool present_ = false;
  float scale_ = 0;
  Slot slot_;
};

struct FloatGate {
  RowProduct input, aux, recurrent;
  CellVector diagonal, peephole;
  Slot norm, bias;  // the bias of a gate that is normalised; else it is the input product's
  bool normalized = false;
  kernels::UnaryF32 activation = nullptr;

  int64_t cost() const { return recurrent ? recurrent.cost() : 1; }
  // What does not depend on the new cell state.
  void Add(const RunContext& run, const RowSource::Rows& state, int32_t rows, int32_t n, float* gate, int worker) const {
    if (recurrent) recurrent.Add(run, state, rows, gate, worker);
    for (int32_t r = 0; diagonal && r < rows; ++r)
      diagonal.MultiplyAdd(run, state.values + static_cast<ptrdiff_t>(r) * n, gate + static_cast<ptrdiff_t>(r) * n, n);
  }
  void Finish(const RunContext& run, const float* cell, int32_t rows, int32_t n, float* gate) const {
    for (int32_t r = 0; r < rows; ++r) {
      const ptrdiff_t at = static_cast<ptrdiff_t>(r) * n;
      if (peephole) peephole.MultiplyAdd(run, cell + at, gate + at, n);
      if (normalized) Normalize(run, gate + at, n);
    }
    if (activation != nullptr) activation(gate, gate, static_cast<size_t>(rows) * static_cast<size_t>(n));
  }

 private:
  void Normalize(const RunContext& run, float* x, int32_t n) const {
    const float *scale = run.get<float>(norm), *shift = run.get<float>(bias);
    float sum = 0, squares = 0;
    for (int32_t i = 0; i < n; ++i) sum += x[i];
    const float mean = sum / static_cast<float>(n);
    for (int32_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + 1e-8f);
    for (int32_t i = 0; i < n; ++i) x[i] = (x[i] - mean) * inverse * scale[i] + shift[i];
  }
};

// Products with the input are taken for many steps at once, so that weights are read once for all of them; what is recurrent follows step
// by step.
struct FloatLstm {
  LstmSizes sizes;
  bool forward;
  float cell_clip, projection_clip;
  std::array<FloatGate, kGates> gates;
  kernels::UnaryF32 activation;
  RowProduct projection;
  RowSource input_rows, aux_rows, state_rows, hidden_rows;
  int32_t chunk;  // steps
  Slot input, aux, output_state, cell_state, output, gate_values, hidden;
  int32_t output_stride, column;

  void operator()(RunContext& run) const noexcept {
    const Sequences& s = sizes.sequences;
    for (int32_t sequence = 0; sequence < s.count; ++sequence) {
      for (int32_t done = 0; done < s.steps; done += chunk) {
        const int32_t n = std::min(chunk, s.steps - done);
        RunSteps(run, sequence, forward ? done : s.steps - done - n, n);
      }
    }
  }

 private:
  float* gate(const RunContext& run, int g) const {
    return run.get<float>(gate_values) + static_cast<ptrdiff_t>(g) * chunk * sizes.sequences.rows * sizes.cell;
  }
  void RunSteps(const RunContext& run, int32_t sequence, int32_t first, int32_t n) const {
    const Sequences& s = sizes.sequences;
    const ptrdiff_t row = (static_cast<ptrdiff_t>(sequence) * s.steps + first) * s.rows;
    const int32_t rows = n * s.rows;
    const RowSource::Rows x = input_rows.Take(run, run.get<float>(input) + row * sizes.input, rows);
    RowSource::Rows other{};
    if (gates[kOutputGate].aux) other = aux_rows.Take(run, run.get<float>(aux) + row * sizes.aux, rows);
    const int32_t first_gate = sizes.has_input_gate ? kInputGate : kForgetGate;
    run.Parallel(kGates - first_gate, gates[kOutputGate].input.cost() * rows, [&](kernels::Range range, int worker) {
      for (int32_t g = first_gate + range.begin; g < first_gate + range.end; ++g) {
        const FloatGate& that = gates[static_cast<size_t>(g)];
        that.input.Run(run, x, rows, gate(run, g), worker);
        if (that.aux) that.aux.Add(run, other, rows, gate(run, g), worker);
      }
    });
    for (int32_t i = 0; i < n; ++i) {
      const int32_t t = forward ? i : n - 1 - i;
      RunStep(run, sequence, static_cast<ptrdiff_t>(t) * s.rows, row + static_cast<ptrdiff_t>(t) * s.rows);
    }
  }

  // `at` is the step's first row among those whose input products there are, `row` among all of the output.
  void RunStep(const RunContext& run, int32_t sequence, ptrdiff_t at, ptrdiff_t row) const {
    const int32_t rows = sizes.sequences.rows, n = sizes.cell;
    float* state = run.get<float>(output_state) + static_cast<ptrdiff_t>(sequence) * rows * sizes.output;
    float* cell = run.get<float>(cell_state) + static_cast<ptrdiff_t>(sequence) * rows * n;
    const RowSource::Rows last = state_rows.Take(run, state, rows);
    const int32_t first_gate = sizes.has_input_gate ? kInputGate : kForgetGate;
    run.Parallel(kGates - first_gate, gates[kOutputGate].cost() * rows, [&](kernels::Range range, int worker) {
      for (int32_t g = first_gate + range.begin; g < first_gate + range.end; ++g) {
        const FloatGate& that = gates[static_cast<size_t>(g)];
        that.Add(run, last, rows, n, gate(run, g) + at * n, worker);
        if (g != kOutputGate) that.Finish(run, cell, rows, n, gate(run, g) + at * n);
      }
    });
    UpdateCell(run, at, cell);
    gates[kOutputGate].Finish(run, cell, rows, n, gate(run, kOutputGate) + at * n);
    Project(run, gate(run, kOutputGate) + at * n, cell, state);
    for (int32_t r = 0; r < rows; ++r) {
      std::copy_n(state + static_cast<ptrdiff_t>(r) * sizes.output, sizes.output,
                  run.get<float>(output) + (row + r) * output_stride + column);
    }
  }

  void UpdateCell(const RunContext& run, ptrdiff_t at, float* cell) const {
    const float *in = gate(run, kInputGate) + at * sizes.cell, *forget = gate(run, kForgetGate) + at * sizes.cell,
                *update = gate(run, kCellGate) + at * sizes.cell;
    const int32_t count = sizes.sequences.rows * sizes.cell;
    if (sizes.has_input_gate) {
      for (int32_t i = 0; i < count; ++i) cell[i] = forget[i] * cell[i] + in[i] * update[i];
    } else {
      for (int32_t i = 0; i < count; ++i) cell[i] = forget[i] * cell[i] + (1.0f - forget[i]) * update[i];
    }
    if (cell_clip <= 0) return;
    for (int32_t i = 0; i < count; ++i) cell[i] = std::min(std::max(cell[i], -cell_clip), cell_clip);
  }

  void Project(const RunContext& run, const float* gate_values_now, const float* cell, float* state) const {
    const int32_t rows = sizes.sequences.rows, count = rows * sizes.cell;
    float* to = projection ? run.get<float>(hidden) : state;
    if (activation != nullptr) {
      activation(cell, to, static_cast<size_t>(count));
    } else {
      std::copy_n(cell, count, to);
    }
    for (int32_t i = 0; i < count; ++i) to[i] *= gate_values_now[i];
    if (!projection) return;
    projection.Run(run, hidden_rows.Take(run, to, rows), rows, state, 0);
    if (projection_clip <= 0) return;
    for (int32_t i = 0; i < rows * sizes.output; ++i) state[i] = std::min(std::max(state[i], -projection_clip), projection_clip);
  }
};

FloatGate MakeGate(Prepare& p, const LstmOperands& o, const LstmSizes& s, int32_t rows, int g, bool normalized) {
  const size_t at = static_cast<size_t>(g);
  FloatGate gate;
  gate.normalized = normalized;
  gate.input = RowProduct(p, o.input_weights[at], normalized ? -1 : o.bias[at], rows, s.cell, s.input, "input weights");
  if (o.aux >= 0) gate.aux = RowProduct(p, o.aux_weights[at], -1, rows, s.cell, s.aux, "auxiliary input weights");
  if (p.shape(o.recurrent_weights[at]).size() == 1) {
    gate.diagonal = CellVector(p, o.recurrent_weights[at], s.cell, "recurrent weights");
  } else {
    gate.recurrent = RowProduct(p, o.recurrent_weights[at], -1, s.sequences.rows, s.cell, s.output, "recurrent weights");
  }
  if (g != kCellGate) gate.peephole = CellVector(p, o.peephole[at], s.cell, "peephole weights");
  if (!normalized) return gate;
  CheckOperand(p, o.norm[at], TensorType::kFloat32, {s.cell}, "layer normalisation coefficients");
  CheckOperand(p, o.bias[at], TensorType::kFloat32, {s.cell}, "biases");
  gate.norm = p.in(o.norm[at]);
  gate.bias = p.in(o.bias[at]);
  return gate;
}

}  // namespace

void EmitLstmFloat(Prepare& p, const LstmOperands& operands, const LstmOptions& options, int o, int32_t column) {
  const LstmSizes s = ReadLstmSizes(p, operands, options.time_major);
  const int32_t batch = s.sequences.count * s.sequences.rows;
  p.CheckType(operands.input, {TensorType::kFloat32});
  p.CheckOutputType(o, {TensorType::kFloat32});
  FloatLstm lstm{};
  lstm.sizes = s;
  lstm.forward = options.forward;
  lstm.cell_clip = options.cell_clip;
  lstm.projection_clip = options.projection_clip;
  lstm.activation = ActivationKernel(p, options.activation);
  const bool hybrid = p.type(operands.input_weights[kOutputGate]) != TensorType::kFloat32;
  const bool normalized = operands.norm[kForgetGate] >= 0 && p.has_input(operands.norm[kForgetGate]);
  constexpr int32_t kChunkFloats = 1 << 18;
  lstm.chunk = std::clamp(kChunkFloats / kGates / s.cell / s.sequences.rows, 1, s.sequences.steps);
  const int32_t rows = lstm.chunk * s.sequences.rows;
  for (int g = s.has_input_gate ? kInputGate : kForgetGate; g < kGates; ++g) {
    FloatGate& gate = lstm.gates[static_cast<size_t>(g)];
    gate = MakeGate(p, operands, s, rows, g, normalized);
    gate.activation = g == kCellGate ? lstm.activation : p.kernels().unary_f32[static_cast<size_t>(kernels::Unary::kLogistic)];
  }
  lstm.input_rows = RowSource(p, rows, s.input, hybrid, options.asymmetric);
  if (operands.aux >= 0) lstm.aux_rows = RowSource(p, rows, s.aux, hybrid, options.asymmetric);
  lstm.state_rows = RowSource(p, s.sequences.rows, s.output, hybrid, options.asymmetric);
  if (p.has_input(operands.projection)) {
    lstm.projection = RowProduct(p, operands.projection, p.has_input(operands.projection_bias) ? operands.projection_bias : -1,
                                 s.sequences.rows, s.output, s.cell, "projection weights");
    lstm.hidden = p.Scratch(static_cast<size_t>(s.sequences.rows) * static_cast<size_t>(s.cell) * sizeof(float));
    lstm.hidden_rows = RowSource(p, s.sequences.rows, s.cell, hybrid, options.asymmetric);
  }
  lstm.gate_values = p.Scratch(kGates * static_cast<size_t>(rows) * static_cast<size_t>(s.cell) * sizeof(float));
  lstm.input = p.in(operands.input);
  lstm.aux = operands.aux >= 0 ? p.in(operands.aux) : Slot{};
  lstm.output_state = StateSlot(p, operands.output_state, TensorType::kFloat32, {batch, s.output}, "output state");
  lstm.cell_state = StateSlot(p, operands.cell_state, TensorType::kFloat32, {batch, s.cell}, "cell state");
  lstm.output = p.out(o);
  lstm.output_stride = p.output_shape(o).back();
  lstm.column = column;
  p.Emit(std::move(lstm));
}

}  // namespace sigrun::ops
