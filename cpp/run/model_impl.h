#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/passes/passes.h"
#include "kernels/kernels.h"
#include "model/flat_model.h"
#include "model/mapped_file.h"
#include "plan/packed_store.h"
#include "sigrun/interpreter.h"

namespace sigrun {

struct Model::Impl {
  std::shared_ptr<const void> owner;       // of the bytes: a mapped file, or the caller's object
  std::shared_ptr<const MappedFile> file;  // if it is one
  std::span<const uint8_t> bytes;          // of the model
  std::unique_ptr<const FlatModel> flat;
  std::vector<Signature> signatures;
  Signature default_signature;
  std::string description;
  std::vector<std::pair<std::string, std::string_view>> metadata;

  /// Built, and its passes run, once for each subgraph and choice; throws Error. Constants are folded by `kernels`; with `preserve_all`,
  /// every value that a node of the file computes counts as an output.
  std::shared_ptr<const Graph> graph(uint32_t subgraph, const kernels::Kernels& kernels, bool preserve_all,
                                     passes::Reliance reliance = passes::Reliance::kFileShapes) const;
  PackedStore& packed() const { return packed_; }

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::tuple<uint32_t, const kernels::Kernels*, bool, passes::Reliance>, std::shared_ptr<const Graph>> graphs_;
  mutable PackedStore packed_;
};

}  // namespace sigrun
