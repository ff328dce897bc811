#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/flat_model.h"
#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/elements.h"
#include "ops/support/ints.h"
#include "ops/support/strided_copy.h"
#include "ops/support/subgraph.h"

// STABLEHLO_DOT_GENERAL, _CONVOLUTION and _SORT with their dimensions in any order, on numbers of any type: written for what they mean, not
// for speed. Converters spell fast models with other operators.
namespace sigrun::ops {
namespace {

using Ints = std::vector<int64_t>;

/// Offsets of all elements over some dimensions, the last of them fastest; `strides` are those of all dimensions.
Ints OffsetsOver(const Shape& shape, const Ints& strides, const Ints& dimensions) {
  Ints offsets = {0};
  for (const int64_t d : dimensions) {
    Ints next;
    for (const int64_t offset : offsets) {
      for (int64_t i = 0; i < shape[static_cast<size_t>(d)]; ++i) next.push_back(offset + i * strides[static_cast<size_t>(d)]);
    }
    offsets = std::move(next);
  }
  return offsets;
}

Ints Without(size_t rank, const Ints& a, const Ints& b) {
  Ints rest;
  for (int64_t d = 0; d < static_cast<int64_t>(rank); ++d) {
    if (std::count(a.begin(), a.end(), d) + std::count(b.begin(), b.end(), d) == 0) rest.push_back(d);
  }
  return rest;
}

/// Throws unless the dimensions exist and are different.
void CheckDimensions(const Prepare& p, Ints dimensions, size_t rank, const char* what) {
  CheckRange(p, dimensions, 0, static_cast<int64_t>(rank) - 1, what);
  std::sort(dimensions.begin(), dimensions.end());
  p.Check(std::adjacent_find(dimensions.begin(), dimensions.end()) == dimensions.end(), what, " named twice");
}

// --- DOT_GENERAL ---

struct Side {
  Ints batch, contracting, free;

  Side(const Prepare& p, int i, int batching_field, int contracting_field) {
    batch = OptionInts(p.options_2(), batching_field, "batching_dimensions");
    contracting = OptionInts(p.options_2(), contracting_field, "contracting_dimensions");
    Ints all = batch;
    all.insert(all.end(), contracting.begin(), contracting.end());
    CheckDimensions(p, all, p.shape(i).size(), "a dimension");
    free = Without(p.shape(i).size(), batch, contracting);
  }
};

void PrepareDot(Prepare& p) {
  enum Field : int { kLeftBatch, kRightBatch, kLeftContracting, kRightContracting };
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  const Side left(p, 0, kLeftBatch, kLeftContracting), right(p, 1, kRightBatch, kRightContracting);
  const Shape &l = p.shape(0), &r = p.shape(1);
  const auto same = [&](const Ints& a, const Ints& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [&](int64_t x, int64_t y) { return l[static_cast<size_t>(x)] == r[static_cast<size_t>(y)]; });
  };
  p.Check(same(left.batch, right.batch) && same(left.contracting, right.contracting), "operands ", ToString(l), " and ", ToString(r),
          " do not match");
  Shape shape;
  for (const int64_t d : left.batch) shape.push_back(l[static_cast<size_t>(d)]);
  for (const int64_t d : left.free) shape.push_back(l[static_cast<size_t>(d)]);
  for (const int64_t d : right.free) shape.push_back(r[static_cast<size_t>(d)]);
  p.SetShape(0, shape);
  const Ints ls = DenseStrides(l), rs = DenseStrides(r);
  struct Offsets {
    Ints left_batch, right_batch, rows, columns, left_k, right_k;
  };
  const Offsets o{OffsetsOver(l, ls, left.batch), OffsetsOver(r, rs, right.batch),      OffsetsOver(l, ls, left.free),
                  OffsetsOver(r, rs, right.free), OffsetsOver(l, ls, left.contracting), OffsetsOver(r, rs, right.contracting)};
  const int64_t rows = static_cast<int64_t>(o.left_batch.size() * o.rows.size()),
                cost = 2 * static_cast<int64_t>(o.columns.size() * o.left_k.size());
  p.Check(rows <= INT32_MAX, rows, " rows");
  WithArithmetic(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    p.Emit([=, x = p.in(0), w = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      run.Parallel(static_cast<int32_t>(rows), cost, [&](kernels::Range range, int) {
        for (size_t row = static_cast<size_t>(range.begin); row < static_cast<size_t>(range.end); ++row) {
          const T* a = run.get<T>(x) + o.left_batch[row / o.rows.size()] + o.rows[row % o.rows.size()];
          const T* b = run.get<T>(w) + o.right_batch[row / o.rows.size()];
          for (size_t n = 0; n < o.columns.size(); ++n) {
            decltype(Widen(T{})) sum{};
            for (size_t k = 0; k < o.left_k.size(); ++k)
              sum = AddOp()(sum, MultiplyOp()(Widen(a[o.left_k[k]]), Widen(b[o.columns[n] + o.right_k[k]])));
            run.get<T>(y)[row * o.columns.size() + n] = Narrow<T>(sum);
          }
        }
      });
    });
  });
}

// --- CONVOLUTION ---

enum ConvField : int {
  kStrides,
  kPadding,
  kInputDilation,
  kKernelDilation,
  kReversal,
  kInputBatch,
  kInputFeature,
  kInputSpatial,
  kKernelInput,
  kKernelOutput,
  kKernelSpatial,
  kOutputBatch,
  kOutputFeature,
  kOutputSpatial,
  kFeatureGroups,
  kBatchGroups
};

// Where the dimensions of one operand stand.
struct Layout {
  int64_t first, second;  // batch and feature; of the kernel, input and output feature
  Ints spatial;

  Layout(const Prepare& p, int first_field, int second_field, int spatial_field, size_t rank)
      : first(p.options_2().Scalar<int64_t>(first_field)),
        second(p.options_2().Scalar<int64_t>(second_field)),
        spatial(OptionInts(p.options_2(), spatial_field, "spatial_dimensions")) {
    Ints all = spatial;
    all.insert(all.end(), {first, second});
    CheckDimensions(p, all, rank, "a dimension");
    p.Check(all.size() == rank, all.size(), " dimensions of an operand of rank ", rank);
  }
};

/// For each place of the kernel along the spatial dimensions, and each of its elements: the offset of the input's element, or -1 beside it.
Ints TapOffsets(const Prepare& p, const Layout& input, const Layout& kernel, const Shape& output_spatial) {
  const size_t n = input.spatial.size();
  const Ints strides = OptionInts(p, p.options_2(), kStrides, "window_strides", n, 1),
             padding = OptionInts(p, p.options_2(), kPadding, "padding", 2 * n, 0);
  const Ints apart = OptionInts(p, p.options_2(), kInputDilation, "lhs_dilation", n, 1),
             reach = OptionInts(p, p.options_2(), kKernelDilation, "rhs_dilation", n, 1);
  const Ints in_strides = DenseStrides(p.shape(0));
  Ints taps = {0};
  int64_t places = 1, size = 1;
  for (size_t d = 0; d < n; ++d) {
    const int64_t extent = p.shape(0)[static_cast<size_t>(input.spatial[d])], width = p.shape(1)[static_cast<size_t>(kernel.spatial[d])];
    Ints next;
    for (int64_t place = 0; place < places * output_spatial[d]; ++place) {
      for (int64_t tap = 0; tap < size * width; ++tap) {
        const int64_t before = taps[static_cast<size_t>(place / output_spatial[d] * size + tap / width)];
        const int64_t at = place % output_spatial[d] * strides[d] + tap % width * reach[d] - padding[2 * d];
        const bool inside = before >= 0 && at >= 0 && at % apart[d] == 0 && at / apart[d] < extent;
        next.push_back(inside ? before + at / apart[d] * in_strides[static_cast<size_t>(input.spatial[d])] : -1);
      }
    }
    taps = std::move(next);
    places *= output_spatial[d];
    size *= width;
  }
  return taps;
}

Shape OutputSpatial(const Prepare& p, const Layout& input, const Layout& kernel) {
  const size_t n = input.spatial.size();
  const Ints strides = OptionInts(p, p.options_2(), kStrides, "window_strides", n, 1),
             padding = OptionInts(p, p.options_2(), kPadding, "padding", 2 * n, 0);
  const Ints apart = OptionInts(p, p.options_2(), kInputDilation, "lhs_dilation", n, 1),
             reach = OptionInts(p, p.options_2(), kKernelDilation, "rhs_dilation", n, 1);
  CheckRange(p, strides, 1, INT32_MAX, "a window stride");
  CheckRange(p, apart, 1, INT32_MAX, "an lhs dilation");
  CheckRange(p, reach, 1, INT32_MAX, "an rhs dilation");
  CheckRange(p, padding, INT32_MIN, INT32_MAX, "a padding");
  Shape spatial;
  double entries = 1;
  for (size_t d = 0; d < n; ++d) {
    const int64_t extent = p.shape(0)[static_cast<size_t>(input.spatial[d])], width = p.shape(1)[static_cast<size_t>(kernel.spatial[d])];
    const int64_t padded = (extent == 0 ? 0 : (extent - 1) * apart[d] + 1) + padding[2 * d] + padding[2 * d + 1];
    const int64_t window = width == 0 ? 0 : (width - 1) * reach[d] + 1, places = padded < window ? 0 : (padded - window) / strides[d] + 1;
    p.Check(places <= INT32_MAX, "an output of ", places, " places");
    spatial.push_back(static_cast<int32_t>(places));
    entries *= static_cast<double>(places) * static_cast<double>(width);
  }
  p.Check(entries <= 1 << 27, "a window at too many places");
  return spatial;
}

// The kernel's elements in the order of the taps; reversed where the options say so.
Ints KernelOffsets(const Prepare& p, const Layout& kernel) {
  const Shape& shape = p.shape(1);
  const Ints strides = DenseStrides(shape);
  const flatbuffer::Vector<uint8_t> reversal = p.options_2().Scalars<uint8_t>(kReversal, "window_reversal");
  Ints offsets = {0};
  for (size_t d = 0; d < kernel.spatial.size(); ++d) {
    const size_t at = static_cast<size_t>(kernel.spatial[d]);
    const bool backward = d < reversal.size() && reversal[static_cast<uint32_t>(d)] != 0;
    Ints next;
    for (const int64_t offset : offsets) {
      for (int64_t i = 0; i < shape[at]; ++i) next.push_back(offset + (backward ? shape[at] - 1 - i : i) * strides[at]);
    }
    offsets = std::move(next);
  }
  return offsets;
}

template <class T>
void EmitConvolution(Prepare& p, const Layout& in, const Layout& kernel, const Layout& out, const Ints& taps, const Ints& weights,
                     int64_t groups, int64_t batch_groups) {
  const auto extent = [](const Shape& s, int64_t d) { return int64_t{s[static_cast<size_t>(d)]}; };
  const auto stride = [](const Shape& s, int64_t d) { return DenseStrides(s)[static_cast<size_t>(d)]; };
  const Shape &x = p.shape(0), &w = p.shape(1), &y = p.output_shape(0);
  struct Walk {
    int64_t depth, per_group, features, x_batch, x_feature, w_in, w_out, y_batch, y_feature;
  };
  const Walk walk{extent(w, kernel.first), extent(w, kernel.second) / groups, extent(w, kernel.second), stride(x, in.first),
                  stride(x, in.second),    stride(w, kernel.first),           stride(w, kernel.second), stride(y, out.first),
                  stride(y, out.second)};
  const Ints places = OffsetsOver(y, DenseStrides(y), out.spatial);
  const int64_t batches = extent(y, out.first), rows = batches * walk.features,
                per_batch_group = std::max<int64_t>(1, walk.features / batch_groups);
  p.Check(rows <= INT32_MAX, rows, " planes");
  p.Emit([=, xs = p.in(0), ws = p.in(1), ys = p.out(0)](RunContext& run) noexcept {
    run.Parallel(static_cast<int32_t>(rows), 2 * static_cast<int64_t>(taps.size()) * walk.depth, [&](kernels::Range range, int) {
      for (int64_t row = range.begin; row < range.end; ++row) {
        const int64_t batch = row / walk.features, feature = row % walk.features;
        const T* from = run.get<T>(xs) + (batch + feature / per_batch_group * batches) * walk.x_batch +
                        feature / walk.per_group * walk.depth * walk.x_feature;
        const T* by = run.get<T>(ws) + feature * walk.w_out;
        T* to = run.get<T>(ys) + batch * walk.y_batch + feature * walk.y_feature;
        for (size_t place = 0; place < places.size(); ++place) {
          decltype(Widen(T{})) sum{};
          for (size_t t = 0; t < weights.size(); ++t) {
            const int64_t at = taps[place * weights.size() + t];
            for (int64_t c = 0; at >= 0 && c < walk.depth; ++c) {
              sum = AddOp()(sum, MultiplyOp()(Widen(from[at + c * walk.x_feature]), Widen(by[weights[t] + c * walk.w_in])));
            }
          }
          to[places[place]] = Narrow<T>(sum);
        }
      }
    });
  });
}

void PrepareConvolution(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  const size_t rank = p.shape(0).size();
  p.Check(rank >= 2 && p.shape(1).size() == rank, "an input ", ToString(p.shape(0)), " and a kernel ", ToString(p.shape(1)));
  const Layout in(p, kInputBatch, kInputFeature, kInputSpatial, rank), kernel(p, kKernelInput, kKernelOutput, kKernelSpatial, rank);
  const Layout out(p, kOutputBatch, kOutputFeature, kOutputSpatial, rank);
  const int64_t groups = p.options_2().Scalar<int64_t>(kFeatureGroups, 1), batch_groups = p.options_2().Scalar<int64_t>(kBatchGroups, 1);
  const auto extent = [&](int i, int64_t d) { return int64_t{p.shape(i)[static_cast<size_t>(d)]}; };
  p.Check(groups >= 1 && extent(0, in.second) == extent(1, kernel.first) * groups && extent(1, kernel.second) % groups == 0, "an input ",
          ToString(p.shape(0)), " and a kernel ", ToString(p.shape(1)), " in ", groups, " groups");
  // Each group of the batch has output features of its own.
  p.Check(batch_groups >= 1 && (batch_groups == 1 || groups == 1) && extent(0, in.first) % batch_groups == 0 &&
              extent(1, kernel.second) % batch_groups == 0,
          "an input ", ToString(p.shape(0)), " and a kernel ", ToString(p.shape(1)), " in ", batch_groups, " groups of the batch");
  const Shape spatial = OutputSpatial(p, in, kernel);
  Shape shape(rank, 0);
  shape[static_cast<size_t>(out.first)] = static_cast<int32_t>(extent(0, in.first) / batch_groups);
  shape[static_cast<size_t>(out.second)] = p.shape(1)[static_cast<size_t>(kernel.second)];
  for (size_t d = 0; d < spatial.size(); ++d) shape[static_cast<size_t>(out.spatial[d])] = spatial[d];
  p.SetShape(0, shape);
  const Ints taps = TapOffsets(p, in, kernel, spatial), weights = KernelOffsets(p, kernel);
  WithArithmetic(p, p.type(0), "operands",
                 [&]<class T>(std::type_identity<T>) { EmitConvolution<T>(p, in, kernel, out, taps, weights, groups, batch_groups); });
}

// --- SORT ---

struct Order {
  int operand;
  bool falling;
};

// What a comparator says that is a single comparison of the two elements of one operand; none for any other.
std::optional<Order> ReadOrder(const Prepare& p, int32_t index) {
  const FlatModel& model = p.model();
  p.Check(index >= 0 && static_cast<size_t>(index) < model.subgraphs.size(), "its comparator is subgraph ", index, " of ",
          model.subgraphs.size());
  const SubgraphInfo& body = model.subgraphs[static_cast<size_t>(index)];
  p.Check(body.inputs.size() == 2 * static_cast<size_t>(p.inputs()) && body.outputs.size() == 1, "its comparator has ", body.inputs.size(),
          " inputs and ", body.outputs.size(), " outputs for ", p.inputs(), " operands");
  if (body.operators.size() == 1 && body.operators[0].outputs == body.outputs && body.operators[0].inputs.size() == 2) {
    const OperatorInfo& op = body.operators[0];
    const std::string name = model.operator_codes[op.code].name();
    enum Direction : int32_t { kGreaterEqual = 2, kGreater, kLessEqual, kLess };
    int32_t direction = name == "LESS" ? kLess : name == "GREATER" ? kGreater : 0;
    if (name == "STABLEHLO_COMPARE") direction = op.options_2.Scalar<int32_t>(0);
    const auto at = [&](int i) {
      return std::find(body.inputs.begin(), body.inputs.end(), op.inputs[static_cast<size_t>(i)]) - body.inputs.begin();
    };
    const ptrdiff_t a = at(0), b = at(1);
    const bool greater = direction == kGreater || direction == kGreaterEqual, less = direction == kLess || direction == kLessEqual;
    if ((greater || less) && (a ^ 1) == b && a < static_cast<ptrdiff_t>(body.inputs.size()))
      return Order{static_cast<int>(a / 2), greater == (a < b)};
  }
  return std::nullopt;
}

// Any other comparator: its operators run once a comparison.
struct Comparator {
  int frame;
  Interface face;
  std::vector<Slot> operands;
  std::vector<size_t> bytes;  // of an element
  Slot verdict;

  // Whether element a comes before element b, counted from the operands' beginnings; false after a report.
  bool operator()(RunContext& run, int64_t a, int64_t b) const noexcept {
    Frame& inner = run.frame(frame);
    const auto element = [&](int32_t position) {
      const size_t operand = static_cast<size_t>(position) / 2;
      return run.get<std::byte>(operands[operand]) + static_cast<size_t>(position % 2 == 0 ? a : b) * bytes[operand];
    };
    for (const Patch& patch : face.inputs) inner.slots[static_cast<size_t>(patch.slot)] = element(patch.position) + patch.offset;
    for (const Patch& patch : face.outputs) inner.slots[static_cast<size_t>(patch.slot)] = run.get<std::byte>(verdict) + patch.offset;
    if (run.failed() || !run.Run(inner)) return false;
    const OutputSource& source = face.sources[0];
    const std::byte* said = source.kind == OutputSource::kConstant ? source.constant
                            : source.kind == OutputSource::kInput  ? element(source.position)
                                                                   : run.get<std::byte>(verdict);
    return *said != std::byte{0};
  }
};

Comparator MakeComparator(Prepare& p, int32_t index) {
  const auto subgraph = static_cast<uint32_t>(index);
  const Graph& graph = p.graph_of(subgraph);
  Comparator comparator;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const TensorType type = p.type(static_cast<int>(i / 2));
    p.Check(graph.values[static_cast<size_t>(graph.inputs[i])].type == type, "input ", i, " of its comparator is not ",
            TensorTypeName(type));
    if (TensorTypeBits(type) < 8) p.Refuse(StatusCode::kUnimplemented, Concat("operands of type ", TensorTypeName(type)));
  }
  const Value& verdict = graph.values[static_cast<size_t>(graph.outputs[0])];
  p.Check(verdict.type == TensorType::kBool && verdict.shape.empty(), "its comparator does not give one BOOL");
  const auto plan = p.PlanSubgraph(subgraph, std::vector<Shape>(graph.inputs.size(), Shape{}));
  if (!plan->whole()) p.Refuse(StatusCode::kUnimplemented, "a comparator whose shapes depend on data");
  comparator.face = InterfaceOf(*plan);
  comparator.frame = p.AddFrame(plan);
  comparator.verdict = p.Scratch(1);
  for (int i = 0; i < p.inputs(); ++i) {
    comparator.operands.push_back(p.in(i));
    comparator.bytes.push_back(static_cast<size_t>(TensorTypeBits(p.type(i)) / 8));
  }
  return comparator;
}

// Merges ever longer sorted pieces; of equals the first stays first. Whatever the comparator says, all places stay.
template <class Before>
void MergeSort(int32_t* places, int32_t* spare, int64_t n, const Before& before) {
  for (int64_t width = 1; width < n; width *= 2) {
    for (int64_t begin = 0; begin < n; begin += 2 * width) {
      const int64_t middle = std::min(begin + width, n), end = std::min(begin + 2 * width, n);
      for (int64_t left = begin, right = middle, to = begin; to < end; ++to) {
        const bool takes_right = left == middle || (right < end && before(places[right], places[left]));
        spare[to] = takes_right ? places[right++] : places[left++];
      }
    }
    std::copy_n(spare, n, places);
  }
}

// The places from which the elements of each row come; before(run, a, b) compares two elements of an operand.
template <class Before>
void EmitPlaces(Prepare& p, Slot places, int64_t rows, int64_t count, int64_t inner, Before before) {
  const Slot spare = p.Scratch(static_cast<size_t>(count) * sizeof(int32_t));
  p.Emit([=, before = std::move(before)](RunContext& run) noexcept {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t first = row / inner * count * inner + row % inner;
      int32_t* place = run.get<int32_t>(places) + row * count;
      std::iota(place, place + count, 0);
      MergeSort(place, run.get<int32_t>(spare), count,
                [&](int32_t a, int32_t b) { return before(run, first + a * inner, first + b * inner); });
    }
  });
}

void PrepareSort(Prepare& p) {
  enum Field : int { kDimension, kStable, kComparator };
  p.CheckCounts(std::max(1, p.inputs()), std::max(1, p.inputs()), p.inputs());
  const Shape shape = p.shape(0);
  const size_t axis = ResolveAxis(p, p.options_2().Scalar<int64_t>(kDimension), shape.size());
  const int32_t subgraph = p.options_2().Scalar<int32_t>(kComparator);
  const std::optional<Order> order = ReadOrder(p, subgraph);
  for (int i = 0; i < p.inputs(); ++i) {
    p.Check(p.shape(i) == shape, "operands ", ToString(shape), " and ", ToString(p.shape(i)));
    p.CheckOutputType(i, {p.type(i)});
    p.SetShape(i, shape);
  }
  const int64_t count = shape[axis], inner = Product(shape, axis + 1, shape.size()), rows = Product(shape, 0, axis) * inner;
  const Slot places = p.Scratch(static_cast<size_t>(rows * count) * sizeof(int32_t));
  if (order) {
    WithArithmetic(p, p.type(order->operand), "operands", [&]<class T>(std::type_identity<T>) {
      EmitPlaces(p, places, rows, count, inner,
                 [x = p.in(order->operand), falling = order->falling](const RunContext& run, int64_t a, int64_t b) {
                   const auto l = Widen(run.get<T>(x)[a]), r = Widen(run.get<T>(x)[b]);
                   return falling ? r < l : l < r;
                 });
    });
  } else {
    EmitPlaces(p, places, rows, count, inner, MakeComparator(p, subgraph));
  }
  for (int i = 0; i < p.inputs(); ++i) {
    WithElement(p, p.type(i), [&]<class T>(std::type_identity<T>) {
      p.Emit([=, x = p.in(i), y = p.out(i)](RunContext& run) noexcept {
        const T* from = Elements<const T>(run, x);
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t first = row / inner * count * inner + row % inner;
          for (int64_t k = 0; k < count; ++k)
            Elements<T>(run, y)[first + k * inner] = from[first + run.get<int32_t>(places)[row * count + k] * inner];
        }
      });
    });
  }
}

constexpr OpDef kOps[] = {
    {.name = "STABLEHLO_CONVOLUTION", .prepare = PrepareConvolution, .traits = kFlushesDenormals},
    {.name = "STABLEHLO_DOT_GENERAL", .prepare = PrepareDot, .traits = kFlushesDenormals},
    {.name = "STABLEHLO_SORT", .prepare = PrepareSort},
};

}  // namespace

std::span<const OpDef> stablehlo_algebra_ops() { return kOps; }

}  // namespace sigrun::ops
