#include "plan/line_chain.h"

#include <cstring>

#include "graph/passes/passes.h"
#include "models.h"
#include "plan/plan.h"
#include "run/model_impl.h"

namespace sigrun {
namespace {

using kernels::Range;

// Lines of two integers: each is the sum of the lines that it reads, times a factor, plus its own number.
struct Sums {
  LineGeometry geometry;
  int32_t factor;
  static void Run(const void* self, const RunContext&, const std::byte* input, std::byte* output, Range lines, int) noexcept {
    const Sums& s = *static_cast<const Sums*>(self);
    const LineGeometry& g = s.geometry;
    for (int32_t line = lines.begin; line < lines.end; ++line) {
      const int32_t image = line / g.out_lines, first = line % g.out_lines * g.stride - g.before;
      int32_t sum[2] = {line, -line};
      for (int32_t y = std::max(first, 0); y < std::min(first + g.extent, g.in_lines); ++y) {
        int32_t in[2];
        std::memcpy(in, input + static_cast<size_t>(image * g.in_lines + y) * sizeof(in), sizeof(in));
        for (int i = 0; i < 2; ++i) sum[i] += s.factor * in[i];
      }
      std::memcpy(output + static_cast<size_t>(line) * sizeof(sum), sum, sizeof(sum));
    }
  }
};

Sums Window(int32_t images, int32_t in_lines, int32_t extent, int32_t stride, int32_t before, int32_t after, int32_t factor) {
  const int32_t out_lines = (in_lines + before + after - extent) / stride + 1;
  return {{images, in_lines, out_lines, 8, 8, stride, before, extent, 0, 1 << 20}, factor};
}

TEST(LineChain, BandsEqualWholeSteps) {
  for (const size_t cache_bytes : {size_t{1} << 20, size_t{800}}) {
    for (const int32_t images : {1, 3}) {
      const Sums sums[] = {Window(images, 37, 3, 1, 1, 1, 3), Window(images, 37, 5, 2, 2, 2, 5), Window(images, 19, 1, 1, 0, 0, 7),
                           Window(images, 19, 2, 3, 0, 0, 11), Window(images, 6, 3, 1, 2, 2, 13)};
      std::vector<std::byte> values[6];
      std::byte* slots[7] = {};
      LineChain chain;
      values[0].resize(static_cast<size_t>(images) * 37 * 8);
      for (size_t i = 0; i < values[0].size(); ++i) values[0][i] = static_cast<std::byte>(i % 4 == 0 ? i / 4 % 100 : 0);
      slots[0] = values[0].data();
      for (int32_t i = 0; i < 5; ++i) {
        const LineGeometry& g = sums[i].geometry;
        values[i + 1].resize(static_cast<size_t>(g.images * g.out_lines) * g.out_bytes);
        slots[i + 1] = values[i + 1].data();
        ASSERT_TRUE(chain.Append({g, i, i + 1, Slot{i}, Slot{i + 1}, Sums::Run, &sums[i]}, cache_bytes));
        Sums::Run(&sums[i], RunContext(slots, nullptr), slots[i], slots[i + 1], {0, g.images * g.out_lines}, 0);
      }
      const std::vector<std::byte> expected = values[5];
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<std::byte> buffers(chain.buffer_bytes() * static_cast<size_t>(threads));
        std::fill(values[5].begin(), values[5].end(), std::byte{0});
        slots[6] = buffers.data();
        chain.Run(RunContext(slots, &pool), Slot{6}, threads);
        EXPECT_EQ(values[5], expected) << cache_bytes << " bytes, " << images << " images, " << threads << " threads";
      }
    }
  }
}

// Lines of one pixel of kChannels integers: Spread makes them of a line of one, PerChannel adds lines up channel by channel.
constexpr int32_t kChannels = 21;
struct Spread {
  void operator()(const RunContext&, const std::byte* input, std::byte* output, Range lines, ChannelBlock block, int) const noexcept {
    for (int32_t line = lines.begin; line < lines.end; ++line) {
      const int32_t x = reinterpret_cast<const int32_t*>(input)[line];
      int32_t* to = reinterpret_cast<int32_t*>(output) + ptrdiff_t{line} * block.pixel;
      for (int32_t c = block.channels.begin; c < block.channels.end; ++c) *to++ = x * (c + 1) + line;
    }
  }
};
struct PerChannel {
  LineGeometry g;
  void operator()(const RunContext&, const std::byte* input, std::byte* output, Range lines, ChannelBlock block, int) const noexcept {
    const int32_t width = block.channels.end - block.channels.begin;
    for (int32_t line = lines.begin; line < lines.end; ++line) {
      const int32_t image = line / g.out_lines, first = line % g.out_lines * g.stride - g.before;
      for (int32_t c = 0; c < width; ++c) {
        int32_t sum = block.channels.begin + c;
        for (int32_t y = std::max(first, 0); y < std::min(first + g.extent, g.in_lines); ++y) {
          sum += reinterpret_cast<const int32_t*>(input)[ptrdiff_t{image * g.in_lines + y} * width + c];
        }
        reinterpret_cast<int32_t*>(output)[ptrdiff_t{line} * block.pixel + c] = sum;
      }
    }
  }
};

TEST(LineChain, BlocksOfChannelsEqualWholeSteps) {
  constexpr int32_t kLines = 11;
  constexpr size_t kPixel = kChannels * sizeof(int32_t);
  for (const int32_t images : {1, 3}) {
    const LineGeometry spread_lines = {images, kLines, kLines, sizeof(int32_t), kPixel, 1, 0, 1, 0, 1 << 20};
    LineGeometry sum_lines = Window(images, kLines, 5, 2, 2, 2, 1).geometry;
    sum_lines.in_bytes = sum_lines.out_bytes = kPixel;
    const Spread spread;
    const PerChannel sum = {sum_lines};
    std::vector<int32_t> input(static_cast<size_t>(images * kLines)), between(input.size() * kChannels);
    for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<int32_t>(i * i % 31);
    std::vector<int32_t> output(static_cast<size_t>(images * sum_lines.out_lines) * kChannels);
    std::byte* slots[3] = {reinterpret_cast<std::byte*>(input.data()), reinterpret_cast<std::byte*>(output.data()), nullptr};
    const RunContext alone(slots, nullptr);
    const ChannelBlock all = {{0, kChannels}, kChannels};
    spread(alone, slots[0], reinterpret_cast<std::byte*>(between.data()), {0, images * kLines}, all, 0);
    sum(alone, reinterpret_cast<std::byte*>(between.data()), slots[1], {0, images * sum_lines.out_lines}, all, 0);
    const std::vector<int32_t> expected = output;
    LineStep first = {.geometry = spread_lines, .input_slot = Slot{0}}, second = {.geometry = sum_lines, .output_slot = Slot{1}};
    AddBlocks({kChannels, 2, sizeof(int32_t), false}, &spread, &first);
    EXPECT_EQ(LineChain::OfChannels(first, second, SIZE_MAX).size(), 0u);
    AddBlocks({kChannels, 4, sizeof(int32_t), true}, &sum, &second);
    EXPECT_EQ(LineChain::OfChannels(first, second, 4 * kLines).size(), 0u);
    EXPECT_EQ(LineChain::OfChannels(second, second, SIZE_MAX).size(), 0u);  // no block of the first one's input stands by itself
    for (const size_t block_bytes : {size_t{4 * 4 * kLines}, size_t{9 * 4 * kLines}, size_t{1} << 20}) {
      const LineChain chain = LineChain::OfChannels(first, second, block_bytes);
      ASSERT_EQ(chain.size(), 2u);
      for (const int threads : {1, 2, 3, 7}) {
        ThreadPool pool(threads);
        std::vector<std::byte> buffers(chain.buffer_bytes() * static_cast<size_t>(threads));
        slots[2] = buffers.data();
        std::fill(output.begin(), output.end(), 0);
        chain.Run(RunContext(slots, &pool), Slot{2}, threads);
        EXPECT_EQ(output, expected) << block_bytes << " bytes, " << images << " images, " << threads << " threads";
      }
    }
  }
}

TEST(LineChain, TakesNoMoreThanFits) {
  LineChain chain;
  Sums sums = Window(1, 40, 3, 1, 1, 1, 1);
  const LineStep step = {sums.geometry, 0, 1, {}, {}, Sums::Run, &sums};
  ASSERT_TRUE(chain.Append(step, 100));
  EXPECT_FALSE(chain.Append(step, 40));
  EXPECT_EQ(chain.size(), 1u);
}

// The bytes of the first output of a plan of its own, made with `lines`.
std::vector<std::byte> RunPlan(const Model& model, const std::shared_ptr<const Graph>& graph, const Shape& input, LineFusion lines,
                               int threads, size_t* steps, size_t* arena_bytes) {
  PackedStore packed;
  const auto plan =
      MakePlan(graph, {input}, {.kernels = &kernels::Best(), .packed = &packed, .workers = threads, .lines = lines, .graph_of = nullptr});
  EXPECT_NE(model.impl().flat, nullptr);
  *steps = plan->steps.size();
  *arena_bytes = plan->arena_bytes;
  AlignedBytes arena(plan->arena_bytes);
  std::vector<std::vector<std::byte>> boundary(graph->values.size());
  std::vector<std::byte*> slots;
  for (const SlotSource& s : plan->slots) {
    if (s.kind == SlotSource::kBoundary) {
      const size_t v = static_cast<size_t>(s.index);
      boundary[v].resize(BytesOf(graph->values[v].type, ElementCount(plan->shapes[v], "test")));
      slots.push_back(boundary[v].data());
    } else {
      slots.push_back(s.kind == SlotSource::kArena ? arena.data() + s.offset : const_cast<std::byte*>(s.pointer));
    }
  }
  std::vector<std::byte>& image = boundary[static_cast<size_t>(graph->inputs[0])];
  for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<std::byte>(i % 4 == 3 ? 0x3e : i * 37 % 251);
  ThreadPool pool(threads);
  RunContext context(slots.data(), threads > 1 ? &pool : nullptr);
  for (const Step& step : plan->steps) step.run(step.self, context);
  return boundary[static_cast<size_t>(graph->outputs[0])];
}

TEST(LineChain, ModelsGiveTheSameBits) {
  struct Case {
    const char* name;
    Shape input;
  };
  const Case cases[] = {{"convnet_float32", {1, 12, 12, 3}},
                        {"convnet_int8", {1, 12, 12, 3}},
                        {"convnet_uint8", {1, 12, 12, 3}},
                        {"blocks_float32", {1, 29, 26, 3}}};
  for (const Case& c : cases) {
    const auto model = LoadModel(c.name);
    auto graph = std::make_shared<Graph>(BuildGraph(*model->impl().flat, 0));
    passes::Run(*graph, kernels::Best());
    size_t steps = 0, fused_steps = 0, arena = 0, fused_arena = 0;
    const auto expected = RunPlan(*model, graph, c.input, {0, 1}, 1, &steps, &arena);
    for (const size_t cache_bytes : {size_t{8} << 10, size_t{20} << 10, size_t{1} << 20}) {
      for (const int threads : {1, 3}) {
        const auto actual = RunPlan(*model, graph, c.input, {cache_bytes, 1}, threads, &fused_steps, &fused_arena);
        EXPECT_EQ(actual, expected) << c.name << " " << cache_bytes << " " << threads;
      }
    }
    EXPECT_LT(fused_steps, steps) << c.name;
  }
}

}  // namespace
}  // namespace sigrun
