#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ops/op.h"
#include "ops/support/gemm.h"

// What recurrent operators share: float products with a state that changes from step to step, whose weights are float32, or 8-bit with
// activations rounded row by row (hybrid).
namespace sigrun::ops {

/// How the rows of a sequence follow one another. Time-major input is one sequence of steps of `rows` rows; batch-major input is `count`
/// sequences, of one row a step, that do not know of each other.
struct Sequences {
  int32_t count, steps, rows;
  int32_t total() const { return count * steps * rows; }
};
/// Of an input [time, batch, n] or [batch, time, n], or one step [batch, n].
Sequences ReadSequences(const Prepare& p, int input, bool time_major);

/// That of the input but for the last dimension, which is n.
Shape OutputShape(const Prepare& p, int input, int32_t n);

/// Throws unless operand i has this type and shape.
void CheckOperand(const Prepare& p, int i, TensorType type, const Shape& shape, const char* what);

/// A variable tensor of this type and shape.
Slot StateSlot(Prepare& p, int i, TensorType type, const Shape& shape, const char* what);

/// The function that the options name by schema::Activation; null for none. Throws if there is no such function.
kernels::UnaryF32 ActivationKernel(const Prepare& p, int8_t activation);

/// Rows of n floats, also rounded if `hybrid`: to int8, or to what products take as that.
class RowSource {
 public:
  RowSource() = default;
  /// Room for `rows` rows of n.
  RowSource(Prepare& p, int32_t rows, int32_t n, bool hybrid, bool asymmetric);
  struct Rows {
    const float* values;
    const int8_t* rounded;
    const float* scale;
    const int32_t* zero_point;
    int32_t n;
    bool is_unsigned = false;  // the rounded ones
    Rows from(int32_t row) const {
      const ptrdiff_t at = static_cast<ptrdiff_t>(row) * n;
      return {values + at,
              rounded == nullptr ? nullptr : rounded + at,
              scale == nullptr ? nullptr : scale + row,
              zero_point == nullptr ? nullptr : zero_point + row,
              n,
              is_unsigned};
    }
  };
  /// What RowProduct::Run reads for these values.
  Rows Take(const RunContext& run, const float* values, int32_t rows) const;

 private:
  int32_t n_ = 0;
  bool hybrid_ = false, asymmetric_ = false, is_unsigned_ = false;
  decltype(kernels::Kernels::quantize_rows_symmetric) symmetric_kernel_ = nullptr;
  decltype(kernels::Kernels::quantize_rows_asymmetric) asymmetric_kernel_ = nullptr;
  Slot rounded_, scale_, zero_point_;
};

/// out[row, n] = bias[n] + sum_k in[row, k] * w[n, k], w an operand [n, k]. An 8-bit operand is read as int8, as LiteRT does.
class RowProduct {
 public:
  RowProduct() = default;
  /// `bias` is an operand or -1; `rows` are the most that Run will be given.
  RowProduct(Prepare& p, int weights, int bias, int32_t rows, int32_t n, int32_t k, const char* what);
  explicit operator bool() const { return n_ > 0; }
  int64_t cost() const { return MacCost(int64_t{n_} * k_); }
  void Run(const RunContext& run, const RowSource::Rows& in, int32_t rows, float* out, int worker) const;
  /// out += instead; the bias is left out.
  void Add(const RunContext& run, const RowSource::Rows& in, int32_t rows, float* out, int worker) const;

 private:
  void RunHybrid(const RunContext& run, const RowSource::Rows& in, int32_t rows, const float* bias, float* out, int worker) const;

  int32_t n_ = 0, k_ = 0;
  bool hybrid_ = false;
  Packed packed_;
  Slot bias_, scratch_;
  size_t scratch_bytes_ = 0;
  std::vector<float> scale_;
  decltype(kernels::Kernels::conv_f32) kernel_ = nullptr;
  decltype(kernels::Kernels::conv_i8_f32) hybrid_kernel_ = nullptr;
};

/// sums[row, n] = sum_k (in[row, k] - zero_point) * w[n, k] of int8 rows, w an INT8 operand [n, k].
class IntegerRowProduct {
 public:
  IntegerRowProduct() = default;
  /// `rows` are the most that Run will be given.
  IntegerRowProduct(Prepare& p, int weights, int32_t rows, int32_t n, int32_t k, int32_t zero_point, const char* what);
  explicit operator bool() const { return n_ > 0; }
  void Run(const RunContext& run, const int8_t* in, int32_t rows, int32_t* sums, int worker) const;

 private:
  void RunPart(const RunContext& run, size_t part, const int8_t* in, int32_t rows, int32_t* sums, int worker) const;

  int32_t n_ = 0, k_ = 0;
  std::vector<Packed> parts_;  // of k, each as long as its sums are exact as floats
  Slot scratch_, floats_;
  size_t scratch_bytes_ = 0, most_ = 0;
  std::vector<float> ones_;
  std::vector<int32_t> zero_points_;  // of rows
  decltype(kernels::Kernels::conv_i8_f32) kernel_ = nullptr;
};

}  // namespace sigrun::ops
