#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/kernels.h"
#include "model/schema.h"
#include "ops/op.h"
#include "ops/support/linear_sum.h"

// What convolutions and matrix products share: geometry, scales of weights, packed weights, and the steps that run the GEMM kernels.
namespace sigrun::ops {

// --- geometry
// -------------------------------------------------------------------------------------------------------------------------------

/// A sliding window as the options of an operator give it; the field ids of padding, stride_w and stride_h are 0, 1 and 2 in all of them.
struct Window {
  schema::Padding padding = schema::Padding::kSame;
  int32_t stride_h = 1, stride_w = 1;
  int32_t dilation_h = 1, dilation_w = 1;
  int32_t kernel_h = 1, kernel_w = 1;
};

/// Padding and strides from the options. Throws if a stride is not positive or the padding unknown.
Window ReadWindow(const Prepare& p);

/// The dilations from the options, times the node's.
void ReadDilations(const Prepare& p, int width_field, int height_field, Window* window);

/// Everything of the geometry but the channels, for an input [batch, height, width, *]; a padding fused into the node is added. Throws if
/// the window is empty or does not fit into the input.
kernels::ConvShape PlaceWindow(const Prepare& p, const Window& window, const Shape& input);

/// The padding before the first pixel along one dimension.
int32_t PaddingBefore(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation);

/// The lines of a convolution of elements of so many bytes; `macs` is what a pixel of the output takes.
LineGeometry LinesOf(const kernels::ConvShape& s, size_t in_bytes, size_t out_bytes, size_t weight_bytes, int64_t macs);

/// The shape of a convolution's output.
inline Shape OutputShape(const kernels::ConvShape& s) { return {s.batch, s.out_height, s.out_width, s.out_channels * s.groups}; }

/// Throws unless operand i has this rank and its elements can be counted in 31 bits.
void CheckRank(const Prepare& p, int i, size_t rank, const char* what);

/// Throws unless the optional operand i is a vector of n elements of `type`, or absent.
void CheckBias(const Prepare& p, int i, int64_t n, TensorType type);

// --- quantisation
// ---------------------------------------------------------------------------------------------------------------------------

/// The scale and zero point of an 8-bit operand; throws if the zero point is not a value of its type.
Prepare::Affine CheckedAffine(const Prepare& p, int i);
Prepare::Affine CheckedOutputAffine(const Prepare& p, int o);

/// Scales of weights: one for all, or one for each of `channels` along the dimension.
struct WeightScales {
  std::vector<float> scale;
  int32_t zero_point = 0;  // in the weights' own domain; 0 where there is a scale for each channel
  bool per_channel() const { return scale.size() > 1; }
  float at(size_t channel) const { return scale[per_channel() ? channel : 0]; }
  /// One of each channel.
  std::vector<float> Each(int32_t channels) const {
    return per_channel() ? scale : std::vector<float>(static_cast<size_t>(channels), scale[0]);
  }
};
WeightScales ReadWeightScales(const Prepare& p, int i, int32_t dimension, int64_t channels);
/// The same for operators in which LiteRT passes over the zero point of int8 weights.
WeightScales ReadSymmetricWeightScales(const Prepare& p, int i, int32_t dimension, int64_t channels);

/// How LiteRT scales the sums: by a fixed-point number, made from the product of the scales of input and weights in double, or in float
/// where the weights have one scale; or by the product in double, as FULLY_CONNECTED does.
enum class ScaleProduct : uint8_t { kDouble, kFloatIfSingle, kUnquantized };

/// Requantisation of the sums of `channels` output channels, owned.
struct Requantization {
  std::vector<int32_t> multiplier, shift;
  std::vector<double> scale;  // empty, or used instead
  bool bounded = true;        // RequantizeParams's
  int32_t zero_point = 0, min = 0, max = 0;
  /// For the output channels from `first` on.
  kernels::RequantizeParams params(int32_t first = 0) const {
    if (!scale.empty()) return {nullptr, nullptr, zero_point, min, max, scale.data() + first, bounded};
    return {multiplier.data() + first, shift.data() + first, zero_point, min, max};
  }
};
Requantization PrepareRequantization(const Prepare& p, float input_scale, const WeightScales& weights, int64_t channels,
                                     ScaleProduct product);
/// Kernels take a short way where no shift is long. Channels with a long one whose output is the same whatever the input, as those whose
/// weights have died in training, get a factor that needs none. Returns the biases that belong to it, or nothing where they stay. Weight k
/// of channel n stands at n * stride_n + k * stride_k.
std::vector<int32_t> ShortenShifts(const Prepare& p, int weights, int bias, ptrdiff_t stride_n, ptrdiff_t stride_k, int64_t depth,
                                   int32_t weight_zero_point, Requantization* r);
/// For the keys of packed weights.
std::string KeyOfBiases(const std::vector<int32_t>& biases);

/// What is added to an 8-bit result that a residual has been fused into.
struct ResidualSum {
  Slot residual = {};
  std::optional<kernels::AddI8Params> sum;
  /// `to` adds to the output channels from `first` on. This must outlive it.
  void Attach(const RunContext& run, ptrdiff_t first, kernels::RequantizeParams* to) const {
    if (!sum) return;
    to->add = &*sum;
    to->residual = run.get<int8_t>(residual) + first;
  }
};

inline bool Is8Bit(TensorType type) { return type == TensorType::kInt8 || type == TensorType::kUInt8; }
/// A zero point in the int8 domain of the kernels.
inline int32_t ToInt8Domain(int32_t zero_point, TensorType type) { return type == TensorType::kUInt8 ? zero_point - 128 : zero_point; }

// --- weights in the kernels' layouts
// ----------------------------------------------------------------------------------------------------------

/// Packed weights: known while planning, or made by a step of every run.
struct Packed {
  const std::byte* known = nullptr;
  Slot slot;
  const std::byte* get(const RunContext& run) const { return known != nullptr ? known : run.get<std::byte>(slot); }
};

/// Packed integers of 4 or 2 bits as bytes.
void UnpackInts(int bits, const void* from, int64_t n, int8_t* to);

/// Throws unless operand i is INT8 or less, as weights of INT8 or float activations are.
void CheckIntWeights(const Prepare& p, int i);

/// fill(weights, bias or null, packed, scratch) packs; it must not throw. Weights of 4 or 2 bits come as bytes.
using FillPacked = std::function<void(const void* weights, const void* bias, std::byte* packed, std::byte* scratch)>;

/// Whether PackWeights packs while planning: weights and bias, if there is one, are known.
bool IsPackedOnce(const Prepare& p, int weights, int bias);

/// Packs weights and bias (an input that may be absent, or -1) once if both are constants, else emits a step that packs them. `key` names
/// all that the packed bytes depend on but the two inputs' contents. `fill` is given `scratch_bytes` of scratch. Of weights that are
/// float16 in the file, it is given float32, or those if `as_halves`.
Packed PackWeights(Prepare& p, int weights, int bias, const std::string& key, size_t bytes, size_t scratch_bytes, FillPacked fill,
                   bool as_halves = false);

// --- the end of a float convolution
// ---------------------------------------------------------------------------------------------------------

/// Of an element in memory.
inline size_t FloatBytes(bool is_bf16) { return is_bf16 ? sizeof(uint16_t) : sizeof(float); }
/// `elements` further.
template <class T>
T* Advance(T* p, ptrdiff_t elements, bool is_bf16) {
  using Byte = std::conditional_t<std::is_const_v<T>, const std::byte, std::byte>;
  return reinterpret_cast<T*>(reinterpret_cast<Byte*>(p) + elements * static_cast<ptrdiff_t>(FloatBytes(is_bf16)));
}

/// The node's activation, and what is fused into it, for kernels::EpilogueF32.
struct Epilogue {
  kernels::ClampF32 clamp;
  kernels::ActivationF32 function;
  float alpha;
  Slot slope, residual;
  bool bf16_residual;
  /// For the output channels from `first` on.
  kernels::EpilogueF32 at(const RunContext& run, ptrdiff_t first = 0) const {
    const float *slopes = run.get<float>(slope), *addend = run.get<float>(residual);
    return {clamp, function, alpha, slopes == nullptr ? nullptr : slopes + first,
            addend == nullptr ? nullptr : Advance(addend, first, bf16_residual)};
  }
};

/// Call when the output has its shape, and before p.out(0): the output may take the residual's memory.
Epilogue PrepareEpilogue(Prepare& p);

/// The elementwise kernel of an activation of many operations. Null for the others.
kernels::UnaryF32 FunctionOf(const kernels::Kernels& k, kernels::ActivationF32 activation);

/// Output channels as a tier computes them in float32: whole vectors.
int64_t WholeChannels(const kernels::Kernels& k, int32_t channels);

/// The function that follows float32 sums, where it takes whole runs of pixels, some at a time, which are still in the cache: so it fills
/// vectors though the channels of a pixel may not, and has many independent ones.
class FunctionApart {
 public:
  /// The sums' kernel takes it.
  FunctionApart() = default;
  /// Takes it out of the epilogue if that is better. Rows are whole pixels, and take `floats`; sums are asked for by multiples of
  /// `together` rows.
  FunctionApart(const Prepare& p, int32_t channels, int64_t floats, int32_t together, Epilogue* epilogue);

  /// sums(rows) computes them; `output` is row 0.
  template <class F>
  void Run(float* output, kernels::Range range, const F& sums) const {
    if (rows_ == 0) return sums(range);
    for (int32_t row = range.begin; row < range.end; row += rows_) {
      const kernels::Range part = {row, range.end - row < rows_ ? range.end : row + rows_};
      sums(part);
      Apply(output + row * floats_, (part.end - part.begin) * floats_);
    }
  }

 private:
  void Apply(float* y, int64_t n) const;

  kernels::UnaryF32 function_ = nullptr;
  kernels::BinaryF32 multiply_ = nullptr;  // by the slopes
  std::shared_ptr<const std::vector<float>> slopes_;
  int64_t floats_ = 0;
  int32_t rows_ = 0;  // at a time; 0: the sums' kernel takes it
};

// --- products
// -------------------------------------------------------------------------------------------------------------------------------

/// out[row, n] = activation(bias[n] + sum_k in[row, k] * w[n, k]) over the rows of a convolution, into output 0. The input is operand
/// `input`; weights are read through the strides of a kernels::WeightView.
struct Gemm {
  kernels::ConvShape shape;
  int input = 0, weights = 1, bias = 2;
  ptrdiff_t stride_n = 0, stride_k = 1;
};

void EmitGemmF32(Prepare& p, const Gemm& gemm);
/// 8-bit input, weights of the same type, output of the same type.
void EmitGemm8(Prepare& p, const Gemm& gemm, const WeightScales& scales, ScaleProduct product);

/// How float activations meet int8 weights: quantised a row of the matrix or an image at a time.
struct HybridRounding {
  bool asymmetric = false;
  bool per_image = false;
};
void EmitGemmHybrid(Prepare& p, const Gemm& gemm, const WeightScales& scales, HybridRounding rounding);

/// A float input rounded to int8, or uint8 128 higher, in `count` runs of which each has its scale. Nodes that round the same input alike
/// share it: only the first fills it.
class RoundedRuns {
 public:
  RoundedRuns(Prepare& p, int input, int32_t count, bool asymmetric, bool is_unsigned);
  /// The same of scratch: `count` runs of `length`.
  RoundedRuns(Prepare& p, Slot in, size_t length, int32_t count, bool asymmetric, bool is_unsigned);
  bool fresh() const { return fresh_; }
  /// Bytes from `first` on.
  const int8_t* values(const RunContext& run, ptrdiff_t first = 0) const { return run.get<int8_t>(values_) + first; }
  kernels::InputI8 input(const RunContext& run, ptrdiff_t first = 0) const { return {values(run, first), 0, is_unsigned_}; }
  const float* scale(const RunContext& run) const { return run.get<float>(scale_); }
  /// Null where all are 0.
  const int32_t* zero_point(const RunContext& run) const { return asymmetric_ ? run.get<int32_t>(zero_point_) : nullptr; }
  /// Some of the runs, on this thread.
  void Fill(const RunContext& run, kernels::Range runs) const;
  /// All of them, long ones in parts.
  void Fill(const RunContext& run) const;

 private:
  RoundedRuns(Prepare& p, Slot in, size_t length, int32_t count, bool asymmetric, bool is_unsigned, kernels::ClampF32 bounds,
              const Prepare::Derived& memory);

  int32_t count_;
  size_t length_;
  bool asymmetric_, is_unsigned_, fresh_;
  Slot in_, values_, scale_, zero_point_;
  kernels::ClampF32 bounds_;
  const kernels::Kernels* kernels_;
};

/// The extremes of each image of a float input: kernels::ExtremesF32, `images` of them.
Slot EmitExtremes(Prepare& p, int input, int64_t images);

/// The rough cost of `macs` multiply-adds for RunContext::Parallel.
inline int64_t MacCost(int64_t macs) { return macs / 8 + 1; }

/// Rows that kernels take at once: ranges of rows begin at its multiples.
inline constexpr int32_t kRowGrain = 12;

}  // namespace sigrun::ops
