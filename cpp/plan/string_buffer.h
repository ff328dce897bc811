#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "run/run_context.h"

namespace sigrun {

/// A string tensor as a file stores it: int32 count, count + 1 int32 offsets from the start, then the characters. Throws Error naming
/// `what` if an offset lies outside the bytes.
Strings ParseStrings(std::span<const std::byte> bytes, const std::string& what);

}  // namespace sigrun
