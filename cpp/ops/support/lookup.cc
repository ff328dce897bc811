#include "ops/support/lookup.h"

#include <algorithm>

#include "ops/support/affine.h"
#include "ops/support/elements.h"
#include "ops/support/quantization.h"

namespace sigrun::ops {

Table8 MakeRealTable8(const Prepare& p, float (*f)(float)) {
  const Prepare::Affine in = InputAffine(p, 0);
  const Prepare::Affine out = OutputAffine(p, 0);
  const QuantizedRange range = TypeRange(p.output_type(0));
  const float inverse_scale = 1 / out.scale;
  return MakeTable8(p.type(0), [&](int32_t value) {
    const float real = f(in.scale * static_cast<float>(value - in.zero_point));
    const float scaled = std::round(real * inverse_scale);
    return std::clamp(RoundToInt(scaled + static_cast<float>(out.zero_point)), range.min, range.max);
  });
}

void EmitLookup8(Prepare& p, const Table8& table) {
  p.MayOverwrite(0, 0);
  p.Emit([table, n = p.elements(0), kernel = p.kernels().lookup_8, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const uint8_t* from = run.get<uint8_t>(x);
    uint8_t* to = run.get<uint8_t>(y);
    ForElements(run, n, 1,
                [&](int64_t begin, int64_t count) { kernel(from + begin, table.data(), to + begin, static_cast<size_t>(count)); });
  });
}

void EmitPieces16(Prepare& p, const kernels::Pieces16& pieces) {
  p.MayOverwrite(0, 0);
  p.Emit([pieces, n = p.elements(0), kernel = p.kernels().pieces_16, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const int16_t* from = run.get<int16_t>(x);
    int16_t* to = run.get<int16_t>(y);
    ForElements(run, n, 4, [&](int64_t begin, int64_t count) { kernel(from + begin, to + begin, static_cast<size_t>(count), pieces); });
  });
}

kernels::Pieces16 MakePieces16(const Table16& table) {
  kernels::Pieces16 pieces{.bias = 1 << 15, .bits = 7, .last = 511, .right = 7};
  for (size_t i = 0; i < 512; ++i) {
    pieces.offset[i] = table[i] * (1 << 7) + (1 << 6);
    pieces.slope[i] = static_cast<int16_t>(table[i + 1] - table[i]);  // wraps, as the reference's does
  }
  return pieces;
}

void EmitLookup16(Prepare& p, const Table16& table) { EmitPieces16(p, MakePieces16(table)); }

}  // namespace sigrun::ops
