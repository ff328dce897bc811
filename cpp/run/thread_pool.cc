#include "run/thread_pool.h"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <chrono>
#include <exception>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "model/error.h"
#include "run/float_mode.h"

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

uint64_t PackShare(uint32_t first, uint32_t end) { return uint64_t{end} << 32 | first; }

std::atomic<int> forks{0};  // that this process is the child of

int CountForks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
  static_cast<void>(registered);
  return forks.load(std::memory_order_relaxed);
}

}  // namespace

ThreadPool::ThreadPool(int threads) : shares_(std::make_unique<Share[]>(static_cast<size_t>(threads))), forks_at_birth_(CountForks()) {
  try {
    workers_.reserve(static_cast<size_t>(threads - 1));
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
  } catch (const std::exception& e) {
    const size_t started = workers_.size();
    EndWorkers();
    Fail(StatusCode::kOutOfMemory, "num_threads is ", threads, ", and the system starts only ", started, " more: ", e.what());
  }
}

ThreadPool::~ThreadPool() {
  if (forks.load() != forks_at_birth_) {  // the threads stayed with the parent
    for (std::thread& worker : workers_) worker.detach();
    static_cast<void>(wake_.release());  // destroying it would wait for them
    return;
  }
  EndWorkers();
}

void ThreadPool::EndWorkers() {
  {
    const std::lock_guard lock(sleep_);
    stop_.store(true);
    for (int i = 0; i < threads(); ++i) shares_[static_cast<size_t>(i)].jobs.fetch_add(1);
  }
  wake_->notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// The first piece of one's own share, or the last of another's. That of a later job than the caller has seen is as good.
bool ThreadPool::TakePiece(int worker, int owner, int32_t& piece) {
  std::atomic<uint64_t>& share = shares_[static_cast<size_t>(owner)].pieces;
  for (uint64_t left = share.load(std::memory_order_relaxed);;) {
    const uint32_t first = static_cast<uint32_t>(left), end = static_cast<uint32_t>(left >> 32);
    if (first == end) return false;
    piece = static_cast<int32_t>(worker == owner ? first : end - 1);
    if (share.compare_exchange_weak(left, worker == owner ? PackShare(first + 1, end) : PackShare(first, end - 1))) return true;
  }
}

// How many it has run. What a piece is may be read once it is taken: its job does not end before it is done.
int32_t ThreadPool::TakePieces(int worker) {
  int32_t piece, taken = 0;
  std::atomic<uint64_t>& done = shares_[static_cast<size_t>(worker)].done;
  for (int i = 0; i < threads(); ++i) {
    const int owner = (worker + i) % threads();
    const Share& share = shares_[static_cast<size_t>(owner)];
    for (; TakePiece(worker, owner, piece); ++taken) {
      if (worker > 0) FloatMode::Set(share.float_mode);
      share.call(share.task, piece, worker);
      done.store(done.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
  }
  return taken;
}

uint64_t ThreadPool::PiecesDone() const {
  uint64_t done = 0;
  for (int i = 1; i < threads(); ++i) done += shares_[static_cast<size_t>(i)].done.load(std::memory_order_acquire);
  return done;
}

void ThreadPool::RunErased(int32_t count, Call call, const void* task) {
  const bool alone = workers_.empty() || count <= 1 || forks.load(std::memory_order_relaxed) != forks_at_birth_;
  if (alone || in_use_.test_and_set(std::memory_order_acquire)) {
    for (int32_t i = 0; i < count; ++i) call(task, i, 0);
    return;
  }
  RunShared(count, call, task);
  in_use_.clear(std::memory_order_release);
}

void ThreadPool::RunShared(int32_t count, Call call, const void* task) {
  const int core = CurrentCore();
  const uint32_t float_mode = FloatMode::Now();
  const auto border = [&](int64_t i) { return static_cast<uint32_t>((count * i + threads() - 1) / threads()); };
  for (int i = threads() - 1; i >= 0; --i) {
    // The asking thread's first piece is nobody else's.
    const uint32_t first = i == 0 ? 1 : border(i), end = border(i + 1);
    if (first == end) continue;
    Share& share = shares_[static_cast<size_t>(i)];
    share.call = call;
    share.task = task;
    share.float_mode = float_mode;
    share.core.store(core, std::memory_order_relaxed);
    share.pieces.store(PackShare(first, end), std::memory_order_release);
    if (i > 0) share.jobs.store(share.jobs.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // A worker that falls asleep just now may be missed, until the next job: what it would have done is taken by others.
  if (sleepers_.load(std::memory_order_relaxed) > 0) {
    { const std::lock_guard sleepers(sleep_); }  // a worker that has just decided to sleep is waiting by now
    wake_->notify_all();
  }
  call(task, 0, 0);
  helped_ += static_cast<uint64_t>(count - 1 - TakePieces(0));
  // The pieces still under way are short.
  for (int i = 0; PiecesDone() != helped_; ++i) {
    if (i < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::Work(int worker) {
  const Share& own = shares_[static_cast<size_t>(worker)];
  uint64_t seen = 0;
  for (;;) {
    const auto is_new = [&] { return own.jobs.load(std::memory_order_acquire) != seen; };
    const auto shares_core = [&] {
      const int core = CurrentCore();
      return core >= 0 && core == own.core.load(std::memory_order_relaxed);
    };
    for (int i = 0; i < kSpins && !is_new() && !shares_core(); ++i) Pause();
    if (shares_core()) std::this_thread::sleep_for(kRest);  // rather than take the asking thread's time
    if (!is_new()) {
      std::unique_lock lock(sleep_);
      sleepers_.fetch_add(1);
      wake_->wait(lock, is_new);
      sleepers_.fetch_sub(1);
    }
    seen = own.jobs.load(std::memory_order_acquire);
    if (stop_.load()) return;  // it was set before the number that is seen by now
    TakePieces(worker);
  }
}

}  // namespace sigrun
