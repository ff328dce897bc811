#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

// How a thread's vector unit takes denormal floats (below 2^-126 in magnitude). An x86 core of Intel's needs some 150 cycles for a product
// or sum that meets one, so that a state that decays towards 0, or a softmax of large logits, would take many times as long as it should.
// ARM's cores need no more than for other numbers, and are left as they are.
namespace sigrun {

/// The mode of the thread that makes it; what that was before is back at its end.
class FloatMode {
 public:
  FloatMode() : found_(Now()), set_(found_) {}
  ~FloatMode() { Change(found_); }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

  /// Whether denormal operands and results are 0 from now on, or what they were before.
  void FlushDenormals(bool flush) { Change(flush ? found_ | kFlush : found_); }

  static uint32_t Now() {
#if defined(__x86_64__)
    return _mm_getcsr();
#else
    return 0;
#endif
  }
  static void Set([[maybe_unused]] uint32_t mode) {
#if defined(__x86_64__)
    _mm_setcsr(mode);
#endif
  }

 private:
  static constexpr uint32_t kFlush = 0x8040;  // FTZ and DAZ of MXCSR (Intel's manual, volume 1, 10.2.3)

  void Change(uint32_t mode) {
    if (mode == set_) return;
    Set(mode);
    set_ = mode;
  }

  uint32_t found_, set_;
};

}  // namespace sigrun
