#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "graph/graph.h"
#include "model/error.h"

namespace sigrun {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
// Of larger memory in huge pages a virtual machine may have to be given all by its host, which makes loading several times slower.
constexpr size_t kMostInHugePages = size_t{8} << 20;

size_t PhysicalMemory() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

bool FitsMachine(size_t bytes) { return bytes <= PhysicalMemory(); }

void CheckFitsMachine(size_t bytes, const std::string& what) {
  if (!FitsMachine(bytes)) Fail(StatusCode::kOutOfMemory, what, ": needs ", bytes, " bytes of memory, this machine has ", PhysicalMemory());
}

void AlignedBytes::Free::operator()(std::byte* p) const { std::free(p); }

AlignedBytes::AlignedBytes(size_t size) : size_(size) {
  // Linux hands out more than it has and kills the process on use; a model that asks for too much shall be an error instead.
  CheckFitsMachine(size, "a tensor or an arena");
  const size_t huge = size > kMostInHugePages ? 0 : size / kHugePage * kHugePage, alignment = huge > 0 ? kHugePage : kAlignment;
  const size_t rounded = size == 0 ? alignment : (size + alignment - 1) / alignment * alignment;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)));
  if (data_ == nullptr) Fail(StatusCode::kOutOfMemory, "cannot allocate ", size, " bytes");
#ifdef MADV_HUGEPAGE
  if (huge > 0) madvise(data_.get(), huge, MADV_HUGEPAGE);  // each inference reads all weights: small pages would not fit the TLB
#endif
}

}  // namespace sigrun
