#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include "graph/graph.h"
#include "model/mapped_file.h"

namespace sigrun {

/// Packed weights of one Model, shared by all its runners. Entries are made once and live as long as the store.
class PackedStore {
 public:
  /// The file that constants may lie in: what has been packed is not held in memory a second time.
  void SetFile(std::shared_ptr<const MappedFile> file) { file_ = std::move(file); }

  /// The entry for (constant, key), filled by `fill` if it is new. The bytes of `constant` outlive the store.
  const std::byte* Get(std::span<const std::byte> constant, const std::string& key, size_t bytes,
                       const std::function<void(std::byte*)>& fill) {
    const std::lock_guard lock(mutex_);
    AlignedBytes& entry = entries_[{constant.data(), key, bytes}];
    if (entry.data() == nullptr) {
      AlignedBytes fresh(bytes);
      fill(fresh.data());
      entry = std::move(fresh);
      bytes_ += bytes;
      if (file_ != nullptr) file_->Release({reinterpret_cast<const uint8_t*>(constant.data()), constant.size()});
    }
    return entry.data();
  }

  size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  mutable std::mutex mutex_;
  std::map<std::tuple<const std::byte*, std::string, size_t>, AlignedBytes> entries_;
  size_t bytes_ = 0;
};

}  // namespace sigrun
