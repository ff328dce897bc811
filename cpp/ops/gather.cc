#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/strided_copy.h"

// GATHER: entries of one axis, chosen by indices. GATHER_ND: slices, chosen by tuples of indices.
namespace sigrun::ops {
namespace {

template <class F>
void WithIndex(const Prepare& p, int i, const F& f) {
  switch (p.type(i)) {
    case TensorType::kInt16: return f(int16_t{});
    case TensorType::kInt32: return f(int32_t{});
    case TensorType::kInt64: return f(int64_t{});
    default: p.Refuse(StatusCode::kUnimplemented, Concat("indices of type ", TensorTypeName(p.type(i))));
  }
}

// The input is [batch, outer, size, inner], the indices [batch, count], the output [batch, outer, count, inner].
struct Gather {
  int64_t batch, outer, size, inner, count;
};

template <class T, class I>
void RunGather(RunContext& run, const Gather& g, const T* from, const I* indices, T* to) {
  for (int64_t i = 0; i < g.batch * g.count; ++i) {
    if (indices[i] < 0 || indices[i] >= g.size)
      return run.Fail(Concat("index ", indices[i], " at position ", i, " is outside [0, ", g.size, ")"));
  }
  for (int64_t b = 0; b < g.batch; ++b, indices += g.count) {
    for (int64_t o = 0; o < g.outer; ++o, from += g.size * g.inner) {
      if (g.inner == 1) {
        for (int64_t i = 0; i < g.count; ++i) *to++ = from[indices[i]];
      } else {
        for (int64_t i = 0; i < g.count; ++i, to += g.inner) CopyShort(from + indices[i] * g.inner, to, g.inner);
      }
    }
  }
}

void PrepareGather(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  const Shape& indices = p.shape(1);
  const size_t axis = ResolveAxis(p, p.options().Scalar<int32_t>(0), input.size());
  const int32_t option = p.options().Scalar<int32_t>(1);
  const int64_t rank = static_cast<int64_t>(indices.size());
  p.Check(option >= -rank && option <= rank, "batch_dims is ", option, " for indices of rank ", rank);
  const size_t batch_dims = static_cast<size_t>(option < 0 ? option + rank : option);
  p.Check(batch_dims <= axis, "batch_dims ", batch_dims, " is beyond axis ", axis);
  for (size_t d = 0; d < batch_dims; ++d) {
    p.Check(indices[d] == input[d], "indices ", ToString(indices), " and input ", ToString(input), " differ in batch dimension ", d);
  }
  Shape shape(input.begin(), input.begin() + static_cast<ptrdiff_t>(axis));
  shape.insert(shape.end(), indices.begin() + static_cast<ptrdiff_t>(batch_dims), indices.end());
  shape.insert(shape.end(), input.begin() + static_cast<ptrdiff_t>(axis) + 1, input.end());
  p.SetShape(0, shape);
  const Gather g{Product(input, 0, batch_dims), Product(input, batch_dims, axis), input[axis], Product(input, axis + 1, input.size()),
                 Product(indices, batch_dims, indices.size())};
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    WithIndex(p, 1, [&]<class I>(I) {
      p.Emit([g, x = p.in(0), i = p.in(1), y = p.out(0)](RunContext& run) noexcept {
        RunGather(run, g, Elements<const T>(run, x), run.get<I>(i), Elements<T>(run, y));
      });
    });
  });
}

// `count` tuples of `depth` indices into the first dimensions of the input, of these sizes and strides, each of a slice of `inner`
// elements.
struct GatherNd {
  static constexpr size_t kMaxDepth = 8;
  int64_t count = 0, inner = 0;
  size_t depth = 0;
  int64_t size[kMaxDepth], stride[kMaxDepth];
};

template <class T, class I>
void RunGatherNd(RunContext& run, const GatherNd& g, const T* from, const I* indices, T* to) {
  for (int64_t i = 0; i < g.count; ++i, indices += g.depth, to += g.inner) {
    int64_t at = 0;
    for (size_t d = 0; d < g.depth; ++d) {
      if (indices[d] < 0 || indices[d] >= g.size[d]) {
        return run.Fail(Concat("index ", indices[d], " of tuple ", i, " is outside [0, ", g.size[d], ") of dimension ", d));
      }
      at += indices[d] * g.stride[d];
    }
    CopyShort(from + at, to, g.inner);
  }
}

void PrepareGatherNd(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  const Shape& indices = p.shape(1);
  p.Check(!indices.empty(), "the indices are a scalar");
  GatherNd g;
  g.depth = static_cast<size_t>(indices.back());
  p.Check(g.depth <= input.size() && g.depth <= GatherNd::kMaxDepth, "tuples of ", indices.back(), " indices into an input of rank ",
          input.size());
  g.count = Product(indices, 0, indices.size() - 1);
  g.inner = Product(input, g.depth, input.size());
  const std::vector<int64_t> strides = DenseStrides(input);
  for (size_t d = 0; d < g.depth; ++d) {
    g.size[d] = input[d];
    g.stride[d] = strides[d];
  }
  Shape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), input.begin() + static_cast<ptrdiff_t>(g.depth), input.end());
  p.SetShape(0, shape);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    WithIndex(p, 1, [&]<class I>(I) {
      p.Emit([g, x = p.in(0), i = p.in(1), y = p.out(0)](RunContext& run) noexcept {
        RunGatherNd(run, g, Elements<const T>(run, x), run.get<I>(i), Elements<T>(run, y));
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "GATHER", .prepare = PrepareGather},
    {.name = "GATHER_ND", .prepare = PrepareGatherNd},
};

}  // namespace

std::span<const OpDef> gather_ops() { return kOps; }

}  // namespace sigrun::ops
