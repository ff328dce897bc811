#pragma once

// Code that is compiled once a tier lives in anonymous namespaces, and its small functions are inlined even without optimisation: an
// out-of-line copy with external linkage could be kept by the linker for all tiers and run on a machine that lacks its instructions.
#define SIGRUN_INLINE inline __attribute__((always_inline))

// The same for a lambda, which may be called more than once.
#define SIGRUN_INLINE_LAMBDA __attribute__((always_inline))

// Loops over a register tile: the bounds are constants and the tile stays in registers.
#if defined(__clang__)
#define SIGRUN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SIGRUN_UNROLL _Pragma("GCC unroll 64")
#endif
