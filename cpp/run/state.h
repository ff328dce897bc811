#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "sigrun/interpreter.h"

namespace sigrun {

/// What a variable holds; `strings` if its type is STRING, else `bytes`, of which there may be more than the shape says.
struct Variable {
  bool assigned = false;
  TensorType type = TensorType::kFloat32;
  Shape shape;
  AlignedBytes bytes;
  Strings strings;

  /// Copies a value; memory is taken only where there is too little. `data` is a string tensor's Strings. Throws Error.
  void Assign(TensorType new_type, const Shape& new_shape, const std::byte* data);
};

/// Keys of one type, INT64 or STRING, and a value for each: an element of `values`, or of `strings`.
struct HashTable {
  bool imported = false;
  TensorType key_type = TensorType::kInt64, value_type = TensorType::kString;
  std::unordered_map<int64_t, size_t> by_number;
  std::unordered_map<std::string, size_t> by_text;
  std::vector<std::byte> values;
  Strings strings;

  size_t size() const { return by_number.size() + by_text.size(); }
};

/// What outlives a call and is shared by all runners of one Interpreter: variables and hash tables, variable tensors, and which subgraphs
/// have run their one time. Its mutex is held by a call from its first step that uses state to its end, and by whoever reads or writes
/// values from outside.
class State {
 public:
  std::recursive_mutex& mutex() { return mutex_; }

  // --- what VAR_HANDLE and HASHTABLE name, by handle: numbers that stand in RESOURCE tensors
  // ------------------------------------------------
  /// The handle of a variable or table; it is made, without a value, when it is first asked for.
  int32_t VariableHandle(std::string_view container, std::string_view name);
  int32_t TableHandle(int32_t table_id);
  /// Null if the handle is none of a variable, or none of a table. Only under the mutex.
  Variable* variable(int32_t handle);
  HashTable* table(int32_t handle);

  // --- tensors that the file marks as variable
  // ----------------------------------------------------------------------------------------------
  /// Memory of one, made and filled with `fill` when it is first asked for.
  std::byte* VariableTensor(uint32_t subgraph, int32_t value, size_t bytes, std::byte fill);
  /// Fills the variable tensors as when they were made: all, or those of one subgraph.
  void ResetVariables();
  void ResetVariables(uint32_t subgraph);

  // --- CALL_ONCE
  // ----------------------------------------------------------------------------------------------------------------------------
  /// True the first time it is asked of a subgraph.
  bool TakeFirstTurn(uint32_t subgraph) { return initialized_.insert(subgraph).second; }
  /// The turn failed: another will be taken.
  void GiveBackTurn(uint32_t subgraph) { initialized_.erase(subgraph); }
  bool HadFirstTurn(uint32_t subgraph) const { return initialized_.count(subgraph) != 0; }

 private:
  struct Filled {
    AlignedBytes bytes;
    std::byte fill;
    void Reset() const;
  };
  struct Resource {
    std::unique_ptr<Variable> variable;
    std::unique_ptr<HashTable> table;
  };
  template <class Key>
  int32_t HandleOf(std::map<Key, int32_t>& handles, Key key, Resource made);

  std::recursive_mutex mutex_;
  std::deque<Resource> resources_;  // by handle
  std::map<std::pair<std::string, std::string>, int32_t> variable_handles_;
  std::map<int32_t, int32_t> table_handles_;
  std::map<std::pair<uint32_t, int32_t>, Filled> variable_tensors_;
  std::set<uint32_t> initialized_;
};

/// A variable as the file declares it: by VAR_HANDLE, or as a variable tensor.
struct DeclaredVariable {
  std::string name;       // made unique
  std::string container;  // of VAR_HANDLE
  std::string shared_name;
  uint32_t subgraph = 0;  // of a variable tensor
  int32_t tensor = -1;    // -1: VAR_HANDLE
};
std::vector<DeclaredVariable> DeclaredVariables(const FlatModel& model);

/// The subgraphs that CALL_ONCE operators run, each once.
std::vector<uint32_t> InitializationSubgraphs(const FlatModel& model);

/// The byte that a variable tensor is filled with at first.
std::byte FillOf(TensorType type, const Quantization& quantization);

}  // namespace sigrun
