#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "ops/op.h"
#include "ops/support/checkpoint_file.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/proto.h"
#include "ops/support/sorted_table.h"
#include "run/frame.h"

// SaveV2, RestoreV2 and MergeV2Checkpoints: tensors by their names in TensorFlow's second checkpoint format, which TensorFlow reads and
// writes, too: the elements in files of data, and an index of where each tensor stands.
namespace sigrun::ops {
namespace {

enum HeaderField : uint64_t { kShards = 1, kVersion = 3 };
enum EntryField : uint64_t { kType = 1, kShape = 2, kShard = 3, kOffset = 4, kSize = 5, kCrc = 6, kSlices = 7 };

struct Entry {
  int64_t type = 0;
  Shape shape;
  uint64_t shard = 0, offset = 0, size = 0;
  uint32_t crc = 0;
  bool is_sliced = false;

  std::string Encode() const {
    ProtoWriter proto;
    proto.Number(kType, static_cast<uint64_t>(type)).Bytes(kShape, EncodeShape(shape)).Number(kShard, shard).Number(kOffset, offset);
    std::string text = proto.Number(kSize, size).text();
    ProtoWriter::AppendVarint(text, kCrc << 3 | 5);
    ProtoWriter::AppendFixed(text, crc, 4);
    return text;
  }
};

Entry ReadEntry(const std::string& bytes) {
  Entry entry;
  ProtoReader reader(AsBytes(bytes), kCheckpoint);
  for (ProtoField field; reader.Next(&field);) {
    switch (field.number) {
      case kType: entry.type = static_cast<int64_t>(field.value); break;
      case kShape: entry.shape = DecodeShape(field.bytes); break;
      case kShard: entry.shard = field.value; break;
      case kOffset: entry.offset = field.value; break;
      case kSize: entry.size = field.value; break;
      case kCrc: entry.crc = static_cast<uint32_t>(field.value); break;
      case kSlices: entry.is_sliced = true; break;
      default: break;
    }
  }
  return entry;
}

std::string IndexPath(const std::string& prefix) { return prefix + ".index"; }
std::string DataPath(const std::string& prefix, uint64_t shard, uint64_t shards) {
  char number[64];
  std::snprintf(number, sizeof(number), ".data-%05llu-of-%05llu", static_cast<unsigned long long>(shard),
                static_cast<unsigned long long>(shards));
  return prefix + number;
}

struct Index {
  std::map<std::string, std::string> entries;  // by name; the header is not among them
  uint64_t shards = 1;
};

Index ReadIndex(const std::string& prefix) {
  Index index{ReadTable(AsBytes(ReadFile(IndexPath(prefix)))), 0};
  const auto header = index.entries.find("");
  if (header == index.entries.end()) Fail(StatusCode::kDataError, kCheckpoint, " '", prefix, "' does not say what it holds");
  ProtoReader reader(AsBytes(header->second), kCheckpoint);
  for (ProtoField field; reader.Next(&field);) {
    if (field.number == kShards) index.shards = field.value;
  }
  if (index.shards < 1 || index.shards > 99999)
    Fail(StatusCode::kDataError, kCheckpoint, " '", prefix, "' has ", index.shards, " files of data");
  index.entries.erase(header);
  return index;
}

void WriteIndex(const std::string& prefix, std::map<std::string, std::string> entries, uint64_t shards) {
  entries[""] = ProtoWriter().Number(kShards, shards).Bytes(kVersion, ProtoWriter().Number(1, 1).text()).text();
  WriteFile(IndexPath(prefix), WriteTable(entries));
}

// --- elements ---

// Strings: how long each is, a checksum of that, and their bytes. The checksum of all counts a length as four bytes.
std::string EncodeStrings(const Strings& strings, std::string* checked) {
  std::string lengths;
  for (const std::string& s : strings) {
    ProtoWriter::AppendVarint(lengths, s.size());
    ProtoWriter::AppendFixed(*checked, s.size(), s.size() <= UINT32_MAX ? 4 : 8);
  }
  const uint32_t crc = MaskedCrc(*checked);
  for (std::string* to : {&lengths, checked}) ProtoWriter::AppendFixed(*to, crc, 4);
  for (const std::string& s : strings) {
    lengths += s;
    *checked += s;
  }
  return lengths;
}

Strings DecodeStrings(std::span<const uint8_t> bytes, int64_t n) {
  ProtoReader reader(bytes, kCheckpoint);
  std::vector<uint64_t> lengths;
  for (int64_t i = 0; i < n; ++i) lengths.push_back(reader.Varint());
  reader.Fixed(4);
  Strings strings;
  for (const uint64_t length : lengths) {
    const auto text = reader.Take(length);
    strings.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
  }
  if (!reader.AtEnd()) Fail(StatusCode::kDataError, kCheckpoint, " holds strings of other lengths than it says");
  return strings;
}

void CheckNames(const Prepare& p, int i, int64_t n) {
  p.CheckType(i, {TensorType::kString});
  p.Check(p.elements(i) == n, p.elements(i), " names for ", n, " tensors");
}

// Only whole tensors.
void CheckWhole(const std::string* slices, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (!slices[i].empty()) Fail(StatusCode::kUnimplemented, "a part of a tensor: '", slices[i], "'");
  }
}

void CheckTensorType(const Prepare& p, TensorType type) {
  const bool known = TensorFlowType(type) != 0 && (type == TensorType::kString || TensorTypeBits(type) >= 8);
  if (!known) p.Refuse(StatusCode::kUnimplemented, Concat("a tensor of type ", TensorTypeName(type)));
}

// f(), which may throw, in a step.
template <class F>
void RunFallible(RunContext& run, const F& f) noexcept {
  if (const Status status = Guard(f); !status.ok()) run.Fail(status.message());
}

constexpr int kPrefix = 0, kNames = 1, kParts = 2, kFirst = 3;

// --- SaveV2 ---

struct Saved {
  Slot slot;
  TensorType type;
  Shape shape;
  int64_t elements;
};

void Save(const RunContext& run, const std::string& prefix, const std::string* names, const std::vector<Saved>& tensors) {
  std::string data;
  std::map<std::string, std::string> entries;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Saved& t = tensors[i];
    std::string checked, bytes;
    if (t.type == TensorType::kString) {
      bytes = EncodeStrings(*run.get<Strings>(t.slot), &checked);
    } else {
      bytes.assign(run.get<const char>(t.slot), BytesOf(t.type, t.elements));
    }
    const uint32_t crc = MaskedCrc(t.type == TensorType::kString ? checked : bytes);
    const Entry entry{TensorFlowType(t.type), t.shape, 0, data.size(), bytes.size(), crc};
    if (names[i].empty() || !entries.emplace(names[i], entry.Encode()).second)
      Fail(StatusCode::kInvalidArgument, "two tensors have the name '", names[i], "', or one has none");
    data += bytes;
  }
  WriteFile(DataPath(prefix, 0, 1), data);
  WriteIndex(prefix, std::move(entries), 1);
}

void PrepareSave(Prepare& p) {
  p.CheckCounts(kFirst, std::max(kFirst, p.inputs()), 0);
  CheckNames(p, kPrefix, 1);
  for (const int i : {kNames, kParts}) CheckNames(p, i, p.inputs() - kFirst);
  std::vector<Saved> tensors;
  for (int i = kFirst; i < p.inputs(); ++i) {
    CheckTensorType(p, p.type(i));
    tensors.push_back({p.in(i), p.type(i), p.shape(i), p.elements(i)});
  }
  p.Emit([tensors, prefix = p.in(kPrefix), names = p.in(kNames), parts = p.in(kParts)](RunContext& run) noexcept {
    RunFallible(run, [&] {
      CheckWhole(Elements<const std::string>(run, parts), static_cast<int64_t>(tensors.size()));
      Save(run, Elements<const std::string>(run, prefix)[0], Elements<const std::string>(run, names), tensors);
    });
  });
}

// --- RestoreV2 ---

void Restore(const std::string& prefix, const Index& index, const std::string& name, TensorType type, std::map<uint64_t, std::string>& data,
             LateValue& to) {
  const auto found = index.entries.find(name);
  if (found == index.entries.end()) Fail(StatusCode::kDataError, kCheckpoint, " has no tensor '", name, "'");
  const Entry entry = ReadEntry(found->second);
  if (entry.is_sliced || entry.shard >= index.shards)
    Fail(StatusCode::kDataError, "tensor '", name, "' of '", prefix, "' is stored in parts");
  if (entry.type != TensorFlowType(type)) {
    Fail(StatusCode::kDataError, "tensor '", name, "' of '", prefix, "' is of TensorFlow's type ", entry.type, ", expected ",
         TensorTypeName(type));
  }
  if (data.count(entry.shard) == 0) data[entry.shard] = ReadFile(DataPath(prefix, entry.shard, index.shards));
  const std::string& file = data[entry.shard];
  const int64_t n = ElementCount(entry.shape, name);
  const bool is_text = type == TensorType::kString, fits = entry.offset <= file.size() && entry.size <= file.size() - entry.offset;
  if (!fits || (is_text ? static_cast<uint64_t>(n) > entry.size : BytesOf(type, n) != entry.size)) {
    Fail(StatusCode::kDataError, kCheckpoint, " holds ", entry.size, " bytes of '", name, "' with the shape ", ToString(entry.shape));
  }
  const std::string_view bytes = std::string_view(file).substr(entry.offset, entry.size);
  std::string checked;
  to.shape = entry.shape;
  if (is_text) {
    to.strings = DecodeStrings({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, n);
    EncodeStrings(to.strings, &checked);
  } else if (std::byte* at = to.Resize(entry.shape, bytes.size()); !bytes.empty()) {
    std::memcpy(at, bytes.data(), bytes.size());
  }
  if (MaskedCrc(is_text ? std::string_view(checked) : bytes) != entry.crc)
    Fail(StatusCode::kDataError, kCheckpoint, " has a wrong checksum of '", name, "'");
}

void PrepareRestore(Prepare& p) {
  p.CheckCounts(kFirst, kFirst, p.outputs());
  CheckNames(p, kPrefix, 1);
  for (const int i : {kNames, kParts}) CheckNames(p, i, p.outputs());
  std::vector<TensorType> types;
  std::vector<Slot> outputs;
  for (int o = 0; o < p.outputs(); ++o) {
    types.push_back(p.output_type(o));
    CheckTensorType(p, types.back());
    p.SetShapeLater(o);
    outputs.push_back(p.out(o));
  }
  p.Emit([types, outputs, prefix = p.in(kPrefix), names = p.in(kNames), parts = p.in(kParts)](RunContext& run) noexcept {
    RunFallible(run, [&] {
      CheckWhole(Elements<const std::string>(run, parts), static_cast<int64_t>(types.size()));
      const std::string& path = Elements<const std::string>(run, prefix)[0];
      const Index index = ReadIndex(path);
      std::map<uint64_t, std::string> data;
      for (size_t i = 0; i < types.size(); ++i) {
        Restore(path, index, Elements<const std::string>(run, names)[i], types[i], data, *run.get<LateValue>(outputs[i]));
      }
    });
  });
}

// --- MergeV2Checkpoints ---

// The files of data get new names, the indices become one.
void Merge(const std::string* prefixes, int64_t n, const std::string& destination) {
  std::vector<Index> indices;
  uint64_t shards = 0;
  for (int64_t i = 0; i < n; ++i) {
    indices.push_back(ReadIndex(prefixes[i]));
    shards += indices.back().shards;
  }
  std::map<std::string, std::string> entries;
  std::vector<std::pair<std::string, std::string>> renamed;
  uint64_t first = 0;
  for (size_t i = 0; i < indices.size(); first += indices[i++].shards) {
    for (const auto& [name, bytes] : indices[i].entries) {
      Entry entry = ReadEntry(bytes);
      if (entry.is_sliced) Fail(StatusCode::kUnimplemented, "tensor '", name, "' of '", prefixes[i], "' is stored in parts");
      entry.shard += first;
      if (!entries.emplace(name, entry.Encode()).second) Fail(StatusCode::kDataError, "two checkpoints have a tensor '", name, "'");
    }
    for (uint64_t s = 0; s < indices[i].shards; ++s) {
      renamed.emplace_back(DataPath(prefixes[i], s, indices[i].shards), DataPath(destination, first + s, shards));
    }
  }
  for (const auto& [from, to] : renamed) {
    if (from != to && std::rename(from.c_str(), to.c_str()) != 0)
      Fail(StatusCode::kDataError, "'", from, "' cannot be renamed to '", to, "'");
  }
  WriteIndex(destination, std::move(entries), shards);
  for (int64_t i = 0; i < n; ++i) {
    if (prefixes[i] != destination) std::remove(IndexPath(prefixes[i]).c_str());
  }
}

void PrepareMerge(Prepare& p) {
  p.CheckCounts(2, 2, 0);
  for (int i = 0; i < 2; ++i) p.CheckType(i, {TensorType::kString});
  p.Check(p.elements(1) == 1, "the destination has shape ", ToString(p.shape(1)));
  p.Emit([n = p.elements(0), prefixes = p.in(0), destination = p.in(1)](RunContext& run) noexcept {
    RunFallible(run, [&] { Merge(Elements<const std::string>(run, prefixes), n, Elements<const std::string>(run, destination)[0]); });
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexMergeV2Checkpoints", .prepare = PrepareMerge, .traits = kImpure},
    {.name = "FlexRestoreV2", .prepare = PrepareRestore, .traits = kImpure},
    {.name = "FlexSaveV2", .prepare = PrepareSave, .traits = kImpure},
};

}  // namespace

std::span<const OpDef> flex_bundle_ops() { return kOps; }

}  // namespace sigrun::ops
