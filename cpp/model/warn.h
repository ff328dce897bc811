#pragma once

#include <string>

namespace sigrun {

/// Hands a text that has not been handed out yet to the handler of warnings.
void WarnOnce(const std::string& message);

}  // namespace sigrun
