#include <algorithm>

#include "ops/op.h"
#include "ops/support/strided_copy.h"

// STRIDED_SLICE and SLICE.
namespace sigrun::ops {
namespace {

// What is taken along one dimension of the input, or a dimension of 1 that the output gains.
struct Taken {
  int64_t begin = 0, stride = 1, count = 1;
  bool dropped = false;  // not a dimension of the output
};

struct Masks {
  uint32_t begin, end, ellipsis, new_axis, shrink;
  bool offset;  // `end` is relative to `begin`
};

bool Bit(uint32_t mask, size_t i) { return i < 32 && (mask >> i & 1) != 0; }

Taken TakeRange(const Prepare& p, const Masks& masks, size_t i, int64_t begin, int64_t end, int64_t stride, int64_t size) {
  p.Check(stride != 0, "stride ", i, " is 0");
  for (const int64_t value : {begin, end, stride}) p.Check(value >= INT32_MIN && value <= INT32_MAX, "an index or stride of ", value);
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
  if (begin < 0) begin += size;
  begin = Bit(masks.begin, i) ? (stride > 0 ? 0 : size - 1) : std::clamp(begin, low, std::max(low, high));
  if (Bit(masks.shrink, i)) {
    p.Check(begin >= 0 && begin < size, "index ", begin, " of a dimension of ", size);
    return {begin, 1, 1, true};
  }
  if (masks.offset) end += begin;
  if (end < 0) end += size;
  end = Bit(masks.end, i) ? (stride > 0 ? size : -1) : std::clamp(end, low, std::max(low, high));
  const int64_t span = stride > 0 ? end - begin : begin - end;
  const int64_t step = stride > 0 ? stride : -stride;
  return {begin, stride, span <= 0 ? 0 : (span - 1) / step + 1, false};
}

void EmitTaken(Prepare& p, const std::vector<Taken>& taken, const Shape& shape) {
  p.SetShape(0, shape);
  const std::vector<int64_t> strides = DenseStrides(p.shape(0));
  std::vector<CopyLoop> loops(taken.size());
  int64_t from = 0, below = 1;
  for (size_t d = taken.size(); d-- > 0;) {
    loops[d] = {taken[d].count, taken[d].stride * strides[d], below};
    below *= taken[d].count;
    from += taken[d].begin * strides[d];
  }
  if (p.output_elements(0) == p.elements(0) && PlanCopy(p, loops, from).contiguous() && from == 0) return p.Alias(0, 0);
  EmitCopy(p, 0, 0, PlanCopy(p, loops, from));
}

void PrepareStridedSlice(Prepare& p) {
  p.CheckCounts(4, 4, 1);
  p.CheckOutputType(0, {p.type(0)});
  const auto mask = [&](int field) { return static_cast<uint32_t>(p.options().Scalar<int32_t>(field)); };
  const Masks masks{mask(0), mask(1), mask(2), mask(3), mask(4), p.options().Bool(5)};
  const std::vector<int64_t> begin = p.ConstantInts(1, "begin"), end = p.ConstantInts(2, "end"), strides = p.ConstantInts(3, "strides");
  p.Check(begin.size() == end.size() && begin.size() == strides.size(), "begin, end and strides have ", begin.size(), ", ", end.size(),
          " and ", strides.size(), " elements");
  p.Check(begin.size() <= 32, "begin has ", begin.size(), " elements");

  const Shape& input = p.shape(0);
  size_t consumed = 0, ellipses = 0;
  for (size_t i = 0; i < begin.size(); ++i) {
    if (Bit(masks.ellipsis, i)) {
      ++ellipses;
    } else if (!Bit(masks.new_axis, i)) {
      ++consumed;
    }
  }
  p.Check(ellipses <= 1, "more than one ellipsis");
  p.Check(consumed <= input.size(), "indices for ", consumed, " dimensions of the input ", ToString(input));

  std::vector<Taken> taken;
  Shape shape;
  const auto whole = [&](size_t count) {
    for (; count > 0; --count) {
      shape.push_back(input[taken.size()]);
      taken.push_back({0, 1, input[taken.size()], false});
    }
  };
  for (size_t i = 0; i < begin.size(); ++i) {
    if (Bit(masks.ellipsis, i)) {
      whole(input.size() - consumed);
    } else if (Bit(masks.new_axis, i)) {
      shape.push_back(1);
    } else {
      taken.push_back(TakeRange(p, masks, i, begin[i], end[i], strides[i], input[taken.size()]));
      if (!taken.back().dropped) shape.push_back(static_cast<int32_t>(taken.back().count));
    }
  }
  whole(input.size() - taken.size());
  EmitTaken(p, taken, shape);
}

void PrepareSlice(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(0)});
  const std::vector<int64_t> begin = p.ConstantInts(1, "begin"), size = p.ConstantInts(2, "size");
  const Shape& input = p.shape(0);
  p.Check(begin.size() == input.size() && size.size() == input.size(), "begin and size have ", begin.size(), " and ", size.size(),
          " elements for an input of rank ", input.size());
  std::vector<Taken> taken;
  Shape shape;
  for (size_t d = 0; d < input.size(); ++d) {
    p.Check(begin[d] >= 0 && begin[d] <= input[d], "begin ", begin[d], " in dimension ", d, " of the input ", ToString(input));
    const int64_t count = size[d] == -1 ? input[d] - begin[d] : size[d];
    p.Check(count >= 0 && count <= input[d] - begin[d], "size ", size[d], " from ", begin[d], " in dimension ", d, " of the input ",
            ToString(input));
    taken.push_back({begin[d], 1, count, false});
    shape.push_back(static_cast<int32_t>(count));
  }
  EmitTaken(p, taken, shape);
}

constexpr OpDef kOps[] = {
    {.name = "STRIDED_SLICE", .prepare = PrepareStridedSlice},
    {.name = "SLICE", .prepare = PrepareSlice},
};

}  // namespace

std::span<const OpDef> strided_slice_ops() { return kOps; }

}  // namespace sigrun::ops
