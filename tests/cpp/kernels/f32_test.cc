#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "kernels/cpu_features.h"
#include "kernels/kernel_test.h"
#include "kernels/winograd_lines.h"
#include "kernels/winograd_squares.h"

namespace sigrun::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr ClampF32 kNoClamp = {-kInf, kInf};
constexpr double kUnit = 0x1p-24;  // the rounding error of one operation, relative

uint32_t BitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

void ExpectSameBits(const std::vector<float>& expected, const std::vector<float>& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    ASSERT_EQ(BitsOf(expected[i]), BitsOf(actual[i])) << "element " << i << ": " << expected[i] << " and " << actual[i];
  }
}

// Both are sums of `terms` products of magnitude up to 1 and a bias. Of random terms a partial sum is about sqrt(terms), each addition is
// wrong by one unit of it, and the errors add up as a random walk: about `terms` units in all, here with a margin of 16.
void ExpectNearSum(const std::vector<float>& expected, const std::vector<float>& actual, double terms) {
  ASSERT_EQ(expected.size(), actual.size());
  const double bound = 16 * (terms + 4) * kUnit;
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], actual[i], bound) << "element " << i;
}

std::string Describe(const ConvShape& s) {
  const auto field = [](const char* name, int a, int b) { return std::string(name) + std::to_string(a) + "x" + std::to_string(b); };
  return field("in ", s.in_height, s.in_width) + field(" channels ", s.in_channels, s.out_channels) +
         field(" out ", s.out_height, s.out_width) + field(" kernel ", s.kernel_height, s.kernel_width) +
         field(" stride ", s.stride_h, s.stride_w) + field(" dilation ", s.dilation_h, s.dilation_w) +
         field(" pad ", s.pad_top, s.pad_left) + " groups " + std::to_string(s.groups) + " batch " + std::to_string(s.batch);
}

struct Axis {
  int32_t in, kernel, stride = 1, dilation = 1;
  bool same = true;
  int32_t window() const { return (kernel - 1) * dilation + 1; }
  int32_t out() const { return same ? (in + stride - 1) / stride : (in - window()) / stride + 1; }
  int32_t pad() const { return same ? std::max((out() - 1) * stride + window() - in, 0) / 2 : 0; }
};

ConvShape Shape(Axis h, Axis w, int32_t in_channels, int32_t out_channels, int32_t groups = 1, int32_t batch = 1) {
  ConvShape s;
  s.batch = batch;
  s.in_height = h.in, s.in_width = w.in, s.in_channels = in_channels;
  s.out_height = h.out(), s.out_width = w.out(), s.out_channels = out_channels;
  s.kernel_height = h.kernel, s.kernel_width = w.kernel;
  s.stride_h = h.stride, s.stride_w = w.stride;
  s.dilation_h = h.dilation, s.dilation_w = w.dilation;
  s.pad_top = h.pad(), s.pad_left = w.pad();
  s.groups = groups;
  return s;
}

ConvShape Square(Axis axis, int32_t in_channels, int32_t out_channels, int32_t groups = 1, int32_t batch = 1) {
  return Shape(axis, axis, in_channels, out_channels, groups, batch);
}

size_t Size(int32_t a, int32_t b, int32_t c, int32_t d) {
  return static_cast<size_t>(a) * static_cast<size_t>(b) * static_cast<size_t>(c) * static_cast<size_t>(d);
}
size_t InputSize(const ConvShape& s) { return Size(s.batch, s.in_height, s.in_width, s.in_channels * s.groups); }

struct ConvData {
  std::vector<float> input, weights, bias;
};

// Every kind of end in turn; what it points at lives here.
struct End {
  std::vector<float> slope, residual;
  EpilogueF32 epilogue;
  End() = default;
  End(size_t elements, size_t channels, uint32_t seed)
      : slope(RandomFloats(channels, seed + 3)), residual(RandomFloats(seed % 5 < 2 ? elements : 0, seed + 4)) {
    if (seed % 3 == 0) epilogue.clamp = {-0.5f, 1.5f};
    if (seed % 2 == 0) epilogue.activation = static_cast<ActivationF32>(seed / 2 % (static_cast<uint32_t>(ActivationF32::kPrelu) + 1));
    epilogue.alpha = 0.25f;
    epilogue.slope = slope.data();
    if (!residual.empty()) epilogue.residual = residual.data();
  }
};

ConvData MakeConvData(const ConvShape& s, uint32_t seed) {
  const size_t n = static_cast<size_t>(s.out_channels) * static_cast<size_t>(s.groups);
  return {RandomFloats(InputSize(s), seed), RandomFloats(n * static_cast<size_t>(s.taps() * s.in_channels), seed + 1),
          RandomFloats(n, seed + 2)};
}

std::vector<float> RunConv(const Kernels& t, const ConvShape& s, const ConvData& data, bool with_bias, const EpilogueF32& epilogue,
                           bool cut) {
  const int32_t k = s.taps() * s.in_channels, n = s.packed_groups * s.out_channels, packs = s.groups / s.packed_groups;
  const size_t pack_bytes = t.pack_f32_bytes(k, n);
  AlignedBytes packed(pack_bytes * static_cast<size_t>(packs));
  for (int32_t i = 0; i < packs; ++i) {
    const WeightView<float> view = {data.weights.data() + static_cast<ptrdiff_t>(i) * n * k, k, 1};
    t.pack_f32(k, n, view, with_bias ? data.bias.data() + i * n : nullptr, packed.data() + static_cast<size_t>(i) * pack_bytes);
  }
  std::vector<float> output(static_cast<size_t>(s.rows()) * static_cast<size_t>(n * packs), kNan);
  const std::vector<Range> ranges = cut ? UnevenRanges(s.rows()) : std::vector<Range>{{0, s.rows()}};
  for (const Range& range : ranges) t.conv_f32(s, data.input.data(), packed.data(), output.data(), epilogue, range);
  return output;
}

void CompareConv(const ConvShape& s, uint32_t seed) {
  SCOPED_TRACE(Describe(s));
  const ConvData data = MakeConvData(s, seed);
  const bool with_bias = seed % 4 != 0;
  const size_t channels = static_cast<size_t>(s.out_channels * s.groups);
  const End end(static_cast<size_t>(s.rows()) * channels, channels, seed);
  const std::vector<float> expected = RunConv(Scalar(), s, data, with_bias, end.epilogue, false);
  for (const Kernels* t : TiersToTest()) {
    SCOPED_TRACE(t->tier);
    const std::vector<float> actual = RunConv(*t, s, data, with_bias, end.epilogue, false);
    ASSERT_NO_FATAL_FAILURE(ExpectNearSum(expected, actual, s.taps() * s.in_channels));
    ASSERT_NO_FATAL_FAILURE(ExpectSameBits(actual, RunConv(*t, s, data, with_bias, end.epilogue, true)));
  }
}

TEST(ConvF32, MatMulSizes) {
  uint32_t seed = 1;
  for (int32_t rows : {1, 2, 3, 5, 12, 13, 31, 70}) {
    for (int32_t k : {1, 3, 4, 17, 64}) {
      for (int32_t n : {1, 4, 7, 16, 17, 32, 33, 40, 64, 129, 140}) {
        ASSERT_NO_FATAL_FAILURE(CompareConv(ConvShape::MatMul(rows, k, n), seed++));
      }
    }
  }
}

TEST(ConvF32, EmptySumsGiveTheBias) {
  for (int32_t rows : {1, 2, 40}) ASSERT_NO_FATAL_FAILURE(CompareConv(ConvShape::MatMul(rows, 0, 70), 1));
}

TEST(ConvF32, LongSums) {
  uint32_t seed = 1;
  for (int32_t k : {1023, 1024, 1025, 1500, 4096, 5003}) {
    for (int32_t rows : {1, 2, 29}) ASSERT_NO_FATAL_FAILURE(CompareConv(ConvShape::MatMul(rows, k, 70), seed++));
  }
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({3, 3}, 1100, 9), seed++));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({4, 3}, 520, 33), seed++));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({14, 13}, 20, 5), seed++));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({14, 13}, 1, 5), seed++));
}

TEST(ConvF32, ManyRows) {
  ASSERT_NO_FATAL_FAILURE(CompareConv(ConvShape::MatMul(5000, 5, 19), 1));
  ASSERT_NO_FATAL_FAILURE(CompareConv(ConvShape::MatMul(150, 1024, 40), 4));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({20, 1, 2}, 512, 40), 5));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({40, 3}, 3, 33, 1, 2), 2));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({33, 7, 2}, 3, 20), 3));
}

TEST(ConvF32, Windows) {
  uint32_t seed = 1;
  for (int32_t in : {1, 2, 5, 9}) {
    for (int32_t kernel : {1, 2, 3, 5}) {
      for (int32_t stride : {1, 2, 3}) {
        for (int32_t dilation : {1, 2}) {
          for (bool same : {true, false}) {
            const Axis axis = {in, kernel, stride, dilation, same};
            if (!same && axis.window() > in) continue;
            ASSERT_NO_FATAL_FAILURE(CompareConv(Square(axis, 3, 5, 1, 2), seed++));
            ASSERT_NO_FATAL_FAILURE(CompareConv(Square(axis, 18, 37), seed++));
          }
        }
      }
    }
  }
}

TEST(ConvF32, UnequalAxes) {
  ASSERT_NO_FATAL_FAILURE(CompareConv(Shape({7, 1}, {11, 5}, 4, 6), 1));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Shape({11, 4, 2}, {3, 2, 1, 1, false}, 2, 50, 1, 3), 2));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Shape({11, 3, 1, 3}, {8, 3, 2}, 16, 16), 3));
  ConvShape far = Square({3, 3}, 3, 4);  // windows wholly in the padding
  far.pad_top = far.pad_left = 5;
  far.out_height = far.out_width = 11;
  ASSERT_NO_FATAL_FAILURE(CompareConv(far, 4));
  far.in_channels = 20;
  ASSERT_NO_FATAL_FAILURE(CompareConv(far, 5));
}

TEST(ConvF32, Groups) {
  uint32_t seed = 1;
  for (int32_t groups : {2, 3, 8}) {
    ASSERT_NO_FATAL_FAILURE(CompareConv(Square({5, 3}, 4, 6, groups), seed++));
    ASSERT_NO_FATAL_FAILURE(CompareConv(Square({6, 3, 2, 1, false}, 1, 33, groups, 2), seed++));
    ASSERT_NO_FATAL_FAILURE(CompareConv(Square({3, 1}, 40, 1, groups), seed++));
  }
}

// As many as share a vector on each tier, and fewer. What is infinite stays in its group.
TEST(ConvF32, GroupsPackedAsOne) {
  constexpr int32_t kGroups = 12;
  uint32_t seed = 1;
  for (const auto& [in, out] : {std::pair{4, 4}, {8, 8}, {1, 2}, {2, 8}, {5, 2}, {3, 5}, {16, 1}, {1, 16}}) {
    for (const Axis axis : {Axis{19, 3}, Axis{12, 3, 2, 1, false}, Axis{9, 2, 1, 3}, Axis{20, 1}, Axis{9, 1, 2}}) {
      const ConvShape s = Square(axis, in, out, kGroups, 2);
      SCOPED_TRACE(Describe(s));
      ConvData data = MakeConvData(s, ++seed);
      data.input[static_cast<size_t>(2 * in)] = std::numeric_limits<float>::infinity();
      const size_t channels = static_cast<size_t>(out * kGroups);
      const End end(static_cast<size_t>(s.rows()) * channels, channels, seed);
      for (const Kernels* t : TiersToTest()) {
        SCOPED_TRACE(t->tier);
        const std::vector<float> expected = RunConv(*t, s, data, true, end.epilogue, false);
        for (int32_t packed = 2; packed * std::max(in, out) <= t->f32_group_channels; ++packed) {
          if (kGroups % packed != 0) continue;
          ConvShape together = s;
          together.packed_groups = packed;
          ASSERT_NO_FATAL_FAILURE(ExpectSameBits(expected, RunConv(*t, together, data, true, end.epilogue, true)));
        }
      }
    }
  }
}

// Groups so deep that not all of them share pointers.
TEST(ConvF32, ManyGroups) {
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({6, 3}, 24, 20, 50), 1));
  ASSERT_NO_FATAL_FAILURE(CompareConv(Square({5, 1}, 700, 3, 3), 2));
}

// Weights as [k, n], as the right-hand side of a matrix product has them.
TEST(ConvF32, PacksBothOrders) {
  for (const Kernels* t : AllTiers()) {
    SCOPED_TRACE(t->tier);
    for (int32_t n : {1, 16, 33, 64, 70}) {
      const int32_t k = 19;
      const std::vector<float> weights = RandomFloats(static_cast<size_t>(k * n), 7);
      std::vector<float> transposed(weights.size());
      for (int32_t i = 0; i < n * k; ++i) transposed[static_cast<size_t>(i % k * n + i / k)] = weights[static_cast<size_t>(i)];
      const size_t bytes = t->pack_f32_bytes(k, n);
      AlignedBytes a(bytes), b(bytes);
      std::memset(a.data(), 0, bytes);
      std::memset(b.data(), 0, bytes);
      t->pack_f32(k, n, {weights.data(), k, 1}, nullptr, a.data());
      t->pack_f32(k, n, {transposed.data(), 1, n}, nullptr, b.data());
      EXPECT_EQ(std::memcmp(a.data(), b.data(), bytes), 0) << "n " << n;
    }
  }
}

// The residual may stand where the output goes, also if a sum takes several passes.
TEST(ConvF32, ResidualMayBeTheOutput) {
  for (int32_t k : {40, 3000}) {
    const ConvShape s = ConvShape::MatMul(29, k, 70);
    const ConvData data = MakeConvData(s, 1);
    const std::vector<float> residual = RandomFloats(29 * 70, 9);
    EpilogueF32 epilogue;
    epilogue.residual = residual.data();
    for (const Kernels* t : AllTiers()) {
      SCOPED_TRACE(t->tier);
      AlignedBytes packed(t->pack_f32_bytes(k, 70));
      t->pack_f32(k, 70, {data.weights.data(), k, 1}, data.bias.data(), packed.data());
      std::vector<float> output = residual;
      EpilogueF32 in_place;
      in_place.residual = output.data();
      t->conv_f32(s, data.input.data(), packed.data(), output.data(), in_place, {0, s.rows()});
      ASSERT_NO_FATAL_FAILURE(ExpectSameBits(RunConv(*t, s, data, true, epilogue, false), output));
    }
  }
}

// Weights in binary16 give the very sums of the same values in float.
TEST(ConvF32, HalfWeights) {
  uint32_t seed = 1;
  for (const ConvShape& s : {ConvShape::MatMul(1, 300, 300), ConvShape::MatMul(2, 70, 130), ConvShape::MatMul(31, 1100, 9),
                             Square({7, 3}, 18, 37), Square({9, 3, 2}, 3, 20)}) {
    SCOPED_TRACE(Describe(s));
    const int32_t k = s.taps() * s.in_channels, n = s.out_channels;
    ConvData data = MakeConvData(s, seed++);
    std::vector<uint16_t> halves(data.weights.size());
    for (uint16_t& h : halves) h = static_cast<uint16_t>((&h - halves.data()) * 7919 % 0x3800 | (&h - halves.data()) % 2 << 15);
    Scalar().f16_to_f32(halves.data(), data.weights.data(), halves.size());
    for (const Kernels* t : AllTiers()) {
      SCOPED_TRACE(t->tier);
      AlignedBytes packed(t->pack_f16_bytes(k, n));
      t->pack_f16(k, n, {halves.data(), k, 1}, data.bias.data(), packed.data());
      std::vector<float> output(static_cast<size_t>(s.rows() * n), kNan);
      t->conv_f16(s, data.input.data(), packed.data(), output.data(), {}, {0, s.rows()});
      ASSERT_NO_FATAL_FAILURE(ExpectSameBits(RunConv(*t, s, data, true, {}, false), output));
    }
  }
}

TEST(FewRowsF32, EveryTierIsNearScalarAndEqualsTheConvolution) {
  for (const auto& [m, k, n] : {std::array{1, 1, 1}, {1, 64, 100}, {2, 67, 33}, {3, 5, 64}, {4, 128, 7}, {7, 100, 130}, {8, 0, 3}}) {
    const ptrdiff_t a_stride = k + 3, output_stride = n + 2;
    const auto a = RandomFloats(static_cast<size_t>(m * a_stride), 1), right = RandomFloats(static_cast<size_t>(k) * n + 1, 2);
    for (const WeightView<float> view : {WeightView<float>{right.data(), k, 1}, WeightView<float>{right.data(), 1, n}}) {
      std::vector<float> expected(static_cast<size_t>(m * output_stride), 5.0f), output = expected;
      Scalar().few_rows_f32(m, k, n, a.data(), a_stride, view, expected.data(), output_stride,
                            {-2.0f, std::numeric_limits<float>::infinity()});
      for (const Kernels* t : TiersToTest()) {
        t->few_rows_f32(m, k, n, a.data(), a_stride, view, output.data(), output_stride, {-2.0f, std::numeric_limits<float>::infinity()});
        for (size_t i = 0; i < output.size(); ++i) {
          ASSERT_NEAR(output[i], expected[i], static_cast<float>(k + 1) * 1e-7f)
              << t->tier << ' ' << m << 'x' << k << 'x' << n << " at " << i;
        }
        const AlignedBytes packed(t->pack_f32_bytes(k, n));
        t->pack_f32(k, n, view, nullptr, packed.data());
        for (int32_t row = 0; row < m; ++row) {
          std::vector<float> same(static_cast<size_t>(n));
          t->conv_f32(ConvShape::MatMul(1, k, n), a.data() + row * a_stride, packed.data(), same.data(), {{-2.0f, 100.0f}}, {0, 1});
          for (size_t j = 0; j < same.size(); ++j) ASSERT_EQ(output[static_cast<size_t>(row * output_stride) + j], same[j]) << t->tier;
        }
      }
    }
  }
}

TEST(ConvF32, NanPassesTheClamp) {
  const ConvShape s = ConvShape::MatMul(3, 40, 50);
  ConvData data = MakeConvData(s, 1);
  data.input[45] = kNan;
  for (const Kernels* t : AllTiers()) {
    const std::vector<float> output = RunConv(*t, s, data, true, {{0.0f, 6.0f}}, false);
    for (size_t i = 0; i < output.size(); ++i) ASSERT_EQ(std::isnan(output[i]), i / 50 == 1) << t->tier;
  }
}

// --- Winograd
// ------------------------------------------------------------------------------------------------------------------------------

std::vector<float> RunWinograd(const Kernels& t, const ConvShape& s, int32_t m, const ConvData& data, const EpilogueF32& epilogue,
                               bool cut) {
  const WinogradSquares squares(s, m);
  const int32_t points = (m + 2) * (m + 2), tiles = s.batch * squares.lines * squares.columns;
  const ptrdiff_t in_plane = ptrdiff_t{tiles} * s.in_channels + 3, out_plane = ptrdiff_t{tiles} * s.out_channels + 5;
  AlignedBytes packed(t.pack_winograd_f32_bytes(m, s.in_channels, s.out_channels));
  t.pack_winograd_f32(m, s.in_channels, s.out_channels, data.weights.data(), packed.data());
  std::vector<float> output(Size(s.batch, s.out_height, s.out_width, s.out_channels), kNan);
  for (const Range& range : cut ? UnevenRanges(tiles) : std::vector<Range>{{0, tiles}}) {
    std::vector<float> inputs(static_cast<size_t>(points * in_plane), kNan), sums(static_cast<size_t>(points * out_plane), kNan);
    t.winograd_input_f32(s, m, data.input.data(), inputs.data(), in_plane, range);
    for (const Range& some : cut ? UnevenRanges(points) : std::vector<Range>{{0, points}}) {
      t.winograd_multiply_f32(s.in_channels, s.out_channels, range.end - range.begin, inputs.data(), in_plane, packed.data(), sums.data(),
                              out_plane, some);
    }
    t.winograd_output_f32(s, m, sums.data(), out_plane, data.bias.data(), output.data(), epilogue, range);
  }
  return output;
}

TEST(WinogradF32, EqualsTheConvolution) {
  uint32_t seed = 1;
  for (const auto& [height, width] : std::initializer_list<std::pair<Axis, Axis>>{{{4, 3}, {6, 3}},
                                                                                  {{7, 3}, {6, 3}},
                                                                                  {{9, 3, 1, 1, false}, {6, 3}},
                                                                                  {{11, 3, 1, 2}, {7, 3, 1, 3}},
                                                                                  {{19, 3, 1, 5, false}, {8, 3, 1, 8}}}) {
    for (int32_t channels : {1, 5, 16, 20, 37, 130}) {
      const ConvShape s = Shape(height, width, channels, channels + 3, 1, 2);
      SCOPED_TRACE(Describe(s));
      const ConvData data = MakeConvData(s, seed++);
      const End end(Size(s.batch, s.out_height, s.out_width, s.out_channels), static_cast<size_t>(s.out_channels), seed);
      const std::vector<float> expected = RunConv(Scalar(), s, data, true, end.epilogue, false);
      for (const Kernels* t : AllTiers()) {
        SCOPED_TRACE(t->tier);
        for (int32_t m : {2, 4}) {
          const std::vector<float> actual = RunWinograd(*t, s, m, data, end.epilogue, false);
          ASSERT_NO_FATAL_FAILURE(ExpectNearSum(expected, actual, 9 * channels));
          ASSERT_NO_FATAL_FAILURE(ExpectSameBits(actual, RunWinograd(*t, s, m, data, end.epilogue, true)));
        }
      }
    }
  }
}

std::vector<float> RunWinogradLine(const Kernels& t, const ConvShape& s, int32_t taps, const ConvData& data, const EpilogueF32& epilogue,
                                   bool cut) {
  const WinogradLines lines(s, taps);
  const int32_t points = kWinogradLinePoints, tiles = s.batch * lines.out_lines * lines.line_tiles, k = lines.parts * s.in_channels;
  const ptrdiff_t in_plane = ptrdiff_t{tiles} * k + 3, out_plane = ptrdiff_t{tiles} * s.out_channels + 5;
  AlignedBytes packed(t.pack_winograd_line_f32_bytes(s, taps));
  t.pack_winograd_line_f32(s, taps, data.weights.data(), packed.data());
  std::vector<float> output(Size(s.batch, s.out_height, s.out_width, s.out_channels), kNan);
  for (const Range& range : cut ? UnevenRanges(tiles) : std::vector<Range>{{0, tiles}}) {
    std::vector<float> inputs(static_cast<size_t>(points * in_plane), kNan), sums(static_cast<size_t>(points * out_plane), kNan);
    t.winograd_line_input_f32(s, taps, data.input.data(), inputs.data(), in_plane, range);
    t.winograd_multiply_f32(k, s.out_channels, range.end - range.begin, inputs.data(), in_plane, packed.data(), sums.data(), out_plane,
                            {0, points});
    t.winograd_line_output_f32(s, taps, sums.data(), out_plane, data.bias.data(), output.data(), epilogue, range);
  }
  return output;
}

TEST(WinogradF32, LinesEqualTheConvolution) {
  uint32_t seed = 1;
  for (const Axis axis : {Axis{21, 3}, Axis{20, 4}, Axis{9, 5}, Axis{30, 7}, Axis{40, 11}, Axis{24, 5, 2}, Axis{31, 7, 2}, Axis{33, 8, 3},
                          Axis{23, 3, 1, 4}, Axis{29, 5, 1, 2, false}, Axis{3, 5}}) {
    for (int32_t channels : {5, 16, 37}) {
      const Axis other = {3, 1, 2, 1, false};
      const bool columns = seed % 2 == 0;
      const ConvShape s = Shape(columns ? axis : other, columns ? other : axis, channels, channels + 30, 1, 2);
      SCOPED_TRACE(Describe(s));
      const ConvData data = MakeConvData(s, seed++);
      const End end(Size(s.batch, s.out_height, s.out_width, s.out_channels), static_cast<size_t>(s.out_channels), seed);
      const std::vector<float> expected = RunConv(Scalar(), s, data, true, end.epilogue, false);
      for (const Kernels* t : AllTiers()) {
        SCOPED_TRACE(t->tier);
        for (int32_t taps : {3, 4, 5}) {
          const std::vector<float> actual = RunWinogradLine(*t, s, taps, data, end.epilogue, false);
          ASSERT_NO_FATAL_FAILURE(ExpectNearSum(expected, actual, axis.kernel * channels));
          ASSERT_NO_FATAL_FAILURE(ExpectSameBits(actual, RunWinogradLine(*t, s, taps, data, end.epilogue, true)));
        }
      }
    }
  }
}

// Of sums of positive terms, where nothing cancels, a unit in the last place is the same for all: the root of the mean square of the errors
// is compared with that of the plain sums.
TEST(WinogradF32, IsAboutAsExactAsTheConvolution) {
  const ConvShape s = Square({16, 3}, 128, 16);
  ConvData data = MakeConvData(s, 5);
  std::vector<double> exact(Size(1, 16, 16, 16));
  for (int32_t i = 0; i < 16 * 16 * 16; ++i) {
    double sum = static_cast<double>(data.bias[static_cast<size_t>(i % 16)]);
    for (int32_t tap = 0; tap < 9; ++tap) {
      const int32_t y = i / 256 + tap / 3 - 1, x = i / 16 % 16 + tap % 3 - 1;
      if (y < 0 || y >= 16 || x < 0 || x >= 16) continue;
      for (int32_t c = 0; c < 128; ++c) {
        sum += static_cast<double>(data.input[static_cast<size_t>((y * 16 + x) * 128 + c)]) *
               static_cast<double>(data.weights[static_cast<size_t>((i % 16 * 9 + tap) * 128 + c)]);
      }
    }
    exact[static_cast<size_t>(i)] = sum;
  }
  const auto error = [&](const std::vector<float>& actual) {
    double squares = 0;
    for (size_t i = 0; i < exact.size(); ++i)
      squares += (static_cast<double>(actual[i]) - exact[i]) * (static_cast<double>(actual[i]) - exact[i]);
    return std::sqrt(squares / static_cast<double>(exact.size()));
  };
  const double plain = error(RunConv(Scalar(), s, data, true, {}, false));
  for (const Kernels* t : AllTiers()) {
    SCOPED_TRACE(t->tier);
    EXPECT_LT(error(RunWinograd(*t, s, 2, data, {}, false)), 1.5 * plain);
    EXPECT_LT(error(RunWinograd(*t, s, 4, data, {}, false)), 3 * plain);
  }
}

std::vector<float> RunDepthwise(const Kernels& t, const ConvShape& s, const ConvData& data, const EpilogueF32& epilogue, bool cut) {
  AlignedBytes packed(t.pack_depthwise_f32_bytes(s));
  t.pack_depthwise_f32(s, data.weights.data(), data.bias.empty() ? nullptr : data.bias.data(), packed.data());
  const int32_t lines = s.batch * s.out_height;
  std::vector<float> output(Size(s.batch, s.out_height, s.out_width, s.out_channels), kNan);
  const std::vector<Range> ranges = cut ? UnevenRanges(lines) : std::vector<Range>{{0, lines}};
  for (const Range& range : ranges) t.depthwise_f32(s, data.input.data(), packed.data(), output.data(), epilogue, range);
  return output;
}

void CompareDepthwise(const ConvShape& s, uint32_t seed) {
  SCOPED_TRACE(Describe(s));
  ConvData data = {RandomFloats(InputSize(s), seed), RandomFloats(static_cast<size_t>(s.taps() * s.out_channels), seed + 1), {}};
  if (seed % 4 != 0) data.bias = RandomFloats(static_cast<size_t>(s.out_channels), seed + 2);
  const End end(Size(s.batch, s.out_height, s.out_width, s.out_channels), static_cast<size_t>(s.out_channels), seed);
  const std::vector<float> expected = RunDepthwise(Scalar(), s, data, end.epilogue, false);
  for (const Kernels* t : TiersToTest()) {
    SCOPED_TRACE(t->tier);
    const std::vector<float> actual = RunDepthwise(*t, s, data, end.epilogue, false);
    ASSERT_NO_FATAL_FAILURE(ExpectNearSum(expected, actual, s.taps()));
    ASSERT_NO_FATAL_FAILURE(ExpectSameBits(actual, RunDepthwise(*t, s, data, end.epilogue, true)));
  }
}

TEST(DepthwiseF32, Windows) {
  uint32_t seed = 1;
  for (int32_t in : {1, 3, 5, 6, 7, 8, 13}) {
    for (int32_t kernel : {1, 2, 3, 5}) {
      for (int32_t stride : {1, 2, 3}) {
        for (int32_t dilation : {1, 2}) {
          for (bool same : {true, false}) {
            const Axis axis = {in, kernel, stride, dilation, same};
            if (!same && axis.window() > in) continue;
            ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Square(axis, 21, 21, 1, 2), seed++));
          }
        }
      }
    }
  }
}

TEST(DepthwiseF32, WholeTilesAndInterleavedPixels) {
  uint32_t seed = 1;
  for (int32_t kernel : {3, 5}) {
    for (const auto& [stride, dilation] : {std::pair{1, 1}, {2, 1}, {1, 2}, {1, 3}, {2, 4}, {2, 2}}) {
      for (int32_t channels : {16, 41}) {
        const Axis down = {11, kernel, stride, dilation}, across = {38, kernel, stride, dilation};
        ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Shape(down, across, channels, channels, 1, 2), seed++));
      }
    }
  }
}

TEST(DepthwiseF32, Channels) {
  uint32_t seed = 1;
  for (int32_t channels : {1, 2, 4, 7, 16, 33, 64, 130, 257}) {
    ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Square({9, 3}, channels, channels), seed++));
    ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Shape({5, 3, 2}, {12, 5}, channels, channels), seed++));
  }
}

TEST(DepthwiseF32, Multiplier) {
  uint32_t seed = 1;
  for (int32_t channels : {1, 3, 8}) {
    for (int32_t multiplier : {2, 4, 5, 16, 33}) {
      ASSERT_NO_FATAL_FAILURE(CompareDepthwise(Shape({6, 3}, {5, 2, 2}, channels, channels * multiplier, 1, 2), seed++));
    }
  }
}

TEST(PoolF32, EqualsScalar) {
  uint32_t seed = 1;
  for (int32_t channels : {1, 3, 16, 70, 133}) {
    for (const Axis axis : {Axis{7, 2, 2}, Axis{7, 3, 2}, Axis{8, 3, 1, 1, false}, Axis{7, 7, 1, 1, false}, Axis{5, 9}}) {
      ConvShape s = Shape(axis, axis, channels, channels, 1, 2);
      SCOPED_TRACE(Describe(s));
      const std::vector<float> input = RandomFloats(InputSize(s), seed++);
      const ClampF32 clamp = seed % 2 == 0 ? ClampF32{-0.1f, 0.4f} : kNoClamp;
      for (auto pool : {&Kernels::max_pool_f32, &Kernels::average_pool_f32}) {
        const auto run = [&](const Kernels& t, bool cut) {
          const int32_t lines = s.batch * s.out_height;
          std::vector<float> output(Size(s.batch, s.out_height, s.out_width, channels), kNan);
          const std::vector<Range> ranges = cut ? UnevenRanges(lines) : std::vector<Range>{{0, lines}};
          for (const Range& range : ranges) (t.*pool)(s, input.data(), output.data(), clamp, range);
          return output;
        };
        const std::vector<float> expected = run(Scalar(), false);
        for (const Kernels* t : TiersToTest()) {
          SCOPED_TRACE(t->tier);
          ASSERT_NO_FATAL_FAILURE(ExpectSameBits(expected, run(*t, false)));
          ASSERT_NO_FATAL_FAILURE(ExpectSameBits(expected, run(*t, true)));
        }
      }
    }
  }
}

TEST(PoolF32, EmptyWindowsAndInfinities) {
  ConvShape s = Square({2, 2, 1, 1, false}, 20, 20);
  s.pad_top = s.pad_left = 3;
  s.out_height = s.out_width = 6;
  const std::vector<float> input(InputSize(s), -kInf);
  for (const Kernels* t : AllTiers()) {
    std::vector<float> max(6 * 6 * 20), average(max);
    t->max_pool_f32(s, input.data(), max.data(), kNoClamp, {0, 6});
    t->average_pool_f32(s, input.data(), average.data(), kNoClamp, {0, 6});
    EXPECT_EQ(max[0], 0.0f) << t->tier;
    EXPECT_EQ(average[0], 0.0f) << t->tier;
    EXPECT_EQ(max[(3 * 6 + 3) * 20], -kInf) << t->tier;
  }
}

// --- elementwise -------------------------------------------------------------------------------------------------------------------------

// The distance in representable floats; huge if just one is NaN.
double Ulps(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b) ? 0 : 1e30;
  const auto place = [](float x) {
    const int64_t bits = BitsOf(x) & 0x7fffffffu;
    return std::signbit(x) ? -bits : bits;
  };
  return static_cast<double>(std::abs(place(a) - place(b)));
}

struct UnaryCase {
  Unary op;
  const char* name;
  double (*exact)(double);   // null: every tier gives the bits of scalar
  double ulps;               // of every tier from the exact value
  bool of_argument = false;  // the units are those of the argument's last place
};

double ExactLogistic(double x) { return 1 / (1 + std::exp(-x)); }
double ExactGelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double ExactGeluTanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x))); }
double ExactElu(double x) { return x < 0 ? std::expm1(x) : x; }

constexpr UnaryCase kUnary[] = {
    {Unary::kAbs, "abs", nullptr, 0},
    {Unary::kNeg, "neg", nullptr, 0},
    {Unary::kSquare, "square", nullptr, 0},
    {Unary::kSqrt, "sqrt", nullptr, 0},
    {Unary::kRsqrt, "rsqrt", [](double x) { return 1 / std::sqrt(x); }, 1.5},
    {Unary::kExp, "exp", [](double x) { return std::exp(x); }, 1.1},
    {Unary::kLog, "log", [](double x) { return std::log(x); }, 1.5},
    {Unary::kSin, "sin", [](double x) { return std::sin(x); }, 1.5},
    {Unary::kCos, "cos", [](double x) { return std::cos(x); }, 1.5},
    {Unary::kTanh, "tanh", [](double x) { return std::tanh(x); }, 3},
    {Unary::kLogistic, "logistic", ExactLogistic, 3},
    {Unary::kRelu, "relu", nullptr, 0},
    {Unary::kRelu6, "relu6", nullptr, 0},
    {Unary::kReluN1To1, "relu_n1_to_1", nullptr, 0},
    {Unary::kRelu0To1, "relu_0_to_1", nullptr, 0},
    {Unary::kHardSwish, "hard_swish", nullptr, 0},
    {Unary::kFloor, "floor", nullptr, 0},
    {Unary::kCeil, "ceil", nullptr, 0},
    {Unary::kRound, "round", nullptr, 0},
    {Unary::kElu, "elu", ExactElu, 2},
    {Unary::kSign, "sign", nullptr, 0},
    {Unary::kGelu, "gelu", ExactGelu, 3, true},
    {Unary::kGeluTanh, "gelu_tanh", ExactGeluTanh, 2, true},
    {Unary::kSwish, "swish", [](double x) { return x * ExactLogistic(x); }, 2, true},
};
static_assert(std::size(kUnary) == static_cast<size_t>(Unary::kCount));

UnaryF32 Function(const Kernels& t, Unary op) { return t.unary_f32[static_cast<size_t>(op)]; }

// All exponents and signs, a dense part around where things happen, and the special values.
std::vector<float> Arguments() {
  std::vector<float> x = {0.0f, -0.0f, kInf, -kInf, kNan,  88.7f, 88.72283f,  88.73f, -87.4f, -88.0f, -103.9f, -104.0f,  -1000.0f, 3e38f,
                          0.5f, 1.5f,  2.5f, -0.5f, -1.5f, -2.5f, 8388607.5f, 1.0f,   -1.0f,  6.0f,   -3.0f,   65536.0f, 65537.0f, 1e10f};
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 30011) x.push_back(FromBits(static_cast<uint32_t>(bits)));
  const std::vector<float> dense = RandomFloats(40000, 3, -20.0f, 20.0f), wide = RandomFloats(20000, 4, -110.0f, 110.0f);
  x.insert(x.end(), dense.begin(), dense.end());
  x.insert(x.end(), wide.begin(), wide.end());
  return x;
}

// The error of y in units in the last place of the exact value, or of `unit` if that is larger.
double Error(float y, double exact, double unit = 0) {
  if (std::isnan(exact)) return std::isnan(y) ? 0 : 1e30;
  const float rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || std::isinf(y)) return rounded == y ? 0 : Ulps(rounded, y);
  const double magnitude = std::max(std::abs(exact), std::abs(unit));
  const int exponent = std::max(std::ilogb(magnitude == 0 ? 1e-300 : magnitude), -126);
  return std::abs(static_cast<double>(y) - exact) / std::ldexp(1.0, exponent - 23);
}

TEST(UnaryF32, WithinStatedBounds) {
  const std::vector<float> x = Arguments();
  for (const UnaryCase& c : kUnary) {
    std::vector<float> expected(x.size());
    Function(Scalar(), c.op)(x.data(), expected.data(), x.size());
    for (const Kernels* t : AllTiers()) {
      std::vector<float> y(x.size());
      Function(*t, c.op)(x.data(), y.data(), x.size());
      if (c.exact == nullptr) {
        SCOPED_TRACE(std::string(t->tier) + " " + c.name);
        ASSERT_NO_FATAL_FAILURE(ExpectSameBits(expected, y));
        continue;
      }
      double worst = 0, at = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double error = Error(y[i], c.exact(x[i]), c.of_argument ? x[i] : 0);
        if (error > worst) worst = error, at = x[i];
      }
      EXPECT_LE(worst, c.ulps) << t->tier << " " << c.name << " of " << at;
      RecordProperty(std::string(t->tier) + "_" + c.name, std::to_string(worst));
    }
  }
}

TEST(UnaryF32, LengthsAndPlaces) {
  const std::vector<float> x = RandomFloats(80, 5, -4.0f, 4.0f);
  for (const UnaryCase& c : kUnary) {
    for (const Kernels* t : AllTiers()) {
      SCOPED_TRACE(std::string(t->tier) + " " + c.name);
      std::vector<float> whole(x.size());
      Function(*t, c.op)(x.data(), whole.data(), x.size());
      for (size_t begin : {0u, 1u, 5u}) {
        for (size_t n = 0; n <= 40; ++n) {
          std::vector<float> y(x.begin() + static_cast<ptrdiff_t>(begin), x.begin() + static_cast<ptrdiff_t>(begin + n));
          y.push_back(77.0f);
          Function(*t, c.op)(y.data(), y.data(), n);
          ASSERT_EQ(y[n], 77.0f);
          for (size_t i = 0; i < n; ++i) {
            if (std::isnan(whole[begin + i])) continue;
            ASSERT_EQ(BitsOf(y[i]), BitsOf(whole[begin + i])) << begin << " " << n;
          }
        }
      }
    }
  }
}

TEST(UnaryF32, SpecialValues) {
  for (const Kernels* t : AllTiers()) {
    const auto at = [t](Unary op, float x) {
      float y;
      Function(*t, op)(&x, &y, 1);
      return y;
    };
    SCOPED_TRACE(t->tier);
    EXPECT_TRUE(std::isfinite(at(Unary::kExp, 88.7f)));
    EXPECT_EQ(at(Unary::kExp, 89.0f), kInf);
    EXPECT_EQ(at(Unary::kExp, -200.0f), 0.0f);
    EXPECT_EQ(at(Unary::kExp, -kInf), 0.0f);
    EXPECT_GT(at(Unary::kLogistic, -88.0f), 0.0f);
    EXPECT_EQ(at(Unary::kLogistic, 100.0f), 1.0f);
    EXPECT_EQ(at(Unary::kTanh, kInf), 1.0f);
    EXPECT_EQ(at(Unary::kTanh, -30.0f), -1.0f);
    EXPECT_EQ(at(Unary::kRsqrt, 0.0f), kInf);
    EXPECT_EQ(at(Unary::kLog, 0.0f), -kInf);
    EXPECT_TRUE(std::isnan(at(Unary::kLog, -1.0f)));
    EXPECT_TRUE(std::isnan(at(Unary::kRelu, kNan)));
    EXPECT_TRUE(std::isnan(at(Unary::kSin, kInf)));
    EXPECT_EQ(at(Unary::kElu, -kInf), -1.0f);
    EXPECT_EQ(at(Unary::kRound, 2.5f), 2.0f);
    EXPECT_EQ(at(Unary::kSign, kInf), 1.0f);
    for (const UnaryCase& c : kUnary) {
      EXPECT_TRUE(std::isnan(at(c.op, kNan))) << c.name;
    }
  }
}

TEST(BinaryF32, EqualsScalar) {
  const std::vector<float> special = {0.0f, -0.0f, kInf, -kInf, kNan, 1.0f, 1e-40f, 3e38f};
  std::vector<float> a = RandomFloats(200, 1, -3.0f, 3.0f), b = RandomFloats(200, 2, -3.0f, 3.0f);
  for (size_t i = 0; i < 64; ++i) a[i] = special[i / 8], b[i] = special[i % 8];
  for (size_t op = 0; op < static_cast<size_t>(Binary::kCount); ++op) {
    if (op == static_cast<size_t>(Binary::kPow)) continue;
    for (size_t operands = 0; operands < static_cast<size_t>(Operands::kCount); ++operands) {
      for (size_t n : {0u, 1u, 2u, 7u, 8u, 15u, 16u, 17u, 63u, 200u}) {
        for (const ClampF32 clamp : {kNoClamp, ClampF32{-1.0f, 1.0f}, ClampF32{0.0f, kInf}}) {
          std::vector<float> expected(n), y(n);
          Scalar().binary_f32[op][operands](a.data(), b.data(), expected.data(), n, clamp);
          for (const Kernels* t : TiersToTest()) {
            SCOPED_TRACE(std::string(t->tier) + " op " + std::to_string(op) + " operands " + std::to_string(operands));
            t->binary_f32[op][operands](a.data(), b.data(), y.data(), n, clamp);
            ASSERT_NO_FATAL_FAILURE(ExpectSameBits(expected, y));
          }
        }
      }
    }
  }
}

TEST(BinaryF32, PowersWithinTheStatedBound) {
  const std::vector<float> special = {0.0f, -0.0f, kInf, -kInf, kNan, 1.0f, -1.0f, 2.0f, -3.0f, 0.5f, -0.5f, 1e-40f, 3e38f, 1e-30f};
  std::vector<float> a, b;
  for (float x : special) {
    for (float y : special) a.push_back(x), b.push_back(y);
  }
  const size_t specials = a.size();
  for (const auto& [low, high, least, most] : {std::array{0.0f, 10.0f, -20.0f, 20.0f}, std::array{0.9f, 1.1f, -300.0f, 300.0f},
                                               std::array{1e-38f, 1e-30f, -1.2f, 1.2f}, std::array{1e20f, 3e38f, -1.0f, 1.0f}}) {
    const std::vector<float> x = RandomFloats(20000, 1, low, high), y = RandomFloats(20000, 2, least, most);
    a.insert(a.end(), x.begin(), x.end());
    b.insert(b.end(), y.begin(), y.end());
  }
  const std::vector<float> signed_bases = RandomFloats(20000, 3, -10.0f, 10.0f), exponents = RandomFloats(20000, 4, -20.0f, 20.0f);
  for (size_t i = 0; i < signed_bases.size(); ++i) {
    a.push_back(signed_bases[i]);
    b.push_back(i % 8 == 0 ? exponents[i] : std::round(exponents[i]));
  }
  for (const float y : {16777215.0f, 16777216.0f, -16777217.0f, 33554434.0f, 3e38f, 1e-40f}) a.push_back(-1.0f), b.push_back(y);
  constexpr size_t kOperands = static_cast<size_t>(Operands::kVectorVector);
  for (const Kernels* t : AllTiers()) {
    std::vector<float> y(a.size());
    t->binary_f32[static_cast<size_t>(Binary::kPow)][kOperands](a.data(), b.data(), y.data(), a.size(), kNoClamp);
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double exact = std::pow(static_cast<double>(a[i]), static_cast<double>(b[i]));
      const double error = Error(y[i], exact);
      if (i < specials) {
        ASSERT_LE(error, 3) << t->tier << " " << a[i] << " to the power " << b[i];
      }
      if (error > worst) worst = error, at = i;
    }
    EXPECT_LE(worst, 3) << t->tier << " " << a[at] << " to the power " << b[at];
  }
}

TEST(ConvertF32, EveryHalf) {
  std::vector<uint16_t> x(65536);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint16_t>(i);
  std::vector<float> expected(x.size()), y(x.size());
  Scalar().f16_to_f32(x.data(), expected.data(), x.size());
  EXPECT_EQ(expected[0x3c00], 1.0f);
  EXPECT_EQ(expected[0x0001], 0x1p-24f);
  EXPECT_EQ(expected[0x83ff], -0x1.ff8p-15f);
  EXPECT_EQ(expected[0x7bff], 65504.0f);
  EXPECT_EQ(expected[0xfc00], -kInf);
  for (const Kernels* t : TiersToTest()) {
    SCOPED_TRACE(t->tier);
    t->f16_to_f32(x.data(), y.data(), x.size());
    ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0);
    for (size_t n = 0; n < 20; ++n) {
      std::vector<float> part(n);
      const std::vector<uint16_t> in(x.begin() + 1000, x.begin() + 1000 + static_cast<ptrdiff_t>(n));
      t->f16_to_f32(in.data(), part.data(), n);
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(part[i], expected[1000 + i]);
    }
  }
}

TEST(RowsF32, SumMaxAccumulate) {
  for (size_t n : {1u, 2u, 3u, 7u, 8u, 15u, 16u, 17u, 33u, 64u, 65u, 127u, 1000u, 4097u}) {
    const std::vector<float> x = RandomFloats(n, static_cast<uint32_t>(n)), start = RandomFloats(n, static_cast<uint32_t>(n) + 1);
    std::vector<float> expected = start;
    Scalar().accumulate_f32(x.data(), expected.data(), n);
    for (const Kernels* t : TiersToTest()) {
      SCOPED_TRACE(std::string(t->tier) + " " + std::to_string(n));
      const double sum_bound = static_cast<double>(n) * std::sqrt(static_cast<double>(n)) * 2 * kUnit;
      EXPECT_NEAR(t->sum_f32(x.data(), n), Scalar().sum_f32(x.data(), n), sum_bound);
      EXPECT_EQ(t->max_f32(x.data(), n), Scalar().max_f32(x.data(), n));
      EXPECT_EQ(t->min_f32(x.data(), n), Scalar().min_f32(x.data(), n));
      std::vector<float> y = start;
      t->accumulate_f32(x.data(), y.data(), n);
      ExpectSameBits(expected, y);
    }
  }
  for (const Kernels* t : AllTiers()) {
    const std::vector<float> negative(21, -5.0f), mixed = {kNan, 1.0f, kNan, 3.0f, kNan};
    EXPECT_EQ(t->max_f32(negative.data(), negative.size()), -5.0f) << t->tier;
    EXPECT_EQ(t->max_f32(mixed.data(), mixed.size()), 3.0f) << t->tier;
    EXPECT_EQ(t->min_f32(mixed.data(), mixed.size()), 1.0f) << t->tier;
    EXPECT_EQ(t->sum_f32(nullptr, 0), 0.0f) << t->tier;
  }
}

TEST(RowsF32, Columns) {
  constexpr size_t kStride = 300;
  std::vector<float> x = RandomFloats(9 * kStride, 1);
  for (size_t i = 0; i < x.size(); i += 7) x[i] = kNan;
  const std::vector<float> numbers = RandomFloats(9 * kStride, 3), start = RandomFloats(kStride, 2);
  for (size_t n : {1u, 3u, 8u, 16u, 17u, 33u, 64u, 129u, 300u}) {
    for (size_t rows : {0u, 1u, 2u, 9u}) {
      std::vector<float> sum = start, max = start, min = start;
      Scalar().sum_columns_f32(numbers.data(), kStride, rows, sum.data(), n);
      Scalar().max_columns_f32(x.data(), kStride, rows, max.data(), n);
      Scalar().min_columns_f32(x.data(), kStride, rows, min.data(), n);
      for (const Kernels* t : TiersToTest()) {
        SCOPED_TRACE(std::string(t->tier) + " " + std::to_string(n) + " " + std::to_string(rows));
        std::vector<float> y = start;
        t->sum_columns_f32(numbers.data(), kStride, rows, y.data(), n);
        ASSERT_NO_FATAL_FAILURE(ExpectSameBits(sum, y));
        y = start;
        t->max_columns_f32(x.data(), kStride, rows, y.data(), n);
        ASSERT_NO_FATAL_FAILURE(ExpectSameBits(max, y));
        y = start;
        t->min_columns_f32(x.data(), kStride, rows, y.data(), n);
        ASSERT_NO_FATAL_FAILURE(ExpectSameBits(min, y));
      }
    }
  }
}

TEST(Rows32, Transpose) {
  constexpr ptrdiff_t kStride = 50;
  std::vector<uint32_t> x(kStride * kStride);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint32_t>(i * 2654435761u);
  for (int64_t rows : {1, 3, 4, 8, 15, 16, 17, 48, 50}) {
    for (int64_t columns : {1, 4, 7, 8, 16, 31, 50}) {
      std::vector<uint32_t> expected(x.size(), 7);
      Scalar().transpose_32(x.data(), kStride, expected.data(), kStride, rows, columns);
      for (const Kernels* t : TiersToTest()) {
        std::vector<uint32_t> y(x.size(), 7);
        t->transpose_32(x.data(), kStride, y.data(), kStride, rows, columns);
        ASSERT_EQ(y, expected) << t->tier << " " << rows << " " << columns;
      }
    }
  }
}

TEST(RowsF32, Softmax) {
  for (int32_t depth : {1, 2, 5, 8, 16, 17, 31, 100, 1001}) {
    const int32_t rows = 5;
    const size_t size = static_cast<size_t>(rows * depth);
    const std::vector<float> x = RandomFloats(size, static_cast<uint32_t>(depth), -8.0f, 8.0f);
    for (float beta : {1.0f, 0.25f}) {
      std::vector<float> expected(size), y(size);
      Scalar().softmax_f32(x.data(), expected.data(), depth, beta, {0, rows});
      for (const Kernels* t : TiersToTest()) {
        SCOPED_TRACE(std::string(t->tier) + " depth " + std::to_string(depth));
        for (const Range& range : UnevenRanges(rows)) t->softmax_f32(x.data(), y.data(), depth, beta, range);
        const double relative = (16 + std::sqrt(static_cast<double>(depth))) * kUnit * 2;
        for (size_t i = 0; i < size; ++i) ASSERT_NEAR(y[i], expected[i], relative * expected[i]) << i;
        std::vector<float> in_place = x;
        t->softmax_f32(in_place.data(), in_place.data(), depth, beta, {0, rows});
        ExpectSameBits(y, in_place);
      }
    }
  }
}

TEST(RowsF32, MaskedSoftmax) {
  constexpr int32_t kRows = 5;
  for (int32_t depth : {1, 7, 16, 33, 128}) {
    const size_t size = static_cast<size_t>(kRows * depth);
    const std::vector<float> x = RandomFloats(size, 1, -8.0f, 8.0f), mask = RandomFloats(size, 2, -4.0f, 4.0f);
    for (float scale : {0.125f, 1.0f, -0.5f}) {
      for (ptrdiff_t stride : {ptrdiff_t{-1}, ptrdiff_t{0}, ptrdiff_t{depth}}) {
        const float* addend = stride < 0 ? nullptr : mask.data();
        std::vector<float> expected(size), y(size);
        Scalar().masked_softmax_f32(x.data(), addend, stride, expected.data(), depth, scale, {0, kRows});
        for (const Kernels* t : TiersToTest()) {
          SCOPED_TRACE(std::string(t->tier) + " depth " + std::to_string(depth));
          for (const Range& range : UnevenRanges(kRows)) t->masked_softmax_f32(x.data(), addend, stride, y.data(), depth, scale, range);
          const double relative = (64 + std::sqrt(static_cast<double>(depth))) * kUnit * 2;
          for (size_t i = 0; i < size; ++i) ASSERT_NEAR(y[i], expected[i], relative * expected[i]) << i;
        }
      }
    }
  }
}

TEST(RowsF32, LayerNorm) {
  constexpr int32_t kRows = 3;
  for (int32_t depth : {1, 5, 16, 31, 64, 100, 257}) {
    const size_t size = static_cast<size_t>(kRows * depth);
    const std::vector<float> x = RandomFloats(size, 1, 2.0f, 4.0f), scale = RandomFloats(static_cast<size_t>(depth), 2),
                             shift = RandomFloats(static_cast<size_t>(depth), 3);
    std::vector<float> expected(size), y(size);
    Scalar().layer_norm_f32(x.data(), scale.data(), shift.data(), expected.data(), depth, 1e-3f, {0, kRows});
    for (const Kernels* t : TiersToTest()) {
      SCOPED_TRACE(std::string(t->tier) + " depth " + std::to_string(depth));
      for (const Range& range : UnevenRanges(kRows)) t->layer_norm_f32(x.data(), scale.data(), shift.data(), y.data(), depth, 1e-3f, range);
      for (size_t i = 0; i < size; ++i) ASSERT_NEAR(y[i], expected[i], 1e-5 * (1 + std::sqrt(static_cast<double>(depth)))) << i;
    }
  }
}

TEST(RowsF32, RmsNorm) {
  constexpr int32_t kRows = 11;
  for (int32_t depth : {1, 5, 16, 31, 64, 100, 257}) {
    const size_t size = static_cast<size_t>(kRows * depth);
    const std::vector<float> x = RandomFloats(size, 1), scale = RandomFloats(static_cast<size_t>(depth), 2);
    std::vector<float> expected(size), y(size);
    const float weight = 1.0f / static_cast<float>(depth);
    Scalar().rms_norm_f32(x.data(), scale.data(), expected.data(), depth, weight, 1e-6f, {0, kRows});
    for (const Kernels* t : TiersToTest()) {
      SCOPED_TRACE(std::string(t->tier) + " depth " + std::to_string(depth));
      for (const Range& range : UnevenRanges(kRows)) t->rms_norm_f32(x.data(), scale.data(), y.data(), depth, weight, 1e-6f, range);
      ExpectSameBits(expected, y);
    }
  }
}

TEST(RowsF32, MixColumns) {
  constexpr int32_t kWidth = 5;
  const std::vector<kernels::ColumnsF32> columns = {{0, 0, -0.25f}, {0, 1, 0.5f}, {1, 2, 0.0f}, {3, 4, 0.75f}, {4, 4, 0.25f}};
  for (const int32_t depth : {1, 3, 8, 17, 21, 40}) {
    const size_t n = static_cast<size_t>(kWidth * depth);
    const std::vector<float> top = RandomFloats(n, 1), bottom = RandomFloats(n, 2);
    for (const int32_t count : {1, 3, 5}) {
      std::vector<float> expected(n, 7.0f), y(n);
      Scalar().mix_columns_f32(top.data(), bottom.data(), kWidth, 0.3f, columns.data(), count, depth, expected.data());
      for (const Kernels* t : TiersToTest()) {
        SCOPED_TRACE(std::string(t->tier) + " depth " + std::to_string(depth));
        std::fill(y.begin(), y.end(), 7.0f);
        t->mix_columns_f32(top.data(), bottom.data(), kWidth, 0.3f, columns.data(), count, depth, y.data());
        ExpectSameBits(expected, y);
        std::vector<float> of_one_line(n, 7.0f), between(n);
        Scalar().mix_columns_f32(top.data(), nullptr, kWidth, 0.0f, columns.data(), count, depth, of_one_line.data());
        std::fill(y.begin(), y.end(), 7.0f);
        t->mix_columns_f32(top.data(), nullptr, kWidth, 0.0f, columns.data(), count, depth, y.data());
        ExpectSameBits(of_one_line, y);
        Scalar().mix_lines_f32(top.data(), bottom.data(), 0.3f, between.data(), n);
        t->mix_lines_f32(top.data(), bottom.data(), 0.3f, y.data(), n);
        ExpectSameBits(between, y);
      }
    }
  }
}

TEST(RowsF32, SoftmaxOfExtremes) {
  for (const Kernels* t : AllTiers()) {
    SCOPED_TRACE(t->tier);
    const std::vector<float> x = {-kInf, 1e30f, -1e30f, 1e30f, 5.0f};
    std::vector<float> y(x.size());
    t->softmax_f32(x.data(), y.data(), 5, 1.0f, {0, 1});
    ExpectSameBits({0.0f, 0.5f, 0.0f, 0.5f, 0.0f}, y);
  }
}

TEST(CpuFeatures, TiersFollowFeatures) {
  const CacheSizes caches = DetectedCaches();
  EXPECT_GE(caches.l1d, 4096u);
  EXPECT_GE(caches.l2, caches.l1d);
  EXPECT_TRUE(CpuHas(0));
  for (const Kernels* t : TiersToTest()) EXPECT_FALSE(DetectedFeatures().empty()) << t->tier;
  EXPECT_EQ(UpTo("no such tier"), nullptr);
}

}  // namespace
}  // namespace sigrun::kernels
