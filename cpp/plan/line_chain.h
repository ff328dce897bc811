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

/// Some channels of all pixels of a step's output.
struct ChannelBlock {
  kernels::Range channels;
  int32_t pixel;  // channels from one pixel of the output to the next
};

/// What a step can do beside lines: blocks of its output's channels.
struct ChannelGeometry {
  int32_t channels = 0;  // of the output; 0: it can not
  int32_t grain = 1;     // blocks begin at its multiples
  size_t bytes = 0;      // of an element of the output
  bool alone = false;    // a channel needs no others of the input, which then stands there without them
};

/// Another form of a step: it computes any lines, and touches no other lines of its input and output than those it must. The pointers are
/// those of the first line of the first image.
struct LineStep {
  LineGeometry geometry;
  int32_t input = -1, output = -1;  // values
  Slot input_slot = {}, output_slot = {};
  void (*run)(const void* self, const RunContext& context, const std::byte* input, std::byte* output, kernels::Range lines,
              int worker) noexcept = nullptr;
  const void* self = nullptr;
  /// The same for a block of channels; `output` is where its first channel stands.
  ChannelGeometry channels = {};
  void (*run_block)(const void* self, const RunContext& context, const std::byte* input, std::byte* output, kernels::Range lines,
                    ChannelBlock block, int worker) noexcept = nullptr;
  const void* block_self = nullptr;
};

/// `step` is a callable `void(const RunContext&, const std::byte* input, std::byte* output, kernels::Range lines, int worker) const
/// noexcept`.
template <class F>
LineStep MakeLineStep(const LineGeometry& geometry, const F* step) {
  LineStep lines;
  lines.geometry = geometry;
  lines.self = step;
  lines.run = [](const void* self, const RunContext& run, const std::byte* input, std::byte* output, kernels::Range range,
                 int worker) noexcept { (*static_cast<const F*>(self))(run, input, output, range, worker); };
  return lines;
}

/// `step` is a callable `void(const RunContext&, const std::byte* input, std::byte* output, kernels::Range lines, ChannelBlock block, int
/// worker) const noexcept`.
template <class F>
void AddBlocks(const ChannelGeometry& geometry, const F* step, LineStep* to) {
  to->channels = geometry;
  to->block_self = step;
  to->run_block = [](const void* self, const RunContext& run, const std::byte* input, std::byte* output, kernels::Range lines,
                     ChannelBlock block, int worker) noexcept { (*static_cast<const F*>(self))(run, input, output, lines, block, worker); };
}

/// Line steps that run as one, a band of lines of the last one's output at a time. What the others compute stands in a buffer of each
/// worker.
class LineChain {
 public:
  /// How many bytes the lines and weights that a band needs may take: what stays in a core's own cache.
  static size_t CacheBytes();

  /// Takes one more step if the whole still fits into `cache_bytes`.
  bool Append(const LineStep& step, size_t cache_bytes);
  /// Two steps that run a block of channels at a time instead, all lines of it: threads share the channels, and compute no line twice.
  /// Empty if the steps do not allow it, or a block takes more than `block_bytes`.
  static LineChain OfChannels(const LineStep& first, const LineStep& second, size_t block_bytes);
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
  void RunBlock(const RunContext& context, std::byte* buffer, kernels::Range lines, kernels::Range channels, int worker) const noexcept;
  void RunBlocks(const RunContext& context, std::byte* buffer, kernels::Range units, int worker) const noexcept;
  void RunBands(const RunContext& context, std::byte* buffer, kernels::Range lines, int worker) const noexcept;
  kernels::Range Needed(const LineGeometry& g, kernels::Range lines) const;

  std::vector<Link> links_;
  int32_t band_ = 0;
  int32_t block_ = 0;  // channels; 0: bands of lines
};

}  // namespace sigrun
