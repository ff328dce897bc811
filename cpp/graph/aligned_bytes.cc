#include <unistd.h>

#include <cstdlib>

#include "graph/graph.h"
#include "model/error.h"

namespace sigrun {
namespace {

constexpr size_t kAlignment = 64;

size_t PhysicalMemory() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

void CheckFitsMachine(size_t bytes, const std::string& what) {
  if (bytes > PhysicalMemory()) Fail(StatusCode::kOutOfMemory, what, ": needs ", bytes, " bytes of memory, this machine has ", PhysicalMemory());
}

void AlignedBytes::Free::operator()(std::byte* p) const { std::free(p); }

AlignedBytes::AlignedBytes(size_t size) : size_(size) {
  // Linux hands out more than it has and kills the process on use; a model that asks for too much shall be an error instead.
  CheckFitsMachine(size, "a tensor or an arena");
  const size_t rounded = size == 0 ? kAlignment : (size + kAlignment - 1) / kAlignment * kAlignment;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
  if (data_ == nullptr) Fail(StatusCode::kOutOfMemory, "cannot allocate ", size, " bytes");
}

}  // namespace sigrun
