#pragma once

#include <cstddef>
#include <cstdint>

#include "sigrun/interpreter.h"
#include "support.h"

// The dictionaries that describe a model, field by field as LiteRT's Python interface gives them. Each call makes new ones.
namespace sigrun::python {

/// A tensor: name, index, shape, shape_signature, dtype, quantization, quantization_parameters, sparsity_parameters. `current` is its shape
/// in a runner, null for the file's.
py::dict TensorDetails(const Model& model, size_t subgraph, int32_t index, const Shape* current);

/// Operator `index` of subgraph 0: index, op_name, inputs, outputs, operand_types, result_types. ValueError beyond the last one.
py::dict OperatorDetails(const Model& model, size_t index);
size_t OperatorCount(const Model& model);

/// {key: {"inputs": names, "outputs": names}}, or with tensor indices: {key: {"inputs": {name: index}, "outputs": {name: index}}}.
py::dict SignatureNames(const Model& model);
py::dict SignatureIndices(const Model& model);

/// A profile's fields, with a list of dictionaries under "operators".
py::dict ProfileFields(const Profile& profile);
/// Of `count` runs; releases the GIL for them.
py::dict ProfileOf(Runner& runner, int count);

py::tuple ShapeTuple(const Shape& shape);

/// A plan report as sigrun.plan takes it.
py::dict PlanFields(const PlanReport& report);

}  // namespace sigrun::python
