#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace sigrun {

/// A file mapped read-only into memory.
class MappedFile {
 public:
  /// Throws Error naming the path and the system's reason.
  explicit MappedFile(const char* path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const uint8_t> bytes() const { return bytes_; }

  /// Gives the pages that lie wholly in `part` back to the system; reading them brings them back from the file. Nothing happens to a part
  /// that is not of this file.
  void Release(std::span<const uint8_t> part) const;

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace sigrun
