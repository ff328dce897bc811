#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// CUMSUM along a constant axis.
namespace sigrun::ops {
namespace {

enum Field : int { kExclusive, kReverse };

constexpr int kRows = 4;  // side by side, for every sum waits for the last one of its row

// By itself, so that the sums stay in registers.
template <class T>
[[gnu::noinline]] void SumRows(const T* from, T* to, int64_t size, bool exclusive, bool reverse) {
  const int64_t step = reverse ? -1 : 1;
  if (reverse) from += size - 1, to += size - 1;
  T sums[kRows] = {};
  for (int r = 0; r < kRows && exclusive; ++r) to[r * size] = T{0};
  if (exclusive) to += step;
  for (int64_t k = exclusive ? 1 : 0; k < size; ++k, from += step, to += step) {
    for (int r = 0; r < kRows; ++r) to[r * size] = sums[r] = Plus(sums[r], from[r * size]);
  }
}

template <class T>
void SumColumns(const T* from, T* to, int64_t size, int64_t inner, bool exclusive, bool reverse) {
  const int64_t step = reverse ? -inner : inner;
  if (reverse) from += (size - 1) * inner, to += (size - 1) * inner;
  for (int64_t c = 0; c < inner; ++c) to[c] = exclusive ? T{0} : Plus(T{0}, from[c]);
  for (int64_t k = 1; k < size; ++k, from += step, to += step) {
    const T* added = exclusive ? from : from + step;
    T* __restrict next = to + step;
    for (int64_t c = 0; c < inner; ++c) next[c] = Plus(to[c], added[c]);
  }
}

void PrepareCumsum(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& shape = p.shape(0);
  p.Check(!shape.empty(), "the input is a scalar");
  const size_t axis = ResolveAxis(p, KnownInt(p, 1, "axis"), shape.size());
  const bool exclusive = p.options().Bool(kExclusive), reverse = p.options().Bool(kReverse);
  const int64_t outer = Product(shape, 0, axis), size = shape[axis], inner = Product(shape, axis + 1, shape.size());
  p.SetShape(0, shape);
  if (p.output_elements(0) == 0) return;
  const int64_t cost = size * inner;
  WithType<F32, F64, I32, I64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      run.Parallel(static_cast<int32_t>(outer), cost, [&](kernels::Range range, int) {
        const T* from = run.get<T>(x) + range.begin * size * inner;
        T* to = run.get<T>(y) + range.begin * size * inner;
        int32_t o = range.begin;
        if (inner == 1) {
          for (; o + kRows <= range.end; o += kRows, from += kRows * size, to += kRows * size) SumRows(from, to, size, exclusive, reverse);
        }
        for (; o < range.end; ++o, from += size * inner, to += size * inner) SumColumns(from, to, size, inner, exclusive, reverse);
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "CUMSUM", .prepare = PrepareCumsum, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> cumsum_ops() { return kOps; }

}  // namespace sigrun::ops
