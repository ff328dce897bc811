#include <algorithm>
#include <cstring>

#include "ops/op.h"
#include "ops/support/strided_copy.h"

// PAD with zeros (the zero point of a quantised tensor), PADV2 with a given value, MIRROR_PAD with the input's own elements.
namespace sigrun::ops {
namespace {

struct Padding {
  std::vector<int64_t> before, after;
};

Padding ReadPadding(Prepare& p) {
  const Shape& input = p.shape(0);
  const std::vector<int64_t> flat = p.ConstantInts(1, "paddings");
  const Shape& shape = p.shape(1);
  p.Check(shape.size() == 2 && shape[1] == 2 && static_cast<size_t>(shape[0]) == input.size(), "paddings of shape ", ToString(shape),
          " for an input of rank ", input.size());
  Padding padding;
  Shape output;
  for (size_t d = 0; d < input.size(); ++d) {
    const int64_t before = flat[2 * d], after = flat[2 * d + 1];
    p.Check(before >= 0 && before <= INT32_MAX && after >= 0 && after <= INT32_MAX, "padding ", before, ", ", after, " of dimension ", d);
    p.Check(input[d] + before + after <= INT32_MAX, "dimension ", d, " would be ", input[d] + before + after);
    padding.before.push_back(before);
    padding.after.push_back(after);
    output.push_back(static_cast<int32_t>(input[d] + before + after));
  }
  p.SetShape(0, output);
  return padding;
}

// The bytes of PAD's element: the zero point of an integer that has one, else zero.
template <class T>
T ZeroElement(const Prepare& p) {
  T zero = {};
  const TensorType type = p.output_type(0);
  const bool integer = type == TensorType::kInt8 || type == TensorType::kUInt8 || type == TensorType::kInt16;
  if (!integer || p.output_quantization(0).empty()) return zero;
  const int32_t zero_point = p.output_affine(0).zero_point;
  std::memcpy(&zero, &zero_point, std::min(sizeof(zero), sizeof(zero_point)));  // two's complement, little endian
  return zero;
}

// Fills the output's borders, then copies the input into its middle. `value` is the fill, or is read from the slot if that is not null.
template <class T>
void EmitPad(Prepare& p, const StridedCopy& copy, Slot value_slot, T value) {
  p.Emit([=, n = p.output_elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    T* to = Elements<T>(run, y);
    const T* given = Elements<const T>(run, value_slot);
    const T fill = given == nullptr ? value : *given;
    ForElements(run, n, 1, [&](int64_t begin, int64_t count) { std::fill_n(to + begin, count, fill); });
    RunCopy(run, copy, Elements<const T>(run, x), to);
  });
}

void PreparePad(Prepare& p) {
  const bool has_value = p.op_name() == "PADV2";
  p.CheckCounts(has_value ? 3 : 2, has_value ? 3 : 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  if (has_value) {
    p.CheckType(2, {p.type(0)});
    p.Check(p.elements(2) == 1, "the value has ", p.elements(2), " elements, expected 1");
  }
  const Padding padding = ReadPadding(p);
  const Shape& input = p.shape(0);
  const std::vector<int64_t> from = DenseStrides(input), to = DenseStrides(p.output_shape(0));
  std::vector<CopyLoop> loops;
  int64_t at = 0;
  bool pads = false;
  for (size_t d = 0; d < input.size(); ++d) {
    loops.push_back({input[d], from[d], to[d]});
    at += padding.before[d] * to[d];
    pads = pads || padding.before[d] + padding.after[d] > 0;
  }
  if (!pads) return p.Alias(0, 0);
  const StridedCopy copy = PlanCopy(p, loops, 0, at);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, std::string>) {
      EmitPad<T>(p, copy, has_value ? p.in(2) : Slot{}, T());
    } else {
      EmitPad<T>(p, copy, has_value ? p.in(2) : Slot{}, ZeroElement<T>(p));
    }
  });
}

// Offsets in the input of the output's indices along each dimension.
std::vector<std::vector<int64_t>> MirrorOffsets(const Prepare& p, const Padding& padding, int64_t border) {
  const Shape& input = p.shape(0);
  const std::vector<int64_t> strides = DenseStrides(input);
  std::vector<std::vector<int64_t>> offsets(input.size());
  for (size_t d = 0; d < input.size(); ++d) {
    const int64_t size = input[d], most = size - border;
    p.Check(padding.before[d] <= std::max<int64_t>(most, 0) && padding.after[d] <= std::max<int64_t>(most, 0), "padding ",
            padding.before[d], ", ", padding.after[d], " of dimension ", d, ", which has ", size, " entries to mirror");
    for (int64_t i = -padding.before[d]; i < size + padding.after[d]; ++i) {
      const int64_t source = i < 0 ? -i - 1 + border : i >= size ? 2 * size - 1 - i - border : i;
      offsets[d].push_back(source * strides[d]);
    }
  }
  return offsets;
}

template <class T>
void MirrorRows(const std::vector<std::vector<int64_t>>& offsets, const T* from, T* to, kernels::Range rows) {
  const std::vector<int64_t>& inner = offsets.back();
  const int64_t width = static_cast<int64_t>(inner.size());
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    int64_t rest = row, at = 0;
    for (size_t d = offsets.size() - 1; d-- > 0;) {
      const int64_t extent = static_cast<int64_t>(offsets[d].size());
      at += offsets[d][static_cast<size_t>(rest % extent)];
      rest /= extent;
    }
    for (int64_t i = 0; i < width; ++i) to[row * width + i] = from[at + inner[static_cast<size_t>(i)]];
  }
}

void PrepareMirrorPad(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckOutputType(0, {p.type(0)});
  const int8_t mode = p.options().Scalar<int8_t>(0);
  p.Check(mode == 0 || mode == 1, "mode ", static_cast<int>(mode));
  const Padding padding = ReadPadding(p);
  if (p.shape(0).empty()) return p.Alias(0, 0);
  auto offsets = MirrorOffsets(p, padding, mode == 0 ? 1 : 0);  // REFLECT leaves the border itself out
  if (p.output_elements(0) == 0) return;
  const int64_t rows = Product(p.output_shape(0), 0, offsets.size() - 1);
  p.Check(rows <= INT32_MAX, "the output has ", rows, " rows");
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([offsets, rows, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      const T* from = Elements<const T>(run, x);
      T* to = Elements<T>(run, y);
      run.Parallel(static_cast<int32_t>(rows), static_cast<int64_t>(offsets.back().size()),
                   [&](kernels::Range range, int) { MirrorRows(offsets, from, to, range); });
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "PAD", .prepare = PreparePad},
    {.name = "PADV2", .prepare = PreparePad},
    {.name = "MIRROR_PAD", .prepare = PrepareMirrorPad},
};

}  // namespace

std::span<const OpDef> pad_ops() { return kOps; }

}  // namespace sigrun::ops
