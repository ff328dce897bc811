#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "models.h"

// These run for SIGRUN_TEST_SECONDS together (2 if it is not set); under a thread sanitizer longer is better.
namespace sigrun {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds() {
  const char* wanted = std::getenv("SIGRUN_TEST_SECONDS");
  const double seconds = wanted == nullptr ? 2 : std::atof(wanted);
  constexpr int kTests = 5;
  return (seconds > 0 ? seconds : 2) / kTests;
}

// Calls work(thread, round) in every thread until the time is over, and once at least.
template <class F>
void ForAWhile(int threads, const F& work) {
  const auto end = Clock::now() + std::chrono::duration<double>(Seconds());
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      uint32_t round = 0;
      do {
        work(t, round++);
      } while (Clock::now() < end);
    });
  }
  for (std::thread& thread : running) thread.join();
}

constexpr uint32_t kInputs = 8;

// The outputs of `name` for inputs of the seeds 0 .. kInputs - 1, computed alone.
std::vector<std::vector<float>> Expected(const std::string& name, const char* input, const char* output) {
  auto interpreter = MakeInterpreter(name);
  auto runner = MakeRunner(*interpreter);
  EXPECT_TRUE(runner->AllocateTensors().ok());
  std::vector<std::vector<float>> expected;
  for (uint32_t seed = 0; seed < kInputs; ++seed) {
    Fill(runner->input_tensor(input), seed);
    EXPECT_TRUE(runner->Invoke().ok());
    expected.push_back(Floats(runner->output_tensor(output)));
  }
  return expected;
}

TEST(Concurrency, RunnersOfOneInterpreter) {
  const auto expected = Expected("convnet_float32", "image", "probabilities");
  for (const int num_threads : {1, 3}) {
    auto interpreter = MakeInterpreter("convnet_float32", num_threads);
    std::unique_ptr<SignatureRunner> runners[2] = {MakeRunner(*interpreter), MakeRunner(*interpreter)};
    for (auto& runner : runners) SIGRUN_ASSERT_OK(runner->AllocateTensors());
    std::atomic<int> wrong{0};
    ForAWhile(2, [&](int t, uint32_t round) {
      const uint32_t seed = (round + static_cast<uint32_t>(t)) % kInputs;
      Fill(runners[t]->input_tensor("image"), seed);
      if (!runners[t]->Invoke().ok() || Floats(runners[t]->output_tensor("probabilities")) != expected[seed]) wrong.fetch_add(1);
    });
    EXPECT_EQ(wrong.load(), 0) << num_threads << " threads";
  }
}

TEST(Concurrency, RunnersThatPlanAtTheSameTime) {
  auto interpreter = MakeInterpreter("dynamic_batch", 2);
  std::atomic<int> wrong{0};
  ForAWhile(2, [&](int t, uint32_t round) {
    Status status;
    auto runner = interpreter->GetSignatureRunner(nullptr, &status);
    const int32_t batch = 1 + static_cast<int32_t>(round % 4) + t;
    if (runner == nullptr || !runner->ResizeInputTensor("image", {batch, 8, 8, 3}).ok() || !runner->AllocateTensors().ok()) {
      wrong.fetch_add(1);
      return;
    }
    Fill(runner->input_tensor("image"), round);
    if (!runner->Invoke().ok() || runner->output_tensor("probabilities")->shape() != Shape{batch, 5}) wrong.fetch_add(1);
  });
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Concurrency, InterpretersOfOneModel) {
  const auto expected = Expected("fusable_float32", "image", "output");
  const auto model = LoadModel("fusable_float32");
  std::atomic<int> wrong{0};
  ForAWhile(2, [&](int, uint32_t round) {
    auto interpreter = Interpreter::Create(model, {1 + static_cast<int>(round % 2)});
    auto runner = interpreter->GetSignatureRunner();
    if (runner == nullptr || !runner->AllocateTensors().ok()) {
      wrong.fetch_add(1);
      return;
    }
    for (uint32_t seed = 0; seed < kInputs; ++seed) {
      Fill(runner->input_tensor("image"), seed);
      if (!runner->Invoke().ok() || Floats(runner->output_tensor("output")) != expected[seed]) wrong.fetch_add(1);
    }
  });
  EXPECT_EQ(wrong.load(), 0);
}

// Calls on one runner are serialised; who wants input, run and output as one action brings a lock.
TEST(Concurrency, OneRunnerSharedByThreads) {
  const auto expected = Expected("convnet_float32", "image", "probabilities");
  auto interpreter = MakeInterpreter("convnet_float32", 2);
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  Fill(runner->input_tensor("image"), 0);
  std::mutex whole_call;
  std::atomic<int> wrong{0};
  ForAWhile(2, [&](int t, uint32_t round) {
    const uint32_t seed = (round + static_cast<uint32_t>(t)) % kInputs;
    const std::lock_guard lock(whole_call);
    Fill(runner->input_tensor("image"), seed);
    if (!runner->Invoke().ok() || Floats(runner->output_tensor("probabilities")) != expected[seed]) wrong.fetch_add(1);
  });
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Concurrency, InvokeAndAllocateOfOneRunner) {
  const auto expected = Expected("convnet_float32", "image", "probabilities");
  auto interpreter = MakeInterpreter("convnet_float32");
  auto runner = MakeRunner(*interpreter);
  SIGRUN_ASSERT_OK(runner->AllocateTensors());
  Fill(runner->input_tensor("image"), 3);
  std::atomic<int> wrong{0};
  ForAWhile(2, [&](int t, uint32_t) {
    const Status status = t == 0 ? runner->Invoke() : runner->AllocateTensors();
    if (!status.ok()) wrong.fetch_add(1);
  });
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(Floats(runner->output_tensor("probabilities")), expected[3]);
}

TEST(Concurrency, TheNumberOfThreadsDoesNotChangeABit) {
  for (const char* name : {"convnet_float32", "fusable_float32"}) {
    const char* output = std::string_view(name) == "convnet_float32" ? "probabilities" : "output";
    const auto expected = Expected(name, "image", output);
    for (const int num_threads : {2, 3, 4}) {
      auto interpreter = MakeInterpreter(name, num_threads);
      auto runner = MakeRunner(*interpreter);
      SIGRUN_ASSERT_OK(runner->AllocateTensors());
      for (uint32_t seed = 0; seed < kInputs; ++seed) {
        Fill(runner->input_tensor("image"), seed);
        SIGRUN_ASSERT_OK(runner->Invoke());
        EXPECT_EQ(Floats(runner->output_tensor(output)), expected[seed]) << name << " with " << num_threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace sigrun
