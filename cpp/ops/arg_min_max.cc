#include <cstring>
#include <functional>

#include "ops/op.h"
#include "ops/support/elements.h"

// ARG_MAX, ARG_MIN: where along an axis the extreme stands; the first of several.
namespace sigrun::ops {
namespace {

// The best of a line of bytes first, which is a loop of vectors, then where it stands.
template <class T, class Better>
int64_t BestByte(const T* line, int64_t size) {
  T best = line[0];
  for (int64_t i = 1; i < size; ++i) best = Better()(line[i], best) ? line[i] : best;
  return static_cast<const T*>(std::memchr(line, static_cast<unsigned char>(best), static_cast<size_t>(size))) - line;
}

template <class T, class I, class Better>
void EmitArg(Prepare& p, int64_t outer, int64_t size, int64_t inner) {
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const T* from = run.get<T>(x);
    I* to = run.get<I>(y);
    ForElements(run, outer * inner, size, [&](int64_t begin, int64_t count) {
      for (int64_t k = begin; k < begin + count; ++k) {
        const T* line = from + k / inner * size * inner + k % inner;
        if constexpr (sizeof(T) == 1) {
          if (inner == 1) {
            to[k] = static_cast<I>(BestByte<T, Better>(line, size));
            continue;
          }
        }
        int64_t best = 0;
        for (int64_t i = 1; i < size; ++i) {
          if (Better()(line[i * inner], line[best * inner])) best = i;
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
