#include "ops/support/flex.h"

#include <bit>

#include "ops/support/flexbuffer.h"
#include "ops/support/proto.h"

namespace sigrun::ops {
namespace {

constexpr char kNodeDef[] = "its NodeDef";

// Integers one by one, or packed.
std::vector<int64_t> ReadList(std::span<const uint8_t> bytes) {
  std::vector<int64_t> integers;
  ProtoReader reader(bytes, kNodeDef);
  for (ProtoField field; reader.Next(&field);) {
    if (field.number != 3) continue;
    if (field.bytes.data() == nullptr) integers.push_back(static_cast<int64_t>(field.value));
    for (ProtoReader packed(field.bytes, kNodeDef); !packed.AtEnd();) integers.push_back(static_cast<int64_t>(packed.Varint()));
  }
  return integers;
}

FlexAttribute ReadAttribute(std::span<const uint8_t> bytes) {
  FlexAttribute attribute;
  ProtoReader reader(bytes, kNodeDef);
  for (ProtoField field; reader.Next(&field);) {
    switch (field.number) {
      case 1: attribute.integers = ReadList(field.bytes); break;                                 // list
      case 2: attribute.bytes = field.text(); break;                                             // s
      case 4: attribute.real = std::bit_cast<float>(static_cast<uint32_t>(field.value)); break;  // f
      case 3:                                                                                    // i
      case 5:                                                                                    // b
      case 6: attribute.integer = static_cast<int64_t>(field.value); break;                      // type
      default: break;
    }
  }
  return attribute;
}

std::map<std::string_view, FlexAttribute> ReadAttributes(std::span<const uint8_t> node_def) {
  std::map<std::string_view, FlexAttribute> attributes;
  ProtoReader node(node_def, kNodeDef);
  for (ProtoField field; node.Next(&field);) {
    if (field.number != 5) continue;  // attr, a map
    ProtoReader entry(field.bytes, kNodeDef);
    std::string_view key;
    FlexAttribute value;
    for (ProtoField part; entry.Next(&part);) {
      if (part.number == 1) key = part.text();
      if (part.number == 2) value = ReadAttribute(part.bytes);
    }
    attributes[key] = value;
  }
  return attributes;
}

}  // namespace

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

FlexNode::FlexNode(const Prepare& p) {
  const std::vector<FlexValue> parts = FlexValue(p, p.custom_options()).Elements();
  p.Check(parts.size() >= 2, "its custom options hold ", parts.size(), " strings, expected the operator's name and its NodeDef");
  op_ = parts[0].Text();
  p.Check(p.op_name().substr(0, 4) == "Flex" && p.op_name().substr(4) == op_, "its custom options are those of ", std::string(op_));
  const Status status = Guard([&] { attributes_ = ReadAttributes(parts[1].Bytes()); });
  if (!status.ok()) p.Refuse(status.code(), status.message());
}

const FlexAttribute* FlexNode::Find(std::string_view name) const {
  const auto it = attributes_.find(name);
  return it == attributes_.end() ? nullptr : &it->second;
}

int64_t FlexNode::Integer(std::string_view name, int64_t absent) const {
  const FlexAttribute* attribute = Find(name);
  return attribute == nullptr ? absent : attribute->integer;
}

float FlexNode::Real(std::string_view name, float absent) const {
  const FlexAttribute* attribute = Find(name);
  return attribute == nullptr ? absent : attribute->real;
}

std::vector<int64_t> FlexNode::Integers(std::string_view name) const {
  const FlexAttribute* attribute = Find(name);
  return attribute == nullptr ? std::vector<int64_t>() : attribute->integers;
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
