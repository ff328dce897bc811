#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// TOPK_V2: the k largest elements of every row, largest first; of equals the first.
namespace sigrun::ops {
namespace {

template <class T>
bool Before(const T* row, int32_t a, int32_t b) {
  if constexpr (std::is_floating_point_v<T>) {
    // NaN stands before everything else, so that the order is one.
    const bool nan_a = std::isnan(row[a]), nan_b = std::isnan(row[b]);
    if (nan_a || nan_b) return nan_a && (!nan_b || a < b);
  }
  return row[a] > row[b] || (row[a] == row[b] && a < b);
}

/// Writes the places of the k largest of a row, in order. What does not come before the least of those so far is passed over by the block.
template <class T>
void FindTop(const T* row, int32_t size, int32_t k, int32_t* top) {
  constexpr int32_t kBlock = 64 / sizeof(T);
  if (k == 0) return;
  const auto before = [row](int32_t a, int32_t b) { return Before(row, a, b); };
  std::iota(top, top + k, 0);
  std::make_heap(top, top + k, before);
  for (int32_t i = k; i < size; ++i) {
    const T least = row[top[0]];
    for (; i + kBlock <= size; i += kBlock) {
      int found = 0;
      for (int32_t j = 0; j < kBlock; ++j) found += row[i + j] <= least ? 0 : 1;
      if (found != 0) break;
    }
    while (i < size && row[i] <= least) ++i;
    if (i == size || !before(i, top[0])) continue;
    std::pop_heap(top, top + k, before);
    top[k - 1] = i;
    std::push_heap(top, top + k, before);
  }
  std::sort_heap(top, top + k, before);
}

void PrepareTopK(Prepare& p) {
  p.CheckCounts(2, 2, 2);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  p.Check(!input.empty(), "the input is a scalar");
  const int64_t k = std::max<int64_t>(0, KnownInt(p, 1, "k"));
  const int32_t size = input.back();
  p.Check(k <= size, "k is ", k, ", the rows have ", size, " elements");
  Shape shape = input;
  shape.back() = static_cast<int32_t>(k);
  p.SetShape(0, shape);
  p.SetShape(1, shape);
  const int64_t rows = Product(input, 0, input.size() - 1);
  p.Check(rows <= INT32_MAX, rows, " rows");
  WithType<F32, F64, I8, U8, I16, U16, I32, U32, I64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    WithType<I32, I16, I64>(p, p.output_type(1), "indices", [&]<class I>(std::type_identity<I>) {
      p.Check(size - 1 <= std::numeric_limits<I>::max(), "rows of ", size, " elements for indices of type ",
              TensorTypeName(p.output_type(1)));
      const Slot order = p.Scratch(static_cast<size_t>(p.workers()) * static_cast<size_t>(k) * sizeof(int32_t));
      p.Emit([=, x = p.in(0), y = p.out(0), i = p.out(1)](RunContext& run) noexcept {
        run.Parallel(static_cast<int32_t>(rows), int64_t{size} * 8, [&](kernels::Range range, int worker) {
          int32_t* at = run.get<int32_t>(order) + worker * k;
          for (int64_t r = range.begin; r < range.end; ++r) {
            const T* row = run.get<T>(x) + r * size;
            FindTop(row, size, static_cast<int32_t>(k), at);
            for (int64_t j = 0; j < k; ++j) {
              run.get<T>(y)[r * k + j] = row[at[j]];
              run.get<I>(i)[r * k + j] = static_cast<I>(at[j]);
            }
          }
        });
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "TOPK_V2", .prepare = PrepareTopK},
};

}  // namespace

std::span<const OpDef> top_k_ops() { return kOps; }

}  // namespace sigrun::ops
