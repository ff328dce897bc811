#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

// Transforms of real signals in fixed point, for which tflite-micro's front end uses KISS FFT: every stage divides by its radix first, so
// that nothing overflows, and every product is rounded to the scalar's bits. The results are the same to the last bit.
namespace sigrun::ops {

/// S is int16_t or int32_t, of which all bits but the sign are the fraction; lengths are powers of two.
template <class S>
class FixedFft {
 public:
  struct Complex {
    S real = 0, imaginary = 0;
  };

  FixedFft(int32_t length, bool inverse) : half_(static_cast<size_t>(length / 2)), inverse_(inverse) {
    for (size_t i = 0; i < half_; ++i) roots_.push_back(Root(-2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(half_)));
    for (size_t i = 0; i < half_ / 2; ++i) {
      turns_.push_back(Root(-std::numbers::pi * (static_cast<double>(i + 1) / static_cast<double>(half_) + 0.5)));
    }
  }

  size_t scratch_elements() const { return 2 * half_; }

  /// `length` samples to length / 2 + 1 frequencies; `packed` is scratch.
  void Forward(const S* samples, Complex* frequencies, Complex* packed) const {
    const Complex* pairs = reinterpret_cast<const Complex*>(samples);
    Transform(packed, pairs, 1, half_);
    const Complex first = Divided(packed[0], 2);
    frequencies[0] = {Wrap(int64_t{first.real} + first.imaginary), 0};
    frequencies[half_] = {Wrap(int64_t{first.real} - first.imaginary), 0};
    for (size_t k = 1; k <= half_ / 2; ++k) {
      const Complex a = Divided(packed[k], 2), b = Divided(Conjugate(packed[half_ - k]), 2);
      const Complex sum = Plus(a, b), turned = Times(Minus(a, b), turns_[k - 1]);
      frequencies[k] = {Half(int64_t{sum.real} + turned.real), Half(int64_t{sum.imaginary} + turned.imaginary)};
      frequencies[half_ - k] = {Half(int64_t{sum.real} - turned.real), Half(int64_t{turned.imaginary} - sum.imaginary)};
    }
  }

  /// The way back.
  void Inverse(const Complex* frequencies, S* samples, Complex* packed) const {
    const Complex &first = frequencies[0], &last = frequencies[half_];
    packed[0] = Divided({Wrap(int64_t{first.real} + last.real), Wrap(int64_t{first.real} - last.real)}, 2);
    for (size_t k = 1; k <= half_ / 2; ++k) {
      const Complex a = Divided(frequencies[k], 2), b = Divided(Conjugate(frequencies[half_ - k]), 2);
      const Complex even = Plus(a, b), odd = Times(Minus(a, b), turns_[k - 1]);
      packed[k] = Plus(even, odd);
      packed[half_ - k] = Conjugate(Minus(even, odd));
    }
    Transform(reinterpret_cast<Complex*>(samples), packed, 1, half_);
  }

 private:
  static constexpr int kFraction = std::numeric_limits<S>::digits;
  static constexpr int64_t kOne = std::numeric_limits<S>::max();

  static S Wrap(int64_t x) { return static_cast<S>(x); }
  static S Half(int64_t x) { return Wrap(x >> 1); }
  static S Rounded(int64_t product) { return Wrap((product + (int64_t{1} << (kFraction - 1))) >> kFraction); }

  Complex Root(double angle) const {
    const double turn = inverse_ ? -angle : angle;
    const auto fixed = [](double x) { return static_cast<S>(std::floor(0.5 + static_cast<double>(kOne) * x)); };
    return {fixed(std::cos(turn)), fixed(std::sin(turn))};
  }
  static Complex Conjugate(Complex x) { return {x.real, Wrap(-int64_t{x.imaginary})}; }
  static Complex Plus(Complex a, Complex b) { return {Wrap(int64_t{a.real} + b.real), Wrap(int64_t{a.imaginary} + b.imaginary)}; }
  static Complex Minus(Complex a, Complex b) { return {Wrap(int64_t{a.real} - b.real), Wrap(int64_t{a.imaginary} - b.imaginary)}; }
  static Complex Times(Complex a, Complex b) {
    return {Rounded(int64_t{a.real} * b.real - int64_t{a.imaginary} * b.imaginary),
            Rounded(int64_t{a.real} * b.imaginary + int64_t{a.imaginary} * b.real)};
  }
  static Complex Divided(Complex x, int64_t by) { return {Rounded(x.real * (kOne / by)), Rounded(x.imaginary * (kOne / by))}; }
  /// x times i, or -i.
  static Complex Quarter(Complex x, bool backward) {
    return backward ? Complex{x.imaginary, Wrap(-int64_t{x.real})} : Complex{Wrap(-int64_t{x.imaginary}), x.real};
  }

  // Every `stride`-th of the inputs: decimation in time, by 4 as often as it goes, else by 2.
  void Transform(Complex* out, const Complex* in, size_t stride, size_t n) const {
    if (n == 1) {
      *out = *in;
      return;
    }
    const size_t radix = n % 4 == 0 ? 4 : 2, m = n / radix;
    for (size_t i = 0; i < radix; ++i) Transform(out + i * m, in + i * stride, stride * radix, m);
    for (size_t k = 0; k < m; ++k) radix == 4 ? Combine4(out + k, stride * k, m) : Combine2(out + k, stride * k, m);
  }
  void Combine2(Complex* x, size_t root, size_t m) const {
    const Complex a = Divided(x[0], 2), b = Times(Divided(x[m], 2), roots_[root]);
    x[m] = Minus(a, b);
    x[0] = Plus(a, b);
  }
  void Combine4(Complex* x, size_t root, size_t m) const {
    const Complex a = Divided(x[0], 4), b = Times(Divided(x[m], 4), roots_[root]);
    const Complex c = Times(Divided(x[2 * m], 4), roots_[2 * root]), d = Times(Divided(x[3 * m], 4), roots_[3 * root]);
    const Complex even = Plus(a, c), odd = Minus(a, c), sum = Plus(b, d), turned = Quarter(Minus(b, d), !inverse_);
    x[2 * m] = Minus(even, sum);
    x[0] = Plus(even, sum);
    x[m] = Plus(odd, turned);
    x[3 * m] = Minus(odd, turned);
  }

  size_t half_;
  bool inverse_;
  std::vector<Complex> roots_, turns_;
};

}  // namespace sigrun::ops
