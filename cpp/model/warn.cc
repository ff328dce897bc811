#include "model/warn.h"

#include <atomic>
#include <cstdio>
#include <mutex>
#include <set>

#include "sigrun/warning.h"

namespace sigrun {
namespace {

void Print(const char* message) { std::fprintf(stderr, "sigrun: warning: %s\n", message); }

std::atomic<WarningHandler> handler = Print;

}  // namespace

void SetWarningHandler(WarningHandler wanted) { handler = wanted != nullptr ? wanted : Print; }

void WarnOnce(const std::string& message) {
  static std::mutex mutex;
  static std::set<std::string>* const given = new std::set<std::string>;  // outlives all threads
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!given->insert(message).second) return;
  }
  handler.load()(message.c_str());
}

}  // namespace sigrun
