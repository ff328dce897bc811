#include "ops/support/list_item.h"

#include <cstring>

namespace sigrun::ops {
namespace {

template <class I>
void EmitSetItem(Prepare& p) {
  const size_t row = BytesOf(p.type(0), p.elements(1)), bytes = BytesOf(p.type(0), p.elements(0));
  if (p.node().inputs[0] != p.node().inputs[1]) p.MayOverwrite(0, 0);
  p.Emit([=, n = p.shape(0)[0], list = p.in(0), item = p.in(1), index = p.in(2), out = p.out(0)](RunContext& run) noexcept {
    const I at = *run.get<I>(index);
    if (at < 0 || at >= n) return run.Fail(Concat("item ", at, " of a list of ", n));
    std::byte* to = run.get<std::byte>(out);
    if (const std::byte* from = run.get<std::byte>(list); from != to) std::memcpy(to, from, bytes);
    if (row > 0) std::memcpy(to + static_cast<size_t>(at) * row, run.get<std::byte>(item), row);
  });
}

void PrepareSetItem(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  p.CheckType(2, {TensorType::kInt32, TensorType::kInt64});
  if (TensorTypeBits(p.type(0)) % 8 != 0 || p.type(0) == TensorType::kString)
    p.Refuse(StatusCode::kUnimplemented, Concat("a list of ", TensorTypeName(p.type(0))));
  Shape item = p.shape(0);
  p.Check(!item.empty() && p.elements(2) == 1, "a list of shape ", ToString(item), ", an index of shape ", ToString(p.shape(2)));
  item[0] = 1;
  p.Check(p.shape(1) == item, "an item of shape ", ToString(p.shape(1)), " for a list of shape ", ToString(p.shape(0)));
  p.SetShape(0, p.shape(0));
  p.type(2) == TensorType::kInt64 ? EmitSetItem<int64_t>(p) : EmitSetItem<int32_t>(p);
}

}  // namespace

// What stands in the file, and so in messages, is a concatenation.
const OpDef kSetListItem = {.name = "CONCATENATION", .prepare = PrepareSetItem};

}  // namespace sigrun::ops
