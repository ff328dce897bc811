#include "ops/support/sorted_table.h"

#include <array>

#include "model/error.h"
#include "ops/support/proto.h"

namespace sigrun::ops {
namespace {

constexpr uint64_t kMagic = 0xdb4775248b80fb57u;
constexpr size_t kFooterBytes = 48, kTrailerBytes = 5, kBlockBytes = size_t{1} << 16;

constexpr auto kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    table[i] = crc;
  }
  return table;
}();

}  // namespace

uint32_t MaskedCrc(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = kCrcTable[(crc ^ static_cast<uint8_t>(c)) & 255] ^ crc >> 8;
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

namespace {

struct Handle {
  uint64_t offset = 0, size = 0;

  std::string Text() const {
    std::string text;
    ProtoWriter::AppendVarint(text, offset);
    ProtoWriter::AppendVarint(text, size);
    return text;
  }
};

void AppendEntry(std::string& block, std::string_view key, std::string_view value) {
  for (const size_t n : {size_t{0}, key.size(), value.size()}) ProtoWriter::AppendVarint(block, n);
  block.append(key).append(value);
}

// Keys are stored whole, so that a search has to know the beginning only.
Handle AppendBlock(std::string& file, std::string block) {
  ProtoWriter::AppendFixed(block, 0, 4);
  ProtoWriter::AppendFixed(block, 1, 4);
  const Handle handle{file.size(), block.size()};
  block.push_back('\0');  // not compressed
  ProtoWriter::AppendFixed(block, MaskedCrc(block), 4);
  file += block;
  return handle;
}

constexpr char kFile[] = "the checkpoint";

[[noreturn]] void Fault(const char* what) { Fail(StatusCode::kDataError, kFile, " ", what); }

std::span<const uint8_t> BlockAt(std::span<const uint8_t> file, ProtoReader& handle) {
  const uint64_t offset = handle.Varint(), size = handle.Varint();
  if (offset > file.size() || size > file.size() - offset || file.size() - offset - size < kTrailerBytes || size < 4)
    Fault("has a block outside the file");
  const auto block = file.subspan(static_cast<size_t>(offset), static_cast<size_t>(size));
  if (file[offset + size] != 0) Fault("is compressed");
  ProtoReader checksum(file.subspan(static_cast<size_t>(offset + size) + 1, 4), kFile);
  if (checksum.Fixed(4) != MaskedCrc({reinterpret_cast<const char*>(block.data()), block.size() + 1})) Fault("has a wrong checksum");
  const uint64_t restarts = ProtoReader(block.last(4), kFile).Fixed(4);
  if (restarts > (size - 4) / 4) Fault("has a block that is too short");
  return block.first(static_cast<size_t>(size - 4 - 4 * restarts));
}

template <class F>
void ForEntries(std::span<const uint8_t> block, const F& f) {
  std::string key;
  for (ProtoReader reader(block, kFile); !reader.AtEnd();) {
    const uint64_t shared = reader.Varint(), rest = reader.Varint(), size = reader.Varint();
    if (shared > key.size()) Fault("has a key that goes on from nothing");
    const auto text = reader.Take(rest);
    key.resize(static_cast<size_t>(shared));
    key.append(reinterpret_cast<const char*>(text.data()), text.size());
    f(key, reader.Take(size));
  }
}

}  // namespace

std::string WriteTable(const std::map<std::string, std::string>& entries) {
  std::string file, block, index, last;
  const auto end_block = [&] {
    if (block.empty()) return;
    AppendEntry(index, last, AppendBlock(file, std::move(block)).Text());
    block.clear();
  };
  for (const auto& [key, value] : entries) {
    AppendEntry(block, key, value);
    last = key;
    if (block.size() >= kBlockBytes) end_block();
  }
  end_block();
  const Handle about = AppendBlock(file, "");
  std::string footer = about.Text() + AppendBlock(file, index).Text();
  footer.resize(kFooterBytes - sizeof(kMagic));
  ProtoWriter::AppendFixed(footer, kMagic, sizeof(kMagic));
  return file + footer;
}

std::map<std::string, std::string> ReadTable(std::span<const uint8_t> file) {
  if (file.size() < kFooterBytes || ProtoReader(file.last(sizeof(kMagic)), kFile).Fixed(8) != kMagic)
    Fault("is no checkpoint of TensorFlow");
  ProtoReader footer(file.last(kFooterBytes), kFile);
  footer.Varint();
  footer.Varint();
  std::map<std::string, std::string> entries;
  size_t total = 0;
  ForEntries(BlockAt(file, footer), [&](const std::string&, std::span<const uint8_t> handle) {
    ProtoReader reader(handle, kFile);
    const auto block = BlockAt(file, reader);
    total += block.size();
    if (total > file.size()) Fault("has blocks that overlap");
    ForEntries(block, [&](const std::string& key, std::span<const uint8_t> value) {
      entries[key].assign(reinterpret_cast<const char*>(value.data()), value.size());
    });
  });
  return entries;
}

}  // namespace sigrun::ops
