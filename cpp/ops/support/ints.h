#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace sigrun::ops {

/// A vector of int64 in an operator's options.
inline std::vector<int64_t> OptionInts(const flatbuffer::Table& options, int field, const char* name) {
  const flatbuffer::Vector<int64_t> stored = options.Scalars<int64_t>(field, name);
  std::vector<int64_t> values;
  values.reserve(stored.size());
  for (uint32_t i = 0; i < stored.size(); ++i) values.push_back(stored[i]);
  return values;
}

/// The same, which must have `count` entries; all `absent` where the file leaves it out.
inline std::vector<int64_t> OptionInts(const Prepare& p, const flatbuffer::Table& options, int field, const char* name, size_t count,
                                       int64_t absent) {
  std::vector<int64_t> values = OptionInts(options, field, name);
  if (values.empty()) values.assign(count, absent);
  p.Check(values.size() == count, name, " has ", values.size(), " entries, expected ", count);
  return values;
}

/// Throws unless every value lies in [low, high].
inline void CheckRange(const Prepare& p, const std::vector<int64_t>& values, int64_t low, int64_t high, const char* name) {
  for (const int64_t v : values) p.Check(v >= low && v <= high, name, " of ", v);
}

}  // namespace sigrun::ops
