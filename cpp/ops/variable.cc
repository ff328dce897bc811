#include <cstring>

#include "model/error.h"
#include "ops/op.h"

// VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE: values of the Interpreter that outlive a call. A RESOURCE tensor holds a variable's
// handle.
namespace sigrun::ops {
namespace {

void PrepareVarHandle(Prepare& p) {
  p.CheckCounts(0, 0, 1);
  p.CheckOutputType(0, {TensorType::kResource, TensorType::kInt32});
  p.SetShape(0, {});
  const int32_t handle = p.UseState().VariableHandle(p.options().String(0, "container"), p.options().String(1, "shared_name"));
  p.Emit([handle, y = p.out(0)](RunContext& run) noexcept { *run.get<int32_t>(y) = handle; });
}

void CheckHandle(const Prepare& p) {
  p.CheckType(0, {TensorType::kResource, TensorType::kInt32});
  p.Check(p.elements(0) == 1, "its variable has the shape ", ToString(p.shape(0)));
}

// Null after a report.
Variable* FindVariable(RunContext& run, Slot handle) {
  Variable* variable = run.state().variable(*run.get<int32_t>(handle));
  if (variable == nullptr) run.Fail(Concat(*run.get<int32_t>(handle), " is no variable"));
  return variable;
}

Variable* FindAssigned(RunContext& run, Slot handle, TensorType type) {
  Variable* variable = FindVariable(run, handle);
  if (variable == nullptr) return nullptr;
  if (!variable->assigned) {
    run.Fail("the variable is read before a value was assigned to it");
  } else if (variable->type != type) {
    run.Fail(Concat("the variable holds ", TensorTypeName(variable->type), ", the output is ", TensorTypeName(type)));
  } else {
    return variable;
  }
  return nullptr;
}

void PrepareReadVariable(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  CheckHandle(p);
  p.UseState();
  const TensorType type = p.output_type(0);
  const std::optional<Shape> shape = p.fixed_output_shape(0);
  if (!shape) {
    p.SetShapeLater(0);
    p.Emit([type, x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
      const Variable* variable = FindAssigned(run, x, type);
      if (variable == nullptr) return;
      LateValue& value = *run.get<LateValue>(y);
      const Status status = Guard([&] {
        if (type == TensorType::kString) {
          value.shape = variable->shape;
          value.strings = variable->strings;
          return;
        }
        const size_t bytes = BytesOf(type, ElementCount(variable->shape, "a variable"));
        std::byte* to = value.Resize(variable->shape, bytes);
        if (bytes > 0) std::memcpy(to, variable->bytes.data(), bytes);
      });
      if (!status.ok()) run.Fail(status.message());
    });
    return;
  }
  p.SetShape(0, *shape);
  p.Emit([type, shape = *shape, bytes = BytesOf(type, p.output_elements(0)), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const Variable* variable = FindAssigned(run, x, type);
    if (variable == nullptr) return;
    if (variable->shape != shape)
      return run.Fail(Concat("the variable holds ", ToString(variable->shape), ", the output is ", ToString(shape)));
    if (type == TensorType::kString) {
      *run.get<Strings>(y) = variable->strings;
    } else if (bytes > 0) {
      std::memcpy(run.get<std::byte>(y), variable->bytes.data(), bytes);
    }
  });
}

void PrepareAssignVariable(Prepare& p) {
  p.CheckCounts(2, 2, 0);
  CheckHandle(p);
  p.UseState();
  p.Emit([type = p.type(1), shape = p.shape(1), x = p.in(0), y = p.in(1)](RunContext& run) noexcept {
    Variable* variable = FindVariable(run, x);
    if (variable == nullptr) return;
    const Status status = Guard([&] { variable->Assign(type, shape, run.get<std::byte>(y)); });
    if (!status.ok()) run.Fail(status.message());
  });
}

constexpr OpDef kOps[] = {
    {.name = "ASSIGN_VARIABLE", .prepare = PrepareAssignVariable, .traits = kImpure},
    {.name = "READ_VARIABLE", .prepare = PrepareReadVariable, .traits = kImpure},
    {.name = "VAR_HANDLE", .prepare = PrepareVarHandle, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> variable_ops() { return kOps; }

}  // namespace sigrun::ops
