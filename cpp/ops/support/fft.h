#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace sigrun::ops {

using Complex = std::complex<double>;

/// A transform of a power of two: twiddle factors are shared by every row and column.
struct Fft {
  int64_t size;
  std::vector<Complex> roots;  // exp(-2 pi i k / size) for k < size / 2

  explicit Fft(int64_t n) : size(n) {
    for (int64_t k = 0; k < n / 2; ++k) {
      const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
      roots.emplace_back(std::cos(angle), std::sin(angle));
    }
  }

  /// In place, over `size` elements that lie `stride` apart.
  void Run(Complex* x, int64_t stride) const {
    for (int64_t i = 1, j = 0; i < size; ++i) {
      int64_t bit = size >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) std::swap(x[i * stride], x[j * stride]);
    }
    for (int64_t half = 1; half < size; half *= 2) {
      const int64_t step = size / (2 * half);
      for (int64_t begin = 0; begin < size; begin += 2 * half) {
        for (int64_t k = 0; k < half; ++k) {
          Complex& a = x[(begin + k) * stride];
          Complex& b = x[(begin + k + half) * stride];
          const Complex root = roots[static_cast<size_t>(k * step)];
          const Complex turned{b.real() * root.real() - b.imag() * root.imag(), b.real() * root.imag() + b.imag() * root.real()};
          b = a - turned;
          a += turned;
        }
      }
    }
  }
};

}  // namespace sigrun::ops
