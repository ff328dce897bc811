#include "run/runner.h"

#include "models.h"

namespace sigrun {
namespace {

TEST(Runner, RefusesToRunBeforeAllocation) {
  auto interpreter = MakeInterpreter("dense2_dense1");
  auto runner = MakeRunner(*interpreter);
  EXPECT_EQ(runner->Invoke().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(runner->input_tensor("x")->data(), nullptr);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  SIGRUN_ASSERT_OK(runner->Invoke());
  SIGRUN_ASSERT_OK(runner->ResizeInputTensor("x", {2, 4}));
  EXPECT_EQ(runner->Invoke().code(), StatusCode::kFailedPrecondition);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  SIGRUN_ASSERT_OK(runner->Invoke());
}

TEST(Runner, EveryRowOfABatchIsItsOwn) {
  auto interpreter = MakeInterpreter("dense2_dense1");
  auto one = MakeRunner(*interpreter), many = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(one->AllocateTensors());
  SIGRUN_ASSERT_OK(many->ResizeInputTensor("x", {5, 4}));
  SIGRUN_ASSERT_OK(many->AllocateTensors());
  Fill(many->input_tensor("x"), 3);
  SIGRUN_ASSERT_OK(many->Invoke());
  ASSERT_EQ(many->output_tensor("output")->shape(), (Shape{5, 1}));
  for (size_t row = 0; row < 5; ++row) {
    std::copy_n(many->input_tensor("x")->data_as<float>() + 4 * row, 4, one->input_tensor("x")->data_as<float>());
    SIGRUN_ASSERT_OK(one->Invoke());
    EXPECT_NEAR(Floats(one->output_tensor("output"))[0], Floats(many->output_tensor("output"))[row], 1e-6f);
  }
}

TEST(Runner, UnknownNamesAreErrors) {
  auto interpreter = MakeInterpreter("add_two_signatures");
  auto runner = MakeRunner(*interpreter, "add");
  const Status status = runner->ResizeInputTensor("z", {1, 3});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("'x', 'y'"), std::string::npos) << status.message();
  EXPECT_FALSE(runner->ResizeInputTensor(nullptr, {1, 3}).ok());
  EXPECT_FALSE(runner->ResizeInputTensor("x", {-1, 3}).ok());
  EXPECT_EQ(runner->input_tensor("z"), nullptr);
  EXPECT_EQ(runner->input_tensor(nullptr), nullptr);
  EXPECT_EQ(runner->output_tensor("x"), nullptr);
  Status wanted;
  EXPECT_EQ(interpreter->GetSignatureRunner("sub", &wanted), nullptr);
  EXPECT_NE(wanted.message().find("'mul', 'add'"), std::string::npos) << wanted.message();
  EXPECT_EQ(interpreter->GetSignatureRunner(nullptr, &wanted), nullptr);
  EXPECT_EQ(wanted.code(), StatusCode::kInvalidArgument);
}

TEST(Runner, AFailedAllocationLeavesEverythingAsItWas) {
  auto interpreter = MakeInterpreter("dynamic_batch");
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  Fill(runner->input_tensor("image"), 1);
  SIGRUN_ASSERT_OK(runner->Invoke());
  const std::vector<float> before = Floats(runner->output_tensor("probabilities"));
  const void* data = runner->input_tensor("image")->data();

  SIGRUN_ASSERT_OK(runner->ResizeInputTensor("image", {1, 8, 8, 4}));  // only the convolution knows that this is wrong
  const Status status = runner->AllocateTensors();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("CONV_2D #0"), std::string::npos) << status.message();
  EXPECT_EQ(runner->input_tensor("image")->shape(), (Shape{1, 8, 8, 3}));
  EXPECT_EQ(runner->input_tensor("image")->data(), data);
  EXPECT_EQ(Floats(runner->output_tensor("probabilities")), before);

  SIGRUN_ASSERT_OK(runner->ResizeInputTensor("image", {1, 8, 8, 3}));
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  SIGRUN_ASSERT_OK(runner->Invoke());
  EXPECT_EQ(Floats(runner->output_tensor("probabilities")), before);
}

TEST(Runner, AHeldTensorDoesNotMove) {
  auto interpreter = MakeInterpreter("dense2_dense1");
  auto runner = MakeRunner(*interpreter);
  EXPECT_EQ(runner->input_tensor("x")->Hold(), nullptr);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  auto lease = runner->input_tensor("x")->Hold();
  ASSERT_NE(lease, nullptr);
  SIGRUN_ASSERT_OK(runner->Invoke());
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  SIGRUN_ASSERT_OK(runner->ResizeInputTensor("x", {2, 4}));
  const Status status = runner->AllocateTensors();
  EXPECT_EQ(status.code(), StatusCode::kHeldView);
  EXPECT_NE(status.message().find("'x'"), std::string::npos) << status.message();
  EXPECT_EQ(runner->input_tensor("x")->shape(), (Shape{1, 4}));
  lease.reset();
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  EXPECT_EQ(runner->input_tensor("x")->shape(), (Shape{2, 4}));
}

TEST(Runner, AHeldTensorOutlivesItsRunner) {
  std::shared_ptr<const void> lease;
  const float* data = nullptr;
  {
    auto interpreter = MakeInterpreter("dense2_dense1");
    auto runner = MakeRunner(*interpreter);
    SIGRUN_ASSERT_OK(runner->AllocateTensors());
    Fill(runner->input_tensor("x"), 9);
    lease = runner->input_tensor("x")->Hold();
    data = runner->input_tensor("x")->data_as<float>();
  }
  EXPECT_NE(data[0], data[1]);  // an address sanitizer would see freed memory
}

TEST(Runner, MemoryIsAligned) {
  auto interpreter = MakeInterpreter("transformer");
  auto runner = MakeRunner(*interpreter, "decode");
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  for (const std::string& name : runner->input_names()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(runner->input_tensor(name.c_str())->data()) % 64, 0u) << name;
  }
}

TEST(Runner, OutputsMayBeInputsAndConstants) {
  auto interpreter = MakeInterpreter("boundaries");
  auto runner = MakeRunner(*interpreter, "run");
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  Fill(runner->input_tensor("x"), 2);
  const std::vector<float> x = Floats(runner->input_tensor("x"));
  SIGRUN_ASSERT_OK(runner->Invoke());
  EXPECT_EQ(Floats(runner->output_tensor("same")), x);
  EXPECT_EQ(Floats(runner->output_tensor("constant")), (std::vector<float>{1.5f, -2.5f, 3.5f, 4.5f}));
  EXPECT_EQ(Floats(runner->output_tensor("total")), (std::vector<float>{x[0] + 1.5f, x[1] - 2.5f, x[2] + 3.5f, x[3] + 4.5f}));
}

TEST(Runner, RunnersOfOneInterpreterAreIndependent) {
  auto interpreter = MakeInterpreter("dense2_dense1");
  auto a = MakeRunner(*interpreter), b = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(a->AllocateTensors());
  SIGRUN_ASSERT_OK(b->AllocateTensors());
  Fill(a->input_tensor("x"), 1);
  SIGRUN_ASSERT_OK(a->Invoke());
  const std::vector<float> result = Floats(a->output_tensor("output"));
  Fill(b->input_tensor("x"), 2);
  SIGRUN_ASSERT_OK(b->Invoke());
  EXPECT_EQ(Floats(a->output_tensor("output")), result);
  EXPECT_NE(Floats(b->output_tensor("output")), result);
}

TEST(Runner, TheInterpretersOwnCallsSpeakOfSubgraph0) {
  auto interpreter = MakeInterpreter("dense2_dense1");
  ASSERT_EQ(interpreter->inputs().size(), 1u);
  EXPECT_EQ(interpreter->Invoke().code(), StatusCode::kFailedPrecondition);
  EXPECT_FALSE(interpreter->ResizeInputTensor(1, {3, 4}).ok());
  EXPECT_FALSE(interpreter->ResizeInputTensor(-1, {3, 4}).ok());
  EXPECT_EQ(interpreter->ResizeInputTensorStrict(0, {3, 5}).code(), StatusCode::kFailedPrecondition);
  SIGRUN_ASSERT_OK(interpreter->ResizeInputTensorStrict(0, {3, 4}));
  SIGRUN_ASSERT_OK(interpreter->AllocateTensors());
  SIGRUN_ASSERT_OK(interpreter->Invoke());
  EXPECT_EQ(interpreter->output_tensor(0)->shape(), (Shape{3, 1}));
  EXPECT_EQ(interpreter->output_tensor(1), nullptr);
  EXPECT_EQ(interpreter->tensor(1000), nullptr);
}

TEST(Runner, AModelWithoutSignaturesHasADefaultOne) {
  auto interpreter = MakeInterpreter("no_signatures_no_names");
  EXPECT_TRUE(interpreter->signature_keys().empty());
  auto runner = MakeRunner(*interpreter, "serving_default");
  EXPECT_EQ(runner->input_names(), (std::vector<std::string>{"input0", "input1"}));
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  SIGRUN_ASSERT_OK(runner->Invoke());
}

TEST(Runner, OptionsAreChecked) {
  Status status;
  EXPECT_EQ(Interpreter::Create(nullptr, {}, &status), nullptr);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Interpreter::Create(LoadModel("dense2_dense1"), {0}, &status), nullptr);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
}

TEST(Runner, BadDataIsAnErrorAndTheNextCallRuns) {
  auto interpreter = MakeInterpreter("transformer");
  auto runner = MakeRunner(*interpreter, "decode");
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  int32_t& token = *runner->input_tensor("tokens")->data_as<int32_t>();
  token = 16;  // the table has 16 rows
  const Status status = runner->Invoke();
  EXPECT_EQ(status.code(), StatusCode::kDataError);
  EXPECT_NE(status.message().find("GATHER #"), std::string::npos) << status.message();
  token = 15;
  SIGRUN_ASSERT_OK(runner->Invoke());
}

}  // namespace
}  // namespace sigrun
