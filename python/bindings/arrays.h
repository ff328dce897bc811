#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <string>

#include "sigrun/interpreter.h"
#include "support.h"

// numpy arrays to tensors and back. Everything here needs the GIL; what touches a runner's memory also needs its mutex.
namespace sigrun::python {

/// The dtype of arrays that hold a tensor's values, borrowed and immortal: object (of bytes) for strings, int8 or uint8 for the packed 4-
/// and 2-bit integers, ml_dtypes' types for bfloat16 and float8 where that package is installed and unsigned integers of their bits
/// elsewhere.
PyObject* ArrayDtype(TensorType type);

/// The class that tensor details show: numpy.float32, ...; numpy.bytes_ for strings, numpy.object_ for resources and variants.
py::object DetailDtype(TensorType type);

/// Whether an array has just these dimensions.
bool HasShape(PyObject* array, const Shape& shape);

/// A value given for a tensor: checked, converted, ready to be copied in. Arrays and numpy scalars must have the tensor's very dtype (in
/// any byte order and layout); Python numbers and lists are converted if nothing but float precision is lost. ValueError otherwise.
/// `input_name` is the signature's name for the tensor, null where it is addressed by index.
class Argument {
 public:
  Argument(PyObject* value, const Tensor& tensor, const char* input_name);

  bool ShapeIs(const Shape& shape) const { return HasShape(array_.ptr(), shape); }
  Shape shape() const;
  /// The shapes must agree and the tensor must be allocated. ValueError for a constant.
  void CopyTo(Tensor& tensor);
  /// Whether the array's memory is what the tensor's would be after CopyTo.
  bool StandsFor(const Tensor& tensor) const { return TensorTypeBits(tensor.type()) >= 8; }
  const py::object& object() const { return array_; }

 private:
  const py::detail::PyArray_Proxy& array() const { return *py::detail::array_proxy(array_.ptr()); }

  py::object array_;  // C-contiguous, native byte order
  Strings strings_;   // instead of the array's elements, for string tensors
};

/// The tensor's values in an array of its own.
py::object CopyOf(const Tensor& tensor);

/// Writes the tensor's values into a caller's array, which must pass CheckTarget and have the tensor's shape.
void CopyInto(PyObject* target, const Tensor& tensor);

/// ValueError unless `target` is a writeable, C-contiguous array of the tensor's dtype; `name` is for the message.
void CheckTarget(PyObject* target, const Tensor& tensor, const std::string& name);

/// An array over memory that the caller keeps alive. The type's elements must be whole bytes.
py::object ArrayOver(TensorType type, const Shape& shape, std::byte* data, bool writeable);

/// Arrays of bytes objects to strings and back. ValueError for other elements.
py::object ArrayOfStrings(const Strings& strings, const Shape& shape);
Strings StringsOf(PyObject* array, const std::string& what);

/// An array that shows the tensor's memory and keeps it, and `model` (constants stand in its file), alive. Read-only for constants.
/// ValueError for tensors whose memory numpy cannot show (strings, packed integers) or that have none yet.
py::object ViewOf(Tensor& tensor, std::shared_ptr<const Model> model);

}  // namespace sigrun::python
