#include "ops/op.h"

#include <algorithm>

namespace sigrun::ops {
namespace {

// All operators, sorted by name.
const std::vector<const OpDef*>& Sorted() {
  static const std::vector<const OpDef*> sorted = [] {
    std::vector<const OpDef*> all;
    for (const OpFamily family : OpFamilies()) {
      for (const OpDef& op : family()) all.push_back(&op);
    }
    std::sort(all.begin(), all.end(), [](const OpDef* a, const OpDef* b) { return std::string_view(a->name) < b->name; });
    return all;
  }();
  return sorted;
}

}  // namespace

const OpDef* FindOp(std::string_view name) {
  const auto& all = Sorted();
  const auto at = std::lower_bound(all.begin(), all.end(), name, [](const OpDef* op, std::string_view n) { return op->name < n; });
  return at != all.end() && (*at)->name == name ? *at : nullptr;
}

}  // namespace sigrun::ops
