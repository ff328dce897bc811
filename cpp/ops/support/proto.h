#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "model/error.h"

// Protocol buffers: a sequence of fields, each a number, a wire type and a value.
namespace sigrun::ops {

struct ProtoField {
  uint64_t number = 0;
  uint64_t value = 0;              // of a varint or a fixed-width number
  std::span<const uint8_t> bytes;  // of a length-delimited field

  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

/// Reads fields one by one. Every length is checked before it is followed; faults throw Error, naming `what`.
class ProtoReader {
 public:
  ProtoReader(std::span<const uint8_t> bytes, const char* what) : bytes_(bytes), what_(what) {}

  bool AtEnd() const { return bytes_.empty(); }

  /// False at the end.
  bool Next(ProtoField* field) {
    if (bytes_.empty()) return false;
    const uint64_t key = Varint();
    *field = {key >> 3, 0, {}};
    switch (key & 7) {
      case 0: field->value = Varint(); break;
      case 1: field->value = Fixed(8); break;
      case 2: field->bytes = Take(Varint()); break;
      case 5: field->value = Fixed(4); break;
      default: Fail(StatusCode::kInvalidArgument, what_, " has a field of wire type ", key & 7);
    }
    return true;
  }

  std::span<const uint8_t> Take(uint64_t n) {
    if (n > bytes_.size()) Fail(StatusCode::kInvalidArgument, what_, " ends early");
    const auto taken = bytes_.first(static_cast<size_t>(n));
    bytes_ = bytes_.subspan(static_cast<size_t>(n));
    return taken;
  }
  uint64_t Fixed(uint64_t n) {
    const auto taken = Take(n);
    uint64_t value = 0;
    for (size_t i = 0; i < taken.size(); ++i) value |= uint64_t{taken[i]} << (8 * i);
    return value;
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Take(1)[0];
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    Fail(StatusCode::kInvalidArgument, what_, " has a number that is too long");
  }

 private:
  std::span<const uint8_t> bytes_;
  const char* what_;
};

/// Writes fields one by one.
class ProtoWriter {
 public:
  static void AppendVarint(std::string& to, uint64_t value) {
    for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
    to.push_back(static_cast<char>(value));
  }
  static void AppendFixed(std::string& to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to.push_back(static_cast<char>(value >> (8 * i)));
  }

  /// A number; 0 is what an absent field stands for.
  ProtoWriter& Number(uint64_t field, uint64_t value) {
    if (value == 0) return *this;
    AppendVarint(text_, field << 3);
    AppendVarint(text_, value);
    return *this;
  }
  ProtoWriter& Bytes(uint64_t field, std::string_view bytes) {
    AppendVarint(text_, field << 3 | 2);
    AppendVarint(text_, bytes.size());
    text_ += bytes;
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace sigrun::ops
