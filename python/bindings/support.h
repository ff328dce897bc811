#pragma once

#include <pybind11/pybind11.h>

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "sigrun/status.h"
#include "sigrun/types.h"

// What every file of the extension needs: errors, the GIL, text.
namespace sigrun::python {

namespace py = pybind11;

/// sigrun's exceptions. Each derives from what LiteRT raises in its place.
enum class Fault : uint8_t {
  kError,            // Exception: the base of all
  kInvalidArgument,  // ValueError and RuntimeError: the model cannot take this
  kModel,            // ValueError: no valid model
  kSignature,        // ValueError: no such signature, input or output
  kShape,            // kInvalidArgument's: a rank or dimension
  kDType,            // ValueError
  kUnsupportedOp,    // RuntimeError
  kData,             // RuntimeError: values that an operator refuses
  kHeldView,         // RuntimeError: a new plan would move what a view shows
  kCancelled,        // RuntimeError
  kTimeout,          // RuntimeError and TimeoutError
  kCount
};

/// Adds the exceptions to the module.
void DefineErrors(py::module_& module);

[[noreturn]] void Throw(Fault fault, const std::string& message);

/// Throws the exception of a failed status; kInvalidArgument as `invalid`. MemoryError for kOutOfMemory, RuntimeError for what has no
/// class.
void Check(const Status& status, Fault invalid = Fault::kInvalidArgument);

/// Like Check, for loading: every fault of the file or of its path is a ValueError, and said in LiteRT's words.
void CheckLoaded(const Status& status);

[[noreturn]] void ThrowValueError(const std::string& message);

/// Runs `f`, and leaves what it throws as the thread's Python error; for functions that Python calls directly.
template <class F>
PyObject* Translate(F&& f) noexcept {
  try {
    return f();
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const py::builtin_exception& e) {
    e.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

/// Releases the GIL for a scope that touches no Python object.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { PyEval_RestoreThread(state_); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

/// The GIL, for a thread that may or may not have it.
class WithGil {
 public:
  WithGil() : state_(PyGILState_Ensure()) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

/// Holds a runner's mutex. Never waits for it with the GIL held: its owner may need the GIL to finish.
class RunnerLock {
 public:
  explicit RunnerLock(std::recursive_mutex& mutex) : mutex_(mutex) {
    if (mutex_.try_lock()) return;
    const WithoutGil released;
    mutex_.lock();
  }
  ~RunnerLock() { mutex_.unlock(); }
  RunnerLock(const RunnerLock&) = delete;
  RunnerLock& operator=(const RunnerLock&) = delete;

 private:
  std::recursive_mutex& mutex_;
};

/// A str; bytes of a file that are not UTF-8 become surrogate escapes.
py::str Text(std::string_view utf8);

/// The inverse of Text, of an object's str(); what UTF-8 cannot say is escaped.
std::string Utf8(py::handle object);

/// Dimensions from any sequence of integers. TypeError for other elements, ValueError beyond 32 bits.
Shape ToShape(py::handle sequence);

/// "[1, 2]"
std::string ShapeText(const Shape& shape);

/// " Did you mean 'x'? There are: 'x', 'y'." for a name that is none of `names`.
std::string NameHint(py::handle name, const std::vector<std::string>& names);

}  // namespace sigrun::python
