#pragma once

#include <string>
#include <utility>

namespace sigrun {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,     // a name, index, dtype, rank or shape that the call cannot take; a file that is no valid model
  kFailedPrecondition,  // the call is right, but not now: Invoke before AllocateTensors
  kUnimplemented,       // a valid model that needs what this build lacks
  kDataError,           // values inside a tensor that an op refuses, found while running
  kOutOfMemory,
  kHeldView,          // new shapes would move memory that a live view shows
  kCancelled,         // by SignatureRunner::Cancel
  kDeadlineExceeded,  // the run took longer than its timeout
  kInternal,
};

/// Outcome of a call. The library throws nothing across its public interface; ok() or a code and a message in one sentence.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

}  // namespace sigrun
