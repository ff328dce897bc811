#pragma once

#include <atomic>
#include <cstddef>

namespace sigrun::ops {

/// A search that takes about as long as its result saves in some amount of work, and that is left until there has been so much: a net is
/// then loaded without, and nothing costs more than twice what it would if its future were known. Threads may share it: one of them
/// searches, while the others go on without.
class LazySearch {
 public:
  /// Whether the result can be used for the next `work`. search() is called once, where all work comes to `enough`.
  template <class F>
  bool IsDone(size_t work, size_t enough, const F& search) noexcept {
    if (done_.load(std::memory_order_acquire)) return true;
    const size_t before = work_.fetch_add(work, std::memory_order_relaxed);
    if (before >= enough || before + work < enough) return false;
    search();
    done_.store(true, std::memory_order_release);
    return true;
  }

 private:
  std::atomic<size_t> work_{0};  // so far
  std::atomic<bool> done_{false};
};

}  // namespace sigrun::ops
