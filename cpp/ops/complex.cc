#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/fft.h"
#include "ops/support/numbers.h"

// RFFT2D, and the parts of complex numbers: REAL, IMAG, COMPLEX_ABS.
namespace sigrun::ops {
namespace {

struct Rfft2d {
  int64_t slices, in_height, in_width;
  Fft rows, columns;  // along a row, along a column
  int64_t out_width() const { return rows.size / 2 + 1; }

  void Run(const float* x, Complex* line, Complex* plane, std::complex<float>* y) const {
    const int64_t height = std::min(in_height, columns.size), width = std::min(in_width, rows.size);
    for (int64_t r = 0; r < columns.size; ++r) {
      std::fill_n(line, rows.size, Complex{});
      if (r < height) std::copy_n(x + r * in_width, width, line);
      if (r < height) rows.Run(line, 1);
      std::copy_n(line, out_width(), plane + r * out_width());
    }
    for (int64_t c = 0; c < out_width(); ++c) columns.Run(plane + c, out_width());
    for (int64_t i = 0; i < columns.size * out_width(); ++i) {
      y[i] = {static_cast<float>(plane[i].real()), static_cast<float>(plane[i].imag())};
    }
  }
};

// The input is cut, or continued with zeros, to the transform's size.
void PrepareRfft2d(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(0, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kComplex64});
  Shape shape = p.shape(0);
  p.Check(shape.size() >= 2, "an input of rank ", shape.size(), ", expected at least 2");
  const std::vector<int64_t> length = p.ConstantInts(1, "fft_length");
  p.Check(length.size() == 2, "fft_length has ", length.size(), " elements, expected 2");
  for (const int64_t n : length) {
    p.Check(n >= 1 && n <= 1 << 24 && std::has_single_bit(static_cast<uint64_t>(n)), "fft_length ", n, " is no power of two up to 2^24");
  }
  const size_t rank = shape.size();
  const int64_t slices = Product(shape, 0, rank - 2), in_height = shape[rank - 2], in_width = shape[rank - 1];
  shape[rank - 2] = static_cast<int32_t>(length[0]);
  shape[rank - 1] = static_cast<int32_t>(length[1] / 2 + 1);
  p.SetShape(0, shape);
  if (p.output_elements(0) == 0) return;
  const Rfft2d fft{slices, in_height, in_width, Fft(length[1]), Fft(length[0])};
  const int64_t plane = length[0] * fft.out_width();
  const Slot scratch = p.Scratch(static_cast<size_t>(length[1] + plane) * sizeof(Complex));
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    Complex* line = run.get<Complex>(scratch);
    for (int64_t s = 0; s < fft.slices; ++s) {
      fft.Run(run.get<float>(x) + s * fft.in_height * fft.in_width, line, line + fft.rows.size,
              run.get<std::complex<float>>(y) + s * plane);
    }
  });
}

template <class F>
void EmitParts(Prepare& p, F f) {
  p.CheckCounts(1, 1, 1);
  p.SetShape(0, p.shape(0));
  using C64 = Typed<TensorType::kComplex64, float>;
  using C128 = Typed<TensorType::kComplex128, double>;
  WithType<C64, C128>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.CheckOutputType(0, {sizeof(T) == 4 ? TensorType::kFloat32 : TensorType::kFloat64});
    p.Emit([f, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      const std::complex<T>* from = run.get<std::complex<T>>(x);
      T* to = run.get<T>(y);
      ForElements(run, n, 4, [&](int64_t begin, int64_t count) { std::transform(from + begin, from + begin + count, to + begin, f); });
    });
  });
}

void PrepareReal(Prepare& p) {
  EmitParts(p, [](auto z) { return z.real(); });
}
void PrepareImag(Prepare& p) {
  EmitParts(p, [](auto z) { return z.imag(); });
}
void PrepareComplexAbs(Prepare& p) {
  EmitParts(p, [](auto z) { return std::abs(z); });
}

constexpr OpDef kOps[] = {
    {.name = "RFFT2D", .prepare = PrepareRfft2d},
    {.name = "REAL", .prepare = PrepareReal},
    {.name = "IMAG", .prepare = PrepareImag},
    {.name = "COMPLEX_ABS", .prepare = PrepareComplexAbs},
};

}  // namespace

std::span<const OpDef> complex_ops() { return kOps; }

}  // namespace sigrun::ops
