#include "ops/support/strided_copy.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>
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

// Runs are moved by the loop outside of them: it should be a long one, unless that takes longer runs all over memory.
void LengthenRows(StridedCopy& copy) {
  if (copy.loops < 3) return;
  const CopyLoop& run = copy.loop[copy.loops - 1];
  CopyLoop &rows = copy.loop[copy.loops - 2], &outer = copy.loop[copy.loops - 3];
  constexpr int64_t kLong = 32, kNear = 1 << 15;
  const bool near = run.extent < kLong || outer.extent * std::max(std::abs(outer.from), std::abs(outer.to)) <= kNear;
  if (run.from == 1 && run.to == 1 && rows.extent < outer.extent && near) std::swap(rows, outer);
}

template <class T>
struct OfElement {
  typedef T Vector __attribute__((vector_size(16)));
};
template <class T>
using Vector = typename OfElement<T>::Vector;
template <class T>
constexpr int kLanes = 16 / sizeof(T);

template <class T>
Vector<T> Load(const T* p) {
  Vector<T> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
template <class T>
void Store(T* p, Vector<T> v) {
  std::memcpy(p, &v, sizeof(v));
}

/// The lanes of the lower (kHalf = 0) or upper halves of two vectors in turns.
template <int kHalf, class T, size_t... kLane>
Vector<T> Zip(Vector<T> a, Vector<T> b, std::index_sequence<kLane...>) {
  constexpr size_t kAll = sizeof...(kLane);
  return __builtin_shufflevector(a, b, (kHalf * kAll / 2 + kLane / 2 + kLane % 2 * kAll)...);
}

// A step takes the first half of all elements and the second half in turns: it rotates the bits of an element's index by one. As many steps
// as kCount has bits interleave kCount runs; as many as there are bits in the number of lanes take them apart again.
template <class T, int kSteps, int kCount>
[[gnu::always_inline]] inline void Shuffle(Vector<T> (&v)[kCount]) {
  if constexpr (kSteps > 0) {
    Vector<T> shuffled[kCount];
    constexpr std::make_index_sequence<kLanes<T>> lanes;
    if constexpr (kCount == 3) {
      const auto high = [](Vector<T> x) {
        const auto halves = reinterpret_cast<Vector<uint64_t>>(x);
        return reinterpret_cast<Vector<T>>(__builtin_shufflevector(halves, halves, 1, 1));
      };
      shuffled[0] = Zip<0, T>(v[0], high(v[1]), lanes);
      shuffled[1] = Zip<0, T>(high(v[0]), v[2], lanes);
      shuffled[2] = Zip<0, T>(v[1], high(v[2]), lanes);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < kCount / 2; ++i) {
        shuffled[2 * i] = Zip<0, T>(v[i], v[i + kCount / 2], lanes);
        shuffled[2 * i + 1] = Zip<1, T>(v[i], v[i + kCount / 2], lanes);
      }
    }
    Shuffle<T, kSteps - 1>(shuffled);
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) v[i] = shuffled[i];
  }
}

constexpr int Log2(int n) { return std::countr_zero(static_cast<unsigned>(n)); }

/// kCount vectors, `from_step` apart, shuffled, to where they are `to_step` apart.
template <class T, int kSteps, int kCount>
[[gnu::always_inline]] inline void MoveBlock(const T* from, int64_t from_step, T* to, int64_t to_step) {
  Vector<T> v[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) v[i] = Load(from + i * from_step);
  Shuffle<T, kSteps>(v);
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) Store<T>(to + i * to_step, v[i]);
}

/// Calls block(first) until blocks of `side` cover [0, extent), extent >= side; the last one may overlap the one before.
template <class Block>
void Cover(int64_t extent, int64_t side, const Block& block) {
  int64_t first = 0;
  for (; first + side <= extent; first += side) block(first);
  if (first < extent) block(extent - side);
}

/// kCount runs of n elements, `step` apart, as n groups of kCount; or such groups as runs.
template <class T, int kCount>
void Interleave(const T* from, int64_t step, T* to, int64_t n) {
  Cover(n, kLanes<T>, [&](int64_t i) { MoveBlock<T, Log2(kCount), kCount>(from + i, step, to + kCount * i, kLanes<T>); });
}
template <class T, int kCount>
void Separate(const T* from, T* to, int64_t step, int64_t n) {
  Cover(n, kLanes<T>, [&](int64_t i) { MoveBlock<T, Log2(kLanes<T>), kCount>(from + kCount * i, kLanes<T>, to + i, step); });
}

// Three planes become pixels: images as some frameworks lay them out. Returns how many pixels it has written, a multiple of 4.
int64_t InterleaveThree(const uint32_t* from, int64_t plane, uint32_t* to, int64_t pixels) {
  using Words = Vector<uint32_t>;
  int64_t i = 0;
  for (; i + 4 <= pixels; i += 4) {
    const Words a = Load(from + i), b = Load(from + plane + i), c = Load(from + 2 * plane + i);
    const Words ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Words ca = __builtin_shufflevector(c, a, 0, 5, 2, 7), bc = __builtin_shufflevector(b, c, 1, 5, 3, 7);
    const Words out[3] = {__builtin_shufflevector(ab_low, ca, 0, 1, 4, 5), __builtin_shufflevector(bc, ab_high, 0, 1, 4, 5),
                          __builtin_shufflevector(ca, bc, 2, 3, 6, 7)};
    std::memcpy(to + 3 * i, out, sizeof(out));
  }
  return i;
}

/// What of a transposition needs no square blocks; false if nothing does.
template <class T>
bool TransposeFew(const T* from, T* to, const CopyLoop& rows, const CopyLoop& columns) {
  if (columns.extent == rows.to && rows.extent >= kLanes<T>) {
    switch (columns.extent) {
      case 2: return Interleave<T, 2>(from, columns.from, to, rows.extent), true;
      case 4: return Interleave<T, 4>(from, columns.from, to, rows.extent), true;
      case 8:
        if constexpr (sizeof(T) == 4) break;  // squares take fewer steps
        return Interleave<T, 8>(from, columns.from, to, rows.extent), true;
      default: break;
    }
  }
  if (rows.extent == columns.from && columns.extent >= kLanes<T>) {
    switch (rows.extent) {
      case 2: return Separate<T, 2>(from, to, rows.to, columns.extent), true;
      case 3: return Separate<T, 3>(from, to, rows.to, columns.extent), true;
      case 4: return Separate<T, 4>(from, to, rows.to, columns.extent), true;
      case 8: return Separate<T, 8>(from, to, rows.to, columns.extent), true;
      default: break;
    }
  }
  return false;
}

/// The lanes the other way round.
template <class T, size_t... kLane>
Vector<T> Reversed(Vector<T> v, std::index_sequence<kLane...>) {
  if constexpr (sizeof(T) >= 4) {
    return __builtin_shufflevector(v, v, (sizeof...(kLane) - 1 - kLane)...);
  } else if constexpr (sizeof(T) == 2) {
    const auto fours = reinterpret_cast<Vector<uint64_t>>(__builtin_shufflevector(v, v, 3, 2, 1, 0, 7, 6, 5, 4));
    return reinterpret_cast<Vector<T>>(Reversed<uint64_t>(fours, std::make_index_sequence<2>()));
  } else {
    const Vector<uint16_t> pairs = Reversed<uint16_t>(reinterpret_cast<Vector<uint16_t>>(v), std::make_index_sequence<8>());
    return reinterpret_cast<Vector<T>>(pairs << 8 | pairs >> 8);
  }
}

/// n elements, x being the last.
template <class T>
void MoveBackwards(const T* x, T* y, int64_t n) {
  constexpr int64_t kAll = kLanes<T>;
  const auto move = [&](int64_t i) { Store<T>(y + i, Reversed<T>(Load(x - i - (kAll - 1)), std::make_index_sequence<kLanes<T>>())); };
  int64_t i = 0;
  for (; i + 4 * kAll <= n; i += 4 * kAll) move(i), move(i + kAll), move(i + 2 * kAll), move(i + 3 * kAll);
  for (; i + kAll <= n; i += kAll) move(i);
  for (; i < n; ++i) y[i] = x[-i];
}

}  // namespace

template <class T>
void CopyBackwards(const void* from, int64_t from_step, void* to, int64_t to_step, int64_t n, int64_t count) {
  const T* x = static_cast<const T*>(from);
  T* y = static_cast<T*>(to);
  const auto runs = [&](auto length) {
    for (int64_t r = 0; r < count; ++r, x += from_step, y += to_step) {
      for (int64_t i = 0; i < length; ++i) y[i] = x[-i];
    }
  };
  // Pixels of three or four channels.
  if (n == 3) return runs(std::integral_constant<int64_t, 3>());
  if (n == 4) return runs(std::integral_constant<int64_t, 4>());
  for (int64_t r = 0; r < count; ++r, x += from_step, y += to_step) MoveBackwards(x, y, n);
}
template void CopyBackwards<uint8_t>(const void*, int64_t, void*, int64_t, int64_t, int64_t);
template void CopyBackwards<uint16_t>(const void*, int64_t, void*, int64_t, int64_t, int64_t);
template void CopyBackwards<uint32_t>(const void*, int64_t, void*, int64_t, int64_t, int64_t);
template void CopyBackwards<uint64_t>(const void*, int64_t, void*, int64_t, int64_t, int64_t);

template <class T>
void Transpose([[maybe_unused]] const StridedCopy& copy, const void* input, void* output, const CopyLoop& to_rows,
               const CopyLoop& to_columns) {
  const CopyLoop rows = to_rows, columns = to_columns;  // stores of bytes could reach the others
  const T* from = static_cast<const T*>(input);
  T* to = static_cast<T*>(output);
  if (TransposeFew(from, to, rows, columns)) return;
  const auto one_by_one = [=](int64_t first) {
    for (int64_t r = first; r < rows.extent; ++r) {
      for (int64_t c = 0; c < columns.extent; ++c) to[r * rows.to + c] = from[c * columns.from + r];
    }
  };
  if constexpr (sizeof(T) == 4) {
    if (columns.extent == 3 && rows.to == 3) return one_by_one(InterleaveThree(from, columns.from, to, rows.extent));
    constexpr int64_t kEnough = 16;  // of the words of the longest vectors
    if (columns.extent >= kEnough) return copy.transpose_32(from, columns.from, to, rows.to, rows.extent, columns.extent);
  }
  constexpr int64_t kSide = kLanes<T>;
  if (rows.extent < kSide || columns.extent < kSide) return one_by_one(0);
  constexpr int64_t kCacheLine = 64 / sizeof(T);
  for (int64_t r0 = 0; r0 < rows.extent; r0 += kCacheLine) {
    const int64_t begin = std::min(r0, rows.extent - kSide), count = std::min(kCacheLine, rows.extent - begin);
    Cover(columns.extent, kSide, [&](int64_t c) {
      Cover(count, kSide, [&](int64_t r) {
        MoveBlock<T, Log2(kSide), kSide>(from + c * columns.from + begin + r, columns.from, to + (begin + r) * rows.to + c, rows.to);
      });
    });
  }
}
template void Transpose<uint8_t>(const StridedCopy&, const void*, void*, const CopyLoop&, const CopyLoop&);
template void Transpose<uint16_t>(const StridedCopy&, const void*, void*, const CopyLoop&, const CopyLoop&);
template void Transpose<uint32_t>(const StridedCopy&, const void*, void*, const CopyLoop&, const CopyLoop&);

std::vector<int64_t> DenseStrides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

StridedCopy PlanCopy(const Prepare& p, std::span<const CopyLoop> loops, int64_t from, int64_t to) {
  StridedCopy copy;
  copy.transpose_32 = p.kernels().transpose_32;
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
  LengthenRows(copy);
  return copy;
}

void EmitPieces(Prepare& p, int64_t outer, Slot whole, std::vector<Piece> pieces, bool join) {
  constexpr int64_t kBlockBytes = 8192;
  int64_t row = 0;
  for (const Piece& piece : pieces) row += piece.bytes;
  const int64_t block = std::max<int64_t>(1, kBlockBytes / row);
  const auto blocks = static_cast<int32_t>((outer + block - 1) / block);
  p.Emit([=, pieces = std::move(pieces)](RunContext& run) noexcept {
    run.Parallel(blocks, block * (row + 16), [&](kernels::Range range, int) {
      for (int64_t first = range.begin * block; first < std::min(outer, range.end * block); first += block) {
        const int64_t rows = std::min(block, outer - first);
        std::byte* side = run.get<std::byte>(whole) + first * row;
        for (const Piece& piece : pieces) {
          std::byte* other = run.get<std::byte>(piece.slot) + first * piece.bytes;
          join ? CopyRuns(other, piece.bytes, side, row, piece.bytes, rows) : CopyRuns(side, row, other, piece.bytes, piece.bytes, rows);
          side += piece.bytes;
        }
      }
    });
  });
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
