#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/broadcast.h"
#include "ops/support/elements.h"

// Copies of n-dimensional boxes: transpose, slice, concatenate, pad and tile are all of them.
namespace sigrun::ops {

/// One dimension of a copy; strides in elements, those of the input also 0 or negative.
struct CopyLoop {
  int64_t extent;
  int64_t from;
  int64_t to;
};

struct StridedCopy {
  int loops = 0;  // outermost first; none: a single element
  CopyLoop loop[kMaxLoops];
  int64_t from = 0;  // offsets of the first element
  int64_t to = 0;
  bool empty = false;
  decltype(kernels::Kernels::transpose_32) transpose_32 = nullptr;

  /// Nothing but one run of consecutive elements.
  bool contiguous() const { return !empty && (loops == 0 || (loops == 1 && loop[0].from == 1 && loop[0].to == 1)); }
};

/// Drops extents of 1 and joins dimensions that are walked as one.
StridedCopy PlanCopy(const Prepare& p, std::span<const CopyLoop> loops, int64_t from = 0, int64_t to = 0);

/// Strides of a dense tensor.
std::vector<int64_t> DenseStrides(const Shape& shape);

/// A copy of elements of T, uint8_t, uint16_t or uint32_t, in which the input is consecutive along the rows and the output along the
/// columns.
template <class T>
void Transpose(const StridedCopy& copy, const void* from, void* to, const CopyLoop& rows, const CopyLoop& columns);

/// `count` runs of n elements of T, an unsigned integer, that change sides: `from` is the last of the first run.
template <class T>
void CopyBackwards(const void* from, int64_t from_step, void* to, int64_t to_step, int64_t n, int64_t count);

/// Columns of a copy whose input is not consecutive along the innermost loop: square tiles, so that both sides are used by the cache line.
template <class T>
void CopyTile(const StridedCopy& copy, const T* from, T* to, const CopyLoop& rows, const CopyLoop& columns) {
  if constexpr (!std::is_same_v<T, std::string> && sizeof(T) <= 8) {
    using Narrow = std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>;
    using Word = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, Narrow>>;
    if (columns.from == -1 && columns.to == 1) return CopyBackwards<Word>(from, rows.from, to, rows.to, columns.extent, rows.extent);
    if constexpr (sizeof(T) <= 4) {
      if (rows.from == 1 && columns.to == 1) return Transpose<Word>(copy, from, to, rows, columns);
    }
  }
  constexpr int64_t kSide = 16;
  for (int64_t r0 = 0; r0 < rows.extent; r0 += kSide) {
    const int64_t r1 = std::min(rows.extent, r0 + kSide);
    for (int64_t c0 = 0; c0 < columns.extent; c0 += kSide) {
      const int64_t c1 = std::min(columns.extent, c0 + kSide);
      for (int64_t r = r0; r < r1; ++r) {
        for (int64_t c = c0; c < c1; ++c) to[r * rows.to + c * columns.to] = from[r * rows.from + c * columns.from];
      }
    }
  }
}

/// CopyElements for runs that are mostly short: up to 64 bytes by two moves that may overlap, without a call.
template <class T>
void CopyShort(const T* from, T* to, int64_t n) {
  if constexpr (std::is_same_v<T, std::string>) {
    CopyElements(from, to, n);
  } else {
    const auto* x = reinterpret_cast<const std::byte*>(from);
    auto* y = reinterpret_cast<std::byte*>(to);
    const size_t bytes = static_cast<size_t>(n) * sizeof(T);
    const auto ends = [&]<size_t kBytes>(std::integral_constant<size_t, kBytes>) {
      std::byte last[kBytes];
      std::memcpy(last, x + bytes - kBytes, kBytes);
      std::memcpy(y, x, kBytes);
      std::memcpy(y + bytes - kBytes, last, kBytes);
    };
    if (bytes > 64) {
      std::memcpy(y, x, bytes);
    } else if (bytes >= 32) {
      ends(std::integral_constant<size_t, 32>());
    } else if (bytes >= 16) {
      ends(std::integral_constant<size_t, 16>());
    } else if (bytes >= 8) {
      ends(std::integral_constant<size_t, 8>());
    } else if (bytes >= 4) {
      ends(std::integral_constant<size_t, 4>());
    } else if (bytes >= 2) {
      ends(std::integral_constant<size_t, 2>());
    } else if (bytes == 1) {
      *y = *x;
    }
  }
}

/// `count` runs of n elements. Runs of whole 16 bytes are moved without asking how long they are.
template <class T>
void CopyRuns(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t n, int64_t count) {
  const auto whole = [&]<size_t kBytes>(std::integral_constant<size_t, kBytes>) {
    for (int64_t i = 0; i < count; ++i, from += from_step, to += to_step) std::memcpy(static_cast<void*>(to), from, kBytes);
  };
  if constexpr (!std::is_same_v<T, std::string>) {
    constexpr int64_t kLong = 64, kMost = 4096;  // bytes
    if (from_step == 0 && to_step == n && n * static_cast<int64_t>(sizeof(T)) > kLong) {
      // One run many times: what stands there already is copied, as long as it is near.
      CopyElements(from, to, n);
      for (int64_t done = n, all = n * count, next = 0; done < all; done += next) {
        next = std::min({done, all - done, std::max(kMost / (n * static_cast<int64_t>(sizeof(T))), int64_t{1}) * n});
        CopyElements(to, to + done, next);
      }
      return;
    }
    switch (n * static_cast<int64_t>(sizeof(T))) {
      case 16: return whole(std::integral_constant<size_t, 16>());
      case 32: return whole(std::integral_constant<size_t, 32>());
      case 48: return whole(std::integral_constant<size_t, 48>());
      case 64: return whole(std::integral_constant<size_t, 64>());
      default: break;
    }
    // Others of no more than four words of 16 bytes, by two moves that may overlap.
    const auto halves = [&]<size_t kBytes>(std::integral_constant<size_t, kBytes>) {
      const size_t last = static_cast<size_t>(n) * sizeof(T) - kBytes;
      for (int64_t i = 0; i < count; ++i, from += from_step, to += to_step) {
        const auto* x = reinterpret_cast<const std::byte*>(from);
        auto* y = reinterpret_cast<std::byte*>(to);
        std::memcpy(y, x, kBytes);
        std::memcpy(y + last, x + last, kBytes);
      }
    };
    const size_t bytes = static_cast<size_t>(n) * sizeof(T);
    if (bytes > 32 && bytes < 64) return halves(std::integral_constant<size_t, 32>());
    if (bytes > 16 && bytes < 32) return halves(std::integral_constant<size_t, 16>());
    if (bytes >= 8 && bytes < 16) return halves(std::integral_constant<size_t, 8>());
    if (bytes >= 4 && bytes < 8) return halves(std::integral_constant<size_t, 4>());
    if (bytes >= 2 && bytes < 4) return halves(std::integral_constant<size_t, 2>());
  }
  for (int64_t i = 0; i < count; ++i, from += from_step, to += to_step) CopyShort(from, to, n);
}

/// Runs the copy. Input and output must not overlap.
template <class T>
void RunCopy(const RunContext& run, const StridedCopy& copy, const T* from, T* to) {
  if (copy.empty) return;
  from += copy.from;
  to += copy.to;
  if (copy.contiguous()) {
    const int64_t n = copy.loops == 0 ? 1 : copy.loop[0].extent;
    return ForElements(run, n, 1, [&](int64_t begin, int64_t count) { CopyElements(from + begin, to + begin, count); });
  }
  const CopyLoop inner = copy.loop[copy.loops - 1];
  const bool rows_of_runs = inner.from == 1 && inner.to == 1;
  // The two innermost loops are one unit of work; a long run is one alone.
  constexpr int64_t kLongRun = 1024;
  const int outer = copy.loops - ((rows_of_runs && inner.extent >= kLongRun) || copy.loops == 1 ? 1 : 2);
  const CopyLoop middle = copy.loops - outer == 2 ? copy.loop[outer] : CopyLoop{1, 0, 0};
  const auto copy_rows = [&](const T* source, T* target, kernels::Range rows) {
    source += rows.begin * middle.from;
    target += rows.begin * middle.to;
    if (!rows_of_runs) return CopyTile(copy, source, target, {rows.end - rows.begin, middle.from, middle.to}, inner);
    CopyRuns(source, middle.from, target, middle.to, inner.extent, rows.end - rows.begin);
  };
  const kernels::Range all_rows = {0, static_cast<int32_t>(middle.extent)};
  if (outer == 0) {
    constexpr int64_t kRowCost = 16;  // besides its elements
    return run.Parallel(
        all_rows.end, inner.extent + kRowCost, [&](kernels::Range rows, int) { copy_rows(from, to, rows); }, 16);
  }
  // Rows that are written piece by piece, a unit's piece next to the one before: few at a time, so that the next unit finds them at hand.
  constexpr int64_t kLine = std::is_same_v<T, std::string> ? 16 : std::max<int64_t>(64 / sizeof(T), 1);
  const int64_t few = !rows_of_runs && inner.extent <= kLine ? std::min(kLine, middle.extent) : middle.extent;
  int64_t units = 1;
  for (int d = 0; d < outer; ++d) units *= copy.loop[d].extent;
  run.Parallel(static_cast<int32_t>(units), middle.extent * inner.extent, [&](kernels::Range range, int) {
    for (int64_t row = 0; row < middle.extent; row += few) {
      const kernels::Range some_rows = {static_cast<int32_t>(row), static_cast<int32_t>(std::min(row + few, middle.extent))};
      int64_t index[kMaxLoops], in = 0, out = 0, rest = range.begin;
      for (int d = outer - 1; d >= 0; --d) {
        index[d] = rest % copy.loop[d].extent;
        rest /= copy.loop[d].extent;
        in += index[d] * copy.loop[d].from;
        out += index[d] * copy.loop[d].to;
      }
      for (int32_t unit = range.begin; unit < range.end; ++unit) {
        copy_rows(from + in, to + out, some_rows);
        for (int d = outer - 1; d >= 0; --d) {
          const bool wraps = ++index[d] == copy.loop[d].extent;
          const int64_t steps = wraps ? 1 - copy.loop[d].extent : 1;
          in += steps * copy.loop[d].from;
          out += steps * copy.loop[d].to;
          if (!wraps) break;
          index[d] = 0;
        }
      }
    }
  });
}

/// `outer` rows, each of which is one run of bytes of every piece, one after the other; the pieces are joined to the whole or it is cut
/// into them. A few rows at a time, so that what pieces share of a line of the cache is touched at once.
struct Piece {
  Slot slot;
  int64_t bytes;
};
void EmitPieces(Prepare& p, int64_t outer, Slot whole, std::vector<Piece> pieces, bool join);

/// Emits a copy from an input to an output of the same type; both have their shapes. None where the output is a run of the input's
/// elements.
void EmitCopy(Prepare& p, int input, int output, const StridedCopy& copy);

}  // namespace sigrun::ops
