#include "support.h"

#include <array>
#include <limits>

#include "fast_call.h"

namespace sigrun::python {
namespace {

struct ErrorClass {
  const char* name;
  Fault base;
  PyObject** also[2];  // built-in bases
  const char* doc;
};

constexpr size_t kFaults = static_cast<size_t>(Fault::kCount);
std::array<PyObject*, kFaults> error_classes{};

PyObject*& ClassOf(Fault fault) { return error_classes[static_cast<size_t>(fault)]; }

const std::array<ErrorClass, kFaults>& ErrorClasses() {
  static const std::array<ErrorClass, kFaults> classes = {{
      {"Error", Fault::kError, {&PyExc_Exception, nullptr}, "The base of sigrun's exceptions."},
      {"InvalidArgumentError",
       Fault::kError,
       {&PyExc_ValueError, &PyExc_RuntimeError},
       "A shape, type or option that the model cannot take. A ValueError by its nature, and a RuntimeError too, because that is what "
       "LiteRT "
       "raises when a resize or a plan is refused."},
      {"ModelError", Fault::kError, {&PyExc_ValueError, nullptr}, "A file or buffer that is no valid model; says where the fault is."},
      {"SignatureError", Fault::kError, {&PyExc_ValueError, nullptr}, "No such signature, input or output; names those that there are."},
      {"ShapeError",
       Fault::kInvalidArgument,
       {nullptr, nullptr},
       "A rank or dimension that an input, an output array or the model cannot take."},
      {"DTypeError", Fault::kError, {&PyExc_ValueError, nullptr}, "An array of another dtype than the tensor's."},
      {"UnsupportedOpError", Fault::kError, {&PyExc_RuntimeError, nullptr}, "Operators that this build lacks; names them all."},
      {"DataError", Fault::kError, {&PyExc_RuntimeError, nullptr}, "Values that an operator refuses, found while running."},
      {"HeldViewError",
       Fault::kError,
       {&PyExc_RuntimeError, nullptr},
       "New shapes would move memory that a live view shows; names the tensors."},
      {"CancelledError", Fault::kError, {&PyExc_RuntimeError, nullptr}, "The run was cancelled; the runner can be used again."},
      {"TimedOutError",
       Fault::kError,
       {&PyExc_RuntimeError, &PyExc_TimeoutError},
       "The run took longer than its timeout; the runner can be used again."},
  }};
  return classes;
}

Fault FaultOf(StatusCode code, Fault invalid) {
  switch (code) {
    case StatusCode::kInvalidArgument: return invalid;
    case StatusCode::kUnimplemented: return Fault::kUnsupportedOp;
    case StatusCode::kDataError: return Fault::kData;
    case StatusCode::kHeldView: return Fault::kHeldView;
    case StatusCode::kCancelled: return Fault::kCancelled;
    case StatusCode::kDeadlineExceeded: return Fault::kTimeout;
    default: return Fault::kCount;
  }
}

}  // namespace

void DefineErrors(py::module_& module) {
  for (size_t i = 0; i < kFaults; ++i) {
    const ErrorClass& description = ErrorClasses()[i];
    py::list bases;
    if (i != 0) bases.append(py::handle(ClassOf(description.base)));
    for (PyObject** built_in : description.also) {
      if (built_in != nullptr) bases.append(py::handle(*built_in));
    }
    const std::string name = std::string("sigrun.") + description.name;
    error_classes[i] = PyErr_NewExceptionWithDoc(name.c_str(), description.doc, py::tuple(bases).ptr(), nullptr);
    if (error_classes[i] == nullptr) throw py::error_already_set();
    module.add_object(description.name, error_classes[i]);
  }
}

void Throw(Fault fault, const std::string& message) {
  PyErr_SetObject(ClassOf(fault), Text(message).ptr());
  throw py::error_already_set();
}

void Check(const Status& status, Fault invalid) {
  if (status.ok()) return;
  const Fault fault = FaultOf(status.code(), invalid);
  if (fault != Fault::kCount) Throw(fault, status.message());
  PyErr_SetObject(status.code() == StatusCode::kOutOfMemory ? PyExc_MemoryError : PyExc_RuntimeError, Text(status.message()).ptr());
  throw py::error_already_set();
}

void CheckLoaded(const Status& status) {
  if (status.ok()) return;
  std::string message = status.message();
  constexpr std::string_view kFault = "invalid model: ";
  if (message.starts_with(kFault)) message.replace(0, kFault.size(), "The model is not a valid Flatbuffer buffer: ");
  if (status.code() != StatusCode::kOutOfMemory) Throw(Fault::kModel, message);
  PyErr_SetObject(PyExc_MemoryError, Text(message).ptr());
  throw py::error_already_set();
}

void ThrowValueError(const std::string& message) {
  PyErr_SetObject(PyExc_ValueError, Text(message).ptr());
  throw py::error_already_set();
}

py::str Text(std::string_view utf8) {
  PyObject* text = PyUnicode_DecodeUTF8(utf8.data(), static_cast<Py_ssize_t>(utf8.size()), "surrogateescape");
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

int ToInt(PyObject* value) {
  const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(value));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  using Limits = std::numeric_limits<int>;
  if (overflow > 0 || number > Limits::max()) return Limits::max();
  if (overflow < 0 || number < Limits::min()) return Limits::min();
  return static_cast<int>(number);
}

void AddMethods(py::handle type, PyMethodDef* methods) {
  for (; methods->ml_name != nullptr; ++methods) {
    const py::object method = py::reinterpret_steal<py::object>(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), methods));
    if (!method) throw py::error_already_set();
    type.attr(methods->ml_name) = method;
  }
}

std::string Utf8(py::handle object) {
  const py::str text(object);
  PyObject* bytes = PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape");
  if (bytes == nullptr) {
    PyErr_Clear();
    bytes = PyUnicode_AsEncodedString(text.ptr(), "utf-8", "backslashreplace");
  }
  if (bytes == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::bytes>(bytes);
}

Shape ToShape(py::handle sequence) {
  Shape shape;
  for (const py::handle item : py::reinterpret_borrow<py::object>(sequence)) {
    const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(item.ptr()));
    if (!index) throw py::error_already_set();
    int overflow = 0;
    const long long dimension = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow != 0 || dimension > std::numeric_limits<int32_t>::max() || dimension < std::numeric_limits<int32_t>::min()) {
      ThrowValueError("dimension " + Utf8(index) + " does not fit 32 bits");
    }
    shape.push_back(static_cast<int32_t>(dimension));
  }
  return shape;
}

std::string ShapeText(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::string NameHint(py::handle name, const std::vector<std::string>& names) {
  if (names.empty()) return " There is none.";
  py::list candidates;
  std::string all;
  for (const std::string& candidate : names) {
    candidates.append(Text(candidate));
    all += (all.empty() ? "'" : ", '") + candidate + "'";
  }
  std::string hint;
  if (py::isinstance<py::str>(name)) {
    const py::list close = py::module_::import("difflib").attr("get_close_matches")(name, candidates, 1, 0.5);
    if (!close.empty()) hint = " Did you mean '" + Utf8(close[0]) + "'?";
  }
  return hint + " There " + (names.size() == 1 ? "is: " : "are: ") + all + ".";
}

}  // namespace sigrun::python
