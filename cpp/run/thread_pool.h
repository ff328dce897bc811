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
/// that has finished takes from the others' ends. Workers spin for a bounded time after a job, then sleep; one that finds itself on the core of
/// the thread that asks sleeps at once, for a moment. A job waits only for workers that have begun to help. If another thread's job holds the
/// pool, the caller does its whole job alone: the result is the same. So it does in a forked child, which has no workers.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls task(i, worker) once for every i in [0, count); worker is below threads(), and no two calls at one time have the same. Returns when
  /// all are done. Allocates nothing.
  template <class F>
  void Run(int32_t count, const F& task) {
    RunErased(count, [](const void* f, int32_t i, int worker) { (*static_cast<const F*>(f))(i, worker); }, &task);
  }

 private:
  using Call = void (*)(const void*, int32_t, int);
  void RunErased(int32_t count, Call call, const void* task);
  void Work(int worker);
  bool TakePiece(int worker, int owner, int32_t& piece);
  void TakePieces(int worker);

  std::vector<std::thread> workers_;
  std::mutex in_use_;  // held by the thread whose job it is

  // The job. Written under in_use_ while no worker is in it.
  Call call_ = nullptr;
  const void* task_ = nullptr;
  struct alignas(64) Share {
    std::atomic<uint64_t> pieces{0};  // not yet taken: the first in the low half, the end in the high half
  };
  std::unique_ptr<Share[]> shares_;
  // How many workers are in the job, whether others may join, and the job's number, from the lowest bit up.
  std::atomic<uint64_t> job_{0};
  std::atomic<int> core_{-1};  // that the asking thread was on when the job began
  int forks_at_birth_;

  std::mutex sleep_;
  std::unique_ptr<std::condition_variable> wake_ = std::make_unique<std::condition_variable>();
  std::atomic<int32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace sigrun
