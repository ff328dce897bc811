#include <algorithm>
#include <utility>

#include "ops/op.h"
#include "ops/support/gemm.h"
#include "ops/support/gemm_i16.h"
#include "ops/support/quantization.h"
#include "ops/support/shuffled_product.h"
#include "ops/support/worker_scratch.h"

// FULLY_CONNECTED: input [..., k] taken as rows of k, filter [n, k], bias [n]; output [rows, n], or the input's shape with its last
// dimension replaced if keep_num_dims is set.
namespace sigrun::ops {
namespace {

enum Field : int { kActivation, kWeightsFormat, kKeepNumDims, kAsymmetricQuantizeInputs, kBiasType };

constexpr int kInput = 0, kFilter = 1, kBias = 2;

// Weights of 4 or 2 bits, with a scale for each block of k (the whole of k where there is one a channel), stay so. Activations are rounded
// row by row; their blocks are completed to the kernel's units, and summed.
void EmitLowBits(Prepare& p, int32_t rows, const kernels::LowBitShape& s, std::vector<float> scale, bool asymmetric) {
  if (p.output_elements(0) == 0) return;
  const auto& kernels = p.kernels();
  const int32_t blocks = s.k / s.block, unit = kernels::kLowBitUnit, stride = (s.block + unit - 1) / unit * unit;
  p.Explain(Concat("activations rounded to 8 bits, matrix product ", rows, " x ", s.k, " x ", s.n, " with ", s.bits,
                   "-bit weights in blocks of ", s.block, ", ", kernels.tier));
  const Packed packed =
      PackWeights(p, kFilter, -1, Concat("few bits ", s.n, "x", s.k, " in blocks of ", s.block), kernels.pack_low_bits_bytes(s), 0,
                  [s, scale, pack = kernels.pack_low_bits](const void* w, const void*, std::byte* to, std::byte*) {
                    pack(s, static_cast<const int8_t*>(w), scale.data(), to);
                  });
  const size_t count = static_cast<size_t>(rows) * static_cast<size_t>(blocks);
  const Slot sums = p.Scratch(count * sizeof(int32_t)),
             completed = stride == s.block ? Slot{} : p.Scratch(count * static_cast<size_t>(stride));
  const RoundedRuns rounded(p, kInput, rows, asymmetric, false);
  p.Emit([=, product = kernels.low_bits_f32, sum = kernels.sum_i8, clamp = ActivationClamp(p), bias = p.in(kBias),
          out = p.out(0)](RunContext& run) noexcept {
    int8_t* to = run.get<int8_t>(completed);
    run.Parallel(rows, 2 * s.k, [&](kernels::Range range, int) {
      if (rounded.fresh()) rounded.Fill(run, range);
      const ptrdiff_t end = static_cast<ptrdiff_t>(range.end) * blocks;
      for (ptrdiff_t i = static_cast<ptrdiff_t>(range.begin) * blocks; i < end; ++i) {
        const int8_t* from = rounded.values(run) + i * s.block;
        run.get<int32_t>(sums)[i] = sum(from, static_cast<size_t>(s.block)) * -(1 << (s.bits - 1));
        if (to != nullptr) std::fill(std::copy_n(from, s.block, to + i * stride), to + (i + 1) * stride, int8_t{0});
      }
    });
    const kernels::LowBitRows taken{to == nullptr ? rounded.values(run) : to, run.get<int32_t>(sums), rounded.scale(run),
                                    rounded.zero_point(run), rows};
    const int32_t groups = (s.n + kernels::kLowBitChannels - 1) / kernels::kLowBitChannels;
    run.Parallel(groups, MacCost(int64_t{kernels::kLowBitChannels} * s.k * rows), [&](kernels::Range range, int) {
      product(s, taken, packed.get(run), run.get<float>(bias), clamp, run.get<float>(out), range);
    });
  });
}

// The same for weights of 8 bits: a product for each block, scaled and added to the ones before. Activations are rounded row by
// row. Channels are cut into pieces so that threads can share one row, and a block of a piece stays in L1 while all rows take it.
void EmitBlockwise(Prepare& p, int32_t rows, int32_t k, int32_t n) {
  constexpr int32_t kPiece = 256;
  const Prepare::Blocks blocks = p.blocks(kFilter);
  const int32_t size = blocks.size, count = k / size, pieces = (n + kPiece - 1) / kPiece;
  if (p.output_elements(0) == 0) return;
  const auto& kernels = p.kernels();
  const auto shape = [=](int32_t piece) { return kernels::ConvShape::MatMul(1, size, std::min(kPiece, n - piece * kPiece)); };
  const size_t bytes = kernels.pack_i8_bytes(shape(0));
  const Packed packed = PackWeights(p, kFilter, -1, Concat("blocks of ", size, " ", n, "x", k), bytes * static_cast<size_t>(pieces * count),
                                    0, [=, pack = kernels.pack_i8](const void* w, const void*, std::byte* to, std::byte*) {
                                      for (int32_t i = 0; i < pieces * count; ++i, to += bytes) {
                                        const int32_t piece = i / count, first = i % count * size;
                                        const int8_t* from =
                                            static_cast<const int8_t*>(w) + static_cast<ptrdiff_t>(piece) * kPiece * k + first;
                                        pack(shape(piece), {from, k, 1}, false, nullptr, 0, 0, to);
                                      }
                                    });
  std::vector<float> scale(blocks.scale.size());  // by block, by channel
  for (size_t i = 0; i < scale.size(); ++i)
    scale[i % static_cast<size_t>(count) * static_cast<size_t>(n) + i / static_cast<size_t>(count)] = blocks.scale[i];
  p.Emit([=, scale = std::move(scale), rounded = RoundedRuns(p, kInput, rows, true, kernels.i8_takes_unsigned), conv = kernels.conv_i8_f32,
          last_clamp = ActivationClamp(p), scratch = WorkerScratch(p, kernels.conv_i8_scratch_bytes(shape(0))), bias = p.in(kBias),
          out = p.out(0)](RunContext& run) noexcept {
    if (rounded.fresh()) rounded.Fill(run);
    run.Parallel(pieces, MacCost(int64_t{kPiece} * k * rows), [&](kernels::Range range, int worker) {
      for (int32_t i = range.begin * count; i < range.end * count; ++i) {
        const int32_t piece = i / count, block = i % count, first = piece * kPiece;
        const float* scales = scale.data() + static_cast<ptrdiff_t>(block) * n + first;
        const kernels::ClampF32 clamp = block + 1 == count ? last_clamp : kernels::ClampF32{};
        const float* biases = run.get<float>(bias);
        for (ptrdiff_t r = 0; r < rows; ++r) {
          float* y = run.get<float>(out) + r * n + first;
          conv(shape(piece), rounded.input(run, r * k + block * size), packed.get(run) + static_cast<size_t>(i) * bytes, y,
               rounded.scale(run) + r, rounded.zero_point(run) + r, false, scales,
               block > 0           ? y
               : biases == nullptr ? nullptr
                                   : biases + first,
               nullptr, clamp, scratch.of(run, worker), {0, 1});
        }
      }
    });
  });
}

void PrepareFullyConnected(Prepare& p) {
  if (p.options().Scalar<int8_t>(kWeightsFormat) != 0) return PrepareShuffledProduct(p);
  p.CheckCounts(2, 3, 1);
  p.CheckType(kInput, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8, TensorType::kInt16});
  const TensorType type = p.type(kInput);
  const bool is_wide = type == TensorType::kUInt8 && p.output_type(0) == TensorType::kInt16;
  if (!is_wide) p.CheckOutputType(0, {type});
  CheckRank(p, kFilter, 2, "filter");
  const int32_t n = p.shape(kFilter)[0], k = p.shape(kFilter)[1];
  p.Check(n > 0 && k > 0, "filter has the shape ", ToString(p.shape(kFilter)));
  const int64_t total = p.elements(kInput);
  p.Check(total % k == 0, "input ", ToString(p.shape(kInput)), " has ", total, " elements, which do not divide into rows of ", k);
  p.Check(total <= INT32_MAX, "input ", ToString(p.shape(kInput)), " is too large");
  const int32_t rows = static_cast<int32_t>(total / k);
  if (type == TensorType::kInt16) {
    CheckBiasI16(p, kBias, n);
  } else {
    CheckBias(p, kBias, n, type == TensorType::kFloat32 ? TensorType::kFloat32 : TensorType::kInt32);
  }
  Shape out = {rows, n};
  if (p.options().Bool(kKeepNumDims)) {
    out = p.shape(kInput);
    p.Check(!out.empty() && out.back() == k, "input ", ToString(out), " must end in ", k, " to keep its dimensions");
    out.back() = n;
  }
  if (const int residual = p.node().residual; residual >= 0) {
    const Shape& sum = p.shape(residual);  // may have more leading ones
    if (!sum.empty() && sum.back() == n && p.elements(residual) == int64_t{rows} * n) out = sum;
  }
  p.SetShape(0, out);
  if (is_wide) return EmitWideProduct(p);
  const Gemm gemm{.shape = kernels::ConvShape::MatMul(rows, k, n), .input = kInput, .weights = kFilter, .bias = kBias, .stride_n = k};
  if (type == TensorType::kInt16) {
    p.CheckType(kFilter, {TensorType::kInt8, TensorType::kInt4, TensorType::kInt2, TensorType::kInt16});
    const WeightScales scales = ReadWeightScales(p, kFilter, 0, n);
    return EmitGemm16(p, gemm, scales, p.type(kFilter) == TensorType::kInt16 ? ScaleProduct::kFloatIfSingle : ScaleProduct::kUnquantized,
                      kBiasType, false);
  }
  if (type != TensorType::kFloat32) {
    type == TensorType::kUInt8 ? p.CheckType(kFilter, {type}) : CheckIntWeights(p, kFilter);
    return EmitGemm8(p, gemm, ReadWeightScales(p, kFilter, 0, n), ScaleProduct::kUnquantized);
  }
  if (p.type(kFilter) == TensorType::kFloat32) return EmitGemmF32(p, gemm);
  CheckIntWeights(p, kFilter);
  const int bits = TensorTypeBits(p.type(kFilter));
  if (p.quantization(kFilter).block_size > 0) {
    if (bits == 8) return EmitBlockwise(p, rows, k, n);
    Prepare::Blocks blocks = p.blocks(kFilter);
    return EmitLowBits(p, rows, {bits, n, k, blocks.size}, std::move(blocks.scale), true);
  }
  const WeightScales scales = ReadWeightScales(p, kFilter, 0, n);
  const bool asymmetric = p.options().Bool(kAsymmetricQuantizeInputs);
  if (bits == 8 || scales.zero_point != 0) return EmitGemmHybrid(p, gemm, scales, {.asymmetric = asymmetric, .per_image = false});
  std::vector<float> scale(static_cast<size_t>(n));
  for (size_t c = 0; c < scale.size(); ++c) scale[c] = scales.at(c);
  EmitLowBits(p, rows, {bits, n, k, k}, std::move(scale), asymmetric);
}

constexpr OpDef kOps[] = {{.name = "FULLY_CONNECTED",
                           .prepare = PrepareFullyConnected,
                           .activation_field = kActivation,
                           .traits = kFusesEpilogue | kFusesHybridSum | kFlushesDenormals}};

}  // namespace

std::span<const OpDef> fully_connected_ops() { return kOps; }

}  // namespace sigrun::ops
