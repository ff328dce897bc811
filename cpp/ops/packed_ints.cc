#include <algorithm>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/gemm.h"

// Integers of 4 and 2 bits as INT8 and back: put around operators that move or convert elements, which know only whole bytes.
namespace sigrun::ops {
namespace {

void PrepareUnpack(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kInt4, TensorType::kInt2});
  p.CheckOutputType(0, {TensorType::kInt8});
  p.SetShape(0, p.shape(0));
  p.Emit([bits = TensorTypeBits(p.type(0)), n = p.elements(0), in = p.in(0), out = p.out(0)](RunContext& run) noexcept {
    UnpackInts(bits, run.get<std::byte>(in), n, run.get<int8_t>(out));
  });
}

void PreparePack(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kInt8});
  p.CheckOutputType(0, {TensorType::kInt4, TensorType::kInt2});
  p.SetShape(0, p.shape(0));
  p.Emit([bits = TensorTypeBits(p.output_type(0)), n = p.elements(0), in = p.in(0), out = p.out(0)](RunContext& run) noexcept {
    const uint8_t* x = run.get<uint8_t>(in);
    uint8_t* y = run.get<uint8_t>(out);
    const int each = 8 / bits, mask = (1 << bits) - 1;
    for (int64_t i = 0; i < n; i += each) {
      int byte = 0;
      for (int64_t k = i; k < std::min(n, i + each); ++k) byte |= (x[k] & mask) << (k - i) * bits;
      y[i / each] = static_cast<uint8_t>(byte);
    }
  });
}

constexpr OpDef kOps[] = {
    {.name = "sigrun.pack_ints", .prepare = PreparePack},
    {.name = "sigrun.unpack_ints", .prepare = PrepareUnpack},
};

}  // namespace

std::span<const OpDef> packed_ints_ops() { return kOps; }

}  // namespace sigrun::ops
