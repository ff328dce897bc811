#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/support/fixed_point.h"
#include "ops/support/fixed_point_16.h"
#include "ops/support/lstm.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {
namespace {

// Some of the scales that LiteRT makes are beyond what its fixed point shifts by.
int32_t Scale(int32_t x, const FixedPoint& by) { return ScaleBy(x, by.multiplier, by.shift); }

float ScaleOf(const Prepare& p, int i) { return p.affine(i).scale; }

// Row by row: bias[n] + sum_k in[k] * w[n, k], scaled. The bias has the zero point's part in it.
struct IntegerProduct {
  const int8_t* weights = nullptr;
  std::vector<int32_t> bias;
  FixedPoint scale{};
  int32_t n = 0, k = 0;

  explicit operator bool() const { return n > 0; }
  int32_t at(const int8_t* in, int32_t row) const {
    const int8_t* w = weights + static_cast<ptrdiff_t>(row) * k;
    int32_t sum = bias[static_cast<size_t>(row)];
    for (int32_t i = 0; i < k; ++i) sum += int32_t{in[i]} * w[i];
    return Scale(sum, scale);
  }
};

// `zero_point` is what each weight is multiplied by, beside the activations.
IntegerProduct MakeProduct(Prepare& p, int weights, int bias, int32_t n, int32_t k, int32_t zero_point, double scale, const char* what) {
  CheckOperand(p, weights, TensorType::kInt8, {n, k}, what);
  p.Check(p.constant(weights) != nullptr, "its ", what, " (input ", weights, ") are no constants");
  IntegerProduct product{p.constant_as<int8_t>(weights), {}, QuantizeMultiplier(scale), n, k};
  const int32_t* biases = nullptr;
  if (bias >= 0 && p.has_input(bias)) {
    CheckOperand(p, bias, TensorType::kInt32, {n}, "biases");
    p.Check(p.constant(bias) != nullptr, "its biases (input ", bias, ") are no constants");
    biases = p.constant_as<int32_t>(bias);
  }
  for (int32_t row = 0; row < n; ++row) {
    int32_t sum = 0;
    for (int32_t i = 0; i < k; ++i) sum += product.weights[static_cast<ptrdiff_t>(row) * k + i];
    product.bias.push_back(kernels::WrapAdd(biases == nullptr ? 0 : biases[row], kernels::WrapMul(sum, zero_point)));
  }
  return product;
}

// Scale and zero point of an intermediate tensor.
Prepare::Affine Intermediate(const Prepare& p, size_t i) {
  const Quantization& q = p.intermediate_quantization(static_cast<int>(i));
  p.Check(q.scale.size() == 1 && std::isfinite(q.scale[0]) && q.scale[0] > 0, "its intermediate tensor ", i, " has no scale");
  return {q.scale[0], static_cast<int32_t>(q.zero_point[0])};
}

int32_t LogScale(const Prepare& p, int i) {
  const float log = std::log2(ScaleOf(p, i));
  const float rounded = std::round(log);
  p.Check(std::abs(rounded - log) < 1e-3f, "its cell state (input ", i, ") has the scale ", ScaleOf(p, i), ", expected a power of 2");
  return static_cast<int32_t>(rounded);
}

// x, normalised to Q12: LiteRT's integer approximation, with a mean and a deviation of ten more bits.
struct IntegerNorm {
  Slot weights, bias;
  FixedPoint scale{};
  int32_t guard = 0;

  void operator()(const RunContext& run, int16_t* x, int32_t n) const {
    const int16_t* w = run.get<int16_t>(weights);
    const int32_t* b = run.get<int32_t>(bias);
    int64_t sum = 0, squares = 0;
    for (int32_t i = 0; i < n; ++i) {
      sum += x[i];
      squares += int64_t{x[i]} * x[i];
    }
    const int32_t mean = static_cast<int32_t>(sum * 1024 / n);
    const int64_t variance = squares * ((1 << 20) / n) - int64_t{mean} * mean;
    int32_t reduced = static_cast<int32_t>(variance / (1 << 20));
    if (reduced < 1) reduced = guard;
    int shift = 0;
    const int32_t inverse = InverseSqrt(reduced, &shift);
    for (int32_t i = 0; i < n; ++i) {
      const int32_t rescaled = ScaleBy(1024 * x[i] - mean, inverse, shift);
      const int64_t weighted = kernels::WrapAdd(kernels::WrapMul(rescaled, w[i]), b[i]);
      const int32_t rounded = static_cast<int32_t>((weighted > 0 ? weighted + 512 : weighted - 512) / 1024);
      x[i] = fixed16::Saturate(ScaleBy(rounded, scale.multiplier, scale.shift + 12));
    }
  }
};

struct IntegerGate {
  IntegerProduct input, recurrent;
  Slot peephole;
  FixedPoint peephole_scale{};
  bool has_peephole = false, normalized = false;
  IntegerNorm norm;
};

struct IntegerLstm {
  LstmSizes sizes;
  std::array<IntegerGate, kGates> gates;
  IntegerProduct projection;
  FixedPoint hidden_scale{};
  int32_t hidden_zero_point, state_zero_point, cell_log_scale;
  int16_t cell_clip;
  int8_t projection_clip;
  bool forward;
  Slot input, output, output_state, cell_state, gate_values, hidden;

  void operator()(RunContext& run) const noexcept {
    const Sequences& s = sizes.sequences;
    for (int32_t sequence = 0; sequence < s.count; ++sequence) {
      int8_t* state = run.get<int8_t>(output_state) + static_cast<ptrdiff_t>(sequence) * s.rows * sizes.output;
      int16_t* cell = run.get<int16_t>(cell_state) + static_cast<ptrdiff_t>(sequence) * s.rows * sizes.cell;
      for (int32_t i = 0; i < s.steps; ++i) {
        const ptrdiff_t row = (static_cast<ptrdiff_t>(sequence) * s.steps + (forward ? i : s.steps - 1 - i)) * s.rows;
        Step(run, run.get<int8_t>(input) + row * sizes.input, state, cell);
        std::copy_n(state, s.rows * sizes.output, run.get<int8_t>(output) + row * sizes.output);
      }
    }
  }

 private:
  int16_t* gate(const RunContext& run, int g) const {
    return run.get<int16_t>(gate_values) + static_cast<ptrdiff_t>(g) * sizes.sequences.rows * sizes.cell;
  }

  void Step(const RunContext& run, const int8_t* x, int8_t* state, int16_t* cell) const {
    const int32_t first = sizes.has_input_gate ? kInputGate : kForgetGate;
    run.Parallel(kGates - first, MacCost(int64_t{sizes.cell} * (sizes.input + sizes.output) * sizes.sequences.rows),
                 [&](kernels::Range range, int) {
                   for (int32_t g = first + range.begin; g < first + range.end; ++g) {
                     Multiply(run, g, x, state);
                     if (g != kOutputGate) Finish(run, g, cell);
                   }
                 });
    UpdateCell(run, cell);
    Finish(run, kOutputGate, cell);
    Project(run, cell, state);
  }

  void Multiply(const RunContext& run, int g, const int8_t* x, const int8_t* state) const {
    const IntegerGate& that = gates[static_cast<size_t>(g)];
    int16_t* to = gate(run, g);
    for (int32_t r = 0; r < sizes.sequences.rows; ++r, to += sizes.cell, x += sizes.input, state += sizes.output) {
      for (int32_t i = 0; i < sizes.cell; ++i) to[i] = fixed16::Saturate(that.input.at(x, i));
      for (int32_t i = 0; i < sizes.cell; ++i) to[i] = fixed16::Saturate(kernels::WrapAdd(that.recurrent.at(state, i), to[i]));
    }
  }

  void Finish(const RunContext& run, int g, const int16_t* cell) const {
    const IntegerGate& that = gates[static_cast<size_t>(g)];
    int16_t* x = gate(run, g);
    const int32_t rows = sizes.sequences.rows, count = rows * sizes.cell;
    if (that.has_peephole) {
      const int16_t* w = run.get<int16_t>(that.peephole);
      // LiteRT counts outputs there: with a projection, peepholes begin anew at each of them, and reach only so many cells.
      const int32_t width = std::min(sizes.output, sizes.cell);
      for (int32_t i = 0; i < rows * width; ++i) x[i] = fixed16::Saturate(Scale(int32_t{w[i % width]} * cell[i], that.peephole_scale) + x[i]);
    }
    for (int32_t r = 0; that.normalized && r < rows; ++r) that.norm(run, x + static_cast<ptrdiff_t>(r) * sizes.cell, sizes.cell);
    constexpr int kIntegerBits = 3;
    if (g == kCellGate) {
      for (int32_t i = 0; i < count; ++i) x[i] = fixed16::Tanh(x[i], kIntegerBits);
    } else {
      for (int32_t i = 0; i < count; ++i) x[i] = fixed16::Logistic(x[i], kIntegerBits);
    }
  }

  void UpdateCell(const RunContext& run, int16_t* cell) const {
    const int16_t *in = gate(run, kInputGate), *forget = gate(run, kForgetGate), *update = gate(run, kCellGate);
    for (int32_t i = 0; i < sizes.sequences.rows * sizes.cell; ++i) {
      const int32_t kept = static_cast<int16_t>(kernels::RoundingDivideByPOT(int32_t{forget[i]} * cell[i], 15));
      const int32_t weight = sizes.has_input_gate ? in[i] : INT16_MAX - forget[i];
      const int32_t added = static_cast<int16_t>(kernels::RoundingDivideByPOT(weight * update[i], 30 + cell_log_scale));
      cell[i] = fixed16::Saturate(kept + added);
      if (cell_clip > 0) cell[i] = std::clamp<int16_t>(cell[i], static_cast<int16_t>(-cell_clip), cell_clip);
    }
  }

  void Project(const RunContext& run, const int16_t* cell, int8_t* state) const {
    const int16_t* out = gate(run, kOutputGate);
    int8_t* to = projection ? run.get<int8_t>(hidden) : state;
    const int32_t zero_point = projection ? -hidden_zero_point : hidden_zero_point;
    for (int32_t i = 0; i < sizes.sequences.rows * sizes.cell; ++i) {
      const int32_t product = int32_t{out[i]} * fixed16::Tanh(cell[i], 15 + cell_log_scale);
      to[i] = static_cast<int8_t>(std::clamp(Scale(product, hidden_scale) + zero_point, -128, 127));
    }
    for (int32_t r = 0; projection && r < sizes.sequences.rows; ++r, to += sizes.cell, state += sizes.output) {
      for (int32_t i = 0; i < sizes.output; ++i) {
        state[i] = static_cast<int8_t>(std::clamp(kernels::WrapAdd(projection.at(to, i), state_zero_point), -128, 127));
        if (projection_clip > 0) state[i] = std::clamp<int8_t>(state[i], static_cast<int8_t>(-projection_clip), projection_clip);
      }
    }
  }
};

struct IntegerScales {
  float input, state, gate[kGates];
  int32_t input_zero_point, state_zero_point, cell_log_scale;
};

IntegerGate MakeIntegerGate(Prepare& p, const LstmOperands& o, const LstmSizes& s, const IntegerScales& scales, int g, bool normalized) {
  const size_t at = static_cast<size_t>(g);
  const float gate_scale = scales.gate[g];
  IntegerGate gate;
  gate.normalized = normalized;
  // LiteRT multiplies scales in float.
  const float input_scale = ScaleOf(p, o.input_weights[at]) * scales.input / gate_scale,
              recurrent_scale = ScaleOf(p, o.recurrent_weights[at]) * scales.state / gate_scale;
  gate.input = MakeProduct(p, o.input_weights[at], normalized ? -1 : o.bias[at], s.cell, s.input, -scales.input_zero_point, input_scale,
                           "input weights");
  gate.recurrent =
      MakeProduct(p, o.recurrent_weights[at], -1, s.cell, s.output, -scales.state_zero_point, recurrent_scale, "recurrent weights");
  gate.has_peephole = g != kCellGate && p.has_input(o.peephole[at]);
  if (gate.has_peephole) {
    CheckOperand(p, o.peephole[at], TensorType::kInt16, {s.cell}, "peephole weights");
    gate.peephole = p.in(o.peephole[at]);
    gate.peephole_scale =
        QuantizeMultiplier(static_cast<float>(std::ldexp(1.0, scales.cell_log_scale) * ScaleOf(p, o.peephole[at]) / gate_scale));
  }
  if (!normalized) return gate;
  CheckOperand(p, o.norm[at], TensorType::kInt16, {s.cell}, "layer normalisation coefficients");
  CheckOperand(p, o.bias[at], TensorType::kInt32, {s.cell}, "biases");
  const float norm_scale = ScaleOf(p, o.norm[at]);
  gate.norm = {p.in(o.norm[at]), p.in(o.bias[at]), QuantizeMultiplier(norm_scale), std::max(1, static_cast<int32_t>(10000 * norm_scale))};
  return gate;
}

}  // namespace

void EmitLstmInt8(Prepare& p, const LstmOperands& o, const LstmOptions& options) {
  const LstmSizes s = ReadLstmSizes(p, o, options.time_major);
  const int32_t batch = s.sequences.count * s.sequences.rows;
  p.CheckOutputType(0, {TensorType::kInt8});
  p.CheckType(o.output_state, {TensorType::kInt8});
  IntegerLstm lstm{};
  lstm.output_state = StateSlot(p, o.output_state, TensorType::kInt8, {batch, s.output}, "output state");
  lstm.cell_state = StateSlot(p, o.cell_state, TensorType::kInt16, {batch, s.cell}, "cell state");
  const Prepare::Affine input = p.affine(o.input), state = p.affine(o.output_state), hidden = Intermediate(p, 4);
  const bool normalized = p.has_input(o.norm[kForgetGate]);
  IntegerScales scales{input.scale, state.scale, {}, input.zero_point, state.zero_point, LogScale(p, o.cell_state)};
  p.Check(scales.cell_log_scale <= -9 && scales.cell_log_scale >= -15, "its cell state has the scale 2^", scales.cell_log_scale);
  for (size_t g = 0; g < kGates; ++g) scales.gate[g] = normalized ? Intermediate(p, g).scale : 1.0f / 4096;
  for (int g = s.has_input_gate ? kInputGate : kForgetGate; g < kGates; ++g) {
    lstm.gates[static_cast<size_t>(g)] = MakeIntegerGate(p, o, s, scales, g, normalized);
  }
  lstm.sizes = s;
  lstm.forward = options.forward;
  lstm.hidden_scale = QuantizeMultiplier(static_cast<float>(std::ldexp(1.0, -15) / hidden.scale * std::ldexp(1.0, -15)));
  lstm.hidden_zero_point = hidden.zero_point;
  lstm.state_zero_point = state.zero_point;
  lstm.cell_log_scale = scales.cell_log_scale;
  const auto clip = [](float limit, float scale, float most) { return limit > 0 ? std::clamp(limit / scale, -most - 1, most) : 0.0f; };
  lstm.cell_clip = static_cast<int16_t>(clip(options.cell_clip, ScaleOf(p, o.cell_state), 32767));
  lstm.projection_clip = static_cast<int8_t>(clip(options.projection_clip, p.output_affine(0).scale, 127));
  if (p.has_input(o.projection)) {
    const float scale = ScaleOf(p, o.projection) * hidden.scale / state.scale;
    lstm.projection = MakeProduct(p, o.projection, o.projection_bias, s.output, s.cell, hidden.zero_point, scale, "projection weights");
    lstm.hidden = p.Scratch(static_cast<size_t>(s.sequences.rows) * static_cast<size_t>(s.cell));
  }
  lstm.gate_values = p.Scratch(kGates * static_cast<size_t>(s.sequences.rows) * static_cast<size_t>(s.cell) * sizeof(int16_t));
  lstm.input = p.in(o.input);
  lstm.output = p.out(0);
  p.Emit(std::move(lstm));
}

}  // namespace sigrun::ops
