#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <string>

#include "support.h"

// Methods that Python calls directly. pybind11's dispatcher costs as much as a small model, so the calls of a running program go past it.
namespace sigrun::python {

/// The C++ object of an instance of a bound class or of a Python subclass.
template <class T>
T& Self(PyObject* self) {
  auto* object = static_cast<T*>(reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder().value_ptr());
  if (object == nullptr) throw py::type_error(std::string(Py_TYPE(self)->tp_name) + ".__init__() has not succeeded");
  return *object;
}

/// Matches positional and keyword arguments to `names`, null where an argument beyond the first `required` is left out. TypeError as from a
/// Python function.
template <size_t count>
std::array<PyObject*, count> MatchArguments(const char* function, const char* const (&names)[count], size_t required,
                                            PyObject* const* values, Py_ssize_t positional, PyObject* keywords) {
  std::array<PyObject*, count> matched{};
  const auto fail = [&](const std::string& what) { throw py::type_error(std::string(function) + "() " + what); };
  if (static_cast<size_t>(positional) > count) fail("takes " + std::to_string(count) + " arguments, got " + std::to_string(positional));
  for (Py_ssize_t i = 0; i < positional; ++i) matched[static_cast<size_t>(i)] = values[i];
  for (Py_ssize_t k = 0; keywords != nullptr && k < PyTuple_GET_SIZE(keywords); ++k) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, k);
    size_t at = 0;
    while (at < count && PyUnicode_CompareWithASCIIString(keyword, names[at]) != 0) ++at;
    if (at == count) fail("got an unexpected keyword argument '" + Utf8(keyword) + "'");
    if (matched[at] != nullptr) fail(std::string("got multiple values for argument '") + names[at] + "'");
    matched[at] = values[positional + k];
  }
  for (size_t i = 0; i < required; ++i) {
    if (matched[i] == nullptr) fail(std::string("misses the argument '") + names[i] + "'");
  }
  return matched;
}

/// An int from anything with __index__, clamped to its range; TypeError for others.
int ToInt(PyObject* value);

/// Adds (or replaces) methods of a bound class. The table ends with a null name and must live as long as the module.
void AddMethods(py::handle type, PyMethodDef* methods);

using FastCall = PyObject* (*)(PyObject* self, PyObject* const* values, Py_ssize_t positional, PyObject* keywords);

/// A row of a method table for a function with keywords.
inline PyMethodDef FastMethod(const char* name, FastCall function, const char* doc) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)), METH_FASTCALL | METH_KEYWORDS, doc};
}

}  // namespace sigrun::python
