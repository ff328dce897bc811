# The loops of the amx tier over a tile unit in software. For tests alone, and used only if SIGRUN_MAX_ISA names it.
if(SIGRUN_BUILD_TESTS)
  sigrun_tier(STANDIN ORDER 60 PROCESSORS "x86_64|AMD64" FLAGS "-mavx2;-mfma;-mf16c")
endif()
