# An ISA tier is a folder of cpp/kernels with a tier.cmake that calls sigrun_tier(). This module collects them, compiles each folder with its
# own flags, and writes the list of tiers, lowest first, that kernels/dispatch.cc reads.

# sigrun_tier(ORDER n PROCESSORS regex FLAGS ... [STANDIN]): called from kernels/<tier>/tier.cmake. STANDIN: see Tier in kernels.h.
function(sigrun_tier)
  cmake_parse_arguments(TIER "STANDIN" "ORDER;PROCESSORS" "FLAGS" ${ARGN})
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "${TIER_PROCESSORS}")
    return()
  endif()
  get_filename_component(name ${CMAKE_CURRENT_LIST_DIR} NAME)
  if(SIGRUN_TIERS AND NOT name IN_LIST SIGRUN_TIERS)
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY SIGRUN_TIERS "${TIER_ORDER}:${TIER_STANDIN}:${name}")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
  target_sources(sigrun_core PRIVATE ${sources})
  # The probe runs on every machine, so it alone keeps the baseline flags.
  list(FILTER sources EXCLUDE REGEX "/probe\\.cc$")
  set_source_files_properties(${sources} TARGET_DIRECTORY sigrun_core PROPERTIES COMPILE_OPTIONS "${TIER_FLAGS};-ffp-contract=off;-fno-math-errno;-fno-trapping-math;-fno-lto")
endfunction()

# Writes OUTPUT: the declarations of every tier and the table of them.
function(sigrun_write_tier_list output)
  get_property(tiers GLOBAL PROPERTY SIGRUN_TIERS)
  list(SORT tiers COMPARE NATURAL)
  set(declarations "")
  set(rows "")
  foreach(tier ${tiers})
    string(REGEX REPLACE "^.*:" "" name ${tier})
    string(REGEX REPLACE "^.*:(.*):.*" "\\1" standin ${tier})
    string(TOLOWER ${standin} standin)
    string(APPEND declarations "namespace ${name} {\nbool Supported();\nvoid Overlay(Kernels& table);\n}\n")
    string(APPEND rows "    {\"${name}\", ${name}::Supported, ${name}::Overlay, ${standin}},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${output} CONTENT
"#include \"kernels/kernels.h\"

namespace sigrun::kernels {
@declarations@
namespace {
constexpr Tier kTiers[] = {
@rows@};
}
TierList CompiledTiers() { return {kTiers, sizeof(kTiers) / sizeof(kTiers[0])}; }
}  // namespace sigrun::kernels
" @ONLY)
endfunction()
