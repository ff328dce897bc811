#include <algorithm>
#include <limits>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/gemm.h"
#include "ops/support/numbers.h"

// TensorFlow's gradients of convolutions and pooling over float32 NHWC images, and of broadcasting: what is left in models that train on
// the device.
namespace sigrun::ops {
namespace {

using kernels::ConvShape;

void CheckFloats(const Prepare& p, std::initializer_list<int> inputs) {
  for (const int i : inputs) {
    p.CheckType(i, {TensorType::kFloat32});
    CheckRank(p, i, 4, "operand");
  }
  p.CheckOutputType(0, {TensorType::kFloat32});
}

// One dimension of height and width of a list that has an entry a dimension.
int32_t Entry(const Prepare& p, const std::vector<int64_t>& list, size_t at, const char* name) {
  if (list.empty()) return 1;
  p.Check(list.size() == 4 && list[0] == 1 && list[3] == 1 && list[at] >= 1 && list[at] <= INT32_MAX, "its attribute ", name);
  return static_cast<int32_t>(list[at]);
}

Window ReadWindow(const Prepare& p, const FlexNode& node, int32_t kernel_h, int32_t kernel_w) {
  const std::string format(node.Bytes("data_format", "NHWC")), padding(node.Bytes("padding", "VALID"));
  if (format != "NHWC" || (padding != "SAME" && padding != "VALID")) {
    p.Refuse(StatusCode::kUnimplemented, Concat("the data format '", format, "' with the padding '", padding, "'"));
  }
  Window window;
  window.padding = padding == "SAME" ? schema::Padding::kSame : schema::Padding::kValid;
  const std::vector<int64_t> strides = node.Integers("strides"), dilations = node.Integers("dilations");
  window.stride_h = Entry(p, strides, 1, "strides");
  window.stride_w = Entry(p, strides, 2, "strides");
  window.dilation_h = Entry(p, dilations, 1, "dilations");
  window.dilation_w = Entry(p, dilations, 2, "dilations");
  window.kernel_h = kernel_h;
  window.kernel_w = kernel_w;
  return window;
}

/// Calls f(offset of a pixel of the input, of one of the output, of the tap) for all that meet; offsets count pixels and taps.
template <class F>
void ForTaps(const ConvShape& s, const F& f) {
  for (int64_t line = 0; line < int64_t{s.batch} * s.out_height; ++line) {
    const int64_t batch = line / s.out_height, top = line % s.out_height * s.stride_h - s.pad_top;
    for (int64_t ox = 0; ox < s.out_width; ++ox) {
      const int64_t left = ox * s.stride_w - s.pad_left;
      for (int64_t ky = 0; ky < s.kernel_height; ++ky) {
        const int64_t y = top + ky * s.dilation_h;
        if (y < 0 || y >= s.in_height) continue;
        for (int64_t kx = 0; kx < s.kernel_width; ++kx) {
          const int64_t x = left + kx * s.dilation_w;
          if (x >= 0 && x < s.in_width) f((batch * s.in_height + y) * s.in_width + x, line * s.out_width + ox, ky * s.kernel_width + kx);
        }
      }
    }
  }
}

void CheckOutput(const Prepare& p, const ConvShape& s, int32_t depth, int i) {
  const Shape expected = {s.batch, s.out_height, s.out_width, depth};
  p.Check(p.shape(i) == expected, "a gradient ", ToString(p.shape(i)), ", expected ", ToString(expected));
}

// Filters are [height, width, in, out].
void PrepareFilterGradient(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  CheckFloats(p, {0, 2});
  const Shape filter = KnownShape(p, 1, "the filter's shape");
  p.Check(filter.size() == 4 && filter[2] == p.shape(0)[3] && filter[0] >= 1 && filter[1] >= 1, "a filter ", ToString(filter));
  const ConvShape s = PlaceWindow(p, ReadWindow(p, FlexNode(p), filter[0], filter[1]), p.shape(0));
  CheckOutput(p, s, filter[3], 2);
  p.SetShape(0, filter);
  const int64_t in = filter[2], out = filter[3];
  p.Emit([=, n = p.output_elements(0), x = p.in(0), g = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    std::fill_n(run.get<float>(y), n, 0.0f);
    ForTaps(s, [&](int64_t from, int64_t at, int64_t tap) {
      const float *pixel = run.get<float>(x) + from * in, *gradient = run.get<float>(g) + at * out;
      float* to = run.get<float>(y) + tap * in * out;
      for (int64_t c = 0; c < in; ++c) {
        for (int64_t o = 0; o < out; ++o) to[c * out + o] += pixel[c] * gradient[o];
      }
    });
  });
}

void PrepareInputGradient(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  CheckFloats(p, {1, 2});
  const Shape input = KnownShape(p, 0, "the input's shape"), filter = p.shape(1);
  p.Check(input.size() == 4 && filter[2] == input[3] && filter[0] >= 1 && filter[1] >= 1, "an input ", ToString(input), " and a filter ",
          ToString(filter));
  const ConvShape s = PlaceWindow(p, ReadWindow(p, FlexNode(p), filter[0], filter[1]), input);
  CheckOutput(p, s, filter[3], 2);
  p.SetShape(0, input);
  const int64_t in = filter[2], out = filter[3];
  p.Emit([=, n = p.output_elements(0), w = p.in(1), g = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    std::fill_n(run.get<float>(y), n, 0.0f);
    ForTaps(s, [&](int64_t to, int64_t at, int64_t tap) {
      const float *weights = run.get<float>(w) + tap * in * out, *gradient = run.get<float>(g) + at * out;
      for (int64_t c = 0; c < in; ++c) {
        float sum = 0;
        for (int64_t o = 0; o < out; ++o) sum += weights[c * out + o] * gradient[o];
        run.get<float>(y)[to * in + c] += sum;
      }
    });
  });
}

// Depthwise filters are [height, width, in, multiplier]: channel c becomes the channels c * multiplier and on.
void PrepareDepthwiseFilterGradient(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  CheckFloats(p, {0, 2});
  const Shape filter = KnownShape(p, 1, "the filter's shape");
  p.Check(filter.size() == 4 && filter[2] == p.shape(0)[3] && filter[0] >= 1 && filter[1] >= 1 &&
              p.shape(2)[3] == int64_t{filter[2]} * filter[3],
          "a filter ", ToString(filter));
  const ConvShape s = PlaceWindow(p, ReadWindow(p, FlexNode(p), filter[0], filter[1]), p.shape(0));
  CheckOutput(p, s, p.shape(2)[3], 2);
  p.SetShape(0, filter);
  const int64_t in = filter[2], each = filter[3];
  p.Emit([=, n = p.output_elements(0), x = p.in(0), g = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    std::fill_n(run.get<float>(y), n, 0.0f);
    ForTaps(s, [&](int64_t from, int64_t at, int64_t tap) {
      const float *pixel = run.get<float>(x) + from * in, *gradient = run.get<float>(g) + at * in * each;
      float* to = run.get<float>(y) + tap * in * each;
      for (int64_t i = 0; i < in * each; ++i) to[i] += pixel[i / each] * gradient[i];
    });
  });
}

void PrepareDepthwiseInputGradient(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  CheckFloats(p, {1, 2});
  const Shape input = KnownShape(p, 0, "the input's shape"), filter = p.shape(1);
  p.Check(input.size() == 4 && filter[2] == input[3] && filter[0] >= 1 && filter[1] >= 1 && p.shape(2)[3] == int64_t{filter[2]} * filter[3],
          "an input ", ToString(input), " and a filter ", ToString(filter));
  const ConvShape s = PlaceWindow(p, ReadWindow(p, FlexNode(p), filter[0], filter[1]), input);
  CheckOutput(p, s, p.shape(2)[3], 2);
  p.SetShape(0, input);
  const int64_t in = filter[2], each = filter[3];
  p.Emit([=, n = p.output_elements(0), w = p.in(1), g = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    std::fill_n(run.get<float>(y), n, 0.0f);
    ForTaps(s, [&](int64_t to, int64_t at, int64_t tap) {
      const float *weights = run.get<float>(w) + tap * in * each, *gradient = run.get<float>(g) + at * in * each;
      for (int64_t i = 0; i < in * each; ++i) run.get<float>(y)[to * in + i / each] += weights[i] * gradient[i];
    });
  });
}

Window ReadPool(const Prepare& p) {
  const FlexNode node(p);
  const std::vector<int64_t> size = node.Integers("ksize");
  return ReadWindow(p, node, Entry(p, size, 1, "ksize"), Entry(p, size, 2, "ksize"));
}

// The gradient goes to the first of the largest elements under each window.
void PrepareMaxPoolGradient(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  CheckFloats(p, {0, 1, 2});
  const Shape& input = p.shape(0);
  const ConvShape s = PlaceWindow(p, ReadPool(p), input);
  CheckOutput(p, s, input[3], 1);
  CheckOutput(p, s, input[3], 2);
  p.SetShape(0, input);
  const int64_t depth = input[3], outputs = p.elements(2);
  const Slot places = p.Scratch(static_cast<size_t>(outputs) * sizeof(int64_t));
  p.Emit([=, n = p.output_elements(0), x = p.in(0), g = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    int64_t* place = run.get<int64_t>(places);
    std::fill_n(place, outputs, int64_t{-1});
    ForTaps(s, [&](int64_t from, int64_t at, int64_t) {
      for (int64_t c = 0; c < depth; ++c) {
        int64_t& best = place[at * depth + c];
        if (best < 0 || run.get<float>(x)[best] < run.get<float>(x)[from * depth + c]) best = from * depth + c;
      }
    });
    std::fill_n(run.get<float>(y), n, 0.0f);
    for (int64_t i = 0; i < outputs; ++i) {
      if (place[i] >= 0) run.get<float>(y)[place[i]] += run.get<float>(g)[i];
    }
  });
}

// Each element under a window gets its part; what lies beside the image gets none.
void PrepareAveragePoolGradient(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  CheckFloats(p, {1});
  const Shape input = KnownShape(p, 0, "the input's shape");
  p.Check(input.size() == 4, "an input ", ToString(input));
  const ConvShape s = PlaceWindow(p, ReadPool(p), input);
  CheckOutput(p, s, input[3], 1);
  p.SetShape(0, input);
  const int64_t depth = input[3], pixels = p.elements(1) / std::max<int64_t>(1, depth);
  const Slot counts = p.Scratch(static_cast<size_t>(pixels) * sizeof(int32_t));
  p.Emit([=, n = p.output_elements(0), g = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    int32_t* count = run.get<int32_t>(counts);
    std::fill_n(count, pixels, 0);
    std::fill_n(run.get<float>(y), n, 0.0f);
    ForTaps(s, [&](int64_t, int64_t at, int64_t) { ++count[at]; });
    ForTaps(s, [&](int64_t to, int64_t at, int64_t) {
      for (int64_t c = 0; c < depth; ++c)
        run.get<float>(y)[to * depth + c] += run.get<float>(g)[at * depth + c] / static_cast<float>(count[at]);
    });
  });
}

// The dimensions along which either of two shapes that broadcast is repeated: a gradient is summed over them.
void PrepareBroadcastGradient(Prepare& p) {
  p.CheckCounts(2, 2, 2);
  const Shape a = KnownShape(p, 0, "a shape"), b = KnownShape(p, 1, "a shape");
  const size_t rank = std::max(a.size(), b.size());
  std::vector<int64_t> axes[2];
  for (size_t d = 0; d < rank; ++d) {
    const auto at = [&](const Shape& s) { return d + s.size() < rank ? 1 : s[d + s.size() - rank]; };
    p.Check(at(a) == at(b) || at(a) == 1 || at(b) == 1, "shapes ", ToString(a), " and ", ToString(b), " do not broadcast");
    if (at(a) == 1) axes[0].push_back(static_cast<int64_t>(d));
    if (at(b) == 1) axes[1].push_back(static_cast<int64_t>(d));
  }
  for (int o = 0; o < 2; ++o) {
    if (a == b) axes[o].clear();
    p.CheckOutputType(o, {p.type(0)});
    p.SetShape(o, {static_cast<int32_t>(axes[o].size())});
    WithType<I32, I64>(p, p.type(0), "shapes", [&]<class I>(std::type_identity<I>) {
      p.Emit([all = axes[o], y = p.out(o)](RunContext& run) noexcept {
        std::transform(all.begin(), all.end(), run.get<I>(y), [](int64_t axis) { return static_cast<I>(axis); });
      });
    });
  }
}

constexpr OpDef kOps[] = {
    {.name = "FlexAvgPoolGrad", .prepare = PrepareAveragePoolGradient},
    {.name = "FlexBroadcastGradientArgs", .prepare = PrepareBroadcastGradient},
    {.name = "FlexConv2DBackpropFilter", .prepare = PrepareFilterGradient},
    {.name = "FlexConv2DBackpropInput", .prepare = PrepareInputGradient},
    {.name = "FlexDepthwiseConv2dNativeBackpropFilter", .prepare = PrepareDepthwiseFilterGradient},
    {.name = "FlexDepthwiseConv2dNativeBackpropInput", .prepare = PrepareDepthwiseInputGradient},
    {.name = "FlexMaxPoolGrad", .prepare = PrepareMaxPoolGradient},
};

}  // namespace

std::span<const OpDef> flex_gradients_ops() { return kOps; }

}  // namespace sigrun::ops
