#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace sigrun::ops {

/// FarmHash's 64-bit fingerprint ("farmhashna").
class Fingerprint {
 public:
  static uint64_t Of(const std::byte* s, uint64_t n) {
    if (n <= 16) return UpTo16(s, n);
    if (n <= 32) return UpTo32(s, n);
    return n <= 64 ? UpTo64(s, n) : Long(s, n);
  }

 private:
  static constexpr uint64_t kA = 0xc3a5c85c97cb3127u, kB = 0xb492b66fbe98f273u, kC = 0x9ae16a3b2f90404fu;

  struct Pair {
    uint64_t first, second;
  };

  static uint64_t Load(const std::byte* s) {
    uint64_t x;
    std::memcpy(&x, s, sizeof(x));
    return x;
  }
  static uint64_t Load4(const std::byte* s) {
    uint32_t x;
    std::memcpy(&x, s, sizeof(x));
    return x;
  }
  static uint64_t Fold(uint64_t x) { return x ^ (x >> 47); }
  static uint64_t Mix(uint64_t u, uint64_t v, uint64_t factor) { return Fold((v ^ Fold((u ^ v) * factor)) * factor) * factor; }

  static uint64_t UpTo16(const std::byte* s, uint64_t n) {
    const uint64_t factor = kC + n * 2;
    if (n >= 8) {
      const uint64_t a = Load(s) + kC, b = Load(s + n - 8);
      return Mix(std::rotr(b, 37) * factor + a, (std::rotr(a, 25) + b) * factor, factor);
    }
    if (n >= 4) return Mix(n + (Load4(s) << 3), Load4(s + n - 4), factor);
    if (n == 0) return kC;
    const auto at = [s](uint64_t i) { return static_cast<uint64_t>(s[i]); };
    return Fold(((at(0) + (at(n >> 1) << 8)) * kC) ^ ((n + (at(n - 1) << 2)) * kA)) * kC;
  }

  static uint64_t UpTo32(const std::byte* s, uint64_t n) {
    const uint64_t factor = kC + n * 2, a = Load(s) * kB, b = Load(s + 8), c = Load(s + n - 8) * factor, d = Load(s + n - 16) * kC;
    return Mix(std::rotr(a + b, 43) + std::rotr(c, 30) + d, a + std::rotr(b + kC, 18) + c, factor);
  }

  static uint64_t UpTo64(const std::byte* s, uint64_t n) {
    const uint64_t factor = kC + n * 2, a = Load(s) * kC, b = Load(s + 8), c = Load(s + n - 8) * factor, d = Load(s + n - 16) * kC;
    const uint64_t y = std::rotr(a + b, 43) + std::rotr(c, 30) + d, z = Mix(y, a + std::rotr(b + kC, 18) + c, factor);
    const uint64_t e = Load(s + 16) * factor, f = Load(s + 24), g = (y + Load(s + n - 32)) * factor, h = (z + Load(s + n - 24)) * factor;
    return Mix(std::rotr(e + f, 43) + std::rotr(g, 30) + h, e + std::rotr(f + a, 18) + g, factor);
  }

  static Pair Weak(const std::byte* s, uint64_t a, uint64_t b) {
    const uint64_t z = Load(s + 24);
    a += Load(s);
    b = std::rotr(b + a + z, 21);
    const uint64_t c = a;
    a += Load(s + 8) + Load(s + 16);
    return {a + z, b + std::rotr(a, 44) + c};
  }

  struct State {
    uint64_t x, y, z;
    Pair v, w;

    // The last 64 bytes are taken with another factor and some sums nine times.
    void Take(const std::byte* s, uint64_t factor, uint64_t times) {
      x = std::rotr(x + y + v.first + Load(s + 8), 37) * factor;
      y = std::rotr(y + v.second + Load(s + 48), 42) * factor;
      x ^= w.second * times;
      y += v.first * times + Load(s + 40);
      z = std::rotr(z + w.first, 33) * factor;
      v = Weak(s, v.second * factor, x + w.first);
      w = Weak(s + 32, z + w.second, y + Load(s + 16));
      std::swap(z, x);
    }
  };

  static uint64_t Long(const std::byte* s, uint64_t n) {
    constexpr uint64_t kSeed = 81;
    State t{kSeed * kC + Load(s), kSeed * kB + 113, 0, {0, 0}, {0, 0}};
    t.z = Fold(t.y * kC + 113) * kC;
    const uint64_t whole = (n - 1) / 64 * 64, rest = (n - 1) & 63;
    for (uint64_t at = 0; at < whole; at += 64) t.Take(s + at, kB, 1);
    const uint64_t factor = kB + ((t.z & 0xff) << 1);
    t.w.first += rest;
    t.v.first += t.w.first;
    t.w.first += t.v.first;
    t.Take(s + n - 64, factor, 9);
    return Mix(Mix(t.v.first, t.w.first, factor) + Fold(t.y) * kA + t.z, Mix(t.v.second, t.w.second, factor) + t.x, factor);
  }
};

}  // namespace sigrun::ops
