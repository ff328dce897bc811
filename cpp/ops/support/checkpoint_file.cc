#include "ops/support/checkpoint_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "model/error.h"
#include "ops/support/proto.h"

namespace sigrun::ops {
namespace {

enum Field : uint64_t { kSize = 1, kDimension = 2 };

}  // namespace

std::string EncodeShape(const Shape& shape) {
  ProtoWriter proto;
  for (const int32_t d : shape) proto.Bytes(kDimension, ProtoWriter().Number(kSize, static_cast<uint64_t>(d)).text());
  return proto.text();
}

Shape DecodeShape(std::span<const uint8_t> proto) {
  Shape shape;
  ProtoReader reader(proto, kCheckpoint);
  for (ProtoField d; reader.Next(&d);) {
    if (d.number != kDimension) continue;
    ProtoReader dimension(d.bytes, kCheckpoint);
    ProtoField size;
    while (dimension.Next(&size) && size.number != kSize) continue;
    if (size.value > INT32_MAX) Fail(StatusCode::kDataError, kCheckpoint, " has a tensor with a dimension of ", size.value);
    shape.push_back(static_cast<int32_t>(size.value));
  }
  return shape;
}

void WriteFile(const std::string& path, const std::string& bytes) {
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) Fail(StatusCode::kDataError, "'", part, "' cannot be written: ", std::strerror(errno));
  if (std::rename(part.c_str(), path.c_str()) != 0) Fail(StatusCode::kDataError, "'", path, "' cannot be written: ", std::strerror(errno));
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail(StatusCode::kDataError, "there is no checkpoint '", path, "'");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace sigrun::ops
