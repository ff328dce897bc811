#include "kernels/kernels.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <vector>

// sigrun_kernel_bench: billions of multiplications and additions a second of the convolution kernels, one column for each tier that this
// machine has, on one thread with data in the cache. A matrix multiplication is named rows x k x n.
// sigrun_kernel_bench --list: the names of these tiers, lowest first.
// sigrun_kernel_bench --only NAME: the cases whose name holds NAME.
namespace {

using namespace sigrun::kernels;

// Bytes aligned to 64, as packed weights and scratch are.
class Bytes {
 public:
  explicit Bytes(size_t size) : data_(static_cast<std::byte*>(::operator new(size + 64, kAlignment))) { std::memset(data_, 0, size + 64); }
  ~Bytes() { ::operator delete(data_, kAlignment); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  operator std::byte*() const { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  std::byte* data_;
};

template <class T>
std::vector<T> Random(size_t n) {
  std::mt19937 engine(0);
  std::vector<T> values(n);
  for (T& v : values) v = static_cast<T>(static_cast<int32_t>(engine() % 255) - 127);
  return values;
}

// The fastest of several timings: what disturbs a run only ever slows it.
template <class F>
double Seconds(const F& run) {
  using Clock = std::chrono::steady_clock;
  using Duration = std::chrono::duration<double>;
  run();
  double best = std::numeric_limits<double>::max();
  for (const auto end = Clock::now() + std::chrono::milliseconds(100); Clock::now() < end;) {
    const auto start = Clock::now();
    run();
    best = std::min(best, Duration(Clock::now() - start).count());
  }
  return best;
}

constexpr EpilogueF32 kPlain;

double ConvF32(const Kernels& kernels, const ConvShape& s) {
  const int32_t k = s.taps() * s.in_channels;
  const auto input = Random<float>(static_cast<size_t>(s.batch * s.in_height * s.in_width * s.in_channels));
  const auto weights = Random<float>(static_cast<size_t>(k * s.out_channels));
  std::vector<float> output(static_cast<size_t>(s.rows() * s.out_channels));
  const Bytes packed(kernels.pack_f32_bytes(k, s.out_channels));
  kernels.pack_f32(k, s.out_channels, {weights.data(), k, 1}, nullptr, packed);
  return Seconds([&] { kernels.conv_f32(s, input.data(), packed, output.data(), kPlain, {0, s.rows()}); });
}

// Tiers without a bfloat16 unit count as infinitely slow.
template <int kParts>
double ConvBf16(const Kernels& kernels, const ConvShape& s) {
  if (kernels.bf16_parts == 0) return std::numeric_limits<double>::infinity();
  const int32_t k = s.taps() * s.in_channels;
  const auto input = Random<float>(static_cast<size_t>(s.batch * s.in_height * s.in_width * s.in_channels));
  const auto weights = Random<float>(static_cast<size_t>(k * s.out_channels));
  std::vector<float> output(static_cast<size_t>(s.rows() * s.out_channels));
  const Bytes packed(kernels.pack_bf16_bytes(k, s.out_channels, kParts)), scratch(kernels.conv_bf16_scratch_bytes(s, kParts));
  kernels.pack_bf16(k, s.out_channels, kParts, {weights.data(), k, 1}, nullptr, packed);
  return Seconds([&] { kernels.conv_bf16(s, kParts, input.data(), packed, output.data(), {}, scratch, {0, s.rows()}); });
}

double DepthwiseF32(const Kernels& kernels, const ConvShape& s) {
  const auto input = Random<float>(static_cast<size_t>(s.batch * s.in_height * s.in_width * s.in_channels));
  const auto filter = Random<float>(static_cast<size_t>(s.taps() * s.out_channels));
  std::vector<float> output(static_cast<size_t>(s.rows() * s.out_channels));
  const Bytes packed(kernels.pack_depthwise_f32_bytes(s));
  kernels.pack_depthwise_f32(s, filter.data(), nullptr, packed);
  return Seconds([&] { kernels.depthwise_f32(s, input.data(), packed, output.data(), kPlain, {0, s.batch * s.out_height}); });
}

// Scales that keep the outputs of random data inside int8.
struct Requantize {
  explicit Requantize(const ConvShape& s)
      : multiplier(static_cast<size_t>(s.out_channels), 1 << 30), shift(static_cast<size_t>(s.out_channels), -9) {}
  RequantizeParams params() const { return {multiplier.data(), shift.data(), 3, -128, 127}; }
  std::vector<int32_t> multiplier, shift;
};

double ConvI8(const Kernels& kernels, const ConvShape& s) {
  const int32_t k = s.taps() * s.in_channels;
  const auto input = Random<int8_t>(static_cast<size_t>(s.batch * s.in_height * s.in_width * s.in_channels));
  const auto weights = Random<int8_t>(static_cast<size_t>(k * s.out_channels));
  std::vector<int8_t> output(static_cast<size_t>(s.rows() * s.out_channels));
  const Bytes packed(kernels.pack_i8_bytes(s));
  kernels.pack_i8(s, {weights.data(), k, 1}, false, nullptr, 5, 0, packed);
  const Bytes scratch(kernels.conv_i8_scratch_bytes(s));
  const Requantize requantize(s);
  return Seconds([&] { kernels.conv_i8(s, {input.data(), 5, false}, packed, output.data(), requantize.params(), scratch, {0, s.rows()}); });
}

double DepthwiseI8(const Kernels& kernels, const ConvShape& s) {
  const auto input = Random<int8_t>(static_cast<size_t>(s.batch * s.in_height * s.in_width * s.in_channels));
  const auto filter = Random<int8_t>(static_cast<size_t>(s.taps() * s.out_channels));
  std::vector<int8_t> output(static_cast<size_t>(s.rows() * s.out_channels));
  const Bytes packed(kernels.pack_depthwise_i8_bytes(s));
  kernels.pack_depthwise_i8(s, filter.data(), false, nullptr, 5, 0, packed);
  const Requantize requantize(s);
  return Seconds([&] {
    kernels.depthwise_i8(s, {input.data(), 5, false}, packed, output.data(), requantize.params(), {0, s.batch * s.out_height});
  });
}

// Same padding, square images and windows.
ConvShape Image(int32_t side, int32_t window, int32_t stride, int32_t in_channels, int32_t out_channels) {
  ConvShape s;
  s.in_height = s.in_width = side;
  s.in_channels = in_channels;
  s.out_height = s.out_width = (side + stride - 1) / stride;
  s.out_channels = out_channels;
  s.kernel_height = s.kernel_width = window;
  s.stride_h = s.stride_w = stride;
  s.pad_top = s.pad_left = std::max((s.out_height - 1) * stride + window - side, 0) / 2;
  return s;
}

struct Case {
  const char* name;
  ConvShape shape;
  bool depthwise;
};

void PrintRow(const char* type, const Case& c, const std::vector<const Kernels*>& tiers,
              double (*measure)(const Kernels&, const ConvShape&)) {
  const int64_t depth = c.depthwise ? 1 : c.shape.in_channels;
  const double operations = 2.0 * static_cast<double>(int64_t{c.shape.rows()} * c.shape.taps() * depth * c.shape.out_channels);
  std::printf("%-5s%-32s", type, c.name);
  for (const Kernels* kernels : tiers) std::printf("%14.1f", operations / measure(*kernels, c.shape) * 1e-9);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const Case cases[] = {
      {"matmul 1 x 1024 x 1024", ConvShape::MatMul(1, 1024, 1024), false},
      {"matmul 49 x 960 x 160", ConvShape::MatMul(49, 960, 160), false},
      {"matmul 196 x 576 x 96", ConvShape::MatMul(196, 576, 96), false},
      {"matmul 3136 x 24 x 144", ConvShape::MatMul(3136, 24, 144), false},
      {"matmul 256 x 256 x 256", ConvShape::MatMul(256, 256, 256), false},
      {"conv 3x3 28x28x64 to 64", Image(28, 3, 1, 64, 64), false},
      {"conv 3x3 14x14x256 to 256", Image(14, 3, 1, 256, 256), false},
      {"conv 3x3/2 224x224x3 to 32", Image(224, 3, 2, 3, 32), false},
      {"depthwise 3x3 112x112x32", Image(112, 3, 1, 32, 32), true},
      {"depthwise 3x3/2 112x112x96", Image(112, 3, 2, 96, 96), true},
      {"depthwise 3x3 56x56x144", Image(56, 3, 1, 144, 144), true},
      {"depthwise 3x3/2 28x28x192", Image(28, 3, 2, 192, 192), true},
      {"depthwise 3x3 14x14x576", Image(14, 3, 1, 576, 576), true},
      {"depthwise 3x3 7x7x960", Image(7, 3, 1, 960, 960), true},
      {"depthwise 5x5 28x28x120", Image(28, 5, 1, 120, 120), true},
      {"depthwise 5x5 14x14x672", Image(14, 5, 1, 672, 672), true},
      {"depthwise 5x5/2 14x14x672", Image(14, 5, 2, 672, 672), true},
  };
  std::vector<const Kernels*> tiers;
  const TierList compiled = CompiledTiers();
  for (size_t i = 0; i < compiled.size; ++i) {
    if (const Kernels* kernels = UpTo(compiled.data[i].name); kernels != nullptr && !compiled.data[i].standin) tiers.push_back(kernels);
  }
  const char* only = argc == 3 && std::strcmp(argv[1], "--only") == 0 ? argv[2] : "";
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const Kernels* kernels : tiers) std::printf("%s\n", kernels->tier);
    return 0;
  }
  std::printf("%-37s", "1e9 operations a second");
  for (const Kernels* kernels : tiers) std::printf("%14s", kernels->tier);
  std::printf("\n");
  const auto chosen = [&](const Case& c) { return std::strstr(c.name, only) != nullptr; };
  for (const Case& c : cases) {
    if (chosen(c)) PrintRow("f32", c, tiers, c.depthwise ? DepthwiseF32 : ConvF32);
  }
  for (const Case& c : cases) {
    if (!chosen(c) || c.depthwise) continue;
    PrintRow("bf16", c, tiers, ConvBf16<1>);
    PrintRow("x3", c, tiers, ConvBf16<2>);
  }
  for (const Case& c : cases) {
    if (chosen(c)) PrintRow("int8", c, tiers, c.depthwise ? DepthwiseI8 : ConvI8);
  }
}
