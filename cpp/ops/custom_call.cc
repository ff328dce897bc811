#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/elements.h"
#include "ops/support/flexbuffer.h"
#include "ops/support/real_functions.h"

// STABLEHLO_CUSTOM_CALL, by its target, and the custom operators that converters make of such calls: functions that StableHLO has no
// operator for, the largest elements of rows, and what only tells compilers something.
namespace sigrun::ops {
namespace {

// Where and how a value is kept says nothing here.
void PrepareSame(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
  p.Alias(0, 0);
}

constexpr auto kSquare = [](auto x) { return x * x; };

// The elements that come first, of equals the first; NaN after all others.
template <class T>
bool ComesFirst(T a, T b, bool largest) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a);
  }
  return largest ? a > b : a < b;
}

// As many elements of each row as the output has, in order, and where they stand.
void PrepareTopK(Prepare& p) {
  constexpr int kCustomAttributes = 5;
  p.CheckCounts(1, 1, 2);
  p.CheckOutputType(0, {p.type(0)});
  p.CheckOutputType(1, {TensorType::kInt32});
  const Shape& input = p.shape(0);
  const Shape& wanted = p.model_shape(0);
  p.Check(!input.empty() && wanted.size() == input.size() && wanted.back() >= 0 && wanted.back() <= input.back(), "an output of shape ",
          ToString(wanted), " for an input of shape ", ToString(input));
  std::vector<uint8_t> attributes;
  const auto stored = p.options_2().Scalars<uint8_t>(kCustomAttributes, "custom_attributes");
  for (uint32_t i = 0; i < stored.size(); ++i) attributes.push_back(stored[i]);
  const bool largest = FlexMap(p, attributes).Bool("largest", true);
  const int32_t size = input.back(), k = wanted.back();
  Shape shape = input;
  shape.back() = k;
  p.SetShape(0, shape);
  p.SetShape(1, shape);
  const int64_t rows = Product(input, 0, input.size() - 1);
  p.Check(rows <= INT32_MAX, rows, " rows");
  WithType<F32, F64, I8, U8, I16, U16, I32, U32, I64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    const Slot order = p.Scratch(static_cast<size_t>(p.workers()) * static_cast<size_t>(size) * sizeof(int32_t));
    p.Emit([=, x = p.in(0), y = p.out(0), at = p.out(1)](RunContext& run) noexcept {
      run.Parallel(static_cast<int32_t>(rows), int64_t{size} * 8, [&](kernels::Range range, int worker) {
        int32_t* places = run.get<int32_t>(order) + int64_t{worker} * size;
        for (int64_t r = range.begin; r < range.end; ++r) {
          const T* row = run.get<T>(x) + r * size;
          std::iota(places, places + size, 0);
          std::partial_sort(places, places + k, places + size, [row, largest](int32_t a, int32_t b) {
            return ComesFirst(row[a], row[b], largest) || (!ComesFirst(row[b], row[a], largest) && a < b);
          });
          for (int64_t j = 0; j < k; ++j) {
            run.get<T>(y)[r * k + j] = row[places[j]];
            run.get<int32_t>(at)[r * k + j] = places[j];
          }
        }
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "custom_call.Sharding", .prepare = PrepareSame},
    {.name = "custom_call.SPMDFullToShardShape", .prepare = PrepareSame},
    {.name = "custom_call.SPMDShardToFullShape", .prepare = PrepareSame},
    {.name = "custom_call.annotate_device_placement", .prepare = PrepareSame},
    {.name = "custom_call.chlo.acos", .prepare = PrepareReal<kAcos>},
    {.name = "custom_call.chlo.acosh", .prepare = PrepareReal<kAcosh>},
    {.name = "custom_call.chlo.asin", .prepare = PrepareReal<kAsin>},
    {.name = "custom_call.chlo.asinh", .prepare = PrepareReal<kAsinh>},
    {.name = "custom_call.chlo.atan", .prepare = PrepareReal<kAtan>},
    {.name = "custom_call.chlo.atanh", .prepare = PrepareReal<kAtanh>},
    {.name = "custom_call.chlo.cosh", .prepare = PrepareReal<kCosh>},
    {.name = "custom_call.chlo.erf", .prepare = PrepareReal<kErf>},
    {.name = "custom_call.chlo.erfc", .prepare = PrepareReal<kErfc>},
    {.name = "custom_call.chlo.lgamma", .prepare = PrepareReal<kLgamma>},
    {.name = "custom_call.chlo.sinh", .prepare = PrepareReal<kSinh>},
    {.name = "custom_call.chlo.square", .prepare = PrepareReal<kSquare>},
    {.name = "custom_call.chlo.tan", .prepare = PrepareReal<kTan>},
    {.name = "custom_call.chlo.top_k", .prepare = PrepareTopK},
    {.name = "custom_call.mhlo.acos", .prepare = PrepareReal<kAcos>},
    {.name = "custom_call.mhlo.acosh", .prepare = PrepareReal<kAcosh>},
    {.name = "custom_call.mhlo.asin", .prepare = PrepareReal<kAsin>},
    {.name = "custom_call.mhlo.asinh", .prepare = PrepareReal<kAsinh>},
    {.name = "custom_call.mhlo.atanh", .prepare = PrepareReal<kAtanh>},
    {.name = "custom_call.mhlo.cosh", .prepare = PrepareReal<kCosh>},
    {.name = "custom_call.mhlo.erf", .prepare = PrepareReal<kErf>},
    {.name = "custom_call.mhlo.sinh", .prepare = PrepareReal<kSinh>},
    {.name = "custom_call.mhlo.tan", .prepare = PrepareReal<kTan>},
    {.name = "custom_call.mhlo.topk", .prepare = PrepareTopK},
};

}  // namespace

std::span<const OpDef> custom_call_ops() { return kOps; }

}  // namespace sigrun::ops
