#include <map>
#include <vector>

#include "ops/op.h"
#include "ops/support/arithmetic.h"

// WHERE and UNIQUE: how much comes out depends on the data. It is looked at while planning, and the result is kept until the data changes.
namespace sigrun::ops {
namespace {

/// A step that writes what is known by now.
template <class T>
void EmitResult(Prepare& p, int o, std::vector<T> result) {
  p.Emit([result = std::move(result), y = p.out(o)](RunContext& run) noexcept { std::copy(result.begin(), result.end(), run.get<T>(y)); });
}

// The coordinates of all elements that are not zero, in order.
void PrepareWhere(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kInt64});
  const Shape& shape = p.shape(0);
  const int64_t n = p.elements(0), rank = static_cast<int64_t>(shape.size());
  std::vector<int64_t> result;
  WithArithmetic(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    const T* condition = n == 0 ? nullptr : p.known_as<T>(0);
    for (int64_t i = 0; i < n; ++i) {
      if (Widen(condition[i]) == decltype(Widen(condition[i])){}) continue;
      result.resize(result.size() + static_cast<size_t>(rank));
      int64_t rest = i;
      for (size_t d = shape.size(), at = result.size(); d-- > 0; rest /= shape[d]) result[--at] = rest % shape[d];
      if (rank == 0) result.push_back(0);  // a scalar that is true: counted below
    }
  });
  const int64_t found = rank == 0 ? static_cast<int64_t>(result.size()) : static_cast<int64_t>(result.size()) / rank;
  if (rank == 0) result.clear();
  p.SetShape(0, {static_cast<int32_t>(found), static_cast<int32_t>(rank)});
  EmitResult(p, 0, std::move(result));
}

// The different elements in the order in which they first occur, and for every element which of them it is. No NaN equals another.
template <class T, class I>
void EmitUnique(Prepare& p) {
  const int64_t n = p.elements(0);
  const T* values = n == 0 ? nullptr : p.known_as<T>(0);
  std::map<T, I> seen;
  std::vector<T> unique;
  std::vector<I> which;
  for (int64_t i = 0; i < n; ++i) {
    const I next = static_cast<I>(unique.size());
    const bool is_nan = values[i] != values[i];
    const I at = is_nan ? next : seen.try_emplace(values[i], next).first->second;
    if (at == next) unique.push_back(values[i]);
    which.push_back(at);
  }
  p.SetShape(0, {static_cast<int32_t>(unique.size())});
  p.SetShape(1, {static_cast<int32_t>(n)});
  EmitResult(p, 0, std::move(unique));
  EmitResult(p, 1, std::move(which));
}

void PrepareUnique(Prepare& p) {
  p.CheckCounts(1, 1, 2);
  p.CheckOutputType(0, {p.type(0)});
  p.Check(p.shape(0).size() == 1, "its input has shape ", ToString(p.shape(0)), ", expected a vector");
  WithType<F32, F64, I8, U8, I16, U16, I32, U32, I64, U64>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    WithType<I32, I64>(p, p.output_type(1), "indices", [&]<class I>(std::type_identity<I>) { EmitUnique<T, I>(p); });
  });
}

constexpr OpDef kOps[] = {
    {.name = "UNIQUE", .prepare = PrepareUnique},
    {.name = "WHERE", .prepare = PrepareWhere},
};

}  // namespace

std::span<const OpDef> where_ops() { return kOps; }

}  // namespace sigrun::ops
