#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace sigrun::ops {

/// Complex numbers whose parts stand apart, so that a compiler can take several at once.
struct Planes {
  double* real;
  double* imag;
};

struct Turn {
  double real, imag;
  static Turn By(int64_t k, int64_t n) {  // exp(-2 pi i k / n)
    const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
    return {std::cos(angle), std::sin(angle)};
  }
};

/// A transform of a power of two, of several series side by side. Every stage writes its results in the order in which the next one reads
/// them (Stockham): nothing is sorted, and the innermost loop is over elements that lie side by side.
class Fft {
 public:
  int64_t size;

  explicit Fft(int64_t n) : size(n) {
    for (int64_t length = n; length >= 4; length /= 4) {
      for (int64_t k = 0; k < length / 4; ++k) {
        for (int64_t power = 1; power <= 3; ++power) turns_.push_back(Turn::By(k * power, length));
      }
    }
  }

  /// Element i of series c is x[i * series + c]. `work` is as large as `x`; the result is in the one that is returned.
  Planes Run(Planes x, Planes work, int64_t series) const {
    const Turn* turns = turns_.data();
    int64_t length = size, stride = series;
    for (; length >= 4; length /= 4, stride *= 4, std::swap(x, work)) {
      for (int64_t k = 0; k < length / 4; ++k, turns += 3) Four(x, work, k, length / 4, stride, turns);
    }
    if (length < 2) return x;
    for (int64_t i = 0; i < stride; ++i) {
      work.real[i] = x.real[i] + x.real[stride + i];
      work.imag[i] = x.imag[i] + x.imag[stride + i];
      work.real[stride + i] = x.real[i] - x.real[stride + i];
      work.imag[stride + i] = x.imag[i] - x.imag[stride + i];
    }
    return work;
  }

 private:
  // The four elements that begin at k of `quarter`, `stride` times.
  static void Four(Planes x, Planes y, int64_t k, int64_t quarter, int64_t stride, const Turn* turns) {
    const Turn one = turns[0], two = turns[1], three = turns[2];
    const int64_t step = quarter * stride;
    const double* __restrict xr = x.real + k * stride, * __restrict xi = x.imag + k * stride;
    double* __restrict yr = y.real + 4 * k * stride, * __restrict yi = y.imag + 4 * k * stride;
    for (int64_t i = 0; i < stride; ++i) {
      const double ar = xr[i] + xr[2 * step + i], ai = xi[i] + xi[2 * step + i], br = xr[i] - xr[2 * step + i],
                   bi = xi[i] - xi[2 * step + i];
      const double cr = xr[step + i] + xr[3 * step + i], ci = xi[step + i] + xi[3 * step + i];
      const double dr = xi[step + i] - xi[3 * step + i], di = xr[3 * step + i] - xr[step + i];  // times -i
      const double er = br + dr, ei = bi + di, fr = ar - cr, fi = ai - ci, gr = br - dr, gi = bi - di;
      yr[i] = ar + cr;
      yi[i] = ai + ci;
      yr[stride + i] = er * one.real - ei * one.imag;
      yi[stride + i] = er * one.imag + ei * one.real;
      yr[2 * stride + i] = fr * two.real - fi * two.imag;
      yi[2 * stride + i] = fr * two.imag + fi * two.real;
      yr[3 * stride + i] = gr * three.real - gi * three.imag;
      yi[3 * stride + i] = gr * three.imag + gi * three.real;
    }
  }

  std::vector<Turn> turns_;  // of every stage
};

/// Transforms of real rows, kRows of them at once: `size` samples are as many complex numbers as half of them.
class RealFft {
 public:
  static constexpr int64_t kRows = 4;
  int64_t size;

  explicit RealFft(int64_t n) : size(n), half_(n > 1 ? n / 2 : 1) {
    for (int64_t k = 0; k <= n / 4; ++k) turns_.push_back(Turn::By(k, n));
  }

  int64_t frequencies() const { return size / 2 + 1; }
  size_t scratch_bytes() const { return static_cast<size_t>(4 * half_.size * kRows) * sizeof(double); }

  /// load(row, i) gives a sample, store(row, frequency, real, imaginary) takes a result.
  template <class Load, class Store>
  void Forward(double* scratch, int64_t rows, const Load& load, const Store& store) const {
    for (int64_t first = 0; first < rows; first += kRows) {
      ForwardFew(
          scratch, std::min(kRows, rows - first), [&](int64_t r, int64_t i) { return load(first + r, i); },
          [&](int64_t r, int64_t k, double real, double imag) { store(first + r, k, real, imag); });
    }
  }

  /// The same of rows of `length` floats, `step` apart and completed by zeros; out come two floats a frequency.
  void Forward(double* scratch, int64_t rows, const float* from, int64_t length, int64_t step, float* to) const {
    const int64_t out = 2 * frequencies();
    for (; rows > 0; rows -= kRows, from += kRows * step, to += kRows * out) {
      ForwardFew(
          scratch, std::min(kRows, rows), [=](int64_t r, int64_t i) { return i < length ? static_cast<double>(from[r * step + i]) : 0.0; },
          [=](int64_t r, int64_t k, double real, double imag) {
            to[r * out + 2 * k] = static_cast<float>(real);
            to[r * out + 2 * k + 1] = static_cast<float>(imag);
          });
    }
  }

  /// The inverse, over `size`: load(row, frequency) gives a number whose imaginary part does not count in the first and the last,
  /// store(row, i, sample).
  template <class Load, class Store>
  void Inverse(double* scratch, int64_t rows, const Load& load, const Store& store) const {
    for (int64_t first = 0; first < rows; first += kRows) {
      InverseFew(
          scratch, std::min(kRows, rows - first), [&](int64_t r, int64_t k) { return load(first + r, k); },
          [&](int64_t r, int64_t i, double sample) { store(first + r, i, sample); });
    }
  }

 private:
  template <class Load, class Store>
  void ForwardFew(double* scratch, int64_t rows, const Load& load, const Store& store) const {
    if (size == 1) {
      for (int64_t r = 0; r < rows; ++r) store(r, 0, load(r, 0), 0.0);
      return;
    }
    const int64_t n = half_.size;
    const Planes x = Part(scratch, 0, rows), work = Part(scratch, 1, rows);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        x.real[i * rows + r] = load(r, 2 * i);
        x.imag[i * rows + r] = load(r, 2 * i + 1);
      }
    }
    const Planes z = half_.Run(x, work, rows);
    for (int64_t r = 0; r < rows; ++r) {
      store(r, 0, z.real[r] + z.imag[r], 0.0);
      store(r, n, z.real[r] - z.imag[r], 0.0);
    }
    for (int64_t k = 1; k <= n / 2; ++k) {
      const Turn turn = turns_[static_cast<size_t>(k)];
      for (int64_t r = 0; r < rows; ++r) {
        const Pair p = Split(z, k * rows + r, (n - k) * rows + r);
        const double tr = 0.5 * (p.difference_real * turn.imag + p.difference_imag * turn.real);
        const double ti = 0.5 * (p.difference_imag * turn.imag - p.difference_real * turn.real);
        store(r, k, 0.5 * p.sum_real + tr, 0.5 * p.sum_imag + ti);
        store(r, n - k, 0.5 * p.sum_real - tr, ti - 0.5 * p.sum_imag);
      }
    }
  }

  template <class Load, class Store>
  void InverseFew(double* scratch, int64_t rows, const Load& load, const Store& store) const {
    const int64_t n = half_.size;
    const Planes x = Part(scratch, 0, rows), work = Part(scratch, 1, rows);
    for (int64_t r = 0; r < rows; ++r) {
      const double first = load(r, 0).real, last = load(r, n).real;
      x.real[r] = first + last;
      x.imag[r] = first - last;
    }
    for (int64_t k = 1; k <= n / 2; ++k) {
      const Turn turn = turns_[static_cast<size_t>(k)];
      for (int64_t r = 0; r < rows; ++r) {
        const auto a = load(r, k), b = load(r, n - k);
        const double sr = a.real + b.real, si = a.imag - b.imag, dr = a.real - b.real, di = a.imag + b.imag;
        const double tr = dr * turn.imag - di * turn.real, ti = dr * turn.real + di * turn.imag;
        const int64_t i = k * rows + r, j = (n - k) * rows + r;
        x.real[i] = sr + tr;
        x.imag[i] = si + ti;
        if (i == j) continue;
        x.real[j] = sr - tr;
        x.imag[j] = ti - si;
      }
    }
    // With the parts exchanged, the transform is its own inverse.
    const Planes z = half_.Run({x.imag, x.real}, {work.imag, work.real}, rows);
    const double scale = 1.0 / static_cast<double>(size);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        store(r, 2 * i, z.imag[i * rows + r] * scale);
        store(r, 2 * i + 1, z.real[i * rows + r] * scale);
      }
    }
  }

  struct Pair {
    double sum_real, sum_imag, difference_real, difference_imag;
  };
  // One number and the conjugate of another.
  static Pair Split(Planes z, int64_t i, int64_t j) {
    return {z.real[i] + z.real[j], z.imag[i] - z.imag[j], z.real[i] - z.real[j], z.imag[i] + z.imag[j]};
  }
  Planes Part(double* scratch, int64_t part, int64_t rows) const {
    double* real = scratch + part * 2 * half_.size * rows;
    return {real, real + half_.size * rows};
  }

  Fft half_;
  std::vector<Turn> turns_;  // exp(-2 pi i k / size) for k <= size / 4
};

}  // namespace sigrun::ops
