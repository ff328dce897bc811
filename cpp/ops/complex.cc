#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/fft.h"
#include "ops/support/numbers.h"
#include "ops/support/worker_scratch.h"

// RFFT2D, and the parts of complex numbers: REAL, IMAG, COMPLEX_ABS.
namespace sigrun::ops {
namespace {

struct Rfft2d {
  int64_t slices, in_height, in_width;
  RealFft rows;
  Fft columns;

  int64_t out_width() const { return rows.frequencies(); }
  size_t plane_bytes() const { return columns.size == 1 ? 0 : static_cast<size_t>(4 * columns.size * out_width()) * sizeof(double); }

  void RunPlane(const float* x, double* scratch, double* plane, float* y) const {
    const int64_t width = out_width(), size = columns.size * width, height = std::min(in_height, columns.size);
    const Planes all{plane, plane + size}, work{plane + 2 * size, plane + 3 * size};
    rows.Forward(
        scratch, height, [&](int64_t r, int64_t i) { return i < in_width ? static_cast<double>(x[r * in_width + i]) : 0.0; },
        [&](int64_t r, int64_t k, double real, double imag) {
          all.real[r * width + k] = real;
          all.imag[r * width + k] = imag;
        });
    std::fill(all.real + height * width, all.real + size, 0.0);
    std::fill(all.imag + height * width, all.imag + size, 0.0);
    const Planes z = columns.Run(all, work, width);
    for (int64_t i = 0; i < size; ++i) {
      y[2 * i] = static_cast<float>(z.real[i]);
      y[2 * i + 1] = static_cast<float>(z.imag[i]);
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
  const Rfft2d fft{slices, in_height, in_width, RealFft(length[1]), Fft(length[0])};
  const WorkerScratch row_scratch(p, fft.rows.scratch_bytes()), planes(p, fft.plane_bytes());
  p.Emit([=, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const int64_t cost = 16 * length[0] * length[1];
    run.Parallel(static_cast<int32_t>(fft.slices), cost, [&](kernels::Range range, int worker) {
      const int64_t slice = fft.in_height * fft.in_width, plane = 2 * fft.columns.size * fft.out_width();
      const float* from = run.get<float>(x) + range.begin * slice;
      float* to = run.get<float>(y) + range.begin * plane;
      double* scratch = reinterpret_cast<double*>(row_scratch.of(run, worker));
      if (fft.columns.size == 1) return fft.rows.Forward(scratch, range.end - range.begin, from, fft.in_width, slice, to);
      for (int64_t s = range.begin; s < range.end; ++s, from += slice, to += plane) {
        fft.RunPlane(from, scratch, reinterpret_cast<double*>(planes.of(run, worker)), to);
      }
    });
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
      ForElements(run, n, 4, [&](int64_t begin, int64_t count) { f(from + begin, to + begin, count); });
    });
  });
}

void PrepareReal(Prepare& p) {
  EmitParts(p, [](const auto* z, auto* y, int64_t n) { std::transform(z, z + n, y, [](auto one) { return one.real(); }); });
}
void PrepareImag(Prepare& p) {
  EmitParts(p, [](const auto* z, auto* y, int64_t n) { std::transform(z, z + n, y, [](auto one) { return one.imag(); }); });
}

// Roots of sums that are normal numbers, as nearly all are, come from the kernel.
struct Magnitudes {
  kernels::UnaryF32 roots;

  void operator()(const std::complex<double>* z, double* y, int64_t n) const {
    std::transform(z, z + n, y, [](std::complex<double> one) { return std::abs(one); });
  }
  void operator()(const std::complex<float>* z, float* y, int64_t n) const {
    constexpr int64_t kChunk = 256;
    for (; n > 0; n -= kChunk, z += kChunk, y += kChunk) Chunk(z, y, std::min(n, kChunk));
  }
  void Chunk(const std::complex<float>* z, float* y, int64_t n) const {
    const float* parts = reinterpret_cast<const float*>(z);
    int plain = 1;
    for (int64_t i = 0; i < n; ++i) {
      const float real = parts[2 * i], imag = parts[2 * i + 1], sum = real * real + imag * imag;
      plain &= ((sum >= kLeast) & (sum <= kMost)) | ((real == 0) & (imag == 0));
      y[i] = sum;
    }
    if (plain != 0) return roots(y, y, static_cast<size_t>(n));
    std::transform(z, z + n, y, [](std::complex<float> one) { return std::abs(one); });
  }

 private:
  static constexpr float kLeast = 1e-30f, kMost = 1e38f;  // squares that count are normal as well
};

void PrepareComplexAbs(Prepare& p) { EmitParts(p, Magnitudes{p.kernels().unary_f32[static_cast<size_t>(kernels::Unary::kSqrt)]}); }

constexpr OpDef kOps[] = {
    {.name = "RFFT2D", .prepare = PrepareRfft2d},
    {.name = "REAL", .prepare = PrepareReal},
    {.name = "IMAG", .prepare = PrepareImag},
    {.name = "COMPLEX_ABS", .prepare = PrepareComplexAbs},
};

}  // namespace

std::span<const OpDef> complex_ops() { return kOps; }

}  // namespace sigrun::ops
