#include <cstring>

#include "models.h"

// The examples of the TensorFlow Lite guide on signatures, natively.
namespace sigrun {
namespace {

TEST(Guide, EncodeAndDecode) {
  auto model = Model::BuildFromFile(ModelPath("encode_decode").c_str());
  ASSERT_NE(model, nullptr);
  auto interpreter = Interpreter::Create(model);
  ASSERT_NE(interpreter, nullptr);
  ASSERT_EQ(interpreter->signature_keys().size(), 2u);

  auto encode = interpreter->GetSignatureRunner("encode");
  ASSERT_NE(encode, nullptr);
  SIGRUN_ASSERT_OK(encode->ResizeInputTensor("x", {3}));
  SIGRUN_ASSERT_OK(encode->AllocateTensors());
  Tensor* x = encode->input_tensor("x");
  ASSERT_EQ(x->bytes(), 3 * sizeof(float));
  const float values[] = {1.0f, -2.5f, 1048576.0f};
  std::memcpy(x->data(), values, sizeof(values));
  SIGRUN_ASSERT_OK(encode->Invoke());
  const Tensor* encoded = encode->output_tensor("encoded_result");
  ASSERT_NE(encoded, nullptr);
  ASSERT_EQ(encoded->type(), TensorType::kString);
  EXPECT_EQ(*encoded->strings(), (Strings{"1.000000", "-2.500000", "1048576.000000"}));

  auto decode = interpreter->GetSignatureRunner("decode");
  ASSERT_NE(decode, nullptr);
  SIGRUN_ASSERT_OK(decode->ResizeInputTensor("x", {3}));
  SIGRUN_ASSERT_OK(decode->AllocateTensors());
  *decode->input_tensor("x")->strings() = *encoded->strings();
  SIGRUN_ASSERT_OK(decode->Invoke());
  EXPECT_EQ(Floats(decode->output_tensor("decoded_result")), (std::vector<float>{1.0f, -2.5f, 1048576.0f}));
}

TEST(Guide, StringsThatAreNoNumbers) {
  auto interpreter = MakeInterpreter("encode_decode");
  auto decode = MakeRunner(*interpreter, "decode");
  SIGRUN_ASSERT_OK(decode->AllocateTensors());
  (*decode->input_tensor("x")->strings())[0] = "one";
  const Status status = decode->Invoke();
  EXPECT_EQ(status.code(), StatusCode::kDataError);
  EXPECT_NE(status.message().find("FlexStringToNumber #0"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("one"), std::string::npos) << status.message();
  (*decode->input_tensor("x")->strings())[0] = " 1e3 ";
  SIGRUN_ASSERT_OK(decode->Invoke());
  EXPECT_EQ(Floats(decode->output_tensor("decoded_result"))[0], 1000.0f);
}

TEST(Guide, DenseLayers) {
  auto interpreter = MakeInterpreter("dense2_dense1");
  auto runner = interpreter->GetSignatureRunner("serving_default");
  ASSERT_NE(runner, nullptr);
  ASSERT_EQ(runner->input_names(), (std::vector<std::string>{"x"}));
  ASSERT_EQ(runner->output_names(), (std::vector<std::string>{"output"}));
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  float* x = runner->input_tensor("x")->data_as<float>();
  // Two layers without activation are affine: f(a) + f(b) - f(0) = f(a + b).
  const auto at = [&](float a, float b) {
    for (int i = 0; i < 4; ++i) x[i] = i % 2 == 0 ? a : b;
    EXPECT_TRUE(runner->Invoke().ok());
    return Floats(runner->output_tensor("output"))[0];
  };
  EXPECT_NEAR(at(1, 0) + at(0, 1) - at(0, 0), at(1, 1), 1e-5f);
  EXPECT_NE(at(1, 0), at(0, 1));
}

}  // namespace
}  // namespace sigrun
