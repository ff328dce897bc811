#include "run/thread_pool.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sigrun {
namespace {

// About 50 microseconds: longer than the gap between two parallel steps of one inference, shorter than anyone would notice.
constexpr int kSpins = 2000;

inline void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(sleep_);
    stop_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::TakePieces(int worker) {
  for (int32_t i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) call_(task_, i, worker);
}

void ThreadPool::RunErased(int32_t count, Call call, const void* task) {
  std::unique_lock lock(in_use_, std::try_to_lock);
  if (!lock.owns_lock() || workers_.empty() || count <= 1) {
    for (int32_t i = 0; i < count; ++i) call(task, i, 0);
    return;
  }
  call_ = call;
  task_ = task;
  count_ = count;
  next_.store(0);
  busy_.store(static_cast<int32_t>(workers_.size()));
  generation_.fetch_add(1);
  if (sleepers_.load() > 0) {
    { const std::lock_guard sleepers(sleep_); }  // a worker that has just decided to sleep is waiting by now
    wake_.notify_all();
  }
  TakePieces(0);
  // The pieces still under way are short; a sleeping worker that wakes late finds none left.
  while (busy_.load() > 0) Pause();
}

void ThreadPool::Work(int worker) {
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < kSpins && generation_.load() == seen; ++i) Pause();
    if (generation_.load() == seen) {
      std::unique_lock lock(sleep_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      sleepers_.fetch_sub(1);
    }
    if (stop_.load()) return;
    seen = generation_.load();
    TakePieces(worker);
    busy_.fetch_sub(1);
  }
}

}  // namespace sigrun
