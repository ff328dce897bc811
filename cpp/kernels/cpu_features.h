#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// What the processor and the operating system together offer. Detected once; safe from any thread and before main.
namespace sigrun::kernels {

/// Bits of a set of instruction-set features.
enum CpuFeature : uint32_t {
  kSse42 = 1u << 0,
  kAvx2 = 1u << 1,
  kFma = 1u << 2,
  kF16c = 1u << 3,
  kAvx512F = 1u << 4,
  kAvx512Bw = 1u << 5,
  kAvx512Dq = 1u << 6,
  kAvx512Vl = 1u << 7,
  kAvx512Vnni = 1u << 8,
  kAvx512Bf16 = 1u << 9,
  kAvxVnni = 1u << 10,
  kAmxTile = 1u << 11,
  kAmxInt8 = 1u << 12,
  kAmxBf16 = 1u << 13,
  kNeon = 1u << 16,
  kFp16 = 1u << 17,
  kDotprod = 1u << 18,
  kI8mm = 1u << 19,
  kBf16 = 1u << 20,
  kSve = 1u << 21,
  kSlowBf16 = 1u << 22,        // vdpbf16ps does no more products a cycle than an FMA
  kFewVectorPorts = 1u << 23,  // dot products of 512 bits take all ports that other operations on them have
};

/// True if this machine has every feature of the set; features whose registers the operating system does not save count as absent.
bool CpuHas(uint32_t features);

/// The names of the detected features, as /proc/cpuinfo spells them.
std::vector<std::string> DetectedFeatures();

/// Bytes of one core's caches, or the usual 32 KiB and 512 KiB where the system does not say.
struct CacheSizes {
  size_t l1d;
  size_t l2;
};
CacheSizes DetectedCaches();

}  // namespace sigrun::kernels
