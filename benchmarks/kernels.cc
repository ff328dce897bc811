#include "kernels/kernels.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "limits.h"

// sigrun_kernel_bench: billions of multiplications and additions a second of the convolution kernels on one thread with data in the cache,
// one column for each tier that has a kernel of its own on this machine, and what share the dispatcher's choice (the last tier's) reaches
// of the machine's limit. A matrix multiplication is named rows x k x n; "tile" is one of few rows, which fills some of the register tiles.
// The exit status is 1 if the choice is over 10 % slower than another tier, also when both are measured again.
// sigrun_kernel_bench --list: the names of these tiers, lowest first.
// sigrun_kernel_bench --only NAME: the cases whose name holds NAME.
namespace {

using namespace sigrun::kernels;
using namespace sigrun::benchmarks;

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

using Clock = std::chrono::steady_clock;
using Duration = std::chrono::duration<double>;

/// A kernel of a tier with data of its own. Tiers that share a kernel share its measurement.
struct Candidate {
  const Kernels* kernels;
  const void* kernel;  // null where the tier has none
  std::function<void()> run;
  int count = 1;  // of runs in a sample
  std::vector<double> samples = {};

  double Median() const {
    std::vector<double> sorted = samples;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

template <class F>
double SecondsOf(const F& run, int count) {
  const auto start = Clock::now();
  for (int i = 0; i < count; ++i) run();
  return Duration(Clock::now() - start).count() / count;
}

// The candidates take turns, so that what disturbs the machine disturbs all of them.
void Measure(std::vector<Candidate>& candidates, int rounds) {
  constexpr double kSample = 1e-3;
  for (Candidate& c : candidates) {
    c.samples.clear();
    c.run();
    while (c.count < 1 << 20 && SecondsOf(c.run, c.count) * c.count < kSample) c.count *= 2;
  }
  for (int round = 0; round < rounds; ++round) {
    for (Candidate& c : candidates) c.samples.push_back(SecondsOf(c.run, c.count));
  }
}

constexpr EpilogueF32 kPlain;

size_t Count(int64_t n) { return static_cast<size_t>(n); }
size_t InputSize(const ConvShape& s) { return Count(int64_t{s.batch} * s.in_height * s.in_width * s.in_channels); }

/// What a case computes with; kept alive by the function that runs it.
template <class In, class Out>
struct Data {
  std::vector<In> input, weights;
  std::vector<Out> output;
  Bytes packed, scratch;
  Data(const ConvShape& s, int64_t weight_count, size_t packed_bytes, size_t scratch_bytes)
      : input(Random<In>(InputSize(s))),
        weights(Random<In>(Count(weight_count))),
        output(Count(int64_t{s.rows()} * s.out_channels)),
        packed(packed_bytes),
        scratch(scratch_bytes) {}
};

template <class F>
const void* Identity(F* kernel) {
  return reinterpret_cast<const void*>(kernel);
}

Candidate ConvF32(const Kernels& kernels, const ConvShape& s) {
  const int32_t k = s.taps() * s.in_channels;
  const auto d = std::make_shared<Data<float, float>>(s, int64_t{k} * s.out_channels, kernels.pack_f32_bytes(k, s.out_channels), 0);
  kernels.pack_f32(k, s.out_channels, {d->weights.data(), k, 1}, nullptr, d->packed);
  return {&kernels, Identity(kernels.conv_f32), [=, &kernels] {
            kernels.conv_f32(s, d->input.data(), d->packed, d->output.data(), kPlain, {0, s.rows()});
          }};
}

// None in tiers without a bfloat16 unit.
template <int kParts>
Candidate ConvBf16(const Kernels& kernels, const ConvShape& s) {
  if (kernels.bf16_parts == 0) return {&kernels, nullptr, {}};
  const int32_t k = s.taps() * s.in_channels;
  const auto d = std::make_shared<Data<float, float>>(s, int64_t{k} * s.out_channels, kernels.pack_bf16_bytes(k, s.out_channels, kParts),
                                                      kernels.conv_bf16_scratch_bytes(s, kParts));
  kernels.pack_bf16(k, s.out_channels, kParts, {d->weights.data(), k, 1}, nullptr, d->packed);
  return {&kernels, Identity(kernels.conv_bf16), [=, &kernels] {
            kernels.conv_bf16(s, kParts, {}, d->input.data(), d->packed, d->output.data(), kPlain, d->scratch, {0, s.rows()});
          }};
}

Candidate DepthwiseF32(const Kernels& kernels, const ConvShape& s) {
  const auto d = std::make_shared<Data<float, float>>(s, int64_t{s.taps()} * s.out_channels, kernels.pack_depthwise_f32_bytes(s), 0);
  kernels.pack_depthwise_f32(s, d->weights.data(), nullptr, d->packed);
  return {&kernels, Identity(kernels.depthwise_f32), [=, &kernels] {
            kernels.depthwise_f32(s, d->input.data(), d->packed, d->output.data(), kPlain, {0, s.batch * s.out_height});
          }};
}

// Scales that keep the outputs of random data inside int8.
struct Requantize {
  explicit Requantize(const ConvShape& s)
      : multiplier(static_cast<size_t>(s.out_channels), 1 << 30), shift(static_cast<size_t>(s.out_channels), -9) {}
  RequantizeParams params() const { return {multiplier.data(), shift.data(), 3, -128, 127}; }
  std::vector<int32_t> multiplier, shift;
};

Candidate ConvI8(const Kernels& kernels, const ConvShape& s) {
  const int32_t k = s.taps() * s.in_channels;
  const auto d =
      std::make_shared<Data<int8_t, int8_t>>(s, int64_t{k} * s.out_channels, kernels.pack_i8_bytes(s), kernels.conv_i8_scratch_bytes(s));
  kernels.pack_i8(s, {d->weights.data(), k, 1}, false, nullptr, 5, 0, d->packed);
  return {&kernels, Identity(kernels.conv_i8), [=, &kernels, requantize = Requantize(s)] {
            kernels.conv_i8(s, {d->input.data(), 5, false}, d->packed, d->output.data(), requantize.params(), d->scratch, {0, s.rows()});
          }};
}

Candidate DepthwiseI8(const Kernels& kernels, const ConvShape& s) {
  const auto d = std::make_shared<Data<int8_t, int8_t>>(s, int64_t{s.taps()} * s.out_channels, kernels.pack_depthwise_i8_bytes(s), 0);
  kernels.pack_depthwise_i8(s, d->weights.data(), false, nullptr, 5, 0, d->packed);
  return {
      &kernels, Identity(kernels.depthwise_i8), [=, &kernels, requantize = Requantize(s)] {
        kernels.depthwise_i8(s, {d->input.data(), 5, false}, d->packed, d->output.data(), requantize.params(), {0, s.batch * s.out_height});
      }};
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
  std::string name;
  ConvShape shape;
  bool depthwise;
};

std::vector<Case> Cases() {
  std::vector<Case> cases = {
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
  for (const int32_t n : {8, 16, 32, 128}) {
    for (const int32_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24}) {
      cases.push_back({"tile " + std::to_string(rows) + " x 256 x " + std::to_string(n), ConvShape::MatMul(rows, 256, n), false});
    }
  }
  return cases;
}

/// A kind of product, and how its kernels are made to run.
struct Kind {
  const char* name;
  Product product;
  bool depthwise;
  double instructions;  // of the limit's for one product: three of bfloat16 parts
  Candidate (*make)(const Kernels&, const ConvShape&);
};

constexpr Kind kKinds[] = {{"f32", Product::kF32, false, 1, ConvF32},       {"f32", Product::kF32, true, 1, DepthwiseF32},
                           {"bf16", Product::kBf16, false, 1, ConvBf16<1>}, {"x3", Product::kBf16, false, 3, ConvBf16<2>},
                           {"int8", Product::kI8, false, 1, ConvI8},        {"int8", Product::kI8, true, 1, DepthwiseI8}};

// Operations a second of the fastest loop that this machine can run; 0 if there is none.
double LimitOf(Product product) {
  double most = 0;
  for (const Limit& limit : kLimits) {
    if (limit.product != product || limit.run == nullptr || UpTo(limit.tier) == nullptr) continue;
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 500; ++i) best = std::min(best, SecondsOf(limit.run, 1));
    most = std::max(most, limit.operations * static_cast<double>(kLimitSteps) * kLimitChains / best);
  }
  return most;
}

/// The fastest candidate, if the last one, which the dispatcher chooses, is over 10 % slower.
const Candidate* FasterThanChoice(const std::vector<Candidate>& candidates) {
  const auto faster = [](const Candidate& a, const Candidate& b) { return a.Median() < b.Median(); };
  const auto fastest = std::min_element(candidates.begin(), candidates.end(), faster);
  return candidates.back().Median() > 1.1 * fastest->Median() ? &*fastest : nullptr;
}

// True if the dispatcher's choice is as fast as any.
bool RunCase(const Kind& kind, const Case& c, const std::vector<const Kernels*>& tiers, double limit) {
  constexpr int kRounds = 15, kAgain = 3;
  std::vector<Candidate> candidates;
  std::vector<size_t> column;  // of each tier, among the candidates
  for (const Kernels* kernels : tiers) {
    Candidate candidate = kind.make(*kernels, c.shape);
    if (candidate.kernel != nullptr && (candidates.empty() || candidates.back().kernel != candidate.kernel)) {
      candidates.push_back(std::move(candidate));
    }
    column.push_back(candidates.size());
  }
  if (candidates.empty()) return true;
  Measure(candidates, kRounds);
  for (int i = 0; i < kAgain && FasterThanChoice(candidates) != nullptr; ++i) Measure(candidates, 4 * kRounds);
  const int64_t depth = kind.depthwise ? 1 : c.shape.in_channels;
  const double operations = 2.0 * static_cast<double>(int64_t{c.shape.rows()} * c.shape.taps() * depth * c.shape.out_channels);
  std::printf("%-5s%-28s", kind.name, c.name.c_str());
  for (size_t i = 0; i < tiers.size(); ++i) {
    const bool own = column[i] > 0 && (i == 0 || column[i] != column[i - 1]);
    own ? std::printf("%12.1f", operations / candidates[column[i] - 1].Median() * 1e-9) : std::printf("%12s", "");
  }
  if (limit > 0) std::printf("%7.0f%%", 100 * operations * kind.instructions / candidates.back().Median() / limit);
  const Candidate* faster = FasterThanChoice(candidates);
  if (faster != nullptr) {
    std::printf("  slower than %s by %.0f%%", faster->kernels->tier, 100 * (candidates.back().Median() / faster->Median() - 1));
  }
  std::printf("\n");
  std::fflush(stdout);
  return faster == nullptr;
}

}  // namespace

int main(int argc, char** argv) {
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
  std::printf("%-33s", "1e9 operations a second");
  for (const Kernels* kernels : tiers) std::printf("%12s", kernels->tier);
  std::printf("%8s\n", "limit");
  int slow = 0;
  for (const Kind& kind : kKinds) {
    const double limit = LimitOf(kind.product);
    for (const Case& c : Cases()) {
      if (c.depthwise == kind.depthwise && std::strstr(c.name.c_str(), only) != nullptr && !RunCase(kind, c, tiers, limit)) ++slow;
    }
  }
  if (slow > 0) std::printf("%d kernels are over 10%% slower than those of another tier\n", slow);
  return slow > 0 ? 1 : 0;
}
