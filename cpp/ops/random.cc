#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/numbers.h"

// RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL, MULTINOMIAL: numbers of the Philox 4x32-10 generator, the same as LiteRT's for the same seeds.
// Every run goes on where the last one ended. Without seeds they are different each time that the node is planned.
// STABLEHLO_RNG_BIT_GENERATOR: bits from a state that is handed in and out, of Philox or Threefry 2x32-20.
namespace sigrun::ops {
namespace {

enum Field : int { kSeed, kSeed2 };

using Block = std::array<uint32_t, 4>;

class Philox {
 public:
  Philox(uint64_t key, uint64_t stream) : key_(key), stream_(stream) {}

  Block At(uint64_t index) const {
    Block c{Low(index), High(index), Low(stream_), High(stream_)};
    uint32_t k0 = Low(key_), k1 = High(key_);
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
      const uint64_t a = uint64_t{0xD2511F53u} * c[0], b = uint64_t{0xCD9E8D57u} * c[2];
      c = {High(b) ^ c[1] ^ k0, Low(b), High(a) ^ c[3] ^ k1, Low(a)};
    }
    return c;
  }

 private:
  static uint32_t Low(uint64_t x) { return static_cast<uint32_t>(x); }
  static uint32_t High(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
  uint64_t key_, stream_;
};

/// In [0, 1), from the low bits.
float Uniform(uint32_t bits) { return std::bit_cast<float>(0x3f800000u | (bits & 0x7fffff)) - 1.0f; }
double Uniform(uint32_t high, uint32_t low) { return std::bit_cast<double>(uint64_t{0x3ff00000u | (high & 0xfffff)} << 32 | low) - 1.0; }

/// A generator and how many of its blocks have been taken.
struct Generator {
  Philox philox;
  std::shared_ptr<std::atomic<uint64_t>> taken = std::make_shared<std::atomic<uint64_t>>(0);

  /// The index of the first of `blocks` blocks that no one else gets.
  uint64_t Take(uint64_t blocks) const { return taken->fetch_add(blocks); }
};

Generator MakeGenerator(const Prepare& p) {
  // LiteRT keeps 32 bits of a seed.
  const int64_t seed = static_cast<int32_t>(p.options().Scalar<int64_t>(kSeed)),
                seed2 = static_cast<int32_t>(p.options().Scalar<int64_t>(kSeed2));
  if (seed != 0 || seed2 != 0) return {Philox(static_cast<uint64_t>(seed), static_cast<uint64_t>(seed2))};
  std::random_device device;
  const auto draw = [&device] { return uint64_t{device()} << 32 | device(); };
  const uint64_t key = draw();
  return {Philox(key, draw())};
}

/// Two normal numbers from two uniform ones (Box and Muller).
std::array<float, 2> Normal(uint32_t a, uint32_t b) {
  const float radius = std::sqrt(-2.0f * std::log(std::max(Uniform(a), 1.0e-7f)));
  const float angle = static_cast<float>(2 * std::numbers::pi * static_cast<double>(Uniform(b)));
  return {std::sin(angle) * radius, std::cos(angle) * radius};
}

template <bool kNormal>
void PrepareRandom(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.SetShape(0, KnownShape(p, 0, "shape"));
  p.Emit([g = MakeGenerator(p), n = p.output_elements(0), y = p.out(0)](RunContext& run) noexcept {
    float* to = run.get<float>(y);
    uint64_t index = g.Take(static_cast<uint64_t>((n + 3) / 4));
    for (int64_t i = 0; i < n; i += 4, ++index) {
      const Block bits = g.philox.At(index);
      std::array<float, 4> values{Uniform(bits[0]), Uniform(bits[1]), Uniform(bits[2]), Uniform(bits[3])};
      if constexpr (kNormal) {
        const auto a = Normal(bits[0], bits[1]), b = Normal(bits[2], bits[3]);
        values = {a[0], a[1], b[0], b[1]};
      }
      std::copy_n(values.begin(), std::min<int64_t>(4, n - i), to + i);
    }
  });
}

/// Adds up the unnormalised probabilities of `classes` logits; logits that are not finite have none.
void Accumulate(const float* logits, int64_t classes, double* sums) {
  float most = std::numeric_limits<float>::lowest();
  for (int64_t i = 0; i < classes; ++i) most = std::isfinite(logits[i]) ? std::max(most, logits[i]) : most;
  double sum = 0;
  for (int64_t i = 0; i < classes; ++i) {
    if (std::isfinite(logits[i])) sum += std::exp(static_cast<double>(logits[i]) - static_cast<double>(most));
    sums[i] = sum;
  }
}

void PrepareMultinomial(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(0, {TensorType::kFloat32});
  const Shape& logits = p.shape(0);
  p.Check(logits.size() == 2 && logits[1] >= 1, "logits of shape ", ToString(logits));
  const int64_t samples = KnownInt(p, 1, "number of samples"), batch = logits[0], classes = logits[1];
  p.Check(samples >= 0 && samples <= INT32_MAX, samples, " samples");
  p.SetShape(0, {logits[0], static_cast<int32_t>(samples)});
  const Slot scratch = p.Scratch(static_cast<size_t>(classes) * sizeof(double));
  WithType<I32, I64>(p, p.output_type(0), "an output", [&]<class T>(std::type_identity<T>) {
    p.Emit([=, g = MakeGenerator(p), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      // As many blocks are left out for the next run as TensorFlow's generator may have taken.
      uint64_t index = g.Take(static_cast<uint64_t>(batch) * static_cast<uint64_t>((samples + 3) / 4 * 4) * 512);
      double* sums = run.get<double>(scratch);
      T* to = run.get<T>(y);
      Block bits{};
      for (int64_t i = 0; i < batch * samples; ++i) {
        if (i % 2 == 0) bits = g.philox.At(index++);
        if (i % samples == 0) Accumulate(run.get<float>(x) + i / samples * classes, classes, sums);
        const double wanted = Uniform(bits[static_cast<size_t>(i % 2) * 2], bits[static_cast<size_t>(i % 2) * 2 + 1]) * sums[classes - 1];
        to[i] = static_cast<T>(std::upper_bound(sums, sums + classes, wanted) - sums);
      }
    });
  });
}

// --- STABLEHLO_RNG_BIT_GENERATOR ---

using State = std::array<uint32_t, 6>;  // the key, the counter, and for Philox what may stand behind it

std::array<uint32_t, 2> Threefry(const State& state) {
  constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t keys[3] = {state[0], state[1], 0x1BD11BDAu ^ state[0] ^ state[1]};
  uint32_t a = state[2] + keys[0], b = state[3] + keys[1];
  for (uint32_t group = 1; group <= 5; ++group) {
    for (const int rotation : kRotations[(group - 1) % 2]) {
      a += b;
      b = std::rotl(b, rotation) ^ a;
    }
    a += keys[group % 3];
    b += keys[(group + 1) % 3] + group;
  }
  return {a, b};
}

Block PhiloxBlock(const State& state) {
  const auto join = [&](size_t i) { return uint64_t{state[i + 1]} << 32 | state[i]; };
  return Philox(join(0), join(4)).At(join(2));
}

/// Fills `words` of output with blocks of f(state), between which the counter goes on.
template <class F>
void FillBits(State& state, uint32_t* to, int64_t words, const F& f) {
  while (words > 0) {
    const auto block = f(state);
    const int64_t n = std::min<int64_t>(words, static_cast<int64_t>(block.size()));
    to = std::copy_n(block.begin(), n, to);
    words -= n;
    if (++state[2] == 0) ++state[3];
  }
}

void PrepareBitGenerator(Prepare& p) {
  enum Algorithm : int8_t { kDefault, kPhilox, kThreefry };
  p.CheckCounts(1, 1, 2);
  p.CheckType(0, {TensorType::kUInt64});
  p.CheckOutputType(0, {TensorType::kUInt64});
  p.CheckOutputType(1, {TensorType::kInt32, TensorType::kUInt32, TensorType::kInt64, TensorType::kUInt64});
  const int8_t algorithm = p.options_2().Scalar<int8_t>(0);
  p.Check(algorithm >= kDefault && algorithm <= kThreefry, "algorithm ", int{algorithm});
  const bool threefry = algorithm == kThreefry;
  const int64_t length = p.elements(0);
  p.Check(p.shape(0).size() == 1 && (length == 2 || (length == 3 && !threefry)), "a state of shape ", ToString(p.shape(0)));
  for (const int32_t d : p.model_shape(1)) p.Check(d >= 0, "its output has a dimension that is not known");
  p.SetShape(0, p.shape(0));
  p.SetShape(1, p.model_shape(1));
  const int64_t words = p.output_elements(1) * TensorTypeBits(p.output_type(1)) / 32;
  p.Emit([=, x = p.in(0), y = p.out(0), bits = p.out(1)](RunContext& run) noexcept {
    const uint32_t* from = run.get<uint32_t>(x);
    State state{};
    std::copy_n(from, 2 * length, state.begin());
    if (length == 2) std::copy_n(from, 2, state.begin() + 4);
    if (threefry) {
      FillBits(state, run.get<uint32_t>(bits), words, Threefry);
    } else {
      FillBits(state, run.get<uint32_t>(bits), words, PhiloxBlock);
    }
    std::copy_n(state.begin(), 2 * length, run.get<uint32_t>(y));
  });
}

constexpr OpDef kOps[] = {
    {.name = "STABLEHLO_RNG_BIT_GENERATOR", .prepare = PrepareBitGenerator},
    {.name = "RANDOM_UNIFORM", .prepare = PrepareRandom<false>, .traits = kImpure},
    {.name = "RANDOM_STANDARD_NORMAL", .prepare = PrepareRandom<true>, .traits = kImpure},
    {.name = "MULTINOMIAL", .prepare = PrepareMultinomial, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> random_ops() { return kOps; }

}  // namespace sigrun::ops
