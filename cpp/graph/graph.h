#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "model/flat_model.h"
#include "model/schema.h"

namespace sigrun {

struct OpDef;

/// Whether this machine could ever hold `bytes`.
bool FitsMachine(size_t bytes);
/// Throws Error (kOutOfMemory) if not; `what` needs them.
void CheckFitsMachine(size_t bytes, const std::string& what);

/// Memory aligned to 64 bytes, sized once.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  /// Throws Error (kOutOfMemory) if the machine does not have that much. The bytes are not initialised.
  explicit AlignedBytes(size_t size);
  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

/// A tensor of the graph. Ids are indices of Graph::values: first the file's tensors in their order, then those of inlined subgraphs.
struct Value {
  std::string_view name;
  TensorType type = TensorType::kFloat32;
  Shape shape;  // -1 where only the inputs' shapes decide
  const Quantization* quantization = nullptr;
  const std::byte* constant = nullptr;  // its bytes, if it is known without running: from the file, or folded
  size_t constant_bytes = 0;
  bool is_half = false;  // the constant's bytes are float16 still, of a float32 value that only Prepare reads: weights
  bool is_variable = false;
  flatbuffer::Table sparsity;  // of a constant whose bytes are those of a sparse tensor, else null
};

/// An operator of the graph. Passes may drop nodes, change their inputs and outputs, and set the fused fields.
struct Node {
  const OpDef* op = nullptr;
  int32_t index = 0;  // its place among the file's operators, for messages
  int32_t version = 1;
  std::vector<int32_t> inputs, outputs, intermediates;
  const OperatorInfo* info = nullptr;
  schema::Activation activation = schema::Activation::kNone;  // from the options, or fused
  std::optional<std::array<int32_t, 4>> padding;              // a fused PAD: top, bottom, left, right, added to what the op pads itself
  std::array<int32_t, 2> dilation = {1, 1};                   // of height and width, times what the options say
  // What an operator with kFusesEpilogue applies to its float sums: activation(function(sum + residual)). Slopes (of kPrelu, one an output
  // channel) and residual (of the output's shape) are operands behind the operator's own, of which absent ones are then written as -1.
  kernels::ActivationF32 function = kernels::ActivationF32::kNone;
  float alpha = 0.0f;
  int32_t slope = -1, residual = -1;  // positions in `inputs`, or -1
  // What an operator with kFusesSum adds a residual to: its 8-bit result as intermediates[0] says it is quantised, under this activation.
  schema::Activation inner_activation = schema::Activation::kNone;
};

struct Graph {
  const FlatModel* model = nullptr;
  uint32_t subgraph = 0;
  std::vector<Value> values;
  std::vector<Node> nodes;  // in an order in which every value is written before it is read
  std::vector<int32_t> inputs, outputs;
  std::vector<std::shared_ptr<AlignedBytes>> folded;  // owners of folded constants

  /// The node's name in messages: "CONV_2D #12 'conv1/BiasAdd'".
  std::string Describe(const Node& node) const;
};

/// Composites stand as the operators of their decompositions. Throws Error: kUnimplemented naming every operator that is missing, at once;
/// kInvalidArgument if a value is read before it is written.
Graph BuildGraph(const FlatModel& model, uint32_t subgraph);

/// Readable text, one line a node, for tests and debugging.
std::string Dump(const Graph& graph);

/// How often each value is read; graph outputs count once more.
std::vector<int32_t> UseCounts(const Graph& graph);

}  // namespace sigrun
