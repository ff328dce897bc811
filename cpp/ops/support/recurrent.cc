#include "ops/support/recurrent.h"

#include <algorithm>
#include <limits>

#include "kernels/common/fixed_point.h"
#include "ops/support/elements.h"

namespace sigrun::ops {

using kernels::ConvShape;
using schema::Activation;

Sequences ReadSequences(const Prepare& p, int input, bool time_major) {
  const Shape& shape = p.shape(input);
  p.Check(shape.size() == 2 || shape.size() == 3, "the input ", ToString(shape), " has rank ", shape.size(), ", expected 2 or 3");
  p.Check(p.elements(input) > 0 && p.elements(input) <= INT32_MAX, "the input has the shape ", ToString(shape));
  if (shape.size() == 2) return {1, 1, shape[0]};
  return time_major ? Sequences{1, shape[0], shape[1]} : Sequences{shape[0], shape[1], 1};
}

Shape OutputShape(const Prepare& p, int input, int32_t n) {
  Shape shape = p.shape(input);
  p.Check(!shape.empty(), "its input is a scalar");
  shape.back() = n;
  return shape;
}

void CheckOperand(const Prepare& p, int i, TensorType type, const Shape& shape, const char* what) {
  p.Check(p.has_input(i), "its ", what, " (input ", i, ") are missing");
  p.CheckType(i, {type});
  p.Check(p.shape(i) == shape, "its ", what, " (input ", i, ") have the shape ", ToString(p.shape(i)), ", expected ", ToString(shape));
}

Slot StateSlot(Prepare& p, int i, TensorType type, const Shape& shape, const char* what) {
  CheckOperand(p, i, type, shape, what);
  p.Check(p.is_variable(i), "its ", what, " (input ", i, ") are no variable");
  return p.in(i);
}

kernels::UnaryF32 ActivationKernel(const Prepare& p, int8_t activation) {
  const auto kernel = [&](kernels::Unary op) { return p.kernels().unary_f32[static_cast<size_t>(op)]; };
  switch (static_cast<Activation>(activation)) {
    case Activation::kNone: return nullptr;
    case Activation::kRelu: return kernel(kernels::Unary::kRelu);
    case Activation::kReluN1To1: return kernel(kernels::Unary::kReluN1To1);
    case Activation::kRelu6: return kernel(kernels::Unary::kRelu6);
    case Activation::kTanh: return kernel(kernels::Unary::kTanh);
    default: p.Refuse(StatusCode::kUnimplemented, Concat("fused activation ", static_cast<int>(activation)));
  }
}

// --- RowSource
// ----------------------------------------------------------------------------------------------------------------------------

RowSource::RowSource(Prepare& p, int32_t rows, int32_t n, bool hybrid, bool asymmetric)
    : n_(n),
      hybrid_(hybrid),
      asymmetric_(asymmetric),
      is_unsigned_(p.kernels().i8_takes_unsigned),
      symmetric_kernel_(p.kernels().quantize_rows_symmetric),
      asymmetric_kernel_(p.kernels().quantize_rows_asymmetric) {
  if (!hybrid) return;
  const size_t count = static_cast<size_t>(rows);
  rounded_ = p.Scratch(count * static_cast<size_t>(n));
  scale_ = p.Scratch(count * sizeof(float));
  zero_point_ = p.Scratch(count * sizeof(int32_t));
}

RowSource::Rows RowSource::Take(const RunContext& run, const float* values, int32_t rows) const {
  Rows taken{values, nullptr, nullptr, nullptr, n_};
  if (!hybrid_) return taken;
  int8_t* rounded = run.get<int8_t>(rounded_);
  float* scale = run.get<float>(scale_);
  int32_t* zero_point = run.get<int32_t>(zero_point_);
  run.Parallel(rows, 2 * n_, [&](kernels::Range range, int) {
    if (asymmetric_) {
      asymmetric_kernel_(values, rounded, static_cast<size_t>(n_), is_unsigned_, scale, zero_point, range);
    } else {
      symmetric_kernel_(values, rounded, static_cast<size_t>(n_), is_unsigned_, scale, range);
    }
  });
  taken.rounded = rounded;
  taken.is_unsigned = is_unsigned_;
  taken.scale = scale;
  if (asymmetric_) taken.zero_point = zero_point;
  return taken;
}

// --- RowProduct
// ---------------------------------------------------------------------------------------------------------------------------

RowProduct::RowProduct(Prepare& p, int weights, int bias, int32_t rows, int32_t n, int32_t k, const char* what)
    : n_(n), k_(k), kernel_(p.kernels().conv_f32), hybrid_kernel_(p.kernels().conv_i8_f32) {
  p.Check(p.has_input(weights), "its ", what, " (input ", weights, ") are missing");
  p.CheckType(weights, {TensorType::kFloat32, TensorType::kInt8, TensorType::kUInt8});
  CheckOperand(p, weights, p.type(weights), {n, k}, what);
  if (bias >= 0) CheckOperand(p, bias, TensorType::kFloat32, {n}, "biases");
  hybrid_ = p.type(weights) != TensorType::kFloat32;
  const auto& table = p.kernels();
  const ConvShape shape = ConvShape::MatMul(1, k, n);
  if (!hybrid_) {
    packed_ = PackWeights(p, weights, bias, Concat("product ", n, "x", k), table.pack_f32_bytes(k, n), 0,
                          [n, k, pack = table.pack_f32](const void* w, const void* b, std::byte* to, std::byte*) {
                            pack(k, n, {static_cast<const float*>(w), k, 1}, static_cast<const float*>(b), to);
                          });
    return;
  }
  scale_.assign(static_cast<size_t>(n), p.affine(weights).scale);
  packed_ = PackWeights(p, weights, -1, Concat("product ", n, "x", k), table.pack_i8_bytes(shape), 0,
                        [shape, k, pack = table.pack_i8](const void* w, const void*, std::byte* to, std::byte*) {
                          pack(shape, {static_cast<const int8_t*>(w), k, 1}, false, nullptr, 0, 0, to);
                        });
  bias_ = bias >= 0 ? p.in(bias) : Slot{};
  scratch_bytes_ = std::max(table.conv_i8_scratch_bytes(shape), table.conv_i8_scratch_bytes(ConvShape::MatMul(rows, k, n)));
  scratch_ = p.Scratch(scratch_bytes_ * static_cast<size_t>(p.workers()));
}

void RowProduct::RunHybrid(const RunContext& run, const RowSource::Rows& in, int32_t rows, const float* bias, float* out,
                           int worker) const {
  constexpr float inf = std::numeric_limits<float>::infinity();
  std::byte* scratch = run.get<std::byte>(scratch_) + static_cast<size_t>(worker) * scratch_bytes_;
  hybrid_kernel_(ConvShape::MatMul(rows, k_, n_), {in.rounded, 0, in.is_unsigned}, packed_.get(run), out, in.scale, in.zero_point, false,
                 scale_.data(), bias, nullptr, {-inf, inf}, scratch, {0, rows});
}

void RowProduct::Run(const RunContext& run, const RowSource::Rows& in, int32_t rows, float* out, int worker) const {
  if (hybrid_) return RunHybrid(run, in, rows, run.get<float>(bias_), out, worker);
  kernel_(ConvShape::MatMul(rows, k_, n_), in.values, packed_.get(run), out, {}, {0, rows});
}

void RowProduct::Add(const RunContext& run, const RowSource::Rows& in, int32_t rows, float* out, int worker) const {
  if (!hybrid_) {
    kernels::EpilogueF32 add;
    add.residual = out;
    return kernel_(ConvShape::MatMul(rows, k_, n_), in.values, packed_.get(run), out, add, {0, rows});
  }
  for (int32_t r = 0; r < rows; ++r) {
    float* row = out + static_cast<ptrdiff_t>(r) * n_;
    RunHybrid(run, in.from(r), 1, row, row, worker);
  }
}

// --- IntegerRowProduct: the hybrid kernel with scales of 1
// -------------------------------------------------------------------------------------------

namespace {

constexpr int32_t kExactDepth = 512;  // 512 products of 255 and -128 are less than 2^24

int32_t PartDepth(int32_t k, size_t part) { return std::min(k - static_cast<int32_t>(part) * kExactDepth, kExactDepth); }

}  // namespace

IntegerRowProduct::IntegerRowProduct(Prepare& p, int weights, int32_t rows, int32_t n, int32_t k, int32_t zero_point, const char* what)
    : n_(n),
      k_(k),
      most_(static_cast<size_t>(rows) * static_cast<size_t>(n)),
      ones_(static_cast<size_t>(std::max(n, rows)), 1.0f),
      zero_points_(static_cast<size_t>(rows), zero_point),
      kernel_(p.kernels().conv_i8_f32) {
  CheckOperand(p, weights, TensorType::kInt8, {n, k}, what);
  const auto& table = p.kernels();
  for (int32_t first = 0; first < k; first += kExactDepth) {
    const int32_t depth = PartDepth(k, parts_.size());
    const ConvShape shape = ConvShape::MatMul(1, depth, n);
    parts_.push_back(PackWeights(p, weights, -1, Concat("integer product ", n, "x", k, " from ", first), table.pack_i8_bytes(shape), 0,
                                 [shape, first, k, pack = table.pack_i8](const void* w, const void*, std::byte* to, std::byte*) {
                                   pack(shape, {static_cast<const int8_t*>(w) + first, k, 1}, false, nullptr, 0, 0, to);
                                 }));
    scratch_bytes_ =
        std::max({scratch_bytes_, table.conv_i8_scratch_bytes(shape), table.conv_i8_scratch_bytes(ConvShape::MatMul(rows, depth, n))});
  }
  scratch_ = p.Scratch(scratch_bytes_ * static_cast<size_t>(p.workers()));
  floats_ = p.Scratch(most_ * static_cast<size_t>(p.workers()) * sizeof(float));
}

void IntegerRowProduct::RunPart(const RunContext& run, size_t part, const int8_t* in, int32_t rows, int32_t* sums, int worker) const {
  constexpr float inf = std::numeric_limits<float>::infinity();
  float* floats = run.get<float>(floats_) + static_cast<size_t>(worker) * most_;
  std::byte* scratch = run.get<std::byte>(scratch_) + static_cast<size_t>(worker) * scratch_bytes_;
  kernel_(ConvShape::MatMul(rows, PartDepth(k_, part), n_), {in, 0, false}, parts_[part].get(run), floats, ones_.data(),
          zero_points_.data(), false, ones_.data(), nullptr, nullptr, {-inf, inf}, scratch, {0, rows});
  const ptrdiff_t count = static_cast<ptrdiff_t>(rows) * n_;
  if (part == 0) {
    for (ptrdiff_t i = 0; i < count; ++i) sums[i] = static_cast<int32_t>(floats[i]);
  } else {
    for (ptrdiff_t i = 0; i < count; ++i) sums[i] = kernels::WrapAdd(sums[i], static_cast<int32_t>(floats[i]));
  }
}

void IntegerRowProduct::Run(const RunContext& run, const int8_t* in, int32_t rows, int32_t* sums, int worker) const {
  if (parts_.size() == 1) return RunPart(run, 0, in, rows, sums, worker);
  for (ptrdiff_t r = 0; r < rows; ++r) {
    for (size_t part = 0; part < parts_.size(); ++part) {
      RunPart(run, part, in + r * k_ + static_cast<ptrdiff_t>(part) * kExactDepth, 1, sums + r * n_, worker);
    }
  }
}

}  // namespace sigrun::ops
