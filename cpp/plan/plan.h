#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "kernels/kernels.h"
#include "plan/line_chain.h"
#include "plan/packed_store.h"
#include "run/run_context.h"

namespace sigrun {

/// Where the pointer of a slot comes from when a runner binds a plan.
struct SlotSource {
  enum Kind : uint8_t { kArena, kConstant, kBoundary, kStrings, kPrior, kLate, kState };
  Kind kind = kArena;
  size_t offset = 0;                   // kArena: in the arena; others: from where the value begins
  const std::byte* pointer = nullptr;  // kConstant
  int32_t index = -1;                  // kBoundary, kPrior, kState: the value's id; kStrings, kLate: entry of Plan::strings or late
};

/// A graph for fixed input shapes, ready to run: immutable, shared by every runner that needs these shapes. Where a node's shapes depend on
/// data, the plan ends before it; the rest is another plan, made while running, when the data is there.
struct Plan {
  std::shared_ptr<const Graph> graph;
  std::vector<Shape> input_shapes;
  size_t first_node = 0, next_node = 0;  // the nodes it covers; next_node is the number of nodes if nothing is left
  std::vector<Step> steps;
  std::vector<SlotSource> slots;
  size_t arena_bytes = 0;

  struct StringsOf {
    int32_t value;  // a graph input or output, or -1
    int64_t elements;
  };
  std::vector<StringsOf> strings;

  // A subgraph that a step runs, with all shapes known. Its arena is scratch of the step.
  struct Subgraph {
    std::shared_ptr<const Plan> plan;
    int32_t arena;  // slot
  };
  std::vector<Subgraph> subgraphs;
  std::vector<uint32_t> runners;  // subgraphs that steps run through a runner of their own, because their shapes depend on data
  bool uses_state = false;        // of the Interpreter
  std::vector<int32_t> in_place;  // outputs that stand in the memory of the input that they are the next value of

  std::vector<Shape> shapes;                        // by value id
  std::vector<char> has_shape;                      // by value id: whether `shapes` says anything yet
  std::vector<char> is_bf16;                        // by value id: float32 that stands in memory as bfloat16
  std::vector<const std::byte*> constants;          // by value id: file, folded or computed from shapes; null if not known
  std::vector<int32_t> slot_of;                     // by value id: the slot, or -1
  std::vector<int32_t> late;                        // values that get their shape while running; the plan ends before a node that needs one
  std::vector<std::shared_ptr<const void>> owners;  // of step arguments and constants

  // For reports.
  std::vector<std::string> kernels;  // by position of the node: how it is computed
  struct Block {
    size_t offset, bytes;
    int32_t first, last;          // positions of the nodes that need it
    std::vector<int32_t> values;  // that stand in it; none for scratch
  };
  std::vector<Block> blocks;  // of the arena

  // What a later part of a graph was planned for: shapes of the values before it, and the data that it looked at.
  std::vector<Shape> prior_shapes;
  struct Assumed {
    int32_t value;
    std::vector<std::byte> bytes;
    Strings strings;  // instead, where the value has such
  };
  std::vector<Assumed> assumed;
  bool whole() const { return next_node == graph->nodes.size() && late.empty(); }
};

/// The nodes that a step runs, in order.
std::vector<const Node*> NodesOf(const Plan& plan, const Step& step);
/// Their names: "CONV_2D+DEPTHWISE_CONV_2D".
std::string OpsOf(const Plan& plan, const Step& step);

/// Which steps over lines run in bands: those whose results take at least `least_bytes`, in chains that fit into `cache_bytes`.
/// Others run by blocks of channels that take no more than `block_bytes`.
struct LineFusion {
  size_t cache_bytes = LineChain::CacheBytes();
  size_t least_bytes = cache_bytes / 3;
  size_t block_bytes = cache_bytes / 6;
};

/// An input whose next value is an output: both are values of the graph.
struct NextState {
  int32_t input, output;
};

/// What planning needs beside the graph.
struct PlanContext {
  const kernels::Kernels* kernels;
  PackedStore* packed;  // must outlive the plan; null makes packed weights private to the plan
  int workers = 1;
  Precision precision = Precision::kHighest;
  State* state = nullptr;  // the Interpreter's; null while folding constants
  LineFusion lines = {};
  std::function<std::shared_ptr<const Graph>(uint32_t subgraph)> graph_of;  // null while folding constants
  bool loop = false;                                                        // output o is the next input o, and may take its memory
  std::vector<NextState> next_states = {};                                  // the same of single inputs and outputs
  int depth = 0;                                                            // of subgraphs in subgraphs
  std::shared_ptr<int> subgraphs_left = {};  // how many more may be planned; a file can nest few subgraphs in many ways
};

/// What the parts of a graph that have run leave to the next part, by value id.
struct Prior {
  std::shared_ptr<const Plan> last;
  std::vector<std::byte*> pointers;  // null where there is no memory
  std::vector<Shape> shapes;
  std::vector<char> has_shape;
};

/// Throws Error naming the op at fault.
std::shared_ptr<const Plan> MakePlan(std::shared_ptr<const Graph> graph, std::vector<Shape> input_shapes, const PlanContext& context);

/// The plan from `prior.last->next_node` on; covers at least one node, unless it throws Error.
std::shared_ptr<const Plan> ContinuePlan(const Prior& prior, const PlanContext& context);

/// Whether `plan`, made earlier by ContinuePlan, is what ContinuePlan would make now.
bool StillHolds(const Plan& plan, const Prior& prior);

/// Runs a node whose inputs are all known; one shape and its bytes an output. False if the op is impure, refuses its data, or needs more
/// than `budget` bytes.
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
