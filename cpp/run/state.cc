#include "run/state.h"

#include <cstring>

#include "model/error.h"

namespace sigrun {

void Variable::Assign(TensorType new_type, const Shape& new_shape, const std::byte* data) {
  const int64_t elements = ElementCount(new_shape, "the value of a variable");
  if (new_type == TensorType::kString) {
    strings = *reinterpret_cast<const Strings*>(data);
  } else {
    const size_t size = BytesOf(new_type, elements);
    if (bytes.data() == nullptr || bytes.size() < size) bytes = AlignedBytes(size);
    if (size > 0) std::memcpy(bytes.data(), data, size);
  }
  type = new_type;
  if (shape != new_shape) shape = new_shape;
  assigned = true;
}

template <class Key>
int32_t State::HandleOf(std::map<Key, int32_t>& handles, Key key, Resource made) {
  const std::lock_guard lock(mutex_);
  const auto [entry, is_new] = handles.try_emplace(std::move(key), static_cast<int32_t>(resources_.size()));
  if (is_new) resources_.push_back(std::move(made));
  return entry->second;
}

int32_t State::VariableHandle(std::string_view container, std::string_view name) {
  return HandleOf(variable_handles_, {std::string(container), std::string(name)}, Resource{std::make_unique<Variable>(), nullptr});
}

int32_t State::TableHandle(int32_t table_id) {
  return HandleOf(table_handles_, table_id, Resource{nullptr, std::make_unique<HashTable>()});
}

Variable* State::variable(int32_t handle) {
  return handle >= 0 && static_cast<size_t>(handle) < resources_.size() ? resources_[static_cast<size_t>(handle)].variable.get() : nullptr;
}

HashTable* State::table(int32_t handle) {
  return handle >= 0 && static_cast<size_t>(handle) < resources_.size() ? resources_[static_cast<size_t>(handle)].table.get() : nullptr;
}

std::byte* State::VariableTensor(uint32_t subgraph, int32_t value, size_t bytes, std::byte fill) {
  const std::lock_guard lock(mutex_);
  Filled& tensor = variable_tensors_[{subgraph, value}];
  if (tensor.bytes.data() == nullptr || tensor.bytes.size() != bytes) {
    tensor = {AlignedBytes(bytes), fill};
    tensor.Reset();
  }
  return tensor.bytes.data();
}

void State::Filled::Reset() const { std::memset(bytes.data(), static_cast<int>(fill), bytes.size()); }

void State::ResetVariables() {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, tensor] : variable_tensors_) tensor.Reset();
}

void State::ResetVariables(uint32_t subgraph) {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, tensor] : variable_tensors_) {
    if (key.first == subgraph) tensor.Reset();
  }
}

std::byte FillOf(TensorType type, const Quantization& quantization) {
  const bool quantized = type == TensorType::kInt8 && quantization.zero_point.size() == 1;
  return static_cast<std::byte>(quantized ? quantization.zero_point[0] : 0);
}

std::vector<DeclaredVariable> DeclaredVariables(const FlatModel& model) {
  std::vector<DeclaredVariable> all;
  std::set<std::pair<std::string_view, std::string_view>> known;
  std::set<std::string> names;
  const auto unique = [&](std::string name, const std::string& otherwise) {
    if (names.insert(name).second) return name;
    name += otherwise;
    names.insert(name);
    return name;
  };
  const auto each = [&](const auto& f) {
    for (uint32_t s = 0; s < model.subgraphs.size(); ++s) f(s, model.subgraphs[s]);
  };
  each([&](uint32_t, const SubgraphInfo& subgraph) {
    for (const OperatorInfo& op : subgraph.operators) {
      if (model.operator_codes[op.code].name() != "VAR_HANDLE") continue;
      const std::string_view container = op.options.String(0, "container"), name = op.options.String(1, "shared_name");
      if (known.insert({container, name}).second)
        all.push_back({unique(std::string(name), Concat("@", container)), std::string(container), std::string(name)});
    }
  });
  each([&](uint32_t s, const SubgraphInfo& subgraph) {
    for (size_t t = 0; t < subgraph.tensors.size(); ++t) {
      if (!subgraph.tensors[t].is_variable) continue;
      all.push_back({unique(std::string(subgraph.tensors[t].name), Concat("@", s, ":", t)), "", "", s, static_cast<int32_t>(t)});
    }
  });
  return all;
}

std::vector<uint32_t> InitializationSubgraphs(const FlatModel& model) {
  std::set<uint32_t> found;
  for (const SubgraphInfo& subgraph : model.subgraphs) {
    for (const OperatorInfo& op : subgraph.operators) {
      if (model.operator_codes[op.code].name() == "CALL_ONCE") found.insert(static_cast<uint32_t>(op.options.Scalar<int32_t>(0)));
    }
  }
  return {found.begin(), found.end()};
}

}  // namespace sigrun
