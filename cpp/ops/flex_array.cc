#include <algorithm>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/numbers.h"
#include "ops/support/strided_copy.h"

// TensorFlow's operators that move elements of any type, with what TFLite keeps in options given as attributes or operands: Identity,
// ConcatV2, Pack, Unpack, GatherV2, Roll, MatrixBandPart, Size and ClipByValue.
namespace sigrun::ops {
namespace {

void PrepareIdentity(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
  EmitCopy(p, 0, 0, PlanCopy(p, std::vector<CopyLoop>{{p.elements(0), 1, 1}}));
}

/// Copies `count` runs of `length` elements from input i, of which every next one stands `from` or `to` elements further.
void EmitRuns(Prepare& p, int i, int o, int64_t count, int64_t length, int64_t from, int64_t to, int64_t first_from, int64_t first_to) {
  EmitCopy(p, i, o, PlanCopy(p, std::vector<CopyLoop>{{count, from, to}, {length, 1, 1}}, first_from, first_to));
}

void PrepareConcat(Prepare& p) {
  const int values = p.inputs() - 1;
  p.CheckCounts(2, std::max(2, p.inputs()), 1);
  Shape shape = p.shape(0);
  const size_t axis = ResolveAxis(p, KnownInt(p, values, "the axis"), shape.size());
  int64_t total = 0;
  for (int i = 0; i < values; ++i) {
    Shape other = p.shape(i);
    p.CheckType(i, {p.type(0)});
    p.Check(other.size() == shape.size(), "inputs ", ToString(shape), " and ", ToString(other));
    total += other[axis];
    other[axis] = shape[axis];
    p.Check(other == shape, "inputs ", ToString(shape), " and ", ToString(p.shape(i)));
  }
  p.Check(total <= INT32_MAX, "an output of ", total, " elements along the axis");
  p.CheckOutputType(0, {p.type(0)});
  const int64_t outer = Product(shape, 0, axis), inner = Product(shape, axis + 1, shape.size());
  shape[axis] = static_cast<int32_t>(total);
  p.SetShape(0, shape);
  int64_t at = 0;
  for (int i = 0; i < values; ++i) {
    const int64_t run = p.shape(i)[axis] * inner;
    EmitRuns(p, i, 0, outer, run, run, total * inner, 0, at);
    at += run;
  }
}

void PreparePack(Prepare& p) {
  p.CheckCounts(1, std::max(1, p.inputs()), 1);
  Shape shape = p.shape(0);
  for (int i = 0; i < p.inputs(); ++i) {
    p.CheckType(i, {p.type(0)});
    p.Check(p.shape(i) == shape, "inputs ", ToString(shape), " and ", ToString(p.shape(i)));
  }
  p.CheckOutputType(0, {p.type(0)});
  const size_t axis = ResolveAxis(p, FlexNode(p).Integer("axis", 0), shape.size() + 1);
  const int64_t outer = Product(shape, 0, axis), inner = Product(shape, axis, shape.size());
  shape.insert(shape.begin() + static_cast<ptrdiff_t>(axis), p.inputs());
  p.SetShape(0, shape);
  for (int i = 0; i < p.inputs(); ++i) EmitRuns(p, i, 0, outer, inner, inner, inner * p.inputs(), 0, inner * i);
}

void PrepareUnpack(Prepare& p) {
  Shape shape = p.shape(0);
  const size_t axis = ResolveAxis(p, FlexNode(p).Integer("axis", 0), shape.size());
  p.CheckCounts(1, 1, shape[axis]);
  const int64_t outer = Product(shape, 0, axis), inner = Product(shape, axis + 1, shape.size());
  shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis));
  for (int o = 0; o < p.outputs(); ++o) {
    p.CheckOutputType(o, {p.type(0)});
    p.SetShape(o, shape);
    EmitRuns(p, 0, o, outer, inner, inner * p.outputs(), inner, inner * o, 0);
  }
}

// Entries of an axis; the first dimensions may be a batch of which each entry has indices of its own.
void PrepareGather(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape &input = p.shape(0), &indices = p.shape(1);
  const size_t axis = ResolveAxis(p, KnownInt(p, 2, "the axis"), input.size());
  const int64_t stored = FlexNode(p).Integer("batch_dims", 0),
                batch_dims = stored < 0 ? stored + static_cast<int64_t>(indices.size()) : stored;
  const size_t batch = static_cast<size_t>(batch_dims);
  p.Check(batch_dims >= 0 && batch <= axis && batch <= indices.size() &&
              std::equal(indices.begin(), indices.begin() + batch_dims, input.begin()),
          batch_dims, " batch dimensions of an input ", ToString(input), " and indices ", ToString(indices));
  Shape shape(input.begin(), input.begin() + static_cast<ptrdiff_t>(axis));
  shape.insert(shape.end(), indices.begin() + batch_dims, indices.end());
  shape.insert(shape.end(), input.begin() + static_cast<ptrdiff_t>(axis) + 1, input.end());
  p.SetShape(0, shape);
  const int64_t outer = Product(input, batch, axis), inner = Product(input, axis + 1, input.size()), extent = input[axis];
  const int64_t batches = Product(input, 0, batch), count = Product(indices, batch, indices.size());
  WithType<I32, I64>(p, p.type(1), "indices", [&]<class I>(std::type_identity<I>) {
    WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
      p.Emit([=, x = p.in(0), k = p.in(1), y = p.out(0)](RunContext& run) noexcept {
        for (int64_t row = 0; row < batches * outer * count; ++row) {
          const int64_t outside = row / count;
          const int64_t index = run.get<I>(k)[outside / outer * count + row % count];
          if (index < 0 || index >= extent) return run.Fail(Concat("index ", index, " is outside [0, ", extent, ")"));
          CopyElements(Elements<const T>(run, x) + (outside * extent + index) * inner, Elements<T>(run, y) + row * inner, inner);
        }
      });
    });
  });
}

// Along each of some axes in turn: no element moves twice, because the shifts of an axis add up.
void PrepareRoll(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape shape = p.shape(0);
  const std::vector<int64_t> shifts = p.ConstantInts(1, "shifts"), axes = p.ConstantInts(2, "axes");
  p.Check(shifts.size() == axes.size(), shifts.size(), " shifts of ", axes.size(), " axes");
  std::vector<int64_t> shift(shape.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = ResolveAxis(p, axes[i], shape.size());
    const int64_t extent = std::max(1, shape[axis]);
    shift[axis] = ((shift[axis] + shifts[i] % extent) % extent + extent) % extent;
  }
  p.SetShape(0, shape);
  const std::vector<int64_t> strides = DenseStrides(shape);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([=, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      for (int64_t e = 0; e < n; ++e) {
        int64_t to = 0, rest = e;
        for (size_t d = 0; d < shape.size(); ++d) {
          to += (rest / strides[d] + shift[d]) % shape[d] * strides[d];
          rest %= strides[d];
        }
        Elements<T>(run, y)[to] = Elements<const T>(run, x)[e];
      }
    });
  });
}

// Matrices without what lies more than so many diagonals below or above the main one; negative: all stays.
void PrepareBandPart(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& shape = p.shape(0);
  p.Check(shape.size() >= 2, "a matrix of shape ", ToString(shape));
  const int64_t lower = KnownInt(p, 1, "num_lower"), upper = KnownInt(p, 2, "num_upper"), rows = shape[shape.size() - 2],
                columns = shape.back();
  p.SetShape(0, shape);
  p.MayOverwrite(0, 0);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([=, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      for (int64_t e = 0; e < n; ++e) {
        const int64_t row = e / columns % rows, column = e % columns;
        const bool stays = (lower < 0 || row - column <= lower) && (upper < 0 || column - row <= upper);
        Elements<T>(run, y)[e] = stays ? Elements<const T>(run, x)[e] : T{};
      }
    });
  });
}

void PrepareSize(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.SetShape(0, {});
  WithType<I32, I64>(p, p.output_type(0), "an output", [&]<class I>(std::type_identity<I>) {
    p.Emit([n = p.elements(0), y = p.out(0)](RunContext& run) noexcept { *run.get<I>(y) = static_cast<I>(n); });
  });
}

void PrepareClip(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(0)});
  for (int i = 1; i < 3; ++i) {
    p.CheckType(i, {p.type(0)});
    p.Check(p.elements(i) == 1 || p.shape(i) == p.shape(0), "a bound ", ToString(p.shape(i)), " for an input ", ToString(p.shape(0)));
  }
  p.SetShape(0, p.shape(0));
  const bool one_low = p.elements(1) == 1, one_high = p.elements(2) == 1;
  WithType<F32, F64, I8, U8, I16, I32, I64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit([=, n = p.elements(0), x = p.in(0), l = p.in(1), h = p.in(2), y = p.out(0)](RunContext& run) noexcept {
      for (int64_t i = 0; i < n; ++i) {
        run.get<T>(y)[i] = std::max(run.get<T>(l)[one_low ? 0 : i], std::min(run.get<T>(x)[i], run.get<T>(h)[one_high ? 0 : i]));
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexClipByValue", .prepare = PrepareClip},
    {.name = "FlexConcatV2", .prepare = PrepareConcat},
    {.name = "FlexGatherV2", .prepare = PrepareGather},
    {.name = "FlexIdentity", .prepare = PrepareIdentity},
    {.name = "FlexMatrixBandPart", .prepare = PrepareBandPart},
    {.name = "FlexPack", .prepare = PreparePack},
    {.name = "FlexRoll", .prepare = PrepareRoll},
    {.name = "FlexSize", .prepare = PrepareSize, .traits = kReadsShapes},
    {.name = "FlexSnapshot", .prepare = PrepareIdentity},
    {.name = "FlexStopGradient", .prepare = PrepareIdentity},
    {.name = "FlexUnpack", .prepare = PrepareUnpack},
};

}  // namespace

std::span<const OpDef> flex_array_ops() { return kOps; }

}  // namespace sigrun::ops
