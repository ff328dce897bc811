#include "kernels/cpu_features.h"

#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace sigrun::kernels {
namespace {

struct FeatureName {
  uint32_t feature;
  const char* name;
};

constexpr FeatureName kNames[] = {
    {kSse42, "sse4_2"},
    {kAvx2, "avx2"},
    {kFma, "fma"},
    {kF16c, "f16c"},
    {kAvx512F, "avx512f"},
    {kAvx512Bw, "avx512bw"},
    {kAvx512Dq, "avx512dq"},
    {kAvx512Vl, "avx512vl"},
    {kAvx512Vnni, "avx512_vnni"},
    {kAvx512Bf16, "avx512_bf16"},
    {kAvxVnni, "avx_vnni"},
    {kAmxTile, "amx_tile"},
    {kAmxInt8, "amx_int8"},
    {kAmxBf16, "amx_bf16"},
    {kNeon, "asimd"},
    {kFp16, "asimdhp"},
    {kDotprod, "asimddp"},
    {kI8mm, "i8mm"},
    {kBf16, "bf16"},
    {kSve, "sve"},
};

#if defined(__x86_64__) || defined(__i386__)

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// All zeros where the processor has no such leaf.
Registers CpuId(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// XCR0: which register files the operating system saves. XGETBV is written out because its intrinsic needs a target flag.
uint64_t EnabledState() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux lets a process use the tile registers only after it asked for them: for all its threads, those to come included. It refuses where
// it does not know them, and where a thread's alternate signal stack is too small for them. A sandbox may answer without doing anything, so
// that the permission is read back.
bool MayUseTiles() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long kGetPermission = 0x1022, kRequestPermission = 0x1023, kTileData = 18;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) return false;
  unsigned long permitted = 0;
  return syscall(SYS_arch_prctl, kGetPermission, &permitted) == 0 && ((permitted >> kTileData) & 1u) != 0;
#else
  return false;
#endif
}

uint32_t Detect() {
  const Registers basic = CpuId(1, 0);
  const Registers extended = CpuId(7, 0);
  const Registers more = extended.eax >= 1 ? CpuId(7, 1) : Registers{};
  uint32_t found = 0;
  const auto add = [&found](uint32_t word, int bit, uint32_t feature) {
    if ((word >> bit) & 1u) found |= feature;
  };
  add(basic.ecx, 20, kSse42);
  const bool os_saves = ((basic.ecx >> 27) & 1u) != 0;
  const uint64_t state = os_saves ? EnabledState() : 0;
  constexpr uint64_t kAvxState = 0x6, kAvx512State = 0xe6, kAmxState = 0x60000;
  if ((state & kAvxState) == kAvxState) {
    add(extended.ebx, 5, kAvx2);
    add(basic.ecx, 12, kFma);
    add(basic.ecx, 29, kF16c);
    add(more.eax, 4, kAvxVnni);
  }
  if ((state & kAvx512State) == kAvx512State) {
    add(extended.ebx, 16, kAvx512F);
    add(extended.ebx, 17, kAvx512Dq);
    add(extended.ebx, 30, kAvx512Bw);
    add(extended.ebx, 31, kAvx512Vl);
    add(extended.ecx, 11, kAvx512Vnni);
    add(more.eax, 5, kAvx512Bf16);
  }
  // Intel's cores with tiles take four operations and two cycles for a vdpbf16ps, of which they begin two FMAs in one.
  constexpr uint32_t kGenuineIntel = 0x756e6547;  // the first letters
  if (CpuId(0, 0).ebx == kGenuineIntel) {
    found |= kFewVectorPorts;
    add(extended.edx, 24, kSlowBf16);
  }
  if ((state & kAmxState) == kAmxState && MayUseTiles()) {
    add(extended.edx, 22, kAmxBf16);
    add(extended.edx, 24, kAmxTile);
    add(extended.edx, 25, kAmxInt8);
  }
  return found;
}

#elif defined(__aarch64__) && defined(__linux__)

// The kernel's bits by number: older C libraries do not name them all.
uint32_t Detect() {
  const unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
  uint32_t found = kNeon;
  const auto add = [&found](unsigned long word, int bit, uint32_t feature) {
    if ((word >> bit) & 1u) found |= feature;
  };
  add(hwcap, 10, kFp16);
  add(hwcap, 20, kDotprod);
  add(hwcap, 22, kSve);
  add(hwcap2, 13, kI8mm);
  add(hwcap2, 14, kBf16);
  return found;
}

#elif defined(__aarch64__)
uint32_t Detect() { return kNeon; }
#else
uint32_t Detect() { return 0; }
#endif

uint32_t Features() {
  static const uint32_t features = Detect();
  return features;
}

size_t CacheSize(int name, size_t otherwise) {
  const long size = name >= 0 ? sysconf(name) : 0;
  return size > 0 ? static_cast<size_t>(size) : otherwise;
}

}  // namespace

bool CpuHas(uint32_t features) { return (features & ~Features()) == 0; }

std::vector<std::string> DetectedFeatures() {
  std::vector<std::string> names;
  for (const FeatureName& f : kNames) {
    if (CpuHas(f.feature)) names.emplace_back(f.name);
  }
  return names;
}

CacheSizes DetectedCaches() {
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
  const int l1d = _SC_LEVEL1_DCACHE_SIZE, l2 = _SC_LEVEL2_CACHE_SIZE;
#else
  const int l1d = -1, l2 = -1;
#endif
  return {CacheSize(l1d, 32 << 10), CacheSize(l2, 512 << 10)};
}

}  // namespace sigrun::kernels
