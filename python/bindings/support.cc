#include "support.h"

#include <limits>

#include "fast_call.h"

namespace sigrun::python {
namespace {

PyObject* invalid_argument_error = nullptr;

}  // namespace

void DefineErrors(py::module_& module) {
  const char* doc =
      "A shape, name or operator that the model cannot take. A ValueError by its nature, and a RuntimeError too, because that is what "
      "LiteRT "
      "raises when a resize or a plan is refused.";
  const py::tuple bases = py::make_tuple(py::handle(PyExc_ValueError), py::handle(PyExc_RuntimeError));
  invalid_argument_error = PyErr_NewExceptionWithDoc("sigrun.InvalidArgumentError", doc, bases.ptr(), nullptr);
  if (invalid_argument_error == nullptr) throw py::error_already_set();
  module.add_object("InvalidArgumentError", invalid_argument_error);
}

void Check(const Status& status) {
  if (status.ok()) return;
  PyObject* type = PyExc_RuntimeError;
  if (status.code() == StatusCode::kInvalidArgument) type = invalid_argument_error;
  if (status.code() == StatusCode::kOutOfMemory) type = PyExc_MemoryError;
  PyErr_SetObject(type, Text(status.message()).ptr());
  throw py::error_already_set();
}

void CheckLoaded(const Status& status) {
  if (status.ok()) return;
  std::string message = status.message();
  constexpr std::string_view kFault = "invalid model: ";
  if (message.starts_with(kFault)) message.replace(0, kFault.size(), "The model is not a valid Flatbuffer buffer: ");
  PyErr_SetObject(status.code() == StatusCode::kOutOfMemory ? PyExc_MemoryError : PyExc_ValueError, Text(message).ptr());
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
