#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/kernels.h"

// What every kernel test shares: the tiers this machine can run, reproducible data, and memory aligned as packed weights are.
namespace sigrun::kernels {

inline const Kernels& Scalar() { return *UpTo("scalar"); }

/// The tables of all compiled tiers above scalar that this machine supports, lowest first.
inline std::vector<const Kernels*> TiersToTest() {
  std::vector<const Kernels*> tables;
  const TierList tiers = CompiledTiers();
  for (size_t i = 1; i < tiers.size; ++i) {
    if (const Kernels* table = UpTo(tiers.data[i].name)) tables.push_back(table);
  }
  return tables;
}

/// The scalar table and those above it: for properties that every table must have by itself.
inline std::vector<const Kernels*> AllTiers() {
  std::vector<const Kernels*> tables = TiersToTest();
  tables.insert(tables.begin(), &Scalar());
  return tables;
}

/// Uniform in [low, high), the same on every machine for a given seed.
inline std::vector<float> RandomFloats(size_t n, uint32_t seed, float low = -1.0f, float high = 1.0f) {
  std::mt19937 engine(seed);
  std::vector<float> values(n);
  for (float& v : values) v = low + (high - low) * (static_cast<float>(engine() >> 8) * 0x1p-24f);
  return values;
}

/// Uniform in [low, high], both included.
template <class T>
std::vector<T> RandomInts(size_t n, uint32_t seed, int64_t low = std::numeric_limits<T>::min(),
                          int64_t high = std::numeric_limits<T>::max()) {
  std::mt19937_64 engine(seed);
  std::vector<T> values(n);
  for (T& v : values) v = static_cast<T>(low + static_cast<int64_t>(engine() % (static_cast<uint64_t>(high - low) + 1)));
  return values;
}

/// Uninitialised bytes aligned to 64; the size is exact, so that an address sanitizer sees an overrun.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t size) : data_(static_cast<std::byte*>(::operator new(size, kAlignment))) {}
  std::byte* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

/// Cuts [0, n) into ranges of unequal length, to show that results do not depend on the cut.
inline std::vector<Range> UnevenRanges(int32_t n) {
  std::vector<Range> ranges;
  for (int32_t begin = 0, step = 1; begin < n; step = step % 17 + 3) {
    const int32_t end = begin + step < n ? begin + step : n;
    ranges.push_back({begin, end});
    begin = end;
  }
  return ranges;
}

}  // namespace sigrun::kernels
