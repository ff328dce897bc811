#include "sigrun/c_api.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace {

constexpr char kEncodeDecode[] = SIGRUN_TEST_MODELS "/encode_decode.tflite";

class CApi : public testing::Test {
 protected:
  void SetUp() override {
    model_ = sigrun_model_from_file(kEncodeDecode);
    ASSERT_NE(model_, nullptr) << sigrun_last_error();
    interpreter_ = sigrun_interpreter_create(model_, 1);
    ASSERT_NE(interpreter_, nullptr) << sigrun_last_error();
  }
  void TearDown() override {
    sigrun_interpreter_delete(interpreter_);
    sigrun_model_delete(model_);
  }

  sigrun_model* model_ = nullptr;
  sigrun_interpreter* interpreter_ = nullptr;
};

TEST_F(CApi, RunsASignatureWithStrings) {
  ASSERT_EQ(sigrun_model_signature_count(model_), 2u);
  sigrun_runner* encode = sigrun_get_signature_runner(interpreter_, "encode");
  ASSERT_NE(encode, nullptr) << sigrun_last_error();
  const int32_t three = 3;
  const char* input = sigrun_runner_input_name(encode, 0);
  ASSERT_EQ(sigrun_runner_resize_input(encode, input, &three, 1), SIGRUN_OK) << sigrun_last_error();
  ASSERT_EQ(sigrun_runner_allocate_tensors(encode), SIGRUN_OK) << sigrun_last_error();
  sigrun_tensor* x = sigrun_runner_input_tensor(encode, input);
  ASSERT_EQ(sigrun_tensor_bytes(x), 3 * sizeof(float));
  for (int i = 0; i < 3; ++i) static_cast<float*>(sigrun_tensor_data(x))[i] = static_cast<float>(i + 1);
  ASSERT_EQ(sigrun_runner_invoke(encode), SIGRUN_OK) << sigrun_last_error();
  const sigrun_tensor* encoded = sigrun_runner_output_tensor(encode, "encoded_result");
  ASSERT_EQ(sigrun_tensor_rank(encoded), 1u);
  EXPECT_EQ(sigrun_tensor_dim(encoded, 0), 3);
  size_t size = 0;
  const char* second = sigrun_tensor_string(encoded, 1, &size);
  EXPECT_EQ(std::string(second, size), "2.000000");
  EXPECT_EQ(sigrun_tensor_string(encoded, 3, &size), nullptr);
  sigrun_runner_delete(encode);
}

TEST_F(CApi, ReportsErrors) {
  EXPECT_EQ(sigrun_model_from_file("no such file"), nullptr);
  EXPECT_NE(std::string(sigrun_last_error()).find("no such file"), std::string::npos);
  EXPECT_EQ(sigrun_get_signature_runner(interpreter_, "dummy"), nullptr);
  EXPECT_NE(std::string(sigrun_last_error()).find("dummy"), std::string::npos);
  EXPECT_EQ(sigrun_interpreter_create(model_, 0), nullptr);
  for (const char* word : {"", "lowest", static_cast<const char*>(nullptr)}) {
    EXPECT_EQ(sigrun_interpreter_create_with_precision(model_, 1, word), nullptr);
    EXPECT_NE(std::strstr(sigrun_last_error(), "'highest', 'high' or 'medium'"), nullptr) << sigrun_last_error();
  }
  sigrun_interpreter* fast = sigrun_interpreter_create_with_precision(model_, 1, "medium");
  EXPECT_NE(fast, nullptr) << sigrun_last_error();
  sigrun_interpreter_delete(fast);

  sigrun_runner* decode = sigrun_get_signature_runner(interpreter_, "decode");
  ASSERT_NE(decode, nullptr);
  EXPECT_EQ(sigrun_runner_invoke(decode), SIGRUN_FAILED_PRECONDITION);
  const int32_t one = 1;
  EXPECT_EQ(sigrun_runner_resize_input(decode, "dummy", &one, 1), SIGRUN_INVALID_ARGUMENT);
  const char* input = sigrun_runner_input_name(decode, 0);
  ASSERT_EQ(sigrun_runner_resize_input(decode, input, &one, 1), SIGRUN_OK);
  ASSERT_EQ(sigrun_runner_allocate_tensors(decode), SIGRUN_OK);
  ASSERT_EQ(sigrun_tensor_set_string(sigrun_runner_input_tensor(decode, input), 0, "no number", 9), SIGRUN_OK);
  EXPECT_EQ(sigrun_tensor_set_string(sigrun_runner_input_tensor(decode, input), 1, "", 0), SIGRUN_INVALID_ARGUMENT);
  EXPECT_EQ(sigrun_runner_invoke(decode), SIGRUN_DATA_ERROR);
  EXPECT_NE(std::string(sigrun_last_error()).find("no number"), std::string::npos);
  sigrun_runner_delete(decode);
}

}  // namespace
