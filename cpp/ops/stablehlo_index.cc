#include <algorithm>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/ints.h"
#include "ops/support/reducer.h"
#include "ops/support/strided_copy.h"

// STABLEHLO_GATHER, _SCATTER, _DYNAMIC_SLICE and _DYNAMIC_UPDATE_SLICE: boxes of a tensor at places that data names.
namespace sigrun::ops {
namespace {

constexpr size_t kMaxRank = 12;

/// Reads element `i` of a tensor of indices.
using ReadIndex = int64_t (*)(const std::byte* indices, int64_t i);

template <class... Types>
ReadIndex ReaderOf(const Prepare& p, TensorType type) {
  ReadIndex read = nullptr;
  WithType<Types...>(p, type, "indices", [&]<class I>(std::type_identity<I>) {
    read = [](const std::byte* indices, int64_t i) { return static_cast<int64_t>(reinterpret_cast<const I*>(indices)[i]); };
  });
  return read;
}

/// Vectors of indices along one dimension of a tensor, and which box of another tensor each belongs to: `extent` and `stride` of the
/// dimensions of that tensor which count the vectors.
struct IndexVectors {
  ReadIndex read;
  int64_t outer = 1, length = 1, inner = 1;
  size_t rank = 0;
  int64_t extent[kMaxRank], stride[kMaxRank];
  size_t dimension[kMaxRank];  // of the operand that entry k of a vector indexes

  int64_t count() const { return outer * inner; }
  int64_t At(const std::byte* indices, int64_t vector, int64_t k) const {
    return read(indices, (vector / inner * length + k) * inner + vector % inner);
  }
  int64_t BoxOffset(int64_t vector) const {
    int64_t offset = 0;
    for (size_t d = rank; d-- > 0; vector /= extent[d]) offset += vector % extent[d] * stride[d];
    return offset;
  }
};

bool Contains(const std::vector<int64_t>& list, size_t d) {
  return std::find(list.begin(), list.end(), static_cast<int64_t>(d)) != list.end();
}

void CheckDimensions(const Prepare& p, const std::vector<int64_t>& list, size_t rank, const char* name) {
  for (size_t i = 0; i < list.size(); ++i) {
    p.Check(list[i] >= 0 && list[i] < static_cast<int64_t>(rank) && std::count(list.begin(), list.end(), list[i]) == 1, name,
            " names dimension ", list[i], " of ", rank);
  }
}

/// `dimensions` of the tensor of boxes count the vectors; entry k of a vector indexes dimension map[k] of the operand.
IndexVectors MakeVectors(const Prepare& p, int indices, ReadIndex read, int64_t vector_dim, const std::vector<int64_t>& map,
                         const Shape& boxes, const std::vector<int64_t>& window_dims) {
  const Shape& shape = p.shape(indices);
  p.Check(vector_dim >= 0 && vector_dim <= static_cast<int64_t>(shape.size()), "index_vector_dim ", vector_dim, " of indices of shape ",
          ToString(shape));
  const size_t v = static_cast<size_t>(vector_dim);
  IndexVectors vectors;
  vectors.read = read;
  vectors.outer = Product(shape, 0, v);
  if (v < shape.size()) {
    vectors.length = shape[v];
    vectors.inner = Product(shape, v + 1, shape.size());
  }
  p.Check(static_cast<int64_t>(map.size()) == vectors.length, "indices of length ", vectors.length, " for ", map.size(), " dimensions");
  p.Check(boxes.size() <= kMaxRank && map.size() <= kMaxRank && p.shape(0).size() <= kMaxRank, "too many dimensions");
  for (size_t k = 0; k < map.size(); ++k) vectors.dimension[k] = static_cast<size_t>(map[k]);
  const std::vector<int64_t> strides = DenseStrides(boxes);
  int64_t counted = 1;
  for (size_t d = 0; d < boxes.size(); ++d) {
    if (Contains(window_dims, d)) continue;
    vectors.extent[vectors.rank] = boxes[d];
    vectors.stride[vectors.rank++] = strides[d];
    counted *= boxes[d];
  }
  p.Check(counted == vectors.count(), vectors.count(), " index vectors for ", counted, " boxes");
  return vectors;
}

// --- GATHER ---

Shape GatherShape(const Prepare& p, const std::vector<int64_t>& offset_dims, const std::vector<int64_t>& collapsed,
                  const std::vector<int64_t>& sizes, int64_t vector_dim) {
  Shape batch = p.shape(1);
  if (vector_dim >= 0 && vector_dim < static_cast<int64_t>(batch.size())) batch.erase(batch.begin() + vector_dim);
  std::vector<int64_t> box;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (!Contains(collapsed, d)) box.push_back(sizes[d]);
    p.Check(!Contains(collapsed, d) || sizes[d] <= 1, "a collapsed dimension of ", sizes[d]);
  }
  p.Check(box.size() == offset_dims.size(), offset_dims.size(), " offset dimensions for boxes of ", box.size());
  const size_t rank = batch.size() + box.size();
  CheckDimensions(p, offset_dims, rank, "offset_dims");
  Shape shape;
  size_t from_batch = 0, from_box = 0;
  for (size_t d = 0; d < rank; ++d) {
    shape.push_back(Contains(offset_dims, d) ? static_cast<int32_t>(box[from_box++]) : batch[from_batch++]);
  }
  return shape;
}

struct Starts {
  int64_t last[kMaxRank];  // the largest start at which a box still fits, by dimension of the operand
  int64_t stride[kMaxRank];
};

Starts MakeStarts(const Shape& operand, const std::vector<int64_t>& sizes) {
  Starts starts{};
  const std::vector<int64_t> strides = DenseStrides(operand);
  for (size_t d = 0; d < operand.size(); ++d) {
    starts.last[d] = operand[d] - sizes[d];
    starts.stride[d] = strides[d];
  }
  return starts;
}

void PrepareGather(Prepare& p) {
  enum Field : int { kOffsetDims, kCollapsed, kStartIndexMap, kIndexVectorDim, kSliceSizes };
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& operand = p.shape(0);
  const flatbuffer::Table& o = p.options_2();
  const std::vector<int64_t> offset_dims = OptionInts(o, kOffsetDims, "offset_dims"),
                             collapsed = OptionInts(o, kCollapsed, "collapsed_slice_dims"),
                             map = OptionInts(o, kStartIndexMap, "start_index_map"), sizes = OptionInts(o, kSliceSizes, "slice_sizes");
  p.Check(sizes.size() == operand.size(), sizes.size(), " slice sizes for an operand of rank ", operand.size());
  for (size_t d = 0; d < sizes.size(); ++d)
    p.Check(sizes[d] >= 0 && sizes[d] <= operand[d], "a slice of ", sizes[d], " in a dimension of ", operand[d]);
  CheckDimensions(p, collapsed, operand.size(), "collapsed_slice_dims");
  CheckDimensions(p, map, operand.size(), "start_index_map");
  const int64_t vector_dim = o.Scalar<int64_t>(kIndexVectorDim);
  p.SetShape(0, GatherShape(p, offset_dims, collapsed, sizes, vector_dim));
  const Shape& output = p.output_shape(0);
  const IndexVectors vectors =
      MakeVectors(p, 1, ReaderOf<I32, I64, U32, U64, I8, U8, I16, U16>(p, p.type(1)), vector_dim, map, output, offset_dims);
  const Starts starts = MakeStarts(operand, sizes);
  const std::vector<int64_t> to = DenseStrides(output);
  std::vector<int64_t> in_order = offset_dims;
  std::sort(in_order.begin(), in_order.end());
  std::vector<CopyLoop> loops;
  size_t box = 0;
  for (size_t d = 0; d < operand.size(); ++d) {
    if (!Contains(collapsed, d)) loops.push_back({sizes[d], starts.stride[d], to[static_cast<size_t>(in_order[box++])]});
  }
  const StridedCopy copy = PlanCopy(p, loops);
  if (p.output_elements(0) == 0) return;
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([=, x = p.in(0), i = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      for (int64_t v = 0; v < vectors.count(); ++v) {
        int64_t from = 0;
        for (int64_t k = 0; k < vectors.length; ++k) {
          const size_t d = vectors.dimension[k];
          from += std::clamp<int64_t>(vectors.At(run.get<std::byte>(i), v, k), 0, starts.last[d]) * starts.stride[d];
        }
        RunCopy(run, copy, Elements<const T>(run, x) + from, Elements<T>(run, y) + vectors.BoxOffset(v));
      }
    });
  });
}

// --- SCATTER ---

/// The dimensions of a box, outermost first: its size, and how far a step moves in the updates and in the operand.
struct Box {
  size_t rank = 0;
  int64_t size[kMaxRank], from[kMaxRank], to[kMaxRank];
  size_t dimension[kMaxRank];  // of the operand
  size_t operand_rank = 0;
  int64_t extent[kMaxRank], stride[kMaxRank];  // of the operand
};

/// The part of a box that lies inside the operand, in steps of the box, and where in the operand the whole box begins.
struct Part {
  int64_t begin[kMaxRank], end[kMaxRank];
  int64_t offset = 0;
  bool empty = false;
};
Part PartInside(const Box& box, const IndexVectors& vectors, const std::byte* indices, int64_t vector) {
  int64_t start[kMaxRank] = {}, whole[kMaxRank] = {};
  for (int64_t k = 0; k < vectors.length; ++k) {
    start[vectors.dimension[k]] = std::clamp<int64_t>(vectors.At(indices, vector, k), INT32_MIN, INT32_MAX);
  }
  Part part;
  for (size_t d = 0; d < box.rank; ++d) whole[box.dimension[d]] = 1;
  for (size_t d = 0; d < box.operand_rank; ++d) {
    part.empty = !whole[d] && (start[d] < 0 || start[d] >= box.extent[d]);
    if (part.empty) return part;
    part.offset += start[d] * box.stride[d];
  }
  for (size_t d = 0; d < box.rank; ++d) {
    const int64_t first = start[box.dimension[d]];
    part.begin[d] = std::max<int64_t>(0, -first);
    part.end[d] = std::min(box.size[d], box.extent[box.dimension[d]] - first);
  }
  return part;
}

/// Puts the part of a box there.
template <class T, class Op>
void PutPart(const Box& box, const Part& part, size_t d, const T* from, T* to, const Op& op) {
  if (d == box.rank) {
    *to = Narrow<T>(op(Widen(*to), Widen(*from)));
    return;
  }
  for (int64_t i = part.begin[d]; i < part.end[d]; ++i) PutPart(box, part, d + 1, from + i * box.from[d], to + i * box.to[d], op);
}

Box MakeBox(const Prepare& p, const std::vector<int64_t>& window_dims, const std::vector<int64_t>& inserted) {
  const Shape &operand = p.shape(0), &updates = p.shape(2);
  CheckDimensions(p, window_dims, updates.size(), "update_window_dims");
  CheckDimensions(p, inserted, operand.size(), "inserted_window_dims");
  p.Check(window_dims.size() + inserted.size() == operand.size(), window_dims.size(), " window and ", inserted.size(),
          " inserted dimensions for an operand of rank ", operand.size());
  p.Check(operand.size() <= kMaxRank, "an operand of rank ", operand.size());
  const std::vector<int64_t> from = DenseStrides(updates), to = DenseStrides(operand);
  std::vector<int64_t> in_order = window_dims;
  std::sort(in_order.begin(), in_order.end());
  Box box;
  box.operand_rank = operand.size();
  for (size_t d = 0; d < operand.size(); ++d) {
    box.extent[d] = operand[d];
    box.stride[d] = to[d];
    if (Contains(inserted, d)) continue;
    const size_t window = static_cast<size_t>(in_order[box.rank]);
    p.Check(updates[window] <= operand[d], "updates of ", updates[window], " in a dimension of ", operand[d]);
    box.size[box.rank] = updates[window];
    box.from[box.rank] = from[window];
    box.to[box.rank] = to[d];
    box.dimension[box.rank++] = d;
  }
  return box;
}

template <class T, class Op>
void EmitScatter(Prepare& p, const IndexVectors& vectors, const Box& box, const Op& op) {
  p.Emit([=, n = p.elements(0), x = p.in(0), i = p.in(1), u = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    T* to = run.get<T>(y);
    if (run.get<T>(x) != to) CopyElements(run.get<const T>(x), to, n);
    for (int64_t v = 0; v < vectors.count(); ++v) {
      const Part part = PartInside(box, vectors, run.get<std::byte>(i), v);
      if (!part.empty) PutPart(box, part, 0, run.get<const T>(u) + vectors.BoxOffset(v), to + part.offset, op);
    }
  });
}

// Updates that lie outside the operand are left out.
void PrepareScatter(Prepare& p) {
  enum Field : int { kSorted, kWindowDims, kInserted, kMap, kIndexVectorDim, kUnique, kBody };
  p.CheckCounts(3, 3, 1);
  p.CheckType(2, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  const flatbuffer::Table& o = p.options_2();
  const std::vector<int64_t> window_dims = OptionInts(o, kWindowDims, "update_window_dims"),
                             map = OptionInts(o, kMap, "scatter_dims_to_operand_dims");
  const Box box = MakeBox(p, window_dims, OptionInts(o, kInserted, "inserted_window_dims"));
  CheckDimensions(p, map, p.shape(0).size(), "scatter_dims_to_operand_dims");
  const IndexVectors vectors =
      MakeVectors(p, 1, ReaderOf<I32, I64>(p, p.type(1)), o.Scalar<int64_t>(kIndexVectorDim), map, p.shape(2), window_dims);
  const Reducer reducer = ReadReducer(p, o.Scalar<int32_t>(kBody));
  p.SetShape(0, p.shape(0));
  if (p.node().inputs[0] != p.node().inputs[2] && p.node().inputs[0] != p.node().inputs[1]) p.MayOverwrite(0, 0);
  WithArithmetic(p, p.type(0), "an operand", [&]<class T>(std::type_identity<T>) {
    WithReducer(reducer, [&](const auto& op) { EmitScatter<T>(p, vectors, box, op); });
  });
}

// --- DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE: the start is one scalar for each dimension ---

struct ScalarStarts {
  Starts starts;
  size_t rank = 0;
  bool wide = false;  // int64
  Slot slot[kMaxRank];

  int64_t Offset(const RunContext& run) const {
    int64_t offset = 0;
    for (size_t d = 0; d < rank; ++d) {
      const int64_t start = wide ? *run.get<int64_t>(slot[d]) : *run.get<int32_t>(slot[d]);
      offset += std::clamp<int64_t>(start, 0, starts.last[d]) * starts.stride[d];
    }
    return offset;
  }
};

ScalarStarts ReadStarts(Prepare& p, int first, const std::vector<int64_t>& sizes) {
  const Shape& operand = p.shape(0);
  p.Check(operand.size() <= kMaxRank, "an operand of rank ", operand.size());
  p.CheckCounts(first + static_cast<int>(operand.size()), first + static_cast<int>(operand.size()), 1);
  p.Check(sizes.size() == operand.size(), sizes.size(), " sizes for an operand of rank ", operand.size());
  ScalarStarts s;
  s.starts = MakeStarts(operand, sizes);
  s.rank = operand.size();
  for (size_t d = 0; d < operand.size(); ++d) {
    const int i = first + static_cast<int>(d);
    p.Check(sizes[d] >= 0 && sizes[d] <= operand[d], "a box of ", sizes[d], " in a dimension of ", operand[d]);
    p.CheckType(i, {TensorType::kInt32, TensorType::kInt64});
    p.CheckType(i, {p.type(first)});
    p.Check(p.elements(i) == 1, "start index ", d, " has shape ", ToString(p.shape(i)));
    s.wide = p.type(i) == TensorType::kInt64;
    s.slot[d] = p.in(i);
  }
  return s;
}

void PrepareDynamicSlice(Prepare& p) {
  p.CheckOutputType(0, {p.type(0)});
  const std::vector<int64_t> sizes = OptionInts(p.options_2(), 0, "slice_sizes");
  const ScalarStarts starts = ReadStarts(p, 1, sizes);
  const Shape shape(sizes.begin(), sizes.end());
  p.SetShape(0, shape);
  const std::vector<int64_t> from = DenseStrides(p.shape(0)), to = DenseStrides(shape);
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < shape.size(); ++d) loops.push_back({shape[d], from[d], to[d]});
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([starts, copy = PlanCopy(p, loops), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      RunCopy(run, copy, Elements<const T>(run, x) + starts.Offset(run), Elements<T>(run, y));
    });
  });
}

void PrepareDynamicUpdateSlice(Prepare& p) {
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  const Shape &operand = p.shape(0), &update = p.shape(1);
  const ScalarStarts starts = ReadStarts(p, 2, {update.begin(), update.end()});
  p.SetShape(0, operand);
  const std::vector<int64_t> from = DenseStrides(update), to = DenseStrides(operand);
  std::vector<CopyLoop> loops;
  for (size_t d = 0; d < update.size(); ++d) loops.push_back({update[d], from[d], to[d]});
  if (p.node().inputs[0] != p.node().inputs[1]) p.MayOverwrite(0, 0);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([starts, copy = PlanCopy(p, loops), n = p.elements(0), x = p.in(0), u = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      const T* whole = Elements<const T>(run, x);
      T* result = Elements<T>(run, y);
      const int64_t offset = starts.Offset(run);  // before the operand, which may hold the indices, is changed
      if (whole != result) CopyElements(whole, result, n);
      RunCopy(run, copy, Elements<const T>(run, u), result + offset);
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "STABLEHLO_DYNAMIC_SLICE", .prepare = PrepareDynamicSlice},
    {.name = "STABLEHLO_DYNAMIC_UPDATE_SLICE", .prepare = PrepareDynamicUpdateSlice},
    {.name = "STABLEHLO_GATHER", .prepare = PrepareGather},
    {.name = "STABLEHLO_SCATTER", .prepare = PrepareScatter},
};

}  // namespace

std::span<const OpDef> stablehlo_index_ops() { return kOps; }

}  // namespace sigrun::ops
