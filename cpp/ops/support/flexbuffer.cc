#include "ops/support/flexbuffer.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sigrun::ops {
namespace {

enum Type : uint8_t {
  kNull,
  kInt,
  kUInt,
  kFloat,
  kKey,
  kString,
  kIndirectInt,
  kIndirectUInt,
  kIndirectFloat,
  kMap,
  kVector,
  kVectorInt,
  kVectorUInt,
  kVectorFloat,
  kVectorKey,
  kVectorString,
  kVectorInt2,
  kVectorFloat4 = 24,
  kBlob,
  kBool,
  kVectorBool = 36
};

double RealFromBits(uint64_t bits, uint64_t width) {
  switch (width) {
    case 8: return std::bit_cast<double>(bits);
    case 4: return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    default: return 0;
  }
}

int64_t Extend(uint64_t bits, uint64_t width) {
  const int shift = static_cast<int>(64 - 8 * width);
  return static_cast<int64_t>(bits << shift) >> shift;
}

int64_t Truncate(double x) { return std::isnan(x) ? 0 : x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : static_cast<int64_t>(x); }

}  // namespace

void FlexValue::Fault(const char* what) const { p_->Refuse(StatusCode::kInvalidArgument, Concat("its custom options: ", what)); }

FlexValue::FlexValue(const Prepare& p, std::span<const uint8_t> bytes) : p_(&p), bytes_(bytes) {
  if (bytes.empty()) return;
  if (bytes.size() < 3) Fault("too short");
  const uint8_t width = bytes.back();
  if (!std::has_single_bit(width) || width > 8 || bytes.size() < size_t{2} + width) Fault("no FlexBuffer");
  *this = FlexValue(&p, bytes, bytes.size() - 2 - width, width, bytes[bytes.size() - 2]);
}

FlexValue::FlexValue(const Prepare* p, std::span<const uint8_t> bytes, uint64_t at, uint64_t width, uint8_t packed_type)
    : p_(p), bytes_(bytes), at_(at), width_(width), type_(packed_type >> 2), child_width_(static_cast<uint8_t>(1 << (packed_type & 3))) {}

uint64_t FlexValue::Scalar(uint64_t at, uint64_t width) const {
  if (at > bytes_.size() || width > bytes_.size() - at) Fault("they end early");
  uint64_t value = 0;
  for (uint64_t i = 0; i < width; ++i) value |= uint64_t{bytes_[at + i]} << (8 * i);
  return value;
}

uint64_t FlexValue::Follow() const {
  const uint64_t offset = Scalar(at_, width_);
  if (offset > at_) Fault("an offset leads before them");
  return at_ - offset;
}

uint64_t FlexValue::SizeBefore(uint64_t at, uint64_t width) const {
  if (at < width) Fault("a vector has no size");
  return Scalar(at - width, width);
}

int64_t FlexValue::Integer() const {
  switch (type_) {
    case kNull: return 0;
    case kInt: return Extend(Scalar(at_, width_), width_);
    case kUInt:
    case kBool: return static_cast<int64_t>(Scalar(at_, width_));
    case kFloat:
    case kIndirectFloat: return Truncate(Real());
    case kIndirectInt: return Extend(Scalar(Follow(), child_width_), child_width_);
    case kIndirectUInt: return static_cast<int64_t>(Scalar(Follow(), child_width_));
    default: Fault("a value is no number");
  }
}

double FlexValue::Real() const {
  switch (type_) {
    case kFloat: return RealFromBits(Scalar(at_, width_), width_);
    case kIndirectFloat: return RealFromBits(Scalar(Follow(), child_width_), child_width_);
    default: return static_cast<double>(Integer());
  }
}

std::span<const uint8_t> FlexValue::Bytes() const {
  const uint64_t at = Follow();
  if (type_ == kKey) {
    const auto end = std::find(bytes_.begin() + static_cast<ptrdiff_t>(at), bytes_.end(), 0);
    if (end == bytes_.end()) Fault("a key has no end");
    return bytes_.subspan(at, static_cast<size_t>(end - bytes_.begin()) - at);
  }
  if (type_ != kString && type_ != kBlob) Fault("a value is no string");
  const uint64_t length = SizeBefore(at, child_width_);
  if (length > bytes_.size() - at) Fault("a string is too long");
  return bytes_.subspan(at, length);
}

std::string_view FlexValue::Text() const {
  const std::span<const uint8_t> bytes = Bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<FlexValue> FlexValue::Elements() const {
  const bool untyped = type_ == kVector || type_ == kMap;
  const bool fixed = type_ >= kVectorInt2 && type_ <= kVectorFloat4;
  uint8_t element = 0;  // of a typed vector
  if (type_ >= kVectorInt && type_ <= kVectorString) element = static_cast<uint8_t>(type_ - kVectorInt + kInt);
  if (fixed) element = static_cast<uint8_t>((type_ - kVectorInt2) % 3 + kInt);
  if (type_ == kVectorBool) element = kBool;
  if (!untyped && element == 0) Fault("a value is no vector");
  const uint64_t vector = Follow(), width = child_width_;
  const uint64_t size = fixed ? static_cast<uint64_t>((type_ - kVectorInt2) / 3 + 2) : SizeBefore(vector, width);
  if (size > (bytes_.size() - vector) / (width + (untyped ? 1 : 0))) Fault("a vector is too long");
  std::vector<FlexValue> elements;
  for (uint64_t i = 0; i < size; ++i) {
    const uint8_t packed = untyped ? bytes_[vector + size * width + i] : static_cast<uint8_t>(element << 2);
    elements.push_back(FlexValue(p_, bytes_, vector + i * width, width, packed));
  }
  return elements;
}

std::map<std::string_view, FlexValue> FlexValue::Entries() const {
  if (type_ != kMap) Fault("a value is no map");
  const uint64_t map = Follow(), width = child_width_;
  if (map < 3 * width) Fault("a map has no keys");
  const uint64_t key_width = Scalar(map - 2 * width, width);
  if (!std::has_single_bit(key_width) || key_width > 8) Fault("a map has no keys");
  const uint8_t packed = static_cast<uint8_t>(kVectorKey << 2 | std::countr_zero(key_width));
  const std::vector<FlexValue> keys = FlexValue(p_, bytes_, map - 3 * width, width, packed).Elements(), values = Elements();
  if (keys.size() != values.size()) Fault("a map has other numbers of keys and values");
  std::map<std::string_view, FlexValue> entries;
  for (size_t i = 0; i < keys.size(); ++i) entries[keys[i].Text()] = values[i];
  return entries;
}

FlexMap::FlexMap(const Prepare& p, std::span<const uint8_t> bytes) : p_(p) {
  if (!bytes.empty()) entries_ = FlexValue(p, bytes).Entries();
}

const FlexValue* FlexMap::Find(std::string_view name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() || at->second.is_null() ? nullptr : &at->second;
}

bool FlexMap::Has(std::string_view name) const { return Find(name) != nullptr; }

int64_t FlexMap::Integer(std::string_view name, int64_t absent) const {
  const FlexValue* value = Find(name);
  return value == nullptr ? absent : value->Integer();
}

int32_t FlexMap::Int32(std::string_view name, int32_t absent) const {
  const int64_t value = Integer(name, absent);
  p_.Check(value >= INT32_MIN && value <= INT32_MAX, "its option ", name, " is ", value);
  return static_cast<int32_t>(value);
}

double FlexMap::Real(std::string_view name, double absent) const {
  const FlexValue* value = Find(name);
  return value == nullptr ? absent : value->Real();
}

std::vector<int64_t> FlexMap::Integers(std::string_view name) const {
  std::vector<int64_t> integers;
  if (const FlexValue* value = Find(name)) {
    for (const FlexValue& element : value->Elements()) integers.push_back(element.Integer());
  }
  return integers;
}

}  // namespace sigrun::ops
