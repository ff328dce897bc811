#include <cstring>
#include <functional>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/elements.h"

// ARG_MAX, ARG_MIN: where along an axis the extreme stands; the first of several. NaN is passed over.
namespace sigrun::ops {
namespace {

/// Where a number stands first; 0 if a line does not have it.
template <class T>
int64_t Find(T number, const T* line, int64_t size) {
  if constexpr (sizeof(T) == 1)
    return static_cast<const T*>(std::memchr(line, static_cast<uint8_t>(number), static_cast<size_t>(size))) - line;
  constexpr int64_t kBlock = 32;
  int64_t i = 0;
  for (; i + kBlock <= size; i += kBlock) {
    int found = 0;
    for (int64_t j = 0; j < kBlock; ++j) found |= line[i + j] == number;
    if (found != 0) break;
  }
  while (i < size && line[i] != number) ++i;
  return i < size ? i : 0;
}

// The best of a line first, which is a loop of vectors, then where it stands.
template <class T, class Better>
struct BestOfLine {
  decltype(kernels::Kernels::max_f32) kernel;

  int64_t operator()(const T* line, int64_t size) const {
    if constexpr (std::is_same_v<T, float>) {
      return Find(kernel(line, static_cast<size_t>(size)), line, size);
    } else {
      T best = line[0];
      for (int64_t i = 1; i < size; ++i) best = Better()(line[i], best) ? line[i] : best;
      return Find(best, line, size);
    }
  }
};

template <class T, class I, class Better>
void EmitArg(Prepare& p, int64_t outer, int64_t size, int64_t inner) {
  const BestOfLine<T, Better> best_of_line{std::is_same_v<Better, std::greater<>> ? p.kernels().max_f32 : p.kernels().min_f32};
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const T* from = run.get<T>(x);
    I* to = run.get<I>(y);
    ForElements(run, outer * inner, size, [&](int64_t begin, int64_t count) {
      for (int64_t k = begin; k < begin + count; ++k) {
        const T* line = from + k / inner * size * inner + k % inner;
        if (inner == 1) {
          to[k] = static_cast<I>(best_of_line(line, size));
          continue;
        }
        int64_t best = 0;
        for (int64_t i = 1; i < size; ++i) {
          const T x = line[i * inner], before = line[best * inner];
          if (Better()(x, before) || (before != before && x == x)) best = i;
        }
        to[k] = static_cast<I>(best);
      }
    });
  });
}

template <class T, class Better>
void EmitForIndex(Prepare& p, int64_t outer, int64_t size, int64_t inner) {
  if (p.output_type(0) == TensorType::kInt64) return EmitArg<T, int64_t, Better>(p, outer, size, inner);
  EmitArg<T, int32_t, Better>(p, outer, size, inner);
}

template <class Better>
void PrepareArg(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {TensorType::kInt32, TensorType::kInt64});
  Shape shape = p.shape(0);
  const size_t axis = ResolveAxis(p, ConstantInt(p, 1, "axis"), shape.size());
  const int64_t outer = Product(shape, 0, axis), size = shape[axis], inner = Product(shape, axis + 1, shape.size());
  p.Check(size > 0 || outer * inner == 0, "axis ", axis, " of the input ", ToString(shape), " has no elements");
  shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis));
  p.SetShape(0, shape);
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitForIndex<float, Better>(p, outer, size, inner);
    case TensorType::kInt8: return EmitForIndex<int8_t, Better>(p, outer, size, inner);
    case TensorType::kBool:
    case TensorType::kUInt8: return EmitForIndex<uint8_t, Better>(p, outer, size, inner);
    case TensorType::kInt16: return EmitForIndex<int16_t, Better>(p, outer, size, inner);
    case TensorType::kInt32: return EmitForIndex<int32_t, Better>(p, outer, size, inner);
    case TensorType::kInt64: return EmitForIndex<int64_t, Better>(p, outer, size, inner);
    default: p.Refuse(StatusCode::kUnimplemented, Concat("an input of type ", TensorTypeName(p.type(0))));
  }
}

constexpr OpDef kOps[] = {
    {.name = "ARG_MAX", .prepare = PrepareArg<std::greater<>>},
    {.name = "ARG_MIN", .prepare = PrepareArg<std::less<>>},
};

}  // namespace

std::span<const OpDef> arg_min_max_ops() { return kOps; }

}  // namespace sigrun::ops
