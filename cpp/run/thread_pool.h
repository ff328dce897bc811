#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace sigrun {

/// Threads that share the pieces of one job at a time with the thread that asks. A pool of one has no threads. Each has its share of the
/// pieces, the same of every job of that many pieces, so that what one job wrote is in the cache of the core that reads it in the next; one
/// that has finished takes from the others' ends. Workers spin for a bounded time after a job, then sleep; one that finds itself on the
/// core of the thread that asks sleeps at once, for a moment. A job waits only for pieces that a worker has taken. If another thread's job
/// holds the pool, the caller does its whole job alone: the result is the same. So it does in a forked child, which has no workers.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls task(i, worker) once for every i in [0, count); worker is below threads(), and no two calls at one time have the same. Returns
  /// when all are done. Allocates nothing.
  template <class F>
  void Run(int32_t count, const F& task) {
    RunErased(
        count, [](const void* f, int32_t i, int worker) { (*static_cast<const F*>(f))(i, worker); }, &task);
  }

 private:
  using Call = void (*)(const void*, int32_t, int);
  void RunErased(int32_t count, Call call, const void* task);
  void RunShared(int32_t count, Call call, const void* task);
  void Work(int worker);
  void EndWorkers();
  bool TakePiece(int worker, int owner, int32_t& piece);
  int32_t TakePieces(int worker);
  uint64_t PiecesDone() const;

  // What the asking thread and a worker tell each other, in one cache line: every other would be one more to wait for at each job.
  struct alignas(64) Share {
    std::atomic<uint64_t> pieces{0};  // not yet taken: the first in the low half, the end in the high half
    std::atomic<uint64_t> jobs{0};    // that had pieces for this worker
    std::atomic<uint64_t> done{0};    // pieces that this worker has run, of all jobs
    // Of the pieces. Written while there are none, read by those who have taken one.
    Call call = nullptr;
    const void* task = nullptr;
    uint32_t float_mode = 0;    // of the asking thread
    std::atomic<int> core{-1};  // that the asking thread was on
  };

  std::vector<std::thread> workers_;
  std::atomic_flag in_use_ = ATOMIC_FLAG_INIT;  // by the thread whose job it is
  std::unique_ptr<Share[]> shares_;             // the first is the asking thread's
  uint64_t helped_ = 0;                         // pieces that workers have run, of all jobs that are done
  int forks_at_birth_;

  std::mutex sleep_;
  std::unique_ptr<std::condition_variable> wake_ = std::make_unique<std::condition_variable>();
  std::atomic<int32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace sigrun
