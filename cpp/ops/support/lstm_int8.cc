#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/fixed_point_16.h"
#include "ops/support/fixed_point.h"
#include "ops/support/lstm.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {
namespace {

namespace fixed16 = kernels::fixed16;

// Some of the scales that LiteRT makes are beyond what its fixed point shifts by.
int32_t Scale(int32_t x, const FixedPoint& by) { return ScaleBy(x, by.multiplier, by.shift); }

float ScaleOf(const Prepare& p, int i) { return p.affine(i).scale; }

// bias[n] + sum_k in[row, k] * w[n, k], scaled. The bias has the zero point's part in it.
struct IntegerProduct {
  IntegerRowProduct sums;
  std::vector<int32_t> bias;
  FixedPoint scale{};
  Slot result;

  explicit operator bool() const { return static_cast<bool>(sums); }
  /// The results stay until the next call.
  const int32_t* operator()(const RunContext& run, const int8_t* in, int32_t rows, int worker) const {
    int32_t* y = run.get<int32_t>(result);
    sums.Run(run, in, rows, y, worker);
    for (int32_t r = 0; r < rows; ++r, y += bias.size()) {
      for (size_t i = 0; i < bias.size(); ++i) y[i] = Scale(kernels::WrapAdd(y[i], bias[i]), scale);
    }
    return run.get<int32_t>(result);
  }
};

// `zero_point` is what each weight is multiplied by, beside the activations.
IntegerProduct MakeProduct(Prepare& p, int weights, int bias, int32_t rows, int32_t n, int32_t k, int32_t zero_point, double scale,
                           const char* what) {
  CheckOperand(p, weights, TensorType::kInt8, {n, k}, what);
  p.Check(p.constant(weights) != nullptr, "its ", what, " (input ", weights, ") are no constants");
  const int8_t* values = p.constant_as<int8_t>(weights);
  IntegerProduct product{IntegerRowProduct(p, weights, rows, n, k, 0, what),
                         {},
                         QuantizeMultiplier(scale),
                         p.Scratch(static_cast<size_t>(rows) * static_cast<size_t>(n) * sizeof(int32_t))};
  const int32_t* biases = nullptr;
  if (bias >= 0 && p.has_input(bias)) {
    CheckOperand(p, bias, TensorType::kInt32, {n}, "biases");
    p.Check(p.constant(bias) != nullptr, "its biases (input ", bias, ") are no constants");
    biases = p.constant_as<int32_t>(bias);
  }
  for (int32_t row = 0; row < n; ++row) {
    int32_t sum = 0;
    for (int32_t i = 0; i < k; ++i) sum += values[static_cast<ptrdiff_t>(row) * k + i];
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
  decltype(kernels::Kernels::logistic_16) logistic;
  decltype(kernels::Kernels::tanh_16) tanh;

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
                 [&](kernels::Range range, int worker) {
                   for (int32_t g = first + range.begin; g < first + range.end; ++g) {
                     Multiply(run, g, x, state, worker);
                     if (g != kOutputGate) Finish(run, g, cell);
                   }
                 });
    UpdateCell(run, cell);
    Finish(run, kOutputGate, cell);
    Project(run, cell, state);
  }

  void Multiply(const RunContext& run, int g, const int8_t* x, const int8_t* state, int worker) const {
    const IntegerGate& that = gates[static_cast<size_t>(g)];
    const int32_t rows = sizes.sequences.rows;
    const int32_t *own = that.input(run, x, rows, worker), *before = that.recurrent(run, state, rows, worker);
    int16_t* to = gate(run, g);
    for (int32_t i = 0; i < rows * sizes.cell; ++i) to[i] = fixed16::Saturate(kernels::WrapAdd(before[i], fixed16::Saturate(own[i])));
  }

  void Finish(const RunContext& run, int g, const int16_t* cell) const {
    const IntegerGate& that = gates[static_cast<size_t>(g)];
    int16_t* x = gate(run, g);
    const int32_t rows = sizes.sequences.rows, count = rows * sizes.cell;
    if (that.has_peephole) {
      const int16_t* w = run.get<int16_t>(that.peephole);
      // LiteRT counts outputs there: with a projection, peepholes begin anew at each of them, and reach only so many cells.
      const int32_t width = std::min(sizes.output, sizes.cell);
      for (int32_t i = 0; i < rows * width; ++i)
        x[i] = fixed16::Saturate(Scale(int32_t{w[i % width]} * cell[i], that.peephole_scale) + x[i]);
    }
    for (int32_t r = 0; that.normalized && r < rows; ++r) that.norm(run, x + static_cast<ptrdiff_t>(r) * sizes.cell, sizes.cell);
    constexpr int kIntegerBits = 3;
    (g == kCellGate ? tanh : logistic)(x, x, static_cast<size_t>(count), kIntegerBits);
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
    const int32_t zero_point = projection ? -hidden_zero_point : hidden_zero_point, rows = sizes.sequences.rows;
    int16_t* values = gate(run, kCellGate);  // which has become part of the cells
    tanh(cell, values, static_cast<size_t>(rows) * static_cast<size_t>(sizes.cell), 15 + cell_log_scale);
    for (int32_t i = 0; i < rows * sizes.cell; ++i) {
      const int32_t product = int32_t{out[i]} * values[i];
      to[i] = static_cast<int8_t>(std::clamp(Scale(product, hidden_scale) + zero_point, -128, 127));
    }
    if (!projection) return;
    const int32_t* projected = projection(run, to, rows, 0);
    for (int32_t i = 0; i < rows * sizes.output; ++i) {
      state[i] = static_cast<int8_t>(std::clamp(kernels::WrapAdd(projected[i], state_zero_point), -128, 127));
      if (projection_clip > 0) state[i] = std::clamp<int8_t>(state[i], static_cast<int8_t>(-projection_clip), projection_clip);
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
  const int32_t rows = s.sequences.rows;
  IntegerGate gate;
  gate.normalized = normalized;
  // LiteRT multiplies scales in float.
  const float input_scale = ScaleOf(p, o.input_weights[at]) * scales.input / gate_scale,
              recurrent_scale = ScaleOf(p, o.recurrent_weights[at]) * scales.state / gate_scale;
  gate.input = MakeProduct(p, o.input_weights[at], normalized ? -1 : o.bias[at], rows, s.cell, s.input, -scales.input_zero_point,
                           input_scale, "input weights");
  gate.recurrent =
      MakeProduct(p, o.recurrent_weights[at], -1, rows, s.cell, s.output, -scales.state_zero_point, recurrent_scale, "recurrent weights");
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

// --- twelve intermediate tensors: what the products and their sum are rounded to, gate by gate ---
// LiteRT's kernel couples the gates whether or not there are weights of an input gate, and knows no peepholes.

constexpr float kGateScale = 1.0f / 4096, kUnitScale = 1.0f / 32768;

// Floats between one rounding and the next. `weight` is what the coefficients' scale is as fixed point.
struct RoundedNorm {
  Slot weights, bias;
  float weight = 0;

  void operator()(const RunContext& run, int16_t* x, int32_t n) const {
    const int16_t* w = run.get<int16_t>(weights);
    const int32_t* b = run.get<int32_t>(bias);
    float sum = 0, squares = 0;
    for (int32_t i = 0; i < n; ++i) {
      const float value = x[i];
      sum += value;
      squares += value * value;
    }
    const float mean = sum / static_cast<float>(n), variance = squares / static_cast<float>(n) - mean * mean;
    const float inverse = static_cast<float>(1.0 / std::sqrt(variance == 0 ? 1e-8 : static_cast<double>(variance)));
    const float bias_weight = weight / 1024;
    for (int32_t i = 0; i < n; ++i) {
      const float normal = (x[i] - mean) * inverse * w[i] * weight + static_cast<float>(b[i]) * bias_weight;
      x[i] = static_cast<int16_t>(std::clamp(std::round(normal / kGateScale), -32768.0f, 32767.0f));
    }
  }
};

int16_t RoundUnit(float x) { return fixed16::Saturate(static_cast<int32_t>(x / kUnitScale)); }

struct RoundedGate {
  IntegerProduct input, recurrent;
  FixedPoint input_scale{}, recurrent_scale{};
  int32_t input_zero_point = 0, recurrent_zero_point = 0;
  RoundedNorm norm;

  static int32_t Rounded(int32_t sum, int32_t zero_point, const FixedPoint& scale) {
    const int32_t byte = std::clamp(kernels::WrapAdd(sum, zero_point), -128, 127);
    return Scale(byte - zero_point, scale);
  }
  void operator()(const RunContext& run, const int8_t* x, const int8_t* state, int16_t* to) const {
    const int32_t cells = static_cast<int32_t>(input.bias.size());
    const int32_t *own = input(run, x, 1, 0), *before = recurrent ? recurrent(run, state, 1, 0) : nullptr;
    for (int32_t i = 0; i < cells; ++i) {
      const int32_t from_state = before == nullptr ? 0 : Rounded(before[i], recurrent_zero_point, recurrent_scale);
      to[i] = fixed16::Saturate(kernels::WrapAdd(Rounded(own[i], input_zero_point, input_scale), from_state));
    }
    norm(run, to, cells);
  }
};

struct RoundedLstm {
  LstmSizes sizes;
  std::array<RoundedGate, kGates> gates;
  FixedPoint projection_scale{};
  int32_t state_zero_point;
  int16_t cell_clip;
  int8_t projection_clip;
  Slot input, output, output_state, cell_state, gate_values, projection, projection_bias;

  void operator()(RunContext& run) const noexcept {
    const Sequences& s = sizes.sequences;
    for (int32_t sequence = 0; sequence < s.count; ++sequence) {
      for (int32_t i = 0; i < s.steps; ++i) {
        for (int32_t r = 0; r < s.rows; ++r) {
          const ptrdiff_t row = (static_cast<ptrdiff_t>(sequence) * s.steps + i) * s.rows + r, lane = sequence * s.rows + r;
          int8_t* state = run.get<int8_t>(output_state) + lane * sizes.output;
          Step(run, run.get<int8_t>(input) + row * sizes.input, state, run.get<int16_t>(cell_state) + lane * sizes.cell);
          std::copy_n(state, sizes.output, run.get<int8_t>(output) + row * sizes.output);
        }
      }
    }
  }

 private:
  void Step(const RunContext& run, const int8_t* x, int8_t* state, int16_t* cell) const {
    int16_t* values = run.get<int16_t>(gate_values);
    for (int g = kForgetGate; g < kGates; ++g) gates[static_cast<size_t>(g)](run, x, state, values + ptrdiff_t{g} * sizes.cell);
    const int16_t *forget = values + sizes.cell, *update = forget + sizes.cell, *out = update + sizes.cell;
    for (int32_t i = 0; i < sizes.cell; ++i) {
      const int16_t kept_part = Logistic(forget[i]);
      const int32_t kept = static_cast<int16_t>(kernels::RoundingDivideByPOT(int32_t{kept_part} * cell[i], 15));
      const int32_t change = (INT16_MAX - kept_part) * RoundUnit(std::tanh(update[i] * kGateScale));
      cell[i] = fixed16::Saturate(kept + static_cast<int16_t>(kernels::RoundingDivideByPOT(change, 15)));
      if (cell_clip > 0) cell[i] = std::clamp<int16_t>(cell[i], static_cast<int16_t>(-cell_clip), cell_clip);
      const int32_t hidden = Logistic(out[i]) * RoundUnit(std::tanh(cell[i] * kUnitScale));
      values[i] = static_cast<int16_t>(kernels::RoundingDivideByPOT(hidden, 15));
    }
    Project(run, values, state);
  }

  static int16_t Logistic(int16_t x) { return RoundUnit(1.0f / (1.0f + std::exp(-(x * kGateScale)))); }

  void Project(const RunContext& run, const int16_t* hidden, int8_t* state) const {
    const int8_t* w = run.get<int8_t>(projection);
    for (int32_t i = 0; i < sizes.output; ++i, w += sizes.cell) {
      int64_t sum = run.get<int32_t>(projection_bias)[i];
      for (int32_t c = 0; c < sizes.cell; ++c) sum += int32_t{hidden[c]} * w[c];
      const int64_t scaled = ScaleBy64(sum, projection_scale) + state_zero_point;
      state[i] = static_cast<int8_t>(std::clamp<int64_t>(scaled, -128, 127));
      if (projection_clip > 0) state[i] = std::clamp<int8_t>(state[i], static_cast<int8_t>(-projection_clip), projection_clip);
    }
  }

  // LiteRT multiplies sums of 64 bits by the upper half of the multiplier.
  static int32_t ScaleBy64(int64_t x, const FixedPoint& by) {
    const int64_t narrow = by.multiplier < 0x7FFF0000 ? (by.multiplier + (1 << 15)) >> 16 : 0x7FFF;
    const int shift = 15 - by.shift;
    return static_cast<int32_t>((x * narrow + (int64_t{1} << (shift - 1))) >> shift);
  }
};

RoundedGate MakeRoundedGate(Prepare& p, const LstmOperands& o, const LstmSizes& s, int g) {
  const size_t at = static_cast<size_t>(g);
  const Prepare::Affine input = p.affine(o.input), state = p.affine(o.output_state);
  const Prepare::Affine sum = Intermediate(p, 3 * at), own = Intermediate(p, 3 * at + 1), before = Intermediate(p, 3 * at + 2);
  RoundedGate gate;
  gate.input_scale = QuantizeMultiplier(own.scale / sum.scale);
  gate.input_zero_point = own.zero_point;
  gate.input = MakeProduct(p, o.input_weights[at], -1, 1, s.cell, s.input, -input.zero_point,
                           ScaleOf(p, o.input_weights[at]) * input.scale / own.scale, "input weights");
  // LiteRT scales what the output gate has of the state by a number that it never sets, which is 0.
  if (g != kOutputGate) {
    gate.recurrent_scale = QuantizeMultiplier(before.scale / sum.scale);
    gate.recurrent_zero_point = before.zero_point;
    gate.recurrent = MakeProduct(p, o.recurrent_weights[at], -1, 1, s.cell, s.output, -state.zero_point,
                                 ScaleOf(p, o.recurrent_weights[at]) * state.scale / before.scale, "recurrent weights");
  }
  p.Check(p.has_input(o.norm[at]) && p.has_input(o.bias[at]), "it has twelve intermediate tensors and does not normalise gate ", g);
  CheckOperand(p, o.norm[at], TensorType::kInt16, {s.cell}, "layer normalisation coefficients");
  CheckOperand(p, o.bias[at], TensorType::kInt32, {s.cell}, "biases");
  const FixedPoint scale = QuantizeMultiplier(ScaleOf(p, o.norm[at]));
  gate.norm = {p.in(o.norm[at]), p.in(o.bias[at]), static_cast<float>(std::ldexp(scale.multiplier, scale.shift - 31))};
  return gate;
}

int8_t ProjectionClip(const Prepare& p, float limit) {
  return static_cast<int8_t>(limit > 0 ? std::clamp(limit / p.output_affine(0).scale, -128.0f, 127.0f) : 0.0f);
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
  lstm.logistic = p.kernels().logistic_16;
  lstm.tanh = p.kernels().tanh_16;
  lstm.forward = options.forward;
  lstm.hidden_scale = QuantizeMultiplier(static_cast<float>(std::ldexp(1.0, -15) / hidden.scale * std::ldexp(1.0, -15)));
  lstm.hidden_zero_point = hidden.zero_point;
  lstm.state_zero_point = state.zero_point;
  lstm.cell_log_scale = scales.cell_log_scale;
  lstm.cell_clip =
      static_cast<int16_t>(options.cell_clip > 0 ? std::clamp(options.cell_clip / ScaleOf(p, o.cell_state), -32768.0f, 32767.0f) : 0.0f);
  lstm.projection_clip = ProjectionClip(p, options.projection_clip);
  if (p.has_input(o.projection)) {
    const float scale = ScaleOf(p, o.projection) * hidden.scale / state.scale;
    lstm.projection =
        MakeProduct(p, o.projection, o.projection_bias, s.sequences.rows, s.output, s.cell, hidden.zero_point, scale, "projection weights");
    lstm.hidden = p.Scratch(static_cast<size_t>(s.sequences.rows) * static_cast<size_t>(s.cell));
  }
  lstm.gate_values = p.Scratch(kGates * static_cast<size_t>(s.sequences.rows) * static_cast<size_t>(s.cell) * sizeof(int16_t));
  lstm.input = p.in(o.input);
  lstm.output = p.out(0);
  p.Emit(std::move(lstm));
}

void EmitRoundedLstmInt8(Prepare& p, const LstmOperands& o, const LstmOptions& options) {
  const LstmSizes s = ReadLstmSizes(p, o, options.time_major);
  const int32_t batch = s.sequences.count * s.sequences.rows;
  p.CheckOutputType(0, {TensorType::kInt8});
  p.CheckType(o.output_state, {TensorType::kInt8});
  p.Check(p.has_input(o.projection) && p.has_input(o.projection_bias), "it has twelve intermediate tensors and no projection with a bias");
  CheckOperand(p, o.projection, TensorType::kInt8, {s.output, s.cell}, "projection weights");
  CheckOperand(p, o.projection_bias, TensorType::kInt32, {s.output}, "biases");
  p.Check(ScaleOf(p, o.cell_state) == kUnitScale, "its cell state (input ", o.cell_state, ") has the scale ", ScaleOf(p, o.cell_state),
          ", expected 2^-15");
  RoundedLstm lstm{};
  lstm.sizes = s;
  lstm.output_state = StateSlot(p, o.output_state, TensorType::kInt8, {batch, s.output}, "output state");
  lstm.cell_state = StateSlot(p, o.cell_state, TensorType::kInt16, {batch, s.cell}, "cell state");
  for (int g = kForgetGate; g < kGates; ++g) lstm.gates[static_cast<size_t>(g)] = MakeRoundedGate(p, o, s, g);
  const Prepare::Affine state = p.affine(o.output_state);
  lstm.projection_scale = QuantizeMultiplier(static_cast<float>(ScaleOf(p, o.projection) * std::ldexp(1.0, -15) / state.scale));
  p.Check(lstm.projection_scale.shift < 15, "its projection (input ", o.projection, ") has the scale ", ScaleOf(p, o.projection));
  lstm.state_zero_point = state.zero_point;
  const float clip = options.cell_clip;
  lstm.cell_clip = static_cast<int16_t>(clip > 0 && clip < 1 ? clip / kUnitScale : 0);
  lstm.projection_clip = ProjectionClip(p, options.projection_clip);
  lstm.gate_values = p.Scratch(kGates * static_cast<size_t>(s.cell) * sizeof(int16_t));
  lstm.projection = p.in(o.projection);
  lstm.projection_bias = p.in(o.projection_bias);
  lstm.input = p.in(o.input);
  lstm.output = p.out(0);
  p.Emit(std::move(lstm));
}

}  // namespace sigrun::ops
