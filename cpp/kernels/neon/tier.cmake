# A tile takes all 32 registers: what GCC schedules before it has assigned them costs moves, and so
# does an assignment loop by loop; loads that wait for a free place in an expression come too late.
# What is scheduled afterwards needs registers of other names: Cortex-A55 takes up to half the time.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(flags -fno-schedule-insns -fira-region=all -fno-tree-ter -frename-registers)
endif()
sigrun_tier(ORDER 10 PROCESSORS "aarch64|arm64" FLAGS "${flags}")
