#include "kernels/cpu_features.h"
#include "kernels/kernels.h"
#include "sigrun/interpreter.h"

namespace sigrun {

BuildInfo GetBuildInfo() {
  BuildInfo info;
  info.version = SIGRUN_VERSION;
#if defined(__clang__)
  info.compiler = "clang " __clang_version__;
#else
  info.compiler = "gcc " __VERSION__;
#endif
  const kernels::TierList tiers = kernels::CompiledTiers();
  for (size_t i = 0; i < tiers.size; ++i) {
    info.compiled_tiers.push_back(tiers.data[i].name);
    if (tiers.data[i].supported()) info.supported_tiers.push_back(tiers.data[i].name);
  }
  info.cpu_features = kernels::DetectedFeatures();
  info.tier_in_use = kernels::Best().tier;
  const int32_t parts = kernels::Best().bf16_parts;
  info.precisions = {{"highest", parts >= 3 ? "bfloat16x6" : "float32"},
                     {"high", parts >= 2 ? "bfloat16x3" : "float32"},
                     {"medium", parts >= 1 ? "bfloat16" : "float32"}};
  return info;
}

}  // namespace sigrun
