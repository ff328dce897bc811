#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "ops/op.h"

// FlexBuffers, as custom operators keep their options: scalars are little endian, 1, 2, 4 or 8 bytes wide; an offset counts backwards from
// where it stands. Every offset and length is checked before it is followed; faults throw, naming the operator.
namespace sigrun::ops {

/// A value that stands somewhere in the bytes.
class FlexValue {
 public:
  FlexValue() = default;
  /// The root of `bytes`, which the value refers to; null if there are none.
  FlexValue(const Prepare& p, std::span<const uint8_t> bytes);

  bool is_null() const { return type_ == 0; }
  /// A number or bool as an integer: reals are cut off.
  int64_t Integer() const;
  double Real() const;
  /// A string, key or blob.
  std::span<const uint8_t> Bytes() const;
  std::string_view Text() const;
  /// The elements of a vector, typed or not, or the values of a map.
  std::vector<FlexValue> Elements() const;
  /// The entries of a map.
  std::map<std::string_view, FlexValue> Entries() const;

 private:
  FlexValue(const Prepare* p, std::span<const uint8_t> bytes, uint64_t at, uint64_t width, uint8_t packed_type);
  uint64_t Scalar(uint64_t at, uint64_t width) const;
  uint64_t Follow() const;
  uint64_t SizeBefore(uint64_t at, uint64_t width) const;
  [[noreturn]] void Fault(const char* what) const;

  const Prepare* p_ = nullptr;
  std::span<const uint8_t> bytes_;
  uint64_t at_ = 0;     // where it, or the offset to it, stands
  uint64_t width_ = 0;  // of that
  uint8_t type_ = 0, child_width_ = 1;
};

/// A map of options with names.
class FlexMap {
 public:
  /// The map that is the root of `bytes`; empty if there are no bytes.
  FlexMap(const Prepare& p, std::span<const uint8_t> bytes);

  bool Has(std::string_view name) const;
  int64_t Integer(std::string_view name, int64_t absent) const;
  /// The same as an int32; throws if it is none.
  int32_t Int32(std::string_view name, int32_t absent) const;
  double Real(std::string_view name, double absent) const;
  bool Bool(std::string_view name, bool absent) const { return Integer(name, absent) != 0; }
  std::vector<int64_t> Integers(std::string_view name) const;

 private:
  const FlexValue* Find(std::string_view name) const;

  const Prepare& p_;
  std::map<std::string_view, FlexValue> entries_;
};

}  // namespace sigrun::ops
