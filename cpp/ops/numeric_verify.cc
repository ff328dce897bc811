#include <cmath>

#include "ops/op.h"
#include "ops/support/flexbuffer.h"
#include "ops/support/numbers.h"

// NumericVerify: how far a quantised tensor lies from the float32 one that it stands for. May be asked to fail where that is too far.
namespace sigrun::ops {
namespace {

void PrepareNumericVerify(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(1, {TensorType::kFloat32});
  p.CheckOutputType(0, {TensorType::kFloat32});
  p.Check(p.shape(0) == p.shape(1), "inputs ", ToString(p.shape(0)), " and ", ToString(p.shape(1)));
  p.SetShape(0, p.shape(0));
  const FlexMap options(p, p.custom_options());
  const double tolerance = options.Real("tolerance", 5.0);
  // Below this the differences are only looked at.
  constexpr double kLeastTolerance = 0.1;
  const bool fails = options.Bool("log_if_failed", false) && tolerance >= kLeastTolerance;
  const Prepare::Affine affine = p.affine(0);
  const float most = static_cast<float>(tolerance) * affine.scale;
  WithType<I8, U8, I16>(p, p.type(0), "an input", [&]<class T>(std::type_identity<T>) {
    p.Emit([=, n = p.elements(0), x = p.in(0), r = p.in(1), y = p.out(0)](RunContext& run) noexcept {
      const T* from = run.get<T>(x);
      const float* reference = run.get<float>(r);
      float* to = run.get<float>(y);
      for (int64_t i = 0; i < n; ++i) {
        const float value = affine.scale * static_cast<float>(from[i] - affine.zero_point);
        to[i] = value - reference[i];
        if (fails && std::abs(to[i]) > most) {
          return run.Fail(Concat("element ", i, " is ", value, ", expected ", reference[i], " within ", most));
        }
      }
    });
  });
}

constexpr OpDef kOps[] = {{.name = "NumericVerify", .prepare = PrepareNumericVerify, .traits = kImpure}};

}  // namespace

std::span<const OpDef> numeric_verify_ops() { return kOps; }

}  // namespace sigrun::ops
