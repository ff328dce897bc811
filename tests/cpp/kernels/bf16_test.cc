#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "kernels/amx_standin/tiles.h"
#include "kernels/common/bf16.h"
#include "kernels/kernel_test.h"

// Convolutions with bfloat16 products, and the stand-in of the tile unit.
namespace sigrun::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Data {
  std::vector<float> input, weights, bias, slope, residual;
  EpilogueF32 epilogue;
};

size_t OutputSize(const ConvShape& s) { return static_cast<size_t>(s.rows()) * static_cast<size_t>(s.out_channels * s.groups); }

bool Takes(const Kernels& t, int32_t parts) { return parts < 3 || t.bf16_parts == 3 || &t == &Scalar(); }

// Every kind of end in turn.
Data MakeData(const ConvShape& s, uint32_t seed) {
  const size_t channels = static_cast<size_t>(s.out_channels * s.groups);
  const size_t inputs = static_cast<size_t>(s.batch * s.in_height) * static_cast<size_t>(s.in_width * s.in_channels * s.groups);
  Data d = {RandomFloats(inputs, seed),
            RandomFloats(channels * static_cast<size_t>(s.taps() * s.in_channels), seed + 1),
            RandomFloats(channels, seed + 2),
            RandomFloats(channels, seed + 3),
            RandomFloats(OutputSize(s), seed + 4),
            {}};
  if (seed % 3 == 0) d.epilogue.clamp = {-0.5f, 1.5f};
  if (seed % 2 == 0) d.epilogue.activation = static_cast<ActivationF32>(seed / 2 % (static_cast<uint32_t>(ActivationF32::kPrelu) + 1));
  d.epilogue.alpha = 0.25f;
  return d;
}

constexpr size_t kGuard = 256;  // bytes behind the scratch that nobody may change

std::vector<float> RunConv(const Kernels& t, const ConvShape& s, const Data& d, int32_t parts, bool cut, bool in_place = false) {
  const int32_t k = s.taps() * s.in_channels, n = s.out_channels;
  const size_t group_bytes = t.pack_bf16_bytes(k, n, parts);
  const size_t scratch_bytes = t.conv_bf16_scratch_bytes(s, parts);
  AlignedBytes packed(group_bytes * static_cast<size_t>(s.groups)), scratch(scratch_bytes + kGuard);
  std::memset(scratch.data(), 0xff, scratch_bytes + kGuard);  // NaN: what a kernel does not write it may not use
  for (int32_t g = 0; g < s.groups; ++g) {
    t.pack_bf16(k, n, parts, {d.weights.data() + static_cast<ptrdiff_t>(g) * n * k, k, 1}, d.bias.data() + g * n,
                packed.data() + static_cast<size_t>(g) * group_bytes);
  }
  std::vector<float> output = in_place ? d.residual : std::vector<float>(OutputSize(s), kNan);
  EpilogueF32 epilogue = d.epilogue;
  epilogue.slope = d.slope.data();
  if (in_place || d.bias[0] > 0) epilogue.residual = in_place ? output.data() : d.residual.data();
  for (const Range& range : cut ? UnevenRanges(s.rows()) : std::vector<Range>{{0, s.rows()}}) {
    t.conv_bf16(s, parts, {}, d.input.data(), packed.data(), output.data(), epilogue, scratch.data(), range);
  }
  const std::byte* guard = scratch.data() + scratch_bytes;
  EXPECT_EQ(std::count(guard, guard + kGuard, std::byte{0xff}), static_cast<ptrdiff_t>(kGuard));
  return output;
}

void ExpectSameBits(const std::vector<float>& expected, const std::vector<float>& actual) {
  ASSERT_EQ(std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(float)), 0);
}

// The same products are added in another order: see ExpectNearSum of the float32 kernels. Parts are rounded alike but for denormal numbers.
void ExpectNear(const std::vector<float>& expected, const std::vector<float>& actual, double terms) {
  const double bound = 16 * (terms + 4) * 0x1p-24;
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], actual[i], bound) << "element " << i;
}

void Compare(const ConvShape& s, uint32_t seed) {
  const Data data = MakeData(s, seed);
  for (int32_t parts : {1, 2, 3}) {
    const std::vector<float> expected = RunConv(Scalar(), s, data, parts, false);
    for (const Kernels* t : TiersToTest()) {
      if (t->conv_bf16 == Scalar().conv_bf16 || !Takes(*t, parts)) continue;
      SCOPED_TRACE(std::string(t->tier) + " parts " + std::to_string(parts) + " rows " + std::to_string(s.rows()) + " taps " +
                   std::to_string(s.taps()) + " channels " + std::to_string(s.in_channels) + " to " + std::to_string(s.out_channels));
      const std::vector<float> actual = RunConv(*t, s, data, parts, false);
      ASSERT_NO_FATAL_FAILURE(ExpectNear(expected, actual, parts * (parts + 1) / 2 * s.taps() * s.in_channels));
      ASSERT_NO_FATAL_FAILURE(ExpectSameBits(actual, RunConv(*t, s, data, parts, true)));
    }
  }
}

ConvShape Image(int32_t side, int32_t window, int32_t stride, int32_t dilation, int32_t in_channels, int32_t out_channels,
                int32_t groups = 1) {
  ConvShape s;
  s.batch = 2;
  s.in_height = side;
  s.in_width = side + 2;
  s.in_channels = in_channels;
  s.kernel_height = window;
  s.kernel_width = window;
  s.stride_h = s.stride_w = stride;
  s.dilation_h = s.dilation_w = dilation;
  s.out_height = (s.in_height + stride - 1) / stride;
  s.out_width = (s.in_width + stride - 1) / stride;
  s.out_channels = out_channels;
  s.pad_top = s.pad_left = (window - 1) * dilation / 2;
  s.groups = groups;
  return s;
}

TEST(ConvBf16, MatMulSizes) {
  uint32_t seed = 1;
  for (int32_t rows : {1, 2, 5, 16, 17, 33, 70}) {
    for (int32_t k : {1, 2, 7, 32, 33, 100}) {
      for (int32_t n : {1, 8, 16, 17, 32, 33, 48, 140}) ASSERT_NO_FATAL_FAILURE(Compare(ConvShape::MatMul(rows, k, n), seed++));
    }
  }
}

TEST(ConvBf16, LongSums) {
  uint32_t seed = 1;
  for (int32_t k : {0, 1023, 1024, 1025, 2500}) {
    for (int32_t rows : {1, 29}) ASSERT_NO_FATAL_FAILURE(Compare(ConvShape::MatMul(rows, k, 70), seed++));
  }
  ASSERT_NO_FATAL_FAILURE(Compare(Image(4, 3, 1, 1, 390, 20), seed++));
}

TEST(ConvBf16, ManyRows) { ASSERT_NO_FATAL_FAILURE(Compare(ConvShape::MatMul(9000, 5, 19), 1)); }

TEST(ConvBf16, Windows) {
  uint32_t seed = 1;
  for (int32_t side : {1, 4, 9}) {
    for (int32_t window : {1, 2, 3, 5}) {
      for (int32_t stride : {1, 2}) {
        for (int32_t dilation : {1, 2}) {
          for (int32_t channels : {1, 3, 20}) {
            ASSERT_NO_FATAL_FAILURE(Compare(Image(side, window, stride, dilation, channels, channels + 15), seed++));
          }
        }
      }
    }
  }
  for (int32_t groups : {2, 3}) ASSERT_NO_FATAL_FAILURE(Compare(Image(5, 3, 1, 1, 6, 18, groups), seed++));
  ASSERT_NO_FATAL_FAILURE(Compare(Image(7, 3, 1, 2, 3, 18, 2), seed++));
}

TEST(ConvBf16, WindowsWithGapsBetweenThem) {
  uint32_t seed = 1;
  for (int32_t window : {1, 2}) {
    for (int32_t groups : {1, 2}) ASSERT_NO_FATAL_FAILURE(Compare(Image(11, window, 3, 1, 5, 18, groups), seed++));
  }
}

TEST(ConvBf16, WindowsOfOneLine) {
  for (bool lies : {false, true}) {
    ConvShape s = Image(9, 5, 2, 1, 3, 18);
    (lies ? s.kernel_height : s.kernel_width) = 1;
    (lies ? s.pad_top : s.pad_left) = 0;
    ASSERT_NO_FATAL_FAILURE(Compare(s, 1));
  }
}

// Blocks that begin and end within lines and images.
TEST(ConvBf16, ManyWindows) { ASSERT_NO_FATAL_FAILURE(Compare(Image(51, 3, 1, 1, 33, 19), 1)); }

TEST(ConvBf16, ResidualMayBeTheOutput) {
  for (int32_t k : {40, 3000}) {
    const ConvShape s = ConvShape::MatMul(29, k, 70);
    Data data = MakeData(s, 1);
    data.bias[0] = 0.5f;  // with a residual
    for (const Kernels* t : AllTiers())
      ASSERT_NO_FATAL_FAILURE(ExpectSameBits(RunConv(*t, s, data, 2, false), RunConv(*t, s, data, 2, false, true)));
  }
}

std::vector<Bf16> Rounded(const std::vector<float>& x) {
  std::vector<Bf16> rounded(x.size());
  for (size_t i = 0; i < x.size(); ++i) rounded[i] = RoundToBf16(x[i]);
  return rounded;
}

std::vector<float> Widened(const std::vector<Bf16>& x) {
  std::vector<float> floats(x.size());
  for (size_t i = 0; i < x.size(); ++i) floats[i] = FloatOf(x[i]);
  return floats;
}

// What is computed with operands of bfloat16 is what is computed with the same numbers as floats, rounded at the end.
void CompareOperands(const ConvShape& s, uint32_t seed) {
  Data data = MakeData(s, seed);
  data.bias[0] = 0.5f;  // with a residual
  const std::vector<Bf16> input = Rounded(data.input), residual = Rounded(data.residual);
  data.input = Widened(input);
  data.residual = Widened(residual);
  for (const Kernels* t : AllTiers()) {
    const std::vector<float> expected = RunConv(*t, s, data, 1, false);
    const size_t group_bytes = t->pack_bf16_bytes(s.taps() * s.in_channels, s.out_channels, 1);
    AlignedBytes packed(group_bytes * static_cast<size_t>(s.groups)), scratch(t->conv_bf16_scratch_bytes(s, 1));
    for (int32_t g = 0; g < s.groups; ++g) {
      const int32_t k = s.taps() * s.in_channels, n = s.out_channels;
      t->pack_bf16(k, n, 1, {data.weights.data() + static_cast<ptrdiff_t>(g) * n * k, k, 1}, data.bias.data() + g * n,
                   packed.data() + static_cast<size_t>(g) * group_bytes);
    }
    for (int bits = 1; bits < 8; ++bits) {
      const Bf16Operands operands = {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
      if (operands.output && s.taps() * s.in_channels > kMostBf16OutputDepth) continue;
      SCOPED_TRACE(std::string(t->tier) + " operands " + std::to_string(bits) + " rows " + std::to_string(s.rows()) + " taps " +
                   std::to_string(s.taps()) + " channels " + std::to_string(s.in_channels) + " to " + std::to_string(s.out_channels));
      EpilogueF32 epilogue = data.epilogue;
      epilogue.slope = data.slope.data();
      epilogue.residual = operands.residual ? reinterpret_cast<const float*>(residual.data()) : data.residual.data();
      std::vector<float> floats(operands.output ? 0 : expected.size(), kNan);
      std::vector<Bf16> halves(operands.output ? expected.size() : 0, 0x7fc0);
      for (const Range& range : UnevenRanges(s.rows())) {
        t->conv_bf16(s, 1, operands, operands.input ? static_cast<const void*>(input.data()) : data.input.data(), packed.data(),
                     operands.output ? static_cast<void*>(halves.data()) : floats.data(), epilogue, scratch.data(), range);
      }
      ASSERT_NO_FATAL_FAILURE(operands.output ? ExpectSameBits(Widened(Rounded(expected)), Widened(halves))
                                              : ExpectSameBits(expected, floats));
    }
  }
}

TEST(ConvBf16, OperandsOfBf16) {
  uint32_t seed = 1;
  for (int32_t k : {1, 7, 32, 100, 1024}) {
    for (int32_t n : {1, 24, 32, 70, 140}) {
      for (int32_t rows : {1, 2, 29}) ASSERT_NO_FATAL_FAILURE(CompareOperands(ConvShape::MatMul(rows, k, n), seed++));
    }
  }
  ASSERT_NO_FATAL_FAILURE(CompareOperands(ConvShape::MatMul(29, 2500, 40), seed++));
  for (int32_t stride : {1, 2}) {
    for (int32_t groups : {1, 2}) ASSERT_NO_FATAL_FAILURE(CompareOperands(Image(5, 3, stride, 1, 6, 18, groups), seed++));
    ASSERT_NO_FATAL_FAILURE(CompareOperands(Image(6, 1, stride, 1, 6, 18), seed++));
  }
}

std::vector<float> RunDepthwise(const Kernels& t, const ConvShape& s, const Data& d, const std::vector<Bf16>& input, bool cut) {
  AlignedBytes packed(t.pack_depthwise_bf16_bytes(s));
  t.pack_depthwise_bf16(s, d.weights.data(), d.bias.data(), packed.data());
  std::vector<Bf16> output(OutputSize(s), 0x7fc0);
  const EpilogueF32 epilogue = {.clamp = d.epilogue.clamp};
  const int32_t lines = s.batch * s.out_height;
  for (const Range& range : cut ? UnevenRanges(lines) : std::vector<Range>{{0, lines}}) {
    t.depthwise_bf16(s, input.data(), packed.data(), output.data(), epilogue, range);
  }
  return Widened(output);
}

// The sums of the tiers differ in their last bits, so that some are rounded to neighbours.
void CompareDepthwise(const ConvShape& s, uint32_t seed) {
  const Data data = MakeData(s, seed);
  const std::vector<Bf16> input = Rounded(data.input);
  const std::vector<float> expected = RunDepthwise(Scalar(), s, data, input, false);
  for (const Kernels* t : TiersToTest()) {
    if (t->depthwise_bf16 == Scalar().depthwise_bf16) continue;
    SCOPED_TRACE(std::string(t->tier) + " seed " + std::to_string(seed));
    const std::vector<float> actual = RunDepthwise(*t, s, data, input, false);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(expected[i], actual[i], 0x1p-7 * std::abs(static_cast<double>(expected[i])) + 0x1p-18) << "element " << i;
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSameBits(actual, RunDepthwise(*t, s, data, input, true)));
  }
}

TEST(DepthwiseBf16, Windows) {
  uint32_t seed = 1;
  for (int32_t side : {1, 4, 9, 15}) {
    for (int32_t window : {1, 3, 4, 5}) {
      for (int32_t stride : {1, 2}) {
        for (int32_t channels : {1, 20, 40}) {
          ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Image(side, window, stride, 1, channels, channels), seed++));
        }
      }
    }
  }
  ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Image(9, 3, 1, 2, 20, 20), seed++));
  ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Image(9, 3, 1, 1, 5, 15), seed++));  // with a multiplier
}

// Weights as [k, n], as the right-hand side of a matrix product has them.
TEST(ConvBf16, PacksBothOrders) {
  for (const Kernels* t : AllTiers()) {
    for (int32_t n : {1, 16, 33, 70}) {
      for (int32_t parts : {1, 2, 3}) {
        if (!Takes(*t, parts)) continue;
        const int32_t k = 59;
        const std::vector<float> weights = RandomFloats(static_cast<size_t>(k * n), 7);
        std::vector<float> transposed(weights.size());
        for (int32_t i = 0; i < n * k; ++i) transposed[static_cast<size_t>(i % k * n + i / k)] = weights[static_cast<size_t>(i)];
        const size_t bytes = t->pack_bf16_bytes(k, n, parts);
        AlignedBytes a(bytes), b(bytes);
        std::memset(a.data(), 0, bytes);
        std::memset(b.data(), 0, bytes);
        t->pack_bf16(k, n, parts, {weights.data(), k, 1}, nullptr, a.data());
        t->pack_bf16(k, n, parts, {transposed.data(), 1, n}, nullptr, b.data());
        EXPECT_EQ(std::memcmp(a.data(), b.data(), bytes), 0) << t->tier << " n " << n;
      }
    }
  }
}

// Relative to the sum of the magnitudes: 2^-8 is half a unit of bfloat16 for each factor, 2^-16 that of its second part; what three parts
// leave out is 2^-22, and float32 sums of 64 terms lose no more than 2^-20.
TEST(ConvBf16, ErrorsAreThoseOfTheParts) {
  constexpr double kBounds[] = {2.1 * 0x1p-8, 4 * 0x1p-16, 0x1p-20};
  const ConvShape s = ConvShape::MatMul(20, 64, 40);
  const std::vector<float> input = RandomFloats(20 * 64, 1), weights = RandomFloats(40 * 64, 2);
  for (const Kernels* t : AllTiers()) {
    for (int32_t parts : {1, 2, 3}) {
      if (!Takes(*t, parts)) continue;
      AlignedBytes packed(t->pack_bf16_bytes(64, 40, parts)), scratch(t->conv_bf16_scratch_bytes(s, parts));
      t->pack_bf16(64, 40, parts, {weights.data(), 64, 1}, nullptr, packed.data());
      std::vector<float> output(20 * 40);
      t->conv_bf16(s, parts, {}, input.data(), packed.data(), output.data(), {}, scratch.data(), {0, 20});
      for (size_t i = 0; i < output.size(); ++i) {
        double exact = 0, magnitude = 0;
        for (size_t k = 0; k < 64; ++k) {
          const double product = static_cast<double>(input[i / 40 * 64 + k]) * static_cast<double>(weights[i % 40 * 64 + k]);
          exact += product;
          magnitude += std::abs(product);
        }
        ASSERT_NEAR(static_cast<double>(output[i]), exact, magnitude * kBounds[parts - 1]) << t->tier << " " << parts;
      }
    }
  }
}

TEST(ConvBf16, NanAndInfinityPass) {
  const ConvShape s = ConvShape::MatMul(3, 1, 40);
  for (const Kernels* t : AllTiers()) {
    AlignedBytes packed(t->pack_bf16_bytes(1, 40, 1)), scratch(t->conv_bf16_scratch_bytes(s, 1));
    const std::vector<float> weights(40, 2.0f), input = {kNan, -kInf, 3.0f};
    t->pack_bf16(1, 40, 1, {weights.data(), 1, 1}, nullptr, packed.data());
    std::vector<float> output(3 * 40);
    t->conv_bf16(s, 1, {}, input.data(), packed.data(), output.data(), {}, scratch.data(), {0, 3});
    for (size_t i = 0; i < 40; ++i) {
      // Zeros that fill up k make an infinity NaN where the padding of rows were no zero.
      ASSERT_TRUE(std::isnan(output[i])) << t->tier;
      ASSERT_EQ(output[40 + i], -kInf) << t->tier;
      ASSERT_EQ(output[80 + i], 6.0f) << t->tier;
    }
  }
}

std::vector<float> Multiply(const Kernels& t, int32_t parts, int32_t rows, int32_t k, int32_t n, const std::vector<float>& input,
                            const std::vector<float>& weights) {
  const ConvShape s = ConvShape::MatMul(rows, k, n);
  AlignedBytes packed(t.pack_bf16_bytes(k, n, parts)), scratch(t.conv_bf16_scratch_bytes(s, parts));
  t.pack_bf16(k, n, parts, {weights.data(), k, 1}, nullptr, packed.data());
  std::vector<float> output(static_cast<size_t>(rows * n));
  t.conv_bf16(s, parts, {}, input.data(), packed.data(), output.data(), {}, scratch.data(), {0, rows});
  return output;
}

// Each alone in a row of activations, and in a channel of weights; zeros, and numbers whose lesser parts are zero, multiply them.
TEST(ConvBf16, ThreePartsKeepInfinitiesAndNan) {
  constexpr int32_t kDepth = 40, kChannels = 40, kInputs = 5;
  constexpr float kOthers[] = {2.0f, -0.1f, 0.0f, 1e30f};
  for (const Kernels* t : AllTiers()) {
    if (!Takes(*t, 3)) continue;
    std::vector<float> input = RandomFloats(kInputs * kDepth, 1), weights = RandomFloats(kChannels * kDepth, 2);
    input[0 * kDepth + 7] = kInf;
    input[1 * kDepth + 7] = -kInf;
    input[2 * kDepth + 39] = kNan;
    weights[30 * kDepth + 3] = kInf;
    for (size_t i = 0; i < 4; ++i) {
      weights[i * kDepth + 7] = kOthers[i];
      input[(i + 1) * kDepth + 3] = kOthers[i];
    }
    const std::vector<float> output = Multiply(*t, 3, kInputs, kDepth, kChannels, input, weights);
    for (size_t i = 0; i < output.size(); ++i) {
      double exact = 0;
      for (size_t k = 0; k < kDepth; ++k)
        exact += static_cast<double>(input[i / kChannels * kDepth + k]) * static_cast<double>(weights[i % kChannels * kDepth + k]);
      if (std::isnan(exact)) {
        ASSERT_TRUE(std::isnan(output[i])) << t->tier << " " << i;
      } else if (std::isinf(exact)) {
        ASSERT_EQ(output[i], static_cast<float>(exact)) << t->tier << " " << i;
      } else {
        ASSERT_NEAR(output[i], exact, 1e-5 * std::fmax(1.0, std::fabs(exact))) << t->tier << " " << i;
      }
    }
  }
}

TEST(ConvBf16, ThreePartsKeepGreatAndSmallNumbers) {
  constexpr float kMost = std::numeric_limits<float>::max(), kLeast = std::numeric_limits<float>::min();
  for (const Kernels* t : AllTiers()) {
    if (!Takes(*t, 3)) continue;
    const std::vector<float> input = {kMost, -kMost, 0x1.fffffep100f, 0x1.23456p-100f, kLeast, 0x1p-140f};
    const std::vector<float> output = Multiply(*t, 3, 6, 1, 2, input, {0.5f, 0x1.fffffep-1f});
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(output[2 * i], 0.5f * input[i]) << t->tier;
      EXPECT_NEAR(static_cast<double>(output[2 * i + 1]) / static_cast<double>(input[i]), 0x1.fffffep-1, 0x1p-23) << t->tier;
    }
    for (size_t i = 4; i < 6; ++i) EXPECT_NEAR(output[2 * i], 0.5f * input[i], kLeast) << t->tier;
  }
}

// Sums of rounding errors: not more than float32 leaves.
TEST(ConvBf16, ThreePartsAreAsExactAsFloat32) {
  constexpr int32_t kRows = 16, kChannels = 16;
  for (int32_t depth : {64, 576}) {
    const std::vector<float> input = RandomFloats(static_cast<size_t>(kRows * depth), 3),
                             weights = RandomFloats(static_cast<size_t>(kChannels * depth), 4);
    for (const Kernels* t : AllTiers()) {
      if (!Takes(*t, 3) || t == &Scalar()) continue;
      const ConvShape s = ConvShape::MatMul(kRows, depth, kChannels);
      AlignedBytes packed(t->pack_f32_bytes(depth, kChannels));
      t->pack_f32(depth, kChannels, {weights.data(), depth, 1}, nullptr, packed.data());
      std::vector<float> plain(kRows * kChannels);
      t->conv_f32(s, input.data(), packed.data(), plain.data(), {}, {0, kRows});
      const std::vector<float> parts = Multiply(*t, 3, kRows, depth, kChannels, input, weights);
      double errors[2] = {};
      for (size_t i = 0; i < parts.size(); ++i) {
        double exact = 0;
        for (size_t k = 0; k < static_cast<size_t>(depth); ++k) {
          exact += static_cast<double>(input[i / kChannels * static_cast<size_t>(depth) + k]) *
                   static_cast<double>(weights[i % kChannels * static_cast<size_t>(depth) + k]);
        }
        errors[0] += (static_cast<double>(plain[i]) - exact) * (static_cast<double>(plain[i]) - exact);
        errors[1] += (static_cast<double>(parts[i]) - exact) * (static_cast<double>(parts[i]) - exact);
      }
      EXPECT_LE(errors[1], errors[0]) << t->tier << " depth " << depth;
    }
  }
}

// The stand-in is what the unit is: on a machine that has it, bit for bit.
TEST(ConvBf16, StandinEqualsTheUnit) {
  const Kernels *unit = UpTo("amx"), *standin = UpTo("amx_standin");
  if (unit == nullptr || standin == nullptr) return;
  for (int32_t parts : {1, 2, 3}) {
    for (int32_t rows : {1, 40}) {
      const ConvShape s = ConvShape::MatMul(rows, 300, 70);
      const Data data = MakeData(s, 1);
      ExpectSameBits(RunConv(*standin, s, data, parts, false), RunConv(*unit, s, data, parts, false));
    }
  }
}

// --- the stand-in's own semantics
// -----------------------------------------------------------------------------------------------------------

struct Tiles {
  Bf16 a[16][32] = {}, b[16][32] = {};
  float c[16][16] = {};
  void Set(int k, float x, float y) {  // row 0 and column 0
    a[0][k] = RoundToBf16(x);
    b[k / 2][k % 2] = RoundToBf16(y);
  }
  float Run() {
    const TileUnit unit;
    LoadTile<0>(c, 64);
    LoadTile<1>(a, 64);
    LoadTile<2>(b, 64);
    DotBf16<0, 1, 2>();
    StoreTile<0>(c, 64);
    return c[0][0];
  }
};

TEST(AmxStandin, PairsAreSummedApart) {
  Tiles t;
  // Even elements: 2^24 + 1 rounds to 2^24, again and again; odd ones: 1 + 1 + 1. In one chain of sums all ones would be lost.
  t.Set(0, 0x1p12f, 0x1p12f);
  t.Set(2, 1, 1);
  t.Set(4, 1, 1);
  t.Set(1, 1, 1);
  t.Set(3, 1, 1);
  t.Set(5, 2, 1);
  t.c[0][0] = -0x1p24f;
  EXPECT_EQ(t.Run(), 4.0f);
}

TEST(AmxStandin, RoundsToNearestEven) {
  Tiles down, up;
  for (Tiles* t : {&down, &up}) t->Set(0, 1, 1);
  down.Set(2, 0x1p-12f, 0x1p-12f);  // half a unit
  up.Set(2, 0x1.02p-12f, 0x1p-12f);
  EXPECT_EQ(down.Run(), 1.0f);
  EXPECT_EQ(up.Run(), 0x1.000002p0f);
}

TEST(AmxStandin, DenormalsAreZero) {
  Tiles input, output, sum;
  input.Set(0, 0x1p-130f, 0x1p100f);
  EXPECT_EQ(input.Run(), 0.0f);
  output.Set(0, 0x1p-70f, 0x1p-70f);
  EXPECT_EQ(output.Run(), 0.0f);
  sum.c[0][0] = 0x1p-140f;
  EXPECT_EQ(sum.Run(), 0.0f);
}

TEST(AmxStandin, UnsignedBySignedBytes) {
  uint8_t a[16][64];
  int8_t b[16][64];
  int32_t c[16][16];
  const std::vector<int8_t> values = RandomInts<int8_t>(2 * sizeof(a), 1);
  std::memcpy(a, values.data(), sizeof(a));
  std::memcpy(b, values.data() + sizeof(a), sizeof(b));
  for (int i = 0; i < 256; ++i) c[i / 16][i % 16] = i;
  const TileUnit unit;
  LoadTile<3>(c, 64);
  LoadTile<4>(a, 64);
  LoadTile<5>(b, 64);
  DotU8I8<3, 4, 5>();
  int32_t result[16][16];
  StoreTile<3>(result, 64);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      int32_t expected = c[m][n];
      for (int k = 0; k < 64; ++k) expected += a[m][k] * b[k / 4][4 * n + k % 4];
      ASSERT_EQ(result[m][n], expected);
    }
  }
}

}  // namespace
}  // namespace sigrun::kernels
