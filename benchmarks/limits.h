#pragma once

#include <cstdint>

// Loops of nothing but the instruction that a kind of product is made of, on registers: what one core can do at most. They share no code
// with the kernels that are judged by them, and are written as text, so that this file needs no flags of an instruction set.
namespace sigrun::benchmarks {

inline constexpr int64_t kLimitSteps = 1 << 12;
inline constexpr int kLimitChains = 12;  // independent sums: at least the latency of an instruction times its units

#if defined(__x86_64__) && defined(__GNUC__)
#define SIGRUN_CHAIN(instruction, reg, i) instruction " %%" reg "12, %%" reg "13, %%" reg #i "\n"
#define SIGRUN_LIMIT(name, instruction, reg)                                                                                               \
  inline void name() {                                                                                                                     \
    int64_t n = kLimitSteps;                                                                                                               \
    asm volatile(                                                                                                                          \
        "vzeroall\n1:\n" SIGRUN_CHAIN(instruction, reg, 0) SIGRUN_CHAIN(instruction, reg, 1) SIGRUN_CHAIN(instruction, reg, 2)             \
            SIGRUN_CHAIN(instruction, reg, 3) SIGRUN_CHAIN(instruction, reg, 4) SIGRUN_CHAIN(instruction, reg, 5) SIGRUN_CHAIN(            \
                instruction, reg, 6) SIGRUN_CHAIN(instruction, reg, 7) SIGRUN_CHAIN(instruction, reg, 8) SIGRUN_CHAIN(instruction, reg, 9) \
                SIGRUN_CHAIN(instruction, reg, 10) SIGRUN_CHAIN(instruction, reg, 11) "dec %0\njnz 1b\nvzeroupper\n"                       \
        : "+r"(n)                                                                                                                          \
        :                                                                                                                                  \
        : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");       \
  }
SIGRUN_LIMIT(FmaYmm, "vfmadd231ps", "ymm")
SIGRUN_LIMIT(FmaZmm, "vfmadd231ps", "zmm")
SIGRUN_LIMIT(DotI8Ymm, "%{vex%} vpdpbusd", "ymm")
SIGRUN_LIMIT(DotI8Zmm, "vpdpbusd", "zmm")
SIGRUN_LIMIT(DotBf16Zmm, "vdpbf16ps", "zmm")
#undef SIGRUN_LIMIT
#undef SIGRUN_CHAIN
#elif defined(__aarch64__) && defined(__GNUC__)
#define SIGRUN_LIMIT(name, architecture, instruction, from)                                                                             \
  inline void name() {                                                                                                                  \
    int64_t n = kLimitSteps;                                                                                                            \
    asm volatile(architecture "movi v30.16b, #0\nmovi v31.16b, #0\n1:\n" instruction " v0.4s, v30." from ", v31." from "\n" instruction \
                              " v1.4s, v30." from ", v31." from "\n" instruction " v2.4s, v30." from ", v31." from "\n" instruction     \
                              " v3.4s, v30." from ", v31." from "\n" instruction " v4.4s, v30." from ", v31." from "\n" instruction     \
                              " v5.4s, v30." from ", v31." from "\n" instruction " v6.4s, v30." from ", v31." from "\n" instruction     \
                              " v7.4s, v30." from ", v31." from "\n" instruction " v16.4s, v30." from ", v31." from "\n" instruction    \
                              " v17.4s, v30." from ", v31." from "\n" instruction " v18.4s, v30." from ", v31." from "\n" instruction   \
                              " v19.4s, v30." from ", v31." from "\nsubs %0, %0, #1\nb.ne 1b\n"                                         \
                 : "+r"(n)                                                                                                              \
                 :                                                                                                                      \
                 : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v30", "v31");                     \
  }
SIGRUN_LIMIT(FmaNeon, "", "fmla", "4s")
SIGRUN_LIMIT(DotI8Neon, ".arch armv8.2-a+dotprod\n", "sdot", "16b")
#undef SIGRUN_LIMIT
#endif

enum class Product : uint8_t { kF32, kBf16, kI8 };

/// A loop that only machines of this tier can run: kLimitSteps * kLimitChains instructions of so many operations.
struct Limit {
  Product product;
  const char* tier;
  double operations;
  void (*run)();
};

inline constexpr Limit kLimits[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    {Product::kF32, "avx2", 16, FmaYmm},
    {Product::kI8, "avx_vnni", 64, DotI8Ymm},
    {Product::kF32, "avx512", 32, FmaZmm},
    {Product::kI8, "avx512_vnni", 128, DotI8Zmm},
    {Product::kBf16, "avx512_bf16", 64, DotBf16Zmm},
#elif defined(__aarch64__) && defined(__GNUC__)
    {Product::kF32, "neon", 8, FmaNeon},
    {Product::kI8, "neon_dotprod", 32, DotI8Neon},
#endif
    {Product::kF32, "", 0, nullptr},
};

}  // namespace sigrun::benchmarks
