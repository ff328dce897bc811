#include "ops/support/strided_copy.h"

#include <cstring>
#include <vector>

namespace sigrun::ops {
namespace {

// Puts a loop along which the input is consecutive next to the innermost one, where CopyTile finds it: the order of the outer loops is
// free.
void PairForTiles(StridedCopy& copy) {
  if (copy.loops < 3 || copy.loop[copy.loops - 1].from == 1) return;
  for (int d = 0; d < copy.loops - 2; ++d) {
    if (copy.loop[d].from != 1) continue;
    std::swap(copy.loop[d], copy.loop[copy.loops - 2]);
    return;
  }
}

using Words = uint32_t __attribute__((vector_size(16)));

Words LoadWords(const uint32_t* p) {
  Words w;
  std::memcpy(&w, p, sizeof(w));
  return w;
}

// Four runs of the input become four runs of the output.
void TransposeFour(const uint32_t* from, int64_t from_stride, uint32_t* to, int64_t to_stride) {
  const Words a = LoadWords(from), b = LoadWords(from + from_stride), c = LoadWords(from + 2 * from_stride),
              d = LoadWords(from + 3 * from_stride);
  const Words ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Words cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const Words rows[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                         __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  for (int64_t i = 0; i < 4; ++i) std::memcpy(to + i * to_stride, &rows[i], sizeof(rows[i]));
}

// Three planes become pixels: images as some frameworks lay them out. Returns how many pixels it has written, a multiple of 4.
int64_t InterleaveThree(const uint32_t* from, int64_t plane, uint32_t* to, int64_t pixels) {
  int64_t i = 0;
  for (; i + 4 <= pixels; i += 4) {
    const Words a = LoadWords(from + i), b = LoadWords(from + plane + i), c = LoadWords(from + 2 * plane + i);
    const Words ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Words ca = __builtin_shufflevector(c, a, 0, 5, 2, 7), bc = __builtin_shufflevector(b, c, 1, 5, 3, 7);
    const Words out[3] = {__builtin_shufflevector(ab_low, ca, 0, 1, 4, 5), __builtin_shufflevector(bc, ab_high, 0, 1, 4, 5),
                          __builtin_shufflevector(ca, bc, 2, 3, 6, 7)};
    std::memcpy(to + 3 * i, out, sizeof(out));
  }
  return i;
}

}  // namespace

void TransposeWords(const void* from, void* to, const CopyLoop& rows, const CopyLoop& columns) {
  constexpr int64_t kSide = 16;  // elements of a cache line
  const uint32_t* x = static_cast<const uint32_t*>(from);
  uint32_t* y = static_cast<uint32_t*>(to);
  if (columns.extent == 3 && rows.to == 3) {
    const int64_t done = InterleaveThree(x, columns.from, y, rows.extent);
    for (int64_t r = done; r < rows.extent; ++r) {
      for (int64_t c = 0; c < 3; ++c) y[r * 3 + c] = x[c * columns.from + r];
    }
    return;
  }
  const int64_t whole_rows = rows.extent / 4 * 4, whole_columns = columns.extent / 4 * 4;
  for (int64_t r0 = 0; r0 < whole_rows; r0 += kSide) {
    const int64_t r1 = std::min(whole_rows, r0 + kSide);
    for (int64_t c = 0; c < whole_columns; c += 4) {
      for (int64_t r = r0; r < r1; r += 4) TransposeFour(x + c * columns.from + r, columns.from, y + r * rows.to + c, rows.to);
    }
  }
  // What is left, along the longer side: the last columns, and the last rows of the others.
  for (int64_t c = whole_columns; c < columns.extent; ++c) {
    for (int64_t r = 0; r < rows.extent; ++r) y[r * rows.to + c] = x[c * columns.from + r];
  }
  for (int64_t r = whole_rows; r < rows.extent; ++r) {
    for (int64_t c = 0; c < whole_columns; ++c) y[r * rows.to + c] = x[c * columns.from + r];
  }
}

std::vector<int64_t> DenseStrides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

StridedCopy PlanCopy(const Prepare& p, std::span<const CopyLoop> loops, int64_t from, int64_t to) {
  StridedCopy copy;
  copy.from = from;
  copy.to = to;
  std::vector<CopyLoop> kept;
  for (const CopyLoop& loop : loops) {
    if (loop.extent == 0) copy.empty = true;
    if (loop.extent == 1) continue;
    const bool joins = !kept.empty() && kept.back().from == loop.from * loop.extent && kept.back().to == loop.to * loop.extent;
    if (joins) {
      kept.back() = {kept.back().extent * loop.extent, loop.from, loop.to};
    } else {
      kept.push_back(loop);
    }
  }
  if (copy.empty) return copy;
  if (kept.size() > kMaxLoops) p.Refuse(StatusCode::kUnimplemented, "a copy over too many dimensions");
  int64_t outer = 1;
  for (size_t d = 0; d + 1 < kept.size(); ++d) outer *= kept[d].extent;
  p.Check(outer <= INT32_MAX, "a copy of too many pieces");
  copy.loops = static_cast<int>(kept.size());
  std::copy(kept.begin(), kept.end(), copy.loop);
  PairForTiles(copy);
  return copy;
}

void EmitCopy(Prepare& p, int input, int output, const StridedCopy& copy) {
  if (copy.empty) return;
  if (copy.contiguous() && copy.to == 0 && (copy.loops == 0 ? 1 : copy.loop[0].extent) == p.output_elements(output)) {
    const size_t element = static_cast<size_t>(TensorTypeBits(p.type(input))) / 8;
    if (p.AliasPart(output, input, static_cast<size_t>(copy.from) * element)) return;
  }
  WithElement(p, p.type(input), [&]<class T>(std::type_identity<T>) {
    p.Emit([copy, x = p.in(input), y = p.out(output)](RunContext& run) noexcept {
      RunCopy(run, copy, Elements<const T>(run, x), Elements<T>(run, y));
    });
  });
}

}  // namespace sigrun::ops
