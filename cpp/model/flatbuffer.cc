#include "model/flatbuffer.h"

#include "model/error.h"

namespace sigrun::flatbuffer {
namespace {

template <class T>
T Load(const Source& source, uint64_t at) {
  T value;
  std::memcpy(&value, source.bytes.data() + at, sizeof(T));
  return value;
}

bool Fits(const Source& source, uint64_t at, uint64_t bytes) { return bytes <= source.bytes.size() && at <= source.bytes.size() - bytes; }

void Spend(const Source& source, uint64_t amount, const Path& path) {
  if (source.budget == kUnlimited) return;
  if (source.budget < amount) FailAt(path, "the file refers to the same bytes too many times");
  source.budget -= amount;
}

}  // namespace

Path Path::Root() { return Path() / kRoot; }

Path Path::operator/(const char* name) const {
  Path path = *this;
  if (depth_ < steps_.size()) path.steps_[path.depth_++] = {name, kNoIndex};
  return path;
}

Path Path::operator[](uint32_t index) const {
  Path path = *this;
  if (depth_ > 0) path.steps_[depth_ - 1].index = index;
  return path;
}

std::string Path::text() const {
  std::string text;
  for (uint32_t i = 0; i < depth_; ++i) {
    text += Concat(i == 0 ? "" : ".", steps_[i].name);
    if (steps_[i].index != kNoIndex) text += Concat("[", steps_[i].index, "]");
  }
  return text;
}

void FailAt(const std::string& path, const std::string& what) { Fail(StatusCode::kInvalidArgument, "invalid model: ", path, ": ", what); }
void FailAt(const Path& path, const std::string& what) { FailAt(path.text(), what); }

Table Table::Root(const Source& source) {
  if (!Fits(source, 0, 8)) FailAt(Path::Root(), Concat("the file has ", source.bytes.size(), " bytes, too few for a header"));
  return Table(&source, Load<uint32_t>(source, 0), Path::Root());
}

Table::Table(const Source* source, uint32_t at, const Path& path) : source_(source), at_(at), path_(path) {
  Spend(*source, 8, path_);
  if (!Fits(*source, at, 4))
    FailAt(path_, Concat("the table at offset ", at, " lies outside the file of ", source->bytes.size(), " bytes"));
  const int64_t vtable = int64_t{at} - Load<int32_t>(*source, at);
  if (vtable < 0 || !Fits(*source, static_cast<uint64_t>(vtable), 4)) FailAt(path_, "its vtable lies outside the file");
  vtable_ = static_cast<uint32_t>(vtable);
  vtable_bytes_ = Load<uint16_t>(*source, vtable_);
  table_bytes_ = Load<uint16_t>(*source, vtable_ + 2);
  if (vtable_bytes_ < 4 || !Fits(*source, vtable_, vtable_bytes_)) FailAt(path_, "its vtable is cut off");
  if (table_bytes_ < 4 || !Fits(*source, at, table_bytes_)) FailAt(path_, "the table is cut off");
}

// Where a field's inline data stands, or 0 if the field is absent.
uint32_t Table::Field(int field, size_t bytes) const {
  if (source_ == nullptr) return 0;
  const uint32_t entry = 4 + 2 * static_cast<uint32_t>(field);
  if (entry + 2 > vtable_bytes_) return 0;
  const uint16_t offset = Load<uint16_t>(*source_, vtable_ + entry);
  if (offset == 0) return 0;
  if (offset < 4 || offset + bytes > table_bytes_) FailAt(path_, Concat("field ", field, " lies outside its table"));
  return at_ + offset;
}

uint32_t Table::Follow(uint32_t at, const Path& path) const {
  const uint64_t target = uint64_t{at} + Load<uint32_t>(*source_, at);
  if (!Fits(*source_, target, 4)) FailAt(path, Concat("offset ", target, " lies outside the file of ", source_->bytes.size(), " bytes"));
  return static_cast<uint32_t>(target);
}

const uint8_t* Table::VectorData(int field, const char* name, size_t element, uint32_t* size) const {
  const uint32_t at = Field(field, 4);
  *size = 0;
  if (at == 0) return nullptr;
  const Path path = path_ / name;
  const uint32_t vector = Follow(at, path);
  *size = Load<uint32_t>(*source_, vector);
  if (!Fits(*source_, uint64_t{vector} + 4, uint64_t{*size} * element))
    FailAt(path, Concat("its ", *size, " elements reach beyond the file"));
  // Raw bytes are only pointed at; everything else is about to be read.
  Spend(*source_, element == 1 ? 8 : 8 + uint64_t{*size} * element, path);
  return source_->bytes.data() + vector + 4;
}

std::string_view Table::String(int field, const char* name) const {
  uint32_t size = 0;
  const uint8_t* data = VectorData(field, name, 1, &size);
  if (data != nullptr) Spend(*source_, size, path_);  // names are copied, too
  return data == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char*>(data), size);
}

Table Table::Child(int field, const char* name) const {
  const uint32_t at = Field(field, 4);
  if (at == 0) return Table();
  const Path path = path_ / name;
  return Table(source_, Follow(at, path), path);
}

TableVector Table::Children(int field, const char* name) const {
  TableVector v;
  const uint8_t* data = VectorData(field, name, 4, &v.size_);
  v.source_ = source_;
  v.data_ = data == nullptr ? 0 : static_cast<uint32_t>(data - source_->bytes.data());
  v.path_ = (path_.is_root() ? Path() : path_) / name;
  return v;
}

Table TableVector::operator[](uint32_t i) const {
  const Path path = path_[i];
  const uint32_t at = data_ + 4 * i;
  const uint64_t target = uint64_t{at} + Load<uint32_t>(*source_, at);
  if (target > UINT32_MAX) FailAt(path, "offset lies outside the file");
  return Table(source_, static_cast<uint32_t>(target), path);
}

}  // namespace sigrun::flatbuffer
