#include <algorithm>
#include <utility>

#include "model/warn.h"
#include "ops/op.h"
#include "ops/support/broadcast.h"
#include "ops/support/elements.h"
#include "ops/support/float_product.h"
#include "ops/support/gemm.h"
#include "ops/support/gemm_i16.h"
#include "ops/support/quantization.h"
#include "ops/support/worker_scratch.h"

// BATCH_MATMUL: [..., m, k] x [..., k, n], either transposed, over batch dimensions that broadcast. The right side is packed matrix by
// matrix, once where it is constant; rows of all batch entries are shared among the threads.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;
using kernels::Range;

enum Field : int { kAdjX, kAdjY, kAsymmetricQuantizeInputs };

constexpr int kLeft = 0, kRight = 1;

/// The products to compute, one an entry of the batch.
struct Products {
  int32_t m, k, n;
  bool transposes_left;
  ptrdiff_t stride_n, stride_k;      // of a right matrix
  int64_t left_count, right_count;   // matrices of the operands
  std::vector<int32_t> left, right;  // which of them each batch entry takes
  int32_t batch() const { return static_cast<int32_t>(left.size()); }
  ConvShape shape() const { return ConvShape::MatMul(m, k, n); }
  size_t left_elements() const { return static_cast<size_t>(m) * static_cast<size_t>(k); }
  size_t right_elements() const { return static_cast<size_t>(k) * static_cast<size_t>(n); }
};

// The matrix of an operand that each entry of the batch reads.
std::vector<int32_t> Indices(const Prepare& p, const Shape& operand, const Shape& batch) {
  const BroadcastPlan plan = PlanBroadcast(p, {operand}, batch);
  std::vector<int32_t> indices;
  for (int64_t run = 0; run < plan.runs; ++run) {
    int64_t rest = run, at = 0;
    for (int d = plan.loops - 1; d >= 0; rest /= plan.extent[d], --d) at += rest % plan.extent[d] * plan.stride[0][d];
    for (int64_t i = 0; i < plan.run; ++i) indices.push_back(static_cast<int32_t>(plan.fixed[0] ? at : at + i));
  }
  return indices;
}

Products ReadProducts(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  const Shape &x = p.shape(kLeft), &y = p.shape(kRight);
  p.Check(x.size() >= 2 && y.size() >= 2, "operands ", ToString(x), " and ", ToString(y), " must have rank 2 or more");
  p.Check(p.elements(kLeft) <= INT32_MAX && p.elements(kRight) <= INT32_MAX, "operands ", ToString(x), " and ", ToString(y),
          " are too large");
  const bool adj_x = p.options().Bool(kAdjX), adj_y = p.options().Bool(kAdjY);
  const size_t a = x.size(), b = y.size();
  const int32_t k = adj_x ? x[a - 2] : x[a - 1], right_k = adj_y ? y[b - 1] : y[b - 2];
  p.Check(k == right_k, "the left operand ", ToString(x), " has depth ", k, ", the right ", ToString(y), " has ", right_k);
  Products products{adj_x ? x[a - 1] : x[a - 2], k, adj_y ? y[b - 2] : y[b - 1], adj_x, 0, 0, 0, 0, {}, {}};
  products.stride_n = adj_y ? k : 1;
  products.stride_k = adj_y ? 1 : products.n;
  const Shape left(x.begin(), x.end() - 2), right(y.begin(), y.end() - 2);
  Shape output = BroadcastShapes(p, left, right);
  const Shape batch = output;
  output.push_back(products.m);
  output.push_back(products.n);
  p.SetShape(0, output);
  p.Check(p.output_elements(0) <= INT32_MAX, "the output ", ToString(output), " is too large");
  if (p.output_elements(0) == 0) return products;
  products.left_count = Product(left, 0, left.size());
  products.right_count = Product(right, 0, right.size());
  products.left = Indices(p, left, batch);
  products.right = Indices(p, right, batch);
  // One right matrix for all: their rows are those of one left matrix.
  if (products.right_count == 1 && products.left_count == products.batch() && !adj_x) {
    products.m *= products.batch();
    products.left_count = 1;
    products.left = products.right = {0};
  }
  return products;
}

// f(batch entry, rows of it, worker) for all rows of the batch.
template <class F>
void ForRows(const RunContext& run, const Products& b, const F& f) {
  run.Parallel(b.batch() * b.m, MacCost(int64_t{b.k} * b.n), [&](Range rows, int worker) {
    for (int32_t row = rows.begin; row < rows.end;) {
      const int32_t entry = row / b.m, first = row % b.m, count = std::min(b.m - first, rows.end - row);
      f(static_cast<size_t>(entry), Range{first, first + count}, worker);
      row += count;
    }
  });
}

// The left matrices with rows of k, in scratch if they have to be transposed.
template <class T>
Slot LeftRows(Prepare& p, const Products& b) {
  if (!b.transposes_left) return p.in(kLeft);
  const Slot rows = p.Scratch(static_cast<size_t>(b.left_count) * b.left_elements() * sizeof(T));
  p.Emit([=, m = int64_t{b.m}, k = int64_t{b.k}, count = b.left_count, in = p.in(kLeft)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(count * m), k, [&](Range range, int) {
      for (int64_t row = range.begin; row < range.end; ++row) {
        const T* from = run.get<T>(in) + row / m * m * k + row % m;
        T* to = run.get<T>(rows) + row * k;
        for (int64_t i = 0; i < k; ++i) to[i] = from[i * m];
      }
    });
  });
  return rows;
}

// The right matrices, each packed to `bytes` by fill(matrix, packed).
template <class T, class Fill>
Packed PackRight(Prepare& p, const Products& b, const std::string& key, size_t bytes, Fill fill) {
  const size_t elements = b.right_elements();
  if (const T* known = p.constant_as<T>(kRight); known != nullptr) {
    const std::string full_key = Concat(key, " ", b.k, "x", b.n, " ", b.stride_n, " ", b.stride_k, " times ", b.right_count);
    return {p.Pack(kRight, full_key, bytes * static_cast<size_t>(b.right_count),
                   [&](std::byte* to) {
                     for (size_t i = 0; i < static_cast<size_t>(b.right_count); ++i) fill(known + i * elements, to + i * bytes);
                   }),
            {}};
  }
  const Slot packed = p.Scratch(bytes * static_cast<size_t>(b.right_count));
  p.Emit([=, count = static_cast<int32_t>(b.right_count), in = p.in(kRight)](RunContext& run) noexcept {
    run.Parallel(count, static_cast<int64_t>(elements), [&](Range range, int) {
      for (size_t i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
        fill(run.get<T>(in) + i * elements, run.get<std::byte>(packed) + i * bytes);
      }
    });
  });
  return {nullptr, packed};
}

// Up to here the packing of a right matrix takes longer than its product.
constexpr int32_t kFewRows = 8;

// The right matrices are read once, where they stand.
void EmitFewRows(Prepare& p, const Products& b) {
  p.Explain(Concat("matrix product ", b.m, " x ", b.k, " x ", b.n, ", right side in place, ", p.kernels().tier));
  p.Emit([=, product = p.kernels().few_rows_f32, clamp = ActivationClamp(p), in = LeftRows<float>(p, b), right = p.in(kRight),
          out = p.out(0)](RunContext& run) noexcept {
    const size_t output_elements = static_cast<size_t>(b.m) * static_cast<size_t>(b.n);
    run.Parallel(b.batch(), MacCost(int64_t{b.m} * b.k * b.n), [&](Range entries, int) {
      for (size_t e = static_cast<size_t>(entries.begin); e < static_cast<size_t>(entries.end); ++e) {
        const float* matrix = run.get<float>(right) + static_cast<size_t>(b.right[e]) * b.right_elements();
        product(b.m, b.k, b.n, run.get<float>(in) + static_cast<size_t>(b.left[e]) * b.left_elements(), b.k,
                {matrix, b.stride_n, b.stride_k}, run.get<float>(out) + e * output_elements, b.n, clamp);
      }
    });
  });
}

void EmitF32(Prepare& p, const Products& b) {
  const FloatProduct product(p, b.shape(), p.is_constant(kRight));
  if (b.m <= kFewRows && !p.is_constant(kRight) && product.is_float32()) return EmitFewRows(p, b);
  const size_t bytes = product.PackBytes(b.k, b.n);
  const Packed packed =
      PackRight<float>(p, b, Concat("right", product.key()), bytes,
                       [=, k = b.k, n = b.n, stride_n = b.stride_n, stride_k = b.stride_k](const float* matrix, std::byte* to) {
                         product.Pack(k, n, {matrix, stride_n, stride_k}, nullptr, to);
                       });
  p.Emit([=, clamp = ActivationClamp(p), in = LeftRows<float>(p, b), scratch = WorkerScratch(p, product.ScratchBytes(b.shape())),
          out = p.out(0)](RunContext& run) noexcept {
    const size_t output_elements = static_cast<size_t>(b.m) * static_cast<size_t>(b.n);
    ForRows(run, b, [&](size_t e, Range rows, int worker) {
      const float* x = run.get<float>(in) + static_cast<size_t>(b.left[e]) * b.left_elements();
      product.Conv(b.shape(), x, packed.get(run) + static_cast<size_t>(b.right[e]) * bytes, run.get<float>(out) + e * output_elements,
                   {clamp}, scratch.of(run, worker), rows);
    });
  });
}

Packed PackRightI8(Prepare& p, const Products& b, int32_t left_zero_point, int32_t right_zero_point, size_t bytes) {
  return PackRight<int8_t>(p, b, Concat("right, zero points ", left_zero_point, " ", right_zero_point), bytes,
                           [=, shape = b.shape(), stride_n = b.stride_n, stride_k = b.stride_k, pack = p.kernels().pack_i8](
                               const int8_t* matrix, std::byte* to) {
                             pack(shape, {matrix, stride_n, stride_k}, false, nullptr, left_zero_point, right_zero_point, to);
                           });
}

WeightScales RightScales(const Prepare& p, const Products& b) {
  const int32_t rank = static_cast<int32_t>(p.shape(kRight).size());
  return ReadWeightScales(p, kRight, b.stride_k == 1 ? rank - 2 : rank - 1, b.n);
}

void EmitI8(Prepare& p, const Products& b) {
  const auto& kernels = p.kernels();
  const Prepare::Affine left = CheckedAffine(p, kLeft);
  const WeightScales right = RightScales(p, b);
  Requantization requantize = PrepareRequantization(p, left.scale, right, b.n, ScaleProduct::kFloatIfSingle);
  if (p.output_elements(0) == 0) return;
  const size_t bytes = kernels.pack_i8_bytes(b.shape());
  const Packed packed = PackRightI8(p, b, left.zero_point, right.zero_point, bytes);
  p.Emit([=, conv = kernels.conv_i8, requantize = std::move(requantize), in = LeftRows<int8_t>(p, b), out = p.out(0),
          scratch = WorkerScratch(p, kernels.conv_i8_scratch_bytes(b.shape()))](RunContext& run) noexcept {
    const size_t output_elements = static_cast<size_t>(b.m) * static_cast<size_t>(b.n);
    ForRows(run, b, [&](size_t e, Range rows, int worker) {
      const kernels::InputI8 x{run.get<int8_t>(in) + static_cast<size_t>(b.left[e]) * b.left_elements(), left.zero_point, false};
      conv(b.shape(), x, packed.get(run) + static_cast<size_t>(b.right[e]) * bytes, run.get<int8_t>(out) + e * output_elements,
           requantize.params(), scratch.of(run, worker), rows);
    });
  });
}

void EmitHybrid(Prepare& p, const Products& b) {
  const auto& kernels = p.kernels();
  const WeightScales right = RightScales(p, b);
  if (p.output_elements(0) == 0) return;
  const size_t bytes = kernels.pack_i8_bytes(b.shape());
  const Packed packed = PackRightI8(p, b, 0, right.zero_point, bytes);
  const int32_t left_rows = static_cast<int32_t>(b.left_count) * b.m;
  const bool asymmetric = p.options().Bool(kAsymmetricQuantizeInputs), is_unsigned = kernels.i8_takes_unsigned;
  const RoundedRuns left = b.transposes_left
                               ? RoundedRuns(p, LeftRows<float>(p, b), static_cast<size_t>(b.k), left_rows, asymmetric, is_unsigned)
                               : RoundedRuns(p, kLeft, left_rows, asymmetric, is_unsigned);
  p.Emit([=, conv = kernels.conv_i8_f32, channel_scale = right.Each(b.n), clamp = ActivationClamp(p), out = p.out(0),
          scratch = WorkerScratch(p, kernels.conv_i8_scratch_bytes(b.shape()))](RunContext& run) noexcept {
    const size_t output_elements = static_cast<size_t>(b.m) * static_cast<size_t>(b.n);
    if (left.fresh()) left.Fill(run);
    ForRows(run, b, [&](size_t e, Range rows, int worker) {
      const size_t matrix = static_cast<size_t>(b.left[e]), first_row = matrix * static_cast<size_t>(b.m);
      const int32_t* zero_point = left.zero_point(run);
      conv(b.shape(), left.input(run, matrix * b.left_elements()), packed.get(run) + static_cast<size_t>(b.right[e]) * bytes,
           run.get<float>(out) + e * output_elements, left.scale(run) + first_row, zero_point == nullptr ? nullptr : zero_point + first_row,
           false, channel_scale.data(), nullptr, nullptr, clamp, scratch.of(run, worker), rows);
    });
  });
}

// INT16 with an INT16 or INT8 right side: 64-bit sums.
void EmitI16(Prepare& p, const Products& b) {
  p.CheckType(kRight, {TensorType::kInt16, TensorType::kInt8});
  const RequantizationI16 requantize =
      PrepareRequantizationI16(p, kLeft, kRight, -1, -1, RightScales(p, b), b.n, ScaleProduct::kFloatIfSingle);
  if (p.output_elements(0) == 0) return;
  const WeightsI16 weights{b.n, b.k, p.type(kRight) == TensorType::kInt16};
  const auto fill = [weights, stride_n = b.stride_n, stride_k = b.stride_k](const void* matrix, std::byte* to) {
    weights.Pack(matrix, stride_n, stride_k, nullptr, TensorType::kInt64, to);
  };
  const size_t bytes = (weights.bytes() + 63) / 64 * 64;
  const Packed packed =
      weights.split ? PackRight<int16_t>(p, b, "right, int16", bytes, fill) : PackRight<int8_t>(p, b, "right, int16", bytes, fill);
  p.Emit([=, in = LeftRows<int16_t>(p, b), out = p.out(0)](RunContext& run) noexcept {
    const size_t output_elements = static_cast<size_t>(b.m) * static_cast<size_t>(b.n);
    ForRows(run, b, [&](size_t e, Range rows, int) {
      const int16_t* x = run.get<int16_t>(in) + static_cast<size_t>(b.left[e]) * b.left_elements();
      ConvI16(b.shape(), x, weights, packed.get(run) + static_cast<size_t>(b.right[e]) * bytes, requantize,
              run.get<int16_t>(out) + e * output_elements, nullptr, rows);
    });
  });
}

// LiteRT finds no multiplier for integers of which an operand has several scales, and scales all sums by 0: the output is its zero point.
bool LacksMultiplier(const Prepare& p) {
  return p.type(kLeft) != TensorType::kFloat32 && (p.quantization(kLeft).scale.size() > 1 || p.quantization(kRight).scale.size() > 1);
}

template <class T>
void EmitZeroPoint(Prepare& p) {
  const T zero = static_cast<T>(p.output_affine(0).zero_point);
  WarnOnce(Concat(p.graph_of(p.subgraph()).Describe(p.node()), ": the output is zero throughout, as in LiteRT, which does not multiply ",
                  TensorTypeName(p.type(kLeft)), " by ", TensorTypeName(p.type(kRight)), " where an operand has several scales"));
  p.Emit([zero, n = p.output_elements(0), out = p.out(0)](RunContext& run) noexcept { std::fill_n(run.get<T>(out), n, zero); });
}

void PrepareBatchMatMul(Prepare& p) {
  const Products products = ReadProducts(p);
  p.CheckType(kLeft, {TensorType::kFloat32, TensorType::kInt8, TensorType::kInt16});
  p.CheckOutputType(0, {p.type(kLeft)});
  if (LacksMultiplier(p)) return p.type(kLeft) == TensorType::kInt16 ? EmitZeroPoint<int16_t>(p) : EmitZeroPoint<int8_t>(p);
  if (p.type(kLeft) == TensorType::kInt16) return EmitI16(p, products);
  if (p.type(kLeft) == TensorType::kInt8) {
    p.CheckType(kRight, {TensorType::kInt8});
    return EmitI8(p, products);
  }
  p.CheckType(kRight, {TensorType::kFloat32, TensorType::kInt8});
  if (p.type(kRight) == TensorType::kInt8) return EmitHybrid(p, products);
  if (p.output_elements(0) != 0) EmitF32(p, products);
}

constexpr OpDef kOps[] = {
    {.name = "BATCH_MATMUL", .prepare = PrepareBatchMatMul, .traits = kFlushesDenormals},
};

}  // namespace

std::span<const OpDef> batch_matmul_ops() { return kOps; }

}  // namespace sigrun::ops
