#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "ops/op.h"
#include "ops/support/relied_on.h"

// Normalisation of groups, which a pass makes of the operators that a file spells it with: (x - mean) / sqrt(variance + epsilon) over some
// axes, in another shape, times a scale and plus a shift that are one value or one a channel.
namespace sigrun::ops {
namespace {

// kNumbers are what weighs the sum and the sum of squares, 0 for one over their count, and epsilon; kChannelEnd is the dimension behind
// those that scale and shift go along. A kShape of 0 is that of x. kReliedOn are the extents of x that the pass relied on, or -1.
enum Input : int { kInput, kAxes, kShape, kScale, kShift, kNumbers, kChannelEnd, kReliedOn, kInputs };

// x as [outer, positions, groups, depth]: a group is what positions and depth have of it.
struct Layout {
  int64_t outer = 1, positions = 1, groups = 1, depth = 1;
};

std::optional<Layout> LayoutOf(const Shape& shape, const std::vector<int32_t>& axes) {
  Layout layout;
  int64_t* const runs[] = {&layout.depth, &layout.groups, &layout.positions, &layout.outer};
  size_t run = 0;
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] == 1) continue;
    const bool reduced = std::ranges::find(axes, static_cast<int32_t>(d)) != axes.end();
    while (run < std::size(runs) && reduced != (run % 2 == 0)) ++run;
    if (run == std::size(runs)) return std::nullopt;
    *runs[run] *= shape[d];
  }
  return layout;
}

// The passes over runs of up to kColumns elements that stay in the nearest cache between the kernels.
struct Runs {
  static constexpr int64_t kColumns = 256;
  static constexpr int kMostAdded = 32;  // runs that are summed up in single precision before they join the sums in double
  using Binary = kernels::BinaryF32;
  static constexpr kernels::ClampF32 kNone = {};

  Binary subtract, multiply, add, squared_difference, subtract_value, multiply_value, add_value, squared_difference_of_value;
  decltype(kernels::Kernels::accumulate_f32) accumulate;
  decltype(kernels::Kernels::sum_f32) sum;

  explicit Runs(const kernels::Kernels& k) : accumulate(k.accumulate_f32), sum(k.sum_f32) {
    using enum kernels::Binary;
    constexpr auto kVectors = kernels::Operands::kVectorVector, kValue = kernels::Operands::kVectorScalar;
    subtract = k.binary(kSub, kVectors), subtract_value = k.binary(kSub, kValue);
    multiply = k.binary(kMul, kVectors), multiply_value = k.binary(kMul, kValue);
    add = k.binary(kAdd, kVectors), add_value = k.binary(kAdd, kValue);
    squared_difference = k.binary(kSquaredDifference, kVectors), squared_difference_of_value = k.binary(kSquaredDifference, kValue);
  }
};

struct GroupNorm {
  static constexpr int64_t kColumns = Runs::kColumns;
  GroupNorm(const kernels::Kernels& k, const Layout& l, int64_t c) : layout(l), runs(k), channels(c) {}

  Layout layout;
  Runs runs;
  std::vector<float> scale, shift;  // of the channels, again and again where they are fewer than the columns
  int64_t channels;
  int64_t inner = 1;  // elements of a channel that follow one another
  float mean_weight = 0, variance_weight = 0, epsilon = 0;
  Slot in = {}, out = {};

  int64_t at(int64_t group, int64_t position) const {
    const int64_t n = group / layout.groups, g = group % layout.groups;
    return ((n * layout.positions + position) * layout.groups + g) * layout.depth;
  }

  // The sum of what add(row, n, to) adds to the n columns of `to`.
  template <class F>
  double Sum(const float* x, int64_t group, const F& add) const {
    float part[kColumns] = {};
    double total = 0;
    int added = 0;
    const size_t used = static_cast<size_t>(std::min(kColumns, layout.depth));
    for (int64_t position = 0; position < layout.positions; ++position) {
      const float* row = x + at(group, position);
      for (int64_t i = 0; i < layout.depth; i += kColumns) {
        add(row + i, static_cast<size_t>(std::min(kColumns, layout.depth - i)), part);
        if (++added < Runs::kMostAdded) continue;
        total += static_cast<double>(runs.sum(part, used));
        std::fill_n(part, used, 0.0f);
        added = 0;
      }
    }
    return total + static_cast<double>(runs.sum(part, used));
  }

  void Normalise(const float* x, float* y, int64_t group) const {
    float row[kColumns];
    const double sum = Sum(x, group, [&](const float* v, size_t n, float* to) { runs.accumulate(v, to, n); });
    const float mean = static_cast<float>(sum) * mean_weight;
    const double squares = Sum(x, group, [&](const float* v, size_t n, float* to) {
      runs.squared_difference_of_value(v, &mean, row, n, Runs::kNone);
      runs.accumulate(row, to, n);
    });
    const float factor = 1.0f / std::sqrt(static_cast<float>(squares) * variance_weight + epsilon);
    const int64_t period = static_cast<int64_t>(scale.size());
    // Where the channels come again and again, each has one factor.
    float factors[2 * kColumns];
    const bool joined = inner == 1 && period <= 2 * kColumns && period <= layout.depth / 4;
    if (joined) runs.multiply_value(scale.data(), &factor, factors, scale.size(), Runs::kNone);
    const float* const scales = joined ? factors : scale.data();
    for (int64_t position = 0; position < layout.positions; ++position) {
      for (int64_t i = at(group, position), end = i + layout.depth; i < end;) {
        const int64_t first = inner == 1 ? i % period : i / inner % period, left = inner == 1 ? period - first : inner - i % inner;
        const size_t n = static_cast<size_t>(std::min({kColumns, end - i, left}));
        runs.subtract_value(x + i, &mean, row, n, Runs::kNone);
        if (!joined) runs.multiply_value(row, &factor, row, n, Runs::kNone);
        (inner == 1 ? runs.multiply : runs.multiply_value)(row, scales + first, row, n, Runs::kNone);
        (inner == 1 ? runs.add : runs.add_value)(row, shift.data() + first, y + i, n, Runs::kNone);
        i += static_cast<int64_t>(n);
      }
    }
  }

  // Groups side by side: columns of many positions, each of which has a number of its own.
  struct Columns {
    double sum[kColumns];
    float part[kColumns], mean[kColumns], scale[kColumns], shift[kColumns], row[kColumns];
  };

  // Gives each column what its group has in sum.
  void JoinGroups(double* sum, int64_t count) const {
    for (int64_t first = 0; first < count; first += layout.depth) {
      double total = 0;
      for (int64_t i = 0; i < layout.depth; ++i) total += sum[first + i];
      std::fill_n(sum + first, layout.depth, total);
    }
  }

  // The sums of what add(row) adds to c.part, group by group.
  template <class F>
  void SumColumns(Columns& c, const float* x, int64_t count, const F& add) const {
    std::fill_n(c.sum, count, 0.0);
    const int64_t step = layout.groups * layout.depth;
    for (int64_t begin = 0; begin < layout.positions; begin += Runs::kMostAdded) {
      std::fill_n(c.part, count, 0.0f);
      for (int64_t position = begin; position < std::min(layout.positions, begin + Runs::kMostAdded); ++position) add(x + position * step);
      for (int64_t i = 0; i < count; ++i) c.sum[i] += static_cast<double>(c.part[i]);
    }
    JoinGroups(c.sum, count);
  }

  void NormaliseColumns(const float* x, float* y, int64_t group, int64_t count) const {
    Columns c;
    const size_t n = static_cast<size_t>(count);
    const int64_t first = at(group, 0), step = layout.groups * layout.depth, end = first + layout.positions * step;
    SumColumns(c, x + first, count, [&](const float* row) { runs.accumulate(row, c.part, n); });
    for (int64_t i = 0; i < count; ++i) c.mean[i] = static_cast<float>(c.sum[i]) * mean_weight;
    SumColumns(c, x + first, count, [&](const float* row) {
      runs.squared_difference(row, c.mean, c.row, n, Runs::kNone);
      runs.accumulate(c.row, c.part, n);
    });
    for (int64_t i = 0; i < count; ++i) {
      const size_t channel = static_cast<size_t>((first + i) % channels);
      c.scale[i] = scale[channel] / std::sqrt(static_cast<float>(c.sum[i]) * variance_weight + epsilon);
      c.shift[i] = shift[channel];
    }
    for (int64_t row = first; row < end; row += step) {
      runs.subtract(x + row, c.mean, c.row, n, Runs::kNone);
      runs.multiply(c.row, c.scale, c.row, n, Runs::kNone);
      runs.add(c.row, c.shift, y + row, n, Runs::kNone);
    }
  }

  void operator()(RunContext& run) const noexcept {
    const float* x = run.get<float>(in);
    float* y = run.get<float>(out);
    const bool by_columns =
        layout.positions > 1 && inner == 1 && layout.depth <= kColumns / 2 && layout.groups * layout.depth % channels == 0;
    const int64_t most = by_columns ? kColumns / layout.depth : 1, blocks = (layout.groups + most - 1) / most;
    run.Parallel(static_cast<int32_t>(layout.outer * blocks), layout.positions * layout.depth * most, [&](kernels::Range range, int) {
      for (int64_t block = range.begin; block < range.end; ++block) {
        const int64_t first = block % blocks * most, group = block / blocks * layout.groups + first;
        if (by_columns) {
          NormaliseColumns(x, y, group, std::min(most, layout.groups - first) * layout.depth);
        } else {
          Normalise(x, y, group);
        }
      }
    });
  }
};

std::vector<int32_t> Integers(const Prepare& p, int i) {
  const int32_t* values = p.constant_as<int32_t>(i);
  p.Check(values != nullptr, "input ", i, " must be a constant");
  return {values, values + p.elements(i)};
}

// Scale or shift, one a channel, and the same again up to `period`.
std::vector<float> OneEach(const Prepare& p, int i, int64_t channels, int64_t period) {
  const float* values = p.constant_as<float>(i);
  p.Check(values != nullptr && (p.elements(i) == 1 || p.elements(i) == channels), "input ", i, " has the shape ", ToString(p.shape(i)));
  std::vector<float> each(values, values + p.elements(i));
  each.resize(static_cast<size_t>(channels), each[0]);
  while (each.size() < static_cast<size_t>(period)) each.push_back(each[each.size() - static_cast<size_t>(channels)]);
  return each;
}

void PrepareGroupNorm(Prepare& p) {
  p.CheckCounts(kInputs, kInputs, 1);
  for (const int i : {kInput, kScale, kShift, kNumbers}) p.CheckType(i, {TensorType::kFloat32});
  for (const int i : {kAxes, kShape, kChannelEnd, kReliedOn}) p.CheckType(i, {TensorType::kInt32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  CheckReliedOn(p, kInput, kReliedOn);
  const Shape& shape = p.shape(kInput);
  const std::vector<int32_t> made = Integers(p, kShape);
  const Shape output = made == std::vector<int32_t>{0} ? shape : Shape(made.begin(), made.end());
  int64_t count = 1;
  for (const int32_t extent : output) count *= extent;
  p.Check(count == p.elements(kInput) && count <= INT32_MAX, "an input of shape ", ToString(shape), " becomes ", ToString(output));
  p.SetShape(0, output);
  if (count == 0) return;
  const std::optional<Layout> layout = LayoutOf(shape, Integers(p, kAxes));
  p.Check(layout.has_value(), "an input of shape ", ToString(shape), " has no groups along its axes");
  const float* numbers = p.constant_as<float>(kNumbers);
  const std::vector<int32_t> end = Integers(p, kChannelEnd);
  p.Check(numbers != nullptr && p.elements(kNumbers) == 3 && end.size() == 1, "weights, epsilon and the channels' end must be constants");
  const int64_t channels = std::max(p.elements(kScale), p.elements(kShift));
  GroupNorm norm(p.kernels(), *layout, channels);
  for (size_t d = static_cast<size_t>(end[0]); d < output.size(); ++d) norm.inner *= output[d];
  const int64_t period = norm.inner > 1 ? channels : (Runs::kColumns + channels - 1) / channels * channels;
  norm.scale = OneEach(p, kScale, channels, period);
  norm.shift = OneEach(p, kShift, channels, period);
  const float one_of = 1.0f / static_cast<float>(layout->positions * layout->depth);
  norm.mean_weight = numbers[0] != 0.0f ? numbers[0] : one_of;
  norm.variance_weight = numbers[1] != 0.0f ? numbers[1] : one_of;
  norm.epsilon = numbers[2];
  p.MayOverwrite(0, kInput);
  norm.in = p.in(kInput);
  norm.out = p.out(0);
  p.Emit(std::move(norm));
}

constexpr OpDef kOps[] = {{.name = "sigrun.group_norm", .prepare = PrepareGroupNorm, .traits = kFlushesDenormals}};

}  // namespace

std::span<const OpDef> group_norm_ops() { return kOps; }

}  // namespace sigrun::ops
