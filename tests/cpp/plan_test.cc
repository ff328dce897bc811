#include "plan/plan.h"

#include "models.h"
#include "run/model_impl.h"
#include "run/runner.h"

namespace sigrun {
namespace {

TEST(Plan, AlternatingShapesPlanOnce) {
  auto interpreter = MakeInterpreter("dynamic_batch");
  auto runner = MakeRunner(*interpreter);
  const Plan* plans[2] = {};
  for (int round = 0; round < 4; ++round) {
    for (const int32_t batch : {1, 3}) {
      SIGRUN_ASSERT_OK(runner->ResizeInputTensor("image", {batch, 8, 8, 3}));
      SIGRUN_ASSERT_OK(runner->AllocateTensors());
      const Plan*& known = plans[batch == 3];
      if (round == 0) known = runner->runner().plan();
      EXPECT_EQ(runner->runner().plan(), known) << "batch " << batch << " was planned again";
      EXPECT_EQ(runner->output_tensor("probabilities")->shape(), (Shape{batch, 5}));
    }
  }
  EXPECT_NE(plans[0], plans[1]);
}

TEST(Plan, AllocatingAgainChangesNothing) {
  auto interpreter = MakeInterpreter("dynamic_batch");
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  const Plan* plan = runner->runner().plan();
  const void* data = runner->input_tensor("image")->data();
  SIGRUN_ASSERT_OK(runner->ResizeInputTensor("image", {1, 8, 8, 3}));
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  EXPECT_EQ(runner->runner().plan(), plan);
  EXPECT_EQ(runner->input_tensor("image")->data(), data);
}

TEST(Plan, TheCacheForgetsTheOldest) {
  PlanCache cache;
  const auto shapes = [](int32_t n) { return std::vector<Shape>{{n, 2}}; };
  for (int32_t n = 0; n < 40; ++n) {
    auto plan = std::make_shared<Plan>();
    plan->input_shapes = shapes(n);
    cache.Add(std::move(plan));
    ASSERT_NE(cache.Find(shapes(0)), nullptr) << "used all the time, and forgotten after " << n;
  }
  EXPECT_NE(cache.Find(shapes(39)), nullptr);
  EXPECT_EQ(cache.Find(shapes(5)), nullptr);
}

TEST(Plan, PackedWeightsAreShared) {
  auto interpreter = MakeInterpreter("transformer");
  auto prefill = MakeRunner(*interpreter, "prefill");
  SIGRUN_ASSERT_OK(prefill->AllocateTensors());
  const PackedStore& packed = interpreter->model().impl().packed();
  const size_t bytes = packed.bytes();
  auto again = MakeRunner(*interpreter, "prefill");
  SIGRUN_ASSERT_OK(again->AllocateTensors());
  EXPECT_EQ(packed.bytes(), bytes);
}

// Elementwise steps write where they read: without that, a chain of them would need two buffers.
TEST(Plan, WorkingInPlaceShrinksTheArena) {
  auto interpreter = MakeInterpreter("convnet_float32");
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  const Plan& plan = *runner->runner().plan();
  size_t intermediates = 0;
  for (const Node& node : plan.graph->nodes) {
    for (const int32_t v : node.outputs)
      intermediates += 4 * static_cast<size_t>(ElementCount(plan.shapes[static_cast<size_t>(v)], "test"));
  }
  EXPECT_GT(plan.arena_bytes, 0u);
  EXPECT_LT(plan.arena_bytes, intermediates);
}

TEST(Plan, AReshapeIsNoStep) {
  auto interpreter = MakeInterpreter("convnet_float32");
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  for (const Step& step : runner->runner().plan()->steps) {
    const auto& node = *static_cast<const Node*>(step.node);
    EXPECT_EQ(runner->runner().graph().Describe(node).rfind("RESHAPE", 0), std::string::npos);
  }
}

}  // namespace
}  // namespace sigrun
