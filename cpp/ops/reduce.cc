#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <type_traits>

#include "kernels/elements.h"
#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/fixed_point.h"
#include "ops/support/gemm.h"
#include "ops/support/integer.h"
#include "ops/support/quantization.h"

// MEAN, SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_ANY, REDUCE_ALL over constant axes.
namespace sigrun::ops {
namespace {

enum Field : int { kKeepDims };

constexpr int64_t kWide = 1024;        // elements of rows that are accumulated side by side
constexpr int64_t kBlockBytes = 4096;  // the most of a row that one unit of work takes

struct Loop {
  int64_t extent, stride;
};

/// A reduction as loops over the input: for every unit (a combination of `outer` and a block of columns) the `inner` loops are summed up,
/// either column by column or, where the innermost dimension is reduced, run by run.
struct Reduction {
  std::vector<Loop> outer, inner;
  int64_t columns = 1;  // kept elements that lie side by side in the input
  int64_t run = 1;      // reduced elements that lie side by side
  int64_t units = 0, blocks = 1;
  int64_t block = 1;  // output elements that one unit of work accumulates side by side
  int64_t count = 1;  // elements of the input for each of the output

  int64_t inner_steps() const { return count / run; }
};

int64_t OffsetOf(const std::vector<Loop>& loops, int64_t index) {
  if (loops.size() == 1) return index * loops[0].stride;
  int64_t offset = 0;
  for (size_t d = loops.size(); d-- > 0; index /= loops[d].extent) offset += index % loops[d].extent * loops[d].stride;
  return offset;
}

std::vector<bool> ReducedAxes(const Prepare& p) {
  const size_t rank = p.shape(0).size();
  std::vector<bool> reduced(rank, false);
  for (const int64_t axis : p.ConstantInts(1, "axes")) {
    if (rank > 0) reduced[ResolveAxis(p, axis, rank)] = true;
  }
  return reduced;
}

Reduction Plan(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.Check(p.elements(0) <= INT32_MAX, "the input ", ToString(p.shape(0)), " is too large");
  const Shape& input = p.shape(0);
  const std::vector<bool> reduced = ReducedAxes(p);
  const bool keeps = p.options().Bool(kKeepDims);
  Shape output;
  // Dimensions that are walked as one, outermost first.
  std::vector<std::pair<int64_t, bool>> dims;
  Reduction r;
  for (size_t d = 0; d < input.size(); ++d) {
    if (reduced[d]) r.count *= input[d];
    if (!reduced[d]) output.push_back(input[d]);
    if (reduced[d] && keeps) output.push_back(1);
    if (input[d] == 1) continue;
    if (!dims.empty() && dims.back().second == reduced[d]) {
      dims.back().first *= input[d];
    } else {
      dims.emplace_back(input[d], reduced[d]);
    }
  }
  p.SetShape(0, output);
  if (!dims.empty()) {
    (dims.back().second ? r.run : r.columns) = dims.back().first;
    dims.pop_back();
  }
  int64_t stride = r.run * r.columns;
  for (size_t d = dims.size(); d-- > 0; stride *= dims[d].first) {
    std::vector<Loop>& loops = dims[d].second ? r.inner : r.outer;
    loops.insert(loops.begin(), {dims[d].first, stride});
  }
  // Long pieces of rows are read faster, but threads share the units.
  constexpr int64_t kLeast = 256, kUnits = 16;
  const int64_t most = kBlockBytes * 8 / std::max<int64_t>(TensorTypeBits(p.type(0)), 8);
  r.block = std::clamp(p.output_elements(0) / kUnits, kLeast, std::max(kLeast, most));
  r.blocks = (r.columns + r.block - 1) / r.block;
  r.units = r.blocks;
  for (const Loop& loop : r.outer) r.units *= loop.extent;
  return r;
}

/// True if units are whole rows of columns one after the other, so that many rows are taken as one long one.
bool IsMatrix(const Reduction& r) {
  return r.run == 1 && r.inner.size() == 1 && r.inner[0].stride == r.columns && r.columns > 0 && r.columns <= kWide / 4;
}

// Sums of bytes.
template <class T>
struct SumBytes {
  void (*accumulate)(const T*, int32_t*, size_t);
  int32_t (*sum)(const T*, size_t);
  int32_t Initial() const { return 0; }
  void Rows(const T* x, int64_t rows, int64_t n, int32_t* y) const {
    for (int64_t r = 0; r < rows; ++r) y[r] = sum(x + r * n, static_cast<size_t>(n));
  }
  void Run(int32_t& s, const T* x, int64_t n) const { s = kernels::WrapAdd(s, sum(x, static_cast<size_t>(n))); }
  void Columns(int32_t* sums, const T* x, int64_t n) const { accumulate(x, sums, static_cast<size_t>(n)); }
  void Columns(int32_t* sums, const int32_t* x, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) sums[i] = kernels::WrapAdd(sums[i], x[i]);
  }
};

// Sums of INT32 that are wider.
struct SumWide {
  const kernels::ElementKernels* kernels;
  int64_t Initial() const { return 0; }
  void Rows(const int32_t* x, int64_t rows, int64_t n, int64_t* y) const {
    std::fill_n(y, rows, 0);
    for (int64_t r = 0; r < rows; ++r) kernels->sum_i32(x + r * n, static_cast<size_t>(n), y + r);
  }
  void Run(int64_t& s, const int32_t* x, int64_t n) const { kernels->sum_i32(x, static_cast<size_t>(n), &s); }
  void Columns(int64_t* sums, const int32_t* x, int64_t n) const { kernels->accumulate_i32(x, sums, static_cast<size_t>(n)); }
  void Columns(int64_t* sums, const int64_t* x, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) sums[i] += x[i];
  }
};

// Whether sums can be folded as elements can.
template <class T, class Op, class Sum>
constexpr bool kFoldsSums = std::is_same_v<T, Sum> || std::is_same_v<Op, SumBytes<T>> || std::is_same_v<Op, SumWide>;

// A kernel keeps the results of columns in registers.
template <class Op>
constexpr bool kTakesMatrix = requires(const Op& op, const float* x, float* sums) {
  op.Matrix(sums, x, 1, 1, 1);
};

/// op.Columns(sums, x, n) of `rows` rows, `stride` apart.
template <class Op, class Sum, class T>
void TakeMatrix(const Op& op, Sum* sums, const T* x, int64_t stride, int64_t rows, int64_t n) {
  if constexpr (kTakesMatrix<Op>) {
    op.Matrix(sums, x, stride, rows, n);
  } else {
    for (int64_t row = 0; row < rows; ++row) op.Columns(sums, x + row * stride, n);
  }
}

/// Reduces rows of `columns` <= kWide to sums[0, columns). Rows side by side do not wait for each other's sums; they are folded last.
template <class T, class Op, class Sum>
void ReduceMatrix(const Op& op, const T* x, int64_t rows, int64_t columns, Sum (&sums)[kWide]) {
  // Few rows are not worth the sums that are folded last.
  constexpr int64_t kEnough = kTakesMatrix<Op> ? 128 : kWide;
  const int64_t side_by_side = std::clamp<int64_t>(kEnough / columns, 1, std::max<int64_t>(rows / 4, 1)), wide = side_by_side * columns;
  const int64_t whole = rows / side_by_side * side_by_side;
  std::fill_n(sums, wide, op.Initial());
  TakeMatrix(op, sums, x, wide, rows / side_by_side, wide);
  op.Columns(sums, x + whole * columns, (rows - whole) * columns);
  for (int64_t i = 1; i < side_by_side; ++i) op.Columns(sums, sums + i * columns, columns);
}

// y[i] = finish(sums[i]), which may spoil the sums.
template <class Finish, class Sum, class Y>
void FinishAll(const Finish& finish, Sum* sums, Y* y, int64_t n) {
  if constexpr (requires { finish.All(sums, y, n); }) {
    finish.All(sums, y, n);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = finish(sums[i]);
  }
}

/// In how many parts threads take the rows of a matrix that is reduced to one: it follows from the shape, as the order of the sums does.
int64_t RowParts(const Reduction& r) {
  constexpr int64_t kElements = 1 << 15, kMostParts = 16;
  if (r.run != 1 || !r.outer.empty() || r.inner.size() != 1 || r.inner[0].stride != r.columns || r.columns > kWide) return 1;
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::clamp<int64_t>(r.count * r.columns / kElements, 1, kMostParts))));
}

/// The same for EmitReduction where there are several parts.
template <class T, class Y, class Op, class Finish>
void EmitRowParts(Prepare& p, const Reduction& r, int64_t parts, Op op, Finish finish) {
  using Sum = decltype(op.Initial());
  const Slot all = p.Scratch(static_cast<size_t>(parts * r.columns) * sizeof(Sum));
  p.Emit([=, in = p.in(0), out = p.out(0), rows = r.count, columns = r.columns](RunContext& run) noexcept {
    Sum* sums = run.get<Sum>(all);
    run.Parallel(static_cast<int32_t>(parts), rows * columns / parts, [&](kernels::Range range, int) {
      Sum wide[kWide];
      for (int64_t part = range.begin; part < range.end; ++part) {
        const int64_t first = rows * part / parts, end = rows * (part + 1) / parts;
        ReduceMatrix(op, run.get<T>(in) + first * columns, end - first, columns, wide);
        std::copy_n(wide, columns, sums + part * columns);
      }
    });
    for (int64_t part = 1; part < parts; ++part) op.Columns(sums, sums + part * columns, columns);
    FinishAll(finish, sums, run.get<Y>(out), columns);
  });
}

/// Runs a reduction of at least one element: accumulators begin at op.Initial(); op.Run(sum, x, n) takes n elements into one of them,
/// op.Columns(sums, x, n) one element into each; finish(sum) is the output.
template <class T, class Y, class Op, class Finish>
void EmitReduction(Prepare& p, const Reduction& r, Op op, Finish finish) {
  if (p.output_elements(0) == 0) return;
  using Sum = decltype(op.Initial());
  if constexpr (kFoldsSums<T, Op, Sum>) {
    if (const int64_t parts = RowParts(r); parts > 1) return EmitRowParts<T, Y>(p, r, parts, op, finish);
  }
  p.Emit([=, in = p.in(0), out = p.out(0)](RunContext& run) noexcept {
    const T* x = run.get<T>(in);
    Y* y = run.get<Y>(out);
    const int64_t steps = r.inner_steps();
    const bool is_matrix = IsMatrix(r);
    run.Parallel(static_cast<int32_t>(r.units), r.count * std::min(r.columns, r.block), [&](kernels::Range units, int) {
      if constexpr (kFoldsSums<T, Op, Sum>) {
        Sum wide[kWide];
        for (int64_t unit = units.begin; is_matrix && unit < units.end; ++unit) {
          ReduceMatrix(op, x + OffsetOf(r.outer, unit), steps, r.columns, wide);
          FinishAll(finish, wide, y + unit * r.columns, r.columns);
        }
        if (is_matrix) return;
      }
      std::array<Sum, kBlockBytes / sizeof(T)> sums;
      if (r.run > 1) {
        for (int64_t first = units.begin; first < units.end; first += r.block) {
          const int64_t n = std::min<int64_t>(r.block, units.end - first);
          bool done = false;
          if constexpr (requires { op.Rows(x, n, n, sums.data()); }) {
            done = r.inner.empty();
            if (done) op.Rows(x + first * r.run, n, r.run, sums.data());
          }
          for (int64_t i = 0; i < n && !done; ++i) {
            const T* from = x + OffsetOf(r.outer, first + i);
            Sum& sum = sums[static_cast<size_t>(i)] = op.Initial();
            for (int64_t step = 0; step < steps; ++step) op.Run(sum, from + OffsetOf(r.inner, step), r.run);
          }
          FinishAll(finish, sums.data(), y + first, n);
        }
        return;
      }
      for (int64_t unit = units.begin; unit < units.end; ++unit) {
        const int64_t outer = unit / r.blocks, first = unit % r.blocks * r.block, n = std::min(r.block, r.columns - first);
        const T* from = x + OffsetOf(r.outer, outer) + first;
        std::fill_n(sums.begin(), n, op.Initial());
        const Loop rows = r.inner.empty() ? Loop{1, 0} : r.inner.back();
        for (int64_t step = 0; step < steps; step += rows.extent) {
          TakeMatrix(op, sums.data(), from + OffsetOf(r.inner, step), rows.stride, rows.extent, n);
        }
        FinishAll(finish, sums.data(), y + outer * r.columns + first, n);
      }
    });
  });
}

/// The output where the input is empty.
template <class Y>
void EmitFill(Prepare& p, Y value) {
  if (p.output_elements(0) == 0) return;
  p.Emit([value, n = p.output_elements(0), out = p.out(0)](RunContext& run) noexcept { std::fill_n(run.get<Y>(out), n, value); });
}

/// Folds rows of n >= 2 elements that lie one after the other, in any order. Halves of rows are folded onto each other, or neighbours where
/// rows are short: either takes whole vectors, whatever the length of a row.
template <class T, class F>
void FoldRows(const F& f, T initial, const T* x, int64_t rows, int64_t n, T* y) {
  constexpr int64_t kElements = 2048, kLongHalf = 32 / static_cast<int64_t>(sizeof(T)), kLongRow = 256;
  // A number that is no NaN may begin a fold.
  const auto begun = [f, initial](T a) { return std::is_floating_point_v<T> ? f(initial, a) : a; };
  T halves[2][kElements];
  const int64_t most = std::max<int64_t>(2 * kElements / n, 1);
  for (; rows > 0; rows -= most, x += most * n, y += most) {
    const int64_t count = std::min(rows, most);
    const T* from = x;
    int64_t length = n;
    if (!std::is_floating_point_v<T> && n * static_cast<int64_t>(sizeof(T)) >= kLongRow) {
      // Compilers make vectors of long rows of integers by themselves.
      for (int64_t r = 0; r < count; ++r) y[r] = std::accumulate(x + r * n, x + (r + 1) * n, initial, f);
      continue;
    }
    for (int next = 0; length % 2 == 0 && count * length <= 2 * kElements; length /= 2, next ^= 1) {
      const T* __restrict in = from;
      T* __restrict out = length == 2 ? y : halves[next];
      const int64_t half = length / 2;
      if (half >= kLongHalf) {
        for (int64_t r = 0; r < count; ++r) {
          for (int64_t i = 0; i < half; ++i) out[r * half + i] = f(begun(in[r * length + i]), in[r * length + half + i]);
        }
      } else {
        for (int64_t i = 0; i < count * half; ++i) out[i] = f(begun(in[2 * i]), in[2 * i + 1]);
      }
      from = out;
    }
    if (length == 1) continue;
    for (int64_t r = 0; r < count; ++r) {
      T sum = initial;
      for (int64_t i = 0; i < length; ++i) sum = f(sum, from[r * length + i]);
      y[r] = sum;
    }
  }
}

/// Accumulates through f(sum, x) -> sum.
template <class Sum, class F>
struct Fold {
  Sum initial;
  F f;
  Sum Initial() const { return initial; }
  template <class T>
  void Run(Sum& sum, const T* x, int64_t n) const {
    Sum s = sum;
    for (int64_t i = 0; i < n; ++i) s = f(s, x[i]);
    sum = s;
  }
  template <class T>
  void Columns(Sum* sums, const T* x, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) sums[i] = f(sums[i], x[i]);
  }
};
template <class Sum, class F>
Fold<Sum, F> MakeFold(Sum initial, F f) {
  return {initial, f};
}

/// The same where any order will do.
template <class T, class F>
struct FoldAnyOrder : Fold<T, F> {
  void Rows(const T* x, int64_t rows, int64_t n, T* y) const { FoldRows(this->f, this->initial, x, rows, n, y); }
};
template <class T, class F>
FoldAnyOrder<T, F> MakeFoldAnyOrder(T initial, F f) {
  return {{initial, f}};
}

/// INT32 and INT64 through kernels, in any order.
template <class T>
struct FoldWords {
  T initial;
  void (*fold)(const void* x, size_t n, void* y);
  kernels::PairsKernel pairs;

  FoldWords(const Prepare& p, kernels::Arithmetic op, T value) : initial(value) {
    constexpr size_t kWord = sizeof(T) == sizeof(int64_t);
    fold = p.kernels().elements->fold[kWord][static_cast<size_t>(op)];
    pairs = p.kernels().elements->arithmetic[kWord][static_cast<size_t>(op)];
  }
  T Initial() const { return initial; }
  void Rows(const T* x, int64_t rows, int64_t n, T* y) const {
    std::fill_n(y, rows, initial);
    for (int64_t r = 0; r < rows; ++r) fold(x + r * n, static_cast<size_t>(n), y + r);
  }
  void Run(T& sum, const T* x, int64_t n) const { fold(x, static_cast<size_t>(n), &sum); }
  void Columns(T* sums, const T* x, int64_t n) const { pairs(sums, x, sums, static_cast<size_t>(n), kernels::Operands::kVectorVector); }
};
template <class T>
constexpr bool kIsWord = std::is_same_v<T, int32_t> || std::is_same_v<T, int64_t>;

struct ItIs {
  template <class T>
  T operator()(T y) const {
    return y;
  }
};

using ColumnsF32 = decltype(kernels::Kernels::sum_columns_f32);

struct SumF32 {
  float (*sum)(const float*, size_t);
  ColumnsF32 columns;
  float Initial() const { return 0; }
  void Rows(const float* x, int64_t rows, int64_t n, float* y) const {
    constexpr int64_t kShort = 16;
    if (n <= kShort) return FoldRows([](float a, float b) { return a + b; }, 0.0f, x, rows, n, y);
    for (int64_t r = 0; r < rows; ++r) y[r] = sum(x + r * n, static_cast<size_t>(n));
  }
  void Run(float& s, const float* x, int64_t n) const { s += sum(x, static_cast<size_t>(n)); }
  void Columns(float* sums, const float* x, int64_t n) const { Matrix(sums, x, 0, 1, n); }
  // A few rows at a time: sums of sums lose less than one long sum.
  void Matrix(float* sums, const float* x, int64_t stride, int64_t rows, int64_t n) const {
    constexpr int64_t kRows = 64;
    for (; rows > 0; rows -= kRows, x += kRows * stride) {
      columns(x, stride, static_cast<size_t>(std::min(rows, kRows)), sums, static_cast<size_t>(n));
    }
  }
};

template <class Sum>
auto WrappingSum() {
  return MakeFold(Sum{0}, [](Sum a, auto b) { return WrappingAdd(a, static_cast<Sum>(b)); });
}

void CheckSameType(const Prepare& p) { p.CheckOutputType(0, {p.type(0)}); }

void CheckSameQuantization(const Prepare& p) {
  if (p.quantization(0).empty() && p.output_quantization(0).empty()) return;
  const Prepare::Affine a = p.affine(0), b = p.output_affine(0);
  p.Check(a.scale == b.scale && a.zero_point == b.zero_point, "the input's scale and zero point, ", a.scale, " and ", a.zero_point,
          ", are not those of the output, ", b.scale, " and ", b.zero_point);
}

// --- REDUCE_ANY and REDUCE_ALL ---

template <bool kMax, class T>
T Better(T a, T b) {
  return kMax ? (b > a ? b : a) : (b < a ? b : a);
}

template <bool kAny>
void PrepareLogical(Prepare& p) {
  const Reduction r = Plan(p);
  p.CheckType(0, {TensorType::kBool});
  CheckSameType(p);
  if (r.count == 0) return EmitFill(p, uint8_t{!kAny});
  // Bytes: a file may hold others than 0 and 1.
  const auto fold = MakeFoldAnyOrder(static_cast<uint8_t>(kAny ? 0 : 255), [](uint8_t a, uint8_t b) { return Better<kAny>(a, b); });
  EmitReduction<uint8_t, uint8_t>(p, r, fold, [](uint8_t y) { return static_cast<uint8_t>(y != 0); });
}

// --- MEAN and SUM ---

// LiteRT's reference overflows in sums of INT8 and INT16; this is what its other kernels agree on.
template <class T>
void EmitSumInFloat(Prepare& p, const Reduction& r) {
  const Prepare::Affine input = CheckedAffine(p, 0), output = CheckedOutputAffine(p, 0);
  if (r.count == 0) return EmitFill(p, T{0});
  const float scale = input.scale / output.scale;
  const float bias = static_cast<float>(-input.zero_point) * scale * static_cast<float>(r.count);
  const auto finish = [scale, bias, zero = output.zero_point](int32_t sum) {
    constexpr int32_t kMin = std::numeric_limits<T>::min(), kMax = std::numeric_limits<T>::max();
    constexpr float kFar = 1 << 20;  // beyond all that is not clamped
    // Half away from zero: the sum of a float and a half is exact in double.
    const double y = static_cast<double>(std::clamp(static_cast<float>(sum) * scale + bias, -kFar, kFar));
    return static_cast<T>(std::clamp(static_cast<int32_t>(y + (y < 0 ? -0.5 : 0.5)) + zero, kMin, kMax));
  };
  if constexpr (std::is_same_v<T, int8_t>) {
    EmitReduction<T, T>(p, r, SumBytes<T>{p.kernels().accumulate_i8, p.kernels().sum_i8}, finish);
  } else {
    EmitReduction<T, T>(p, r, WrappingSum<int32_t>(), finish);
  }
}

// What becomes of a sum of quantised numbers.
template <class T>
struct ScaledSum {
  static constexpr int32_t kMin = std::numeric_limits<T>::min(), kMax = std::numeric_limits<T>::max();
  FixedPoint factor;
  int32_t zeros, zero_point;  // what the zero points sum up to, and that of the output
  decltype(kernels::Kernels::requantize_8) kernel;

  T operator()(int32_t sum) const {
    const int32_t y = kernels::WrapAdd(ScaleBy(kernels::WrapSub(sum, zeros), factor.multiplier, factor.shift), zero_point);
    return static_cast<T>(kernels::ClampI32(y, kMin, kMax));
  }
  void All(int32_t* sums, T* y, int64_t n) const requires(sizeof(T) == 1) {
    if (factor.shift > 0 || factor.shift < -31) {
      for (int64_t i = 0; i < n; ++i) y[i] = (*this)(sums[i]);
      return;
    }
    for (int64_t i = 0; i < n; ++i) sums[i] = kernels::WrapSub(sums[i], zeros);
    kernel(sums, reinterpret_cast<uint8_t*>(y), static_cast<size_t>(n), factor.multiplier, -factor.shift, zero_point, kMin, kMax);
  }
};

// A quantised sum or mean; the mean's division is part of the multiplier.
template <class T>
void EmitQuantizedSum(Prepare& p, const Reduction& r, bool mean) {
  const Prepare::Affine input = CheckedAffine(p, 0), output = CheckedOutputAffine(p, 0);
  if (r.count == 0) return EmitFill(p, T{0});
  FixedPoint m = QuantizeMultiplier(static_cast<double>(input.scale) / static_cast<double>(output.scale));
  if (mean) {
    const int shift = std::min({63 - std::countl_zero(static_cast<uint64_t>(r.count)), 32, 31 + m.shift});
    m.multiplier = static_cast<int32_t>((static_cast<int64_t>(m.multiplier) << shift) / r.count);
    m.shift -= shift;
  }
  const int32_t zeros = static_cast<int32_t>(static_cast<uint32_t>(input.zero_point) * static_cast<uint32_t>(r.count));
  const ScaledSum<T> finish{m, zeros, output.zero_point, p.kernels().requantize_8};
  if constexpr (std::is_same_v<T, int8_t>) {
    EmitReduction<T, T>(p, r, SumBytes<T>{p.kernels().accumulate_i8, p.kernels().sum_i8}, finish);
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    EmitReduction<T, T>(p, r, SumBytes<T>{p.kernels().accumulate_u8, p.kernels().sum_u8}, finish);
  } else {
    EmitReduction<T, T>(p, r, WrappingSum<int32_t>(), finish);
  }
}

void EmitSumF32(Prepare& p, const Reduction& r, bool mean) {
  if (r.count == 0) return EmitFill(p, mean ? std::numeric_limits<float>::quiet_NaN() : 0.0f);
  const float divisor = mean ? static_cast<float>(r.count) : 1.0f;
  EmitReduction<float, float>(p, r, SumF32{p.kernels().sum_f32, p.kernels().sum_columns_f32},
                              [divisor](float sum) { return sum / divisor; });
}

// a / b, b being an INT32: mostly by way of doubles, which are divided in a fraction of the time. No quotient that is not whole rounds to a
// whole double.
int64_t Quotient(int64_t a, int64_t b) {
  constexpr int64_t kExact = int64_t{1} << 53;
  if (-kExact < a && a < kExact) return static_cast<int64_t>(static_cast<double>(a) / static_cast<double>(b));
  return a / b;
}

template <class T>
void EmitIntegerSum(Prepare& p, const Reduction& r, bool mean) {
  if (r.count == 0) return EmitFill(p, T{0});
  if (!mean) return EmitReduction<T, T>(p, r, FoldWords<T>(p, kernels::Arithmetic::kAdd, 0), ItIs());
  const auto finish = [divisor = r.count](int64_t sum) { return static_cast<T>(Quotient(sum, divisor)); };
  if constexpr (std::is_same_v<T, int32_t>) {
    EmitReduction<T, T>(p, r, SumWide{p.kernels().elements}, finish);
  } else {
    EmitReduction<T, T>(p, r, FoldWords<T>(p, kernels::Arithmetic::kAdd, 0), finish);
  }
}

void PrepareSumOrMean(Prepare& p, bool mean) {
  const Reduction r = Plan(p);
  CheckSameType(p);
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitSumF32(p, r, mean);
    case TensorType::kInt8: return mean ? EmitQuantizedSum<int8_t>(p, r, mean) : EmitSumInFloat<int8_t>(p, r);
    case TensorType::kUInt8: return EmitQuantizedSum<uint8_t>(p, r, mean);
    case TensorType::kInt16: return mean ? EmitQuantizedSum<int16_t>(p, r, mean) : EmitSumInFloat<int16_t>(p, r);
    case TensorType::kInt32: return EmitIntegerSum<int32_t>(p, r, mean);
    case TensorType::kInt64: return EmitIntegerSum<int64_t>(p, r, mean);
    default: p.Refuse(StatusCode::kUnimplemented, Concat("an input of type ", TensorTypeName(p.type(0))));
  }
}

void PrepareMean(Prepare& p) { PrepareSumOrMean(p, true); }

// Of BOOL, a sum and a maximum are REDUCE_ANY, a product and a minimum are REDUCE_ALL.
template <void (*kPrepare)(Prepare&), bool kAny>
void OrLogical(Prepare& p) {
  return p.type(0) == TensorType::kBool ? PrepareLogical<kAny>(p) : kPrepare(p);
}

void PrepareSum(Prepare& p) { PrepareSumOrMean(p, false); }

// --- REDUCE_MAX and REDUCE_MIN ---

// Calls f(T) for the types that are compared as they are stored.
template <class F>
void WithNumber(const Prepare& p, const F& f) {
  switch (p.type(0)) {
    case TensorType::kFloat32: return f(float{});
    case TensorType::kInt8: return f(int8_t{});
    case TensorType::kUInt8: return f(uint8_t{});
    case TensorType::kInt16: return f(int16_t{});
    case TensorType::kInt32: return f(int32_t{});
    case TensorType::kInt64: return f(int64_t{});
    default: p.Refuse(StatusCode::kUnimplemented, Concat("an input of type ", TensorTypeName(p.type(0))));
  }
}

// Of float32, through kernels. Like the comparison, they never take a NaN for better.
template <bool kMax>
struct ExtremumF32 {
  float (*best)(const float*, size_t);
  ColumnsF32 columns;
  float initial;

  float Initial() const { return initial; }
  void Rows(const float* x, int64_t rows, int64_t n, float* y) const {
    constexpr int64_t kShort = 16;
    if (n < kShort) return FoldRows([](float a, float b) { return Better<kMax>(a, b); }, initial, x, rows, n, y);
    for (int64_t r = 0; r < rows; ++r) y[r] = Better<kMax>(initial, best(x + r * n, static_cast<size_t>(n)));
  }
  void Run(float& sum, const float* x, int64_t n) const { sum = Better<kMax>(sum, best(x, static_cast<size_t>(n))); }
  void Columns(float* sums, const float* x, int64_t n) const { Matrix(sums, x, 0, 1, n); }
  void Matrix(float* sums, const float* x, int64_t stride, int64_t rows, int64_t n) const {
    columns(x, stride, static_cast<size_t>(rows), sums, static_cast<size_t>(n));
  }
};

template <bool kMax>
void PrepareExtremum(Prepare& p) {
  const Reduction r = Plan(p);
  CheckSameType(p);
  CheckSameQuantization(p);
  WithNumber(p, [&]<class T>(T) {
    const T initial = kMax ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
    if (r.count == 0) return EmitFill(p, initial);
    if constexpr (std::is_same_v<T, float>) {
      const kernels::Kernels& k = p.kernels();
      const ExtremumF32<kMax> extremum =
          kMax ? ExtremumF32<kMax>{k.max_f32, k.max_columns_f32, initial} : ExtremumF32<kMax>{k.min_f32, k.min_columns_f32, initial};
      EmitReduction<T, T>(p, r, extremum, ItIs());
    } else if constexpr (kIsWord<T>) {
      EmitReduction<T, T>(p, r, FoldWords<T>(p, kMax ? kernels::Arithmetic::kMaximum : kernels::Arithmetic::kMinimum, initial), ItIs());
    } else {
      EmitReduction<T, T>(p, r, MakeFoldAnyOrder(initial, [](T a, T b) { return Better<kMax>(a, b); }), ItIs());
    }
  });
}

// --- REDUCE_PROD ---

// x * multiplier * 2^shift as LiteRT scales 48-bit products: the multiplier is cut to 16 bits.
int32_t ScaleWide(int64_t x, FixedPoint m) {
  const int64_t narrow = m.multiplier < 0x7FFF0000 ? (m.multiplier + (1 << 15)) >> 16 : 0x7FFF;
  const int shift = 15 - m.shift;
  if (shift <= 0 || shift > 62) return 0;
  const int64_t limit = INT64_MAX / 0x8000 - (int64_t{1} << 46);
  const int64_t bounded = std::clamp(x, -limit, limit);
  return static_cast<int32_t>((bounded * narrow + (int64_t{1} << (shift - 1))) >> shift);
}

// Every product is scaled at once, by the root of the output's scale, so that none overflows.
template <class T>
void EmitQuantizedProduct(Prepare& p, const Reduction& r) {
  const Prepare::Affine input = CheckedAffine(p, 0), output = CheckedOutputAffine(p, 0);
  if (r.count == 0) return EmitFill(p, T{1});
  const double real = static_cast<double>(input.scale) / std::pow(static_cast<double>(output.scale), 1.0 / static_cast<double>(r.count));
  const FixedPoint m = QuantizeMultiplier(real);
  constexpr int64_t kNone = INT64_MIN;
  const auto product = MakeFold(kNone, [m, zero = input.zero_point](int64_t a, T b) {
    return a == kNone ? int64_t{b} - zero : int64_t{ScaleWide(a * (b - zero), m)};
  });
  EmitReduction<T, T>(p, r, product, [m, zero = output.zero_point](int64_t y) {
    return static_cast<T>(
        kernels::ClampI32(kernels::WrapAdd(ScaleWide(y, m), zero), std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  });
}

// One after the other along a run, as the reference does it.
struct ProductF32 : Fold<float, std::multiplies<>> {
  kernels::BinaryF32 multiply;
  void Columns(float* products, const float* x, int64_t n) const { multiply(products, x, products, static_cast<size_t>(n), {}); }
};

template <class T>
void EmitProduct(Prepare& p, const Reduction& r) {
  if (r.count == 0) return EmitFill(p, T{1});
  if constexpr (std::is_same_v<T, float>) {
    const ProductF32 product{{1.0f, {}}, p.kernels().binary(kernels::Binary::kMul, kernels::Operands::kVectorVector)};
    EmitReduction<T, T>(p, r, product, ItIs());
  } else if constexpr (kIsWord<T>) {
    EmitReduction<T, T>(p, r, FoldWords<T>(p, kernels::Arithmetic::kMul, 1), ItIs());
  } else {
    EmitReduction<T, T>(p, r, MakeFold(T{1}, [](T a, T b) { return WrappingMul(a, b); }), ItIs());
  }
}

void PrepareReduceProd(Prepare& p) {
  const Reduction r = Plan(p);
  CheckSameType(p);
  const bool quantized = !p.quantization(0).empty();
  // Nothing is multiplied: LiteRT copies.
  if (p.ConstantInts(1, "axes").empty()) return p.Alias(0, 0);
  if (quantized && p.type(0) == TensorType::kInt8) return EmitQuantizedProduct<int8_t>(p, r);
  if (quantized && p.type(0) == TensorType::kInt16) return EmitQuantizedProduct<int16_t>(p, r);
  if (quantized && p.type(0) == TensorType::kUInt8) p.Refuse(StatusCode::kUnimplemented, "an input of type UINT8");
  WithNumber(p, [&]<class T>(T) { EmitProduct<T>(p, r); });
}

constexpr OpDef kOps[] = {
    {.name = "MEAN", .prepare = PrepareMean, .traits = kFlushesDenormals},
    {.name = "SUM", .prepare = OrLogical<PrepareSum, true>, .traits = kFlushesDenormals},
    {.name = "REDUCE_MAX", .prepare = OrLogical<PrepareExtremum<true>, true>},
    {.name = "REDUCE_MIN", .prepare = OrLogical<PrepareExtremum<false>, false>},
    {.name = "REDUCE_PROD", .prepare = OrLogical<PrepareReduceProd, false>},
    {.name = "REDUCE_ANY", .prepare = PrepareLogical<true>},
    {.name = "REDUCE_ALL", .prepare = PrepareLogical<false>},
};

}  // namespace

std::span<const OpDef> reduce_ops() { return kOps; }

}  // namespace sigrun::ops
