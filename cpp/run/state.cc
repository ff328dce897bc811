#include "run/state.h"

#include <cstring>

#include "model/error.h"

namespace sigrun {

std::byte* State::Variable(uint32_t subgraph, int32_t value, size_t bytes, std::byte fill) {
  const std::lock_guard lock(mutex_);
  VariableTensor& variable = variables_[{subgraph, value}];
  if (variable.bytes.data() == nullptr || variable.bytes.size() != bytes) {
    variable = {AlignedBytes(bytes), fill};
    variable.Reset();
  }
  return variable.bytes.data();
}

void State::VariableTensor::Reset() const { std::memset(bytes.data(), static_cast<int>(fill), bytes.size()); }

void State::ResetVariables() {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, variable] : variables_) variable.Reset();
}

void State::ResetVariables(uint32_t subgraph) {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, variable] : variables_) {
    if (key.first == subgraph) variable.Reset();
  }
}

}  // namespace sigrun
