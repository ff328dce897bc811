#pragma once

#include "sigrun/interpreter.h"

namespace sigrun {

/// Called with what a user should know although nothing failed: that a model is computed as its converter can hardly have meant it. Each
/// text comes once a process, from any thread. It must not call the library.
using WarningHandler = void (*)(const char* message);

/// Takes the place of the handler that writes lines to standard error; null brings that one back.
SIGRUN_API void SetWarningHandler(WarningHandler handler);

}  // namespace sigrun
