#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

// A reader of FlatBuffers that trusts nothing: every offset, length and vtable is checked against the bytes before it is followed, scalars
// are read without alignment, and every error names the path to the fault ("subgraphs[0].operators[7].inputs"). Throws Error
// (kInvalidArgument).
namespace sigrun::flatbuffer {

inline constexpr uint64_t kUnlimited = UINT64_MAX;

/// The bytes, and how much reading a caller may still ask for: a small hostile file can refer to one long vector thousands of times.
/// With an unlimited budget nothing is counted, and tables may be read from several threads.
struct Source {
  std::span<const uint8_t> bytes;
  mutable uint64_t budget = kUnlimited;
};

/// Where something stands: "subgraphs[0].operators[7].inputs". The text is made for errors alone; names must be literals.
class Path {
 public:
  Path() = default;
  /// The root table, whose vectors of tables are named without it.
  static Path Root();
  bool is_root() const { return depth_ == 1 && steps_[0].name == kRoot; }
  Path operator/(const char* name) const;
  /// An element of the vector that the path leads to.
  Path operator[](uint32_t index) const;
  std::string text() const;

 private:
  static constexpr uint32_t kNoIndex = UINT32_MAX;
  static constexpr char kRoot[] = "model";
  struct Step {
    const char* name = nullptr;
    uint32_t index = kNoIndex;
  };
  std::array<Step, 6> steps_ = {};  // the schema's tables are nested no deeper
  uint32_t depth_ = 0;
};

[[noreturn]] void FailAt(const std::string& path, const std::string& what);
[[noreturn]] void FailAt(const Path& path, const std::string& what);

/// A vector of scalars, still in the file; T may stand unaligned.
template <class T>
class Vector {
 public:
  Vector() = default;
  Vector(const uint8_t* data, uint32_t size) : data_(data), size_(size) {}
  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T operator[](uint32_t i) const {
    T value;
    std::memcpy(&value, data_ + size_t{i} * sizeof(T), sizeof(T));
    return value;
  }
  const uint8_t* data() const { return data_; }

 private:
  const uint8_t* data_ = nullptr;
  uint32_t size_ = 0;
};

class TableVector;

/// A table, or a null one (of which every field is absent). Field numbers are the schema's field ids.
class Table {
 public:
  Table() = default;
  /// The root table of `source`, which must outlive the table.
  static Table Root(const Source& source);

  explicit operator bool() const { return source_ != nullptr; }
  const Path& path() const { return path_; }

  template <class T>
  T Scalar(int field, T absent = T{}) const {
    const uint32_t at = Field(field, sizeof(T));
    if (at == 0) return absent;
    T value;
    std::memcpy(&value, source_->bytes.data() + at, sizeof(T));
    return value;
  }
  bool Bool(int field, bool absent = false) const { return Scalar<uint8_t>(field, absent) != 0; }
  bool Has(int field) const { return Field(field, 1) != 0; }

  /// `name` is what an error calls the field: a literal.
  template <class T>
  Vector<T> Scalars(int field, const char* name) const {
    uint32_t size = 0;
    const uint8_t* data = VectorData(field, name, sizeof(T), &size);
    return Vector<T>(data, size);
  }
  std::string_view String(int field, const char* name) const;
  Table Child(int field, const char* name) const;
  TableVector Children(int field, const char* name) const;

 private:
  friend class TableVector;
  Table(const Source* source, uint32_t at, const Path& path);
  uint32_t Field(int field, size_t bytes) const;
  uint32_t Follow(uint32_t at, const Path& path) const;
  const uint8_t* VectorData(int field, const char* name, size_t element, uint32_t* size) const;

  const Source* source_ = nullptr;
  uint32_t at_ = 0;
  uint32_t vtable_ = 0;
  uint16_t vtable_bytes_ = 0;
  uint16_t table_bytes_ = 0;
  Path path_;
};

/// A vector of tables; elements are checked when they are asked for.
class TableVector {
 public:
  TableVector() = default;
  uint32_t size() const { return size_; }
  Table operator[](uint32_t i) const;

 private:
  friend class Table;
  const Source* source_ = nullptr;
  uint32_t data_ = 0;
  uint32_t size_ = 0;
  Path path_;
};

}  // namespace sigrun::flatbuffer
