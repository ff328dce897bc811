#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "graph/graph.h"

namespace sigrun {

/// What outlives a call and is shared by all runners of one Interpreter: variable tensors, and which subgraphs have run their one time. Its
/// mutex is held by a call from its first step that uses state to its end.
class State {
 public:
  std::recursive_mutex& mutex() { return mutex_; }

  /// Memory of a variable tensor, made and filled with `fill` when it is first asked for.
  std::byte* Variable(uint32_t subgraph, int32_t value, size_t bytes, std::byte fill);
  /// Fills the variable tensors as when they were made: all, or those of one subgraph.
  void ResetVariables();
  void ResetVariables(uint32_t subgraph);

  /// True the first time it is asked of a subgraph.
  bool TakeFirstTurn(uint32_t subgraph) { return initialized_.insert(subgraph).second; }
  /// The turn failed: another will be taken.
  void GiveBackTurn(uint32_t subgraph) { initialized_.erase(subgraph); }

 private:
  struct VariableTensor {
    AlignedBytes bytes;
    std::byte fill;
    void Reset() const;
  };
  std::recursive_mutex mutex_;
  std::map<std::pair<uint32_t, int32_t>, VariableTensor> variables_;
  std::set<uint32_t> initialized_;
};

}  // namespace sigrun
