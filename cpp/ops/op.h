#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "kernels/kernels.h"
#include "model/error.h"
#include "plan/line_chain.h"
#include "run/run_context.h"

// The contract of an operator. A file of cpp/ops holds one family and defines
//     std::span<const OpDef> sigrun::ops::<file>_ops();
// which the build finds by itself. An OpDef's `prepare` reads the options, checks types, infers shapes, picks kernels, asks for scratch and
// packed weights, and emits the steps that run. It is called once a plan; everything it decides is constant for that plan's shapes.
namespace sigrun {

class PlanBuilder;
struct Plan;

class Prepare {
 public:
  Prepare(PlanBuilder& builder, const Graph& graph, const Node& node) : builder_(builder), graph_(graph), node_(node) {}

  // --- the node -----------------------------------------------------------------------------------------------------------------------
  const Node& node() const { return node_; }
  uint32_t subgraph() const { return graph_.subgraph; }
  const flatbuffer::Table& options() const { return node_.info->options; }
  const flatbuffer::Table& options_2() const { return node_.info->options_2; }
  std::span<const uint8_t> custom_options() const { return node_.info->custom_options; }
  schema::Activation activation() const { return node_.activation; }
  std::string_view op_name() const;
  /// The whole file, for operators that read what another subgraph computes.
  const FlatModel& model() const;
  const kernels::Kernels& kernels() const;
  /// For reports: how the node is computed, in place of the tier's name alone.
  void Explain(std::string kernel);
  /// How many threads may run a step: scratch that is not shared is asked for this many times.
  int workers() const;
  /// How exactly float32 products have to be computed.
  Precision precision() const;

  // --- operands: i counts the node's inputs or outputs -----------------------------------------------------------------------------------
  int inputs() const { return static_cast<int>(node_.inputs.size()) - (node_.slope >= 0) - (node_.residual >= 0); }
  int outputs() const { return static_cast<int>(node_.outputs.size()); }
  /// False if the input is absent: beyond the list, or -1. Fused operands (Node::slope and residual) are not counted by inputs(), but have
  /// their positions like any other.
  bool has_input(int i) const;
  /// Throws unless the node has between `least` and `most` inputs, the first `least` of them present, and exactly `outputs` outputs.
  void CheckCounts(int least, int most, int outputs) const;

  TensorType type(int i) const;
  TensorType output_type(int o) const;
  const Shape& shape(int i) const;
  int64_t elements(int i) const;
  /// Whether the input keeps its content from call to call, so that steps may write it.
  bool is_variable(int i) const;
  /// The activation fused into the operator that computes the input; kNone where there is none.
  schema::Activation input_activation(int i) const;
  const Quantization& quantization(int i) const;
  const Quantization& output_quantization(int o) const;
  /// Of intermediate tensor i, which carries nothing else.
  const Quantization& intermediate_quantization(int i) const;
  /// The single scale and zero point of a per-tensor quantised operand; throws if there is not exactly one, or the scale is not positive
  /// and finite.
  struct Affine {
    float scale;
    int32_t zero_point;
  };
  Affine affine(int i) const;
  Affine output_affine(int o) const;
  Affine intermediate_affine(int i) const;

  /// Throws unless the type is among `allowed`; the message names the operand.
  void CheckType(int i, std::initializer_list<TensorType> allowed) const;
  void CheckOutputType(int o, std::initializer_list<TensorType> allowed) const;

  /// The input's bytes if its value is known while planning, else null. They may last no longer than `prepare`.
  const std::byte* constant(int i) const;
  /// Whether they are known, for less than asking for them may cost.
  bool is_constant(int i) const;
  /// Of a float32 constant that the file holds as float16, and that constant() widens: what the file holds. Else null.
  const uint16_t* halves(int i) const;
  template <class T>
  const T* constant_as(int i) const {
    return reinterpret_cast<const T*>(constant(i));
  }
  /// The input's bytes where shapes depend on them. If they are not known yet, planning stops before this node and goes on when the model
  /// runs and they are; so ask before anything is emitted. Not for strings.
  const std::byte* Known(int i) const;
  template <class T>
  const T* known_as(int i) const {
    return reinterpret_cast<const T*>(Known(i));
  }
  /// The same for an input of strings.
  const Strings& KnownStrings(int i) const;
  /// Known() for an int32 or int64 input: axes, shapes, paddings. `what` names it in messages.
  std::vector<int64_t> ConstantInts(int i, const char* what) const;

  /// A sparse constant as the file stores it: its bytes, and how they lie in the tensor. `parameters` is null for a dense one.
  struct Sparse {
    std::span<const std::byte> bytes;
    flatbuffer::Table parameters;
  };
  Sparse sparse(int i) const;

  /// How an input quantised by blocks along its last dimension is scaled: a number for each `size` elements.
  struct Blocks {
    int32_t size;
    std::vector<float> scale;
  };
  Blocks blocks(int i) const;

  [[noreturn]] void Refuse(StatusCode code, const std::string& what) const;
  /// Refuse(kInvalidArgument, parts...) unless `holds`.
  template <class... Parts>
  void Check(bool holds, const Parts&... parts) const {
    if (!holds) Refuse(StatusCode::kInvalidArgument, Concat(parts...));
  }

  // --- results ---
  /// Every output needs its shape before `out` is asked for.
  void SetShape(int o, Shape shape);
  const Shape& output_shape(int o) const;
  /// As the file has it: -1 for dimensions that are not fixed.
  const Shape& model_shape(int o) const;
  /// The same, or none if a dimension or the rank is not fixed.
  std::optional<Shape> fixed_output_shape(int o) const;
  int64_t output_elements(int o) const;

  /// Where an operand's memory is found while running. An absent input has the null slot, for which RunContext gives a null pointer.
  Slot in(int i);
  Slot out(int o);
  /// Bytes that live only during this node's steps, aligned to 64.
  Slot Scratch(size_t bytes);

  /// Memory for what several nodes make of input i alike, and call by the same `key`; it lives until the last of them. `fresh` says that
  /// this node is the first: its steps have to fill it.
  struct Derived {
    std::vector<Slot> slots;
    bool fresh;
  };
  Derived Derive(int i, const std::string& key, std::initializer_list<size_t> bytes);

  /// The output is the input's bytes under another shape: the node emits nothing. Only if both take the same number of bytes.
  void Alias(int o, int i);
  /// The output is the input's bytes from `offset` on, which is a multiple of an element. False if it cannot be so: then the steps copy.
  bool AliasPart(int o, int i, size_t offset);
  /// Whether float32 input i stands in memory as bfloat16. Only operators that say so, by OpDef::takes_bf16, see such inputs.
  bool is_bf16(int i) const;
  /// Whether all that read float32 output o take it as bfloat16, and nobody else sees it.
  bool ReadersTakeBf16(int o) const;
  /// The steps store float32 output o as bfloat16, which its readers take. Call before out(o).
  void StoreAsBf16(int o);

  /// The steps read element e of the input before they write element e of the output, so that both may share memory. Call before out(o).
  void MayOverwrite(int o, int i);

  /// Instead of SetShape: the step sets the shape and the elements, through get<LateValue>(out(o)). Call before out(o).
  void SetShapeLater(int o);

  // --- other subgraphs, and state ---
  const Graph& graph_of(uint32_t subgraph) const;
  /// The subgraph planned for these shapes; `loop` means that its outputs are its next inputs. It serves as a frame only if it is whole().
  std::shared_ptr<const Plan> PlanSubgraph(uint32_t subgraph, std::vector<Shape> input_shapes, bool loop = false) const;
  /// Asks for memory for a plan that this node's steps run, through RunContext::frame(the result).
  int AddFrame(std::shared_ptr<const Plan> plan);
  /// Asks for a runner of a subgraph: for shapes that depend on data. RunContext::runner(the result).
  int AddRunner(uint32_t subgraph);
  /// The steps use RunContext::state(), which is the result.
  State& UseState();

  /// Weights in the kernel's layout, made once a Model and shared: `key` tells layouts of one constant apart (the kernel tier is part of it
  /// already). fill(std::byte*) is called at most once. Input i must be constant.
  const std::byte* Pack(int i, const std::string& key, size_t bytes, const std::function<void(std::byte*)>& fill);

  /// A step: a callable `void(RunContext&) const noexcept` that captures slots and plain values. Steps of a node run in the order of
  /// emission.
  template <class F>
  void Emit(F step) {
    static_assert(std::is_nothrow_invocable_v<const F&, RunContext&>, "a step is noexcept");
    auto owned = std::make_shared<const F>(std::move(step));
    AddStep(Step{[](const void* self, RunContext& run) noexcept { (*static_cast<const F*>(self))(run); }, owned.get(), nullptr}, owned);
  }

  /// The step that was emitted last in another form: a callable `void(const RunContext&, const std::byte* input, std::byte* output,
  /// kernels::Range lines, int worker) const noexcept` that computes lines of output 0 from input i, so that it may run in bands with its
  /// neighbours. It must not depend on other steps of the node, unless they are done before.
  template <class F>
  void AlsoByLines(int i, const LineGeometry& geometry, F step) {
    auto owned = std::make_shared<const F>(std::move(step));
    AddLineStep(i, MakeLineStep(geometry, owned.get()), owned);
  }
  /// The step that AlsoByLines was given last, by blocks of channels too: what AddBlocks takes.
  template <class F>
  void AlsoByChannels(const ChannelGeometry& channels, F step) {
    auto owned = std::make_shared<const F>(std::move(step));
    AddBlocks(channels, owned.get(), &LastLineStep(owned));
  }

 private:
  void AddStep(Step step, std::shared_ptr<const void> owner);
  bool Share(int o, int i, size_t offset);
  void AddLineStep(int i, LineStep step, std::shared_ptr<const void> owner);
  LineStep& LastLineStep(std::shared_ptr<const void> owner);
  int64_t ElementsOf(const Shape& shape) const;

  PlanBuilder& builder_;
  const Graph& graph_;
  const Node& node_;
};

enum OpTraits : uint32_t {
  kPlain = 0,
  kFusesPadding = 1,     // prepare honours Node::padding
  kImpure = 2,           // has state or effects: never folded, never dropped
  kReadsShapes = 4,      // reads no input but its shape, so that the outputs are known while planning
  kFusesEpilogue = 8,    // prepare honours Node::function, slope and residual where input and weights are float32; it has three operands
  kFusesSum = 16,        // prepare honours Node::residual where input, weights and output are int8; it has three operands
  kFusesHybridSum = 32,  // the same where input and output are float32, the weights int8 with scales for whole channels
  kSkipsPadding = 64,  // prepare honours Node::padding, whose taps do not count; windows are fields 3 (width) and 4 (height) of the options
  kFusesDilation = 128,     // prepare honours Node::dilation; padding and strides are fields 0 (padding), 1 and 2 (strides) of the options
  kFlushesDenormals = 256,  // its steps may take denormal floats for 0, coming and going
};

struct OpDef {
  const char* name;  // TFLite's builtin name ("CONV_2D"), or the custom operator's own ("FlexAsString")
  void (*prepare)(Prepare&);
  int activation_field = -1;  // field id of fused_activation_function in the options; prepare honours Prepare::activation()
  uint32_t traits = kPlain;
  /// Whether prepare honours float32 input i, a fused one included, that stands in memory as bfloat16. Asked when the producer is prepared:
  /// before inputs have shapes, but for constants. Null: it honours none.
  bool (*takes_bf16)(const Prepare& p, int i) = nullptr;
};

namespace ops {

using OpFamily = std::span<const OpDef> (*)();
std::span<const OpFamily> OpFamilies();  // written by the build

#if defined(SIGRUN_OP_FAMILY) && defined(__ELF__)
// The first model asks all families for their operators: side by side, these functions bring in a page or two, apart some of every file's
// code.
[[gnu::section(".text.startup")]] std::span<const OpDef> SIGRUN_OP_FAMILY();
#endif

/// Null if there is no such operator.
const OpDef* FindOp(std::string_view name);

/// Operators that the program brings along, found before those of the same name here. The last one of a name counts; all stay for the
/// models that use them. Thread-safe.
void RegisterCustomOp(std::shared_ptr<const OpDef> op);
const OpDef* FindCustomOp(std::string_view name);

}  // namespace ops
}  // namespace sigrun
