#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.h"
#include "plan/arena.h"
#include "plan/plan.h"

namespace sigrun {

/// The state behind Prepare: what is known of every value, and the steps, slots and memory asked for so far.
class PlanBuilder {
 public:
  /// Both must outlive the builder.
  PlanBuilder(const Graph& graph, const PlanContext& context);
  PlanBuilder(const Graph& graph, PlanContext&& context) = delete;

  void SetInputShape(int32_t value, const Shape& shape);
  /// Starts from what earlier parts of the graph have computed.
  void SetPrior(const Prior& prior);
  /// Prepares node `position` of the graph and, if all its inputs are known and it is pure, runs it at once. False, and nothing added, if
  /// it has to wait for data.
  bool Add(const Node& node, int32_t position);
  /// How many bytes may still be computed while planning. What is beyond is left to run with the rest.
  void SetFoldingBudget(size_t bytes) { folding_budget_ = bytes; }
  /// `next` is the position of the first node that was not added.
  std::shared_ptr<Plan> Finish(int32_t next);

 private:
  friend class Prepare;
  friend bool FoldNode(const Graph&, const Node&, const kernels::Kernels&, size_t, Folded&);

  // A piece of memory that one or more values share.
  struct Storage {
    enum Kind : uint8_t { kArena, kConstant, kBoundary, kStrings, kPrior, kLate, kState };
    Kind kind = kArena;
    size_t bytes = 0;
    int32_t first = 0, last = 0;  // positions of the nodes that need it
    const std::byte* pointer = nullptr;
    int32_t value = -1;  // kBoundary, kStrings, kPrior, kLate, kState: the value it belongs to
    int64_t elements = 0;
  };
  struct SlotOrigin {
    int32_t storage;
    size_t offset;
  };

  // Thrown by Known where data is needed that is not there yet.
  struct Wait {};
  const std::byte* Known(int32_t value);
  bool IsHalf(int32_t value) const { return graph_.values[Index(value)].is_half; }
  void Widen(int32_t value, std::byte* to) const;
  const std::byte* Widened(int32_t value);
  const Strings& KnownStrings(int32_t value);
  bool IsFoldable(const Node& node) const;
  bool RunNow(const Node& node, size_t first_step);
  void TruncateSteps(size_t count);
  void FuseLines();
  bool Follows(size_t form, const std::vector<int32_t>& readers) const;
  LineChain LongestChain(size_t first_form, const std::vector<int32_t>& readers) const;
  LineChain ChainAt(size_t first_form, const std::vector<int32_t>& readers) const;
  bool FuseChain(const LineChain& chain, size_t first_form);
  bool SeparateOutput(const LineChain& chain, size_t first_form);
  int32_t NewStorage(Storage storage);
  int32_t SlotOf(int32_t value);
  int32_t StorageOf(int32_t value);
  int32_t NewSlot(int32_t storage, size_t offset);
  void Share(int32_t output, int32_t storage, size_t offset);
  bool IsLate(int32_t value) const { return std::find(late_.begin(), late_.end(), value) != late_.end(); }
  bool IsBoundary(int32_t value) const { return is_input_[Index(value)] || is_output_[Index(value)]; }
  size_t BytesOfValue(int32_t value) const;
  const std::vector<int32_t>& ReadersOf(int32_t value);
  size_t FootprintOfValue(int32_t value) const;  // the same, and the least that strings take
  std::vector<Plan::Block> Blocks(const ArenaLayout& layout, const std::vector<SlotSource>& sources) const;
  static size_t Index(int32_t i) { return static_cast<size_t>(i); }

  const Graph& graph_;
  const PlanContext& context_;
  const kernels::Kernels& kernels_;
  size_t folding_budget_ = size_t{64} << 20;
  int32_t position_ = 0;
  const Node* node_ = nullptr;

  std::vector<Shape> shapes_;
  std::vector<char> has_shape_, is_input_, is_output_, is_bf16_;
  std::vector<const std::byte*> constants_;
  AlignedBytes widened_;                       // room for any constant that is float16 still, as float32, ...
  int32_t widened_value_ = -1;                 // and the one that it holds
  std::vector<int32_t> last_use_;              // position of the last reader; after the end for graph outputs
  std::vector<std::vector<int32_t>> readers_;  // by value: positions of nodes; empty until somebody asks
  std::vector<int32_t> storage_of_;            // by value; -1: none yet
  std::vector<size_t> offset_of_;              // by value: in its storage
  std::vector<int32_t> slot_of_;               // by value; -1: none yet
  std::vector<int32_t> carried_;               // by value: the input that an output may replace; else -1
  std::vector<char> may_change_;               // by value: an input that is nobody's once it has been read
  std::vector<Storage> storages_;
  std::vector<SlotOrigin> slots_;
  std::vector<Step> steps_;
  struct LineForm {
    size_t step;       // of steps_, which it is another form of
    int32_t position;  // of the node
    LineStep lines;
  };
  std::vector<LineForm> line_forms_;  // in the order of their steps
  std::vector<std::byte*> prior_;     // by value id: memory of earlier parts; empty for the first part
  std::vector<Plan::Assumed> assumed_;
  std::vector<int32_t> late_;
  std::vector<Plan::Subgraph> subgraphs_;
  std::vector<uint32_t> runners_;
  std::map<std::pair<int32_t, std::string>, std::vector<Slot>> derived_;  // by value and key
  std::shared_ptr<int> subgraphs_left_;
  bool uses_state_ = false;
  std::vector<std::shared_ptr<const void>> owners_;
  std::vector<std::string> kernels_used_;  // by position of the node
};

}  // namespace sigrun
