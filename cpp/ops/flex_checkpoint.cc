#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ops/op.h"
#include "ops/support/checkpoint_file.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/proto.h"
#include "ops/support/sorted_table.h"
#include "run/frame.h"

// Save and Restore: tensors by their names in a file of TensorFlow's first checkpoint format, which TensorFlow reads and writes, too.
namespace sigrun::ops {
namespace {

constexpr const char* kFile = kCheckpoint;
enum MetaField : uint64_t { kName = 1, kShape = 2, kType = 3, kSlice = 4 };

// Which fields of a TensorProto the elements of a type stand in, and how.
struct Encoding {
  uint64_t field;
  enum : uint8_t { kFixed, kSigned, kUnsigned, kText } kind;
  int bytes;  // of an element
};

Encoding EncodingOf(TensorType type) {
  switch (type) {
    case TensorType::kFloat32: return {5, Encoding::kFixed, 4};
    case TensorType::kFloat64: return {6, Encoding::kFixed, 8};
    case TensorType::kInt32: return {7, Encoding::kSigned, 4};
    case TensorType::kInt16: return {7, Encoding::kSigned, 2};
    case TensorType::kInt8: return {7, Encoding::kSigned, 1};
    case TensorType::kUInt16: return {7, Encoding::kUnsigned, 2};
    case TensorType::kUInt8: return {7, Encoding::kUnsigned, 1};
    case TensorType::kString: return {8, Encoding::kText, 0};
    case TensorType::kInt64: return {10, Encoding::kSigned, 8};
    case TensorType::kBool: return {11, Encoding::kUnsigned, 1};
    case TensorType::kFloat16: return {13, Encoding::kUnsigned, 2};
    case TensorType::kBFloat16: return {13, Encoding::kUnsigned, 2};
    default: return {0, Encoding::kFixed, 0};
  }
}

uint64_t ReadElement(const std::byte* at, const Encoding& e) {
  uint64_t value = 0;
  std::memcpy(&value, at, static_cast<size_t>(e.bytes));
  const int unused = 64 - 8 * e.bytes;
  return e.kind == Encoding::kSigned ? static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused) : value;
}

std::string EncodeElements(const Encoding& e, const std::byte* data, int64_t n) {
  ProtoWriter tensor;
  if (e.kind == Encoding::kText) {
    for (int64_t i = 0; i < n; ++i) tensor.Bytes(e.field, (*reinterpret_cast<const Strings*>(data))[static_cast<size_t>(i)]);
    return tensor.text();
  }
  std::string packed;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t value = ReadElement(data + i * e.bytes, e);
    e.kind == Encoding::kFixed ? ProtoWriter::AppendFixed(packed, value, e.bytes) : ProtoWriter::AppendVarint(packed, value);
  }
  return n == 0 ? std::string() : tensor.Bytes(e.field, packed).text();
}

// Which part of a tensor is meant: all of it, an empty extent a dimension.
std::string WholeSlice(size_t rank) {
  ProtoWriter proto;
  for (size_t d = 0; d < rank; ++d) proto.Bytes(1, "");
  return proto.text();
}

// The key under which a whole tensor stands, in an order-preserving code: 0, the name, the rank, and from 0 to the end in each dimension.
std::string KeyOf(std::string_view name, size_t rank) {
  std::string key(1, '\0');
  for (const char c : name) {
    key.push_back(c);
    if (c == '\0') key.push_back('\xff');
    if (c == '\xff') key.push_back('\0');
  }
  key.append({'\0', '\1'});
  if (rank > 0) key.push_back('\1');
  key.push_back(static_cast<char>(rank));
  for (size_t d = 0; d < rank; ++d) key.append("\x80\x7f");
  return key;
}

// --- Save ---

struct Saved {
  Slot slot;
  TensorType type;
  Shape shape;
  int64_t elements;
};

std::string Checkpoint(const RunContext& run, const std::string* names, const std::vector<Saved>& tensors) {
  std::map<std::string, std::string> described, entries;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Saved& t = tensors[i];
    const std::string slice = WholeSlice(t.shape.size());
    ProtoWriter meta, data;
    meta.Bytes(kName, names[i])
        .Bytes(kShape, EncodeShape(t.shape))
        .Number(kType, static_cast<uint64_t>(TensorFlowType(t.type)))
        .Bytes(kSlice, slice);
    if (!described.emplace(names[i], meta.text()).second) Fail(StatusCode::kInvalidArgument, "two tensors have the name '", names[i], "'");
    data.Bytes(1, names[i]).Bytes(2, slice).Bytes(3, EncodeElements(EncodingOf(t.type), run.get<std::byte>(t.slot), t.elements));
    entries[KeyOf(names[i], t.shape.size())] = ProtoWriter().Bytes(2, data.text()).text();
  }
  ProtoWriter meta;
  for (const auto& [name, text] : described) meta.Bytes(1, text);
  meta.Bytes(2, ProtoWriter().Number(1, 1).text());  // the version of the writer
  entries[""] = ProtoWriter().Bytes(1, meta.text()).text();
  return WriteTable(entries);
}

void PrepareSave(Prepare& p) {
  p.CheckCounts(2, std::max(2, p.inputs()), 0);
  for (int i = 0; i < 2; ++i) p.CheckType(i, {TensorType::kString});
  p.Check(p.elements(0) == 1, "the file's name has shape ", ToString(p.shape(0)));
  p.Check(p.elements(1) == p.inputs() - 2, p.elements(1), " names for ", p.inputs() - 2, " tensors");
  std::vector<Saved> tensors;
  for (int i = 2; i < p.inputs(); ++i) {
    if (EncodingOf(p.type(i)).field == 0) p.Refuse(StatusCode::kUnimplemented, Concat("a tensor of type ", TensorTypeName(p.type(i))));
    tensors.push_back({p.in(i), p.type(i), p.shape(i), p.elements(i)});
  }
  p.Emit([tensors, file = p.in(0), names = p.in(1)](RunContext& run) noexcept {
    const Status status = Guard(
        [&] { WriteFile(Elements<const std::string>(run, file)[0], Checkpoint(run, Elements<const std::string>(run, names), tensors)); });
    if (!status.ok()) run.Fail(status.message());
  });
}

// --- Restore ---

struct Stored {
  int64_t type = 0;
  Shape shape;
};

Stored ReadMeta(std::span<const uint8_t> bytes) {
  Stored stored;
  ProtoReader reader(bytes, kFile);
  for (ProtoField field; reader.Next(&field);) {
    if (field.number == kType) stored.type = static_cast<int64_t>(field.value);
    if (field.number == kShape) stored.shape = DecodeShape(field.bytes);
  }
  return stored;
}

/// Calls f with the fields of all messages that `bytes` holds in field `number`.
template <class F>
void ForMessages(std::span<const uint8_t> bytes, uint64_t number, const F& f) {
  ProtoReader reader(bytes, kFile);
  for (ProtoField field; reader.Next(&field);) {
    if (field.number == number) f(field.bytes);
  }
}

Stored FindTensor(const std::map<std::string, std::string>& entries, const std::string& name) {
  std::optional<Stored> found;
  const auto meta = entries.find("");
  if (meta == entries.end()) Fail(StatusCode::kDataError, kFile, " does not say what it holds");
  ForMessages(AsBytes(meta->second), 1, [&](std::span<const uint8_t> slices) {
    ForMessages(slices, 1, [&](std::span<const uint8_t> tensor) {
      ForMessages(tensor, kName, [&](std::span<const uint8_t> text) {
        if (std::string_view(reinterpret_cast<const char*>(text.data()), text.size()) == name) found = ReadMeta(tensor);
      });
    });
  });
  if (!found) Fail(StatusCode::kDataError, kFile, " has no tensor '", name, "'");
  return *found;
}

// The elements, packed or one by one; how many there are is checked.
void DecodeElements(std::span<const uint8_t> tensor, const Encoding& e, LateValue& to, int64_t n) {
  int64_t count = 0;
  const auto add = [&](uint64_t value) {
    if (count < n) std::memcpy(to.bytes.data() + count * e.bytes, &value, static_cast<size_t>(e.bytes));
    ++count;
  };
  ProtoReader reader(tensor, kFile);
  for (ProtoField field; reader.Next(&field);) {
    if (field.number != e.field) continue;
    if (e.kind == Encoding::kText) {
      if (count < n) to.strings[static_cast<size_t>(count)] = field.text();
      ++count;
    } else if (field.bytes.empty()) {
      add(field.value);
    } else {
      for (ProtoReader packed(field.bytes, kFile); !packed.AtEnd();)
        add(e.kind == Encoding::kFixed ? packed.Fixed(static_cast<uint64_t>(e.bytes)) : packed.Varint());
    }
  }
  if (count != n) Fail(StatusCode::kDataError, kFile, " holds ", count, " elements of a tensor of ", n);
}

void Restore(const std::string& path, const std::string& name, TensorType type, LateValue& to) {
  const std::string bytes = ReadFile(path);
  const auto entries = ReadTable(AsBytes(bytes));
  const Stored stored = FindTensor(entries, name);
  if (stored.type != TensorFlowType(type)) {
    Fail(StatusCode::kDataError, "tensor '", name, "' of '", path, "' is of TensorFlow's type ", stored.type, ", expected ",
         TensorTypeName(type));
  }
  const auto entry = entries.find(KeyOf(name, stored.shape.size()));
  if (entry == entries.end()) Fail(StatusCode::kDataError, "tensor '", name, "' of '", path, "' is stored in parts");
  const int64_t n = ElementCount(stored.shape, name);
  // An element takes at least a byte of the file.
  if (static_cast<uint64_t>(n) > entry->second.size()) Fail(StatusCode::kDataError, kFile, " holds too little of '", name, "'");
  to.shape = stored.shape;
  if (type == TensorType::kString) {
    to.strings.assign(static_cast<size_t>(n), {});
  } else {
    to.Resize(stored.shape, BytesOf(type, n));
  }
  int64_t found = 0;
  ForMessages(AsBytes(entry->second), 2, [&](std::span<const uint8_t> slice) {
    ForMessages(slice, 3, [&](std::span<const uint8_t> tensor) {
      DecodeElements(tensor, EncodingOf(type), to, n);
      ++found;
    });
  });
  if (found != 1) Fail(StatusCode::kDataError, kFile, " holds ", found, " times '", name, "'");
}

void PrepareRestore(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  for (int i = 0; i < 2; ++i) {
    p.CheckType(i, {TensorType::kString});
    p.Check(p.elements(i) == 1, i == 0 ? "the file's" : "the tensor's", " name has shape ", ToString(p.shape(i)));
  }
  const TensorType type = p.output_type(0);
  if (EncodingOf(type).field == 0) p.Refuse(StatusCode::kUnimplemented, Concat("a tensor of type ", TensorTypeName(type)));
  FlexNode(p).CheckType(p, "dt", type);
  p.SetShapeLater(0);
  p.Emit([type, file = p.in(0), name = p.in(1), y = p.out(0)](RunContext& run) noexcept {
    const Status status = Guard([&] {
      Restore(Elements<const std::string>(run, file)[0], Elements<const std::string>(run, name)[0], type, *run.get<LateValue>(y));
    });
    if (!status.ok()) run.Fail(status.message());
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexRestore", .prepare = PrepareRestore, .traits = kImpure},
    {.name = "FlexSave", .prepare = PrepareSave, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> flex_checkpoint_ops() { return kOps; }

}  // namespace sigrun::ops
