#include "ops/support/flex.h"

#include <bit>
#include <cstring>

namespace sigrun::ops {
namespace {

using ByteSpan = std::span<const uint8_t>;

std::string_view ToText(ByteSpan bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// --- FlexBuffers: scalars are little endian, 1, 2, 4 or 8 bytes wide; an offset counts backwards from where it stands ---

class FlexReader {
 public:
  FlexReader(const Prepare& p, ByteSpan bytes) : p_(p), bytes_(bytes) {}

  // The elements of the root, a vector of strings or blobs.
  std::vector<ByteSpan> RootStrings() const {
    p_.Check(bytes_.size() >= 3, "its custom options are too short");
    const uint64_t width = bytes_.back(), type = bytes_[bytes_.size() - 2];
    CheckWidth(width);
    p_.Check(bytes_.size() >= 2 + width, "its custom options are too short");
    const uint64_t vector = Follow(bytes_.size() - 2 - width, width);
    const uint64_t element_width = uint64_t{1} << (type & 3);
    const bool typed = type >> 2 == kVectorOfStrings;
    p_.Check(typed || type >> 2 == kVector, "its custom options are no vector");
    const uint64_t size = SizeBefore(vector, element_width);
    const uint64_t left = bytes_.size() - vector;
    p_.Check(size <= left / (element_width + (typed ? 0 : 1)), "a vector in its custom options is too long");
    std::vector<ByteSpan> strings;
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t element_type = typed ? (kString << 2 | (type & 3)) : bytes_[vector + size * element_width + i];
      p_.Check(element_type >> 2 == kString || element_type >> 2 == kBlob, "element ", i, " of its custom options is no string");
      const uint64_t at = Follow(vector + i * element_width, element_width);
      const uint64_t length = SizeBefore(at, uint64_t{1} << (element_type & 3));
      p_.Check(length <= bytes_.size() - at, "a string in its custom options is too long");
      strings.push_back(bytes_.subspan(at, length));
    }
    return strings;
  }

 private:
  static constexpr uint64_t kString = 5, kVector = 10, kVectorOfStrings = 15, kBlob = 25;

  void CheckWidth(uint64_t width) const {
    p_.Check(width == 1 || width == 2 || width == 4 || width == 8, "a width of ", width, " in its custom options");
  }

  uint64_t Scalar(uint64_t at, uint64_t width) const {
    p_.Check(at <= bytes_.size() && width <= bytes_.size() - at, "its custom options end early");
    uint64_t value = 0;
    for (uint64_t i = 0; i < width; ++i) value |= uint64_t{bytes_[at + i]} << (8 * i);
    return value;
  }
  uint64_t Follow(uint64_t at, uint64_t width) const {
    const uint64_t offset = Scalar(at, width);
    p_.Check(offset <= at, "an offset in its custom options leads before them");
    return at - offset;
  }
  uint64_t SizeBefore(uint64_t at, uint64_t width) const {
    p_.Check(at >= width, "a vector in its custom options has no size");
    return Scalar(at - width, width);
  }

  const Prepare& p_;
  ByteSpan bytes_;
};

// --- protocol buffers: a sequence of fields, each a number, a wire type and a value ---

struct Field {
  uint64_t number = 0;
  uint64_t value = 0;  // of a varint or a fixed-width number
  ByteSpan bytes;      // of a length-delimited field
};

class ProtoReader {
 public:
  ProtoReader(const Prepare& p, ByteSpan bytes) : p_(p), bytes_(bytes) {}

  // False at the end.
  bool Next(Field* field) {
    if (bytes_.empty()) return false;
    const uint64_t key = Varint();
    *field = {key >> 3, 0, {}};
    switch (key & 7) {
      case 0: field->value = Varint(); break;
      case 1: field->value = Fixed(8); break;
      case 2: {
        const uint64_t length = Varint();
        field->bytes = Take(length);
        break;
      }
      case 5: field->value = Fixed(4); break;
      default: p_.Check(false, "its NodeDef has a field of wire type ", key & 7);
    }
    return true;
  }

 private:
  ByteSpan Take(uint64_t n) {
    p_.Check(n <= bytes_.size(), "its NodeDef ends early");
    const ByteSpan taken = bytes_.first(static_cast<size_t>(n));
    bytes_ = bytes_.subspan(static_cast<size_t>(n));
    return taken;
  }
  uint64_t Fixed(uint64_t n) {
    const ByteSpan taken = Take(n);
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
    p_.Check(false, "its NodeDef has a number that is too long");
    return 0;
  }

  const Prepare& p_;
  ByteSpan bytes_;
};

FlexAttribute ReadAttribute(const Prepare& p, ByteSpan bytes) {
  FlexAttribute attribute;
  ProtoReader reader(p, bytes);
  for (Field field; reader.Next(&field);) {
    switch (field.number) {
      case 2: attribute.bytes = ToText(field.bytes); break;                                      // s
      case 4: attribute.real = std::bit_cast<float>(static_cast<uint32_t>(field.value)); break;  // f
      case 3:                                                                                    // i
      case 5:                                                                                    // b
      case 6: attribute.integer = static_cast<int64_t>(field.value); break;                      // type
      default: break;
    }
  }
  return attribute;
}

// TensorFlow's number of a type; 0 for those it does not have.
int64_t TensorFlowType(TensorType type) {
  switch (type) {
    case TensorType::kFloat32: return 1;
    case TensorType::kFloat64: return 2;
    case TensorType::kInt32: return 3;
    case TensorType::kUInt8: return 4;
    case TensorType::kInt16: return 5;
    case TensorType::kInt8: return 6;
    case TensorType::kString: return 7;
    case TensorType::kComplex64: return 8;
    case TensorType::kInt64: return 9;
    case TensorType::kBool: return 10;
    case TensorType::kBFloat16: return 14;
    case TensorType::kUInt16: return 17;
    case TensorType::kComplex128: return 18;
    case TensorType::kFloat16: return 19;
    case TensorType::kResource: return 20;
    case TensorType::kVariant: return 21;
    case TensorType::kUInt32: return 22;
    case TensorType::kUInt64: return 23;
    default: return 0;
  }
}

}  // namespace

FlexNode::FlexNode(const Prepare& p) {
  const std::vector<ByteSpan> parts = FlexReader(p, p.custom_options()).RootStrings();
  p.Check(parts.size() >= 2, "its custom options hold ", parts.size(), " strings, expected the operator's name and its NodeDef");
  op_ = ToText(parts[0]);
  p.Check(p.op_name().substr(0, 4) == "Flex" && p.op_name().substr(4) == op_, "its custom options are those of ", std::string(op_));
  ProtoReader node(p, parts[1]);
  for (Field field; node.Next(&field);) {
    if (field.number != 5) continue;  // attr, a map
    ProtoReader entry(p, field.bytes);
    std::string_view key;
    FlexAttribute value;
    for (Field part; entry.Next(&part);) {
      if (part.number == 1) key = ToText(part.bytes);
      if (part.number == 2) value = ReadAttribute(p, part.bytes);
    }
    attributes_[key] = value;
  }
}

const FlexAttribute* FlexNode::Find(std::string_view name) const {
  const auto it = attributes_.find(name);
  return it == attributes_.end() ? nullptr : &it->second;
}

int64_t FlexNode::Integer(std::string_view name, int64_t absent) const {
  const FlexAttribute* attribute = Find(name);
  return attribute == nullptr ? absent : attribute->integer;
}

std::string_view FlexNode::Bytes(std::string_view name, std::string_view absent) const {
  const FlexAttribute* attribute = Find(name);
  return attribute == nullptr ? absent : attribute->bytes;
}

void FlexNode::CheckType(const Prepare& p, std::string_view name, TensorType type) const {
  const FlexAttribute* attribute = Find(name);
  p.Check(attribute == nullptr || attribute->integer == TensorFlowType(type), "attribute ", std::string(name), " is TensorFlow's type ",
          attribute == nullptr ? 0 : attribute->integer, ", the tensor is ", TensorTypeName(type));
}

}  // namespace sigrun::ops
