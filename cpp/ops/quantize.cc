#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/fixed_point.h"
#include "ops/support/lookup.h"
#include "ops/support/quantization.h"
#include "ops/support/rescale_16.h"

// QUANTIZE and DEQUANTIZE between float32 and the quantised types, and from one quantisation to another.
namespace sigrun::ops {
namespace {

// Scales and zero points for every index of one dimension, and how many elements lie before and behind it.
struct Channels {
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
  int64_t outer, count, inner;
};

Channels ChannelsOf(const Prepare& p, const Quantization& q, const Shape& shape) {
  p.Check(q.block_size == 0, "blockwise quantisation");
  const size_t axis = ResolveAxis(p, q.dimension, shape.size());
  Channels c{q.scale, {}, Product(shape, 0, axis), shape[axis], Product(shape, axis + 1, shape.size())};
  p.Check(static_cast<int64_t>(q.scale.size()) == c.count, "it has ", q.scale.size(), " quantisation scales for ", c.count, " channels");
  for (size_t i = 0; i < q.scale.size(); ++i) {
    const int64_t zero_point = q.zero_point.empty() ? 0 : q.zero_point[q.zero_point.size() == 1 ? 0 : i];
    p.Check(std::isfinite(q.scale[i]) && q.scale[i] > 0, "the quantisation scale ", q.scale[i], " of channel ", i);
    p.Check(zero_point >= INT32_MIN / 2 && zero_point <= INT32_MAX / 2, "the zero point ", zero_point, " of channel ", i);
    c.zero_point.push_back(static_cast<int32_t>(zero_point));
  }
  return c;
}

// Emits a step that computes one channel's run at a time: f(const X*, Y*, n, scale, zero_point).
template <class X, class Y, class F>
void EmitPerChannel(Prepare& p, Channels channels, F f) {
  p.Emit([c = std::move(channels), f, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const X* from = run.get<X>(x);
    Y* to = run.get<Y>(y);
    for (int64_t o = 0; o < c.outer; ++o) {
      for (size_t k = 0; k < c.scale.size(); ++k) {
        f(from, to, c.inner, c.scale[k], c.zero_point[k]);
        from += c.inner;
        to += c.inner;
      }
    }
  });
}

template <class X, class Y, class F>
void EmitPerTensor(Prepare& p, Prepare::Affine affine, F f) {
  if (sizeof(X) == sizeof(Y)) p.MayOverwrite(0, 0);
  p.Emit([affine, f, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const X* from = run.get<X>(x);
    Y* to = run.get<Y>(y);
    ForElements(run, n, 2, [&](int64_t begin, int64_t count) { f(from + begin, to + begin, count, affine.scale, affine.zero_point); });
  });
}

// --- QUANTIZE ---

template <class Y>
struct QuantizeRun {
  void operator()(const float* from, Y* to, int64_t n, float scale, int32_t zero_point) const {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t q = int64_t{RoundToInt(from[i] / scale)} + zero_point;
      to[i] = static_cast<Y>(std::clamp<int64_t>(q, std::numeric_limits<Y>::min(), std::numeric_limits<Y>::max()));
    }
  }
};

template <class Y>
void EmitQuantize(Prepare& p) {
  const Quantization& q = p.output_quantization(0);
  if (q.scale.size() > 1) return EmitPerChannel<float, Y>(p, ChannelsOf(p, q, p.shape(0)), QuantizeRun<Y>());
  const auto kernel = [&] {
    if constexpr (std::is_same_v<Y, int8_t>) return p.kernels().quantize_i8;
    if constexpr (std::is_same_v<Y, uint8_t>) return p.kernels().quantize_u8;
    if constexpr (std::is_same_v<Y, int16_t>) return p.kernels().quantize_i16;
  }();
  EmitPerTensor<float, Y>(p, p.output_affine(0), [kernel](const float* from, Y* to, int64_t n, float scale, int32_t zero_point) {
    kernel(from, to, static_cast<size_t>(n), scale, zero_point);
  });
}

template <class X, class Y>
void EmitRequantize(Prepare& p) {
  // A tensor that was always 0 when it was calibrated may have the scale 0: whatever it holds is 0.
  const bool is_zero = p.quantization(0).scale == std::vector<float>{0.0f};
  const Prepare::Affine input = is_zero ? Prepare::Affine{0.0f, 0} : p.affine(0), output = p.output_affine(0);
  const FixedPoint m = QuantizeMultiplier(static_cast<double>(input.scale) / static_cast<double>(output.scale));
  const int32_t from_zero = input.zero_point, to_zero = output.zero_point;
  const auto requantize = [=](int32_t x) {
    const int32_t y = kernels::WrapAdd(ScaleBy(kernels::WrapSub(x, from_zero), m.multiplier, m.shift), to_zero);
    return std::clamp<int32_t>(y, std::numeric_limits<Y>::min(), std::numeric_limits<Y>::max());
  };
  if constexpr (sizeof(X) == 1 && sizeof(Y) == 1) {
    const Table8 table = MakeTable8(p.type(0), requantize);
    bool identity = true;
    for (size_t i = 0; i < table.size(); ++i) identity = identity && table[i] == i;
    return identity ? p.Alias(0, 0) : EmitLookup8(p, table);
  } else if constexpr (std::is_same_v<X, int16_t> && sizeof(Y) <= sizeof(X)) {
    const RescaleKernel16 rescale(p, from_zero, m, to_zero, {std::numeric_limits<Y>::min(), std::numeric_limits<Y>::max()});
    EmitPerTensor<X, Y>(p, output, [rescale](const X* from, Y* to, int64_t n, float, int32_t) { rescale(from, to, n); });
  } else {
    EmitPerTensor<X, Y>(p, p.output_affine(0), [requantize](const X* from, Y* to, int64_t n, float, int32_t) {
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<Y>(requantize(from[i]));
    });
  }
}

// Calls f(T) for the integer types that may be quantised.
template <class F>
void WithQuantized(const Prepare& p, TensorType type, const char* role, const F& f) {
  switch (type) {
    case TensorType::kInt8: return f(int8_t{});
    case TensorType::kUInt8: return f(uint8_t{});
    case TensorType::kInt16: return f(int16_t{});
    default: p.Refuse(StatusCode::kUnimplemented, Concat("its ", role, " is ", TensorTypeName(type)));
  }
}

void PrepareQuantize(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.SetShape(0, p.shape(0));
  if (p.output_type(0) == TensorType::kInt32)
    return WithQuantized(p, p.type(0), "input", [&]<class X>(X) { EmitRequantize<X, int32_t>(p); });
  if (p.type(0) == TensorType::kInt32)
    return WithQuantized(p, p.output_type(0), "output", [&]<class Y>(Y) { EmitRequantize<int32_t, Y>(p); });
  WithQuantized(p, p.output_type(0), "output", [&]<class Y>(Y) {
    if (p.type(0) == TensorType::kFloat32) return EmitQuantize<Y>(p);
    WithQuantized(p, p.type(0), "input", [&]<class X>(X) { EmitRequantize<X, Y>(p); });
  });
}

// --- DEQUANTIZE ---

template <class X>
void EmitDequantize(Prepare& p) {
  const auto run = [](const X* from, float* to, int64_t n, float scale, int32_t zero_point) {
    for (int64_t i = 0; i < n; ++i) to[i] = scale * static_cast<float>(from[i] - zero_point);
  };
  const Quantization& q = p.quantization(0);
  if (q.scale.size() > 1) return EmitPerChannel<X, float>(p, ChannelsOf(p, q, p.shape(0)), run);
  const auto kernel = [&] {
    if constexpr (std::is_same_v<X, int8_t>) return p.kernels().dequantize_i8;
    if constexpr (std::is_same_v<X, uint8_t>) return p.kernels().dequantize_u8;
    if constexpr (std::is_same_v<X, int16_t>) return p.kernels().dequantize_i16;
  }();
  EmitPerTensor<X, float>(p, p.affine(0), [kernel](const X* from, float* to, int64_t n, float scale, int32_t zero_point) {
    kernel(from, to, static_cast<size_t>(n), scale, zero_point);
  });
}

/// Element i of a tensor whose elements take kBits bits, the first in the lowest.
template <int kBits, bool kSigned>
int32_t PackedAt(const uint8_t* bytes, int64_t i) {
  constexpr int kInByte = 8 / kBits;
  const uint32_t value = (bytes[i / kInByte] >> (i % kInByte * kBits)) & ((1u << kBits) - 1);
  if constexpr (!kSigned) return static_cast<int32_t>(value);
  return static_cast<int32_t>(value << (32 - kBits)) >> (32 - kBits);
}

template <int kBits, bool kSigned>
void EmitDequantizePacked(Prepare& p) {
  const Quantization& q = p.quantization(0);
  Channels channels;
  if (q.scale.size() > 1) {
    channels = ChannelsOf(p, q, p.shape(0));
  } else {
    const Prepare::Affine affine = p.affine(0);
    channels = {{affine.scale}, {affine.zero_point}, 1, 1, p.elements(0)};
  }
  p.Emit([c = std::move(channels), n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const uint8_t* from = run.get<uint8_t>(x);
    float* to = run.get<float>(y);
    for (int64_t i = 0; i < n; ++i) {
      const size_t k = static_cast<size_t>(i / c.inner % c.count);
      to[i] = c.scale[k] * static_cast<float>(PackedAt<kBits, kSigned>(from, i) - c.zero_point[k]);
    }
  });
}

void PrepareDequantize(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.SetShape(0, p.shape(0));
  if (p.type(0) == TensorType::kInt4) return EmitDequantizePacked<4, true>(p);
  if (p.type(0) == TensorType::kUInt4) return EmitDequantizePacked<4, false>(p);
  if (p.type(0) == TensorType::kInt2) return EmitDequantizePacked<2, true>(p);
  if (p.type(0) == TensorType::kBFloat16) {
    return EmitPerTensor<uint16_t, float>(p, {1.0f, 0}, [](const uint16_t* from, float* to, int64_t n, float, int32_t) {
      for (int64_t i = 0; i < n; ++i) to[i] = std::bit_cast<float>(uint32_t{from[i]} << 16);
    });
  }
  if (p.type(0) == TensorType::kFloat16) {
    return EmitPerTensor<uint16_t, float>(p, {1.0f, 0},
                                          [kernel = p.kernels().f16_to_f32](const uint16_t* from, float* to, int64_t n, float, int32_t) {
                                            kernel(from, to, static_cast<size_t>(n));
                                          });
  }
  WithQuantized(p, p.type(0), "input", [&]<class X>(X) { EmitDequantize<X>(p); });
}

constexpr OpDef kOps[] = {
    {.name = "QUANTIZE", .prepare = PrepareQuantize},
    {.name = "DEQUANTIZE", .prepare = PrepareDequantize},
};

}  // namespace

std::span<const OpDef> quantize_ops() { return kOps; }

}  // namespace sigrun::ops
