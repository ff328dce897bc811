#include "ops/support/flex.h"

#include <bit>

#include "ops/support/flexbuffer.h"

namespace sigrun::ops {
namespace {

using ByteSpan = std::span<const uint8_t>;

std::string_view ToText(ByteSpan bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

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
  const std::vector<FlexValue> parts = FlexValue(p, p.custom_options()).Elements();
  p.Check(parts.size() >= 2, "its custom options hold ", parts.size(), " strings, expected the operator's name and its NodeDef");
  op_ = parts[0].Text();
  p.Check(p.op_name().substr(0, 4) == "Flex" && p.op_name().substr(4) == op_, "its custom options are those of ", std::string(op_));
  ProtoReader node(p, parts[1].Bytes());
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
