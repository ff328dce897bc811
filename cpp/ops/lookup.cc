#include "ops/support/lookup.h"

// What chains of operators do to the elements of one 8-bit tensor, as a table of 256 bytes.
namespace sigrun::ops {
namespace {

void PrepareLookup(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.SetShape(0, p.shape(0));
  Table8 table;
  std::copy_n(p.constant(1), table.size(), reinterpret_cast<std::byte*>(table.data()));
  EmitLookup8(p, table);
}

constexpr OpDef kOps[] = {{.name = "sigrun.lookup", .prepare = PrepareLookup}};

}  // namespace

std::span<const OpDef> lookup_ops() { return kOps; }

}  // namespace sigrun::ops
