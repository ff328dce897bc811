#include "sigrun/custom_op.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "models.h"

namespace sigrun {
namespace {

// "NoSuchOperator" over a dense layer under a name of this test's.
std::unique_ptr<Interpreter> Load(const std::string& name, Status* status) {
  std::ifstream file(ModelPath("unknown_operator"), std::ios::binary);
  auto bytes = std::make_shared<std::string>(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  const std::string known = "NoSuchOperator";
  bytes->replace(bytes->find(known), known.size(), name);
  const std::shared_ptr<const Model> model = Model::BuildFromBuffer(bytes->data(), bytes->size(), bytes, status);
  return status->ok() ? Interpreter::Create(model, {}, status) : nullptr;
}

class Negate : public CustomOp {
 public:
  explicit Negate(Status outcome = Status()) : outcome_(std::move(outcome)) {}

  Status Compute(std::span<const CustomTensor> inputs, std::span<CustomTensor> outputs, std::span<const uint8_t> options) const override {
    EXPECT_EQ(std::vector<uint8_t>(options.begin(), options.end()), (std::vector<uint8_t>{1, 2, 3}));
    EXPECT_EQ(outputs[0].shape, inputs[0].shape);
    const auto* x = reinterpret_cast<const float*>(inputs[0].data);
    auto* y = reinterpret_cast<float*>(outputs[0].data);
    for (size_t i = 0; i < outputs[0].bytes / sizeof(float); ++i) y[i] = -x[i];
    return outcome_;
  }

 private:
  Status outcome_;
};

TEST(CustomOp, RunsInAModel) {
  SIGRUN_ASSERT_OK(RegisterOp("MadeForOneTest", std::make_shared<Negate>()));
  Status status;
  const auto interpreter = Load("MadeForOneTest", &status);
  SIGRUN_ASSERT_OK(status);
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  Fill(runner->input_tensor("x"), 1);
  SIGRUN_ASSERT_OK(runner->Invoke());
  const std::vector<float> once = Floats(runner->output_tensor("output"));
  for (float *x = runner->input_tensor("x")->data_as<float>(), *end = x + 4; x != end; ++x) *x = -*x;
  SIGRUN_ASSERT_OK(runner->Invoke());
  EXPECT_EQ(once.size(), 4u);
  EXPECT_NE(once, Floats(runner->output_tensor("output")));
}

TEST(CustomOp, WhatFailsFailsTheRun) {
  SIGRUN_ASSERT_OK(RegisterOp("MadeToFailOnce", std::make_shared<Negate>(Status(StatusCode::kDataError, "no such word"))));
  Status status;
  const auto interpreter = Load("MadeToFailOnce", &status);
  SIGRUN_ASSERT_OK(status);
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  const Status run = runner->Invoke();
  EXPECT_EQ(run.code(), StatusCode::kDataError);
  EXPECT_NE(run.message().find("no such word"), std::string::npos);
  EXPECT_NE(run.message().find("MadeToFailOnce"), std::string::npos);
}

TEST(CustomOp, NeedsNameAndImplementation) {
  EXPECT_EQ(RegisterOp("", std::make_shared<Negate>()).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(RegisterOp("Missing", nullptr).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sigrun
