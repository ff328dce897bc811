#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "run/run_context.h"

// Chains of steps over lines of images: each step's output is read by the next step alone, so that a few of its lines at a time are enough,
// and stay in the cache.
namespace sigrun {

/// How the lines of a step's output follow from those of its input. Lines are counted through all images, from the top of the first.
struct LineGeometry {
  int32_t images = 1, in_lines = 1, out_lines = 1;  // the latter two of one image
  size_t in_bytes = 0, out_bytes = 0;               // of one line
  /// Line y of an image's output reads the lines [y * stride - before, y * stride - before + extent) of the input, as far as they exist.
  int32_t stride = 1, before = 0, extent = 1;
  size_t weight_bytes = 0;
  int64_t cost = 1;  // of a line of output, for RunContext::Parallel
};

/// Another form of a step: it computes any lines, and touches no other lines of its input and output than those it must. The pointers are
/// those of the first line of the first image.
struct LineStep {
  LineGeometry geometry;
  int32_t input = -1, output = -1;  // values
  Slot input_slot = {}, output_slot = {};
  void (*run)(const void* self, const RunContext& context, const std::byte* input, std::byte* output, kernels::Range lines, int worker) noexcept = nullptr;
  const void* self = nullptr;
};

/// `step` is a callable `void(const RunContext&, const std::byte* input, std::byte* output, kernels::Range lines, int worker) const noexcept`.
template <class F>
LineStep MakeLineStep(const LineGeometry& geometry, const F* step) {
  LineStep lines;
  lines.geometry = geometry;
  lines.self = step;
  lines.run = [](const void* self, const RunContext& run, const std::byte* input, std::byte* output, kernels::Range range,
                 int worker) noexcept { (*static_cast<const F*>(self))(run, input, output, range, worker); };
  return lines;
}

/// Line steps that run as one, a band of lines of the last one's output at a time. What the others compute stands in a buffer of each worker.
class LineChain {
 public:
  /// How many bytes the lines and weights that a band needs may take: what stays in a core's own cache.
  static size_t CacheBytes();

  /// Takes one more step if the whole still fits into `cache_bytes`.
  bool Append(const LineStep& step, size_t cache_bytes);
  size_t size() const { return links_.size(); }
  const LineStep& step(size_t i) const { return links_[i].step; }
  size_t buffer_bytes() const;  // of one worker

  void Run(const RunContext& context, Slot buffers, int workers) const noexcept;

 private:
  struct Link {
    LineStep step;
    int32_t most_lines = 0;    // of its output that a band needs
    size_t buffer_offset = 0;  // of these lines
  };
  void Place(int32_t band);
  size_t Footprint() const;
  void RunBands(const RunContext& context, std::byte* buffer, kernels::Range lines, int worker) const noexcept;
  kernels::Range Needed(const LineGeometry& g, kernels::Range lines) const;

  std::vector<Link> links_;
  int32_t band_ = 0;
};

}  // namespace sigrun
