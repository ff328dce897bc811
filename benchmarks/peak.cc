#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

// What one core of this machine can do at most, as JSON: float32 multiply-adds, 8-bit dot products, and memory streams of several sizes.
// Compiled by report.py with -O3 -march=native; it shares no code with the kernels that it judges.
#if defined(__x86_64__)
#define SIGRUN_VECTOR_REGISTER "v"
#else
#define SIGRUN_VECTOR_REGISTER "w"
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
using Floats = float __attribute__((vector_size(kBytes)));
using Words = int32_t __attribute__((vector_size(kBytes)));
constexpr int kChains = 12;  // independent sums: more than a multiply-add's latency times its units
constexpr int kSteps = 1 << 14;

template <class F>
double Best(const F& run) {
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::max();
  for (const auto end = Clock::now() + std::chrono::milliseconds(200); Clock::now() < end;) {
    const auto start = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// kChain sums side by side, each in a register: an array that is indexed by a loop would stay in memory.
template <class V, class F, size_t... kChain>
void Advance(V (&sum)[kChains], const F& step, std::index_sequence<kChain...>) {
  V s[kChains] = {sum[kChain]...};
  for (int n = 0; n < kSteps; ++n) {
    ((s[kChain] = step(s[kChain])), ...);
    asm volatile("");
  }
  ((sum[kChain] = s[kChain]), ...);
}

template <class V, class F>
double OperationsPerSecond(double operations, const F& step) {
  V sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = V{} + static_cast<decltype(V{}[0] + 0)>(i);
  const double seconds = Best([&] { Advance(sum, step, std::make_index_sequence<kChains>()); });
  for (V& s : sum) asm volatile("" : "+" SIGRUN_VECTOR_REGISTER(s));
  return operations * kChains * kSteps / seconds;
}

double FloatOperations() {
  Floats a = {}, b = {};
  a += 0.999f;
  b += 0.001f;
  asm volatile("" : "+" SIGRUN_VECTOR_REGISTER(a), "+" SIGRUN_VECTOR_REGISTER(b));
  return OperationsPerSecond<Floats>(2.0 * kBytes / sizeof(float), [&](Floats s) { return s * a + b; });
}

// The widest 8-bit dot product that the baseline of this machine has.
double ByteOperations() {
  Words x = {};
  x += 0x01020304;
  asm volatile("" : "+" SIGRUN_VECTOR_REGISTER(x));
  const double operations = 2.0 * kBytes;
#if defined(__AVX512VNNI__)
  return OperationsPerSecond<Words>(operations, [&](Words s) { return (Words)_mm512_dpbusd_epi32((__m512i)s, (__m512i)x, (__m512i)x); });
#elif defined(__AVXVNNI__)
  return OperationsPerSecond<Words>(operations,
                                    [&](Words s) { return (Words)_mm256_dpbusd_avx_epi32((__m256i)s, (__m256i)x, (__m256i)x); });
#elif defined(__AVX2__)
  return OperationsPerSecond<Words>(operations / 2, [&](Words s) { return s + (Words)_mm256_madd_epi16((__m256i)s, (__m256i)x); });
#elif defined(__ARM_FEATURE_DOTPROD)
  return OperationsPerSecond<Words>(operations, [&](Words s) { return (Words)vdotq_s32((int32x4_t)s, (int8x16_t)x, (int8x16_t)x); });
#else
  return OperationsPerSecond<Words>(operations / 4, [&](Words s) { return s * x + x; });
#endif
}

// Bytes a second of y = x + 1 where x and y together take `bytes`: what an elementwise operator can hope for.
double StreamBytes(size_t bytes) {
  const size_t n = bytes / 2 / sizeof(float);
  std::vector<float> x(n, 1.0f), y(n, 0.0f);
  const size_t repeats = std::max<size_t>(1, (size_t{1} << 22) / bytes);
  const double seconds = Best([&] {
    for (size_t r = 0; r < repeats; ++r) {
      const float* from = x.data();
      float* to = y.data();
      asm volatile("" : "+r"(from), "+r"(to) : : "memory");
      for (size_t i = 0; i < n; ++i) to[i] = from[i] + 1.0f;
    }
  });
  return static_cast<double>(n * 2 * sizeof(float) * repeats) / seconds;
}

// Bytes a second of a sum over `bytes`: weights are only read.
double ReadBytes(size_t bytes) {
  constexpr size_t kVectors = 8;
  const std::vector<float> x(bytes / sizeof(float), 1.0f);
  const size_t repeats = std::max<size_t>(1, (size_t{1} << 22) / bytes);
  const double seconds = Best([&] {
    for (size_t r = 0; r < repeats; ++r) {
      const float* from = x.data();
      asm volatile("" : "+r"(from) : : "memory");
      Floats sum[kVectors] = {};
      for (size_t i = 0; i + kVectors * kBytes <= bytes; i += kVectors * kBytes) {
        for (size_t v = 0; v < kVectors; ++v) {
          Floats loaded;
          std::memcpy(&loaded, reinterpret_cast<const char*>(from) + i + v * kBytes, kBytes);
          sum[v] += loaded;
        }
      }
      for (Floats& s : sum) asm volatile("" : "+" SIGRUN_VECTOR_REGISTER(s));
    }
  });
  return static_cast<double>(bytes * repeats) / seconds;
}

void PrintStreams(const char* name, double (*measure)(size_t)) {
  std::printf(", \"%s\": [", name);
  const char* separator = "";
  for (const size_t bytes : {size_t{16} << 10, size_t{256} << 10, size_t{4} << 20, size_t{64} << 20}) {
    std::printf("%s[%zu, %.4g]", separator, bytes, measure(bytes));
    separator = ", ";
  }
  std::printf("]");
}

}  // namespace

int main() {
  std::printf("{\"float_operations\": %.4g, \"byte_operations\": %.4g", FloatOperations(), ByteOperations());
  PrintStreams("streams", StreamBytes);
  PrintStreams("reads", ReadBytes);
  std::printf("}\n");
}
