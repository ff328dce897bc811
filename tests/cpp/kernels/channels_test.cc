#include <algorithm>
#include <cstring>

#include "kernel_test.h"

// Products whose output channels are computed piece by piece (ConvShape::pixel_channels), as threads share them: the bits of the whole.
namespace sigrun::kernels {
namespace {

constexpr int32_t kRows = 29, kDepth = 70, kChannels = 300, kPiece = 128;

// f(shape of the piece, its first channel)
template <class F>
void ForPieces(const F& f) {
  for (int32_t first = 0; first < kChannels; first += kPiece) {
    ConvShape piece = ConvShape::MatMul(kRows, kDepth, std::min(kPiece, kChannels - first));
    piece.pixel_channels = kChannels;
    f(piece, first);
  }
}

template <class T>
void ExpectSameBytes(const std::vector<T>& whole, const std::vector<T>& pieces) {
  ASSERT_EQ(std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(T)), 0);
}

const ConvShape kWhole = ConvShape::MatMul(kRows, kDepth, kChannels);
constexpr size_t kOutputs = size_t{kRows} * kChannels;

/// Float operands, and all that the end of a product can need.
struct FloatData {
  std::vector<float> input = RandomFloats(size_t{kRows} * kDepth, 1), weights = RandomFloats(size_t{kChannels} * kDepth, 2),
                     bias = RandomFloats(kChannels, 3), slope = RandomFloats(kChannels, 4), residual = RandomFloats(kOutputs, 5);

  EpilogueF32 Epilogue(ptrdiff_t first) const {
    EpilogueF32 e;
    e.activation = ActivationF32::kPrelu;
    e.slope = slope.data() + first;
    e.residual = residual.data() + first;
    return e;
  }
  WeightView<float> Weights(ptrdiff_t first) const { return {weights.data() + first * kDepth, kDepth, 1}; }
};

TEST(Channels, Float32) {
  const FloatData data;
  for (const Kernels* t : AllTiers()) {
    SCOPED_TRACE(t->tier);
    const auto run = [&](const ConvShape& s, int32_t first, std::vector<float>& output) {
      const AlignedBytes packed(t->pack_f32_bytes(kDepth, s.out_channels));
      t->pack_f32(kDepth, s.out_channels, data.Weights(first), data.bias.data() + first, packed.data());
      t->conv_f32(s, data.input.data(), packed.data(), output.data() + first, data.Epilogue(first), {0, kRows});
    };
    std::vector<float> whole(kOutputs), pieces(kOutputs);
    run(kWhole, 0, whole);
    ForPieces([&](const ConvShape& s, int32_t first) { run(s, first, pieces); });
    ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(whole, pieces));
  }
}

TEST(Channels, BlocksOfPackedWeights) {
  const FloatData data;
  for (const Kernels* t : AllTiers()) {
    const int32_t grain = t->f32_block_channels;
    if (grain == 0) continue;
    SCOPED_TRACE(t->tier);
    const AlignedBytes packed(t->pack_f32_bytes(kDepth, kChannels));
    t->pack_f32(kDepth, kChannels, data.Weights(0), data.bias.data(), packed.data());
    std::vector<float> whole(kOutputs), pieces(kOutputs);
    t->conv_f32(kWhole, data.input.data(), packed.data(), whole.data(), data.Epilogue(0), {0, kRows});
    for (int32_t first = 0, count = grain; first < kChannels; first += count, count += grain) {
      ConvShape piece = ConvShape::MatMul(kRows, kDepth, std::min(count, kChannels - first));
      piece.pixel_channels = kChannels;
      const std::byte* weights = packed.data() + t->pack_f32_bytes(kDepth, first);
      t->conv_f32(piece, data.input.data(), weights, pieces.data() + first, data.Epilogue(first), {0, kRows});
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(whole, pieces));
  }
}

// Windows with tile functions and others, over blocks of channels that the input has side by side.
TEST(Channels, Depthwise) {
  constexpr int32_t kSide = 9;
  constexpr size_t kPixels = size_t{kSide} * kSide;
  for (const int32_t window : {3, 4, 5}) {
    ConvShape s;
    s.in_height = s.in_width = s.out_height = s.out_width = kSide;
    s.in_channels = s.out_channels = kChannels;
    s.kernel_height = s.kernel_width = window;
    s.pad_top = s.pad_left = window / 2;
    const auto input = RandomFloats(kPixels * kChannels, 1), filter = RandomFloats(size_t{kChannels} * static_cast<size_t>(s.taps()), 2),
               bias = RandomFloats(kChannels, 3), slope = RandomFloats(kChannels, 4);
    const auto epilogue = [&](int32_t first) {
      EpilogueF32 e;
      e.activation = ActivationF32::kPrelu;
      e.slope = slope.data() + first;
      return e;
    };
    for (const Kernels* t : AllTiers()) {
      const int32_t grain = t->f32_block_channels;
      if (grain == 0) continue;
      SCOPED_TRACE(t->tier);
      const AlignedBytes packed(t->pack_depthwise_f32_bytes(s));
      t->pack_depthwise_f32(s, filter.data(), bias.data(), packed.data());
      std::vector<float> whole(input.size()), pieces(input.size());
      t->depthwise_f32(s, input.data(), packed.data(), whole.data(), epilogue(0), {0, kSide});
      for (int32_t first = 0, count = grain; first < kChannels; first += count, count += grain) {
        ConvShape piece = s;
        piece.out_channels = first;
        const std::byte* weights = packed.data() + t->pack_depthwise_f32_bytes(piece);
        piece.in_channels = piece.out_channels = std::min(count, kChannels - first);
        piece.pixel_channels = kChannels;
        std::vector<float> block(kPixels * static_cast<size_t>(piece.in_channels));
        for (size_t i = 0; i < kPixels; ++i) {
          std::copy_n(input.data() + i * kChannels + first, piece.in_channels, block.data() + i * static_cast<size_t>(piece.in_channels));
        }
        t->depthwise_f32(piece, block.data(), weights, pieces.data() + first, epilogue(first), {0, kSide});
      }
      ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(whole, pieces));
    }
  }
}

TEST(Channels, Bfloat16) {
  const FloatData data;
  for (const Kernels* t : AllTiers()) {
    for (const int32_t parts : {1, 2, 3}) {
      if (parts == 3 && t->bf16_parts < 3 && t != &Scalar()) continue;
      SCOPED_TRACE(t->tier);
      const auto run = [&](const ConvShape& s, int32_t first, std::vector<float>& output) {
        const AlignedBytes packed(t->pack_bf16_bytes(kDepth, s.out_channels, parts)), scratch(t->conv_bf16_scratch_bytes(s, parts));
        t->pack_bf16(kDepth, s.out_channels, parts, data.Weights(first), data.bias.data() + first, packed.data());
        t->conv_bf16(s, parts, {}, data.input.data(), packed.data(), output.data() + first, data.Epilogue(first), scratch.data(),
                     {0, kRows});
      };
      std::vector<float> whole(kOutputs), pieces(kOutputs);
      run(kWhole, 0, whole);
      ForPieces([&](const ConvShape& s, int32_t first) { run(s, first, pieces); });
      ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(whole, pieces));
    }
  }
}

TEST(Channels, Int8) {
  const auto input = RandomInts<int8_t>(size_t{kRows} * kDepth, 1), weights = RandomInts<int8_t>(size_t{kChannels} * kDepth, 2);
  const auto bias = RandomInts<int32_t>(kChannels, 3, -20000, 20000), multiplier = RandomInts<int32_t>(kChannels, 4, 1 << 30, INT32_MAX),
             shift = RandomInts<int32_t>(kChannels, 5, -12, -6);
  for (const Kernels* t : AllTiers()) {
    SCOPED_TRACE(t->tier);
    const auto run = [&](const ConvShape& s, int32_t first, std::vector<int8_t>& output) {
      const AlignedBytes packed(t->pack_i8_bytes(s)), scratch(t->conv_i8_scratch_bytes(s));
      t->pack_i8(s, {weights.data() + ptrdiff_t{first} * kDepth, kDepth, 1}, false, bias.data() + first, -3, 0, packed.data());
      t->conv_i8(s, {input.data(), -3, false}, packed.data(), output.data() + first,
                 {multiplier.data() + first, shift.data() + first, 7, -128, 127}, scratch.data(), {0, kRows});
    };
    std::vector<int8_t> whole(kOutputs), pieces(kOutputs);
    run(kWhole, 0, whole);
    ForPieces([&](const ConvShape& s, int32_t first) { run(s, first, pieces); });
    ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(whole, pieces));
  }
}

TEST(Channels, Int8ToFloat) {
  const auto input = RandomInts<int8_t>(size_t{kRows} * kDepth, 1), weights = RandomInts<int8_t>(size_t{kChannels} * kDepth, 2);
  const auto row_scale = RandomFloats(kRows, 3, 0.01f, 0.1f), channel_scale = RandomFloats(kChannels, 4, 0.01f, 0.1f),
             bias = RandomFloats(kChannels, 5);
  const auto zero_point = RandomInts<int32_t>(kRows, 6, -20, 20);
  for (const Kernels* t : AllTiers()) {
    SCOPED_TRACE(t->tier);
    const auto run = [&](const ConvShape& s, int32_t first, std::vector<float>& output) {
      const AlignedBytes packed(t->pack_i8_bytes(s)), scratch(t->conv_i8_scratch_bytes(s));
      t->pack_i8(s, {weights.data() + ptrdiff_t{first} * kDepth, kDepth, 1}, false, nullptr, 0, 0, packed.data());
      t->conv_i8_f32(s, {input.data(), 0, false}, packed.data(), output.data() + first, row_scale.data(), zero_point.data(), false,
                     channel_scale.data() + first, bias.data() + first, nullptr, {}, scratch.data(), {0, kRows});
    };
    std::vector<float> whole(kOutputs), pieces(kOutputs);
    run(kWhole, 0, whole);
    ForPieces([&](const ConvShape& s, int32_t first) { run(s, first, pieces); });
    ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(whole, pieces));
  }
}

}  // namespace
}  // namespace sigrun::kernels
