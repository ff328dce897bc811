#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "graph/graph.h"
#include "kernels/kernels.h"

// sigrun_precision: errors of the products of two random matrices against float64, for each way of computing them, on every tier that this
// machine has and that does it in its own way. An error is relative to the root mean square of the results.
namespace {

using namespace sigrun::kernels;
using sigrun::AlignedBytes;

constexpr int32_t kRows = 64, kColumns = 64;

std::vector<float> Normal(size_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> draw;
  std::vector<float> values(n);
  for (float& v : values) v = draw(engine);
  return values;
}

struct Product {
  int32_t k;
  std::vector<float> a, b;  // rows of k
  std::vector<double> exact;
  explicit Product(int32_t depth)
      : k(depth), a(Normal(static_cast<size_t>(kRows * k), 1)), b(Normal(static_cast<size_t>(kColumns * k), 2)) {
    for (int32_t i = 0; i < kRows * kColumns; ++i) {
      double sum = 0;
      for (int32_t j = 0; j < k; ++j) {
        sum += static_cast<double>(a[static_cast<size_t>(i / kColumns * k + j)]) *
               static_cast<double>(b[static_cast<size_t>(i % kColumns * k + j)]);
      }
      exact.push_back(sum);
    }
  }
};

// parts: those of bfloat16, or 0 for float32.
std::vector<float> Multiply(const Kernels& kernels, const Product& p, int32_t parts) {
  const ConvShape s = ConvShape::MatMul(kRows, p.k, kColumns);
  std::vector<float> output(static_cast<size_t>(kRows * kColumns));
  const WeightView<float> weights = {p.b.data(), p.k, 1};
  if (parts == 0) {
    const AlignedBytes packed(kernels.pack_f32_bytes(p.k, kColumns));
    kernels.pack_f32(p.k, kColumns, weights, nullptr, packed.data());
    kernels.conv_f32(s, p.a.data(), packed.data(), output.data(), {}, {0, kRows});
  } else {
    const AlignedBytes packed(kernels.pack_bf16_bytes(p.k, kColumns, parts)), scratch(kernels.conv_bf16_scratch_bytes(s, parts));
    kernels.pack_bf16(p.k, kColumns, parts, weights, nullptr, packed.data());
    kernels.conv_bf16(s, parts, {}, p.a.data(), packed.data(), output.data(), {}, scratch.data(), {0, kRows});
  }
  return output;
}

void PrintErrors(const char* tier, const char* name, const Product& p, const std::vector<float>& output) {
  double worst = 0, squares = 0, magnitude = 0;
  for (size_t i = 0; i < output.size(); ++i) {
    const double error = std::abs(static_cast<double>(output[i]) - p.exact[i]);
    worst = std::fmax(worst, error);
    squares += error * error;
    magnitude += p.exact[i] * p.exact[i];
  }
  const double scale = std::sqrt(magnitude / static_cast<double>(output.size()));
  std::printf("| %-12s | %-10s | %5d | %7.1e | %7.1e |\n", tier, name, p.k, worst / scale,
              std::sqrt(squares / static_cast<double>(output.size())) / scale);
}

}  // namespace

int main() {
  std::printf("| tier         | products   |     k |     max |     rms |\n|---|---|---:|---:|---:|\n");
  const TierList compiled = CompiledTiers();
  for (const int32_t k : {64, 576, 4608}) {
    const Product p(k);
    const Kernels* below = nullptr;
    for (size_t i = 0; i < compiled.size; ++i) {
      const Kernels* kernels = UpTo(compiled.data[i].name);
      if (kernels == nullptr) continue;
      if (below == nullptr || kernels->conv_f32 != below->conv_f32) PrintErrors(kernels->tier, "float32", p, Multiply(*kernels, p, 0));
      if (below != nullptr && kernels->conv_bf16 != below->conv_bf16) {
        if (kernels->bf16_parts == 3) PrintErrors(kernels->tier, "bfloat16x6", p, Multiply(*kernels, p, 3));
        PrintErrors(kernels->tier, "bfloat16x3", p, Multiply(*kernels, p, 2));
        PrintErrors(kernels->tier, "bfloat16", p, Multiply(*kernels, p, 1));
      }
      if (!compiled.data[i].standin) below = kernels;
    }
  }
}
