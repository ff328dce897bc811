#pragma once

#include "kernels/common/inline.h"

// The one-dimensional transforms of Winograd's F(2, 3), F(4, 3), F(3, 4) and F(2, 5) over values V: floats, or vectors of them. Whoever
// includes this declares AddScaled(a, s, b) = a + s * b for V and a float s before. All but F(2, 3) evaluate their polynomials at 0,
// infinity and the square roots of 1/2 and 2 with both signs: products of points and of their differences stay near 1, so that errors are a
// third of those of the usual 1 and 2.
namespace sigrun::kernels {
namespace {

constexpr float kRootOfHalf = 0x1.6a09e6p-1f, kRootOf2 = 0x1.6a09e6p+0f;

template <class V>
SIGRUN_INLINE void WinogradTransformInput(const V (&d)[4], V (&t)[4]) {
  t[0] = d[0] - d[2];
  t[1] = d[1] + d[2];
  t[2] = d[2] - d[1];
  t[3] = d[1] - d[3];
}

template <class V>
SIGRUN_INLINE void WinogradTransformInput(const V (&d)[6], V (&t)[6]) {
  const V even_half = AddScaled(d[4], -2.0f, d[2]), odd_half = AddScaled(d[3], -2.0f, d[1]);
  const V even_two = AddScaled(d[4], -0.5f, d[2]), odd_two = AddScaled(d[3], -0.5f, d[1]);
  t[0] = AddScaled(d[0] + d[4], -2.5f, d[2]);
  t[1] = AddScaled(even_half, kRootOfHalf, odd_half);
  t[2] = AddScaled(even_half, -kRootOfHalf, odd_half);
  t[3] = AddScaled(even_two, kRootOf2, odd_two);
  t[4] = AddScaled(even_two, -kRootOf2, odd_two);
  t[5] = AddScaled(d[1] + d[5], -2.5f, d[3]);
}

template <class V>
SIGRUN_INLINE void WinogradTransformOutput(const V (&m)[4], V (&y)[2]) {
  y[0] = (m[0] + m[1]) + m[2];
  y[1] = (m[1] - m[2]) - m[3];
}

template <class V>
SIGRUN_INLINE void WinogradTransformOutput(const V (&m)[6], V (&y)[4]) {
  const V sum_half = m[1] + m[2], difference_half = m[1] - m[2];
  const V sum_two = m[3] + m[4], difference_two = m[3] - m[4];
  y[0] = (m[0] + sum_half) + sum_two;
  y[1] = AddScaled(difference_half * kRootOfHalf, kRootOf2, difference_two);
  y[2] = AddScaled(sum_half * 0.5f, 2.0f, sum_two);
  y[3] = AddScaled(AddScaled(m[5], 0.5f * kRootOfHalf, difference_half), 2.0f * kRootOf2, difference_two);
}

// F(3, 4) and F(2, 5) have the same points.
template <class V>
SIGRUN_INLINE void WinogradTransformOutput(const V (&m)[6], V (&y)[3]) {
  const V sum_half = m[1] + m[2], sum_two = m[3] + m[4];
  y[0] = (m[0] + sum_half) + sum_two;
  y[1] = AddScaled((m[1] - m[2]) * kRootOfHalf, kRootOf2, m[3] - m[4]);
  y[2] = AddScaled(AddScaled(m[5], 0.5f, sum_half), 2.0f, sum_two);
}

template <class V>
SIGRUN_INLINE void WinogradTransformOutput(const V (&m)[6], V (&y)[2]) {
  y[0] = (m[0] + (m[1] + m[2])) + (m[3] + m[4]);
  y[1] = AddScaled(AddScaled(m[5], kRootOfHalf, m[1] - m[2]), kRootOf2, m[3] - m[4]);
}

/// The filter's transform of F(2, 3).
template <class V>
SIGRUN_INLINE void WinogradTransformFilter(const V (&g)[3], V (&u)[4]) {
  const V ends = (g[0] + g[2]) * 0.5f;
  u[0] = g[0];
  u[1] = AddScaled(ends, 0.5f, g[1]);
  u[2] = AddScaled(ends, -0.5f, g[1]);
  u[3] = g[2];
}

// The values of a filter's even and odd parts at the squares of two points.
template <class V>
SIGRUN_INLINE void WinogradEvenOdd(const V (&g)[3], float square, V& even, V& odd) {
  even = AddScaled(g[0], square, g[2]);
  odd = g[1];
}
template <class V>
SIGRUN_INLINE void WinogradEvenOdd(const V (&g)[4], float square, V& even, V& odd) {
  even = AddScaled(g[0], square, g[2]);
  odd = AddScaled(g[1], square, g[3]);
}
template <class V>
SIGRUN_INLINE void WinogradEvenOdd(const V (&g)[5], float square, V& even, V& odd) {
  even = AddScaled(AddScaled(g[0], square, g[2]), square * square, g[4]);
  odd = AddScaled(g[1], square, g[3]);
}

/// The filter's transform of F(4, 3), F(3, 4) and F(2, 5).
template <class V, int kTaps>
SIGRUN_INLINE void WinogradTransformFilter(const V (&g)[kTaps], V (&u)[6]) {
  constexpr float kHalf = -2.0f / 3.0f, kTwo = 1.0f / 6.0f;
  V even_half, odd_half, even_two, odd_two;
  WinogradEvenOdd(g, 0.5f, even_half, odd_half);
  WinogradEvenOdd(g, 2.0f, even_two, odd_two);
  even_half = even_half * kHalf;
  even_two = even_two * kTwo;
  u[0] = g[0];
  u[1] = AddScaled(even_half, kHalf * kRootOfHalf, odd_half);
  u[2] = AddScaled(even_half, -kHalf * kRootOfHalf, odd_half);
  u[3] = AddScaled(even_two, kTwo * kRootOf2, odd_two);
  u[4] = AddScaled(even_two, -kTwo * kRootOf2, odd_two);
  u[5] = g[kTaps - 1];
}

}  // namespace
}  // namespace sigrun::kernels
