#include <algorithm>

#include "ops/op.h"
#include "ops/support/recurrent.h"

// RNN, UNIDIRECTIONAL_SEQUENCE_RNN and BIDIRECTIONAL_SEQUENCE_RNN: state = output = activation(bias + W x + R state).
namespace sigrun::ops {
namespace {

/// The operands of one direction, as input numbers; -1 for none.
struct RnnOperands {
  int input = 0, weights = 1, recurrent_weights = 2, bias = 3, state = 4, aux = -1, aux_weights = -1;
};

struct RnnOptions {
  int8_t activation;
  bool time_major, asymmetric;
  bool forward = true;
};

// Products with the input come first, for all steps at once, and stand where the output will be unless it is shared with the other
// direction.
struct Rnn {
  Sequences sequences;
  int32_t input_size, aux_size, units;
  bool forward;
  RowProduct input_product, aux_product, recurrent_product;
  RowSource input_rows, aux_rows, state_rows;
  kernels::UnaryF32 activation;
  Slot input, aux, state, sums, output;
  int32_t output_stride, column;

  void operator()(RunContext& run) const noexcept {
    const int32_t total = sequences.total();
    float* sum = run.get<float>(sums);
    const RowSource::Rows x = input_rows.Take(run, run.get<float>(input), total);
    input_product.Run(run, x, total, sum, 0);
    if (aux_product) aux_product.Add(run, aux_rows.Take(run, run.get<float>(aux), total), total, sum, 0);
    for (int32_t sequence = 0; sequence < sequences.count; ++sequence) {
      float* last = run.get<float>(state) + static_cast<ptrdiff_t>(sequence) * sequences.rows * units;
      for (int32_t i = 0; i < sequences.steps; ++i) {
        const int32_t t = forward ? i : sequences.steps - 1 - i;
        Step(run, last, (static_cast<ptrdiff_t>(sequence) * sequences.steps + t) * sequences.rows);
      }
    }
  }

 private:
  void Step(const RunContext& run, float* last, ptrdiff_t row) const {
    float* sum = run.get<float>(sums) + row * units;
    const int32_t rows = sequences.rows, count = rows * units;
    recurrent_product.Add(run, state_rows.Take(run, last, rows), rows, sum, 0);
    if (activation != nullptr) activation(sum, sum, static_cast<size_t>(count));
    std::copy_n(sum, count, last);
    for (ptrdiff_t r = 0; r < rows; ++r) std::copy_n(sum + r * units, units, run.get<float>(output) + (row + r) * output_stride + column);
  }
};

int32_t Units(const Prepare& p, const RnnOperands& o) {
  p.Check(p.has_input(o.weights) && p.shape(o.weights).size() == 2 && p.shape(o.weights)[0] > 0, "its weights (input ", o.weights,
          ") are no matrix");
  return p.shape(o.weights)[0];
}

void EmitRnn(Prepare& p, const RnnOperands& o, const RnnOptions& options, int output, int32_t column) {
  p.CheckType(o.input, {TensorType::kFloat32});
  p.CheckOutputType(output, {TensorType::kFloat32});
  Rnn rnn{};
  const Sequences s = rnn.sequences = ReadSequences(p, o.input, options.time_major);
  const int32_t units = rnn.units = Units(p, o);
  const bool hybrid = p.type(o.weights) != TensorType::kFloat32;
  rnn.input_size = p.shape(o.input).back();
  rnn.forward = options.forward;
  rnn.activation = ActivationKernel(p, options.activation);
  rnn.input_product = RowProduct(p, o.weights, o.bias, s.total(), units, rnn.input_size, "weights");
  rnn.recurrent_product = RowProduct(p, o.recurrent_weights, -1, s.rows, units, units, "recurrent weights");
  rnn.input_rows = RowSource(p, s.total(), rnn.input_size, hybrid, options.asymmetric);
  rnn.state_rows = RowSource(p, s.rows, units, hybrid, options.asymmetric);
  if (o.aux >= 0) {
    p.CheckType(o.aux, {TensorType::kFloat32});
    rnn.aux_size = p.shape(o.aux).empty() ? 0 : p.shape(o.aux).back();
    p.Check(rnn.aux_size > 0 && p.elements(o.aux) == int64_t{s.total()} * rnn.aux_size, "its auxiliary input has the shape ",
            ToString(p.shape(o.aux)));
    rnn.aux_product = RowProduct(p, o.aux_weights, -1, s.total(), units, rnn.aux_size, "auxiliary weights");
    rnn.aux_rows = RowSource(p, s.total(), rnn.aux_size, hybrid, options.asymmetric);
    rnn.aux = p.in(o.aux);
  }
  rnn.input = p.in(o.input);
  rnn.state = StateSlot(p, o.state, TensorType::kFloat32, {s.count * s.rows, units}, "hidden state");
  rnn.sums = p.Scratch(static_cast<size_t>(s.total()) * static_cast<size_t>(units) * sizeof(float));
  rnn.output = p.out(output);
  rnn.output_stride = p.output_shape(output).back();
  rnn.column = column;
  p.Emit(std::move(rnn));
}

void PrepareOneDirection(Prepare& p, const RnnOptions& options) {
  p.CheckCounts(5, 5, 1);
  p.SetShape(0, OutputShape(p, 0, Units(p, {})));
  EmitRnn(p, {}, options, 0, 0);
}

void PrepareRnn(Prepare& p) {
  enum Field : int { kActivation, kAsymmetric };
  p.CheckCounts(5, 5, 1);
  p.Check(p.shape(0).size() == 2, "its input has the shape ", ToString(p.shape(0)));
  PrepareOneDirection(p, {p.options().Scalar<int8_t>(kActivation), true, p.options().Bool(kAsymmetric)});
}

void PrepareSequence(Prepare& p) {
  enum Field : int { kTimeMajor, kActivation, kAsymmetric };
  PrepareOneDirection(p, {p.options().Scalar<int8_t>(kActivation), p.options().Bool(kTimeMajor), p.options().Bool(kAsymmetric)});
}

void PrepareBidirectional(Prepare& p) {
  enum Field : int { kTimeMajor, kActivation, kMergeOutputs, kAsymmetric };
  constexpr int kAuxInput = 9, kForwardAuxWeights = 10, kBackwardAuxWeights = 11;
  p.Check(p.inputs() == 12, "it has ", p.inputs(), " inputs, expected 12");
  const bool merge = p.options().Bool(kMergeOutputs);
  p.Check(p.outputs() == (merge ? 1 : 2), "it has ", p.outputs(), " outputs");
  RnnOperands forward, backward{.weights = 5, .recurrent_weights = 6, .bias = 7, .state = 8};
  if (p.has_input(kAuxInput) && p.has_input(kForwardAuxWeights)) {
    forward.aux = backward.aux = kAuxInput;
    forward.aux_weights = kForwardAuxWeights;
    backward.aux_weights = kBackwardAuxWeights;
  } else if (p.has_input(kAuxInput)) {
    backward.input = kAuxInput;  // what the layer below has computed backwards
  }
  RnnOptions options{p.options().Scalar<int8_t>(kActivation), p.options().Bool(kTimeMajor), p.options().Bool(kAsymmetric)};
  const int32_t n = Units(p, forward), m = Units(p, backward);
  p.SetShape(0, OutputShape(p, 0, merge ? n + m : n));
  if (!merge) p.SetShape(1, OutputShape(p, backward.input, m));
  EmitRnn(p, forward, options, 0, 0);
  options.forward = false;
  EmitRnn(p, backward, options, merge ? 0 : 1, merge ? n : 0);
}

constexpr OpDef kOps[] = {
    {.name = "BIDIRECTIONAL_SEQUENCE_RNN", .prepare = PrepareBidirectional, .traits = kImpure | kFlushesDenormals},
    {.name = "RNN", .prepare = PrepareRnn, .traits = kImpure | kFlushesDenormals},
    {.name = "UNIDIRECTIONAL_SEQUENCE_RNN", .prepare = PrepareSequence, .traits = kImpure | kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> rnn_ops() { return kOps; }

}  // namespace sigrun::ops
