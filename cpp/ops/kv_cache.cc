#include <algorithm>
#include <array>
#include <cstring>

#include "ops/op.h"
#include "ops/support/flexbuffer.h"
#include "run/state.h"

// The custom operators by which language models keep keys and values [1, tokens, heads, channels]: odml.update_external_kv_cache writes
// rows of caches that the model hands on, odml.update_kv_cache those of caches that the Interpreter holds, one a layer, for all signatures.
namespace sigrun::ops {
namespace {

void CheckSlices(const Prepare& p, int position, int key, int value) {
  for (const int i : {key, value}) p.CheckType(i, {TensorType::kFloat32});
  for (int o = 0; o < 2; ++o) p.CheckOutputType(o, {TensorType::kFloat32});
  const Shape& slice = p.shape(key);
  p.Check(slice.size() == 4 && slice[0] == 1 && p.shape(value) == slice, "keys ", ToString(slice), " and values ", ToString(p.shape(value)),
          ", expected one shape [1, tokens, heads, channels]");
  p.Check(p.shape(position).size() == 1 && p.shape(position)[0] == slice[1], "positions of shape ", ToString(p.shape(position)),
          " for keys ", ToString(slice));
}

// --- caches that are operands ---

constexpr int kKeyCache = 0, kValueCache = 1, kRow = 2, kKeySlice = 3, kValueSlice = 4;

// How many rows are written: positions that fall end the list. -1 if one lies outside, which `*bad` then says.
int64_t RowsToWrite(const int32_t* positions, int64_t n, int32_t capacity, int32_t* bad) {
  int32_t last = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (positions[i] < last) return i;
    last = *bad = positions[i];
    if (last < 0 || last >= capacity) return -1;
  }
  return n;
}

void PrepareExternal(Prepare& p) {
  p.CheckCounts(5, 5, 2);
  CheckSlices(p, kRow, kKeySlice, kValueSlice);
  p.CheckType(kRow, {TensorType::kInt32});
  const Shape &cache = p.shape(kKeyCache), &slice = p.shape(kKeySlice);
  for (const int i : {kKeyCache, kValueCache}) {
    p.CheckType(i, {TensorType::kFloat32});
    p.Check(p.shape(i).size() == 4 && p.shape(i) == cache && cache[2] == slice[2] && cache[3] == slice[3], "caches ", ToString(cache),
            " and ", ToString(p.shape(i)), " for keys ", ToString(slice));
    p.SetShape(i, cache);
  }
  const auto& inputs = p.node().inputs;
  for (const int i : {kKeyCache, kValueCache}) {
    if (std::count(inputs.begin(), inputs.end(), inputs[static_cast<size_t>(i)]) == 1) p.MayOverwrite(i, i);
  }
  const size_t row = static_cast<size_t>(slice[2]) * static_cast<size_t>(slice[3]);
  p.Emit([=, n = int64_t{slice[1]}, capacity = cache[1], elements = static_cast<size_t>(p.elements(kKeyCache)), positions = p.in(kRow),
          from = std::array{p.in(kKeyCache), p.in(kValueCache)}, slices = std::array{p.in(kKeySlice), p.in(kValueSlice)},
          to = std::array{p.out(0), p.out(1)}](RunContext& run) noexcept {
    const int32_t* at = run.get<int32_t>(positions);
    int32_t bad = 0;
    const int64_t rows = RowsToWrite(at, n, capacity, &bad);
    if (rows < 0) return run.Fail(Concat("position ", bad, " of a cache of ", capacity));
    for (size_t c = 0; c < 2; ++c) {
      float* cache_rows = run.get<float>(to[c]);
      const float* before = run.get<float>(from[c]);
      if (before != cache_rows) std::copy_n(before, elements, cache_rows);
      for (int64_t i = 0; i < rows; ++i) {
        std::copy_n(run.get<float>(slices[c]) + static_cast<size_t>(i) * row, row, cache_rows + static_cast<size_t>(at[i]) * row);
      }
    }
  });
}

// --- caches of the Interpreter ---

constexpr int kPosition = 0, kKey = 1, kValue = 2;
constexpr uint32_t kCaches = UINT32_MAX;  // in place of a subgraph: theirs are numbered from 0

/// The caches of one layer hold the positions [first, first + capacity), where `first` is the node's own.
struct LayerCaches {
  int32_t layer, capacity;
  uint32_t subgraph;
  int32_t node;
  size_t row;  // floats of a position

  size_t floats() const { return static_cast<size_t>(capacity) * row; }
  float* Cache(State& state, int c) const {
    return reinterpret_cast<float*>(state.VariableTensor(kCaches, 2 * layer + c, floats() * sizeof(float), std::byte{0}));
  }
  int64_t* First(State& state) const {
    return reinterpret_cast<int64_t*>(state.VariableTensor(subgraph, -1 - node, sizeof(int64_t), std::byte{0}));
  }
  void Update(RunContext& run, int64_t position, int64_t tokens, const float* const (&slices)[2], float* const (&outputs)[2]) const;
};

// Positions beyond the end push out the oldest.
void LayerCaches::Update(RunContext& run, int64_t position, int64_t tokens, const float* const (&slices)[2],
                         float* const (&outputs)[2]) const {
  int64_t* first = First(run.state());
  const int64_t begin = std::clamp<int64_t>(position, 0, INT64_MAX / 2);
  const int64_t beyond = std::clamp<int64_t>(begin + tokens - (*first + capacity), 0, capacity);
  const int64_t slot = begin - *first - beyond;
  if (position != begin || position < *first || slot < 0 || slot + tokens > capacity) {
    return run.Fail(Concat("position ", position, " and ", tokens, " tokens for a cache of ", capacity, " that begins with ", *first));
  }
  *first += beyond;
  for (int c = 0; c < 2; ++c) {
    float* cache = Cache(run.state(), c);
    if (beyond > 0 && beyond < capacity) {
      std::memmove(cache, cache + static_cast<size_t>(beyond) * row, static_cast<size_t>(capacity - beyond) * row * sizeof(float));
    }
    std::copy_n(slices[c], static_cast<size_t>(tokens) * row, cache + static_cast<size_t>(slot) * row);
    std::copy_n(cache, floats(), outputs[c]);
  }
}

void PrepareUpdate(Prepare& p) {
  constexpr int32_t kCapacity = 2048, kLayers = 32, kMostLayers = 1 << 20;
  p.CheckCounts(3, 3, 2);
  CheckSlices(p, kPosition, kKey, kValue);
  p.CheckType(kPosition, {TensorType::kInt64});
  const FlexMap options(p, p.custom_options());
  const auto positive = [&](const char* name, int32_t otherwise) {
    const int32_t value = options.Int32(name, 0);
    return value > 0 ? value : otherwise;
  };
  const Shape& slice = p.shape(kKey);
  const LayerCaches caches{positive("layer_index", 0), positive("kv_cache_max", kCapacity), p.subgraph(), p.node().index,
                           static_cast<size_t>(slice[2]) * static_cast<size_t>(slice[3])};
  const int32_t layers = positive("num_layers", kLayers);
  p.Check(caches.layer < std::min(layers, kMostLayers), "layer_index ", caches.layer, " of ", layers);
  p.Check(slice[1] >= 1 && slice[1] <= caches.capacity, slice[1], " tokens for a cache of ", caches.capacity);
  for (int o = 0; o < 2; ++o) p.SetShape(o, {1, caches.capacity, slice[2], slice[3]});
  p.UseState();
  p.Emit([=, tokens = int64_t{slice[1]}, position = p.in(kPosition), key = p.in(kKey), value = p.in(kValue), keys = p.out(0),
          values = p.out(1)](RunContext& run) noexcept {
    const Status status = Guard([&] {
      caches.Update(run, *run.get<int64_t>(position), tokens, {run.get<float>(key), run.get<float>(value)},
                    {run.get<float>(keys), run.get<float>(values)});
    });
    if (!status.ok()) run.Fail(status.message());
  });
}

constexpr OpDef kOps[] = {
    {.name = "odml.update_external_kv_cache", .prepare = PrepareExternal},
    {.name = "odml.update_kv_cache", .prepare = PrepareUpdate, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> kv_cache_ops() { return kOps; }

}  // namespace sigrun::ops
