#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/common/fixed_point_16.h"
#include "ops/op.h"
#include "ops/support/lstm.h"
#include "ops/support/quantization.h"

// LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM.
namespace sigrun::ops {
namespace {

void CheckClips(const Prepare& p, const LstmOptions& options) {
  p.Check(options.cell_clip >= 0 && options.projection_clip >= 0, "clips ", options.cell_clip, " and ", options.projection_clip);
}

// --- one direction
// ------------------------------------------------------------------------------------------------------------------------

LstmOperands OneDirection(const Prepare& p) {
  LstmOperands o;
  o.input_weights = {1, 2, 3, 4};
  o.recurrent_weights = {5, 6, 7, 8};
  o.peephole = {9, 10, -1, 11};
  o.bias = {12, 13, 14, 15};
  o.projection = 16;
  o.projection_bias = 17;
  o.output_state = 18;
  o.cell_state = 19;
  if (p.inputs() > 20) o.norm = {20, 21, 22, 23};
  return o;
}

// `rounds` is whether products may be rounded to int8, as LSTM's may be.
void PrepareOneDirection(Prepare& p, const LstmOptions& options, bool rounds) {
  p.Check(p.inputs() == 20 || p.inputs() == 24, "it has ", p.inputs(), " inputs, expected 20 or 24");
  p.Check(p.outputs() == 1, "it has ", p.outputs(), " outputs, expected 1");
  CheckClips(p, options);
  const LstmOperands operands = OneDirection(p);
  p.SetShape(0, OutputShape(p, 0, ReadLstmSizes(p, operands, options.time_major).output));
  p.CheckType(0, {TensorType::kFloat32, TensorType::kInt8});
  if (p.type(0) == TensorType::kFloat32) return EmitLstmFloat(p, operands, options, 0, 0);
  const size_t intermediates = p.node().intermediates.size();
  if (intermediates == 12 && rounds) return EmitRoundedLstmInt8(p, operands, options);
  if (intermediates != 5) {
    p.Refuse(StatusCode::kUnimplemented,
             Concat("INT8 with ", intermediates, " intermediate tensors, supported here: ", rounds ? "5 and 12" : "5"));
  }
  EmitLstmInt8(p, operands, options);
}

void PrepareUnidirectional(Prepare& p) {
  enum Field : int { kActivation, kCellClip, kProjectionClip, kTimeMajor, kAsymmetric };
  const auto& f = p.options();
  PrepareOneDirection(p,
                      {.activation = f.Scalar<int8_t>(kActivation),
                       .cell_clip = f.Scalar<float>(kCellClip),
                       .projection_clip = f.Scalar<float>(kProjectionClip),
                       .time_major = f.Bool(kTimeMajor),
                       .asymmetric = f.Bool(kAsymmetric)},
                      false);
}

// --- the basic LSTM: one product over input and state, side by side
// -----------------------------------------------------------------------

enum BasicInput : int { kInput, kLastOutput, kWeights, kBias, kLastState, kBasicInputs };
enum BasicOutput : int { kOutput, kState, kConcatenated, kActivations, kBasicOutputs };

struct BasicSizes {
  int32_t batch, input, cells;
  int32_t both() const { return input + cells; }
};

// The gates of one row: input, new input, forget, output.
constexpr int32_t kBasicBlock = 64;  // cells at a time
template <class T>
using BasicBlock = std::array<T, kBasicBlock>;

void BasicCells(const kernels::Kernels& k, const float* gates, const float* last, float* state, float* output, int32_t n) {
  const kernels::UnaryF32 logistic = k.unary_f32[static_cast<size_t>(kernels::Unary::kLogistic)];
  const kernels::UnaryF32 tanh = k.unary_f32[static_cast<size_t>(kernels::Unary::kTanh)];
  BasicBlock<float> input, fresh, forget, out;
  for (int32_t first = 0; first < n; first += kBasicBlock) {
    const size_t count = static_cast<size_t>(std::min(n - first, kBasicBlock));
    logistic(gates + first, input.data(), count);
    tanh(gates + n + first, fresh.data(), count);
    logistic(gates + 2 * n + first, forget.data(), count);
    logistic(gates + 3 * n + first, out.data(), count);
    for (size_t i = 0; i < count; ++i) state[i] = input[i] * fresh[i] + forget[i] * last[i];
    tanh(state, fresh.data(), count);
    for (size_t i = 0; i < count; ++i) output[i] = out[i] * fresh[i];
    last += count;
    state += count;
    output += count;
  }
}

namespace fixed16 = kernels::fixed16;

void BasicCells(const kernels::Kernels& k, const int16_t* gates, const int16_t* last, int16_t* state, uint8_t* output, int32_t n) {
  constexpr int kGateBits = 3, kStateBits = 4;
  BasicBlock<int16_t> input, fresh, forget, out;
  for (int32_t first = 0; first < n; first += kBasicBlock) {
    const size_t count = static_cast<size_t>(std::min(n - first, kBasicBlock));
    k.logistic_16(gates + first, input.data(), count, kGateBits);
    k.tanh_16(gates + n + first, fresh.data(), count, kGateBits);
    k.logistic_16(gates + 2 * n + first, forget.data(), count, kGateBits);
    k.logistic_16(gates + 3 * n + first, out.data(), count, kGateBits);
    for (size_t i = 0; i < count; ++i) {
      const int16_t added = fixed16::Multiply(input[i], fresh[i]);
      state[i] = fixed16::Saturate(fixed16::ShiftRight(added, kStateBits) + fixed16::Multiply(forget[i], last[i]));
    }
    k.tanh_16(state, fresh.data(), count, kStateBits);
    for (size_t i = 0; i < count; ++i) {
      const int16_t y = fixed16::Multiply(out[i], fresh[i]);
      output[i] = static_cast<uint8_t>(128 + std::clamp<int>(fixed16::ShiftRight(y, 8), -128, 127));
    }
    last += count;
    state += count;
    output += count;
  }
}

// What T is to a cell: the type of its activations, and that of its state.
template <class T, class S>
struct BasicStep {
  BasicSizes s;
  const kernels::Kernels* k;
  Slot input, last_output, last_state, output, state, concatenated, activations;
  bool keeps;  // output and state for the next call; else the caller hands them on

  void Concatenate(const RunContext& run) const {
    const T *x = run.get<T>(input), *last = run.get<T>(last_output);
    T* to = run.get<T>(concatenated);
    for (int32_t b = 0; b < s.batch; ++b, x += s.input, last += s.cells) to = std::copy_n(last, s.cells, std::copy_n(x, s.input, to));
  }
  void Finish(const RunContext& run) const {
    for (ptrdiff_t b = 0; b < s.batch; ++b) {
      const ptrdiff_t at = b * s.cells;
      BasicCells(*k, run.get<S>(activations) + 4 * at, run.get<S>(last_state) + at, run.get<S>(state) + at, run.get<T>(output) + at,
                 s.cells);
    }
    const size_t count = static_cast<size_t>(s.batch) * static_cast<size_t>(s.cells);
    if (keeps) std::memcpy(run.get<T>(last_output), run.get<T>(output), count * sizeof(T));
    if (keeps) std::memcpy(run.get<S>(last_state), run.get<S>(state), count * sizeof(S));
  }
};

template <class T, class S>
BasicStep<T, S> MakeBasicStep(Prepare& p, const BasicSizes& s, TensorType type, TensorType state) {
  p.CheckOutputType(kOutput, {type});
  p.CheckOutputType(kState, {state});
  p.CheckOutputType(kConcatenated, {type});
  p.CheckOutputType(kActivations, {state});
  CheckOperand(p, kLastOutput, type, {s.batch, s.cells}, "last outputs");
  CheckOperand(p, kLastState, state, {s.batch, s.cells}, "last states");
  return {s,
          &p.kernels(),
          p.in(kInput),
          p.in(kLastOutput),
          p.in(kLastState),
          p.out(kOutput),
          p.out(kState),
          p.out(kConcatenated),
          p.out(kActivations),
          p.is_variable(kLastOutput) && p.is_variable(kLastState)};
}

void EmitBasicFloat(Prepare& p, const BasicSizes& s) {
  p.Emit([step = MakeBasicStep<float, float>(p, s, TensorType::kFloat32, TensorType::kFloat32),
          rows = RowSource(p, s.batch, s.both(), false, false),
          product = RowProduct(p, kWeights, kBias, s.batch, 4 * s.cells, s.both(), "weights")](RunContext& run) noexcept {
    step.Concatenate(run);
    product.Run(run, rows.Take(run, run.get<float>(step.concatenated), step.s.batch), step.s.batch, run.get<float>(step.activations), 0);
    step.Finish(run);
  });
}

// The sums of this product LiteRT rounds halves up, not away from zero.
int16_t ScaleHalvesUp(int32_t x, const FixedPoint& scale) {
  const int left = std::clamp(scale.shift, 0, 31), right = std::clamp(-scale.shift, 0, 31);
  const int64_t product = kernels::SaturatingRoundingDoublingHighMul(kernels::WrapShiftLeft(x, left), scale.multiplier);
  return static_cast<int16_t>(std::clamp<int64_t>((product + ((int64_t{1} << right) >> 1)) >> right, -32768, 32767));
}

void EmitBasicUInt8(Prepare& p, const BasicSizes& s) {
  CheckOperand(p, kWeights, TensorType::kUInt8, {4 * s.cells, s.both()}, "weights");
  CheckOperand(p, kBias, TensorType::kInt32, {4 * s.cells}, "biases");
  const auto near = [](float x, double y) { return std::abs(x / y - 1) < 1e-3; };
  p.Check(near(p.output_affine(kState).scale, 1.0 / 2048), "its state has the scale ", p.output_affine(kState).scale, ", expected 2^-11");
  const FixedPoint scale = QuantizeMultiplier(4096 * static_cast<double>(p.affine(kBias).scale));
  p.Emit([step = MakeBasicStep<uint8_t, int16_t>(p, s, TensorType::kUInt8, TensorType::kInt16), scale, zero = p.affine(kWeights).zero_point,
          weights = p.in(kWeights), biases = p.in(kBias)](RunContext& run) noexcept {
    step.Concatenate(run);
    const int32_t n = 4 * step.s.cells, k = step.s.both();
    for (ptrdiff_t b = 0; b < step.s.batch; ++b) {
      const uint8_t *x = run.get<uint8_t>(step.concatenated) + b * k, *w = run.get<uint8_t>(weights);
      for (int32_t row = 0; row < n; ++row, w += k) {
        int32_t sum = run.get<int32_t>(biases)[row];
        for (int32_t i = 0; i < k; ++i) sum += (int32_t{x[i]} - 128) * (int32_t{w[i]} - zero);
        run.get<int16_t>(step.activations)[b * n + row] = ScaleHalvesUp(sum, scale);
      }
    }
    step.Finish(run);
  });
}

void PrepareBasic(Prepare& p, const LstmOptions& options) {
  p.CheckCounts(kBasicInputs, kBasicInputs, kBasicOutputs);
  p.Check(static_cast<schema::Activation>(options.activation) == schema::Activation::kTanh && options.cell_clip == 0 &&
              options.projection_clip == 0,
          "the basic kernel with activation ", int{options.activation}, " and clips ", options.cell_clip, " and ", options.projection_clip);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kUInt8});
  p.Check(p.shape(kInput).size() >= 2 && p.shape(kLastOutput).size() == 2, "its input has the shape ", ToString(p.shape(kInput)));
  BasicSizes s{};
  s.input = p.shape(kInput).back();
  s.cells = p.shape(kLastOutput)[1];
  p.Check(s.input > 0 && s.cells > 0 && p.elements(kInput) / s.input <= INT32_MAX / (4 * s.cells), "its input has the shape ",
          ToString(p.shape(kInput)));
  s.batch = static_cast<int32_t>(p.elements(kInput) / s.input);
  p.SetShape(kOutput, {s.batch, s.cells});
  p.SetShape(kState, {s.batch, s.cells});
  p.SetShape(kConcatenated, {s.batch, s.both()});
  p.SetShape(kActivations, {s.batch, 4 * s.cells});
  return p.type(kInput) == TensorType::kFloat32 ? EmitBasicFloat(p, s) : EmitBasicUInt8(p, s);
}

void PrepareLstm(Prepare& p) {
  enum Field : int { kActivation, kCellClip, kProjectionClip, kKernel, kAsymmetric };
  const auto& f = p.options();
  const LstmOptions options{.activation = f.Scalar<int8_t>(kActivation),
                            .cell_clip = f.Scalar<float>(kCellClip),
                            .projection_clip = f.Scalar<float>(kProjectionClip),
                            .asymmetric = f.Bool(kAsymmetric)};
  return f.Scalar<int8_t>(kKernel) == 1 ? PrepareBasic(p, options) : PrepareOneDirection(p, options, true);
}

// --- two directions
// -----------------------------------------------------------------------------------------------------------------------

constexpr int kAuxInput = 39;

std::array<int, kGates> From(int first) { return {first, first + 1, first + 2, first + 3}; }

LstmOperands Direction(const Prepare& p, bool forward) {
  const int first = forward ? 1 : 18, aux = forward ? 40 : 44;
  LstmOperands o;
  o.input_weights = From(first);
  o.recurrent_weights = From(first + 4);
  o.peephole = {first + 8, first + 9, -1, first + 10};
  o.bias = From(first + 11);
  o.projection = first + 15;
  o.projection_bias = first + 16;
  o.output_state = forward ? 35 : 37;
  o.cell_state = o.output_state + 1;
  if (p.has_input(kAuxInput) && p.has_input(aux + kForgetGate)) {
    o.aux = kAuxInput;
    o.aux_weights = From(aux);
  } else if (p.has_input(kAuxInput) && !forward) {
    o.input = kAuxInput;  // what the layer below has computed backwards
  }
  return o;
}

void PrepareBidirectional(Prepare& p) {
  enum Field : int { kActivation, kCellClip, kProjectionClip, kMergeOutputs, kTimeMajor, kAsymmetric };
  const auto& f = p.options();
  LstmOptions options{.activation = f.Scalar<int8_t>(kActivation),
                      .cell_clip = f.Scalar<float>(kCellClip),
                      .projection_clip = f.Scalar<float>(kProjectionClip),
                      .time_major = f.Bool(kTimeMajor, true),
                      .asymmetric = f.Bool(kAsymmetric)};
  const bool merge = f.Bool(kMergeOutputs);
  p.Check(p.inputs() == 48, "it has ", p.inputs(), " inputs, expected 48");
  p.Check(p.outputs() == (merge ? 1 : 2), "it has ", p.outputs(), " outputs");
  p.CheckType(0, {TensorType::kFloat32});
  CheckClips(p, options);
  const LstmOperands forward = Direction(p, true), backward = Direction(p, false);
  const int32_t n = ReadLstmSizes(p, forward, options.time_major).output, m = ReadLstmSizes(p, backward, options.time_major).output;
  p.SetShape(0, OutputShape(p, 0, merge ? n + m : n));
  if (!merge) p.SetShape(1, OutputShape(p, backward.input, m));
  EmitLstmFloat(p, forward, options, 0, 0);
  options.forward = false;
  EmitLstmFloat(p, backward, options, merge ? 0 : 1, merge ? n : 0);
}

constexpr OpDef kOps[] = {
    {.name = "BIDIRECTIONAL_SEQUENCE_LSTM", .prepare = PrepareBidirectional, .traits = kImpure | kFlushesDenormals},
    {.name = "LSTM", .prepare = PrepareLstm, .traits = kImpure | kFlushesDenormals},
    {.name = "UNIDIRECTIONAL_SEQUENCE_LSTM", .prepare = PrepareUnidirectional, .traits = kImpure | kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> lstm_ops() { return kOps; }

}  // namespace sigrun::ops
