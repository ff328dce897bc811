#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "ops/op.h"
#include "ops/support/attention.h"
#include "ops/support/elements.h"
#include "ops/support/flexbuffer.h"
#include "ops/support/float_product.h"
#include "ops/support/gemm.h"
#include "ops/support/quantization.h"
#include "ops/support/worker_scratch.h"

// softmax(scale * Q K^T + mask) V, which a pass makes of BATCH_MATMUL, MUL, ADD, SOFTMAX and BATCH_MATMUL, or a custom operator says at
// once. A block of queries goes through all of it before the next, so that its scores stay in the cache; heads that lie side by side in a
// row are taken from there, as the groups of a convolution, without a transposition. Where several heads of queries share one of keys, they
// are more queries of that head.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

constexpr int kQuery = 0, kKey = 1, kValue = 2, kMask = 3, kOptions = 4;

/// The matrices of keys or values: matrix i has the element (token, channel) at Offset(i) + token * token_stride + channel *
/// channel_stride.
struct Matrices {
  int64_t count;
  int32_t tokens, channels;
  ptrdiff_t token_stride, channel_stride;
  int64_t heads;  // that lie side by side; 1 if matrices are dense

  ptrdiff_t Offset(int64_t i) const { return heads == 1 ? i * tokens * channels : (i / heads * tokens * heads + i % heads) * channels; }
};

Matrices ReadMatrices(const Prepare& p, int input, AttentionLayout layout) {
  const Shape& s = p.shape(input);
  const size_t r = s.size();
  p.Check(r >= 2 && (layout != AttentionLayout::kSideBySide || r == 4), "an operand of shape ", ToString(s));
  switch (layout) {
    case AttentionLayout::kSideBySide: return {int64_t{s[0]} * s[2], s[1], s[3], static_cast<ptrdiff_t>(s[2]) * s[3], 1, s[2]};
    case AttentionLayout::kTransposed: return {Product(s, 0, r - 2), s[r - 1], s[r - 2], 1, s[r - 1], 1};
    default: return {Product(s, 0, r - 2), s[r - 2], s[r - 1], s[r - 1], 1, 1};
  }
}

/// How the mask is walked: strides are 0 along dimensions that it does not have.
struct Mask {
  ptrdiff_t batch = 0, head = 0, query = 0;
};

Mask ReadMask(const Prepare& p, const std::array<int32_t, 4>& scores) {
  const Shape& s = p.shape(kMask);
  std::array<ptrdiff_t, 4> strides = {};
  ptrdiff_t stride = 1;
  for (size_t d = 4; d-- > 0;) {
    const size_t from_back = 3 - d;
    const int32_t extent = from_back < s.size() ? s[s.size() - 1 - from_back] : 1;
    p.Check(extent == scores[d] || (extent == 1 && d != 3), "a mask of shape ", ToString(s), " for scores of shape ",
            ToString(Shape(scores.begin(), scores.end())));
    strides[d] = extent == 1 ? 0 : stride;
    stride *= extent;
  }
  p.Check(s.size() <= 4, "a mask of shape ", ToString(s));
  return {strides[0], strides[1], strides[2]};
}

/// Everything but the operands. A batch entry has `groups` heads side by side in each row of queries. Each token has `sharing` queries, one
/// after the other, of heads that share keys.
struct Attention {
  int32_t batch, groups, heads, queries, depth, keys, channels;
  int32_t sharing = 1;
  int32_t block;  // queries that go through all of it at once
  float scale;
  bool has_mask;
  Mask mask;

  int32_t blocks() const { return (queries + block - 1) / block; }
  size_t scores() const { return static_cast<size_t>(block) * static_cast<size_t>(groups) * static_cast<size_t>(keys); }
};

// [rows, k] x [k, n] for every group.
ConvShape Groups(int32_t rows, int32_t k, int32_t n, int32_t groups) {
  ConvShape s = ConvShape::MatMul(rows, k, n);
  s.groups = groups;
  return s;
}

// Threads have the same number of blocks where there are few.
int32_t ChooseBlock(const Attention& a, int32_t workers) {
  constexpr int64_t kFloats = 32768, kRows = 24;  // a share of L2; a multiple of every tier's rows of a tile
  const int64_t row = std::max<int64_t>(1, int64_t{a.groups} * a.keys);
  const int32_t most = static_cast<int32_t>(std::max(kRows, kFloats / row / kRows * kRows));
  int32_t blocks = (a.queries + most - 1) / most;
  if (workers == 1 || int64_t{a.batch} * blocks >= 8 * workers) return most;
  while (int64_t{a.batch} * blocks % workers != 0) ++blocks;
  return std::max(1, (a.queries + blocks - 1) / blocks);
}

Attention ReadAttention(Prepare& p, bool side_by_side, const Matrices& keys, const Matrices& values) {
  const Shape& q = p.shape(kQuery);
  const size_t r = q.size();
  p.Check(r >= 2 && (!side_by_side || r == 4), "queries of shape ", ToString(q));
  Attention a{};
  a.groups = side_by_side ? q[2] : 1;
  a.queries = side_by_side ? q[1] : q[r - 2];
  a.depth = q[r - 1];
  a.batch = side_by_side ? q[0] : static_cast<int32_t>(Product(q, 0, r - 2));
  a.heads = side_by_side ? q[2] : r == 4 ? q[1] : a.batch;
  a.keys = keys.tokens;
  a.channels = values.channels;
  const int64_t matrices = int64_t{a.batch} * a.groups;
  a.sharing = keys.count > 0 && keys.count < matrices ? static_cast<int32_t>(matrices / keys.count) : 1;
  const bool fits = keys.count * a.sharing == matrices && a.heads % a.sharing == 0 && values.count == keys.count;
  // Where the keys of one batch entry serve all others, none are shared among heads.
  const Shape& k = p.shape(kKey);
  const bool own_keys = r < 4 || k.size() < 4 || k[0] == q[0];
  p.Check(fits && own_keys && keys.channels == a.depth && values.tokens == a.keys, "queries ", ToString(q), ", keys ",
          ToString(p.shape(kKey)), " and values ", ToString(p.shape(kValue)), " do not fit");
  Shape out = q;
  out.back() = a.channels;
  p.SetShape(0, out);
  a.has_mask = p.has_input(kMask);
  if (a.has_mask) {
    a.mask = ReadMask(p, {side_by_side ? a.batch : static_cast<int32_t>(matrices / std::max(a.heads, 1)), a.heads, a.queries, a.keys});
  }
  if (a.sharing > 1) {
    a.batch = static_cast<int32_t>(keys.count);
    a.groups = 1;
    a.queries *= a.sharing;
    a.heads /= a.sharing;
  }
  a.block = ChooseBlock(a, p.workers());
  return a;
}

// Queries [batch, tokens, heads * sharing, channels] as [batch, heads, tokens, sharing, channels], or back.
Slot EmitRegroup(Prepare& p, const Attention& a, bool side_by_side, int32_t channels, Slot from, Slot to, bool back) {
  const int64_t tokens = a.queries / a.sharing, heads = a.heads, sharing = a.sharing;
  p.Emit([=, batch = a.batch / a.heads](RunContext& run) noexcept {
    const float* x = run.get<float>(from);
    float* y = run.get<float>(to);
    run.Parallel(static_cast<int32_t>(batch * heads * tokens), sharing * channels, [&](Range range, int) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        const int64_t token = i % tokens, head = i / tokens % heads, entry = i / tokens / heads;
        for (int64_t s = 0; s < sharing; ++s) {
          const int64_t apart = side_by_side ? ((entry * tokens + token) * heads + head) * sharing + s
                                             : ((entry * heads + head) * sharing + s) * tokens + token;
          const int64_t grouped = i * sharing + s;
          std::copy_n(x + (back ? grouped : apart) * channels, channels, y + (back ? apart : grouped) * channels);
        }
      }
    });
  });
  return to;
}

// Keys and values in the layout of the right sides of products.
struct PackedOperands {
  Slot keys, values;
  size_t key_bytes, value_bytes;  // of a matrix
};

PackedOperands EmitPack(Prepare& p, const Matrices& keys, const Matrices& values, const FloatProduct& key_product,
                        const FloatProduct& value_product) {
  const size_t key_bytes = key_product.PackBytes(keys.channels, keys.tokens);
  const size_t value_bytes = value_product.PackBytes(values.tokens, values.channels), count = static_cast<size_t>(keys.count);
  const PackedOperands packed{p.Scratch(key_bytes * count), p.Scratch(value_bytes * count), key_bytes, value_bytes};
  p.Emit([=, key = p.in(kKey), value = p.in(kValue)](RunContext& run) noexcept {
    const int64_t cost = 2 * int64_t{keys.tokens} * (keys.channels + values.channels);
    run.Parallel(static_cast<int32_t>(keys.count), cost, [&](Range range, int) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        key_product.Pack(keys.channels, keys.tokens, {run.get<float>(key) + keys.Offset(i), keys.token_stride, keys.channel_stride},
                         nullptr, run.get<std::byte>(packed.keys) + static_cast<size_t>(i) * key_bytes);
        value_product.Pack(values.tokens, values.channels,
                           {run.get<float>(value) + values.Offset(i), values.channel_stride, values.token_stride}, nullptr,
                           run.get<std::byte>(packed.values) + static_cast<size_t>(i) * value_bytes);
      }
    });
  });
  return packed;
}

// softmax(scale * scores + mask) over rows [query][group] of a block that begins with query `first`.
void Normalise(const Attention& a, const kernels::Kernels& k, float* scores, const float* mask, int32_t entry, int32_t first,
               int32_t count) {
  if (mask == nullptr) return k.masked_softmax_f32(scores, nullptr, 0, scores, a.keys, a.scale, {0, count * a.groups});
  if (a.sharing > 1) {
    const float* from = mask + entry / a.heads * a.mask.batch + static_cast<ptrdiff_t>(entry) % a.heads * a.sharing * a.mask.head;
    for (int32_t i = 0; i < count;) {
      const int32_t token = (first + i) / a.sharing, head = (first + i) % a.sharing, rows = std::min(a.sharing - head, count - i);
      float* row = scores + static_cast<ptrdiff_t>(i) * a.keys;
      k.masked_softmax_f32(row, from + token * a.mask.query + head * a.mask.head, a.mask.head, row, a.keys, a.scale, {0, rows});
      i += rows;
    }
    return;
  }
  if (a.groups == 1) {
    const float* from = mask + entry / a.heads * a.mask.batch + entry % a.heads * a.mask.head + first * a.mask.query;
    return k.masked_softmax_f32(scores, from, a.mask.query, scores, a.keys, a.scale, {0, count});
  }
  for (int32_t i = 0; i < count; ++i) {
    float* row = scores + static_cast<ptrdiff_t>(i) * a.groups * a.keys;
    k.masked_softmax_f32(row, mask + entry * a.mask.batch + (first + i) * a.mask.query, a.mask.head, row, a.keys, a.scale, {0, a.groups});
  }
}

// Up to here the packing of keys and values takes longer than their products.
constexpr int32_t kFewQueries = 8;

// Keys and values are read once, where they stand: a head's queries at a time.
void EmitFewQueries(Prepare& p, const Attention& a, const Matrices& keys, const Matrices& values, Slot queries, Slot outputs) {
  const size_t scores_of_head = static_cast<size_t>(a.queries) * static_cast<size_t>(a.keys);
  const Slot scratch = p.Scratch(scores_of_head * sizeof(float) * static_cast<size_t>(p.workers()));
  p.Explain(Concat("attention of ", a.queries, " queries, keys and values in place, ", p.kernels().tier));
  p.Emit([=, k = &p.kernels(), mask = a.has_mask ? p.in(kMask) : Slot{}, key = p.in(kKey), value = p.in(kValue),
          none = kernels::ClampF32{}](RunContext& run) noexcept {
    run.Parallel(a.batch * a.groups, MacCost(int64_t{a.queries} * a.keys * (a.depth + a.channels)), [&](Range range, int worker) {
      float* scores = run.get<float>(scratch) + static_cast<size_t>(worker) * scores_of_head;
      for (int32_t i = range.begin; i < range.end; ++i) {
        const int32_t entry = i / a.groups, group = i % a.groups;
        const ptrdiff_t first = static_cast<ptrdiff_t>(entry) * a.queries * a.groups + group;
        k->few_rows_f32(a.queries, a.depth, a.keys, run.get<float>(queries) + first * a.depth, static_cast<ptrdiff_t>(a.groups) * a.depth,
                        {run.get<float>(key) + keys.Offset(i), keys.token_stride, keys.channel_stride}, scores, a.keys, none);
        const float* from = run.get<float>(mask);
        if (a.groups == 1) {
          Normalise(a, *k, scores, from, entry, 0, a.queries);
        } else {
          if (from != nullptr) from += entry * a.mask.batch + group * a.mask.head;
          k->masked_softmax_f32(scores, from, a.mask.query, scores, a.keys, a.scale, {0, a.queries});
        }
        k->few_rows_f32(a.queries, a.keys, a.channels, scores, a.keys,
                        {run.get<float>(value) + values.Offset(i), values.channel_stride, values.token_stride},
                        run.get<float>(outputs) + first * a.channels, static_cast<ptrdiff_t>(a.groups) * a.channels, none);
      }
    });
  });
}

void EmitAttention(Prepare& p, const Attention& a, const Matrices& keys, const Matrices& values, Slot queries, Slot outputs) {
  if (a.queries <= kFewQueries) return EmitFewQueries(p, a, keys, values, queries, outputs);
  const ConvShape scoring = Groups(a.block, a.depth, a.keys, a.groups), mixing = Groups(a.block, a.keys, a.channels, a.groups);
  // All queries decide, not a block of them, whose size may follow from the number of threads.
  const FloatProduct key_product(p, Groups(a.queries, a.depth, a.keys, a.groups), false),
      value_product(p, Groups(a.queries, a.keys, a.channels, a.groups), false);
  const PackedOperands packed = EmitPack(p, keys, values, key_product, value_product);
  const WorkerScratch scratch(p, a.scores() * sizeof(float));
  const WorkerScratch rounding(p, std::max(key_product.ScratchBytes(scoring), value_product.ScratchBytes(mixing)));
  p.Emit([=, k = &p.kernels(), none = kernels::EpilogueF32{}, mask = a.has_mask ? p.in(kMask) : Slot{}](RunContext& run) noexcept {
    const int64_t cost = MacCost(int64_t{a.block} * a.groups * a.keys * (a.depth + a.channels));
    run.Parallel(a.batch * a.blocks(), cost, [&](Range range, int worker) {
      float* scores = reinterpret_cast<float*>(scratch.of(run, worker));
      for (int32_t i = range.begin; i < range.end; ++i) {
        const int32_t entry = i / a.blocks(), first = i % a.blocks() * a.block, count = std::min(a.block, a.queries - first);
        const ptrdiff_t row = static_cast<ptrdiff_t>(entry) * a.queries + first, matrix = static_cast<ptrdiff_t>(entry) * a.groups;
        key_product.Conv(scoring, run.get<float>(queries) + row * a.groups * a.depth,
                         run.get<std::byte>(packed.keys) + static_cast<size_t>(matrix) * packed.key_bytes, scores, none,
                         rounding.of(run, worker), {0, count});
        Normalise(a, *k, scores, run.get<float>(mask), entry, first, count);
        value_product.Conv(mixing, scores, run.get<std::byte>(packed.values) + static_cast<size_t>(matrix) * packed.value_bytes,
                           run.get<float>(outputs) + row * a.groups * a.channels, none, rounding.of(run, worker), {0, count});
      }
    });
  });
}

void CheckOperands(const Prepare& p) {
  for (const int i : {kQuery, kKey, kValue}) p.CheckType(i, {TensorType::kFloat32});
  if (p.has_input(kMask)) p.CheckType(kMask, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
}

void PrepareWith(Prepare& p, const AttentionOptions& options) {
  const Matrices keys = ReadMatrices(p, kKey, options.key), values = ReadMatrices(p, kValue, options.value);
  Attention a = ReadAttention(p, options.side_by_side, keys, values);
  a.scale = options.scale;
  if (p.output_elements(0) == 0) return;
  const bool apart = a.sharing > 1 && a.queries > a.sharing;
  if (!apart) return EmitAttention(p, a, keys, values, p.in(kQuery), p.out(0));
  const size_t rows = static_cast<size_t>(a.batch) * static_cast<size_t>(a.queries) * sizeof(float);
  const Slot queries =
      EmitRegroup(p, a, options.side_by_side, a.depth, p.in(kQuery), p.Scratch(rows * static_cast<size_t>(a.depth)), false);
  const Slot outputs = p.Scratch(rows * static_cast<size_t>(a.channels));
  EmitAttention(p, a, keys, values, queries, outputs);
  EmitRegroup(p, a, options.side_by_side, a.channels, outputs, p.out(0), true);
}

void PrepareAttention(Prepare& p) {
  p.CheckCounts(3, 5, 1);
  CheckOperands(p);
  p.Check(p.has_input(kOptions) && p.constant(kOptions) != nullptr && p.elements(kOptions) == AttentionOptions::kFields,
          "options of shape ", ToString(p.shape(kOptions)));
  PrepareWith(p, AttentionOptions::Read(p.constant_as<float>(kOptions)));
}

// The custom operator of language models: operands [batch, tokens, heads, channels].
void PrepareScaledDotProduct(Prepare& p) {
  p.CheckCounts(3, 4, 1);
  CheckOperands(p);
  const FlexMap options(p, p.custom_options());
  const Shape& queries = p.shape(kQuery);
  p.Check(queries.size() == 4, "queries of shape ", ToString(queries), ", expected rank 4");
  const auto scale = static_cast<float>(options.Real("scale", 0));
  p.Check(options.Real("logit_cap", 0) == 0, "it has a logit_cap");
  PrepareWith(p, {scale > 0 ? scale : 1.0f / std::sqrt(static_cast<float>(queries[3])), true, AttentionLayout::kSideBySide,
                  AttentionLayout::kSideBySide});
}

constexpr OpDef kOps[] = {
    {.name = "odml.scaled_dot_product_attention", .prepare = PrepareScaledDotProduct, .traits = kFlushesDenormals},
    {.name = "sigrun.attention", .prepare = PrepareAttention, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> attention_ops() { return kOps; }

}  // namespace sigrun::ops
