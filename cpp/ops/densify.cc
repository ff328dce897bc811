#include <algorithm>
#include <cstring>

#include "ops/op.h"
#include "ops/support/strided_copy.h"

// DENSIFY: a sparse constant as a dense tensor. The dimensions, some of them cut into blocks, are stored one inside the other in a given
// order; each is either dense or, as in a CSR matrix, lists the indices that there are.
namespace sigrun {

Prepare::Sparse Prepare::sparse(int i) const {
  const size_t v = static_cast<size_t>(node_.inputs[static_cast<size_t>(i)]);
  const Value& value = graph_.values[v];
  return {{value.constant, value.constant == nullptr ? 0 : value.constant_bytes}, value.sparsity};
}

namespace ops {
namespace {

enum ParameterField : int { kTraversalOrder, kBlockMap, kDimensions };
enum DimensionField : int { kFormat, kDenseSize, kSegmentsType, kSegments, kIndicesType, kIndices };

/// One level of the nesting.
struct Level {
  bool sparse = false;
  int64_t size = 0;                        // how many indices a dense level has, or how large a sparse one may get
  int64_t stride = 0;                      // how far an index moves in the dense tensor
  std::vector<int64_t> segments, indices;  // of a sparse level: entries [segments[k], segments[k + 1]) belong to entry k of the level above
};

std::vector<int64_t> ReadInts(const Prepare& p, const flatbuffer::Table& table, int type_field, int field, const char* name) {
  std::vector<int64_t> out;
  const flatbuffer::Table values = table.Child(field, name);
  const auto read = [&](const auto& vector) {
    for (uint32_t i = 0; i < vector.size(); ++i) out.push_back(vector[i]);
  };
  switch (table.Scalar<uint8_t>(type_field)) {
    case 1: read(values.Scalars<int32_t>(0, "values")); break;
    case 2: read(values.Scalars<uint16_t>(0, "values")); break;
    case 3: read(values.Scalars<uint8_t>(0, "values")); break;
    default: p.Refuse(StatusCode::kInvalidArgument, Concat("its ", name, " are missing"));
  }
  return out;
}

/// How many entries the levels have below `above` entries. Throws unless every index lies in its dimension.
int64_t CheckLevel(const Prepare& p, const Level& level, int64_t above) {
  if (!level.sparse) return above * level.size;
  const std::vector<int64_t>& segments = level.segments;
  p.Check(static_cast<int64_t>(segments.size()) > above && std::is_sorted(segments.begin(), segments.end()) && segments.front() >= 0 &&
              segments[static_cast<size_t>(above)] <= static_cast<int64_t>(level.indices.size()),
          "the segments of a sparse dimension");
  for (const int64_t index : level.indices) p.Check(index >= 0 && index < level.size, "index ", index, " is outside [0, ", level.size, ")");
  return segments[static_cast<size_t>(above)];
}

std::vector<Level> ReadLevels(const Prepare& p, const flatbuffer::Table& parameters, const Shape& shape) {
  const auto order = parameters.Scalars<int32_t>(kTraversalOrder, "traversal_order"),
             blocks = parameters.Scalars<int32_t>(kBlockMap, "block_map");
  const auto dimensions = parameters.Children(kDimensions, "dim_metadata");
  const size_t rank = shape.size(), count = rank + blocks.size();
  p.Check(order.size() == count && dimensions.size() == count && count <= 16, order.size(), " dimensions in order, ", dimensions.size(),
          " described, of ", count);
  std::vector<int64_t> unit = DenseStrides(shape), extent(shape.begin(), shape.end());
  std::vector<Level> levels(count);
  std::vector<bool> seen(count, false);
  // Blocks first: they say how far an index of the dimension that they cut moves.
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t at = order[i];
    p.Check(at >= 0 && static_cast<size_t>(at) < count && !seen[static_cast<size_t>(at)], "dimension ", at, " in the traversal order");
    seen[static_cast<size_t>(at)] = true;
    if (static_cast<size_t>(at) < rank) continue;
    const int32_t cut = blocks[static_cast<uint32_t>(at) - static_cast<uint32_t>(rank)];
    const int64_t size = dimensions[i].Scalar<int32_t>(kDenseSize);
    p.Check(cut >= 0 && static_cast<size_t>(cut) < rank && dimensions[i].Scalar<int8_t>(kFormat) == 0 && size >= 1, "a block of dimension ",
            cut);
    const size_t d = static_cast<size_t>(cut);
    p.Check(extent[d] % size == 0, "blocks of ", size, " in a dimension of ", extent[d]);
    levels[i].size = size;
    levels[i].stride = unit[d];
    unit[d] *= size;
    extent[d] /= size;
  }
  int64_t entries = 1;
  for (uint32_t i = 0; i < count; ++i) {
    const size_t d = static_cast<size_t>(order[i]);
    Level& level = levels[i];
    if (d < rank) {
      level.stride = unit[d];
      level.size = extent[d];
      level.sparse = dimensions[i].Scalar<int8_t>(kFormat) == 1;
      p.Check(level.sparse || dimensions[i].Scalar<int32_t>(kDenseSize) == level.size, "dimension ", d, " has ", level.size,
              " indices, stored are ", dimensions[i].Scalar<int32_t>(kDenseSize));
      if (level.sparse) {
        level.segments = ReadInts(p, dimensions[i], kSegmentsType, kSegments, "array_segments");
        level.indices = ReadInts(p, dimensions[i], kIndicesType, kIndices, "array_indices");
      }
    }
    entries = CheckLevel(p, level, entries);
  }
  return levels;
}

/// Calls f(offset in the dense tensor) for every stored element in order, below entry `k` of the level above.
template <class F>
void Visit(const std::vector<Level>& levels, size_t depth, int64_t k, int64_t at, const F& f) {
  if (depth == levels.size()) return f(k, at);
  const Level& level = levels[depth];
  if (level.sparse) {
    for (int64_t e = level.segments[static_cast<size_t>(k)]; e < level.segments[static_cast<size_t>(k) + 1]; ++e) {
      Visit(levels, depth + 1, e, at + level.indices[static_cast<size_t>(e)] * level.stride, f);
    }
  } else {
    for (int64_t i = 0; i < level.size; ++i) Visit(levels, depth + 1, k * level.size + i, at + i * level.stride, f);
  }
}

int64_t CountEntries(const std::vector<Level>& levels) {
  int64_t entries = 1;
  for (const Level& level : levels) entries = level.sparse ? level.segments[static_cast<size_t>(entries)] : entries * level.size;
  return entries;
}

void PrepareDensify(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.Check(p.constant(0) != nullptr, "its input is no constant");
  const Prepare::Sparse sparse = p.sparse(0);
  p.SetShape(0, p.shape(0));
  if (!sparse.parameters) return p.Alias(0, 0);
  const std::vector<Level> levels = ReadLevels(p, sparse.parameters, p.shape(0));
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, std::string>) {
      p.Refuse(StatusCode::kUnimplemented, "sparse strings");
    } else {
      const int64_t stored = CountEntries(levels);
      p.Check(sparse.bytes.size() / sizeof(T) >= static_cast<size_t>(stored), stored, " elements in ", sparse.bytes.size(), " bytes");
      p.Emit([levels, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
        const T* from = run.get<T>(x);
        T* to = run.get<T>(y);
        std::fill_n(to, n, T{});
        Visit(levels, 0, 0, 0, [&](int64_t k, int64_t at) { to[at] = from[k]; });
      });
    }
  });
}

constexpr OpDef kOps[] = {
    {.name = "DENSIFY", .prepare = PrepareDensify},
};

}  // namespace

std::span<const OpDef> densify_ops() { return kOps; }

}  // namespace ops
}  // namespace sigrun
