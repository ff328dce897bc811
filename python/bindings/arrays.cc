#include "arrays.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

namespace sigrun::python {
namespace {

using py::detail::npy_api;
using Dimensions = std::array<Py_intptr_t, 64>;  // numpy's limit; it was 32 before numpy 2

const char* DtypeName(TensorType type) {
  static constexpr const char* kNames[kTensorTypeCount] = {
      "float32", "float16", "int32",  "uint8",  "int64",  "object", "bool",   "int16", "complex64", "int8",  "float64", "complex128",
      "uint64",  "object",  "object", "uint32", "uint16", "int8",   "uint16", "int8",  "uint8",     "uint8", "uint8",
  };
  const int index = static_cast<int>(type);
  return index >= 0 && index < kTensorTypeCount ? kNames[index] : "object";
}

const char* MlDtypeName(TensorType type) {
  switch (type) {
    case TensorType::kBFloat16: return "bfloat16";
    case TensorType::kFloat8E4M3FN: return "float8_e4m3fn";
    case TensorType::kFloat8E5M2: return "float8_e5m2";
    default: return nullptr;
  }
}

py::dtype FindDtype(TensorType type) {
  if (const char* name = MlDtypeName(type)) {
    try {
      return py::dtype::from_args(py::module_::import("ml_dtypes").attr(name));
    } catch (const py::error_already_set& e) {
      if (!e.matches(PyExc_ImportError) && !e.matches(PyExc_AttributeError)) throw;
    }
  }
  return py::dtype(DtypeName(type));
}

py::object Numpy(const char* name) { return py::module_::import("numpy").attr(name); }

bool IsPacked(TensorType type) { return TensorTypeBits(type) != 0 && TensorTypeBits(type) < 8; }

/// How LiteRT's messages call an array's element type.
std::string ElementTypeText(py::handle dtype) {
  const std::string kind = py::str(dtype.attr("kind"));
  if (kind == "O" || kind == "S" || kind == "U" || kind == "T") return "STRING";
  for (int i = 0; i < kTensorTypeCount; ++i) {
    const auto type = static_cast<TensorType>(i);
    if (!IsPacked(type) && MlDtypeName(type) == nullptr && py::str(dtype.attr("name")).equal(py::str(DtypeName(type))))
      return TensorTypeName(type);
  }
  return py::str(dtype.attr("name"));
}

std::string Where(const Tensor& tensor, const char* input_name) {
  std::string where = "input " + std::to_string(tensor.index()) + ", name: " + tensor.name() + " ";
  if (input_name != nullptr) where += std::string("(the signature's input '") + input_name + "')";
  return where;
}

[[noreturn]] void ThrowTypeMismatch(py::handle dtype, const Tensor& tensor, const char* input_name) {
  Throw(Fault::kDType, "Cannot set tensor: Got value of type " + ElementTypeText(dtype) + " but expected type " +
                           TensorTypeName(tensor.type()) + " for " + Where(tensor, input_name));
}

/// `value` as a C-contiguous array; of the given dtype, forced, unless that is null.
py::object FromAny(py::handle value, PyObject* dtype) {
  Py_XINCREF(dtype);  // PyArray_FromAny steals it
  const int flags =
      npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_ENSUREARRAY_ | (dtype == nullptr ? 0 : npy_api::NPY_ARRAY_FORCECAST_);
  PyObject* array = npy_api::get().PyArray_FromAny_(value.ptr(), dtype, 0, 0, flags, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(array);
}

/// Lists and Python's own numbers say nothing of a dtype; everything else that numpy takes does.
bool IsUntyped(py::handle value) {
  if (PyList_Check(value.ptr()) || PyTuple_Check(value.ptr())) return true;
  PyTypeObject* type = Py_TYPE(value.ptr());
  return type == &PyFloat_Type || type == &PyLong_Type || type == &PyBool_Type || type == &PyComplex_Type;
}

int KindOrder(py::handle dtype) {
  const std::string kind = py::str(dtype.attr("kind"));
  if (kind == "b") return 0;
  if (kind == "i" || kind == "u") return 1;
  if (kind == "f" || kind == "V") return 2;  // V: ml_dtypes' floats
  if (kind == "c") return 3;
  return 4;
}

py::object FromUntyped(py::handle value, PyObject* dtype, const Tensor& tensor, const char* input_name) {
  const py::object natural = FromAny(value, nullptr);
  const py::handle target(dtype);
  const bool empty = py::len(natural.attr("ravel")()) == 0;
  if (!empty && (KindOrder(natural.attr("dtype")) == 4 || KindOrder(natural.attr("dtype")) > KindOrder(target))) {
    ThrowTypeMismatch(natural.attr("dtype"), tensor, input_name);
  }
  py::object converted = FromAny(natural, dtype);
  if (KindOrder(target) == 1 && !empty && !Numpy("array_equal")(natural, converted).cast<bool>()) {
    ThrowValueError("Cannot set tensor: " + Utf8(py::repr(value)) + " is out of the range of type " + TensorTypeName(tensor.type()) +
                    " for " + Where(tensor, input_name));
  }
  return converted;
}

// What numpy does not know by itself may speak DLPack.
py::object FromForeign(py::handle value) {
  if (!npy_api::get().PyArray_Check_(value.ptr()) && !PyObject_CheckBuffer(value.ptr()) && !py::hasattr(value, "__array__") &&
      py::hasattr(value, "__dlpack__")) {
    return FromAny(Numpy("from_dlpack")(value), nullptr);
  }
  return FromAny(value, nullptr);
}

py::object FromTyped(py::handle value, PyObject* dtype, const Tensor& tensor, const char* input_name) {
  py::object array = FromForeign(value);
  const py::object given = array.attr("dtype");
  const bool bits_of_float =
      MlDtypeName(tensor.type()) != nullptr && KindOrder(given) == 1 && given.attr("itemsize").equal(py::handle(dtype).attr("itemsize"));
  if (bits_of_float) return array.attr("view")(py::handle(dtype));
  if (!given.attr("newbyteorder")("=").equal(py::handle(dtype))) ThrowTypeMismatch(given, tensor, input_name);
  return FromAny(array, dtype);
}

py::object StringsArray(py::handle value, const Tensor& tensor, const char* input_name) {
  if (!py::isinstance<py::array>(value) && !IsUntyped(value) && !PyBytes_Check(value.ptr()) && !PyUnicode_Check(value.ptr())) {
    return StringsArray(FromAny(value, nullptr), tensor, input_name);
  }
  if (py::isinstance<py::array>(value)) {
    const py::object dtype = value.attr("dtype");
    if (KindOrder(dtype) != 4 || ElementTypeText(dtype) != "STRING") ThrowTypeMismatch(dtype, tensor, input_name);
  }
  return FromAny(value, ArrayDtype(TensorType::kString));
}

template <class What>
std::string StringElement(PyObject* element, size_t position, const What& what) {
  if (element != nullptr && PyBytes_Check(element))
    return std::string(PyBytes_AS_STRING(element), static_cast<size_t>(PyBytes_GET_SIZE(element)));
  if (element == nullptr || !PyUnicode_Check(element)) {
    ThrowValueError("Cannot set tensor: element " + std::to_string(position) + " is of type " +
                    (element == nullptr ? "NoneType" : Py_TYPE(element)->tp_name) + ", strings are bytes or str, for " + what());
  }
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(element, &size);
  if (text == nullptr) throw py::error_already_set();
  return std::string(text, static_cast<size_t>(size));
}

size_t ElementCount(const Shape& shape) {
  size_t count = 1;
  for (const int32_t dimension : shape) count *= static_cast<size_t>(dimension);
  return count;
}

/// Elements of `bits` bits, lowest first in each byte, from and to one a byte.
void Pack(const uint8_t* from, size_t count, int bits, uint8_t* to) {
  const size_t in_byte = 8 / static_cast<size_t>(bits);
  const unsigned mask = (1u << bits) - 1;
  std::memset(to, 0, (count + in_byte - 1) / in_byte);
  for (size_t i = 0; i < count; ++i)
    to[i / in_byte] = static_cast<uint8_t>(to[i / in_byte] | (from[i] & mask) << (i % in_byte * static_cast<size_t>(bits)));
}

void Unpack(const uint8_t* from, size_t count, int bits, bool is_signed, uint8_t* to) {
  const size_t in_byte = 8 / static_cast<size_t>(bits);
  const unsigned mask = (1u << bits) - 1;
  const unsigned sign = is_signed ? 1u << (bits - 1) : 0;
  for (size_t i = 0; i < count; ++i) {
    const unsigned value = static_cast<unsigned>(from[i / in_byte] >> (i % in_byte * static_cast<size_t>(bits))) & mask;
    to[i] = static_cast<uint8_t>((value ^ sign) - sign);
  }
}

Dimensions ToDimensions(const Shape& shape) {
  Dimensions dimensions;
  if (shape.size() > dimensions.size()) ThrowValueError("numpy has no arrays of rank " + std::to_string(shape.size()));
  for (size_t i = 0; i < shape.size(); ++i) dimensions[i] = shape[i];
  return dimensions;
}

py::object NewArray(TensorType type, const Shape& shape, void* data, int flags) {
  const Dimensions dimensions = ToDimensions(shape);
  const npy_api& api = npy_api::get();
  PyObject* dtype = ArrayDtype(type);
  Py_INCREF(dtype);  // PyArray_NewFromDescr steals it
  PyObject* array =
      api.PyArray_NewFromDescr_(api.PyArray_Type_, dtype, static_cast<int>(shape.size()), dimensions.data(), nullptr, data, flags, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(array);
}

[[noreturn]] void ThrowNoMemory(const Tensor& tensor) {
  ThrowValueError("Tensor data is null. Run allocate_tensors() first, and invoke() if the shape depends on data: tensor " +
                  std::to_string(tensor.index()) + ", name: " + tensor.name());
}

void FillWithBytes(const Strings& strings, PyObject** to) {
  for (const std::string& element : strings) {
    PyObject* bytes = PyBytes_FromStringAndSize(element.data(), static_cast<Py_ssize_t>(element.size()));
    if (bytes == nullptr) throw py::error_already_set();
    PyObject* previous = std::exchange(*to++, bytes);
    Py_XDECREF(previous);
  }
}

void CopyStrings(const Tensor& tensor, PyObject** to) {
  const size_t count = ElementCount(tensor.shape());
  if (tensor.strings() == nullptr || tensor.strings()->size() != count) ThrowNoMemory(tensor);
  FillWithBytes(*tensor.strings(), to);
}

void CopyValues(const Tensor& tensor, PyObject* array) {
  char* to = py::detail::array_proxy(array)->data;
  if (tensor.type() == TensorType::kString) return CopyStrings(tensor, reinterpret_cast<PyObject**>(to));
  if (tensor.type() == TensorType::kResource || tensor.type() == TensorType::kVariant) {
    ThrowValueError("tensor " + std::to_string(tensor.index()) + ", name: " + tensor.name() + ", is a handle and has no values");
  }
  if (ElementCount(tensor.shape()) == 0) return;
  if (tensor.data() == nullptr) ThrowNoMemory(tensor);
  if (IsPacked(tensor.type())) {
    const bool is_signed = tensor.type() != TensorType::kUInt4;
    return Unpack(tensor.data_as<uint8_t>(), ElementCount(tensor.shape()), TensorTypeBits(tensor.type()), is_signed,
                  reinterpret_cast<uint8_t*>(to));
  }
  std::memmove(to, tensor.data(), tensor.bytes());
}

}  // namespace

PyObject* ArrayDtype(TensorType type) {
  static std::array<PyObject*, kTensorTypeCount> dtypes{};
  const size_t index = static_cast<size_t>(type) < dtypes.size() ? static_cast<size_t>(type) : static_cast<size_t>(TensorType::kVariant);
  if (dtypes[index] == nullptr) dtypes[index] = FindDtype(static_cast<TensorType>(index)).release().ptr();
  return dtypes[index];
}

py::object DetailDtype(TensorType type) {
  if (type == TensorType::kString) return Numpy("bytes_");
  return py::handle(ArrayDtype(type)).attr("type");
}

bool HasShape(PyObject* array, const Shape& shape) {
  const py::detail::PyArray_Proxy& given = *py::detail::array_proxy(array);
  if (static_cast<size_t>(given.nd) != shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (given.dimensions[i] != shape[i]) return false;
  }
  return true;
}

Argument::Argument(PyObject* value, const Tensor& tensor, const char* input_name) {
  PyObject* dtype = ArrayDtype(tensor.type());
  if (tensor.type() == TensorType::kString) {
    array_ = StringsArray(value, tensor, input_name);
    PyObject** elements = reinterpret_cast<PyObject**>(array().data);
    const size_t count = ElementCount(shape());
    strings_.reserve(count);
    for (size_t i = 0; i < count; ++i) strings_.push_back(StringElement(elements[i], i, [&] { return Where(tensor, input_name); }));
    return;
  }
  if (npy_api::get().PyArray_Check_(value)) {
    const py::detail::PyArray_Proxy& given = *py::detail::array_proxy(value);
    if (given.descr == dtype && (given.flags & npy_api::NPY_ARRAY_C_CONTIGUOUS_) != 0) {
      array_ = py::reinterpret_borrow<py::object>(value);
      return;
    }
  }
  array_ = IsUntyped(value) ? FromUntyped(value, dtype, tensor, input_name) : FromTyped(value, dtype, tensor, input_name);
}

Shape Argument::shape() const {
  const py::detail::PyArray_Proxy& given = array();
  Shape shape;
  for (int i = 0; i < given.nd; ++i) {
    if (given.dimensions[i] > INT32_MAX) ThrowValueError("dimension " + std::to_string(given.dimensions[i]) + " does not fit 32 bits");
    shape.push_back(static_cast<int32_t>(given.dimensions[i]));
  }
  return shape;
}

void Argument::CopyTo(Tensor& tensor) {
  if (tensor.is_constant()) {
    ThrowValueError("Cannot set tensor: tensor " + std::to_string(tensor.index()) + ", name: " + tensor.name() + ", is a constant");
  }
  if (tensor.type() == TensorType::kString) {
    *tensor.strings() = std::move(strings_);
  } else if (IsPacked(tensor.type())) {
    Pack(reinterpret_cast<const uint8_t*>(array().data), ElementCount(tensor.shape()), TensorTypeBits(tensor.type()),
         tensor.data_as<uint8_t>());
  } else if (tensor.bytes() != 0) {
    std::memmove(tensor.data(), array().data, tensor.bytes());
  }
}

py::object CopyOf(const Tensor& tensor) {
  py::object array = NewArray(tensor.type(), tensor.shape(), nullptr, 0);
  CopyValues(tensor, array.ptr());
  return array;
}

py::object ArrayOver(TensorType type, const Shape& shape, std::byte* data, bool writeable) {
  const int flags = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_ALIGNED_ | (writeable ? npy_api::NPY_ARRAY_WRITEABLE_ : 0);
  return NewArray(type, shape, data, flags);
}

py::object ArrayOfStrings(const Strings& strings, const Shape& shape) {
  py::object array = NewArray(TensorType::kString, shape, nullptr, 0);
  FillWithBytes(strings, reinterpret_cast<PyObject**>(py::detail::array_proxy(array.ptr())->data));
  return array;
}

Strings StringsOf(PyObject* array, const std::string& what) {
  const py::object whole = FromAny(array, ArrayDtype(TensorType::kString));
  const py::detail::PyArray_Proxy& given = *py::detail::array_proxy(whole.ptr());
  size_t count = 1;
  for (int i = 0; i < given.nd; ++i) count *= static_cast<size_t>(given.dimensions[i]);
  Strings strings;
  strings.reserve(count);
  for (size_t i = 0; i < count; ++i) strings.push_back(StringElement(reinterpret_cast<PyObject**>(given.data)[i], i, [&] { return what; }));
  return strings;
}

void CopyInto(PyObject* target, const Tensor& tensor) { CopyValues(tensor, target); }

void CheckTarget(PyObject* target, const Tensor& tensor, const std::string& name) {
  const auto fail = [&](const std::string& what) { Throw(Fault::kDType, "out['" + name + "'] " + what); };
  if (!npy_api::get().PyArray_Check_(target)) fail(std::string("is of type ") + Py_TYPE(target)->tp_name + ", not an array");
  const py::detail::PyArray_Proxy& array = *py::detail::array_proxy(target);
  PyObject* dtype = ArrayDtype(tensor.type());
  if (array.descr != dtype && !npy_api::get().PyArray_EquivTypes_(array.descr, dtype)) {
    fail("is of type " + ElementTypeText(array.descr) + ", the output of type " + TensorTypeName(tensor.type()));
  }
  const int wanted = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_WRITEABLE_;
  if ((array.flags & wanted) != wanted) fail("must be C-contiguous and writeable");
}

py::object ViewOf(Tensor& tensor, std::shared_ptr<const Model> model) {
  if (TensorTypeBits(tensor.type()) < 8) {
    const std::string what = IsPacked(tensor.type()) ? "packed " : "";
    ThrowValueError("tensor " + std::to_string(tensor.index()) + ", name: " + tensor.name() + ", is of type " + what +
                    TensorTypeName(tensor.type()) + ", which numpy cannot show in place; set and get copies instead");
  }
  if (tensor.data() == nullptr && ElementCount(tensor.shape()) != 0) ThrowNoMemory(tensor);

  struct Base {
    std::shared_ptr<const void> lease;
    std::shared_ptr<const Model> model;
  };
  auto base = std::make_unique<Base>(Base{tensor.Hold(), std::move(model)});
  const py::capsule capsule(base.get(), [](void* held) { delete static_cast<Base*>(held); });
  static_cast<void>(base.release());
  // Only constants, which stand where the file has them, may be unaligned.
  const size_t alignment = std::max(8, TensorTypeBits(tensor.type())) / 8;
  const bool aligned = reinterpret_cast<uintptr_t>(tensor.data()) % alignment == 0;
  const int flags = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | (aligned ? npy_api::NPY_ARRAY_ALIGNED_ : 0) |
                    (tensor.is_constant() ? 0 : npy_api::NPY_ARRAY_WRITEABLE_);
  static char nothing = 0;
  py::object array = NewArray(tensor.type(), tensor.shape(), tensor.data() == nullptr ? &nothing : tensor.data(), flags);
  if (npy_api::get().PyArray_SetBaseObject_(array.ptr(), py::object(capsule).release().ptr()) != 0) throw py::error_already_set();
  return array;
}

}  // namespace sigrun::python
