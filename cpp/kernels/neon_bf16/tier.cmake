# As in the neon tier: tiles of depthwise windows take all 32 registers, and would spill.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(flags -fno-schedule-insns -fira-region=all -fno-tree-ter)
endif()
sigrun_tier(ORDER 40 PROCESSORS "aarch64|arm64" FLAGS -march=armv8.2-a+bf16 ${flags})
