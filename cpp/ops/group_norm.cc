#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "ops/op.h"

// Normalisation of groups, which a pass makes of the operators that a file spells it with: (x - mean) / sqrt(variance + epsilon) over some
// axes, in another shape, times a scale and plus a shift that are one value or one a channel.
namespace sigrun::ops {
namespace {

// kNumbers are what weighs the sum and the sum of squares, 0 for one over their count, and epsilon; kChannelEnd is the dimension behind
// those that scale and shift go along. A kShape of 0 is that of x.
enum Input : int { kInput, kAxes, kShape, kScale, kShift, kNumbers, kChannelEnd, kInputs };

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

struct GroupNorm {
  Layout layout;
  std::vector<float> scale, shift;  // of the channels
  int64_t inner = 1;                // elements of a channel that follow one another
  float mean_weight, variance_weight, epsilon;
  Slot in, out;

  int64_t at(int64_t group, int64_t position) const {
    const int64_t n = group / layout.groups, g = group % layout.groups;
    return ((n * layout.positions + position) * layout.groups + g) * layout.depth;
  }

  // Sums of f(x) in double precision, side by side in as many lanes as let the compiler keep them in vectors.
  template <class F>
  double Sum(const float* x, int64_t group, const F& f) const {
    constexpr int64_t kLanes = 8;
    double sums[kLanes] = {};
    for (int64_t position = 0; position < layout.positions; ++position) {
      const float* row = x + at(group, position);
      int64_t i = 0;
      for (; i + kLanes <= layout.depth; i += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += f(row[i + lane]);
      }
      for (; i < layout.depth; ++i) sums[i % kLanes] += f(row[i]);
    }
    double total = 0;
    for (const double sum : sums) total += sum;
    return total;
  }

  void Normalise(const float* x, float* y, int64_t group) const {
    const float mean = static_cast<float>(Sum(x, group, [](float v) { return static_cast<double>(v); })) * mean_weight;
    const auto square = [mean](float v) { return static_cast<double>((v - mean) * (v - mean)); };
    const float factor = 1.0f / std::sqrt(static_cast<float>(Sum(x, group, square)) * variance_weight + epsilon);
    const int64_t channels = static_cast<int64_t>(scale.size());
    for (int64_t position = 0; position < layout.positions; ++position) {
      const int64_t first = at(group, position);
      if (inner == 1 && channels % layout.depth == 0) {
        const float *s = scale.data() + first % channels, *t = shift.data() + first % channels;
        for (int64_t i = 0; i < layout.depth; ++i) y[first + i] = (x[first + i] - mean) * factor * s[i] + t[i];
        continue;
      }
      for (int64_t i = first, end = first + layout.depth; i < end;) {
        const size_t channel = static_cast<size_t>(i / inner % channels);
        const float s = scale[channel], t = shift[channel];
        for (const int64_t stop = std::min(end, (i / inner + 1) * inner); i < stop; ++i) y[i] = (x[i] - mean) * factor * s + t;
      }
    }
  }

  // Groups side by side: columns of many positions, each of which has a number of its own.
  static constexpr int64_t kColumns = 256;
  struct Columns {
    double sum[kColumns];
    float mean[kColumns], scale[kColumns], shift[kColumns];
  };

  // Gives each column what its group has in sum.
  void JoinGroups(double* sum, int64_t count) const {
    for (int64_t first = 0; first < count; first += layout.depth) {
      double total = 0;
      for (int64_t i = 0; i < layout.depth; ++i) total += sum[first + i];
      std::fill_n(sum + first, layout.depth, total);
    }
  }

  void NormaliseColumns(const float* x, float* y, int64_t group, int64_t count) const {
    Columns c;
    const int64_t first = at(group, 0), step = layout.groups * layout.depth, end = first + layout.positions * step;
    std::fill_n(c.sum, count, 0.0);
    for (int64_t row = first; row < end; row += step) {
      for (int64_t i = 0; i < count; ++i) c.sum[i] += static_cast<double>(x[row + i]);
    }
    JoinGroups(c.sum, count);
    for (int64_t i = 0; i < count; ++i) c.mean[i] = static_cast<float>(c.sum[i]) * mean_weight;
    std::fill_n(c.sum, count, 0.0);
    for (int64_t row = first; row < end; row += step) {
      for (int64_t i = 0; i < count; ++i) c.sum[i] += static_cast<double>((x[row + i] - c.mean[i]) * (x[row + i] - c.mean[i]));
    }
    JoinGroups(c.sum, count);
    const int64_t channels = static_cast<int64_t>(scale.size());
    for (int64_t i = 0; i < count; ++i) {
      const size_t channel = static_cast<size_t>((first + i) % channels);
      c.scale[i] = scale[channel] / std::sqrt(static_cast<float>(c.sum[i]) * variance_weight + epsilon);
      c.shift[i] = shift[channel];
    }
    for (int64_t row = first; row < end; row += step) {
      for (int64_t i = 0; i < count; ++i) y[row + i] = (x[row + i] - c.mean[i]) * c.scale[i] + c.shift[i];
    }
  }

  void operator()(RunContext& run) const noexcept {
    const float* x = run.get<float>(in);
    float* y = run.get<float>(out);
    const bool by_columns = layout.positions > 1 && inner == 1 && layout.depth <= kColumns / 2 &&
                            layout.groups * layout.depth % static_cast<int64_t>(scale.size()) == 0;
    const int64_t most = by_columns ? kColumns / layout.depth : 1, blocks = (layout.groups + most - 1) / most;
    run.Parallel(static_cast<int32_t>(layout.outer * blocks), 4 * layout.positions * layout.depth * most, [&](kernels::Range range, int) {
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

// Scale or shift, one a channel.
std::vector<float> OneEach(const Prepare& p, int i, int64_t channels) {
  const float* values = p.constant_as<float>(i);
  p.Check(values != nullptr && (p.elements(i) == 1 || p.elements(i) == channels), "input ", i, " has the shape ", ToString(p.shape(i)));
  std::vector<float> each(values, values + p.elements(i));
  each.resize(static_cast<size_t>(channels), each[0]);
  return each;
}

void PrepareGroupNorm(Prepare& p) {
  p.CheckCounts(kInputs, kInputs, 1);
  for (const int i : {kInput, kScale, kShift, kNumbers}) p.CheckType(i, {TensorType::kFloat32});
  for (const int i : {kAxes, kShape, kChannelEnd}) p.CheckType(i, {TensorType::kInt32});
  p.CheckOutputType(0, {TensorType::kFloat32});
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
  GroupNorm norm{};
  norm.layout = *layout;
  norm.scale = OneEach(p, kScale, channels);
  norm.shift = OneEach(p, kShift, channels);
  for (size_t d = static_cast<size_t>(end[0]); d < output.size(); ++d) norm.inner *= output[d];
  const float one_of = 1.0f / static_cast<float>(layout->positions * layout->depth);
  norm.mean_weight = numbers[0] != 0.0f ? numbers[0] : one_of;
  norm.variance_weight = numbers[1] != 0.0f ? numbers[1] : one_of;
  norm.epsilon = numbers[2];
  p.MayOverwrite(0, kInput);
  norm.in = p.in(kInput);
  norm.out = p.out(0);
  p.Emit(std::move(norm));
}

constexpr OpDef kOps[] = {{.name = "sigrun.group_norm", .prepare = PrepareGroupNorm}};

}  // namespace

std::span<const OpDef> group_norm_ops() { return kOps; }

}  // namespace sigrun::ops
