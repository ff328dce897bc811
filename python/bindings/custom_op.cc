#include "sigrun/custom_op.h"

#include <pybind11/stl.h>

#include <utility>

#include "arrays.h"
#include "bound.h"
#include "details.h"

// Custom operators whose shapes and values are computed by Python.
namespace sigrun::python {
namespace {

// An exception of Python's as a status: whoever called the model may be no Python code.
template <class F>
Status AsStatus(StatusCode code, F&& f) {
  const WithGil held;
  try {
    f();
    return Status();
  } catch (py::error_already_set& e) {
    return Status(code, Utf8(py::str("{}: {}").format(e.type().attr("__name__"), e.value())));
  } catch (const std::exception& e) {
    return Status(code, e.what());
  }
}

py::bytes Bytes(std::span<const uint8_t> bytes) { return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }

/// Never destroyed once registered: `shapes_` and `compute_` need no GIL to be let go.
class PythonOp : public CustomOp {
 public:
  PythonOp(py::object compute, py::object shapes) : compute_(std::move(compute)), shapes_(std::move(shapes)) {}

  Status InferShapes(std::span<const CustomTensor> inputs, std::span<CustomTensor> outputs,
                     std::span<const uint8_t> options) const override {
    if (!has_shapes()) return CustomOp::InferShapes(inputs, outputs, options);
    return AsStatus(StatusCode::kInvalidArgument, [&] {
      py::list given;
      for (const CustomTensor& input : inputs) given.append(input.present ? py::object(ShapeTuple(input.shape)) : py::none());
      const auto shapes = py::cast<std::vector<Shape>>(shapes_(given, Bytes(options)));
      if (shapes.size() != outputs.size()) {
        ThrowValueError("shapes() returned " + std::to_string(shapes.size()) + " shapes for " + std::to_string(outputs.size()) +
                        " outputs");
      }
      for (size_t o = 0; o < shapes.size(); ++o) outputs[o].shape = shapes[o];
    });
  }

  Status Compute(std::span<const CustomTensor> inputs, std::span<CustomTensor> outputs, std::span<const uint8_t> options) const override {
    return AsStatus(StatusCode::kDataError, [&] {
      py::list in, out;
      for (const CustomTensor& input : inputs) in.append(ArrayOf(input, false));
      for (const CustomTensor& output : outputs) out.append(ArrayOf(output, true));
      compute_(in, out, Bytes(options));
      for (size_t o = 0; o < outputs.size(); ++o) {
        if (outputs[o].strings != nullptr) *outputs[o].strings = StringsOf(py::object(out[o]).ptr(), "output " + std::to_string(o));
      }
      for (const py::list& arrays : {in, out}) {
        for (const py::handle array : arrays) {
          // Whoever keeps an array would read memory that is gone.
          if (Py_REFCNT(array.ptr()) > 1) ThrowValueError("compute() kept an array: its memory is the model's, keep a copy");
        }
      }
    });
  }

 private:
  static py::object ArrayOf(const CustomTensor& tensor, bool writeable) {
    if (!tensor.present) return py::none();
    if (tensor.strings != nullptr) return ArrayOfStrings(*tensor.strings, tensor.shape);
    if (TensorTypeBits(tensor.type) < 8) ThrowValueError(std::string("numpy has no ") + TensorTypeName(tensor.type));
    return ArrayOver(tensor.type, tensor.shape, tensor.data, writeable);
  }

  bool has_shapes() const { return shapes_.ptr() != Py_None; }

  py::object compute_, shapes_;
};

void Register(const std::string& name, const py::object& compute, const py::object& shapes) {
  for (const py::object& f : {compute, shapes}) {
    if (PyCallable_Check(f.ptr()) == 0 && !(f.is_none() && f.is(shapes))) {
      PyErr_SetString(PyExc_TypeError, "register_op: compute and shapes are functions");
      throw py::error_already_set();
    }
  }
  Check(RegisterOp(name, std::make_shared<const PythonOp>(compute, shapes)));
}

}  // namespace

void DefineCustomOps(py::module_& module) {
  module.def("register_op", Register, py::arg("name"), py::arg("compute"), py::arg("shapes") = py::none(),
             R"(Lets models that are loaded from now on use Python functions for the custom operator `name`.

Also in the place of an operator that sigrun has. Models that are loaded already keep what they have.

Args:
  name: the custom operator's name in the model.
  compute: compute(inputs, outputs, options), two lists of arrays and the bytes of the operator's options. It writes outputs in place
    (``outputs[0][...] = x``) and returns nothing. The arrays show the model's memory and must not be kept; strings are bytes in object arrays,
    an optional input that is left out is None. Called in the thread that runs the model, one call at a time for each runner.
  shapes: shapes(input_shapes, options), which returns a list with each output's shape. Called when the model is planned. Without it,
    dimensions that the model does not fix are those of input 0.

Raises:
  InvalidArgumentError: the name is empty.
  TypeError: no functions.

An exception in `shapes` fails the planning with ShapeError or InvalidArgumentError, one in `compute` the run with DataError; both name
the operator and the exception.)");
}

}  // namespace sigrun::python
