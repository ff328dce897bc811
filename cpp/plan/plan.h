#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "kernels/kernels.h"
#include "plan/packed_store.h"
#include "run/run_context.h"

namespace sigrun {

/// Where the pointer of a slot comes from when a runner binds a plan.
struct SlotSource {
  enum Kind : uint8_t { kArena, kConstant, kBoundary, kStrings };
  Kind kind = kArena;
  size_t offset = 0;                   // kArena
  const std::byte* pointer = nullptr;  // kConstant
  int32_t index = -1;                  // kBoundary: the graph input's or output's value id; kStrings: entry of Plan::strings
};

/// A graph for fixed input shapes, ready to run: immutable, shared by every runner that needs these shapes.
struct Plan {
  std::shared_ptr<const Graph> graph;
  std::vector<Shape> input_shapes;
  std::vector<Step> steps;
  std::vector<SlotSource> slots;
  size_t arena_bytes = 0;

  struct StringsOf {
    int32_t value;  // a graph input or output, or -1
    int64_t elements;
  };
  std::vector<StringsOf> strings;

  std::vector<Shape> shapes;                         // by value id
  std::vector<const std::byte*> constants;           // by value id: file, folded or computed from shapes; null if not known
  std::vector<std::shared_ptr<const void>> owners;   // of step arguments and constants
};

/// `packed` must outlive the plan. Throws Error naming the op at fault.
std::shared_ptr<const Plan> MakePlan(std::shared_ptr<const Graph> graph, std::vector<Shape> input_shapes, const kernels::Kernels& kernels,
                                     PackedStore& packed, int workers);

/// Runs a node whose inputs are all known; one shape and its bytes an output. False if the op is impure, refuses its data, or needs more than
/// `budget` bytes.
struct Folded {
  std::vector<Shape> shapes;
  std::vector<std::shared_ptr<AlignedBytes>> bytes;
};
bool FoldNode(const Graph& graph, const Node& node, const kernels::Kernels& kernels, size_t budget, Folded& result);

/// The last few plans, by input shapes.
class PlanCache {
 public:
  /// Null if there is none.
  std::shared_ptr<const Plan> Find(const std::vector<Shape>& input_shapes);
  void Add(std::shared_ptr<const Plan> plan);

 private:
  static constexpr size_t kCapacity = 16;
  std::list<std::shared_ptr<const Plan>> plans_;  // most recent first
};

}  // namespace sigrun
