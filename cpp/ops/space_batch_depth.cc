#include <algorithm>
#include <cstring>

#include "ops/op.h"
#include "ops/support/numbers.h"
#include "ops/support/strided_copy.h"

// SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND over one or two spatial dimensions; SPACE_TO_DEPTH and DEPTH_TO_SPACE.
namespace sigrun::ops {
namespace {

/// Tensors [batch, height, width, inner]. A pixel of space (n, y, x) stands in batch form at the entry
/// ((py % block_h) * block_w + px % block_w) * batch + n, row py / block_h, column px / block_w,
/// where py = y + before_y, px = x + before_x.
struct Blocks {
  int64_t batch, height, width, inner;  // of space
  int64_t rows, columns;                // of the batch form
  int64_t block_h, block_w, before_y, before_x;
};

struct BlockInputs {
  int64_t block[2], before[2], after[2];  // one for a height of 1 if there is one spatial dimension
  size_t dims;
};

BlockInputs ReadBlocks(const Prepare& p, const char* what) {
  p.CheckCounts(3, 3, 1);
  p.CheckOutputType(0, {p.type(0)});
  const std::vector<int64_t> block = p.ConstantInts(1, "block shape"), edges = p.ConstantInts(2, what);
  const size_t m = block.size();
  if (m < 1 || m > 2) p.Refuse(StatusCode::kUnimplemented, Concat(m, " spatial dimensions"));
  p.Check(p.shape(0).size() > m, "an input of rank ", p.shape(0).size(), " with ", m, " spatial dimensions");
  p.Check(p.shape(2) == Shape({static_cast<int32_t>(m), 2}), what, " of shape ", ToString(p.shape(2)));
  BlockInputs in{{1, 1}, {0, 0}, {0, 0}, m};
  for (size_t d = 0; d < m; ++d) {
    const size_t to = d + 2 - m;
    p.Check(block[d] >= 1 && block[d] <= INT32_MAX, "block ", block[d]);
    p.Check(std::min(edges[2 * d], edges[2 * d + 1]) >= 0 && std::max(edges[2 * d], edges[2 * d + 1]) <= INT32_MAX, what, " of ",
            edges[2 * d], " and ", edges[2 * d + 1]);
    in.block[to] = block[d];
    in.before[to] = edges[2 * d];
    in.after[to] = edges[2 * d + 1];
  }
  return in;
}

Blocks MakeBlocks(const BlockInputs& in, const Shape& input) {
  Blocks b{};
  b.inner = Product(input, in.dims + 1, input.size());
  b.block_h = in.block[0];
  b.block_w = in.block[1];
  b.before_y = in.before[0];
  b.before_x = in.before[1];
  return b;
}

Shape Joined(const Prepare& p, size_t dims, int64_t batch, int64_t height, int64_t width) {
  for (const int64_t d : {batch, height, width}) p.Check(d <= INT32_MAX, "a dimension of ", d, " in the output");
  Shape shape{static_cast<int32_t>(batch)};
  if (dims == 2) shape.push_back(static_cast<int32_t>(height));
  shape.push_back(static_cast<int32_t>(width));
  shape.insert(shape.end(), p.shape(0).begin() + 1 + static_cast<ptrdiff_t>(dims), p.shape(0).end());
  return shape;
}

// What stands for nothing: the zero point of a quantised tensor, else zero.
template <class T>
T PadElement(const Prepare& p) {
  T zero = {};
  if constexpr (sizeof(T) <= 2) {
    const TensorType type = p.type(0);
    if (!p.output_quantization(0).empty() && (type == TensorType::kInt8 || type == TensorType::kUInt8 || type == TensorType::kInt16)) {
      const int32_t zero_point = p.output_affine(0).zero_point;
      std::memcpy(&zero, &zero_point, sizeof(T));
    }
  }
  return zero;
}

void PrepareSpaceToBatch(Prepare& p) {
  const BlockInputs in = ReadBlocks(p, "paddings");
  const Shape& input = p.shape(0);
  Blocks b = MakeBlocks(in, input);
  b.batch = input[0];
  b.height = in.dims == 2 ? input[1] : 1;
  b.width = input[in.dims];
  const int64_t height = b.height + in.before[0] + in.after[0], width = b.width + in.before[1] + in.after[1];
  p.Check(height % b.block_h == 0 && width % b.block_w == 0, "a padded input of ", height, "x", width, " in blocks of ", b.block_h, "x",
          b.block_w);
  b.rows = height / b.block_h;
  b.columns = width / b.block_w;
  // Nothing lies in a block beyond an empty image, and the batch would not fit its type.
  p.Check(b.block_h * b.block_w <= INT32_MAX, "blocks of ", b.block_h, "x", b.block_w);
  p.SetShape(0, Joined(p, in.dims, b.batch * b.block_h * b.block_w, b.rows, b.columns));
  if (p.output_elements(0) == 0) return;
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([b, pad = PadElement<T>(p), lines = p.output_elements(0) / (b.columns * b.inner), x = p.in(0),
            y = p.out(0)](RunContext& run) noexcept {
      run.Parallel(static_cast<int32_t>(lines), b.columns * b.inner, [&](kernels::Range range, int) {
        for (int64_t line = range.begin; line < range.end; ++line) {
          const int64_t entry = line / b.rows, n = entry % b.batch, phase = entry / b.batch;
          const int64_t row = line % b.rows * b.block_h + phase / b.block_w - b.before_y;
          // The columns [first, end) of this phase lie in the image.
          const int64_t column = phase % b.block_w - b.before_x;
          const bool outside = row < 0 || row >= b.height;
          const int64_t first = outside ? b.columns : std::clamp<int64_t>((b.block_w - 1 - column) / b.block_w, 0, b.columns);
          const int64_t end = outside ? b.columns : std::clamp<int64_t>((b.width - column + b.block_w - 1) / b.block_w, first, b.columns);
          T* to = Elements<T>(run, y) + line * b.columns * b.inner;
          std::fill_n(to, first * b.inner, pad);
          CopyRuns(Elements<const T>(run, x) + ((n * b.height + row) * b.width + column + first * b.block_w) * b.inner, b.block_w * b.inner,
                   to + first * b.inner, b.inner, b.inner, end - first);
          std::fill_n(to + end * b.inner, (b.columns - end) * b.inner, pad);
        }
      });
    });
  });
}

void PrepareBatchToSpace(Prepare& p) {
  const BlockInputs in = ReadBlocks(p, "crops");
  const Shape& input = p.shape(0);
  Blocks b = MakeBlocks(in, input);
  b.rows = in.dims == 2 ? input[1] : 1;
  b.columns = input[in.dims];
  p.Check(b.block_h * b.block_w <= INT32_MAX && input[0] % (b.block_h * b.block_w) == 0, "a batch of ", input[0], " from blocks of ",
          b.block_h, "x", b.block_w);
  b.batch = input[0] / (b.block_h * b.block_w);
  b.height = b.rows * b.block_h - in.before[0] - in.after[0];
  b.width = b.columns * b.block_w - in.before[1] - in.after[1];
  p.Check(b.height >= 0 && b.width >= 0, "crops of ", in.before[0], ", ", in.after[0], ", ", in.before[1], ", ", in.after[1],
          " from an image of ", b.rows * b.block_h, "x", b.columns * b.block_w);
  p.SetShape(0, Joined(p, in.dims, b.batch, b.height, b.width));
  if (p.output_elements(0) == 0) return;
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([b, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      run.Parallel(static_cast<int32_t>(b.batch * b.height), b.width * b.inner, [&](kernels::Range range, int) {
        for (int64_t line = range.begin; line < range.end; ++line) {
          const int64_t n = line / b.height, py = line % b.height + b.before_y;
          T* to = Elements<T>(run, y) + line * b.width * b.inner;
          for (int64_t c = 0; c < std::min(b.width, b.block_w); ++c) {
            const int64_t px = c + b.before_x, entry = (py % b.block_h * b.block_w + px % b.block_w) * b.batch + n;
            CopyRuns(Elements<const T>(run, x) + ((entry * b.rows + py / b.block_h) * b.columns + px / b.block_w) * b.inner, b.inner,
                     to + c * b.inner, b.block_w * b.inner, b.inner, (b.width - c + b.block_w - 1) / b.block_w);
          }
        }
      });
    });
  });
}

// Both ways the block's rows and columns move between the pixels' positions and their channels.
void PrepareDepth(Prepare& p, bool to_depth) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  p.Check(input.size() == 4, "an input of rank ", input.size(), ", expected 4");
  const int64_t block = p.options().Scalar<int32_t>(0);
  p.Check(block >= 1 && block <= 1 << 15, "a block of ", block);
  // The deep form is [batch, rows, columns, block, block, depth], the other [batch, rows, block, columns, block, depth].
  const int64_t batch = input[0], rows = to_depth ? input[1] / block : input[1], columns = to_depth ? input[2] / block : input[2];
  const int64_t depth = to_depth ? input[3] : input[3] / (block * block);
  p.Check(to_depth ? rows * block == input[1] && columns * block == input[2] : depth * block * block == input[3], "an input of shape ",
          ToString(input), " in blocks of ", block);
  const int64_t sizes[] = {to_depth ? rows : rows * block, to_depth ? columns : columns * block, to_depth ? depth * block * block : depth};
  Shape shape{static_cast<int32_t>(batch)};
  for (const int64_t size : sizes) {
    p.Check(size <= INT32_MAX, "a dimension of ", size, " in the output");
    shape.push_back(static_cast<int32_t>(size));
  }
  p.SetShape(0, shape);
  CopyLoop loops[] = {{batch * rows, columns * block * block * depth, columns * block * block * depth},
                      {columns, block * block * depth, block * depth},
                      {block, block * depth, columns * block * depth},
                      {block * depth, 1, 1}};
  if (to_depth) {
    for (CopyLoop& loop : loops) std::swap(loop.from, loop.to);
  }
  EmitCopy(p, 0, 0, PlanCopy(p, loops));
}

void PrepareSpaceToDepth(Prepare& p) { PrepareDepth(p, true); }
void PrepareDepthToSpace(Prepare& p) { PrepareDepth(p, false); }

constexpr OpDef kOps[] = {
    {.name = "SPACE_TO_BATCH_ND", .prepare = PrepareSpaceToBatch},
    {.name = "BATCH_TO_SPACE_ND", .prepare = PrepareBatchToSpace},
    {.name = "SPACE_TO_DEPTH", .prepare = PrepareSpaceToDepth},
    {.name = "DEPTH_TO_SPACE", .prepare = PrepareDepthToSpace},
};

}  // namespace

std::span<const OpDef> space_batch_depth_ops() { return kOps; }

}  // namespace sigrun::ops
