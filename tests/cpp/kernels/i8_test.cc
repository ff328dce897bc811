#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <memory>
#include <numeric>
#include <string>

#include "kernels/common/fixed_point.h"
#include "kernels/kernel_test.h"
#include "ops/support/linear_sum.h"
#include "ops/support/shifted_product.h"

// Every tier's 8-bit kernels against the scalar ones: equal to the last bit. Buffers have their exact size, so that an address sanitizer
// sees a read or a write beyond them; ranges run from the last to the first, so that a store beyond a range spoils what is already there.
namespace sigrun::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// A convolution by what a model says; the output's size follows.
struct Geometry {
  int32_t batch, height, width, in_channels, out_channels;
  int32_t kernel_height = 1, kernel_width = 1, stride = 1, dilation = 1, groups = 1;
  int32_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;

  ConvShape Shape() const {
    ConvShape s;
    s.batch = batch;
    s.in_height = height;
    s.in_width = width;
    s.in_channels = in_channels;
    s.out_channels = out_channels;
    s.kernel_height = kernel_height;
    s.kernel_width = kernel_width;
    s.stride_h = s.stride_w = stride;
    s.dilation_h = s.dilation_w = dilation;
    s.groups = groups;
    s.pad_top = pad_top;
    s.pad_left = pad_left;
    s.out_height = (height + pad_top + pad_bottom - (kernel_height - 1) * dilation - 1) / stride + 1;
    s.out_width = (width + pad_left + pad_right - (kernel_width - 1) * dilation - 1) / stride + 1;
    return s;
  }
};

std::string Describe(const Geometry& g, const Kernels& tier) {
  std::string text = tier.tier;
  for (int32_t x : {g.batch, g.height, g.width, g.in_channels, g.out_channels, g.kernel_height, g.kernel_width, g.stride, g.dilation,
                    g.groups, g.pad_top, g.pad_left}) {
    text += ' ' + std::to_string(x);
  }
  return text;
}

std::vector<Geometry> ConvGeometries() {
  std::vector<Geometry> all = {
      {1, 5, 5, 3, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {2, 7, 6, 1, 5, 3, 3, 2, 1, 1, 0, 0, 1, 1},
      {1, 9, 11, 2, 33, 5, 3, 1, 1, 1, 2, 1, 2, 1},
      {1, 12, 13, 4, 16, 3, 3, 1, 2, 1, 2, 2, 2, 2},
      {1, 6, 6, 4, 3, 3, 3, 1, 1, 2, 1, 1, 1, 1},
      {2, 5, 4, 17, 7, 2, 2, 1, 1, 3, 0, 0, 1, 1},
      {1, 8, 8, 64, 40, 1, 1},
      {3, 3, 3, 16, 70, 1, 1},
      {1, 4, 5, 19, 31, 1, 1},
      {1, 9, 9, 8, 24, 1, 1, 2},
      {2, 11, 9, 5, 20, 1, 1, 2},
      {1, 7, 10, 24, 17, 1, 1, 3},
      {1, 6, 8, 37, 9, 1, 1, 2, 1, 2},
      {1, 10, 10, 32, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 3, 3, 5, 9, 5, 5, 1, 1, 1, 2, 2, 2, 2},
      {1, 2, 2, 3, 4, 7, 7, 1, 1, 1, 3, 3, 3, 3},
      {1, 17, 1, 12, 6, 3, 1, 2, 1, 1, 1, 0, 1, 0},
      {1, 20, 20, 3, 20, 3, 3, 2, 1, 1, 0, 0, 1, 1},
      {1, 4, 4, 8, 8, 1, 1, 1, 1, 2},
      {1, 1, 37, 259, 65, 1, 1},
      {1, 1, 1, 1000, 10, 1, 1},
      {1, 1, 1, 70, 300, 1, 1},  // a row by several panels at once
      {1, 3, 3, 2, 2, 2, 2, 1, 5, 1, 3, 3, 3, 3},
      {1, 40, 40, 96, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      // Several blocks of lines, the windows of whose lines overlap; strides, and padding wider than the image.
      {2, 12, 300, 64, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 30, 161, 64, 3, 3, 5, 2, 1, 1, 1, 2, 1, 2},
      {1, 1, 1, 4, 3, 3, 19, 1, 1, 1, 1, 20, 1, 9},
      {2, 9, 16, 8, 17, 4, 3, 1, 1, 1, 0, 0, 0, 0},
      // Lines of a few bytes, gathered.
      {2, 13, 9, 1, 7, 10, 4, 2, 1, 1, 4, 1, 4, 2},
      {1, 6, 7, 1, 7, 5, 6, 1, 1, 1, 2, 3, 2, 2},
      {1, 9, 8, 3, 9, 5, 3, 2, 1, 1, 2, 1, 2, 1},
      {1, 9, 2, 1, 5, 3, 1, 1, 1, 1, 1, 0, 1, 0},
      {1, 7, 1, 2, 9, 4, 1, 2, 1, 1, 1, 0, 1, 0},
      {1, 6, 9, 1, 7, 3, 2, 1, 2, 1, 2, 1, 2, 1},
      // Windows of lines of 21, 36, 40 and 70 bytes, most of them wholly in the image.
      {1, 14, 21, 3, 33, 7, 7, 2, 1, 1, 3, 3, 3, 3},
      {2, 9, 12, 12, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 12, 20, 8, 20, 5, 5, 2, 1, 1, 2, 2, 2, 2},
      {1, 8, 20, 10, 9, 3, 7, 1, 1, 1, 0, 0, 0, 0},
      // Tiles of 16 or 32 rows and columns over whole and partial units of k, in place, gathered and by lines.
      {1, 1, 32, 64, 32, 1, 1},
      {1, 1, 49, 64, 48, 1, 1},
      {1, 1, 50, 130, 20, 1, 1},
      {1, 1, 64, 128, 128, 1, 1},
      {1, 7, 7, 70, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 5, 14, 64, 36, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 6, 45, 48, 16, 3, 3, 2, 1, 1, 1, 1, 1, 1},
      {1, 4, 20, 64, 40, 3, 3, 1, 2, 1, 2, 2, 2, 2},
      // Lines of 7 and of 3, two of which are a tile.
      {2, 7, 7, 40, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 13, 13, 64, 33, 3, 3, 2, 1, 1, 1, 1, 1, 1},
      {1, 8, 7, 36, 32, 3, 3, 1, 2, 2, 2, 2, 2, 2},
      {1, 6, 7, 17, 20, 5, 5, 1, 1, 1, 2, 2, 2, 2},
      {2, 5, 3, 40, 34, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      // Single lines whose taps lie apart, of whole units of k and of parts.
      {2, 1, 40, 64, 35, 1, 5, 1, 3, 1, 0, 6, 0, 6},
      {1, 1, 33, 6, 8, 1, 3, 1, 4, 1, 0, 8, 0, 0},
      {1, 1, 50, 12, 40, 1, 4, 2, 2, 1, 0, 0, 0, 0},
      // Images whose taps lie apart, by lines, and so far that rows are gathered.
      {1, 12, 45, 16, 17, 3, 3, 1, 2, 1, 2, 2, 2, 2},
      {2, 20, 70, 32, 40, 3, 3, 1, 3, 1, 3, 3, 3, 3},
      {1, 21, 100, 64, 24, 3, 2, 2, 4, 1, 4, 0, 3, 2},
      {1, 30, 40, 64, 8, 3, 3, 1, 9, 1, 9, 9, 9, 9},
      {1, 1, 300, 32, 32, 1, 2, 1, 256, 1, 0, 256, 0, 0},
      // Groups by lines, in several blocks among them; in place, gathered, and with strides, dilation and odd channels.
      {1, 30, 33, 16, 16, 3, 3, 1, 1, 4, 1, 1, 1, 1},
      {2, 9, 50, 16, 24, 3, 3, 2, 1, 3, 0, 0, 1, 1},
      {1, 40, 150, 64, 3, 3, 3, 1, 1, 2, 1, 1, 1, 1},
      {1, 9, 40, 6, 10, 3, 5, 1, 1, 3, 1, 2, 1, 2},
      {1, 8, 40, 32, 32, 3, 3, 1, 2, 2, 2, 2, 2, 2},
      {1, 1, 45, 64, 8, 1, 3, 1, 3, 2, 0, 3, 0, 3},
      {2, 10, 10, 16, 16, 3, 3, 2, 1, 4, 0, 0, 1, 1},
      {1, 7, 14, 24, 16, 3, 3, 1, 1, 2, 1, 1, 1, 1},
      {1, 9, 40, 16, 16, 1, 1, 1, 1, 4},
      {1, 9, 40, 16, 16, 1, 1, 2, 1, 4},
      // Groups that share pixels: of whole units and others, narrow and wide, with lines too short and too long for a block.
      {1, 9, 21, 8, 8, 3, 3, 1, 1, 5, 1, 1, 1, 1},
      {2, 5, 5, 12, 12, 3, 3, 2, 1, 3, 1, 1, 1, 1},
      {1, 7, 19, 5, 6, 3, 3, 1, 1, 3, 1, 1, 1, 1},
      {1, 8, 30, 20, 18, 3, 3, 1, 2, 2, 2, 2, 2, 2},
      {1, 4, 2100, 16, 24, 3, 3, 1, 1, 4, 1, 1, 1, 1},
      {1, 3, 27, 24, 40, 1, 5, 1, 2, 2, 0, 4, 0, 4},
      {1, 6, 9, 4, 3, 1, 1, 2, 1, 7},
      {1, 1, 1, 12, 20, 1, 1, 1, 1, 2},
      // Rows of a single panel of every width, read in place by tiles of which the last takes some again.
      {1, 1, 94, 36, 8},
      {1, 1, 95, 40, 15},
      {2, 1, 48, 32, 16},
      {1, 1, 91, 48, 24},
      {1, 2, 47, 20, 31},
      {1, 1, 96, 64, 32},
  };
  for (int32_t rows = 1; rows <= 14; ++rows) all.push_back({1, 1, rows, 20 + 3 * rows, 1 + 5 * rows});
  for (int32_t k = 1; k <= 18; ++k) all.push_back({1, 1, 3, k, 18 - k + 1});
  for (int32_t k : {31, 32, 33, 48, 63, 64, 65, 128}) all.push_back({1, 1, 13, k, 32});
  return all;
}

// The quantised part of a case: which zero points and signs, what multipliers.
struct Mode {
  bool unsigned_input = false;
  bool flip_weights = false;
  int32_t input_zero_point = 0;
  int32_t weight_zero_point = 0;
  bool left_shifts = false;
  bool wide_bias = false;
  int32_t min = -128;
  int32_t max = 127;
  bool in_double = false;
  bool by_shifts = false;       // where that is possible for all channels
  bool narrow_weights = false;  // none is -128
  bool adds = false;            // a residual, which stands where the output is stored
  bool linear = false;          // and has a linear form
};

std::vector<Mode> Modes() {
  return {{},
          {false, false, -128, 0, false, false, -128, 127},
          {true, true, 3, -7, false, false, 0, 255},
          {true, false, 127, 0, true, true, 10, 200},
          {false, true, 11, 127, true, false, -20, 90},
          {false, false, -5, -128, false, true, -128, 127},
          {false, false, 7, 0, false, true, -9, 127},
          {true, false, 7, 0, false, true, 0, 255},
          {true, true, 7, 0, false, false, 120, 255},
          {true, true, -20, -128, false, false, 0, 255}};
}

struct Requantization {
  std::vector<int32_t> multiplier, shift;
  std::vector<double> scale;
  std::unique_ptr<ops::LazyShiftedProducts> products;
  RequantizeParams params;

  Requantization(int32_t channels, const Mode& mode, uint32_t seed)
      : multiplier(RandomInts<int32_t>(static_cast<size_t>(channels), seed, int64_t{1} << 30, INT32_MAX)),
        shift(RandomInts<int32_t>(static_cast<size_t>(channels), seed + 1, mode.left_shifts ? -31 : -12, mode.left_shifts ? 8 : -2)) {
    params = {multiplier.data(), shift.data(), mode.unsigned_input ? 120 : -9, mode.min, mode.max};
    if (!mode.in_double) return;
    for (const int32_t m : multiplier) {
      scale.push_back(std::ldexp(m, (m % 2 == 0 ? -40 : -37) + (mode.left_shifts ? 20 : 0)));
      if (m % 3 == 0 && !mode.by_shifts)
        scale.back() = std::ldexp(1.0 + (m % 5 - 2) * 0x1p-40, -9);  // halves, and what floats take for them
    }
    params.scale = scale.data();
    params.bounded = *std::max_element(scale.begin(), scale.end()) <= 0.25;
    if (!mode.by_shifts) return;
    products = std::make_unique<ops::LazyShiftedProducts>(scale, params.min - params.zero_point, params.max - params.zero_point);
    params.product = products->Next(1 << 20, 0);
    EXPECT_EQ(std::count(params.product.multiplier, params.product.multiplier + channels, 0) > channels / 8,
              mode.left_shifts);  // above 1/2
  }
};

std::vector<uint8_t> RunConv(const Kernels& kernels, const Geometry& geometry, const Mode& mode, bool whole) {
  const ConvShape s = geometry.Shape();
  const size_t k = static_cast<size_t>(s.taps()) * s.in_channels, n = static_cast<size_t>(s.out_channels);
  const auto input = RandomInts<uint8_t>(static_cast<size_t>(s.batch) * s.in_height * s.in_width * s.in_channels * s.groups, 1);
  const auto weights = RandomInts<int8_t>(k * n * s.groups, 2, mode.narrow_weights ? -127 : -128, 127);
  const auto bias = mode.wide_bias ? RandomInts<int32_t>(n * s.groups, 3) : RandomInts<int32_t>(n * s.groups, 3, -20000, 20000);
  const size_t group_bytes = kernels.pack_i8_bytes(s);
  EXPECT_EQ(kernels.tier == std::string("scalar") ? 0 : group_bytes % 64, 0u);
  const AlignedBytes packed(group_bytes * s.groups), scratch(kernels.conv_i8_scratch_bytes(s));
  for (int32_t g = 0; g < s.groups; ++g) {
    const WeightView<int8_t> view{weights.data() + k * n * g, static_cast<ptrdiff_t>(k), 1};
    kernels.pack_i8(s, view, mode.flip_weights, bias.data() + n * g, mode.input_zero_point, mode.weight_zero_point,
                    packed.data() + group_bytes * g);
  }
  std::vector<uint8_t> output(static_cast<size_t>(s.rows()) * n * s.groups, 0xcd);
  Requantization requantize(s.out_channels * s.groups, mode, 4);
  AddI8Params add{20, 5, 1503238554, -1, -9, 1889785610, 0, 3, 1518500250, -18, -128, 127};
  if (mode.linear) add.linear = ops::FindLinearSum(add, false);
  EXPECT_EQ(add.linear.holds, mode.linear);
  if (mode.adds) {
    const auto residual = RandomInts<uint8_t>(output.size(), 5);
    output = residual;
    requantize.params.add = &add;
    requantize.params.residual = reinterpret_cast<const int8_t*>(output.data());
  }
  std::vector<Range> ranges = whole ? std::vector<Range>{{0, s.rows()}} : UnevenRanges(s.rows());
  for (size_t i = ranges.size(); i-- > 0;) {
    kernels.conv_i8(s, {input.data(), mode.input_zero_point, mode.unsigned_input}, packed.data(), output.data(), requantize.params,
                    scratch.data(), ranges[i]);
  }
  return output;
}

TEST(ConvI8, EveryTierEqualsScalar) {
  for (const Geometry& g : ConvGeometries()) {
    for (Mode mode : Modes()) {
      mode.narrow_weights = mode.weight_zero_point == 0;
      const auto expected = RunConv(Scalar(), g, mode, true);
      for (const Kernels* tier : TiersToTest()) {
        ASSERT_EQ(RunConv(*tier, g, mode, true), expected) << Describe(g, *tier);
        ASSERT_EQ(RunConv(*tier, g, mode, false), expected) << Describe(g, *tier) << " in ranges";
      }
    }
  }
}

TEST(ConvI8, ScalesInDouble) {
  for (Mode mode : Modes()) {
    mode.in_double = true;
    for (const Geometry& g : ConvGeometries()) {
      const auto expected = RunConv(Scalar(), g, mode, true);
      for (const Kernels* tier : TiersToTest()) ASSERT_EQ(RunConv(*tier, g, mode, false), expected) << Describe(g, *tier);
    }
  }
}

TEST(ConvI8, ScalesInDoubleByShifts) {
  for (Mode mode : Modes()) {
    mode.in_double = mode.by_shifts = true;
    mode.narrow_weights = mode.weight_zero_point == 0;
    for (const Geometry& g : ConvGeometries()) {
      const auto expected = RunConv(Scalar(), g, mode, true);
      for (const Kernels* tier : TiersToTest()) ASSERT_EQ(RunConv(*tier, g, mode, false), expected) << Describe(g, *tier);
    }
  }
}

TEST(ConvI8, AddsInPlace) {
  for (Mode mode : Modes()) {
    if (mode.max > 127) continue;
    mode.adds = true;
    for (const bool linear : {false, true}) {
      mode.linear = linear;
      for (const Geometry& g : ConvGeometries()) {
        const auto expected = RunConv(Scalar(), g, mode, true);
        for (const Kernels* tier : TiersToTest()) ASSERT_EQ(RunConv(*tier, g, mode, false), expected) << Describe(g, *tier);
      }
    }
  }
}

// Weights [k, n], as BATCH_MATMUL has them, are the transpose of [n, k].
TEST(ConvI8, StridesOfTheWeights) {
  constexpr int32_t kK = 37, kN = 21, kRows = 9;
  const auto input = RandomInts<int8_t>(kRows * kK, 1);
  const ConvShape s = ConvShape::MatMul(kRows, kK, kN);
  const Requantization requantize(kN, {}, 3);
  // Weights whose distances from the zero point fit a byte, and those whose do not.
  for (const int32_t most : {100, 127}) {
    const auto weights = RandomInts<int8_t>(kK * kN, 2, -most, most);
    std::vector<int8_t> transposed(kK * kN);
    for (int32_t n = 0; n < kN; ++n) {
      for (int32_t k = 0; k < kK; ++k) transposed[k * kN + n] = weights[n * kK + k];
    }
    for (const int32_t zero_point : {0, -25}) {
      const auto run = [&](const Kernels& k, const WeightView<int8_t>& view) {
        const AlignedBytes packed(k.pack_i8_bytes(s)), scratch(k.conv_i8_scratch_bytes(s));
        k.pack_i8(s, view, false, nullptr, 4, zero_point, packed.data());
        std::vector<int8_t> output(kRows * kN);
        k.conv_i8(s, {input.data(), 4, false}, packed.data(), output.data(), requantize.params, scratch.data(), {0, kRows});
        return output;
      };
      const auto expected = run(Scalar(), {weights.data(), kK, 1});
      for (const Kernels* tier : AllTiers()) {
        EXPECT_EQ(run(*tier, {weights.data(), kK, 1}), expected) << tier->tier << ' ' << most << ' ' << zero_point;
        EXPECT_EQ(run(*tier, {transposed.data(), 1, kN}), expected) << tier->tier << ' ' << most << ' ' << zero_point;
      }
    }
  }
}

// The scratch holds a block of rows, whatever the image's size.
TEST(ConvI8, ScratchIsBounded) {
  for (const Kernels* tier : AllTiers()) {
    ConvShape s = Geometry{1, 64, 64, 32, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}.Shape();
    const size_t bytes = tier->conv_i8_scratch_bytes(s);
    s.batch = 100;
    EXPECT_EQ(tier->conv_i8_scratch_bytes(s), bytes);
    EXPECT_LE(bytes, size_t{400} << 10);
  }
}

enum class Rows { kSymmetric, kPerRow, kPerBatch, kPerBatchSymmetric };

std::vector<float> RunHybrid(const Kernels& kernels, const Geometry& geometry, Rows rows, bool with_bias, bool is_unsigned, bool whole) {
  const ConvShape s = geometry.Shape();
  const size_t k = static_cast<size_t>(s.taps()) * s.in_channels, n = static_cast<size_t>(s.out_channels), channels = n * s.groups;
  auto input = RandomInts<int8_t>(static_cast<size_t>(s.batch) * s.in_height * s.in_width * s.in_channels * s.groups, 1);
  if (is_unsigned) {
    for (int8_t& x : input) x = static_cast<int8_t>(x ^ 0x80);
  }
  const auto weights = RandomInts<int8_t>(k * channels, 2);
  const size_t group_bytes = kernels.pack_i8_bytes(s);
  const AlignedBytes packed(group_bytes * s.groups), scratch(kernels.conv_i8_scratch_bytes(s));
  for (int32_t g = 0; g < s.groups; ++g) {
    kernels.pack_i8(s, {weights.data() + k * n * g, static_cast<ptrdiff_t>(k), 1}, false, nullptr, 0, 0, packed.data() + group_bytes * g);
  }
  const bool per_batch = rows == Rows::kPerBatch || rows == Rows::kPerBatchSymmetric;
  const size_t scales = static_cast<size_t>(per_batch ? s.batch : s.rows());
  const auto row_scale = RandomFloats(scales, 3, 0.001f, 0.1f);
  const auto zero_points = RandomInts<int32_t>(scales, 4, -128, 127);
  const auto channel_scale = RandomFloats(channels, 5, 0.001f, 0.1f), bias = RandomFloats(channels, 6);
  // The residual, where there is one, stands where the output is written.
  const bool with_residual = rows == Rows::kPerRow || rows == Rows::kPerBatchSymmetric;
  std::vector<float> output(static_cast<size_t>(s.rows()) * channels, kNaN);
  if (with_residual) output = RandomFloats(output.size(), 7, -9.0f, 9.0f);
  std::vector<Range> ranges = whole ? std::vector<Range>{{0, s.rows()}} : UnevenRanges(s.rows());
  for (size_t i = ranges.size(); i-- > 0;) {
    kernels.conv_i8_f32(s, {input.data(), 0, is_unsigned}, packed.data(), output.data(), row_scale.data(),
                        rows == Rows::kPerRow || rows == Rows::kPerBatch ? zero_points.data() : nullptr, per_batch, channel_scale.data(),
                        with_bias ? bias.data() : nullptr, with_residual ? output.data() : nullptr,
                        with_bias ? ClampF32{0.0f, 6.0f} : ClampF32{-kInfinity, kInfinity}, scratch.data(), ranges[i]);
  }
  return output;
}

TEST(ConvI8F32, EveryTierEqualsScalar) {
  for (const Geometry& g : ConvGeometries()) {
    using enum Rows;
    for (const auto& [rows, with_bias, is_unsigned] :
         std::initializer_list<std::tuple<Rows, bool, bool>>{{kSymmetric, true, false},
                                                             {kPerRow, true, false},
                                                             {kPerRow, true, true},
                                                             {kPerBatch, true, true},
                                                             {kPerBatch, false, false},
                                                             {kPerBatchSymmetric, true, true}}) {
      const auto expected = RunHybrid(Scalar(), g, rows, with_bias, false, true);
      for (const Kernels* tier : TiersToTest()) {
        ASSERT_EQ(RunHybrid(*tier, g, rows, with_bias, is_unsigned, true), expected) << Describe(g, *tier);
        ASSERT_EQ(RunHybrid(*tier, g, rows, with_bias, is_unsigned, false), expected) << Describe(g, *tier) << " in ranges";
      }
    }
  }
}

// The largest zero points and sums of weights there are, up to and beyond the depth where a sum is below 2^22.
TEST(ConvI8F32, ZeroPointsOfDeepProductsEqualScalar) {
  constexpr int32_t kRows = 15, kChannels = 40;
  for (const int32_t k : {1, 63, 16384, 16385}) {
    const ConvShape s = ConvShape::MatMul(kRows, k, kChannels);
    const auto input = RandomInts<int8_t>(static_cast<size_t>(kRows) * k, 1);
    std::vector<int8_t> weights(static_cast<size_t>(kChannels) * k);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = i / k % 3 == 0 ? -128 : i / k % 3 == 1 ? 127 : static_cast<int8_t>(i % 251);
    std::vector<int32_t> zero_points(kRows);
    for (int32_t r = 0; r < kRows; ++r) zero_points[r] = r % 3 == 0 ? -128 : r % 3 == 1 ? 127 : r - 7;
    const auto row_scale = RandomFloats(kRows, 3, 0.001f, 0.1f), channel_scale = RandomFloats(kChannels, 4, 0.001f, 0.1f);
    const auto run = [&](const Kernels& kernels, ClampF32 clamp) {
      const AlignedBytes packed(kernels.pack_i8_bytes(s)), scratch(kernels.conv_i8_scratch_bytes(s));
      kernels.pack_i8(s, {weights.data(), k, 1}, false, nullptr, 0, 0, packed.data());
      std::vector<float> output(static_cast<size_t>(kRows) * kChannels, kNaN);
      kernels.conv_i8_f32(s, {input.data(), 0, false}, packed.data(), output.data(), row_scale.data(), zero_points.data(), false,
                          channel_scale.data(), nullptr, nullptr, clamp, scratch.data(), {0, kRows});
      return output;
    };
    for (const ClampF32 clamp : {ClampF32{-kInfinity, kInfinity}, ClampF32{-1e3f, 1e3f}}) {
      const auto expected = run(Scalar(), clamp);
      for (const Kernels* tier : TiersToTest()) ASSERT_EQ(run(*tier, clamp), expected) << k << ' ' << tier->tier;
    }
  }
}

struct LowBitCase {
  LowBitShape shape;
  int32_t rows;
  bool zero_points, half_scales, whole;
};

std::vector<float> RunLowBits(const Kernels& kernels, const LowBitCase& c) {
  const LowBitShape& s = c.shape;
  const int32_t blocks = s.k / s.block, stride = (s.block + kLowBitUnit - 1) / kLowBitUnit * kLowBitUnit, most = 1 << (s.bits - 1);
  const auto weights = RandomInts<int8_t>(static_cast<size_t>(s.n) * s.k, 1, -most, most - 1);
  auto scale = RandomFloats(static_cast<size_t>(s.n) * blocks, 2, 1e-6f, 0.1f);
  if (c.half_scales) {
    for (float& x : scale) x = std::floor(x * 0x1p12f) * (x < 0.05f ? 0x1p-22f : 0x1p-12f);  // subnormal ones among them
  }
  const AlignedBytes packed(kernels.pack_low_bits_bytes(s));
  kernels.pack_low_bits(s, weights.data(), scale.data(), packed.data());
  const auto values = RandomInts<int8_t>(static_cast<size_t>(c.rows) * s.k, 3);
  auto zero_points = RandomInts<int32_t>(static_cast<size_t>(c.rows), 6, -128, 127);
  zero_points[0] = -128;
  std::vector<int8_t> rows(static_cast<size_t>(c.rows) * blocks * stride);
  std::vector<int32_t> sums(static_cast<size_t>(c.rows) * blocks);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t block = i / s.block;
    rows[block * stride + i % s.block] = values[i];
    sums[block] -= values[i] * most;
  }
  const auto row_scale = RandomFloats(static_cast<size_t>(c.rows), 4, 0.001f, 0.1f), bias = RandomFloats(static_cast<size_t>(s.n), 5);
  std::vector<float> output(static_cast<size_t>(c.rows) * s.n, kNaN);
  const int32_t groups = (s.n + kLowBitChannels - 1) / kLowBitChannels;
  std::vector<Range> ranges = c.whole ? std::vector<Range>{{0, groups}} : UnevenRanges(groups);
  for (size_t i = ranges.size(); i-- > 0;) {
    const LowBitRows taken{rows.data(), sums.data(), row_scale.data(), c.zero_points ? zero_points.data() : nullptr, c.rows};
    kernels.low_bits_f32(s, taken, packed.data(), c.whole ? bias.data() : nullptr,
                         c.whole ? ClampF32{-1.0f, 6.0f} : ClampF32{-kInfinity, kInfinity}, output.data(), ranges[i]);
  }
  return output;
}

TEST(LowBitsF32, EveryTierEqualsScalar) {
  for (const int32_t bits : {4, 2}) {
    for (const auto& [n, k, block] :
         {std::array{1, 1, 1}, {16, 32, 32}, {19, 96, 32}, {100, 96, 16}, {33, 70, 35}, {7, 1000, 1000}, {48, 256, 64}}) {
      for (const int32_t rows : {1, 2, 3, 4, 7, 8, 12, 33}) {
        for (int mode = 0; mode < 8; ++mode) {
          const LowBitCase c{{bits, n, k, block}, rows, (mode & 1) != 0, (mode & 2) != 0, (mode & 4) != 0};
          const auto expected = RunLowBits(Scalar(), c);
          for (const Kernels* tier : TiersToTest()) {
            ASSERT_EQ(RunLowBits(*tier, c), expected)
                << tier->tier << ' ' << bits << " bits " << n << 'x' << k << " in " << block << ", " << rows;
          }
        }
      }
    }
  }
}

std::vector<uint8_t> RunDepthwise(const Kernels& kernels, const Geometry& geometry, const Mode& mode, bool whole) {
  const ConvShape s = geometry.Shape();
  const auto input = RandomInts<uint8_t>(static_cast<size_t>(s.batch) * s.in_height * s.in_width * s.in_channels, 1);
  const auto filter = RandomInts<int8_t>(static_cast<size_t>(s.taps()) * s.out_channels, 2, mode.narrow_weights ? -127 : -128, 127);
  const auto bias = mode.wide_bias ? RandomInts<int32_t>(static_cast<size_t>(s.out_channels), 3)
                                   : RandomInts<int32_t>(static_cast<size_t>(s.out_channels), 3, -20000, 20000);
  const AlignedBytes packed(kernels.pack_depthwise_i8_bytes(s));
  kernels.pack_depthwise_i8(s, filter.data(), mode.flip_weights, bias.data(), mode.input_zero_point, mode.weight_zero_point, packed.data());
  const int32_t lines = s.batch * s.out_height;
  std::vector<uint8_t> output(static_cast<size_t>(lines) * s.out_width * s.out_channels, 0xcd);
  const Requantization requantize(s.out_channels, mode, 4);
  std::vector<Range> ranges = whole ? std::vector<Range>{{0, lines}} : UnevenRanges(lines);
  for (size_t i = ranges.size(); i-- > 0;) {
    kernels.depthwise_i8(s, {input.data(), mode.input_zero_point, mode.unsigned_input}, packed.data(), output.data(), requantize.params,
                         ranges[i]);
  }
  return output;
}

TEST(DepthwiseI8, EveryTierEqualsScalar) {
  std::vector<Geometry> all;
  for (int32_t c : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100}) {
    all.push_back({1, 7, 6, c, c, 3, 3, 1, 1, 1, 1, 1, 1, 1});
    all.push_back({2, 9, 8, c, c, 3, 3, 2, 1, 1, 0, 0, 1, 1});
    all.push_back({1, 6, 9, c, c, 2, 5, 1, 2, 1, 1, 4, 1, 4});
    all.push_back({1, 9, 11, c, c, 5, 5, 1, 1, 1, 2, 2, 2, 2});
    all.push_back({2, 3, 21, c, c, 1, 9, 1, 1, 1, 0, 4, 0, 4});
  }
  // Lines of many pixels of few channels.
  for (int32_t c : {1, 3, 6, 8, 12, 15}) {
    all.push_back({1, 4, 37, c, c, 3, 3, 1, 1, 1, 1, 1, 1, 1});
    all.push_back({2, 5, 40, c, c, 2, 5, 1, 1, 1, 0, 2, 1, 2});
    all.push_back({1, 7, 33, c, c, 3, 3, 1, 1, 2, 2, 2, 2, 2});
  }
  // Windows of a line: dilated, wider than the image, beside it, and in parts.
  all.push_back({1, 1, 49, 96, 96, 1, 7, 1, 3, 1, 0, 9, 0, 9});
  all.push_back({1, 1, 5, 40, 40, 1, 9, 1, 2, 1, 0, 8, 0, 8});
  all.push_back({1, 2, 4, 24, 24, 1, 3, 2, 1, 1, 1, 6, 1, 3});
  all.push_back({1, 1, 300, 64, 64, 1, 6, 2, 2, 1, 0, 0, 0, 0});
  all.push_back({1, 3, 150, 80, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1});
  all.push_back({1, 6, 170, 64, 64, 5, 5, 2, 1, 1, 1, 1, 2, 2});
  for (int32_t multiplier : {2, 3, 8, 70}) {
    all.push_back({1, 5, 5, 1, multiplier, 3, 3, 1, 1, 1, 1, 1, 1, 1});
    all.push_back({2, 6, 5, 5, 5 * multiplier, 3, 2, 2, 1, 1, 1, 0, 0, 1});
  }
  all.push_back({1, 20, 20, 18, 18, 17, 17, 3, 1, 1, 8, 8, 8, 8});
  for (const Geometry& g : all) {
    for (Mode mode : Modes()) {
      mode.narrow_weights = mode.weight_zero_point == 0;
      const auto expected = RunDepthwise(Scalar(), g, mode, true);
      for (const Kernels* tier : TiersToTest()) {
        ASSERT_EQ(RunDepthwise(*tier, g, mode, true), expected) << Describe(g, *tier);
        ASSERT_EQ(RunDepthwise(*tier, g, mode, false), expected) << Describe(g, *tier) << " in ranges";
      }
    }
  }
}

template <class T>
std::vector<T> RunPool(void (*pool)(const ConvShape&, const T*, T*, int32_t, int32_t, Range), const Geometry& geometry, int32_t min,
                       int32_t max) {
  const ConvShape s = geometry.Shape();
  const auto input = RandomInts<T>(static_cast<size_t>(s.batch) * s.in_height * s.in_width * s.in_channels, 1);
  const int32_t lines = s.batch * s.out_height;
  std::vector<T> output(static_cast<size_t>(lines) * s.out_width * s.in_channels, 99);
  std::vector<Range> ranges = UnevenRanges(lines);
  for (size_t i = ranges.size(); i-- > 0;) pool(s, input.data(), output.data(), min, max, ranges[i]);
  return output;
}

TEST(PoolI8, EveryTierEqualsScalar) {
  std::vector<Geometry> all;
  for (int32_t c : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67}) {
    all.push_back({1, 8, 7, c, c, 2, 2, 2});
    all.push_back({2, 7, 5, c, c, 3, 3, 1, 1, 1, 1, 1, 1, 1});
    all.push_back({1, 6, 6, c, c, 6, 6});
  }
  all.push_back({1, 190, 190, 3, 3, 190, 190});
  for (const Geometry& g : all) {
    for (const Kernels* tier : TiersToTest()) {
      SCOPED_TRACE(Describe(g, *tier));
      EXPECT_EQ(RunPool(tier->max_pool_i8, g, -100, 90), RunPool(Scalar().max_pool_i8, g, -100, 90));
      EXPECT_EQ(RunPool(tier->max_pool_u8, g, 10, 240), RunPool(Scalar().max_pool_u8, g, 10, 240));
      EXPECT_EQ(RunPool(tier->average_pool_i8, g, -128, 127), RunPool(Scalar().average_pool_i8, g, -128, 127));
      EXPECT_EQ(RunPool(tier->average_pool_i8, g, -3, 2), RunPool(Scalar().average_pool_i8, g, -3, 2));
      EXPECT_EQ(RunPool(tier->average_pool_u8, g, 0, 255), RunPool(Scalar().average_pool_u8, g, 0, 255));
    }
  }
}

TEST(PoolI8, AverageRoundsHalfAwayFromZero) {
  ConvShape s = Geometry{1, 1, 2, 4, 4, 1, 2}.Shape();
  const int8_t input[] = {1, -1, 127, -128, 2, -2, 127, -127};
  for (const Kernels* tier : AllTiers()) {
    std::vector<int8_t> output(4);
    tier->average_pool_i8(s, input, output.data(), -128, 127, {0, 1});
    EXPECT_EQ(output, (std::vector<int8_t>{2, -2, 127, -128})) << tier->tier;
  }
}

const std::vector<size_t>& Lengths() {
  static const std::vector<size_t> lengths = {0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 23, 31, 32, 33, 63, 64, 65, 100, 1000};
  return lengths;
}

template <class T, class Params>
void CheckBinary(void (*kernel)(const T*, const T*, T*, size_t, const Params&, Operands),
                 void (*scalar)(const T*, const T*, T*, size_t, const Params&, Operands), const Params& params, const char* tier) {
  for (size_t n : Lengths()) {
    const auto a = RandomInts<T>(n + 1, 1), b = RandomInts<T>(n + 1, 2);
    for (Operands operands : {Operands::kVectorVector, Operands::kVectorScalar, Operands::kScalarVector}) {
      const std::vector<T> x0(a.begin(), a.begin() + static_cast<ptrdiff_t>(operands == Operands::kScalarVector ? 1 : n));
      const std::vector<T> x1(b.begin(), b.begin() + static_cast<ptrdiff_t>(operands == Operands::kVectorScalar ? 1 : n));
      std::vector<T> expected(n), output(n);
      scalar(x0.data(), x1.data(), expected.data(), n, params, operands);
      kernel(x0.data(), x1.data(), output.data(), n, params, operands);
      EXPECT_EQ(output, expected) << tier << " n=" << n;
      std::vector<T> in_place = operands == Operands::kScalarVector ? x1 : x0;
      kernel(operands == Operands::kScalarVector ? x0.data() : in_place.data(),
             operands == Operands::kScalarVector ? in_place.data() : x1.data(), in_place.data(), n, params, operands);
      EXPECT_EQ(in_place, expected) << tier << " in place, n=" << n;
    }
  }
}

TEST(ElementwiseI8, AddAndMul) {
  const AddI8Params adds[] = {{20, 5, 1503238554, -1, -9, 1889785610, -3, 3, 1518500250, -18, -128, 127},
                              {20, -128, 1073741824, 0, 127, -2147483647, -2, -20, 2147483647, -19, -100, 100},
                              {8, 0, 1073741825, -31, 0, 1234567890, 3, 0, 1500000000, 2, -128, 127}};
  const MulI8Params muls[] = {{5, -9, 3, 1503238554, -7, -128, 127}, {-128, 128, -128, 1073741824, 1, -90, 127}};
  for (const Kernels* tier : TiersToTest()) {
    for (AddI8Params p : adds) {
      CheckBinary<int8_t>(tier->add_i8, Scalar().add_i8, p, tier->tier);
      p.min += 128, p.max += 128;
      CheckBinary<uint8_t>(tier->add_u8, Scalar().add_u8, p, tier->tier);
    }
    for (AddI8Params p : adds) {
      if (p.b_multiplier < 0) continue;
      p.left_shift = 7;
      p.output_shift = -10;
      CheckBinary<int8_t>(tier->squared_difference_i8, Scalar().squared_difference_i8, p, tier->tier);
      p.a_offset = -127, p.a_multiplier = INT32_MAX, p.a_shift = 0;
      p.b_offset = 128, p.b_shift = -5;
      for (p.left_shift = 0; p.left_shift <= 8; ++p.left_shift) {
        CheckBinary<int8_t>(tier->squared_difference_i8, Scalar().squared_difference_i8, p, tier->tier);
      }
    }
    for (MulI8Params p : muls) {
      CheckBinary<int8_t>(tier->mul_i8, Scalar().mul_i8, p, tier->tier);
      p.min += 128, p.max += 128;
      CheckBinary<uint8_t>(tier->mul_u8, Scalar().mul_u8, p, tier->tier);
    }
  }
}

TEST(ElementwiseI8, SumsAndProductsOf16Bits) {
  const AddI8Params adds[] = {{15, 0, 1503238554, -1, 0, 1889785610, -3, 0, 1518500250, -13, -32768, 32767},
                              {15, 0, 1073741824, 0, 0, 2147483647, -31, 0, 2147483647, -14, -1000, 32767},
                              {15, 7, 1073741825, -2, -9, 1234567890, 0, 100, 1500000000, 2, -32768, 0}};
  const MulI8Params muls[] = {{0, 0, 0, 1503238554, -15, -32768, 32767}, {0, 0, 0, 1073741824, 1, -90, 32767}};
  for (const Kernels* tier : TiersToTest()) {
    for (const AddI8Params& p : adds) {
      CheckBinary<int16_t>(tier->add_i16, Scalar().add_i16, p, tier->tier);
      CheckBinary<int16_t>(tier->sub_i16, Scalar().sub_i16, p, tier->tier);
    }
    for (const MulI8Params& p : muls) CheckBinary<int16_t>(tier->mul_i16, Scalar().mul_i16, p, tier->tier);
  }
}

// Every pair of bytes.
template <class T>
void CheckLinearSum(void (*kernel)(const T*, const T*, T*, size_t, const AddI8Params&, Operands),
                    void (*scalar)(const T*, const T*, T*, size_t, const AddI8Params&, Operands), const AddI8Params& params,
                    const char* tier) {
  std::vector<T> a(65536), b(65536), expected(65536), output(65536);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<T>(i), b[i] = static_cast<T>(i >> 8);
  scalar(a.data(), b.data(), expected.data(), a.size(), params, Operands::kVectorVector);
  kernel(a.data(), b.data(), output.data(), a.size(), params, Operands::kVectorVector);
  EXPECT_EQ(output, expected) << tier;
}

TEST(ElementwiseI8, LinearFormsOfAdd) {
  int held = 0;
  for (uint32_t seed = 0; seed < 24; ++seed) {
    const auto m = RandomInts<int32_t>(3, seed, 1 << 30, INT32_MAX);
    const auto z = RandomInts<int32_t>(3, seed + 100, -128, 127);
    AddI8Params p{20,
                  -z[0],
                  m[0],
                  -1 - static_cast<int32_t>(seed % 3),
                  -z[1],
                  m[1],
                  -1,
                  z[2],
                  m[2],
                  -18 - static_cast<int32_t>(seed % 2),
                  seed % 4 == 0 ? z[2] : -128,
                  127};
    for (bool is_unsigned : {false, true}) {
      p.linear = ops::FindLinearSum(p, is_unsigned);
      held += p.linear.holds ? 1 : 0;
      for (const Kernels* tier : TiersToTest()) {
        if (is_unsigned) {
          CheckLinearSum<uint8_t>(tier->add_u8, Scalar().add_u8, p, tier->tier);
        } else {
          CheckLinearSum<int8_t>(tier->add_i8, Scalar().add_i8, p, tier->tier);
        }
      }
      p.a_offset -= 128, p.b_offset -= 128, p.output_offset += 128, p.min += 128, p.max += 128;
    }
  }
  EXPECT_EQ(held, 48);
}

TEST(ElementwiseI8, RequantizeRows) {
  const auto x = RandomInts<int32_t>(1000, 3);
  for (const size_t n : {size_t{0}, size_t{1}, size_t{15}, size_t{33}, x.size()}) {
    for (const int32_t right : {0, 1, 9, 31}) {
      for (const int32_t multiplier : {INT32_MAX, 0, 1234567890, -77777}) {
        const auto run = [&](const Kernels& k) {
          std::vector<uint8_t> y(n);
          k.requantize_8(x.data(), y.data(), n, multiplier, right, -128, -128, 100);
          return y;
        };
        for (const Kernels* tier : TiersToTest())
          ASSERT_EQ(run(*tier), run(Scalar())) << tier->tier << ' ' << n << ' ' << right << ' ' << multiplier;
      }
    }
  }
}

TEST(ElementwiseI8, AccumulateAndSum) {
  const auto a = RandomInts<int8_t>(77, 1), b = RandomInts<int8_t>(77, 2);
  for (const Kernels* tier : TiersToTest()) {
    for (size_t n = 0; n <= a.size(); ++n) {
      std::vector<int32_t> sums(n, 7), expected_sums(n);
      tier->accumulate_i8(a.data(), sums.data(), n);
      tier->accumulate_u8(reinterpret_cast<const uint8_t*>(b.data()), sums.data(), n);
      for (size_t i = 0; i < n; ++i) expected_sums[i] = 7 + a[i] + static_cast<uint8_t>(b[i]);
      EXPECT_EQ(sums, expected_sums) << tier->tier;
      EXPECT_EQ(tier->sum_i8(a.data(), n), std::accumulate(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), 0)) << tier->tier;
      const uint8_t* unsigned_b = reinterpret_cast<const uint8_t*>(b.data());
      EXPECT_EQ(tier->sum_u8(unsigned_b, n), std::accumulate(unsigned_b, unsigned_b + n, 0)) << tier->tier;
    }
  }
}

TEST(ElementwiseI8, MixLinesAndColumns) {
  constexpr int32_t kColumns = 3, kWeight = 300;
  const kernels::ColumnsI32 columns[] = {{0, 0, -200}, {0, 1, 0}, {1, 2, 1000}, {2, 2, 512}};
  for (const Kernels* tier : TiersToTest()) {
    for (const int32_t depth : {1, 2, 5, 16, 21, 40}) {
      const size_t n = static_cast<size_t>(kColumns * depth);
      const auto top = RandomInts<int8_t>(n, 1), bottom = RandomInts<int8_t>(n, 2);
      std::vector<int32_t> line(n + 16);
      tier->mix_lines_i8(top.data(), bottom.data(), kWeight, line.data(), n);
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(line[i], top[i] * (1024 - kWeight) + bottom[i] * kWeight) << tier->tier;
      line[0] = 512, line[1] = -512;  // halves
      std::vector<int8_t> y(static_cast<size_t>(4 * depth) + 1, 99), expected = y;
      for (size_t c = 0; c < 4; ++c) {
        for (int32_t i = 0; i < depth; ++i) {
          const double a = line[static_cast<size_t>(columns[c].first * depth + i)],
                       b = line[static_cast<size_t>(columns[c].second * depth + i)];
          const double mixed = (a * (1024 - columns[c].weight) + b * columns[c].weight) / (1 << 20);
          expected[c * static_cast<size_t>(depth) + static_cast<size_t>(i)] = static_cast<int8_t>(std::lround(mixed));
        }
      }
      tier->mix_columns_i32(line.data(), columns, 4, depth, y.data());
      EXPECT_EQ(y, expected) << tier->tier << ' ' << depth;
    }
  }
}

TEST(ElementwiseI8, Lookup) {
  const auto table = RandomInts<uint8_t>(256, 1);
  for (const Kernels* tier : AllTiers()) {
    for (size_t n : Lengths()) {
      std::vector<uint8_t> x = RandomInts<uint8_t>(n, 2), expected(n);
      for (size_t i = 0; i < n; ++i) expected[i] = table[x[i]];
      tier->lookup_8(x.data(), table.data(), x.data(), n);
      EXPECT_EQ(x, expected) << tier->tier;
    }
  }
}

TEST(ElementwiseI8, Sigmoids16OfEveryNumber) {
  std::vector<int16_t> x(65536 + 5), expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int16_t>(i);
  for (const Kernels* tier : AllTiers()) {
    for (int32_t bits = 0; bits <= 7; ++bits) {
      for (const auto sigmoid : {&Kernels::logistic_16, &Kernels::tanh_16}) {
        (Scalar().*sigmoid)(x.data(), expected.data(), x.size(), bits);
        std::vector<int16_t> y = x;
        (tier->*sigmoid)(y.data(), y.data(), y.size(), bits);
        EXPECT_EQ(y, expected) << tier->tier << ", " << bits << " integer bits";
      }
    }
  }
}

// Of every number: with and without a scale, pieces for both signs and for one, the last of which is long.
TEST(ElementwiseI8, Pieces16) {
  std::vector<int16_t> x(65536 + 5), expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int16_t>(i);
  const auto offsets = RandomInts<int16_t>(512, 3), slopes = RandomInts<int16_t>(512, 4);
  for (Pieces16 pieces :
       {Pieces16{.bias = 1 << 15, .bits = 7, .last = 511, .right = 7}, Pieces16{.multiplier = 3, .bits = 9, .last = 100, .right = 10},
        Pieces16{.multiplier = 32767, .nudge = 1 << 30, .shift = 31, .bits = 0, .last = 255, .right = 0},
        Pieces16{.multiplier = 20000, .nudge = 1 << 12, .shift = 13, .bits = 8, .last = 255, .right = 8}}) {
    for (size_t i = 0; i < 512; ++i) {
      pieces.offset[i] = offsets[i] * 1024;
      pieces.slope[i] = slopes[i];
    }
    Scalar().pieces_16(x.data(), expected.data(), x.size(), pieces);
    for (const Kernels* tier : AllTiers()) {
      for (const size_t n : {x.size(), size_t{0}, size_t{1}, size_t{15}}) {
        std::vector<int16_t> y = x;
        tier->pieces_16(y.data(), y.data(), n, pieces);
        EXPECT_TRUE(std::equal(y.begin(), y.begin() + static_cast<ptrdiff_t>(n), expected.begin())) << tier->tier << " " << n;
        EXPECT_TRUE(std::equal(y.begin() + static_cast<ptrdiff_t>(n), y.end(), x.begin() + static_cast<ptrdiff_t>(n))) << tier->tier;
      }
    }
  }
}

TEST(ElementwiseI8, SumOfLookups) {
  auto values = RandomInts<uint32_t>(256, 1);
  SumTable table;
  for (size_t i = 0; i < 256; ++i) {
    const int32_t value = i % 5 == 0 ? 1 << 19 : static_cast<int32_t>(values[i] >> 13);
    table.whole[i] = value;
    table.low[i] = static_cast<int16_t>(value & 0x7fff);
    table.high[i] = static_cast<int16_t>(value >> 15);
  }
  std::vector<size_t> lengths = Lengths();
  lengths.push_back(70001);
  for (const size_t n : lengths) {
    for (const uint8_t first : {0, 1, 77, 128, 255}) {
      std::vector<uint8_t> x = RandomInts<uint8_t>(n, 2);
      // The greatest value throughout, and the greatest low part.
      const bool all_low = first == 128;
      table.whole[0] = all_low ? 0x7fff : 1 << 19;
      table.low[0] = static_cast<int16_t>(table.whole[0] & 0x7fff);
      table.high[0] = static_cast<int16_t>(table.whole[0] >> 15);
      if (first >= 128) std::fill(x.begin(), x.end(), static_cast<uint8_t>(256 - first));
      int64_t expected = 0;
      for (const uint8_t value : x) expected += table.whole[static_cast<uint8_t>(value + first)];
      for (const Kernels* tier : AllTiers()) EXPECT_EQ(tier->sum_lookups_8(x.data(), first, table, n), expected) << tier->tier << n;
    }
  }
}

// Values that lie on and beside the halves, too large for an integer, or no number.
std::vector<float> HardFloats(size_t n, float step) {
  std::vector<float> x = RandomFloats(n, 7, -200.0f * step, 200.0f * step);
  const float special[] = {0.5f * step, -0.5f * step, 0.49999997f * step, 1.5f * step, -2.5f * step, 1e30f,
                           -1e30f,      kInfinity,    -kInfinity,         kNaN,        -0.0f};
  for (size_t i = 0; i < n; i += 3) x[i] = special[i / 3 % std::size(special)];
  return x;
}

TEST(ElementwiseI8, QuantizeAndDequantize) {
  for (const Kernels* tier : TiersToTest()) {
    for (size_t n : Lengths()) {
      for (float scale : {1.0f, 0.1f, 0.0078125f}) {
        const auto x = HardFloats(n, scale);
        std::vector<int8_t> y(n), expected(n);
        std::vector<uint8_t> yu(n), expected_u(n);
        tier->quantize_i8(x.data(), y.data(), n, scale, -5);
        Scalar().quantize_i8(x.data(), expected.data(), n, scale, -5);
        tier->quantize_u8(x.data(), yu.data(), n, scale, 128);
        Scalar().quantize_u8(x.data(), expected_u.data(), n, scale, 128);
        EXPECT_EQ(y, expected) << tier->tier;
        EXPECT_EQ(yu, expected_u) << tier->tier;
        std::vector<float> z(n), expected_z(n);
        tier->dequantize_i8(y.data(), z.data(), n, scale, -5);
        Scalar().dequantize_i8(y.data(), expected_z.data(), n, scale, -5);
        EXPECT_EQ(z, expected_z) << tier->tier;
        tier->dequantize_u8(yu.data(), z.data(), n, scale, 128);
        Scalar().dequantize_u8(yu.data(), expected_z.data(), n, scale, 128);
        EXPECT_EQ(z, expected_z) << tier->tier;
        for (int32_t zero_point : {0, 777, -32768}) {
          const auto wide = HardFloats(n, 200 * scale);
          std::vector<int16_t> y16(n), expected_16(n);
          tier->quantize_i16(wide.data(), y16.data(), n, scale, zero_point);
          Scalar().quantize_i16(wide.data(), expected_16.data(), n, scale, zero_point);
          EXPECT_EQ(y16, expected_16) << tier->tier;
          tier->dequantize_i16(y16.data(), z.data(), n, scale, zero_point);
          Scalar().dequantize_i16(y16.data(), expected_z.data(), n, scale, zero_point);
          EXPECT_EQ(z, expected_z) << tier->tier;
        }
      }
    }
  }
}

// What lies beside the halves of many scales is where a quotient that is not the division's would show.
TEST(ElementwiseI8, QuantizesAsADivisionDoes) {
  std::vector<float> scales = RandomFloats(300, 11, 0.001f, 0.1f), x;
  for (const float scale : {1e-45f, 1e-39f, 1e-30f, 0x1p-60f, 1.0f, 0x1.fffffep-1f, 0x1p60f, 1e30f, 3e38f}) scales.push_back(scale);
  for (const Kernels* tier : TiersToTest()) {
    for (const float scale : scales) {
      x = {kInfinity, -kInfinity, kNaN, 0.0f, -0.0f, 1e-45f, -1e-38f, 3e38f, -3e38f, 131072.0f * scale, -131072.0f * scale};
      for (int i = -300; i < 300; ++i) {
        const float half = (static_cast<float>(i) + 0.5f) * scale;
        for (const float beside : {half, std::nextafter(half, kInfinity), std::nextafter(half, -kInfinity)}) x.push_back(beside);
        x.push_back(130.0f * half);
      }
      std::vector<int8_t> y(x.size()), expected(x.size());
      tier->quantize_i8(x.data(), y.data(), x.size(), scale, 3);
      Scalar().quantize_i8(x.data(), expected.data(), x.size(), scale, 3);
      EXPECT_EQ(y, expected) << tier->tier << " " << scale;
      std::vector<int16_t> y16(x.size()), expected_16(x.size());
      tier->quantize_i16(x.data(), y16.data(), x.size(), scale, 0);
      Scalar().quantize_i16(x.data(), expected_16.data(), x.size(), scale, 0);
      EXPECT_EQ(y16, expected_16) << tier->tier << " " << scale;
    }
  }
}

TEST(ElementwiseI8, QuantizeRoundsHalfAwayFromZeroAndSaturates) {
  const std::vector<float> x = {0.5f, -0.5f, 0.49999997f, 1.5f, 2.5f, -2.5f, 1e9f, -1e9f, kInfinity, -kInfinity, 126.5f, -128.5f};
  const std::vector<int8_t> expected = {1, -1, 0, 2, 3, -3, 127, -128, 127, -128, 127, -128};
  for (const Kernels* tier : AllTiers()) {
    std::vector<int8_t> y(x.size());
    tier->quantize_i8(x.data(), y.data(), x.size(), 1.0f, 0);
    EXPECT_EQ(y, expected) << tier->tier;
  }
}

bool SameFloats(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

// Rows 2 and up of what x and the rows before it are, all of them scaled apart.
void CheckRows(const Kernels& tier, const std::vector<float>& x) {
  constexpr int32_t kRows = 11;
  const kernels::Range range{2, kRows};
  const size_t n = x.size();
  std::vector<float> rows;
  for (int32_t r = 0; r < kRows; ++r) {
    for (const float v : x) rows.push_back(r % 3 == 2 ? v : v * static_cast<float>(r));
  }
  std::vector<int8_t> y(rows.size(), 99), expected(rows.size(), 99);
  std::vector<float> scale(kRows, -1), expected_scale(kRows, -1);
  std::vector<int32_t> zero_point(kRows, 1000), expected_zero_point(kRows, 1000);
  const auto raised = [&] {
    std::vector<int8_t> higher = expected;
    for (size_t i = 2 * n; i < higher.size(); ++i) higher[i] = static_cast<int8_t>(higher[i] ^ 0x80);
    return higher;
  };
  Scalar().quantize_rows_symmetric(rows.data(), expected.data(), n, false, expected_scale.data(), range);
  for (const bool is_unsigned : {false, true}) {
    tier.quantize_rows_symmetric(rows.data(), y.data(), n, is_unsigned, scale.data(), range);
    EXPECT_EQ(y, is_unsigned ? raised() : expected) << tier.tier;
    EXPECT_TRUE(SameFloats(scale, expected_scale)) << tier.tier;
  }
  Scalar().quantize_rows_asymmetric(rows.data(), expected.data(), n, false, expected_scale.data(), expected_zero_point.data(), range);
  for (const bool is_unsigned : {false, true}) {
    tier.quantize_rows_asymmetric(rows.data(), y.data(), n, is_unsigned, scale.data(), zero_point.data(), range);
    EXPECT_EQ(y, is_unsigned ? raised() : expected) << tier.tier;
    EXPECT_EQ(zero_point, expected_zero_point) << tier.tier;
    EXPECT_TRUE(SameFloats(scale, expected_scale)) << tier.tier;
  }
}

// A row in two parts is what it is as a whole.
void CheckParts(const Kernels& tier, const std::vector<float>& x) {
  const size_t n = x.size(), half = n / 2;
  std::vector<int8_t> y(n), expected(n);
  float scale = -1, expected_scale = -1;
  int32_t zero_point = 1000, expected_zero_point = 1000;
  const kernels::ExtremesF32 a = tier.extremes_f32(x.data(), half), b = tier.extremes_f32(x.data() + half, n - half);
  const kernels::ExtremesF32 both{std::min(a.low, b.low), std::max(a.high, b.high)};
  const auto in_parts = [&](const auto& f) {
    f(size_t{0}, half);
    f(half, n - half);
  };
  in_parts([&](size_t first, size_t count) { tier.quantize_symmetric(x.data() + first, y.data() + first, count, false, both, &scale); });
  Scalar().quantize_rows_symmetric(x.data(), expected.data(), n, false, &expected_scale, {0, 1});
  EXPECT_EQ(y, expected) << tier.tier;
  EXPECT_TRUE(SameFloats({scale}, {expected_scale})) << tier.tier;
  in_parts([&](size_t first, size_t count) {
    tier.quantize_asymmetric(x.data() + first, y.data() + first, count, false, both, &scale, &zero_point);
  });
  Scalar().quantize_rows_asymmetric(x.data(), expected.data(), n, false, &expected_scale, &expected_zero_point, {0, 1});
  EXPECT_EQ(y, expected) << tier.tier;
  EXPECT_EQ(zero_point, expected_zero_point) << tier.tier;
  EXPECT_TRUE(SameFloats({scale}, {expected_scale})) << tier.tier;
  std::vector<float> rounded(n), expected_rounded(n);
  in_parts([&](size_t first, size_t count) { tier.round_asymmetric(x.data() + first, rounded.data() + first, count, both); });
  Scalar().dequantize_i8(expected.data(), expected_rounded.data(), n, expected_scale, expected_zero_point);
  EXPECT_TRUE(SameFloats(rounded, expected_rounded)) << tier.tier;
}

TEST(QuantizeRow, EveryTierEqualsScalar) {
  for (const Kernels* tier : AllTiers()) {
    for (size_t n : Lengths()) {
      for (const std::vector<float>& x : {RandomFloats(n, 1), RandomFloats(n, 2, 0.5f, 3.0f), RandomFloats(n, 3, -9.0f, -1.0f),
                                          std::vector<float>(n, 0.0f), std::vector<float>(n, 1e-44f), HardFloats(n, 1.0f)}) {
        CheckRows(*tier, x);
        CheckParts(*tier, x);
      }
    }
  }
}

// Computed with exact fractions.
TEST(QuantizeRow, KnownRows) {
  for (const Kernels* tier : AllTiers()) {
    const float x[] = {-1.0f, 0.0f, 0.25f, 2.0f};
    int8_t y[4];
    float scale;
    int32_t zero_point;
    tier->quantize_rows_symmetric(x, y, 4, false, &scale, {0, 1});
    EXPECT_EQ(std::vector<int8_t>(y, y + 4), (std::vector<int8_t>{-64, 0, 16, 127})) << tier->tier;
    EXPECT_EQ(scale, 2.0f / 127.0f);
    tier->quantize_rows_asymmetric(x, y, 4, false, &scale, &zero_point, {0, 1});
    EXPECT_EQ(std::vector<int8_t>(y, y + 4), (std::vector<int8_t>{-128, -43, -22, 127})) << tier->tier;
    EXPECT_EQ(zero_point, -43);
    EXPECT_EQ(scale, static_cast<float>(3.0 / 255.0));
  }
}

// x * multiplier * 2^(shift - 31), rounded twice; computed with unbounded integers.
TEST(FixedPoint, KnownValues) {
  const struct {
    int32_t x, multiplier, shift, expected;
  } cases[] = {
      {0, 1073741824, 0, 0},
      {1, 1073741824, 0, 1},
      {-1, 1073741824, 0, 0},
      {3, 1073741824, -1, 1},
      {-3, 1073741824, -1, -1},
      {6, 1073741824, -1, 2},
      {-6, 1073741824, -1, -2},
      {INT32_MIN, 2147483647, 0, -2147483647},
      {2147483647, 2147483647, 0, 2147483646},
      {INT32_MIN, 2147483647, -31, -1},
      {2147483647, 2147483647, -31, 1},
      {2147483647, 1073741824, 4, -8},
      {-100, 1073741824, 7, -6400},
      {1048576, 1518500250, -18, 3},
      {-1048576, 1518500250, -18, -3},
      {-37974085, 1136030071, 6, 986396821},
      {-3759328, 1410577478, -17, -19},
      {3612517, 1891413223, -3, 397719},
      {33462554, 1101904332, 3, 137360890},
      {1155850, 1464746328, 4, 12614034},
      {-897725, 1371742581, -1, -286719},
      {-100207162, 1357726908, -20, -60},
      {6804, 1429915820, -15, 0},
      {-26797, 1513502485, -15, -1},
      {-250775637, 1715386104, -20, -191},
      {171782, 1386634290, -12, 27},
      {156974, 1081007014, -1, 39509},
      {188757084, 1215523955, -11, 52168},
  };
  for (const auto& c : cases) EXPECT_EQ(MultiplyByQuantizedMultiplier(c.x, c.multiplier, c.shift), c.expected) << c.x << ' ' << c.shift;
  EXPECT_EQ(SaturatingRoundingDoublingHighMul(INT32_MIN, INT32_MIN), INT32_MAX);
  static_assert(RoundingDivideByPOT(5, 1) == 3 && RoundingDivideByPOT(-5, 1) == -3 && RoundingDivideByPOT(-5, 0) == -5);
  static_assert(RoundScaled(5, 0.5) == 3 && RoundScaled(-5, 0.5) == -3 && RoundScaled(1, 0x1.fffffffffffffp-2) == 0);
  static_assert(RoundScaled(1, 0.5) == 1 && RoundScaled(INT32_MIN, 4.0) == -(1 << 30));
  static_assert(RoundingDivideByPOT(INT32_MIN, 31) == -1 && RoundingDivideByPOT(INT32_MAX, 31) == 1);
}

// The same values through a kernel: a product of depth one whose sum is the bias.
TEST(FixedPoint, KnownValuesThroughConv) {
  const int32_t sums[] = {1000, -1000, 12345, -12345, 3, -3, INT32_MIN, INT32_MAX, 0, 77, -77, 5, -5, 1 << 20, -(1 << 20), 1, -1};
  const int32_t n = static_cast<int32_t>(std::size(sums));
  const std::vector<int32_t> multiplier(n, 1 << 30);
  const std::vector<int8_t> weights(n, 1);
  const int8_t input[] = {0};
  const ConvShape s = ConvShape::MatMul(1, 1, n);
  for (int32_t shift = -31; shift <= 8; ++shift) {
    const std::vector<int32_t> shifts(n, shift);
    const RequantizeParams params{multiplier.data(), shifts.data(), 0, -128, 127};
    for (const Kernels* tier : AllTiers()) {
      const AlignedBytes packed(tier->pack_i8_bytes(s)), scratch(tier->conv_i8_scratch_bytes(s));
      tier->pack_i8(s, {weights.data(), 1, 1}, false, sums, 0, 0, packed.data());
      std::vector<int8_t> output(n), expected(n);
      tier->conv_i8(s, {input, 0, false}, packed.data(), output.data(), params, scratch.data(), {0, 1});
      for (int32_t i = 0; i < n; ++i) {
        expected[i] = static_cast<int8_t>(ClampI32(MultiplyByQuantizedMultiplier(sums[i], 1 << 30, shift), -128, 127));
      }
      EXPECT_EQ(output, expected) << tier->tier << " shift " << shift;
    }
  }
}

// Sums about those whose high product lies half-way between two results, for every tier's ways to round: through 1 and 13 rows of matrix
// products and through depthwise windows, for shifts that are alike and that differ, activations that end at the zero point or do not.
TEST(FixedPoint, Halves) {
  constexpr int32_t kChannels = 272, kColumns = 13;
  const std::vector<int8_t> input(static_cast<size_t>(kColumns) * kChannels), ones(9 * kChannels, 1);
  for (int32_t shift = 1; shift <= 13; ++shift) {
    for (const uint32_t seed : {1u, 2u, 3u, 4u}) {
      std::vector<int32_t> multiplier = RandomInts<int32_t>(kChannels, seed, int64_t{1} << 30, INT32_MAX), shifts(kChannels),
                           bias(kChannels);
      for (int32_t i = 0; i < kChannels; ++i) {
        if (seed == 1) multiplier[i] = i % 2 == 0 ? 1 << 30 : INT32_MAX;
        shifts[i] = -shift - (seed == 4 ? i / 16 % 4 : 0);
        const int64_t high = ((int64_t{i} - kChannels / 2) * 2 + 1) << (-shifts[i] - 1);
        const int64_t sum = (high << 31) / multiplier[i] + i % 5 - 2;
        bias[i] = static_cast<int32_t>(sum < INT32_MIN ? INT32_MIN : sum > INT32_MAX ? INT32_MAX : sum);
      }
      for (const auto& [zero_point, min] :
           {std::array{0, -128}, {-128, -128}, {-128, -127}, {-5, -128}, {90, -128}, {127, -128}, {-7, -7}}) {
        const RequantizeParams params{multiplier.data(), shifts.data(), zero_point, min, 127};
        std::vector<int8_t> expected(static_cast<size_t>(kColumns) * kChannels);
        for (size_t i = 0; i < expected.size(); ++i) {
          const size_t c = i % kChannels;
          const int64_t y = int64_t{MultiplyByQuantizedMultiplier(bias[c], multiplier[c], shifts[c])} + zero_point;
          expected[i] = static_cast<int8_t>(y < min ? min : y > 127 ? 127 : y);
        }
        for (const Kernels* tier : AllTiers()) {
          for (const int32_t rows : {1, kColumns}) {
            const ConvShape s = ConvShape::MatMul(rows, 8, kChannels);
            const AlignedBytes packed(tier->pack_i8_bytes(s)), scratch(tier->conv_i8_scratch_bytes(s));
            tier->pack_i8(s, {ones.data(), 8, 1}, false, bias.data(), 0, 0, packed.data());
            std::vector<int8_t> output(static_cast<size_t>(rows) * kChannels);
            tier->conv_i8(s, {input.data(), 0, false}, packed.data(), output.data(), params, scratch.data(), {0, rows});
            ASSERT_TRUE(std::equal(output.begin(), output.end(), expected.begin())) << tier->tier << ' ' << shift << ' ' << zero_point;
          }
          const ConvShape s = Geometry{1, 1, kColumns, kChannels, kChannels, 3, 3, 1, 1, 1, 1, 1, 1, 1}.Shape();
          const AlignedBytes packed(tier->pack_depthwise_i8_bytes(s));
          tier->pack_depthwise_i8(s, ones.data(), false, bias.data(), 0, 0, packed.data());
          std::vector<int8_t> output(expected.size());
          tier->depthwise_i8(s, {input.data(), 0, false}, packed.data(), output.data(), params, {0, 1});
          ASSERT_EQ(output, expected) << tier->tier << " depthwise, " << shift << ' ' << zero_point;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sigrun::kernels
