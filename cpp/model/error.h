#pragma once

#include <exception>
#include <new>
#include <sstream>
#include <string>
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

/// All parts written one after the other.
template <class... Parts>
std::string Concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
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
