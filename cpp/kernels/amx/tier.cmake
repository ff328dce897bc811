# gcc 12 takes the undefined pass-through operands of its own AVX-512 intrinsics for uninitialised variables. The tile instructions are
# written in assembly and need no flag.
sigrun_tier(ORDER 50 PROCESSORS "x86_64|AMD64" FLAGS "-mavx512bf16;-mavx512vnni;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx2;-mfma;-mf16c;$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>")
