#include <algorithm>
#include <cstring>

#include "ops/op.h"
#include "ops/support/numbers.h"
#include "ops/support/strided_copy.h"

// SCATTER_ND: slices added up where tuples of indices say. SPARSE_TO_DENSE: single elements put there.
namespace sigrun::ops {
namespace {

/// Tuples of `depth` indices into dimensions of these sizes and strides.
struct Tuples {
  static constexpr size_t kMaxDepth = 8;
  int64_t count = 0;
  size_t depth = 0;
  int64_t size[kMaxDepth], stride[kMaxDepth];

  /// The offset of tuple i, or -1 after a report.
  template <class I>
  int64_t Offset(RunContext& run, const I* indices, int64_t i) const {
    int64_t at = 0;
    for (size_t d = 0; d < depth; ++d) {
      const I index = indices[static_cast<size_t>(i) * depth + d];
      if (index < 0 || index >= size[d]) {
        run.Fail(Concat("index ", index, " of tuple ", i, " is outside [0, ", size[d], ") of dimension ", d));
        return -1;
      }
      at += index * stride[d];
    }
    return at;
  }
};

Tuples MakeTuples(const Prepare& p, int64_t count, int64_t depth, const Shape& shape) {
  p.Check(depth <= static_cast<int64_t>(shape.size()) && depth <= static_cast<int64_t>(Tuples::kMaxDepth), "tuples of ", depth,
          " indices into an output of rank ", shape.size());
  Tuples t;
  t.count = count;
  t.depth = static_cast<size_t>(depth);
  const std::vector<int64_t> strides = DenseStrides(shape);
  for (size_t d = 0; d < t.depth; ++d) {
    t.size[d] = shape[d];
    t.stride[d] = strides[d];
  }
  return t;
}

struct Bool {
  uint8_t value;
};

template <class T>
T Sum(T a, T b) {
  if constexpr (std::is_same_v<T, Bool>) {
    return {static_cast<uint8_t>(a.value | b.value)};
  } else {
    return Plus(a, b);
  }
}

template <class T>
void AddSlice(const T* __restrict from, T* __restrict to, int64_t n) {
  for (int64_t k = 0; k < n; ++k) to[k] = Sum(to[k], from[k]);
}

void PrepareScatterNd(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(1)});
  const Shape& indices = p.shape(0);
  const Shape& updates = p.shape(1);
  p.Check(!indices.empty(), "the indices are a scalar");
  const Shape shape = KnownShape(p, 2, "shape");
  p.SetShape(0, shape);
  const Tuples tuples = MakeTuples(p, Product(indices, 0, indices.size() - 1), indices.back(), shape);
  Shape expected(indices.begin(), indices.end() - 1);
  expected.insert(expected.end(), shape.begin() + static_cast<ptrdiff_t>(tuples.depth), shape.end());
  p.Check(updates == expected, "updates have shape ", ToString(updates), ", expected ", ToString(expected));
  const int64_t slice = Product(shape, tuples.depth, shape.size());
  using Bools = Typed<TensorType::kBool, Bool>;
  WithType<F32, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bools>(p, p.type(1), "updates", [&]<class T>(std::type_identity<T>) {
    WithType<I32, I64, I16>(p, p.type(0), "indices", [&]<class I>(std::type_identity<I>) {
      p.Emit([=, n = p.output_elements(0), i = p.in(0), x = p.in(1), y = p.out(0)](RunContext& run) noexcept {
        const T* from = run.get<T>(x);
        T* to = run.get<T>(y);
        if (n > 0) std::memset(static_cast<void*>(to), 0, static_cast<size_t>(n) * sizeof(T));
        for (int64_t t = 0; t < tuples.count; ++t, from += slice) {
          const int64_t at = tuples.Offset(run, run.get<I>(i), t);
          if (at < 0) return;
          AddSlice(from, to + at, slice);
        }
      });
    });
  });
}

void PrepareSparseToDense(Prepare& p) {
  p.CheckCounts(4, 4, 1);
  p.CheckOutputType(0, {p.type(2)});
  p.CheckType(3, {p.type(2)});
  const Shape& indices = p.shape(0);
  p.Check(indices.size() <= 2, "indices of shape ", ToString(indices));
  const Shape shape = KnownShape(p, 1, "output shape");
  p.SetShape(0, shape);
  const Tuples tuples = MakeTuples(p, indices.empty() ? 1 : indices[0], indices.size() == 2 ? indices[1] : 1, shape);
  p.Check(tuples.depth == shape.size(), "tuples of ", tuples.depth, " indices into an output of rank ", shape.size());
  const bool one_value = p.shape(2).empty();
  p.Check(one_value || (p.shape(2).size() == 1 && p.elements(2) == tuples.count), "values of shape ", ToString(p.shape(2)), " for ",
          tuples.count, " indices");
  p.Check(p.elements(3) == 1, "the default value has shape ", ToString(p.shape(3)));
  WithElement(p, p.type(2), [&]<class T>(std::type_identity<T>) {
    WithType<I32, I64>(p, p.type(0), "indices", [&]<class I>(std::type_identity<I>) {
      p.Emit([=, n = p.output_elements(0), i = p.in(0), x = p.in(2), d = p.in(3), y = p.out(0)](RunContext& run) noexcept {
        const T* from = Elements<const T>(run, x);
        T* to = Elements<T>(run, y);
        std::fill_n(to, n, *Elements<const T>(run, d));
        for (int64_t t = 0; t < tuples.count; ++t) {
          const int64_t at = tuples.Offset(run, run.get<I>(i), t);
          if (at < 0) return;
          to[at] = from[one_value ? 0 : t];
        }
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "SCATTER_ND", .prepare = PrepareScatterNd},
    {.name = "SPARSE_TO_DENSE", .prepare = PrepareSparseToDense},
};

}  // namespace

std::span<const OpDef> scatter_ops() { return kOps; }

}  // namespace sigrun::ops
