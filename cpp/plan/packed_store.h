#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "graph/graph.h"

namespace sigrun {

/// Packed weights of one Model, shared by all its runners. Entries are made once and live as long as the store.
class PackedStore {
 public:
  /// The entry for (constant, key), filled by `fill` if it is new. `constant` is the address of bytes that outlive the store.
  const std::byte* Get(const std::byte* constant, const std::string& key, size_t bytes, const std::function<void(std::byte*)>& fill) {
    const std::lock_guard lock(mutex_);
    AlignedBytes& entry = entries_[{constant, key, bytes}];
    if (entry.data() == nullptr) {
      AlignedBytes fresh(bytes);
      fill(fresh.data());
      entry = std::move(fresh);
      bytes_ += bytes;
    }
    return entry.data();
  }

  size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::tuple<const std::byte*, std::string, size_t>, AlignedBytes> entries_;
  size_t bytes_ = 0;
};

}  // namespace sigrun
