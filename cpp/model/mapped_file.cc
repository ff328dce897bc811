#include "model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/error.h"

namespace sigrun {

MappedFile::MappedFile(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) Fail(StatusCode::kInvalidArgument, "Could not open '", path, "': ", std::strerror(errno));
  struct stat status;
  const bool regular = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  const size_t size = regular ? static_cast<size_t>(status.st_size) : 0;
  void* data = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  close(file);
  if (!regular) Fail(StatusCode::kInvalidArgument, "Could not open '", path, "': it is not a regular file");
  if (size == 0) Fail(StatusCode::kInvalidArgument, "Could not open '", path, "': the file is empty");
  if (data == MAP_FAILED) Fail(StatusCode::kInvalidArgument, "Could not map '", path, "': ", std::strerror(errno));
  bytes_ = {static_cast<const uint8_t*>(data), size};
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size()); }

void MappedFile::Release(std::span<const uint8_t> part) const {
  const auto address = [](const uint8_t* p) { return reinterpret_cast<uintptr_t>(p); };
  const uintptr_t first = address(part.data()), file = address(bytes_.data());
  if (first < file || first - file > bytes_.size() || part.size() > bytes_.size() - (first - file)) return;
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (first + page - 1) / page * page;
  // The last page of the file is the file's alone.
  const uintptr_t end = first + part.size() == file + bytes_.size() ? first + part.size() : (first + part.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace sigrun
