#pragma once

#include <string>

#include "kernels/kernels.h"
#include "ops/op.h"

namespace sigrun::ops {

/// The kernels of a float32 product: those of float32, or those of bfloat16 where the interpreter's precision allows them and this machine
/// gains by them. Where it has tiles of products, that is counted, and even Precision::kHighest may take them: three parts are float32.
class FloatProduct {
 public:
  /// `constant`: the weights are packed once, not in every run. packed_groups of the shape is what that of float32 would take.
  FloatProduct(const Prepare& p, const kernels::ConvShape& shape, bool constant = true);
  /// The one of bfloat16, for operands that are such already.
  static FloatProduct OfBf16(const Prepare& p);
  /// The one of float32 with weights that stay float16: it reads half the bytes, and computes the same bits.
  static FloatProduct OfHalves(const Prepare& p);

  bool is_float32() const { return parts_ == 0; }
  bool is_bf16() const { return parts_ == 1; }
  /// Whether Pack takes float16 weights, rather than float32 ones.
  bool takes_halves() const { return takes_halves_; }
  /// The time it takes beside that of the kernels of float32, as far as it is counted.
  double share() const { return share_; }
  /// Tells packed weights of different kernels apart.
  std::string key() const { return takes_halves_ ? " float16" : is_float32() ? "" : Concat(" bfloat16 x", parts_); }

  size_t PackBytes(int32_t k, int32_t n) const {
    if (takes_halves_) return kernels_->pack_f16_bytes(k, n);
    return is_float32() ? kernels_->pack_f32_bytes(k, n) : kernels_->pack_bf16_bytes(k, n, parts_);
  }
  void Pack(int32_t k, int32_t n, kernels::WeightView<float> weights, const float* bias, std::byte* packed) const {
    if (is_float32()) return kernels_->pack_f32(k, n, weights, bias, packed);
    kernels_->pack_bf16(k, n, parts_, weights, bias, packed);
  }
  void Pack(int32_t k, int32_t n, kernels::WeightView<uint16_t> weights, const float* bias, std::byte* packed) const {
    kernels_->pack_f16(k, n, weights, bias, packed);
  }
  /// Of one call of Conv.
  size_t ScratchBytes(const kernels::ConvShape& shape) const { return is_float32() ? 0 : kernels_->conv_bf16_scratch_bytes(shape, parts_); }
  void Conv(const kernels::ConvShape& shape, const float* input, const std::byte* packed, float* output,
            const kernels::EpilogueF32& epilogue, std::byte* scratch, kernels::Range rows) const {
    Conv(shape, {}, input, packed, output, epilogue, scratch, rows);
  }
  /// Operands are bfloat16 only if is_bf16().
  void Conv(const kernels::ConvShape& shape, kernels::Bf16Operands operands, const void* input, const std::byte* packed, void* output,
            const kernels::EpilogueF32& epilogue, std::byte* scratch, kernels::Range rows) const {
    if (!is_float32()) return kernels_->conv_bf16(shape, parts_, operands, input, packed, output, epilogue, scratch, rows);
    const auto conv = takes_halves_ ? kernels_->conv_f16 : kernels_->conv_f32;
    conv(shape, static_cast<const float*>(input), packed, static_cast<float*>(output), epilogue, rows);
  }

 private:
  FloatProduct(const kernels::Kernels& kernels, int32_t parts) : kernels_(&kernels), parts_(parts), share_(1.0) {}
  const kernels::Kernels* kernels_;
  int32_t parts_;  // bfloat16 parts of a number; 0: float32
  double share_;
  bool takes_halves_ = false;
};

/// Whether bfloat16 is what this machine gains by, and precise enough.
bool AllowsBf16(const Prepare& p);
/// Whether a 1x1 convolution with this filter [out, height, width, in] takes its input and its residual as bfloat16, for OpDef::takes_bf16.
bool ProductTakesBf16(const Prepare& p, int filter);

}  // namespace sigrun::ops
