#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sigrun/sigrun.h"

// The models of tests/models, as every test loads and fills them.
namespace sigrun {

inline std::string ModelPath(const std::string& name) { return SIGRUN_TEST_MODELS "/" + name + ".tflite"; }

inline std::shared_ptr<const Model> LoadModel(const std::string& name) {
  Status status;
  std::shared_ptr<const Model> model = Model::BuildFromFile(ModelPath(name).c_str(), &status);
  if (!status.ok()) throw std::runtime_error(name + ": " + status.message());  // which ends the test
  return model;
}

inline std::unique_ptr<Interpreter> MakeInterpreter(const std::string& name, int num_threads = 1) {
  Status status;
  std::unique_ptr<Interpreter> interpreter = Interpreter::Create(LoadModel(name), {num_threads}, &status);
  if (!status.ok()) throw std::runtime_error(name + ": " + status.message());
  return interpreter;
}

inline std::unique_ptr<SignatureRunner> MakeRunner(Interpreter& interpreter, const char* key = nullptr) {
  Status status;
  std::unique_ptr<SignatureRunner> runner = interpreter.GetSignatureRunner(key, &status);
  if (!status.ok()) throw std::runtime_error(status.message());
  return runner;
}

/// A pattern in [-1, 1) that depends on `seed`; float tensors only.
inline void Fill(Tensor* tensor, uint32_t seed) {
  ASSERT_NE(tensor, nullptr);
  ASSERT_EQ(tensor->type(), TensorType::kFloat32);
  for (size_t i = 0; i < tensor->bytes() / sizeof(float); ++i) {
    seed = seed * 1664525u + 1013904223u;
    tensor->data_as<float>()[i] = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
  }
}

inline std::vector<float> Floats(const Tensor* tensor) {
  if (tensor == nullptr || tensor->type() != TensorType::kFloat32 || tensor->data() == nullptr) return {};
  const float* data = tensor->data_as<float>();
  return std::vector<float>(data, data + tensor->bytes() / sizeof(float));
}

#define SIGRUN_ASSERT_OK(expression)                          \
  do {                                                        \
    const ::sigrun::Status status_of_it = (expression);       \
    ASSERT_TRUE(status_of_it.ok()) << status_of_it.message(); \
  } while (false)

}  // namespace sigrun
