#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/op.h"
#include "ops/support/integer.h"
#include "ops/support/strided_copy.h"

// Operators about shapes: SHAPE, RANK, ZEROS_LIKE, FILL, RANGE, TILE, BROADCAST_TO.
namespace sigrun::ops {
namespace {

// Emits a step that writes numbers which are known while planning.
template <class T>
void EmitKnown(Prepare& p, std::vector<T> values) {
  p.Emit([values = std::move(values), y = p.out(0)](RunContext& run) noexcept {
    CopyElements(values.data(), run.get<T>(y), static_cast<int64_t>(values.size()));
  });
}

void PrepareShape(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kInt32, TensorType::kInt64});
  const Shape& shape = p.shape(0);
  p.SetShape(0, {static_cast<int32_t>(shape.size())});
  if (p.output_type(0) == TensorType::kInt64) return EmitKnown(p, std::vector<int64_t>(shape.begin(), shape.end()));
  EmitKnown(p, shape);
}

void PrepareRank(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kInt32});
  p.SetShape(0, {});
  EmitKnown(p, std::vector<int32_t>{static_cast<int32_t>(p.shape(0).size())});
}

void PrepareZerosLike(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
  p.Check(TensorTypeBits(p.type(0)) > 0, "an input of type ", TensorTypeName(p.type(0)));
  p.Emit([bytes = BytesOf(p.type(0), p.elements(0)), y = p.out(0)](RunContext& run) noexcept {
    if (bytes > 0) std::memset(run.get<std::byte>(y), 0, bytes);
  });
}

Shape ConstantShape(const Prepare& p, int i) {
  Shape shape;
  for (const int64_t d : p.ConstantInts(i, "shape")) {
    p.Check(d >= 0 && d <= INT32_MAX, "dimension ", d, " in the shape");
    shape.push_back(static_cast<int32_t>(d));
  }
  return shape;
}

void PrepareFill(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(1)});
  p.Check(p.elements(1) == 1, "the value has ", p.elements(1), " elements, expected 1");
  p.SetShape(0, ConstantShape(p, 0));
  WithElement(p, p.type(1), [&]<class T>(std::type_identity<T>) {
    p.Emit([n = p.output_elements(0), x = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      const T* value = Elements<const T>(run, x);
      T* to = Elements<T>(run, y);
      ForElements(run, n, 1, [&](int64_t begin, int64_t count) { std::fill_n(to + begin, count, *value); });
    });
  });
}

// --- RANGE ---

template <class T>
int64_t RangeCount(const Prepare& p, T start, T limit, T delta) {
  p.Check(delta != 0, "delta is 0");
  p.Check(delta > 0 ? start <= limit : start >= limit, "start ", start, ", limit ", limit, " and delta ", delta, " never meet");
  // Floats as LiteRT counts them, where a quotient of doubles may lie on the other side of a whole number.
  using Real = std::conditional_t<std::is_integral_v<T>, double, T>;
  const Real count = std::ceil(std::abs((static_cast<Real>(limit) - static_cast<Real>(start)) / static_cast<Real>(delta)));
  p.Check(static_cast<double>(count) <= INT32_MAX, "the range has ", count, " elements");
  if constexpr (std::is_integral_v<T>) {
    // Exact where doubles are not.
    const uint64_t span = delta > 0 ? static_cast<uint64_t>(limit) - static_cast<uint64_t>(start)
                                    : static_cast<uint64_t>(start) - static_cast<uint64_t>(limit);
    const uint64_t step = delta > 0 ? static_cast<uint64_t>(delta) : uint64_t{0} - static_cast<uint64_t>(delta);
    return static_cast<int64_t>(span / step + (span % step != 0 ? 1 : 0));
  } else {
    return static_cast<int64_t>(count);
  }
}

template <class T>
void EmitRange(Prepare& p) {
  T bounds[3];
  for (int i = 0; i < 3; ++i) {
    std::memcpy(&bounds[i], p.Known(i), sizeof(T));
  }
  if constexpr (std::is_floating_point_v<T>) {
    for (const T b : bounds) p.Check(std::isfinite(b), "a bound is ", b);
  }
  const int64_t count = RangeCount(p, bounds[0], bounds[1], bounds[2]);
  p.SetShape(0, {static_cast<int32_t>(count)});
  p.Emit([count, start = bounds[0], delta = bounds[2], y = p.out(0)](RunContext& run) noexcept {
    T* to = run.get<T>(y);
    T value = start;
    for (int64_t i = 0; i < count; ++i) {
      to[i] = value;
      if constexpr (std::is_integral_v<T>) {
        value = WrappingAdd(value, delta);
      } else {
        value += delta;
      }
    }
  });
}

void PrepareRange(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(0)});
  for (int i = 0; i < 3; ++i) {
    p.CheckType(i, {p.type(0)});
    p.Check(p.elements(i) == 1, "input ", i, " has ", p.elements(i), " elements, expected 1");
  }
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitRange<float>(p);
    case TensorType::kInt32: return EmitRange<int32_t>(p);
    case TensorType::kInt64: return EmitRange<int64_t>(p);
    default: p.Refuse(StatusCode::kUnimplemented, Concat("a range of type ", TensorTypeName(p.type(0))));
  }
}

// --- TILE, BROADCAST_TO: copies that stand still along some dimensions of the output ---

void PrepareTile(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  const Shape multiples = ConstantShape(p, 1);
  p.Check(multiples.size() == input.size(), multiples.size(), " multiples for an input of rank ", input.size());
  Shape shape;
  for (size_t d = 0; d < input.size(); ++d) {
    const int64_t size = int64_t{input[d]} * multiples[d];
    p.Check(size <= INT32_MAX, "dimension ", d, " of the output would be ", size);
    shape.push_back(static_cast<int32_t>(size));
  }
  p.SetShape(0, shape);
  const std::vector<int64_t> from = DenseStrides(input), to = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < input.size(); ++d) {
    loops.push_back({multiples[d], 0, to[d] * input[d]});
    loops.push_back({input[d], from[d], to[d]});
  }
  if (shape == input) return p.Alias(0, 0);
  EmitCopy(p, 0, 0, PlanCopy(p, loops));
}

void PrepareBroadcastTo(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  const Shape shape = ConstantShape(p, 1);
  p.Check(shape.size() >= input.size(), "the input ", ToString(input), " does not broadcast to ", ToString(shape));
  p.SetShape(0, shape);
  const std::vector<int64_t> from = DenseStrides(input), to = DenseStrides(shape);
  const size_t added = shape.size() - input.size();
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < shape.size(); ++d) {
    const bool moves = d >= added && input[d - added] != 1;
    p.Check(!moves || input[d - added] == shape[d], "the input ", ToString(input), " does not broadcast to ", ToString(shape));
    loops.push_back({shape[d], moves ? from[d - added] : 0, to[d]});
  }
  if (p.output_elements(0) == p.elements(0)) return p.Alias(0, 0);
  EmitCopy(p, 0, 0, PlanCopy(p, loops));
}

constexpr OpDef kOps[] = {
    {.name = "SHAPE", .prepare = PrepareShape, .traits = kReadsShapes},
    {.name = "RANK", .prepare = PrepareRank, .traits = kReadsShapes},
    {.name = "ZEROS_LIKE", .prepare = PrepareZerosLike},
    {.name = "FILL", .prepare = PrepareFill},
    {.name = "RANGE", .prepare = PrepareRange},
    {.name = "TILE", .prepare = PrepareTile},
    {.name = "BROADCAST_TO", .prepare = PrepareBroadcastTo},
};

}  // namespace

std::span<const OpDef> shape_ops() { return kOps; }

}  // namespace sigrun::ops
