#include <algorithm>
#include <limits>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// SEGMENT_SUM and UNSORTED_SEGMENT_*: rows of the input folded into those rows of the output that segment ids name.
namespace sigrun::ops {
namespace {

enum class Fold : uint8_t { kSum, kProd, kMax, kMin };

template <Fold kFold, class T>
constexpr T Initial() {
  switch (kFold) {
    case Fold::kSum: return T{0};
    case Fold::kProd: return T{1};
    case Fold::kMax: return std::numeric_limits<T>::lowest();
    case Fold::kMin: return std::numeric_limits<T>::max();
  }
}

template <Fold kFold, class T>
T Folded(T a, T b) {
  switch (kFold) {
    case Fold::kSum: return Plus(a, b);
    case Fold::kProd: return Times(a, b);
    case Fold::kMax: return a < b ? b : a;
    case Fold::kMin: return b < a ? b : a;
  }
}

/// Folds the input's slices, one an id, into `segments` rows; slices with a negative id are left out. Sets the output's shape.
template <Fold kFold>
void EmitSegments(Prepare& p, int64_t segments) {
  p.CheckOutputType(0, {p.type(0)});
  const Shape& data = p.shape(0);
  const Shape& ids = p.shape(1);
  p.Check(ids.size() <= data.size() && std::equal(ids.begin(), ids.end(), data.begin()), "segment ids of shape ", ToString(ids),
          " for data of shape ", ToString(data));
  p.Check(segments >= 0 && segments <= INT32_MAX, segments, " segments");
  Shape shape(data.begin() + static_cast<ptrdiff_t>(ids.size()), data.end());
  const int64_t row = Product(shape, 0, shape.size());
  shape.insert(shape.begin(), static_cast<int32_t>(segments));
  p.SetShape(0, shape);
  WithType<F32, F64, I8, U8, I16, I32, I64>(p, p.type(0), "data", [&]<class T>(std::type_identity<T>) {
    WithType<I32, I64>(p, p.type(1), "segment ids", [&]<class I>(std::type_identity<I>) {
      p.Emit([=, n = p.elements(1), x = p.in(0), i = p.in(1), y = p.out(0)](RunContext& run) noexcept {
        const T* from = run.get<T>(x);
        const I* id = run.get<I>(i);
        T* to = run.get<T>(y);
        std::fill_n(to, segments * row, Initial<kFold, T>());
        for (int64_t k = 0; k < n; ++k, from += row) {
          if (id[k] < 0) continue;
          if (id[k] >= segments) return run.Fail(Concat("segment id ", id[k], " at position ", k, " is outside [0, ", segments, ")"));
          T* sum = to + id[k] * row;
          for (int64_t c = 0; c < row; ++c) sum[c] = Folded<kFold>(sum[c], from[c]);
        }
      });
    });
  });
}

// The ids must count up from 0 without a gap: they decide the output's shape.
void PrepareSegmentSum(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.Check(p.shape(1).size() == 1 && !p.shape(0).empty(), "segment ids of shape ", ToString(p.shape(1)), " for data of shape ",
          ToString(p.shape(0)));
  int64_t last = -1;
  for (const int64_t id : p.ConstantInts(1, "segment ids")) {
    p.Check(id >= 0 && (id == last || id == last + 1), "segment id ", id, " follows ", last);
    last = id;
  }
  EmitSegments<Fold::kSum>(p, last + 1);
}

template <Fold kFold>
void PrepareUnsorted(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  EmitSegments<kFold>(p, KnownInt(p, 2, "number of segments"));
}

constexpr OpDef kOps[] = {
    {.name = "SEGMENT_SUM", .prepare = PrepareSegmentSum},
    {.name = "UNSORTED_SEGMENT_SUM", .prepare = PrepareUnsorted<Fold::kSum>},
    {.name = "UNSORTED_SEGMENT_PROD", .prepare = PrepareUnsorted<Fold::kProd>},
    {.name = "UNSORTED_SEGMENT_MAX", .prepare = PrepareUnsorted<Fold::kMax>},
    {.name = "UNSORTED_SEGMENT_MIN", .prepare = PrepareUnsorted<Fold::kMin>},
};

}  // namespace

std::span<const OpDef> segment_ops() { return kOps; }

}  // namespace sigrun::ops
