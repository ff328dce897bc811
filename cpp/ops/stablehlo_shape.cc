#include <algorithm>
#include <vector>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/elements.h"
#include "ops/support/ints.h"
#include "ops/support/strided_copy.h"

// STABLEHLO_* operators that move elements: BROADCAST_IN_DIM, CONCATENATE, PAD, RESHAPE, SLICE, TRANSPOSE; and IOTA, which counts.
namespace sigrun::ops {
namespace {

void CheckOneInput(const Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
}

/// The output's shape, which only the file says.
Shape StoredShape(const Prepare& p) {
  const Shape& shape = p.model_shape(0);
  for (const int32_t d : shape) p.Check(d >= 0, "its output ", ToString(shape), " has a dimension that is not known");
  return shape;
}

void PrepareReshape(Prepare& p) {
  CheckOneInput(p);
  p.SetShape(0, StoredShape(p));
  p.Alias(0, 0);
}

void PrepareBroadcastInDim(Prepare& p) {
  CheckOneInput(p);
  const Shape& input = p.shape(0);
  const Shape shape = StoredShape(p);
  const std::vector<int64_t> map = OptionInts(p.options_2(), 0, "broadcast_dimensions");
  p.Check(map.size() == input.size(), map.size(), " broadcast dimensions for an input of rank ", input.size());
  p.SetShape(0, shape);
  const std::vector<int64_t> from = DenseStrides(input), to = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < shape.size(); ++d) loops.push_back({shape[d], 0, to[d]});
  for (size_t d = 0; d < input.size(); ++d) {
    p.Check(map[d] >= 0 && map[d] < static_cast<int64_t>(shape.size()) && std::count(map.begin(), map.end(), map[d]) == 1,
            "broadcast dimension ", map[d], " of ", shape.size());
    const size_t at = static_cast<size_t>(map[d]);
    p.Check(input[d] == 1 || input[d] == shape[at], "the input ", ToString(input), " does not broadcast to ", ToString(shape));
    if (input[d] != 1) loops[at].from = from[d];
  }
  EmitCopy(p, 0, 0, PlanCopy(p, loops));
}

void PrepareConcatenate(Prepare& p) {
  p.Check(p.inputs() >= 1, "it has no inputs");
  p.CheckCounts(p.inputs(), p.inputs(), 1);
  p.CheckOutputType(0, {p.type(0)});
  Shape shape = p.shape(0);
  const size_t axis = ResolveAxis(p, p.options_2().Scalar<int64_t>(0), shape.size());
  int64_t extent = 0;
  for (int i = 0; i < p.inputs(); ++i) {
    p.CheckType(i, {p.type(0)});
    Shape other = p.shape(i);
    p.Check(other.size() == shape.size(), "inputs ", ToString(shape), " and ", ToString(other));
    extent += other[axis];
    other[axis] = shape[axis];
    p.Check(other == shape, "inputs ", ToString(p.shape(0)), " and ", ToString(p.shape(i)), " differ beside dimension ", axis);
  }
  p.Check(extent <= INT32_MAX, "dimension ", axis, " of the output would be ", extent);
  shape[axis] = static_cast<int32_t>(extent);
  p.SetShape(0, shape);
  const int64_t outer = Product(shape, 0, axis), inner = Product(shape, axis + 1, shape.size());
  int64_t begin = 0;
  for (int i = 0; i < p.inputs(); ++i) {
    const int64_t part = p.shape(i)[axis] * inner;
    const CopyLoop loops[] = {{outer, part, extent * inner}, {part, 1, 1}};
    EmitCopy(p, i, 0, PlanCopy(p, loops, 0, begin));
    begin += part;
  }
}

void PrepareSlice(Prepare& p) {
  enum Field : int { kStart, kLimit, kStrides };
  CheckOneInput(p);
  const Shape& input = p.shape(0);
  const std::vector<int64_t> start = OptionInts(p, p.options_2(), kStart, "start_indices", input.size(), 0),
                             limit = OptionInts(p, p.options_2(), kLimit, "limit_indices", input.size(), 0),
                             step = OptionInts(p, p.options_2(), kStrides, "strides", input.size(), 1);
  const std::vector<int64_t> from = DenseStrides(input);
  Shape shape;
  int64_t first = 0;
  for (size_t d = 0; d < input.size(); ++d) {
    p.Check(start[d] >= 0 && start[d] <= limit[d] && limit[d] <= input[d] && step[d] >= 1, "elements ", start[d], " to ", limit[d],
            " in steps of ", step[d], " of a dimension of ", input[d]);
    shape.push_back(limit[d] == start[d] ? 0 : static_cast<int32_t>((limit[d] - start[d] - 1) / step[d] + 1));
    first += start[d] * from[d];
  }
  p.SetShape(0, shape);
  const std::vector<int64_t> to = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < input.size(); ++d) loops.push_back({shape[d], shape[d] > 1 ? from[d] * step[d] : from[d], to[d]});
  EmitCopy(p, 0, 0, PlanCopy(p, loops, first));
}

void PrepareTranspose(Prepare& p) {
  CheckOneInput(p);
  const Shape& input = p.shape(0);
  const std::vector<int64_t> order = OptionInts(p.options_2(), 0, "permutation");
  p.Check(order.size() == input.size(), order.size(), " dimensions for an input of rank ", input.size());
  const std::vector<int64_t> from = DenseStrides(input);
  Shape shape;
  for (const int64_t d : order) {
    p.Check(d >= 0 && d < static_cast<int64_t>(input.size()) && std::count(order.begin(), order.end(), d) == 1, "dimension ", d,
            " in the permutation");
    shape.push_back(input[static_cast<size_t>(d)]);
  }
  p.SetShape(0, shape);
  const std::vector<int64_t> to = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < shape.size(); ++d) loops.push_back({shape[d], from[static_cast<size_t>(order[d])], to[d]});
  EmitCopy(p, 0, 0, PlanCopy(p, loops));
}

// Elements are drawn apart by the interior padding; a padding below zero takes elements away.
void PreparePad(Prepare& p) {
  enum Field : int { kLow, kHigh, kInterior };
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  p.Check(p.elements(1) == 1, "the padding value has shape ", ToString(p.shape(1)));
  const Shape& input = p.shape(0);
  const std::vector<int64_t> low = OptionInts(p, p.options_2(), kLow, "edge_padding_low", input.size(), 0),
                             high = OptionInts(p, p.options_2(), kHigh, "edge_padding_high", input.size(), 0),
                             interior = OptionInts(p, p.options_2(), kInterior, "interior_padding", input.size(), 0);
  CheckRange(p, low, INT32_MIN, INT32_MAX, "a padding");
  CheckRange(p, high, INT32_MIN, INT32_MAX, "a padding");
  CheckRange(p, interior, 0, INT32_MAX, "an interior padding");
  Shape shape;
  for (size_t d = 0; d < input.size(); ++d) {
    const int64_t size = std::max<int64_t>(0, (input[d] == 0 ? 0 : (input[d] - 1) * (interior[d] + 1) + 1) + low[d] + high[d]);
    p.Check(size <= INT32_MAX, "dimension ", d, " of the output would be ", size);
    shape.push_back(static_cast<int32_t>(size));
  }
  p.SetShape(0, shape);
  if (p.output_elements(0) == 0) return;
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([n = p.output_elements(0), v = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      std::fill_n(Elements<T>(run, y), n, *Elements<const T>(run, v));
    });
  });
  // The elements of the input that stay: from the first whose place is not before the output to the last whose place is not behind it.
  const std::vector<int64_t> from = DenseStrides(input), to = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  int64_t first_from = 0, first_to = 0;
  for (size_t d = 0; d < input.size(); ++d) {
    const int64_t step = interior[d] + 1, first = low[d] >= 0 ? 0 : (-low[d] + step - 1) / step, room = shape[d] - 1 - low[d];
    const int64_t last = room < 0 ? -1 : std::min<int64_t>(input[d] - 1, room / step);
    if (last < first) return;
    loops.push_back({last - first + 1, from[d], to[d] * step});
    first_from += first * from[d];
    first_to += (first * step + low[d]) * to[d];
  }
  EmitCopy(p, 0, 0, PlanCopy(p, loops, first_from, first_to));
}

void PrepareIota(Prepare& p) {
  p.CheckCounts(0, 0, 1);
  const Shape shape = StoredShape(p);
  const size_t d = ResolveAxis(p, p.options_2().Scalar<int64_t>(0), shape.size());
  p.SetShape(0, shape);
  const int64_t inner = Product(shape, d + 1, shape.size()), extent = shape[d];
  WithType<F32, F64, F16, BF16, I8, U8, I16, U16, I32, U32, I64, U64>(
      p, p.output_type(0), "an output", [&]<class T>(std::type_identity<T>) {
        p.Emit([=, n = p.output_elements(0), y = p.out(0)](RunContext& run) noexcept {
          T* to = run.get<T>(y);
          for (int64_t i = 0; i < n; ++i) {
            if constexpr (kIsSmallFloat<T>) {
              to[i] = T(static_cast<float>(i / inner % extent));
            } else {
              to[i] = static_cast<T>(i / inner % extent);
            }
          }
        });
      });
}

constexpr OpDef kOps[] = {
    {.name = "STABLEHLO_BROADCAST_IN_DIM", .prepare = PrepareBroadcastInDim},
    {.name = "STABLEHLO_CONCATENATE", .prepare = PrepareConcatenate},
    {.name = "STABLEHLO_IOTA", .prepare = PrepareIota},
    {.name = "STABLEHLO_PAD", .prepare = PreparePad},
    {.name = "STABLEHLO_RESHAPE", .prepare = PrepareReshape},
    {.name = "STABLEHLO_SLICE", .prepare = PrepareSlice},
    {.name = "STABLEHLO_TRANSPOSE", .prepare = PrepareTranspose},
};

}  // namespace

std::span<const OpDef> stablehlo_shape_ops() { return kOps; }

}  // namespace sigrun::ops
