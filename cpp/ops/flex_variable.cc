#include <array>
#include <cmath>

#include "model/error.h"
#include "ops/op.h"
#include "ops/support/flex.h"
#include "ops/support/numbers.h"

// TensorFlow's operators on variables, for models that train on the device: additions to them, and the steps of optimisers.
namespace sigrun::ops {
namespace {

template <class T>
void PrepareAs(Prepare& p) {
  FindOp(T::kName)->prepare(p);
}
struct Read {
  static constexpr const char* kName = "READ_VARIABLE";
};
struct Assign {
  static constexpr const char* kName = "ASSIGN_VARIABLE";
};

void CheckHandle(const Prepare& p, int i) {
  p.CheckType(i, {TensorType::kResource, TensorType::kInt32});
  p.Check(p.elements(i) == 1, "its variable (input ", i, ") has the shape ", ToString(p.shape(i)));
}

// The elements of a variable of this type and shape; null after a report.
template <class T>
T* Elements(RunContext& run, Slot handle, TensorType type, const Shape& shape) {
  Variable* variable = run.state().variable(*run.get<int32_t>(handle));
  if (variable == nullptr) {
    run.Fail(Concat(*run.get<int32_t>(handle), " is no variable"));
  } else if (!variable->assigned) {
    run.Fail("the variable is changed before a value was assigned to it");
  } else if (variable->type != type || variable->shape != shape) {
    run.Fail(Concat("the variable holds ", TensorTypeName(variable->type), " ", ToString(variable->shape), ", its change is ",
                    TensorTypeName(type), " ", ToString(shape)));
  } else {
    return reinterpret_cast<T*>(variable->bytes.data());
  }
  return nullptr;
}

template <bool kSubtracts>
void PrepareAdd(Prepare& p) {
  p.CheckCounts(2, 2, 0);
  CheckHandle(p, 0);
  p.UseState();
  WithType<F32, F64, I32, I64>(p, p.type(1), "a change", [&]<class T>(std::type_identity<T>) {
    p.Emit([type = p.type(1), shape = p.shape(1), n = p.elements(1), variable = p.in(0), value = p.in(1)](RunContext& run) noexcept {
      T* x = Elements<T>(run, variable, type, shape);
      const T* change = run.get<T>(value);
      for (int64_t i = 0; x != nullptr && i < n; ++i) x[i] = Plus(x[i], kSubtracts ? Times(change[i], T{-1}) : change[i]);
    });
  });
}

// --- optimisers ---
// The operands of each are the variable and what it keeps for it, then numbers, and among these the gradient. Apply has the numbers in
// their order without the gradient, and whether the rule's attribute is set; it returns what is done to element i.

struct GradientDescent {
  static constexpr int kVariables = 1, kInputs = 3, kGradient = 2;
  static constexpr const char* kAttribute = "";
  static auto Apply(const float* n, bool, float* const* v, const float* g) {
    return [=](int64_t i) { v[0][i] -= g[i] * n[0]; };
  }
};

struct Momentum {
  static constexpr int kVariables = 2, kInputs = 5, kGradient = 3;
  static constexpr const char* kAttribute = "use_nesterov";
  static auto Apply(const float* n, bool nesterov, float* const* v, const float* g) {
    return [=, rate = n[0], momentum = n[1]](int64_t i) {
      v[1][i] = v[1][i] * momentum + g[i];
      v[0][i] -= nesterov ? g[i] * rate + v[1][i] * momentum * rate : v[1][i] * rate;
    };
  }
};

struct KerasMomentum {
  static constexpr int kVariables = 2, kInputs = 5, kGradient = 3;
  static constexpr const char* kAttribute = "use_nesterov";
  static auto Apply(const float* n, bool nesterov, float* const* v, const float* g) {
    return [=, rate = n[0], momentum = n[1]](int64_t i) {
      v[1][i] = v[1][i] * momentum - g[i] * rate;
      v[0][i] += nesterov ? v[1][i] * momentum - g[i] * rate : v[1][i];
    };
  }
};

struct Adam {
  static constexpr int kVariables = 3, kInputs = 10, kGradient = 9;
  static constexpr const char* kAttribute = "use_nesterov";
  static auto Apply(const float* n, bool nesterov, float* const* v, const float* g) {
    const float rate = n[2] * std::sqrt(1.0f - n[1]) / (1.0f - n[0]);
    return [=, beta1 = n[3], beta2 = n[4], epsilon = n[5]](int64_t i) {
      v[1][i] += (g[i] - v[1][i]) * (1.0f - beta1);
      v[2][i] += (g[i] * g[i] - v[2][i]) * (1.0f - beta2);
      const float step = nesterov ? g[i] * (1.0f - beta1) + beta1 * v[1][i] : v[1][i];
      v[0][i] -= step * rate / (std::sqrt(v[2][i]) + epsilon);
    };
  }
};

struct Adagrad {
  static constexpr int kVariables = 2, kInputs = 4, kGradient = 3;
  static constexpr const char* kAttribute = "update_slots";
  static auto Apply(const float* n, bool updates, float* const* v, const float* g) {
    return [=](int64_t i) {
      if (updates) v[1][i] += g[i] * g[i];
      v[0][i] -= g[i] * n[0] / std::sqrt(v[1][i]);
    };
  }
};

struct AdagradV2 {
  static constexpr int kVariables = 2, kInputs = 5, kGradient = 4;
  static constexpr const char* kAttribute = "update_slots";
  static auto Apply(const float* n, bool updates, float* const* v, const float* g) {
    return [=](int64_t i) {
      if (updates) v[1][i] += g[i] * g[i];
      v[0][i] -= g[i] * n[0] / (std::sqrt(v[1][i]) + n[1]);
    };
  }
};

struct RmsProp {
  static constexpr int kVariables = 3, kInputs = 8, kGradient = 7;
  static constexpr const char* kAttribute = "";
  static auto Apply(const float* n, bool, float* const* v, const float* g) {
    return [=, rate = n[0], rho = n[1], momentum = n[2], epsilon = n[3]](int64_t i) {
      v[1][i] += (g[i] * g[i] - v[1][i]) * (1.0f - rho);
      v[2][i] = v[2][i] * momentum + g[i] * rate / std::sqrt(v[1][i] + epsilon);
      v[0][i] -= v[2][i];
    };
  }
};

template <class Rule>
void PrepareOptimiser(Prepare& p) {
  constexpr size_t kNumbers = Rule::kInputs - Rule::kVariables - 1;
  p.CheckCounts(Rule::kInputs, Rule::kInputs, 0);
  std::array<Slot, Rule::kVariables> variables;
  std::array<Slot, kNumbers> numbers;
  for (int i = 0, next = 0; i < Rule::kInputs; ++i) {
    if (i < Rule::kVariables) {
      CheckHandle(p, i);
      variables[static_cast<size_t>(i)] = p.in(i);
      continue;
    }
    p.CheckType(i, {TensorType::kFloat32});
    if (i == Rule::kGradient) continue;
    p.Check(p.elements(i) == 1, "its number (input ", i, ") has the shape ", ToString(p.shape(i)));
    numbers[static_cast<size_t>(next++)] = p.in(i);
  }
  p.UseState();
  // update_slots alone is set where it is absent.
  const std::string_view attribute = Rule::kAttribute;
  const bool is_set = !attribute.empty() && FlexNode(p).Bool(attribute, attribute == "update_slots");
  p.Emit([=, shape = p.shape(Rule::kGradient), count = p.elements(Rule::kGradient),
          gradient = p.in(Rule::kGradient)](RunContext& run) noexcept {
    std::array<float, kNumbers> n;
    for (size_t i = 0; i < kNumbers; ++i) n[i] = *run.get<float>(numbers[i]);
    std::array<float*, Rule::kVariables> v;
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] = Elements<float>(run, variables[i], TensorType::kFloat32, shape);
      if (v[i] == nullptr) return;
    }
    const auto apply = Rule::Apply(n.data(), is_set, v.data(), run.get<float>(gradient));
    for (int64_t i = 0; i < count; ++i) apply(i);
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexAssignAddVariableOp", .prepare = PrepareAdd<false>, .traits = kImpure},
    {.name = "FlexAssignSubVariableOp", .prepare = PrepareAdd<true>, .traits = kImpure},
    {.name = "FlexAssignVariableOp", .prepare = PrepareAs<Assign>, .traits = kImpure},
    {.name = "FlexReadVariableOp", .prepare = PrepareAs<Read>, .traits = kImpure},
    {.name = "FlexResourceApplyAdagrad", .prepare = PrepareOptimiser<Adagrad>, .traits = kImpure},
    {.name = "FlexResourceApplyAdagradV2", .prepare = PrepareOptimiser<AdagradV2>, .traits = kImpure},
    {.name = "FlexResourceApplyAdam", .prepare = PrepareOptimiser<Adam>, .traits = kImpure},
    {.name = "FlexResourceApplyGradientDescent", .prepare = PrepareOptimiser<GradientDescent>, .traits = kImpure},
    {.name = "FlexResourceApplyKerasMomentum", .prepare = PrepareOptimiser<KerasMomentum>, .traits = kImpure},
    {.name = "FlexResourceApplyMomentum", .prepare = PrepareOptimiser<Momentum>, .traits = kImpure},
    {.name = "FlexResourceApplyRMSProp", .prepare = PrepareOptimiser<RmsProp>, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> flex_variable_ops() { return kOps; }

}  // namespace sigrun::ops
