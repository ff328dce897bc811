#include <cstring>

#include "model/error.h"
#include "ops/op.h"

// HASHTABLE, HASHTABLE_IMPORT, HASHTABLE_FIND and HASHTABLE_SIZE: tables of the Interpreter, filled once.
namespace sigrun::ops {
namespace {

void PrepareHashtable(Prepare& p) {
  p.CheckCounts(0, 0, 1);
  p.CheckOutputType(0, {TensorType::kResource, TensorType::kInt32});
  p.SetShape(0, {1});
  const int32_t handle = p.UseState().TableHandle(p.options().Scalar<int32_t>(0));
  p.Emit([handle, y = p.out(0)](RunContext& run) noexcept { *run.get<int32_t>(y) = handle; });
}

void CheckHandle(const Prepare& p) {
  p.CheckType(0, {TensorType::kResource, TensorType::kInt32});
  p.Check(p.elements(0) == 1, "its table has the shape ", ToString(p.shape(0)));
}

// Null after a report.
HashTable* FindTable(RunContext& run, Slot handle) {
  HashTable* table = run.state().table(*run.get<int32_t>(handle));
  if (table == nullptr) run.Fail(Concat(*run.get<int32_t>(handle), " is no table"));
  return table;
}

struct Types {
  TensorType key, value;
};

const HashTable* FindImported(RunContext& run, Slot handle, Types types) {
  const HashTable* table = FindTable(run, handle);
  if (table == nullptr) return nullptr;
  if (!table->imported) {
    run.Fail("the table is used before it was filled");
  } else if (table->key_type != types.key || table->value_type != types.value) {
    run.Fail(Concat("the table maps ", TensorTypeName(table->key_type), " to ", TensorTypeName(table->value_type), ", asked for is ",
                    TensorTypeName(types.key), " to ", TensorTypeName(types.value)));
  } else {
    return table;
  }
  return nullptr;
}

void CheckKeys(const Prepare& p, TensorType value) {
  p.CheckType(1, {TensorType::kInt64, TensorType::kString});
  p.Check(value == TensorType::kString || (TensorTypeBits(value) > 0 && TensorTypeBits(value) % 8 == 0), "values of type ",
          TensorTypeName(value));
}

size_t ValueBytes(TensorType type) { return static_cast<size_t>(TensorTypeBits(type)) / 8; }

/// f(n, position of key n in the table, or -1)
template <class F>
void LookUp(const HashTable& table, const RunContext& run, Slot keys, int64_t count, const F& f) {
  const auto look = [&](const auto& map, const auto* key) {
    for (size_t n = 0; n < static_cast<size_t>(count); ++n) {
      const auto found = map.find(key[n]);
      f(n, found == map.end() ? int64_t{-1} : static_cast<int64_t>(found->second));
    }
  };
  if (table.key_type == TensorType::kString) {
    look(table.by_text, run.get<const Strings>(keys)->data());
  } else {
    look(table.by_number, run.get<const int64_t>(keys));
  }
}

void PrepareFind(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  CheckHandle(p);
  CheckKeys(p, p.type(2));
  p.CheckOutputType(0, {p.type(2)});
  p.Check(p.elements(2) == 1, "its default value has the shape ", ToString(p.shape(2)));
  p.UseState();
  p.SetShape(0, p.shape(1));
  p.Emit([types = Types{p.type(1), p.type(2)}, count = p.elements(1), x = p.in(0), keys = p.in(1), otherwise = p.in(2),
          y = p.out(0)](RunContext& run) noexcept {
    const HashTable* table = FindImported(run, x, types);
    if (table == nullptr) return;
    if (types.value == TensorType::kString) {
      const std::string& absent = run.get<const Strings>(otherwise)->front();
      LookUp(*table, run, keys, count,
             [&](size_t n, int64_t at) { (*run.get<Strings>(y))[n] = at < 0 ? absent : table->strings[static_cast<size_t>(at)]; });
      return;
    }
    const size_t size = ValueBytes(types.value);
    LookUp(*table, run, keys, count, [&](size_t n, int64_t at) {
      const std::byte* from = at < 0 ? run.get<std::byte>(otherwise) : table->values.data() + static_cast<size_t>(at) * size;
      std::memcpy(run.get<std::byte>(y) + n * size, from, size);
    });
  });
}

// Of keys that come twice the first one stays, as in LiteRT.
void Import(HashTable& table, const RunContext& run, Types types, size_t count, Slot keys, Slot values) {
  const auto insert = [&](auto& map, const auto* key) {
    for (size_t n = 0; n < count; ++n) map.emplace(key[n], n);
  };
  table = HashTable{};
  table.key_type = types.key;
  table.value_type = types.value;
  if (types.value == TensorType::kString) {
    table.strings = *run.get<const Strings>(values);
  } else {
    const std::byte* bytes = run.get<const std::byte>(values);
    table.values.assign(bytes, bytes + count * ValueBytes(types.value));
  }
  if (types.key == TensorType::kString) {
    insert(table.by_text, run.get<const Strings>(keys)->data());
  } else {
    insert(table.by_number, run.get<const int64_t>(keys));
  }
  table.imported = true;
}

void PrepareImport(Prepare& p) {
  p.CheckCounts(3, 3, 0);
  CheckHandle(p);
  CheckKeys(p, p.type(2));
  p.Check(p.elements(1) == p.elements(2), p.elements(1), " keys for ", p.elements(2), " values");
  p.UseState();
  p.Emit([types = Types{p.type(1), p.type(2)}, count = static_cast<size_t>(p.elements(1)), x = p.in(0), keys = p.in(1),
          values = p.in(2)](RunContext& run) noexcept {
    HashTable* table = FindTable(run, x);
    if (table == nullptr || table->imported) return;  // it is filled once
    const Status status = Guard([&] { Import(*table, run, types, count, keys, values); });
    if (!status.ok()) run.Fail(status.message());
  });
}

void PrepareSize(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  CheckHandle(p);
  p.CheckOutputType(0, {TensorType::kInt64});
  p.UseState();
  p.SetShape(0, {1});
  p.Emit([x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    if (const HashTable* table = FindTable(run, x)) *run.get<int64_t>(y) = static_cast<int64_t>(table->size());
  });
}

constexpr OpDef kOps[] = {
    {.name = "HASHTABLE", .prepare = PrepareHashtable, .traits = kImpure},
    {.name = "HASHTABLE_FIND", .prepare = PrepareFind, .traits = kImpure},
    {.name = "HASHTABLE_IMPORT", .prepare = PrepareImport, .traits = kImpure},
    {.name = "HASHTABLE_SIZE", .prepare = PrepareSize, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> hashtable_ops() { return kOps; }

}  // namespace sigrun::ops
