#pragma once

#include <algorithm>
#include <cstddef>

#include "ops/op.h"
#include "ops/support/arithmetic.h"
#include "ops/support/broadcast.h"
#include "ops/support/elements.h"
#include "ops/support/quantization.h"

// FLOAT16 and BFLOAT16 elements through the float32 kernels, some at a time: computed as float, each result rounded once.
namespace sigrun::ops {

inline constexpr size_t kSmallFloats = 256;  // that are widened at once

inline bool IsSmallFloat(TensorType type) { return type == TensorType::kFloat16 || type == TensorType::kBFloat16; }

template <class T>
void WidenRun(const T* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]);
}
template <class T>
void NarrowRun(const float* x, T* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = T(x[i]);
}

/// Wraps a unary operator's prepare.
template <void (*kPrepare)(Prepare&), kernels::Unary kOp>
void OrSmallFloat(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  if (!IsSmallFloat(p.type(0))) return kPrepare(p);
  p.CheckOutputType(0, {p.type(0)});
  p.SetShape(0, p.shape(0));
  p.MayOverwrite(0, 0);
  WithType<F16, BF16>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit(
        [n = p.elements(0), kernel = p.kernels().unary_f32[static_cast<size_t>(kOp)], x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
          ForElements(run, n, 16, [&](int64_t begin, int64_t count) {
            float wide[kSmallFloats], result[kSmallFloats];
            for (int64_t i = begin; i < begin + count; i += kSmallFloats) {
              const size_t piece = std::min(kSmallFloats, static_cast<size_t>(begin + count - i));
              WidenRun(run.get<const T>(x) + i, wide, piece);
              kernel(wide, result, piece);
              NarrowRun(result, run.get<T>(y) + i, piece);
            }
          });
        });
  });
}

/// Wraps a binary operator's prepare.
template <void (*kPrepare)(Prepare&), kernels::Binary kOp>
void OrSmallFloat(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  if (!IsSmallFloat(p.type(0))) return kPrepare(p);
  p.CheckType(1, {p.type(0)});
  p.CheckOutputType(0, {p.type(0)});
  WithType<F16, BF16>(p, p.type(0), "operands", [&]<class T>(std::type_identity<T>) {
    const kernels::BinaryF32* forms = p.kernels().binary_f32[static_cast<size_t>(kOp)];
    EmitBinary<T, T>(p, 4, [forms, clamp = ActivationClamp(p)](const T* a, const T* b, T* y, size_t n, kernels::Operands operands) {
      float left[kSmallFloats], right[kSmallFloats], result[kSmallFloats];
      const bool one_left = operands == kernels::Operands::kScalarVector, one_right = operands == kernels::Operands::kVectorScalar;
      for (size_t i = 0; i < n; i += kSmallFloats) {
        const size_t piece = std::min(kSmallFloats, n - i);
        WidenRun(one_left ? a : a + i, left, one_left ? 1 : piece);
        WidenRun(one_right ? b : b + i, right, one_right ? 1 : piece);
        forms[static_cast<size_t>(operands)](left, right, result, piece, clamp);
        NarrowRun(result, y + i, piece);
      }
    });
  });
}

}  // namespace sigrun::ops
