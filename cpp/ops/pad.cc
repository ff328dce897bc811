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

// The output as rows, each a front, a copied middle and a back; or nothing but fill. Dimensions behind the last padded one are part of the
// elements, those before it are the loops around the rows.
struct PadRows {
  int loops = 0;
  struct {
    int64_t extent, size, before, stride;  // of the output and the input; elements of the input a step
  } loop[kMaxLoops] = {};
  int64_t front = 0, middle = 0, back = 0;
  int64_t rows = 1;
};

PadRows PlanRows(const Prepare& p, const Padding& padding) {
  const Shape& input = p.shape(0);
  const auto pads = [&](size_t d) { return padding.before[d] + padding.after[d] > 0; };
  size_t last = input.size() - 1;
  while (!pads(last)) --last;
  const int64_t inner = Product(input, last + 1, input.size());
  PadRows rows;
  rows.front = padding.before[last] * inner;
  rows.middle = input[last] * inner;
  rows.back = padding.after[last] * inner;
  const std::vector<int64_t> strides = DenseStrides(input);
  for (size_t d = 0; d < last; ++d) {
    const int64_t extent = padding.before[d] + input[d] + padding.after[d];
    rows.rows *= extent;
    if (d > 0 && !pads(d) && !pads(d - 1)) {  // walked as one
      auto& joined = rows.loop[rows.loops - 1];
      joined = {joined.extent * extent, joined.size * extent, 0, strides[d]};
    } else {
      if (rows.loops == kMaxLoops) p.Refuse(StatusCode::kUnimplemented, "padding of too many dimensions");
      rows.loop[rows.loops++] = {extent, input[d], padding.before[d], strides[d]};
    }
  }
  p.Check(rows.rows <= INT32_MAX, "padding of too many rows");
  return rows;
}

// Doubles what is filled: the borders of wide rows at the speed of memory, whatever the element.
template <class T>
void Fill(T* to, int64_t n, const T& value) {
  constexpr int64_t kShort = 16, kMostCopied = 4096;
  int64_t done = std::min(n, kShort);
  for (int64_t i = 0; i < done; ++i) to[i] = value;
  while (done < n) {
    const int64_t count = std::min({done, n - done, kMostCopied});
    CopyElements(to, to + done, count);
    done += count;
  }
}

template <class T>
void PadSomeRows(const PadRows& plan, const T* from, T* to, const T& fill, kernels::Range rows) {
  const int64_t width = plan.front + plan.middle + plan.back;
  to += rows.begin * width;
  for (int64_t row = rows.begin; row < rows.end; ++row, to += width) {
    int64_t rest = row, at = 0;
    bool inside = true;
    for (int d = plan.loops - 1; d >= 0; --d) {
      const auto& loop = plan.loop[d];
      const int64_t index = (d == 0 ? rest : rest % loop.extent) - loop.before;
      rest /= loop.extent;
      inside = inside && index >= 0 && index < loop.size;
      at += index * loop.stride;
    }
    if (inside) {
      Fill(to, plan.front, fill);
      CopyShort(from + at, to + plan.front, plan.middle);
      Fill(to + plan.front + plan.middle, plan.back, fill);
    } else {
      Fill(to, width, fill);
    }
  }
}

// `value` is the fill, or is read from the slot if that is not null.
template <class T>
void EmitPad(Prepare& p, const PadRows& plan, Slot value_slot, T value) {
  const bool empty = p.elements(0) == 0;
  p.Emit([=, n = p.output_elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    T* to = Elements<T>(run, y);
    const T* given = Elements<const T>(run, value_slot);
    const T fill = given == nullptr ? value : *given;
    if (empty) return Fill(to, n, fill);
    const T* from = Elements<const T>(run, x);
    run.Parallel(static_cast<int32_t>(plan.rows), plan.front + plan.middle + plan.back,
                 [&](kernels::Range rows, int) { PadSomeRows(plan, from, to, fill, rows); });
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
  if (p.output_shape(0) == p.shape(0)) return p.Alias(0, 0);
  const PadRows rows = PlanRows(p, padding);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, std::string>) {
      EmitPad<T>(p, rows, has_value ? p.in(2) : Slot{}, T());
    } else {
      EmitPad<T>(p, rows, has_value ? p.in(2) : Slot{}, ZeroElement<T>(p));
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
