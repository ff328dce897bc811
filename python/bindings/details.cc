#include "details.h"

#include <cstring>
#include <vector>

#include "arrays.h"
#include "run/model_impl.h"
#include "run/runner.h"

namespace sigrun::python {
namespace {

template <class T, class Values>
py::array_t<T> ToArray(const Values& values) {
  py::array_t<T> array(static_cast<py::ssize_t>(values.size()));
  T* to = array.mutable_data();
  for (size_t i = 0; i < values.size(); ++i) to[i] = static_cast<T>(values[static_cast<uint32_t>(i)]);
  return array;
}

// Blockwise scales are a tensor of their own; shown flat, in the type they are stored in.
py::object ConstantArray(const Model& model, size_t subgraph, int32_t tensor) {
  const FlatModel& flat = *model.impl().flat;
  const TensorInfo& info = flat.subgraphs[subgraph].tensors[static_cast<size_t>(tensor)];
  const auto bytes = flat.buffers[info.buffer];
  const py::dtype dtype = py::reinterpret_borrow<py::dtype>(ArrayDtype(info.type));
  py::array array(dtype, std::vector<py::ssize_t>{static_cast<py::ssize_t>(bytes.size()) / dtype.itemsize()});
  if (!bytes.empty()) std::memcpy(array.mutable_data(), bytes.data(), static_cast<size_t>(array.nbytes()));
  return array;
}

py::dict QuantizationParameters(const Model& model, size_t subgraph, const Quantization& quantization) {
  py::dict d;
  d["scales"] =
      quantization.scales_tensor >= 0 ? ConstantArray(model, subgraph, quantization.scales_tensor) : ToArray<float>(quantization.scale);
  d["zero_points"] = quantization.zero_points_tensor >= 0 ? ConstantArray(model, subgraph, quantization.zero_points_tensor)
                                                          : ToArray<int32_t>(quantization.zero_point);
  d["quantized_dimension"] = quantization.dimension;
  d["block_size"] = quantization.block_size;
  return d;
}

// The schema's SparseIndexVector union.
py::object SparseIndices(const flatbuffer::Table& metadata, int type_field, const char* name) {
  constexpr int kInt32 = 1, kUInt16 = 2, kUInt8 = 3;
  const flatbuffer::Table values = metadata.Child(type_field + 1, name);
  const int type = values ? metadata.Scalar<uint8_t>(type_field) : 0;
  if (type == kInt32) return ToArray<int32_t>(values.Scalars<int32_t>(0, "values"));
  if (type == kUInt16) return ToArray<int32_t>(values.Scalars<uint16_t>(0, "values"));
  if (type == kUInt8) return ToArray<int32_t>(values.Scalars<uint8_t>(0, "values"));
  return py::array_t<int32_t>(0);
}

py::dict SparsityParameters(const flatbuffer::Table& sparsity) {
  py::dict d;
  if (!sparsity) return d;
  d["traversal_order"] = ToArray<int32_t>(sparsity.Scalars<int32_t>(0, "traversal_order"));
  const auto block_map = sparsity.Scalars<int32_t>(1, "block_map");
  if (!block_map.empty()) d["block_map"] = ToArray<int32_t>(block_map);
  py::list dimensions;
  const flatbuffer::TableVector metadata = sparsity.Children(2, "dim_metadata");
  for (uint32_t i = 0; i < metadata.size(); ++i) {
    const flatbuffer::Table source = metadata[i];
    py::dict dimension;
    const int format = source.Scalar<int8_t>(0);
    dimension["format"] = format;
    if (format == 0) {
      dimension["dense_size"] = source.Scalar<int32_t>(1);
    } else {
      dimension["array_segments"] = SparseIndices(source, 2, "array_segments");
      dimension["array_indices"] = SparseIndices(source, 4, "array_indices");
    }
    dimensions.append(dimension);
  }
  d["dim_metadata"] = dimensions;
  return d;
}

py::list Dtypes(const SubgraphInfo& subgraph, const std::vector<int32_t>& tensors) {
  py::list dtypes;
  for (const int32_t tensor : tensors) {
    if (tensor >= 0) dtypes.append(DetailDtype(subgraph.tensors[static_cast<size_t>(tensor)].type));
  }
  return dtypes;
}

using Names = std::vector<std::pair<std::string, int32_t>>;

py::list NameList(const Names& names) {
  py::list list;
  for (const auto& [name, tensor] : names) list.append(Text(name));
  return list;
}

py::dict NameIndices(const Names& names) {
  py::dict indices;
  for (const auto& [name, tensor] : names) indices[Text(name)] = tensor;
  return indices;
}

}  // namespace

py::dict TensorDetails(const Model& model, size_t subgraph, int32_t index, const Shape* current) {
  const TensorInfo& info = model.impl().flat->subgraphs[subgraph].tensors[static_cast<size_t>(index)];
  const Quantization& quantization = info.quantization;
  const Shape& shape = current == nullptr ? info.shape : *current;
  bool has_unknown = false;
  for (const int32_t dimension : info.shape_signature) has_unknown |= dimension < 0;
  const bool per_tensor = quantization.scale.size() == 1 && quantization.zero_point.size() == 1;

  py::dict d;
  d["name"] = Text(info.name);
  d["index"] = index;
  d["shape"] = ToArray<int32_t>(shape);
  d["shape_signature"] = ToArray<int32_t>(has_unknown ? info.shape_signature : shape);
  d["dtype"] = DetailDtype(info.type);
  d["quantization"] = py::make_tuple(per_tensor ? quantization.scale[0] : 0.0f, per_tensor ? quantization.zero_point[0] : int64_t{0});
  d["quantization_parameters"] = QuantizationParameters(model, subgraph, quantization);
  d["sparsity_parameters"] = SparsityParameters(info.sparsity);
  return d;
}

size_t OperatorCount(const Model& model) { return model.impl().flat->subgraphs[0].operators.size(); }

py::dict OperatorDetails(const Model& model, size_t index) {
  const FlatModel& flat = *model.impl().flat;
  const SubgraphInfo& subgraph = flat.subgraphs[0];
  if (index >= subgraph.operators.size()) ThrowValueError("Invalid node index");
  const OperatorInfo& op = subgraph.operators[index];
  py::dict d;
  d["index"] = index;
  d["op_name"] = Text(flat.operator_codes[op.code].name());
  d["inputs"] = ToArray<int32_t>(op.inputs);
  d["outputs"] = ToArray<int32_t>(op.outputs);
  d["operand_types"] = Dtypes(subgraph, op.inputs);
  d["result_types"] = Dtypes(subgraph, op.outputs);
  return d;
}

py::dict SignatureNames(const Model& model) {
  py::dict signatures;
  for (const Signature& signature : model.signatures()) {
    py::dict names;
    names["inputs"] = NameList(signature.inputs);
    names["outputs"] = NameList(signature.outputs);
    signatures[Text(signature.key)] = names;
  }
  return signatures;
}

py::dict SignatureIndices(const Model& model) {
  py::dict signatures;
  for (const Signature& signature : model.signatures()) {
    py::dict names;
    names["inputs"] = NameIndices(signature.inputs);
    names["outputs"] = NameIndices(signature.outputs);
    signatures[Text(signature.key)] = names;
  }
  return signatures;
}

py::tuple ShapeTuple(const Shape& shape) {
  py::tuple tuple(shape.size());
  for (size_t d = 0; d < shape.size(); ++d) tuple[d] = shape[d];
  return tuple;
}

py::dict PlanFields(const PlanReport& report) {
  py::list steps, blocks;
  for (const PlannedStep& step : report.steps) {
    steps.append(py::make_tuple(step.index, Text(step.op), Text(step.name), ShapeTuple(step.shape), Text(step.kernel)));
  }
  for (const ArenaBlock& block : report.memory.blocks) {
    blocks.append(py::make_tuple(Text(block.name), block.offset, block.bytes, block.first, block.last));
  }
  py::dict d;
  d["steps"] = steps;
  d["tier"] = Text(report.tier);
  d["threads"] = report.threads;
  d["whole"] = report.whole;
  d["arena"] = report.memory.arena;
  d["inputs_and_outputs"] = report.memory.inputs_and_outputs;
  d["weights"] = report.memory.weights;
  d["packed"] = report.memory.packed;
  d["blocks"] = blocks;
  return d;
}

py::dict ProfileFields(const Profile& profile) {
  py::list operators;
  for (const OperatorProfile& row : profile.operators) {
    py::dict d;
    d["index"] = row.index;
    d["op"] = Text(row.op);
    d["name"] = Text(row.name);
    d["shape"] = ShapeTuple(row.shape);
    d["calls"] = row.calls;
    d["seconds"] = row.seconds;
    d["begin"] = row.begin;
    d["last"] = row.last;
    d["multiply_adds"] = row.multiply_adds;
    d["bytes"] = row.bytes;
    operators.append(d);
  }
  py::dict d;
  d["operators"] = operators;
  d["tier"] = Text(profile.tier);
  d["threads"] = profile.threads;
  d["seconds"] = profile.seconds;
  return d;
}

py::dict ProfileOf(Runner& runner, int count) {
  Profile profile;
  Status status;
  {
    const WithoutGil released;
    status = runner.ProfileRuns(count, profile);
  }
  Check(status);
  return ProfileFields(profile);
}

}  // namespace sigrun::python
