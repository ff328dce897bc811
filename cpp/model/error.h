#pragma once

#include <charconv>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sigrun/status.h"
#include "sigrun/types.h"

// Errors inside the library are exceptions of this one type; the public interface turns them into Status.
namespace sigrun {

class Error : public std::exception {
 public:
  Error(StatusCode code, std::string message) : status_(code, std::move(message)) {}
  const char* what() const noexcept override { return status_.message().c_str(); }
  const Status& status() const { return status_; }

 private:
  Status status_;
};

/// "[1, 2, 3]"
std::string ToString(const Shape& shape);

/// Writes a part as a stream would, but without one: a stream takes longer to make than all that is said while an operator is planned.
template <class Part>
void Append(std::string& out, const Part& part) {
  if constexpr (std::is_convertible_v<const Part&, std::string_view>) {
    out += std::string_view(part);
  } else if constexpr (std::is_same_v<Part, char>) {
    out += part;
  } else if constexpr (std::is_integral_v<Part>) {
    out += std::to_string(part);
  } else {
    static_assert(std::is_floating_point_v<Part>);
    char digits[32];
    out.append(digits, std::to_chars(digits, digits + sizeof(digits), part, std::chars_format::general, 6).ptr);
  }
}

/// All parts written one after the other.
template <class... Parts>
std::string Concat(const Parts&... parts) {
  std::string out;
  (Append(out, parts), ...);
  return out;
}

template <class... Parts>
[[noreturn]] void Fail(StatusCode code, const Parts&... parts) {
  throw Error(code, Concat(parts...));
}

/// Calls f and turns what it throws into a Status.
template <class F>
Status Guard(F&& f) noexcept {
  try {
    f();
    return Status();
  } catch (const Error& e) {
    return e.status();
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kOutOfMemory, "out of memory");
  } catch (const std::exception& e) {
    return Status(StatusCode::kInternal, e.what());
  }
}

}  // namespace sigrun
