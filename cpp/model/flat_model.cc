#include "model/flat_model.h"

#include <algorithm>
#include <map>
#include <set>

#include "model/error.h"
#include "model/schema.h"

namespace sigrun {
namespace {

using flatbuffer::FailAt;
using flatbuffer::Path;
using flatbuffer::Table;
using flatbuffer::TableVector;

constexpr uint32_t kMaxRank = 32;
constexpr int64_t kMaxElements = int64_t{1} << 40;

std::vector<int32_t> Ints(const flatbuffer::Vector<int32_t>& v) {
  std::vector<int32_t> out(v.size());
  for (uint32_t i = 0; i < v.size(); ++i) out[i] = v[i];
  return out;
}

Shape ReadShape(const Table& tensor, int field, const char* name, int32_t least) {
  const auto dims = tensor.Scalars<int32_t>(field, name);
  if (dims.size() > kMaxRank) FailAt(tensor.path() / name, Concat("rank ", dims.size(), " is above the limit of ", kMaxRank));
  Shape shape = Ints(dims);
  for (int32_t d : shape) {
    if (d < least) FailAt(tensor.path() / name, Concat("dimension ", d, " in ", ToString(shape)));
  }
  return shape;
}

Quantization ReadQuantization(const Table& tensor, const Shape& shape) {
  enum { kScale = 2, kZeroPoint = 3, kDetailsType = 4, kDetails = 5, kDimension = 6 };
  Quantization q;
  const Table t = tensor.Child(4, "quantization");
  if (!t) return q;
  const auto scale = t.Scalars<float>(kScale, "scale");
  const auto zero_point = t.Scalars<int64_t>(kZeroPoint, "zero_point");
  for (uint32_t i = 0; i < scale.size(); ++i) q.scale.push_back(scale[i]);
  for (uint32_t i = 0; i < zero_point.size(); ++i) q.zero_point.push_back(zero_point[i]);
  if (q.zero_point.empty()) q.zero_point.assign(q.scale.size(), 0);
  if (q.zero_point.size() == 1 && q.scale.size() > 1) q.zero_point.assign(q.scale.size(), q.zero_point[0]);
  if (!q.scale.empty() && q.zero_point.size() != q.scale.size()) {
    FailAt(t.path() / "zero_point", Concat(q.zero_point.size(), " zero points for ", q.scale.size(), " scales"));
  }
  q.dimension = t.Scalar<int32_t>(kDimension);
  // Old converters gave a depthwise convolution's bias the dimension of its filter; a vector has but one.
  if (shape.size() == 1) q.dimension = 0;
  if (q.scale.size() > 1) {
    const bool in_rank = q.dimension >= 0 && q.dimension < static_cast<int32_t>(shape.size());
    if (!in_rank || shape[static_cast<size_t>(q.dimension)] != static_cast<int32_t>(q.scale.size())) {
      FailAt(t.path() / "quantized_dimension", Concat(q.scale.size(), " scales along dimension ", q.dimension, " of ", ToString(shape)));
    }
  }
  constexpr uint8_t kBlockwise = 2;
  if (t.Scalar<uint8_t>(kDetailsType) == kBlockwise) {
    const Table details = t.Child(kDetails, "details");
    q.scales_tensor = details.Scalar<int32_t>(0, -1);
    q.zero_points_tensor = details.Scalar<int32_t>(1, -1);
    q.block_size = details.Scalar<int32_t>(2);
  }
  return q;
}

TensorInfo ReadTensor(const Table& t, size_t buffer_count) {
  enum { kShape = 0, kType = 1, kBuffer = 2, kName = 3, kIsVariable = 5, kSparsity = 6, kShapeSignature = 7, kHasRank = 8 };
  TensorInfo tensor;
  tensor.name = t.String(kName, "name");
  const int8_t type = t.Scalar<int8_t>(kType);
  if (type < 0 || type >= kTensorTypeCount) FailAt(t.path() / "type", Concat("unknown type ", int{type}));
  tensor.type = static_cast<TensorType>(type);
  tensor.shape = ReadShape(t, kShape, "shape", 0);
  tensor.shape_signature = ReadShape(t, kShapeSignature, "shape_signature", -1);
  if (tensor.shape_signature.empty()) tensor.shape_signature = tensor.shape;
  tensor.has_rank = t.Bool(kHasRank) || !tensor.shape.empty();
  tensor.is_variable = t.Bool(kIsVariable);
  tensor.buffer = t.Scalar<uint32_t>(kBuffer);
  if (tensor.buffer >= buffer_count) FailAt(t.path() / "buffer", Concat("buffer ", tensor.buffer, " of ", buffer_count));
  tensor.sparsity = t.Child(kSparsity, "sparsity");
  tensor.quantization = ReadQuantization(t, tensor.shape);
  return tensor;
}

void CheckIndices(const std::vector<int32_t>& indices, size_t count, int32_t least, const Path& path) {
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < least || indices[i] >= static_cast<int64_t>(count)) {
      FailAt(path, Concat("entry ", i, " is tensor ", indices[i], ", the subgraph has ", count));
    }
  }
}

OperatorInfo ReadOperator(const Table& t, const FlatModel& model, size_t tensor_count) {
  enum {
    kCode = 0,
    kInputs = 1,
    kOutputs = 2,
    kOptions = 4,
    kCustomOptions = 5,
    kIntermediates = 8,
    kLargeOffset = 9,
    kLargeSize = 10,
    kOptions2 = 12
  };
  OperatorInfo op;
  op.code = t.Scalar<uint32_t>(kCode);
  if (op.code >= model.operator_codes.size()) {
    FailAt(t.path() / "opcode_index", Concat("operator code ", op.code, " of ", model.operator_codes.size()));
  }
  op.inputs = Ints(t.Scalars<int32_t>(kInputs, "inputs"));
  op.outputs = Ints(t.Scalars<int32_t>(kOutputs, "outputs"));
  op.intermediates = Ints(t.Scalars<int32_t>(kIntermediates, "intermediates"));
  CheckIndices(op.inputs, tensor_count, -1, t.path() / "inputs");
  CheckIndices(op.outputs, tensor_count, -1, t.path() / "outputs");
  CheckIndices(op.intermediates, tensor_count, -1, t.path() / "intermediates");
  op.options = t.Child(kOptions, "builtin_options");
  op.options_2 = t.Child(kOptions2, "builtin_options_2");
  const auto custom = t.Scalars<uint8_t>(kCustomOptions, "custom_options");
  op.custom_options = {custom.data(), custom.size()};
  const uint64_t offset = t.Scalar<uint64_t>(kLargeOffset), size = t.Scalar<uint64_t>(kLargeSize);
  if (offset > 1) {
    const size_t file = model.source.bytes.size();
    if (size > file || offset > file - size) FailAt(t.path() / "large_custom_options_offset", "the options lie outside the file");
    op.custom_options = model.source.bytes.subspan(offset, size);
  }
  return op;
}

// A constant must hold as many bytes as its shape says; sparse, string and blockwise tensors have rules of their own.
void CheckConstant(const FlatModel& model, const TensorInfo& tensor, const Path& path) {
  const auto bytes = model.buffers[tensor.buffer];
  const int64_t elements = ElementCount(tensor.shape, [&] { return path.text(); });
  if (bytes.empty() || tensor.sparsity || TensorTypeBits(tensor.type) == 0) return;
  if (bytes.size() < BytesOf(tensor.type, elements)) {
    FailAt(path / "buffer", Concat("buffer ", tensor.buffer, " has ", bytes.size(), " bytes, ", TensorTypeName(tensor.type),
                                   ToString(tensor.shape), " needs ", BytesOf(tensor.type, elements)));
  }
}

SubgraphInfo ReadSubgraph(const Table& t, const FlatModel& model) {
  SubgraphInfo graph;
  graph.name = t.String(4, "name");
  const TableVector tensors = t.Children(0, "tensors");
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const Table tensor = tensors[i];
    graph.tensors.push_back(ReadTensor(tensor, model.buffers.size()));
    CheckConstant(model, graph.tensors.back(), tensor.path());
  }
  graph.inputs = Ints(t.Scalars<int32_t>(1, "inputs"));
  graph.outputs = Ints(t.Scalars<int32_t>(2, "outputs"));
  CheckIndices(graph.inputs, graph.tensors.size(), 0, t.path() / "inputs");
  CheckIndices(graph.outputs, graph.tensors.size(), 0, t.path() / "outputs");
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const Quantization& q = graph.tensors[i].quantization;
    const Path path = (t.path() / "tensors")[i] / "quantization" / "details";
    CheckIndices({q.scales_tensor, q.zero_points_tensor}, graph.tensors.size(), -1, path);
  }
  const TableVector operators = t.Children(3, "operators");
  for (uint32_t i = 0; i < operators.size(); ++i) graph.operators.push_back(ReadOperator(operators[i], model, graph.tensors.size()));
  return graph;
}

// Keys and names are what callers ask for, in C as well: none may hold a zero.
std::string ReadKey(const Table& t, int field, const char* name) {
  const std::string_view key = t.String(field, name);
  if (key.find('\0') != std::string_view::npos) FailAt(t.path() / name, "a zero byte inside the name");
  return std::string(key);
}

std::vector<std::pair<std::string, int32_t>> ReadTensorMap(const Table& signature, int field, const char* name, const SubgraphInfo& graph) {
  std::vector<std::pair<std::string, int32_t>> map;
  const TableVector entries = signature.Children(field, name);
  for (uint32_t i = 0; i < entries.size(); ++i) {
    const Table entry = entries[i];
    const uint32_t tensor = entry.Scalar<uint32_t>(1);
    if (tensor >= graph.tensors.size()) {
      FailAt(entry.path() / "tensor_index", Concat("tensor ", tensor, ", the subgraph has ", graph.tensors.size()));
    }
    map.emplace_back(ReadKey(entry, 0, "name"), static_cast<int32_t>(tensor));
  }
  std::sort(map.begin(), map.end());
  for (size_t i = 1; i < map.size(); ++i) {
    if (map[i].first == map[i - 1].first) FailAt(signature.path() / name, "the name '" + map[i].first + "' stands twice");
  }
  return map;
}

SignatureInfo ReadSignature(const Table& t, const FlatModel& model) {
  SignatureInfo signature;
  signature.key = ReadKey(t, 2, "signature_key");
  signature.subgraph = t.Scalar<uint32_t>(4);
  if (signature.subgraph >= model.subgraphs.size()) {
    FailAt(t.path() / "subgraph_index", Concat("subgraph ", signature.subgraph, " of ", model.subgraphs.size()));
  }
  const SubgraphInfo& graph = model.subgraphs[signature.subgraph];
  signature.inputs = ReadTensorMap(t, 0, "inputs", graph);
  signature.outputs = ReadTensorMap(t, 1, "outputs", graph);
  const std::set<int32_t> graph_inputs(graph.inputs.begin(), graph.inputs.end());
  for (const auto& [name, tensor] : signature.inputs) {
    if (graph_inputs.count(tensor) == 0) {
      FailAt(t.path() / "inputs", Concat("'", name, "' is tensor ", tensor, ", which is no input of its subgraph"));
    }
  }
  return signature;
}

void ReadBuffers(const Table& root, FlatModel& model) {
  enum { kData = 0, kOffset = 1, kSize = 2 };
  const TableVector buffers = root.Children(4, "buffers");
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    const Table buffer = buffers[i];
    const auto data = buffer.Scalars<uint8_t>(kData, "data");
    std::span<const uint8_t> bytes(data.data(), data.size());
    const uint64_t offset = buffer.Scalar<uint64_t>(kOffset), size = buffer.Scalar<uint64_t>(kSize);
    if (offset > 1) {  // 0 and 1 mean that the data stands inside the FlatBuffer
      const size_t file = model.source.bytes.size();
      if (size > file || offset > file - size) {
        FailAt(buffer.path() / "offset", Concat("bytes ", offset, " to ", offset + size, " lie outside the file of ", file, " bytes"));
      }
      bytes = model.source.bytes.subspan(offset, size);
    }
    model.buffers.push_back(bytes);
  }
  if (model.buffers.empty()) model.buffers.emplace_back();
}

void ReadOperatorCodes(const Table& root, FlatModel& model) {
  const TableVector codes = root.Children(1, "operator_codes");
  for (uint32_t i = 0; i < codes.size(); ++i) {
    const Table t = codes[i];
    OperatorCode code;
    // Old files have only the byte, new ones both; the schema says that the larger counts.
    code.builtin = std::max<int32_t>(t.Scalar<int8_t>(0), t.Scalar<int32_t>(3));
    if (code.builtin < 0) FailAt(t.path() / "builtin_code", Concat("negative code ", code.builtin));
    code.custom = t.String(1, "custom_code");
    code.version = t.Scalar<int32_t>(2, 1);
    model.operator_codes.push_back(code);
  }
}

// `taken` holds, by name, the number to try next: a model of nameless or equally named tensors stays linear.
std::string UniqueName(const std::string& base, std::map<std::string, int>& taken) {
  std::string name = base;
  for (int& next = taken[base]; next++ > 0;) {
    name = base + "_" + std::to_string(next - 1);
    if (taken.emplace(name, 1).second) break;
  }
  return name;
}

}  // namespace

std::string OperatorCode::name() const {
  if (builtin == schema::kCustomOperator) return std::string(custom);
  const char* known = schema::BuiltinName(builtin);
  return known != nullptr ? known : "BUILTIN_" + std::to_string(builtin);
}

std::unique_ptr<const FlatModel> ParseModel(std::span<const uint8_t> bytes) {
  auto model = std::make_unique<FlatModel>();
  model->source = {bytes, uint64_t{64} * bytes.size() + (1u << 20)};
  const Table root = Table::Root(model->source);
  if (std::string_view(reinterpret_cast<const char*>(bytes.data()) + 4, 4) != "TFL3") {
    FailAt("model.file_identifier", "the bytes 4 to 7 are not \"TFL3\": this is no .tflite file");
  }
  model->version = root.Scalar<uint32_t>(0);
  if (model->version != 3) FailAt("model.version", Concat("schema version ", model->version, ", only 3 is known"));
  model->description = root.String(3, "description");
  ReadBuffers(root, *model);
  ReadOperatorCodes(root, *model);
  const TableVector subgraphs = root.Children(2, "subgraphs");
  if (subgraphs.size() == 0) FailAt("subgraphs", "the model has none");
  for (uint32_t i = 0; i < subgraphs.size(); ++i) model->subgraphs.push_back(ReadSubgraph(subgraphs[i], *model));
  const TableVector metadata = root.Children(6, "metadata");
  for (uint32_t i = 0; i < metadata.size(); ++i) {
    const Table entry = metadata[i];
    const uint32_t buffer = entry.Scalar<uint32_t>(1);
    if (buffer >= model->buffers.size()) FailAt(entry.path() / "buffer", Concat("buffer ", buffer, " of ", model->buffers.size()));
    model->metadata.emplace_back(entry.String(0, "name"), buffer);
  }
  const TableVector signatures = root.Children(7, "signature_defs");
  std::set<std::string> keys;
  for (uint32_t i = 0; i < signatures.size(); ++i) {
    model->signatures.push_back(ReadSignature(signatures[i], *model));
    if (!keys.insert(model->signatures.back().key).second) {
      FailAt(signatures[i].path() / "signature_key", "the key '" + model->signatures.back().key + "' stands twice");
    }
  }
  // Options are read again at every plan; by now every table has been visited once, so the budget has done its work.
  model->source.budget = flatbuffer::kUnlimited;
  return model;
}

SignatureInfo DefaultSignature(const FlatModel& model) {
  const SubgraphInfo& graph = model.subgraphs[0];
  SignatureInfo signature;
  signature.key = "serving_default";
  // One long name that a hostile file lists many times is not copied as often.
  size_t budget = 64 * model.source.bytes.size();
  const auto name_all = [&](const std::vector<int32_t>& tensors, const char* prefix) {
    std::vector<std::pair<std::string, int32_t>> map;
    std::map<std::string, int> taken;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const std::string_view name = graph.tensors[static_cast<size_t>(tensors[i])].name;
      const bool nameless = name.empty() || name.size() > budget;
      if (!nameless) budget -= name.size();
      map.emplace_back(UniqueName(nameless ? prefix + std::to_string(i) : std::string(name), taken), tensors[i]);
    }
    return map;
  };
  signature.inputs = name_all(graph.inputs, "input");
  signature.outputs = name_all(graph.outputs, "output");
  return signature;
}

std::optional<int64_t> CountElements(const Shape& shape) {
  int64_t count = 1;
  bool empty = false;
  for (int32_t d : shape) {
    if (d < 0) return std::nullopt;
    empty = empty || d == 0;
    if (d == 0) continue;  // the others are still counted: strides are products of some of them
    if (count > kMaxElements / d) return std::nullopt;
    count *= d;
  }
  return empty ? 0 : count;
}

int64_t ElementCount(const Shape& shape, const std::string& what) {
  if (const auto count = CountElements(shape)) return *count;
  const bool negative = std::any_of(shape.begin(), shape.end(), [](int32_t d) { return d < 0; });
  Fail(StatusCode::kInvalidArgument, what, negative ? ": negative dimension in " : ": ", ToString(shape),
       negative ? "" : " has more than 2^40 elements");
}

int64_t TensorElementCount(const Shape& shape, std::string_view name) {
  return ElementCount(shape, [&] { return Concat("tensor '", name, "'"); });
}

size_t BytesOf(TensorType type, int64_t elements) {
  return (static_cast<size_t>(elements) * static_cast<size_t>(TensorTypeBits(type)) + 7) / 8;
}

}  // namespace sigrun
