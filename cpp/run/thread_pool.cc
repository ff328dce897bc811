#include "run/thread_pool.h"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <chrono>

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

// The core that this thread runs on; -1 if the system does not say.
inline int CurrentCore() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// A scheduler may leave two busy threads on one core for seconds while another core idles; one that wakes from sleep is given an idle core.
constexpr std::chrono::microseconds kRest{100};

constexpr uint64_t kActive = 0xffff, kOpen = 1 << 16, kNextJob = 1 << 17;

uint64_t NumberOf(uint64_t job) { return job / kNextJob; }

uint64_t PackShare(uint32_t first, uint32_t end) { return uint64_t{end} << 32 | first; }

std::atomic<int> forks{0};  // that this process is the child of

int CountForks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
  static_cast<void>(registered);
  return forks.load(std::memory_order_relaxed);
}

}  // namespace

ThreadPool::ThreadPool(int threads)
    : shares_(std::make_unique<Share[]>(static_cast<size_t>(threads))), forks_at_birth_(CountForks()) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  if (forks.load() != forks_at_birth_) {  // the threads stayed with the parent
    for (std::thread& worker : workers_) worker.detach();
    static_cast<void>(wake_.release());  // destroying it would wait for them
    return;
  }
  {
    const std::lock_guard lock(sleep_);
    stop_.store(true);
    job_.fetch_add(kNextJob);
  }
  wake_->notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// The first piece of one's own share, or the last of another's.
bool ThreadPool::TakePiece(int worker, int owner, int32_t& piece) {
  std::atomic<uint64_t>& share = shares_[static_cast<size_t>(owner)].pieces;
  for (uint64_t left = share.load();;) {
    const uint32_t first = static_cast<uint32_t>(left), end = static_cast<uint32_t>(left >> 32);
    if (first == end) return false;
    piece = static_cast<int32_t>(worker == owner ? first : end - 1);
    if (share.compare_exchange_weak(left, worker == owner ? PackShare(first + 1, end) : PackShare(first, end - 1))) return true;
  }
}

void ThreadPool::TakePieces(int worker) {
  int32_t piece;
  for (int i = 0; i < threads(); ++i) {
    while (TakePiece(worker, (worker + i) % threads(), piece)) call_(task_, piece, worker);
  }
}

void ThreadPool::RunErased(int32_t count, Call call, const void* task) {
  std::unique_lock lock(in_use_, std::try_to_lock);
  if (!lock.owns_lock() || workers_.empty() || count <= 1 || forks.load(std::memory_order_relaxed) != forks_at_birth_) {
    for (int32_t i = 0; i < count; ++i) call(task, i, 0);
    return;
  }
  call_ = call;
  task_ = task;
  for (int64_t i = 0, begin = 0; i < threads(); ++i) {
    const int64_t end = count * (i + 1) / threads();
    shares_[static_cast<size_t>(i)].pieces.store(PackShare(static_cast<uint32_t>(begin), static_cast<uint32_t>(end)));
    begin = end;
  }
  core_.store(CurrentCore(), std::memory_order_relaxed);
  job_.store((NumberOf(job_.load()) + 1) * kNextJob | kOpen);
  if (sleepers_.load() > 0) {
    { const std::lock_guard sleepers(sleep_); }  // a worker that has just decided to sleep is waiting by now
    wake_->notify_all();
  }
  TakePieces(0);
  job_.fetch_and(~kOpen);
  // The pieces still under way are short; a worker that wakes now finds the job closed.
  for (int i = 0; (job_.load() & kActive) != 0; ++i) {
    if (i < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::Work(int worker) {
  uint64_t seen = 0;
  for (;;) {
    const auto is_new = [&] { return NumberOf(job_.load()) != seen; };
    const auto shares_core = [&] {
      const int core = CurrentCore();
      return core >= 0 && core == core_.load(std::memory_order_relaxed);
    };
    for (int i = 0; i < kSpins && !is_new() && !shares_core(); ++i) Pause();
    if (shares_core()) std::this_thread::sleep_for(kRest);  // rather than take the asking thread's time
    if (!is_new()) {
      std::unique_lock lock(sleep_);
      sleepers_.fetch_add(1);
      wake_->wait(lock, is_new);
      sleepers_.fetch_sub(1);
    }
    uint64_t job = job_.load();
    seen = NumberOf(job);
    if (stop_.load()) return;  // it was set before the number that is seen by now
    while ((job & kOpen) != 0 && NumberOf(job) == seen) {
      if (!job_.compare_exchange_weak(job, job + 1)) continue;
      TakePieces(worker);
      job_.fetch_sub(1);
      break;
    }
  }
}

}  // namespace sigrun
