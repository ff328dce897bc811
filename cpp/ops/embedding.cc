#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/float16.h"

// Rows of a table: EMBEDDING_LOOKUP by number, EMBEDDING_LOOKUP_SPARSE weighted sums of them, HASHTABLE_LOOKUP by sorted key.
namespace sigrun::ops {
namespace {

int64_t RowElements(const Shape& table) { return Product(table, 1, table.size()); }

void CheckVector(const Prepare& p, int i, TensorType type) {
  p.CheckType(i, {type});
  p.Check(p.shape(i).size() == 1, "input ", i, " has shape ", ToString(p.shape(i)), ", expected a vector");
}

/// False after a report if a row number is none.
bool CheckRows(RunContext& run, const int32_t* rows, int64_t n, int64_t size) {
  const int32_t* bad = std::find_if(rows, rows + n, [size](int32_t row) { return row < 0 || row >= size; });
  if (bad != rows + n) run.Fail(Concat("row ", *bad, " at position ", bad - rows, " is outside [0, ", size, ")"));
  return bad == rows + n;
}

/// Element i of packed integers of kBits.
template <int kBits>
int32_t Unpack(const int8_t* data, int64_t i) {
  if constexpr (kBits == 8) {
    return data[i];
  } else {
    constexpr int kEach = 8 / kBits;
    const int at = static_cast<int>(i % kEach) * kBits;
    return static_cast<int8_t>(static_cast<uint8_t>(data[i / kEach]) << (8 - kBits - at)) >> (8 - kBits);
  }
}

// The same where each block of a row has a scale.
template <int kBits, class Y>
void EmitDequantizedBlocks(Prepare& p) {
  const int64_t size = p.shape(1)[0], row = RowElements(p.shape(1)), count = p.elements(0);
  p.Emit([=, blocks = p.blocks(1), i = p.in(0), x = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    const int32_t* rows = run.get<int32_t>(i);
    if (!CheckRows(run, rows, count, size)) return;
    const int8_t* from = run.get<int8_t>(x);
    Y* to = run.get<Y>(y);
    for (int64_t k = 0; k < count; ++k) {
      for (int64_t at = rows[k] * row; at < (rows[k] + 1) * row; ++at) {
        *to++ = static_cast<Y>(static_cast<float>(Unpack<kBits>(from, at)) * blocks.scale[static_cast<size_t>(at / blocks.size)]);
      }
    }
  });
}

// Numbers of a symmetrically quantised table as floats. UINT8 is read as INT8, as LiteRT does.
template <int kBits, class Y>
void EmitDequantizedRows(Prepare& p) {
  const Quantization& q = p.quantization(1);
  const int64_t size = p.shape(1)[0], row = RowElements(p.shape(1)), count = p.elements(0);
  const bool per_row = q.scale.size() > 1;
  if (q.block_size > 0) return EmitDequantizedBlocks<kBits, Y>(p);
  p.Check(!q.empty() && (!per_row || (q.dimension == 0 && static_cast<int64_t>(q.scale.size()) == size)), "a table of ", size,
          " rows with ", q.scale.size(), " scales along dimension ", q.dimension);
  p.Check(q.zero_point.empty() || q.zero_point[0] == 0, "a table with the zero point ", q.zero_point.empty() ? 0 : q.zero_point[0]);
  p.Emit([=, scale = q.scale, i = p.in(0), x = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    const int32_t* rows = run.get<int32_t>(i);
    if (!CheckRows(run, rows, count, size)) return;
    const int8_t* from = run.get<int8_t>(x);
    Y* to = run.get<Y>(y);
    for (int64_t k = 0; k < count; ++k) {
      const float s = scale[per_row ? static_cast<size_t>(rows[k]) : 0];
      for (int64_t c = 0; c < row; ++c) *to++ = static_cast<Y>(static_cast<float>(Unpack<kBits>(from, rows[k] * row + c)) * s);
    }
  });
}

template <class Y>
void EmitHybrid(Prepare& p) {
  switch (TensorTypeBits(p.type(1))) {
    case 2: return EmitDequantizedRows<2, Y>(p);
    case 4: return EmitDequantizedRows<4, Y>(p);
    default: return EmitDequantizedRows<8, Y>(p);
  }
}

void PrepareEmbeddingLookup(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  CheckVector(p, 0, TensorType::kInt32);
  Shape shape = p.shape(1);
  p.Check(shape.size() >= 2, "a table of rank ", shape.size(), ", expected at least 2");
  const int64_t size = shape[0], row = RowElements(shape), count = p.elements(0);
  shape[0] = p.shape(0)[0];
  p.SetShape(0, shape);
  if (p.output_type(0) != p.type(1)) {
    p.CheckType(1, {TensorType::kInt8, TensorType::kUInt8, TensorType::kInt4, TensorType::kInt2});
    p.CheckOutputType(0, {TensorType::kFloat32, TensorType::kFloat16});
    return p.output_type(0) == TensorType::kFloat32 ? EmitHybrid<float>(p) : EmitHybrid<Half>(p);
  }
  WithElement(p, p.type(1), [&]<class T>(std::type_identity<T>) {
    p.Emit([=, i = p.in(0), x = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      const int32_t* rows = run.get<int32_t>(i);
      if (!CheckRows(run, rows, count, size)) return;
      for (int64_t k = 0; k < count; ++k) CopyElements(Elements<const T>(run, x) + rows[k] * row, Elements<T>(run, y) + k * row, row);
    });
  });
}

// --- EMBEDDING_LOOKUP_SPARSE ---

enum class Combiner : int8_t { kSum, kMean, kSqrtn };

/// Which row of the output a looked-up row is added to, from the leading indices of a sparse matrix.
struct Buckets {
  static constexpr size_t kMaxDims = 8;
  size_t rank;  // of the sparse tensor; its last dimension is summed away
  int64_t size[kMaxDims];

  /// -1 after a report.
  int64_t Find(RunContext& run, const int32_t* index) const {
    int64_t bucket = 0;
    for (size_t d = 0; d + 1 < rank; ++d) {
      if (index[d] < 0 || index[d] >= size[d]) {
        run.Fail(Concat("index ", index[d], " is outside [0, ", size[d], ") of dimension ", d));
        return -1;
      }
      bucket = bucket * size[d] + index[d];
    }
    return bucket;
  }
};

/// The weights of the rows that were added to one bucket without another in between.
struct Weights {
  float sum = 0, squares = 0;
  int64_t count = 0;

  void Finish(Combiner combiner, float* y, int64_t n) const {
    if (combiner == Combiner::kSum || count == 0) return;
    const float divisor = combiner == Combiner::kMean ? sum : std::sqrt(squares);
    for (int64_t c = 0; c < n; ++c) y[c] /= divisor;
  }
};

void PrepareEmbeddingLookupSparse(Prepare& p) {
  p.CheckCounts(5, 5, 1);
  CheckVector(p, 0, TensorType::kInt32);
  p.CheckType(1, {TensorType::kInt32});
  CheckVector(p, 3, TensorType::kFloat32);
  p.CheckType(4, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  const Shape& table = p.shape(4);
  const std::vector<int64_t> dense = p.ConstantInts(2, "dense shape");
  const int64_t count = p.elements(0), row = RowElements(table), size = table.empty() ? 0 : table[0];
  p.Check(table.size() >= 2, "a table of rank ", table.size(), ", expected at least 2");
  p.Check(!dense.empty() && dense.size() <= Buckets::kMaxDims, "a dense shape of ", dense.size(), " dimensions");
  p.Check(p.shape(1) == Shape({static_cast<int32_t>(count), static_cast<int32_t>(dense.size())}) && p.elements(3) == count,
          "indices of shape ", ToString(p.shape(1)), " and ", p.elements(3), " weights for ", count, " rows");
  const Combiner combiner = p.options().Scalar<Combiner>(0);
  p.Check(combiner <= Combiner::kSqrtn && combiner >= Combiner::kSum, "combiner ", static_cast<int>(combiner));
  Buckets buckets{dense.size(), {}};
  Shape shape;
  for (size_t d = 0; d + 1 < dense.size(); ++d) {
    p.Check(dense[d] >= 0 && dense[d] <= INT32_MAX, "dimension ", dense[d], " in the dense shape");
    buckets.size[d] = dense[d];
    shape.push_back(static_cast<int32_t>(dense[d]));
  }
  shape.insert(shape.end(), table.begin() + 1, table.end());
  p.SetShape(0, shape);
  if (p.output_elements(0) == 0) return;
  p.Emit([=, n = p.output_elements(0), ids = p.in(0), at = p.in(1), w = p.in(3), x = p.in(4), y = p.out(0)](RunContext& run) noexcept {
    const int32_t* rows = run.get<int32_t>(ids);
    if (!CheckRows(run, rows, count, size)) return;
    float* to = run.get<float>(y);
    std::fill_n(to, n, 0.0f);
    Weights weights;
    int64_t current = 0;
    for (int64_t k = 0; k < count; ++k) {
      const int64_t bucket = buckets.Find(run, run.get<int32_t>(at) + static_cast<size_t>(k) * buckets.rank);
      if (bucket < 0) return;
      if (bucket != current) {
        weights.Finish(combiner, to + current * row, row);
        weights = {};
        current = bucket;
      }
      const float weight = run.get<float>(w)[k];
      ++weights.count;
      weights.sum += weight;
      weights.squares += weight * weight;
      for (int64_t c = 0; c < row; ++c) to[current * row + c] += run.get<float>(x)[rows[k] * row + c] * weight;
    }
    weights.Finish(combiner, to + current * row, row);
  });
}

// Keys that are not in the table give zeros, or empty strings.
void PrepareHashtableLookup(Prepare& p) {
  p.CheckCounts(3, 3, 2);
  CheckVector(p, 0, TensorType::kInt32);
  CheckVector(p, 1, TensorType::kInt32);
  p.CheckOutputType(0, {p.type(2)});
  p.CheckOutputType(1, {TensorType::kUInt8});
  Shape shape = p.shape(2);
  p.Check(!shape.empty() && shape[0] == p.shape(1)[0], "a table of shape ", ToString(shape), " for ", p.shape(1)[0], " keys");
  const int64_t count = p.elements(0), keys = p.elements(1), row = RowElements(shape);
  shape[0] = p.shape(0)[0];
  p.SetShape(0, shape);
  p.SetShape(1, p.shape(0));
  WithElement(p, p.type(2), [&]<class T>(std::type_identity<T>) {
    p.Emit([=, i = p.in(0), k = p.in(1), x = p.in(2), y = p.out(0), h = p.out(1)](RunContext& run) noexcept {
      const int32_t* key = run.get<int32_t>(k);
      for (int64_t n = 0; n < count; ++n) {
        const int32_t wanted = run.get<int32_t>(i)[n];
        const int32_t* found = std::lower_bound(key, key + keys, wanted);
        const bool hit = found != key + keys && *found == wanted;
        T* to = Elements<T>(run, y) + n * row;
        run.get<uint8_t>(h)[n] = hit;
        if (hit) {
          CopyElements(Elements<const T>(run, x) + (found - key) * row, to, row);
        } else {
          std::fill_n(to, row, T{});
        }
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "EMBEDDING_LOOKUP", .prepare = PrepareEmbeddingLookup},
    {.name = "EMBEDDING_LOOKUP_SPARSE", .prepare = PrepareEmbeddingLookupSparse},
    {.name = "HASHTABLE_LOOKUP", .prepare = PrepareHashtableLookup},
};

}  // namespace

std::span<const OpDef> embedding_ops() { return kOps; }

}  // namespace sigrun::ops
