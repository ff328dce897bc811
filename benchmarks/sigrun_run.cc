#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "sigrun/interpreter.h"

// sigrun_run MODEL COUNT: runs subgraph 0 with seeded inputs on one thread, once to warm up and then COUNT times, and prints microseconds a
// call. The two calls of getpriority mark the measured stretch for a tool that counts instructions between system calls.
namespace {

using sigrun::Interpreter;
using sigrun::Status;
using sigrun::Tensor;
using sigrun::TensorType;

constexpr int kIntegers = 64;  // small enough to be an index or a token of most models

template <class T, class Draw>
void Fill(Tensor& tensor, const Draw& draw) {
  T* values = tensor.data_as<T>();
  for (size_t i = 0; i < tensor.bytes() / sizeof(T); ++i) values[i] = static_cast<T>(draw());
}

// Floats in [-1, 1), integers in [0, 64), the same ones on every machine. Inputs of other types keep their zeros.
void FillInput(Tensor& tensor, std::mt19937& engine) {
  const auto real = [&] { return static_cast<double>(engine()) * 0x1p-31 - 1.0; };
  const auto integer = [&] { return engine() % kIntegers; };
  switch (tensor.type()) {
    case TensorType::kFloat32: return Fill<float>(tensor, real);
    case TensorType::kFloat64: return Fill<double>(tensor, real);
    case TensorType::kInt8:
    case TensorType::kUInt8: return Fill<uint8_t>(tensor, integer);
    case TensorType::kInt16:
    case TensorType::kUInt16: return Fill<uint16_t>(tensor, integer);
    case TensorType::kInt32:
    case TensorType::kUInt32: return Fill<uint32_t>(tensor, integer);
    case TensorType::kInt64:
    case TensorType::kUInt64: return Fill<uint64_t>(tensor, integer);
    case TensorType::kBool: return Fill<bool>(tensor, [&] { return engine() % 2; });
    default: return;
  }
}

int Complain(const char* what, const Status& status) {
  std::fprintf(stderr, "sigrun_run: %s: %s\n", what, status.message().c_str());
  return 1;
}

int Run(const char* path, int count) {
  Status status;
  const auto model = sigrun::Model::BuildFromFile(path, &status);
  if (model == nullptr) return Complain(path, status);
  const auto interpreter = Interpreter::Create(model, {}, &status);
  if (interpreter == nullptr) return Complain(path, status);
  if (status = interpreter->AllocateTensors(); !status.ok()) return Complain("AllocateTensors", status);

  std::mt19937 engine(0);
  for (size_t i = 0; i < interpreter->inputs().size(); ++i) FillInput(*interpreter->input_tensor(i), engine);
  if (status = interpreter->Invoke(); !status.ok()) return Complain("Invoke", status);

  getpriority(PRIO_PROCESS, 0);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count && status.ok(); ++i) status = interpreter->Invoke();
  const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - start;
  getpriority(PRIO_PROCESS, 0);
  if (!status.ok()) return Complain("Invoke", status);
  std::printf("%.3f us a call\n", elapsed.count() / count);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc == 3 ? std::atoi(argv[2]) : 0;
  if (count < 1) {
    std::fprintf(stderr, "usage: sigrun_run MODEL COUNT\n");
    return 2;
  }
  return Run(argv[1], count);
}
