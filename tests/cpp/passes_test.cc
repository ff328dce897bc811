#include "graph/passes/passes.h"

#include <algorithm>
#include <string_view>

#include "model/error.h"
#include "models.h"
#include "plan/plan.h"
#include "run/model_impl.h"

namespace sigrun {
namespace {

class Passes : public ::testing::Test {
 protected:
  Graph Build(const char* name) {
    model_ = LoadModel(name);
    return BuildGraph(*model_->impl().flat, 0);
  }
  std::shared_ptr<const Model> model_;
};

int Count(const Graph& graph, std::string_view op) {
  const std::string dump = Dump(graph), line = Concat("\n", op, " #");
  int count = 0;
  for (size_t at = dump.find(line); at != std::string::npos; at = dump.find(line, at + 1)) ++count;
  return count;
}

TEST_F(Passes, DumpShowsEveryNode) {
  const Graph graph = Build("dense2_dense1");
  const std::string dump = Dump(graph);
  EXPECT_EQ(dump.rfind("inputs %0:FLOAT32[-1, 4]\n", 0), 0u) << dump;
  EXPECT_NE(dump.find("FULLY_CONNECTED #1 'output': %3:FLOAT32"), std::string::npos) << dump;
  EXPECT_NE(dump.find("=const"), std::string::npos) << dump;
  EXPECT_EQ(Count(graph, "FULLY_CONNECTED"), 2);
}

TEST_F(Passes, DeadNodesGo) {
  Graph graph = Build("fusable_float32");
  ASSERT_EQ(Count(graph, "LOGISTIC"), 1);
  EXPECT_TRUE(passes::RemoveDeadNodes(graph));
  EXPECT_EQ(Count(graph, "LOGISTIC"), 0);
  EXPECT_FALSE(passes::RemoveDeadNodes(graph));
}

TEST_F(Passes, ConstantsAreFolded) {
  Graph graph = Build("fusable_float32");
  ASSERT_EQ(Count(graph, "ADD"), 2);
  EXPECT_TRUE(passes::FoldConstants(graph, kernels::Best()));
  ASSERT_EQ(Count(graph, "ADD"), 1);
  const Node& add = graph.nodes.back();
  const Value& offset = graph.values[static_cast<size_t>(add.inputs[1])];
  ASSERT_NE(offset.constant, nullptr);
  EXPECT_EQ(offset.shape, (Shape{1, 1, 1, 4}));
  const auto* values = reinterpret_cast<const float*>(offset.constant);
  EXPECT_EQ(values[0], 0.75f);
  EXPECT_EQ(values[3], 2.25f);
  EXPECT_FALSE(passes::FoldConstants(graph, kernels::Best()));
}

TEST_F(Passes, Float16WeightsBecomeConstants) {
  Graph graph = Build("convnet_float16");
  EXPECT_GE(Count(graph, "DEQUANTIZE"), 8);
  EXPECT_TRUE(passes::FoldConstants(graph, kernels::Best()));
  EXPECT_EQ(Count(graph, "DEQUANTIZE"), 0);
}

TEST_F(Passes, PadsBecomeTheConvolutionsOwn) {
  for (const char* name : {"fusable_float32", "fusable_int8"}) {
    Graph graph = Build(name);
    ASSERT_EQ(Count(graph, "PAD"), 1) << name;
    EXPECT_TRUE(passes::FusePads(graph)) << name;
    EXPECT_EQ(Count(graph, "PAD"), 0) << name;
    const auto conv = std::find_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return n.padding.has_value(); });
    ASSERT_NE(conv, graph.nodes.end()) << name;
    EXPECT_EQ(conv->inputs[0], graph.inputs[0]) << name;
    const bool float32 = std::string_view(name) == "fusable_float32";
    EXPECT_EQ(*conv->padding, (float32 ? std::array<int32_t, 4>{1, 1, 0, 2} : std::array<int32_t, 4>{2, 1, 1, 2})) << name;
    EXPECT_FALSE(passes::FusePads(graph)) << name;
  }
}

TEST_F(Passes, ActivationsJoinTheirProducer) {
  Graph graph = Build("fusable_float32");
  passes::RemoveDeadNodes(graph);
  EXPECT_TRUE(passes::FuseActivations(graph));
  EXPECT_EQ(Count(graph, "RELU") + Count(graph, "RELU6"), 0);
  std::vector<schema::Activation> found;
  for (const Node& node : graph.nodes) {
    if (node.activation != schema::Activation::kNone) found.push_back(node.activation);
  }
  EXPECT_EQ(found, (std::vector{schema::Activation::kRelu6, schema::Activation::kRelu}));
}

TEST_F(Passes, EpiloguesJoinTheirConvolution) {
  Graph graph = Build("blocks_float32");
  passes::FuseActivations(graph);
  EXPECT_TRUE(passes::FuseEpilogues(graph));
  for (const char* op : {"HARD_SWISH", "ADD", "LEAKY_RELU", "PRELU", "TANH", "LOGISTIC"}) EXPECT_EQ(Count(graph, op), 0) << op;
  EXPECT_EQ(Count(graph, "MUL"), 1);  // by the gate: of another shape than the convolution's sums
  int residuals = 0;
  std::vector<int> functions(7, 0);
  for (const Node& node : graph.nodes) {
    ++functions[static_cast<size_t>(node.function)];
    if (node.residual < 0) continue;
    ++residuals;
    ASSERT_EQ(node.residual, 3);
    EXPECT_EQ(graph.values[static_cast<size_t>(node.inputs[3])].shape, graph.values[static_cast<size_t>(node.outputs[0])].shape);
  }
  EXPECT_EQ(residuals, 3);
  using kernels::ActivationF32;
  for (const ActivationF32 f :
       {ActivationF32::kSilu, ActivationF32::kLogistic, ActivationF32::kTanh, ActivationF32::kLeakyRelu, ActivationF32::kPrelu}) {
    EXPECT_EQ(functions[static_cast<size_t>(f)], 1) << static_cast<int>(f);
  }
  EXPECT_EQ(functions[static_cast<size_t>(ActivationF32::kHardSwish)], 2);
  EXPECT_FALSE(passes::FuseEpilogues(graph));
}

TEST_F(Passes, EpiloguesOfSeveralReadersStay) {
  Graph graph = Build("blocks_float32");
  passes::FuseActivations(graph);
  // Every value is read once more.
  const size_t values = graph.values.size();
  for (size_t v = 0; v < values; ++v) graph.outputs.push_back(static_cast<int32_t>(v));
  EXPECT_FALSE(passes::FuseEpilogues(graph));
}

TEST_F(Passes, ResidualsAreAllThatConvolutionsOfIntegersTake) {
  Graph graph = Build("convnet_int8");
  passes::FuseActivations(graph);
  ASSERT_EQ(Count(graph, "ADD"), 1);
  EXPECT_TRUE(passes::FuseEpilogues(graph));
  EXPECT_EQ(Count(graph, "ADD"), 0);
  int residuals = 0;
  for (const Node& node : graph.nodes) {
    EXPECT_EQ(node.function, kernels::ActivationF32::kNone);
    if (node.residual < 0) continue;
    ++residuals;
    // The result that is added to keeps its own quantisation.
    ASSERT_EQ(node.intermediates.size(), 1u);
    EXPECT_NE(node.intermediates[0], node.outputs[0]);
  }
  EXPECT_EQ(residuals, 1);
}

TEST_F(Passes, AnActivationThatTwoReadersNeedStays) {
  Graph graph = Build("fusable_float32");
  // Here the dead LOGISTIC reads the RELU6, not the convolution before it; make it read that.
  int32_t before = -1;
  for (const Node& node : graph.nodes) {
    if (std::string_view(graph.Describe(node)).substr(0, 5) == "RELU6") before = node.inputs[0];
  }
  ASSERT_GE(before, 0);
  for (Node& node : graph.nodes) {
    if (graph.Describe(node).rfind("LOGISTIC", 0) == 0) node.inputs[0] = before;
  }
  passes::FuseActivations(graph);
  EXPECT_EQ(Count(graph, "RELU6"), 1);
}

TEST_F(Passes, AnActivationOfAnotherQuantizationStays) {
  Graph graph = Build("fusable_int8");
  EXPECT_FALSE(passes::FuseActivations(graph));
  EXPECT_EQ(Count(graph, "RELU"), 1);
}

TEST_F(Passes, NodesWithoutOperandsAreLeftAlone) {
  for (const std::vector<int32_t>& nothing : {std::vector<int32_t>{}, std::vector<int32_t>{-1}}) {
    Graph graph = Build("fusable_float32");
    for (Node& node : graph.nodes) {
      const std::string name = graph.Describe(node);
      if (name.rfind("RELU", 0) == 0) node.outputs = nothing;
      if (name.rfind("PAD", 0) == 0) node.inputs[0] = -1;
    }
    EXPECT_FALSE(passes::FuseActivations(graph));
    EXPECT_FALSE(passes::FusePads(graph));
    for (Node& node : graph.nodes) node.inputs = nothing;
    EXPECT_FALSE(passes::FuseActivations(graph));
    EXPECT_FALSE(passes::FusePads(graph));
  }
}

TEST_F(Passes, LayerNormalisationsBecomeOneOperator) {
  Graph graph = Build("transformer");
  passes::RemoveDeadNodes(graph);
  EXPECT_TRUE(passes::FuseLayerNorms(graph));
  EXPECT_EQ(Count(graph, "sigrun.layer_norm"), 3);
  EXPECT_EQ(Count(graph, "MEAN") + Count(graph, "RSQRT") + Count(graph, "SQUARED_DIFFERENCE"), 0);
  EXPECT_FALSE(passes::FuseLayerNorms(graph));
}

TEST_F(Passes, AMeanThatIsNotSubtractedWithTheFactorStays) {
  Graph graph = Build("transformer");
  passes::RemoveDeadNodes(graph);
  // Without the centre, what is multiplied is no normalisation.
  for (Node& node : graph.nodes) {
    if (graph.Describe(node).rfind("SUB", 0) == 0) node.inputs[1] = node.inputs[0];
  }
  EXPECT_FALSE(passes::FuseLayerNorms(graph));
}

TEST_F(Passes, AttentionBecomesOneOperator) {
  Graph graph = Build("transformer");
  passes::RemoveDeadNodes(graph);
  const int transposes = Count(graph, "TRANSPOSE");
  EXPECT_TRUE(passes::FuseAttention(graph));
  EXPECT_EQ(Count(graph, "sigrun.attention"), 1);
  EXPECT_EQ(Count(graph, "BATCH_MATMUL") + Count(graph, "SOFTMAX"), 0);
  EXPECT_EQ(Count(graph, "TRANSPOSE"), transposes - 2);  // of the queries and of the result; keys and values go into a cache
  EXPECT_FALSE(passes::FuseAttention(graph));
}

TEST_F(Passes, AllTogetherKeepTheResult) {
  // Node by node, without passes, against what a runner gives: it runs them all.
  auto interpreter = MakeInterpreter("fusable_float32");
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  Fill(runner->input_tensor("image"), 5);
  SIGRUN_ASSERT_OK(runner->Invoke());
  const std::vector<float> with = Floats(runner->output_tensor("output"));

  auto graph = std::make_shared<Graph>(Build("fusable_float32"));
  PackedStore packed;
  const auto plan = MakePlan(graph, {{1, 9, 9, 3}}, {.kernels = &kernels::Best(), .packed = &packed, .workers = 1, .graph_of = nullptr});
  AlignedBytes arena(plan->arena_bytes);
  std::vector<AlignedBytes> boundary(graph->values.size());
  std::vector<std::byte*> slots;
  for (const SlotSource& s : plan->slots) {
    if (s.kind == SlotSource::kBoundary) {
      AlignedBytes& bytes = boundary[static_cast<size_t>(s.index)];
      if (bytes.data() == nullptr)
        bytes = AlignedBytes(4 * static_cast<size_t>(ElementCount(plan->shapes[static_cast<size_t>(s.index)], "test")));
      slots.push_back(bytes.data());
    } else {
      slots.push_back(s.kind == SlotSource::kArena ? arena.data() + s.offset : const_cast<std::byte*>(s.pointer));
    }
  }
  const AlignedBytes& image = boundary[static_cast<size_t>(graph->inputs[0])];
  std::copy_n(static_cast<const std::byte*>(runner->input_tensor("image")->data()), image.size(), image.data());
  RunContext context(slots.data(), nullptr);
  for (const Step& step : plan->steps) step.run(step.self, context);
  const auto* without = reinterpret_cast<const float*>(boundary[static_cast<size_t>(graph->outputs[0])].data());
  for (size_t i = 0; i < with.size(); ++i) EXPECT_NEAR(with[i], without[i], 1e-5f) << i;
}

}  // namespace
}  // namespace sigrun
