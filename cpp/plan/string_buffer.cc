#include "plan/string_buffer.h"

#include <cstdint>
#include <cstring>

#include "model/error.h"

namespace sigrun {

Strings ParseStrings(std::span<const std::byte> bytes, const std::string& what) {
  const auto load = [&](size_t at) {
    if (bytes.size() < 4 || at > bytes.size() - 4)
      Fail(StatusCode::kInvalidArgument, what, ": its string buffer of ", bytes.size(), " bytes is cut off");
    int32_t value;
    std::memcpy(&value, bytes.data() + at, 4);
    if (value < 0) Fail(StatusCode::kInvalidArgument, what, ": negative number in its string buffer");
    return static_cast<size_t>(value);
  };
  const size_t count = load(0);
  if (count > bytes.size() / 4) Fail(StatusCode::kInvalidArgument, what, ": ", count, " strings in a buffer of ", bytes.size(), " bytes");
  Strings strings(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = load(4 + 4 * i), end = load(8 + 4 * i);
    if (begin > end || end > bytes.size()) Fail(StatusCode::kInvalidArgument, what, ": string ", i, " lies outside its buffer");
    strings[i].assign(reinterpret_cast<const char*>(bytes.data()) + begin, end - begin);
  }
  return strings;
}

}  // namespace sigrun
