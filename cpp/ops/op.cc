#include "ops/op.h"

#include <algorithm>
#include <mutex>

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

// Never destroyed: what is registered may belong to a language whose runtime ends before static objects do.
struct CustomOps {
  std::mutex mutex;
  std::vector<std::shared_ptr<const OpDef>> all;
};
CustomOps& Customs() {
  static CustomOps& customs = *new CustomOps;
  return customs;
}

}  // namespace

void RegisterCustomOp(std::shared_ptr<const OpDef> op) {
  CustomOps& customs = Customs();
  const std::lock_guard lock(customs.mutex);
  customs.all.push_back(std::move(op));
}

const OpDef* FindCustomOp(std::string_view name) {
  CustomOps& customs = Customs();
  const std::lock_guard lock(customs.mutex);
  const auto at = std::find_if(customs.all.rbegin(), customs.all.rend(), [&](const auto& op) { return op->name == name; });
  return at == customs.all.rend() ? nullptr : at->get();
}

const OpDef* FindOp(std::string_view name) {
  const auto& all = Sorted();
  const auto at = std::lower_bound(all.begin(), all.end(), name, [](const OpDef* op, std::string_view n) { return op->name < n; });
  return at != all.end() && (*at)->name == name ? *at : nullptr;
}

}  // namespace sigrun::ops
