#include <algorithm>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/ints.h"
#include "ops/support/reducer.h"
#include "ops/support/strided_copy.h"

// STABLEHLO_REDUCE_WINDOW, REDUCE_WINDOW and STABLEHLO_REDUCE: elements under a window that slides over a tensor become one. What lies
// beside the tensor, or between its elements if they are drawn apart, counts as the initial value.
namespace sigrun::ops {
namespace {

/// One dimension: for each place of the window and each element under it, how far that element's offset is; -1 beside the tensor.
struct Slide {
  int64_t places = 1, size = 1;
  std::vector<int64_t> offset;
};

struct Window {
  std::vector<int64_t> size, stride, dilation, base_dilation, padding;  // padding: low and high of each dimension
};

Slide MakeSlide(const Prepare& p, const Window& w, size_t d, int64_t extent, int64_t unit) {
  const int64_t low = w.padding[2 * d], padded = (extent == 0 ? 0 : (extent - 1) * w.base_dilation[d] + 1) + low + w.padding[2 * d + 1];
  const int64_t reach = (w.size[d] - 1) * w.dilation[d] + 1;
  Slide slide;
  slide.size = w.size[d];
  slide.places = padded < reach ? 0 : (padded - reach) / w.stride[d] + 1;
  p.Check(slide.places <= INT32_MAX && (slide.places == 0 || slide.size <= (int64_t{1} << 32) / slide.places), "a window of ", slide.size,
          " over ", extent, " elements");
  slide.offset.reserve(static_cast<size_t>(slide.places * slide.size));
  for (int64_t place = 0; place < slide.places; ++place) {
    for (int64_t k = 0; k < slide.size; ++k) {
      const int64_t at = place * w.stride[d] + k * w.dilation[d] - low, base = w.base_dilation[d];
      slide.offset.push_back(at >= 0 && at % base == 0 && at / base < extent ? at / base * unit : -1);
    }
  }
  return slide;
}

void CheckWindow(const Prepare& p, const Window& w) {
  CheckRange(p, w.size, 1, INT32_MAX, "a window dimension");
  CheckRange(p, w.stride, 1, INT32_MAX, "a window stride");
  CheckRange(p, w.dilation, 1, INT32_MAX, "a window dilation");
  CheckRange(p, w.base_dilation, 1, INT32_MAX, "a base dilation");
  CheckRange(p, w.padding, INT32_MIN, INT32_MAX, "a padding");
}

std::vector<Slide> MakeSlides(const Prepare& p, const Window& w) {
  CheckWindow(p, w);
  const std::vector<int64_t> strides = DenseStrides(p.shape(0));
  std::vector<Slide> slides;
  for (size_t d = 0; d < strides.size(); ++d) slides.push_back(MakeSlide(p, w, d, p.shape(0)[d], strides[d]));
  return slides;
}

/// Takes what lies under the window into `sum`: `at` holds the place in every dimension.
template <class T, class W, class Op>
W TakeWindow(const std::vector<Slide>& slides, const int64_t* at, size_t d, const T* from, bool inside, W sum, W initial, const Op& op) {
  if (d == slides.size()) return op(sum, inside ? Widen(*from) : initial);
  const Slide& slide = slides[d];
  const int64_t* offset = slide.offset.data() + at[d] * slide.size;
  for (int64_t k = 0; k < slide.size; ++k) {
    const bool within = inside && offset[k] >= 0;
    sum = TakeWindow(slides, at, d + 1, within ? from + offset[k] : from, within, sum, initial, op);
  }
  return sum;
}

template <class T, class Op>
void EmitWindow(Prepare& p, const std::vector<Slide>& slides, const Op& op) {
  int64_t under = 1;
  for (const Slide& slide : slides) under *= slide.size;
  p.Check(p.output_elements(0) <= INT32_MAX, "an output of shape ", ToString(p.output_shape(0)));
  p.Emit([=, n = static_cast<int32_t>(p.output_elements(0)), x = p.in(0), i = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    const auto initial = Widen(*run.get<T>(i));
    run.Parallel(n, 4 * under, [&](kernels::Range range, int) {
      for (int64_t e = range.begin; e < range.end; ++e) {
        int64_t at[kMaxLoops], rest = e;
        for (size_t d = slides.size(); d-- > 0; rest /= slides[d].places) at[d] = rest % slides[d].places;
        run.get<T>(y)[e] = Narrow<T>(TakeWindow(slides, at, 0, run.get<const T>(x), true, initial, initial, op));
      }
    });
  });
}

/// `shape` is the output's: the places of the window, less the dimensions that are reduced away.
void EmitReduction(Prepare& p, Reducer reducer, const std::vector<Slide>& slides, Shape shape) {
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  p.Check(p.elements(1) == 1, "the initial value has shape ", ToString(p.shape(1)));
  p.Check(slides.size() <= kMaxLoops, "an input of rank ", slides.size());
  p.SetShape(0, std::move(shape));
  WithArithmetic(p, p.type(0), "an input",
                 [&]<class T>(std::type_identity<T>) { WithReducer(reducer, [&](const auto& op) { EmitWindow<T>(p, slides, op); }); });
}

Shape PlacesOf(const std::vector<Slide>& slides) {
  Shape shape;
  for (const Slide& slide : slides) shape.push_back(static_cast<int32_t>(slide.places));
  return shape;
}

void PrepareStablehloReduceWindow(Prepare& p) {
  enum Field : int { kSize, kStrides, kBaseDilations, kDilations, kPadding, kBody };
  p.CheckCounts(2, 2, 1);
  const size_t rank = p.shape(0).size();
  const flatbuffer::Table& o = p.options_2();
  const Window w{.size = OptionInts(p, o, kSize, "window_dimensions", rank, 1),
                 .stride = OptionInts(p, o, kStrides, "window_strides", rank, 1),
                 .dilation = OptionInts(p, o, kDilations, "window_dilations", rank, 1),
                 .base_dilation = OptionInts(p, o, kBaseDilations, "base_dilations", rank, 1),
                 .padding = OptionInts(p, o, kPadding, "padding", 2 * rank, 0)};
  const std::vector<Slide> slides = MakeSlides(p, w);
  EmitReduction(p, ReadReducer(p, o.Scalar<int32_t>(kBody)), slides, PlacesOf(slides));
}

void PrepareReduceWindow(Prepare& p) {
  enum Field : int { kFunction };
  constexpr Reducer kReducers[] = {Reducer::kAdd, Reducer::kMultiply, Reducer::kMinimum, Reducer::kMaximum, Reducer::kAnd, Reducer::kOr};
  p.CheckCounts(5, 5, 1);
  const size_t rank = p.shape(0).size();
  const Window w{.size = p.ConstantInts(2, "window shape"),
                 .stride = p.ConstantInts(3, "window strides"),
                 .dilation = p.ConstantInts(4, "window dilations"),
                 .base_dilation = std::vector<int64_t>(rank, 1),
                 .padding = std::vector<int64_t>(2 * rank, 0)};
  p.Check(w.size.size() == rank && w.stride.size() == rank && w.dilation.size() == rank, "a window that has not the input's rank ", rank);
  const int32_t function = p.options_2().Scalar<int32_t>(kFunction);
  p.Check(function >= 1 && function <= 6, "reduce function ", function);
  const std::vector<Slide> slides = MakeSlides(p, w);
  EmitReduction(p, kReducers[function - 1], slides, PlacesOf(slides));
}

// Each dimension that is reduced lies under the window as a whole.
void PrepareReduce(Prepare& p) {
  enum Field : int { kDimensions, kBody };
  p.CheckCounts(2, 2, 1);
  const Shape& input = p.shape(0);
  Window w{.size = std::vector<int64_t>(input.size(), 1),
           .stride = std::vector<int64_t>(input.size(), 1),
           .dilation = std::vector<int64_t>(input.size(), 1),
           .base_dilation = std::vector<int64_t>(input.size(), 1),
           .padding = std::vector<int64_t>(2 * input.size(), 0)};
  std::vector<bool> reduced(input.size(), false);
  for (const int64_t d : OptionInts(p.options_2(), kDimensions, "dimensions")) {
    p.Check(d >= 0 && d < static_cast<int64_t>(input.size()), "dimension ", d, " of an input of rank ", input.size());
    reduced[static_cast<size_t>(d)] = true;
    // Of nothing the initial value is left, which is what lies beside the input.
    w.size[static_cast<size_t>(d)] = std::max(input[static_cast<size_t>(d)], 1);
    if (input[static_cast<size_t>(d)] == 0) w.padding[2 * static_cast<size_t>(d)] = 1;
  }
  Shape shape;
  for (size_t d = 0; d < input.size(); ++d) {
    if (!reduced[d]) shape.push_back(input[d]);
  }
  EmitReduction(p, ReadReducer(p, p.options_2().Scalar<int32_t>(kBody)), MakeSlides(p, w), std::move(shape));
}

constexpr OpDef kOps[] = {
    {.name = "REDUCE_WINDOW", .prepare = PrepareReduceWindow},
    {.name = "STABLEHLO_REDUCE", .prepare = PrepareReduce},
    {.name = "STABLEHLO_REDUCE_WINDOW", .prepare = PrepareStablehloReduceWindow},
};

}  // namespace

std::span<const OpDef> stablehlo_reduce_ops() { return kOps; }

}  // namespace sigrun::ops
