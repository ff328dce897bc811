#include <algorithm>

#include "ops/op.h"
#include "ops/support/elements.h"

// MATRIX_DIAG: vectors as the diagonals of matrices of zeros. MATRIX_SET_DIAG: matrices with other diagonals.
namespace sigrun::ops {
namespace {

void PrepareMatrixDiag(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {p.type(0)});
  Shape shape = p.shape(0);
  p.Check(!shape.empty(), "the input is a scalar");
  const int64_t size = shape.back(), count = Product(shape, 0, shape.size() - 1);
  shape.push_back(shape.back());
  p.SetShape(0, shape);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      const T* from = Elements<const T>(run, x);
      T* to = Elements<T>(run, y);
      std::fill_n(to, count * size * size, T{});
      for (int64_t m = 0; m < count; ++m) {
        for (int64_t i = 0; i < size; ++i) to[(m * size + i) * size + i] = from[m * size + i];
      }
    });
  });
}

void PrepareMatrixSetDiag(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  const Shape& input = p.shape(0);
  p.Check(input.size() >= 2, "an input of rank ", input.size(), ", expected at least 2");
  const int64_t rows = input[input.size() - 2], columns = input.back(), diagonal = std::min(rows, columns);
  Shape expected(input.begin(), input.end() - 2);
  expected.push_back(static_cast<int32_t>(diagonal));
  p.Check(p.shape(1) == expected, "diagonals of shape ", ToString(p.shape(1)), ", expected ", ToString(expected));
  const int64_t count = Product(input, 0, input.size() - 2);
  p.SetShape(0, input);
  WithElement(p, p.type(0), [&]<class T>(std::type_identity<T>) {
    p.Emit([=, x = p.in(0), d = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      const T* diagonals = Elements<const T>(run, d);
      T* to = Elements<T>(run, y);
      CopyElements(Elements<const T>(run, x), to, count * rows * columns);
      for (int64_t m = 0; m < count; ++m) {
        for (int64_t i = 0; i < diagonal; ++i) to[(m * rows + i) * columns + i] = diagonals[m * diagonal + i];
      }
    });
  });
}

constexpr OpDef kOps[] = {
    {.name = "MATRIX_DIAG", .prepare = PrepareMatrixDiag},
    {.name = "MATRIX_SET_DIAG", .prepare = PrepareMatrixSetDiag},
};

}  // namespace

std::span<const OpDef> matrix_diag_ops() { return kOps; }

}  // namespace sigrun::ops
