#include <atomic>
#include <cstdlib>

#include "models.h"

// Invoke must not allocate. On glibc the test program replaces malloc and its relatives by versions that count; sanitizers bring their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SIGRUN_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SIGRUN_COUNTS_ALLOCATIONS 0
#endif
#endif
#if !defined(SIGRUN_COUNTS_ALLOCATIONS) && defined(__GLIBC__)
#define SIGRUN_COUNTS_ALLOCATIONS 1
#endif

namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> allocations{0};
[[maybe_unused]] void CountOne() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1);
}
}  // namespace

#if SIGRUN_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) {
  CountOne();
  return __libc_malloc(size);
}
void* calloc(size_t n, size_t size) {
  CountOne();
  return __libc_calloc(n, size);
}
void* realloc(void* p, size_t size) {
  CountOne();
  return __libc_realloc(p, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  CountOne();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** p, size_t alignment, size_t size) {
  CountOne();
  *p = __libc_memalign(alignment, size);
  return *p == nullptr ? 12 : 0;
}
}
#endif

namespace sigrun {
namespace {

class NoAllocation : public ::testing::Test {
 protected:
  void SetUp() override {
#if !SIGRUN_COUNTS_ALLOCATIONS
    GTEST_SKIP() << "allocations cannot be counted in this build";
#endif
  }

  static int64_t AllocationsOf(SignatureRunner& runner, int calls) {
    EXPECT_TRUE(runner.Invoke().ok());  // what is made on first use is made now
    allocations.store(0);
    counting.store(true);
    bool ok = true;
    for (int i = 0; i < calls; ++i) ok = runner.Invoke().ok() && ok;
    counting.store(false);
    EXPECT_TRUE(ok);
    return allocations.load();
  }
};

TEST_F(NoAllocation, TheCounterCounts) {
  counting.store(true);
  allocations.store(0);
  auto* p = new std::string(100, 'x');
  counting.store(false);
  EXPECT_GE(allocations.load(), 2) << p->size();
  delete p;
}

TEST_F(NoAllocation, InInvoke) {
  for (const char* name :
       {"dense2_dense1", "convnet_float32", "convnet_int8", "convnet_uint8", "convnet_hybrid", "unet_float32", "unet_int8"}) {
    for (const int threads : {1, 2}) {
      auto interpreter = MakeInterpreter(name, threads);
      auto runner = MakeRunner(*interpreter);
      SIGRUN_ASSERT_OK(runner->AllocateTensors());
      EXPECT_EQ(AllocationsOf(*runner, 20), 0) << name << " with " << threads << " threads";
    }
  }
}

TEST_F(NoAllocation, InInvokeOfATransformer) {
  auto interpreter = MakeInterpreter("transformer");
  for (const char* key : {"prefill", "decode"}) {
    auto runner = MakeRunner(*interpreter, key);
    SIGRUN_ASSERT_OK(runner->AllocateTensors());
    EXPECT_EQ(AllocationsOf(*runner, 20), 0) << key;
  }
}

}  // namespace
}  // namespace sigrun
