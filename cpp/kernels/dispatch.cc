#include <cstdlib>
#include <cstring>

#include "kernels/kernels.h"

namespace sigrun::kernels {
namespace {

constexpr size_t kMaxTiers = 16;

struct Tables {
  Kernels table[kMaxTiers];
  bool usable[kMaxTiers];
  size_t best = 0;
};

// One table a tier: the tier's own rows over those of every supported tier below it.
Tables Build() {
  Tables t{};
  const TierList tiers = CompiledTiers();
  Kernels table{};
  const char* cap = std::getenv("SIGRUN_MAX_ISA");
  bool capped = false;
  for (size_t i = 0; i < tiers.size && i < kMaxTiers; ++i) {
    t.usable[i] = tiers.data[i].supported();
    if (t.usable[i]) {
      tiers.data[i].overlay(table);
      table.tier = tiers.data[i].name;
      t.table[i] = table;
      if (!capped) t.best = i;
    }
    capped = capped || (cap != nullptr && std::strcmp(cap, tiers.data[i].name) == 0);
  }
  return t;
}

const Tables& AllTables() {
  static const Tables tables = Build();
  return tables;
}

}  // namespace

const Kernels& Best() { return AllTables().table[AllTables().best]; }

const Kernels* UpTo(const char* tier) {
  const TierList tiers = CompiledTiers();
  for (size_t i = 0; i < tiers.size && i < kMaxTiers; ++i) {
    if (std::strcmp(tiers.data[i].name, tier) == 0) return AllTables().usable[i] ? &AllTables().table[i] : nullptr;
  }
  return nullptr;
}

}  // namespace sigrun::kernels
