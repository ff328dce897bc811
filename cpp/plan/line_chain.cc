#include "plan/line_chain.h"

#include <algorithm>
#include <cstring>

#if defined(__linux__)
#include <unistd.h>
#endif

namespace sigrun {
namespace {

using kernels::Range;

constexpr size_t kMostLinks = 16;
constexpr int32_t kLeastBand = 2, kMostBand = 16;
constexpr int32_t kMostBlock = 96;  // channels
constexpr size_t kAlignment = 64;

size_t RoundUp(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

size_t LineChain::CacheBytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
  const size_t bytes = found > 0 ? static_cast<size_t>(found) : size_t{512} << 10;
#else
  const size_t bytes = size_t{512} << 10;
#endif
  return std::clamp(bytes, size_t{256} << 10, size_t{2} << 20) / 4 * 3;
}

// The lines of an image's input that lines of its output need.
Range LineChain::Needed(const LineGeometry& g, Range lines) const {
  const int32_t begin = lines.begin * g.stride - g.before, end = (lines.end - 1) * g.stride - g.before + g.extent;
  return {std::clamp(begin, 0, g.in_lines), std::clamp(end, 0, g.in_lines)};
}

// Sizes the buffers for `band` lines of the last output.
void LineChain::Place(int32_t band) {
  band_ = band;
  int32_t lines = band;
  for (size_t i = links_.size(); i-- > 0;) {
    const LineGeometry& g = links_[i].step.geometry;
    links_[i].most_lines = std::min(lines, g.out_lines);
    lines = (links_[i].most_lines - 1) * g.stride + g.extent;
  }
  size_t offset = 0;
  for (size_t i = 0; i + 1 < links_.size(); ++i) {
    links_[i].buffer_offset = offset;
    offset += RoundUp(static_cast<size_t>(links_[i].most_lines) * links_[i].step.geometry.out_bytes);
  }
}

size_t LineChain::buffer_bytes() const {
  if (block_ > 0) return links_[0].buffer_offset;
  if (links_.size() < 2) return 0;
  const Link& last = links_[links_.size() - 2];
  return last.buffer_offset + RoundUp(static_cast<size_t>(last.most_lines) * last.step.geometry.out_bytes);
}

size_t LineChain::Footprint() const {
  const LineGeometry& first = links_.front().step.geometry;
  size_t bytes = buffer_bytes() + static_cast<size_t>(links_.front().most_lines * first.stride) * first.in_bytes +
                 static_cast<size_t>(band_) * links_.back().step.geometry.out_bytes;
  for (const Link& link : links_) bytes += link.step.geometry.weight_bytes;
  return bytes;
}

bool LineChain::Append(const LineStep& step, size_t cache_bytes) {
  if (links_.size() == kMostLinks) return false;
  const int32_t before = band_;
  links_.push_back({step});
  for (int32_t band = std::min(kMostBand, step.geometry.out_lines); band >= std::min(kLeastBand, step.geometry.out_lines); --band) {
    Place(band);
    if (Footprint() <= cache_bytes) return true;
  }
  links_.pop_back();
  if (!links_.empty()) Place(before);
  return false;
}

void LineChain::RunBands(const RunContext& context, std::byte* buffer, Range lines, int worker) const noexcept {
  const int32_t height = links_.back().step.geometry.out_lines;
  const size_t count = links_.size();
  Range done[kMostLinks];  // lines in each link's buffer
  for (int32_t begin = lines.begin; begin < lines.end;) {
    const int32_t image = begin / height, top = image * height;
    const int32_t end = std::min({begin + band_, lines.end, top + height});
    const bool starts = begin == lines.begin || begin == top;
    Range wanted[kMostLinks];  // of each link's output, within the image
    wanted[count - 1] = {begin - top, end - top};
    for (size_t i = count - 1; i > 0; --i) wanted[i - 1] = Needed(links_[i].step.geometry, wanted[i]);
    const std::byte* input = context.get<std::byte>(links_[0].step.input_slot);
    for (size_t i = 0; i < count; ++i) {
      const LineStep& step = links_[i].step;
      const LineGeometry& g = step.geometry;
      const int32_t first = image * g.out_lines;
      std::byte* output = context.get<std::byte>(step.output_slot);
      Range fresh = wanted[i];
      if (i + 1 < count) {
        // Lines that the band before has left move to the front.
        std::byte* to = buffer + links_[i].buffer_offset;
        if (!starts && done[i].end > fresh.begin) {
          const size_t kept = static_cast<size_t>(std::min(done[i].end, fresh.end) - fresh.begin) * g.out_bytes;
          std::memmove(to, to + static_cast<size_t>(fresh.begin - done[i].begin) * g.out_bytes, kept);
          fresh.begin = std::min(done[i].end, fresh.end);
        }
        done[i] = wanted[i];
        // Where the first line of the first image would be.
        output = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(to) - static_cast<size_t>(first + wanted[i].begin) * g.out_bytes);
      }
      if (fresh.begin < fresh.end) step.run(step.self, context, input, output, {first + fresh.begin, first + fresh.end}, worker);
      input = output;
    }
    begin = end;
  }
}

LineChain LineChain::OfChannels(const LineStep& first, const LineStep& second, size_t block_bytes) {
  const ChannelGeometry &from = first.channels, &to = second.channels;
  LineChain chain;
  if (from.channels == 0 || from.channels != to.channels || !to.alone) return chain;
  if (from.alone) return chain;  // all channels of its input stand there
  const LineGeometry& g = first.geometry;
  const size_t channel_bytes = static_cast<size_t>(g.out_lines) * g.out_bytes / static_cast<size_t>(from.channels);
  const int32_t grain = std::max(from.grain, to.grain);  // one is a multiple of the other
  const int32_t grains = static_cast<int32_t>(std::min(block_bytes / channel_bytes, size_t{kMostBlock})) / grain;
  if (grains == 0 || int64_t{to.channels} * second.geometry.images * second.geometry.out_lines > INT32_MAX) return chain;
  chain.block_ = grains * grain;
  chain.links_ = {{first}, {second}};
  chain.links_[0].buffer_offset = RoundUp(channel_bytes * static_cast<size_t>(chain.block_));
  return chain;
}

// Lines of one image.
void LineChain::RunBlock(const RunContext& context, std::byte* buffer, Range lines, Range channels, int worker) const noexcept {
  const LineStep &first = links_[0].step, &second = links_[1].step;
  const int32_t image = lines.begin / second.geometry.out_lines, top = image * second.geometry.out_lines;
  Range between = Needed(second.geometry, {lines.begin - top, lines.end - top});
  between = {between.begin + image * first.geometry.out_lines, between.end + image * first.geometry.out_lines};
  const int32_t width = channels.end - channels.begin;
  const size_t line_bytes = first.geometry.out_bytes / static_cast<size_t>(first.channels.channels) * static_cast<size_t>(width);
  // Where the first line of the first image would be.
  std::byte* from = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(buffer) - static_cast<size_t>(between.begin) * line_bytes);
  first.run_block(first.block_self, context, context.get<std::byte>(first.input_slot), from, between, {channels, width}, worker);
  std::byte* to = context.get<std::byte>(second.output_slot) + static_cast<size_t>(channels.begin) * second.channels.bytes;
  second.run_block(second.block_self, context, from, to, lines, {channels, second.channels.channels}, worker);
}

// A unit is a channel of a line; a range begins and ends within blocks, whose lines it shares.
void LineChain::RunBlocks(const RunContext& context, std::byte* buffer, Range units, int worker) const noexcept {
  const LineGeometry& g = links_[1].step.geometry;
  const int32_t lines = g.images * g.out_lines, channels = links_[1].step.channels.channels;
  for (int32_t channel = units.begin / lines / block_ * block_; channel < channels && channel * lines < units.end; channel += block_) {
    const int32_t width = std::min(block_, channels - channel);
    const auto line_of = [&](int32_t unit) { return std::clamp((unit - channel * lines + width - 1) / width, 0, lines); };
    for (int32_t line = line_of(units.begin), end = line_of(units.end), next = 0; line < end; line = next) {
      next = std::min(end, (line / g.out_lines + 1) * g.out_lines);
      RunBlock(context, buffer, {line, next}, {channel, channel + width}, worker);
    }
  }
}

void LineChain::Run(const RunContext& context, Slot buffers, int workers) const noexcept {
  const LineGeometry& last = links_.back().step.geometry;
  const int32_t lines = last.images * last.out_lines;
  int64_t cost = 0;
  for (const Link& link : links_) cost += link.step.geometry.cost * link.step.geometry.out_lines;
  const size_t bytes = buffer_bytes();
  if (block_ > 0) {
    const int32_t channels = links_.back().step.channels.channels;
    return context.Parallel(
        channels * lines, cost / last.out_lines / channels + 1,
        [&](Range units, int worker) {
          RunBlocks(context, context.get<std::byte>(buffers) + static_cast<size_t>(worker) * bytes, units, worker);
        },
        1, 1);
  }
  // Few pieces: at each cut, the lines that both sides need are computed twice.
  constexpr int32_t kTallPiece = 16;
  context.Parallel(
      lines, cost / last.out_lines + 1,
      [&](Range range, int worker) {
        RunBands(context, context.get<std::byte>(buffers) + static_cast<size_t>(worker) * bytes, range, worker);
      },
      1, lines >= 2 * workers * kTallPiece ? 2 : 1);
}

}  // namespace sigrun
