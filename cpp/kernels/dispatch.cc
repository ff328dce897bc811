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
    const Tier& tier = tiers.data[i];
    const bool named = cap != nullptr && std::strcmp(cap, tier.name) == 0;
    t.usable[i] = tier.supported();
    if (t.usable[i]) {
      t.table[i] = table;
      tier.overlay(t.table[i]);
      t.table[i].tier = tier.name;
      if (!tier.standin) table = t.table[i];
      if (!capped && (!tier.standin || named)) t.best = i;
    }
    capped = capped || named;
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
