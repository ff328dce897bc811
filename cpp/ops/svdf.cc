#include <algorithm>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/fixed_point.h"
#include "ops/support/quantization.h"
#include "ops/support/recurrent.h"

// SVDF: a matrix [filters, input] gives each filter one number a step; the last `memory` of them, weighted by [filters, memory] and summed
// over the `rank` filters of a unit, are the output [batch, units].
namespace sigrun::ops {
namespace {

enum Input : int { kInput, kFeatureWeights, kTimeWeights, kBias, kState, kInputs };
enum Field : int { kRank, kActivation, kAsymmetric };

struct Sizes {
  int32_t batch, input, filters, units, rank, memory;
  int32_t rows() const { return batch * filters; }
};

Sizes ReadSizes(const Prepare& p) {
  p.Check(p.inputs() == kInputs && p.outputs() == 1, "it has ", p.inputs(), " inputs and ", p.outputs(), " outputs, expected 5 and 1");
  const Shape &input = p.shape(kInput), &feature = p.shape(kFeatureWeights), &time = p.shape(kTimeWeights);
  p.Check(input.size() == 2 && feature.size() == 2 && time.size() == 2, "operands of shapes ", ToString(input), ", ", ToString(feature),
          " and ", ToString(time));
  const int32_t rank = p.options().Scalar<int32_t>(kRank);
  p.Check(rank > 0 && feature[0] > 0 && feature[0] % rank == 0, feature[0], " filters of rank ", rank);
  p.Check(feature[1] == input[1] && time[0] == feature[0] && time[1] > 0 && input[1] > 0, "operands of shapes ", ToString(input), ", ",
          ToString(feature), " and ", ToString(time));
  p.Check(int64_t{input[0]} * feature[0] * time[1] <= INT32_MAX, "the state is too large");
  return {input[0], input[1], feature[0], feature[0] / rank, rank, time[1]};
}

// Each row of the state moves on by one number; the last is left to be written, and holds the first one of the next row.
template <class T>
void Shift(T* state, const Sizes& s) {
  std::copy(state + 1, state + ptrdiff_t{s.rows()} * s.memory, state);
}

// f(output element, unit, sum) for all elements; S is the type of the sums. Those of integers wrap, as LiteRT's do. The sizes are a copy
// that outputs, which may be bytes, do not change.
template <class S, class T, class F>
void ForUnits(Sizes s, const T* state, const T* weights, const F& f) {
  using Sum = std::conditional_t<std::is_integral_v<S>, uint32_t, S>;
  static_assert(sizeof(Sum) == sizeof(S));
  for (ptrdiff_t b = 0; b < s.batch; ++b) {
    for (ptrdiff_t unit = 0; unit < s.units; ++unit) {
      Sum sum = 0;
      for (ptrdiff_t filter = unit * s.rank; filter < (unit + 1) * s.rank; ++filter) {
        Sum dot = 0;
        const T *w = weights + filter * s.memory, *x = state + (b * s.filters + filter) * s.memory;
        for (ptrdiff_t i = 0; i < s.memory; ++i) dot += static_cast<Sum>(S{w[i]} * S{x[i]});
        sum += dot;
      }
      f(b * s.units + unit, unit, static_cast<S>(sum));
    }
  }
}

// As floats; 8-bit ones are read as int8.
Slot FloatTimeWeights(Prepare& p) {
  p.CheckType(kTimeWeights, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
  if (p.type(kTimeWeights) == TensorType::kFloat32) return p.in(kTimeWeights);
  const Slot floats = p.Scratch(static_cast<size_t>(p.elements(kTimeWeights)) * sizeof(float));
  p.Emit([=, dequantize = p.kernels().dequantize_i8, n = static_cast<size_t>(p.elements(kTimeWeights)),
          scale = p.affine(kTimeWeights).scale, weights = p.in(kTimeWeights)](RunContext& run) noexcept {
    dequantize(run.get<int8_t>(weights), run.get<float>(floats), n, scale, 0);
  });
  return floats;
}

void EmitFloat(Prepare& p, const Sizes& s) {
  p.CheckOutputType(0, {TensorType::kFloat32});
  const Slot time_weights = FloatTimeWeights(p);
  if (p.has_input(kBias)) CheckOperand(p, kBias, TensorType::kFloat32, {s.units}, "biases");
  const bool hybrid = p.type(kFeatureWeights) != TensorType::kFloat32;
  p.Emit([=, product = RowProduct(p, kFeatureWeights, -1, s.batch, s.filters, s.input, "feature weights"),
          rows = RowSource(p, s.batch, s.input, hybrid, p.options().Bool(kAsymmetric)),
          activation = ActivationKernel(p, p.options().Scalar<int8_t>(kActivation)),
          latest = p.Scratch(static_cast<size_t>(s.rows()) * sizeof(float)), input = p.in(kInput), bias = p.in(kBias),
          state = StateSlot(p, kState, TensorType::kFloat32, {s.batch, s.filters * s.memory}, "state"),
          output = p.out(0)](RunContext& run) noexcept {
    float *kept = run.get<float>(state), *last = run.get<float>(latest), *y = run.get<float>(output);
    const float* addend = run.get<float>(bias);
    product.Run(run, rows.Take(run, run.get<float>(input), s.batch), s.batch, last, 0);
    Shift(kept, s);
    for (ptrdiff_t row = 0; row < s.rows(); ++row) kept[(row + 1) * s.memory - 1] = last[row];
    ForUnits<float>(s, kept, run.get<const float>(time_weights),
                    [&](ptrdiff_t i, ptrdiff_t unit, float sum) { y[i] = sum + (addend != nullptr ? addend[unit] : 0.0f); });
    if (activation != nullptr) activation(y, y, static_cast<size_t>(s.batch) * static_cast<size_t>(s.units));
  });
}

// INT8 with INT16 time weights and state. The fused activation is passed over, as LiteRT does.
void EmitInt8(Prepare& p, const Sizes& s) {
  p.CheckOutputType(0, {TensorType::kInt8});
  CheckOperand(p, kTimeWeights, TensorType::kInt16, {s.filters, s.memory}, "time weights");
  if (p.has_input(kBias)) CheckOperand(p, kBias, TensorType::kInt32, {s.units}, "biases");
  const Prepare::Affine in = CheckedAffine(p, kInput), feature = p.affine(kFeatureWeights), time = p.affine(kTimeWeights),
                        out = p.output_affine(0);
  const Slot state = StateSlot(p, kState, TensorType::kInt16, {s.batch, s.filters * s.memory}, "state");
  const float state_scale = p.affine(kState).scale;
  const FixedPoint to_state = QuantizeMultiplier(in.scale * feature.scale / state_scale),
                   to_output = QuantizeMultiplier(state_scale * time.scale / out.scale);
  p.Emit([=, product = IntegerRowProduct(p, kFeatureWeights, s.batch, s.filters, s.input, in.zero_point, "feature weights"),
          sums = p.Scratch(static_cast<size_t>(s.rows()) * sizeof(int32_t)), input = p.in(kInput), weights = p.in(kTimeWeights),
          bias = p.in(kBias), output = p.out(0)](RunContext& run) noexcept {
    int16_t* kept = run.get<int16_t>(state);
    int32_t* latest = run.get<int32_t>(sums);
    product.Run(run, run.get<int8_t>(input), s.batch, latest, 0);
    Shift(kept, s);
    const FixedPoint state_factor = to_state, output_factor = to_output;
    const int32_t zero_point = out.zero_point, *addend = run.get<int32_t>(bias);
    for (ptrdiff_t row = 0, rows = s.rows(), memory = s.memory; row < rows; ++row) {
      const int32_t scaled = ScaleBy(latest[row], state_factor.multiplier, state_factor.shift);
      kept[(row + 1) * memory - 1] = static_cast<int16_t>(std::clamp(scaled, -32768, 32767));
    }
    int8_t* y = run.get<int8_t>(output);
    ForUnits<int32_t>(s, kept, run.get<const int16_t>(weights), [=](ptrdiff_t i, ptrdiff_t unit, int32_t sum) {
      if (addend != nullptr) sum = kernels::WrapAdd(sum, addend[unit]);
      const int32_t scaled = kernels::WrapAdd(ScaleBy(sum, output_factor.multiplier, output_factor.shift), zero_point);
      y[i] = static_cast<int8_t>(std::clamp(scaled, -128, 127));
    });
  });
}

void PrepareSvdf(Prepare& p) {
  const Sizes s = ReadSizes(p);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8});
  p.SetShape(0, {s.batch, s.units});
  return p.type(kInput) == TensorType::kInt8 ? EmitInt8(p, s) : EmitFloat(p, s);
}

constexpr OpDef kOps[] = {{.name = "SVDF", .prepare = PrepareSvdf, .traits = kImpure | kFlushesDenormals}};

}  // namespace

std::span<const OpDef> svdf_ops() { return kOps; }

}  // namespace sigrun::ops
