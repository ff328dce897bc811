#include <pybind11/stl.h>

#include <memory>
#include <utility>

#include "bound.h"
#include "details.h"
#include "fast_call.h"

namespace sigrun::python {

BoundInterpreter::BoundInterpreter(std::shared_ptr<const Model> model, int num_threads, std::string_view precision, bool reference,
                                   bool preserve)
    : model_(std::move(model)) {
  InterpreterOptions options;
  options.num_threads = num_threads;
  options.reference_kernels = reference;
  options.preserve_all_tensors = preserve;
  Status status = ParsePrecision(precision, &options.precision);
  if (!status.ok()) ThrowValueError(status.message());
  {
    const WithoutGil released;
    interpreter_ = Interpreter::Create(model_, options, &status);
  }
  Check(status);
}

Runner& BoundInterpreter::runner() {
  if (runner_ == nullptr) {
    Status status;
    Runner* made = nullptr;
    {
      const WithoutGil released;
      made = interpreter_->runner(&status);
    }
    Check(status);
    runner_ = made;
  }
  return *runner_;
}

Tensor& BoundInterpreter::TensorAt(int index) {
  if (index < 0 || static_cast<size_t>(index) >= model_->tensors_size(0)) {
    ThrowValueError("Invalid tensor index " + std::to_string(index) + " exceeds max tensor index " +
                    std::to_string(model_->tensors_size(0)));
  }
  Tensor* tensor = runner().tensor(index);
  if (tensor == nullptr) {
    ThrowValueError("Tensor data is null. Run allocate_tensors() first, and for inputs, outputs and constants only: tensor " +
                    std::to_string(index) + ", name: " + model_->tensor_description(0, static_cast<size_t>(index)).name +
                    ", is intermediate, its memory is reused while the model runs");
  }
  return *tensor;
}

void BoundInterpreter::AllocateTensors() {
  runner();
  Status status;
  {
    const WithoutGil released;
    status = interpreter_->AllocateTensors();
  }
  Check(status);
}

void BoundInterpreter::ResetAllVariables() { Check(interpreter_->ResetVariables()); }

py::object BoundInterpreter::GetVariable(const std::string& name) {
  VariableValue value;
  Status status;
  {
    const WithoutGil released;
    status = interpreter_->GetVariable(name.c_str(), &value);
  }
  if (status.code() == StatusCode::kFailedPrecondition) return py::none();
  Check(status);
  if (value.type == TensorType::kString) return ArrayOfStrings(value.strings, value.shape);
  return ArrayOver(value.type, value.shape, value.bytes.data(), true).attr("copy")();
}

namespace {

// The type whose arrays have this dtype: `known` if it is one of them.
TensorType TypeOf(const py::handle& dtype, TensorType known) {
  const auto fits = [&](TensorType type) { return TensorTypeBits(type) >= 8 && dtype.equal(py::handle(ArrayDtype(type))); };
  if (fits(known)) return known;
  for (int i = 0; i < kTensorTypeCount; ++i) {
    if (fits(static_cast<TensorType>(i))) return static_cast<TensorType>(i);
  }
  return TensorType::kString;
}

}  // namespace

void BoundInterpreter::SetVariable(const std::string& name, const py::object& array) {
  VariableValue value;
  Status status;
  {
    const WithoutGil released;
    status = interpreter_->GetVariable(name.c_str(), &value);
  }
  if (status.code() != StatusCode::kFailedPrecondition) Check(status);
  value.type = TypeOf(array.attr("dtype"), value.type);
  value.shape = array.attr("shape").cast<Shape>();
  value.bytes.clear();
  value.strings.clear();
  if (value.type == TensorType::kString) {
    value.strings = StringsOf(array.ptr(), "variable '" + name + "'");
  } else {
    const std::string bytes = py::bytes(array.attr("tobytes")());
    const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
    value.bytes.assign(data, data + bytes.size());
  }
  {
    const WithoutGil released;
    status = interpreter_->SetVariable(name.c_str(), value);
  }
  Check(status);
}

void BoundInterpreter::Invoke() {
  Runner& runner = this->runner();
  Status status;
  {
    const WithoutGil released;
    status = runner.Invoke();
  }
  Check(status);
}

py::dict BoundInterpreter::ProfileRuns(int count) { return ProfileOf(runner(), count); }

void BoundInterpreter::SetTensor(int index, py::handle value) {
  Tensor& tensor = TensorAt(index);
  Argument argument(value.ptr(), tensor, nullptr);
  const RunnerLock lock(runner_->mutex());
  if (!runner_->allocated()) ThrowValueError("Cannot set tensor: Tensor is unallocated. Try calling allocate_tensors() first");
  if (!argument.ShapeIs(tensor.shape())) {
    const Shape given = argument.shape();
    std::string message = "Cannot set tensor: Dimension mismatch. Got ";
    size_t d = 0;
    while (given.size() == tensor.shape().size() && given[d] == tensor.shape()[d]) ++d;
    if (given.size() != tensor.shape().size()) {
      message += std::to_string(given.size()) + " but expected " + std::to_string(tensor.shape().size());
    } else {
      message += std::to_string(given[d]) + " but expected " + std::to_string(tensor.shape()[d]) + " for dimension " + std::to_string(d);
      message += " of";
    }
    if (given.size() != tensor.shape().size()) message += " for";
    Throw(Fault::kShape, message + " input " + std::to_string(index) + ". Its name is " + tensor.name() + ", its shape " +
                             ShapeText(tensor.shape()) + ", that of the value " + ShapeText(given));
  }
  argument.CopyTo(tensor);
}

py::object BoundInterpreter::GetTensor(int index, int subgraph) {
  if (subgraph < 0 || static_cast<size_t>(subgraph) >= model_->subgraphs_size()) {
    ThrowValueError("Invalid subgraph index " + std::to_string(subgraph) + " exceeds max subgraph index " +
                    std::to_string(model_->subgraphs_size()));
  }
  if (subgraph != 0)
    ThrowValueError("Tensor data is null: subgraph " + std::to_string(subgraph) + " runs in signature runners, which hold its tensors");
  const Tensor& tensor = TensorAt(index);
  const RunnerLock lock(runner_->mutex());
  if (!runner_->allocated() && !tensor.is_constant()) ThrowValueError("Tensor data is null. Run allocate_tensors() first");
  return CopyOf(tensor);
}

py::object BoundInterpreter::View(int index) {
  Tensor& tensor = TensorAt(index);
  const RunnerLock lock(runner_->mutex());
  if (!runner_->allocated() && !tensor.is_constant()) ThrowValueError("Tensor data is null. Run allocate_tensors() first");
  return ViewOf(tensor, model_);
}

void BoundInterpreter::ResizeTensorInput(int index, py::handle shape, bool strict) {
  const Shape wanted = ToShape(shape);
  runner();
  Status status;
  {
    const WithoutGil released;
    status = strict ? interpreter_->ResizeInputTensorStrict(index, wanted) : interpreter_->ResizeInputTensor(index, wanted);
  }
  Check(status, Fault::kShape);
}

py::dict BoundInterpreter::Details(int32_t index) {
  if (runner_ == nullptr) return TensorDetails(*model_, 0, index, nullptr);
  const RunnerLock lock(runner_->mutex());
  const Shape shape = runner_->shape(index);
  return TensorDetails(*model_, 0, index, &shape);
}

py::list BoundInterpreter::TensorDetailsOf(const std::vector<int32_t>& tensors) {
  py::list details;
  for (const int32_t index : tensors) details.append(Details(index));
  return details;
}

py::list BoundInterpreter::AllTensorDetails(int subgraph) {
  if (subgraph < 0 || static_cast<size_t>(subgraph) >= model_->subgraphs_size()) {
    ThrowValueError("subgraph_index is out of range: " + std::to_string(subgraph) + " for the model, which has " +
                    std::to_string(model_->subgraphs_size()) + " subgraphs.");
  }
  py::list details;
  for (size_t i = 0; i < model_->tensors_size(static_cast<size_t>(subgraph)); ++i) {
    const auto index = static_cast<int32_t>(i);
    details.append(subgraph == 0 ? Details(index) : TensorDetails(*model_, static_cast<size_t>(subgraph), index, nullptr));
  }
  return details;
}

namespace {

PyObject* CallInvoke(PyObject* self, PyObject*) {
  return Translate([&] {
    Self<BoundInterpreter>(self).Invoke();
    return py::none().release().ptr();
  });
}

PyObject* CallSetTensor(PyObject* self, PyObject* const* values, Py_ssize_t positional, PyObject* keywords) {
  return Translate([&] {
    static constexpr const char* kNames[] = {"tensor_index", "value"};
    const auto [index, value] = MatchArguments("set_tensor", kNames, 2, values, positional, keywords);
    Self<BoundInterpreter>(self).SetTensor(ToInt(index), value);
    return py::none().release().ptr();
  });
}

PyObject* CallGetTensor(PyObject* self, PyObject* const* values, Py_ssize_t positional, PyObject* keywords) {
  return Translate([&] {
    static constexpr const char* kNames[] = {"tensor_index", "subgraph_index"};
    const auto [index, subgraph] = MatchArguments("get_tensor", kNames, 1, values, positional, keywords);
    return Self<BoundInterpreter>(self).GetTensor(ToInt(index), subgraph == nullptr ? 0 : ToInt(subgraph)).release().ptr();
  });
}

PyMethodDef methods[] = {{"invoke", CallInvoke, METH_NOARGS, R"(invoke($self, /)
--

Runs subgraph 0 on the inputs as they are. The GIL is released meanwhile.

Raises:
  RuntimeError: allocate_tensors() has not been called, or an operator refuses the values that it reads.)"},
                         FastMethod("set_tensor", CallSetTensor, R"(set_tensor($self, /, tensor_index, value)
--

Copies `value` into an input.

Args:
  tensor_index: the "index" of a tensor's details.
  value: an array of the tensor's dtype and shape, in any memory layout; bytes or str for strings. Python numbers and lists are converted.

Raises:
  ValueError: another dtype, rank or dimension; an index out of range; tensors are not allocated.)"),
                         FastMethod("get_tensor", CallGetTensor, R"(get_tensor($self, /, tensor_index, subgraph_index=0)
--

Returns a copy of an input, an output or a constant.

Strings come as an object array of bytes; 4- and 2-bit integers unpacked to 8 bits.

Raises:
  ValueError: an index out of range, tensors are not allocated, or the tensor is intermediate: its memory is reused while running.)"),
                         {}};

}  // namespace

void DefineInterpreter(py::module_& module) {
  py::class_<BoundInterpreter> type(module, "Interpreter");
  AddMethods(type, methods);
  type.def(py::init([](const std::shared_ptr<Model>& model, int num_threads, std::string_view precision, bool reference, bool preserve) {
             return std::make_unique<BoundInterpreter>(model, num_threads, precision, reference, preserve);
           }),
           py::arg("model"), py::arg("num_threads"), py::arg("precision") = "highest", py::arg("reference_kernels") = false,
           py::arg("preserve_all_tensors") = false)
      .def("allocate_tensors", &BoundInterpreter::AllocateTensors, R"(Plans for the current input shapes and takes the memory.

Nothing happens if the shapes have not changed since the last call. On failure the interpreter stays as it was.

Raises:
  InvalidArgumentError: the operators cannot take these shapes (a ValueError and a RuntimeError).
  RuntimeError: an operator is missing in this build, or memory that a held view shows would have to move.)")
      .def("reset_all_variables", &BoundInterpreter::ResetAllVariables,
           R"(Sets the states of recurrent operators back to what they were at first.

These are the tensors that the file marks as variable, in all signatures. Variables that the model assigns itself keep their values.)")
      .def_property_readonly("_variable_names", &BoundInterpreter::VariableNames)
      .def("_get_variable", &BoundInterpreter::GetVariable, py::arg("name"))
      .def("_set_variable", &BoundInterpreter::SetVariable, py::arg("name"), py::arg("value"))
      .def("_profile", &BoundInterpreter::ProfileRuns, py::arg("count"))
      .def("_view", &BoundInterpreter::View, py::arg("tensor_index"))
      .def("resize_tensor_input", &BoundInterpreter::ResizeTensorInput, py::arg("input_index"), py::arg("tensor_size"),
           py::arg("strict") = false,
           R"(Asks for a new shape of an input; allocate_tensors() makes it real.

Args:
  input_index: the "index" of the input's details.
  tensor_size: the dimensions, a sequence of integers.
  strict: allow only dimensions to change that are -1 in "shape_signature".

Raises:
  InvalidArgumentError: not an input, or a negative or too large shape (a ValueError and a RuntimeError).
  RuntimeError: strict, and a known dimension would change.)")
      .def(
          "get_input_details", [](BoundInterpreter& self) { return self.TensorDetailsOf(self.model().inputs(0)); },
          "Returns the details of subgraph 0's inputs, a list of dictionaries in the subgraph's order. See get_tensor_details().")
      .def(
          "get_output_details", [](BoundInterpreter& self) { return self.TensorDetailsOf(self.model().outputs(0)); },
          "Returns the details of subgraph 0's outputs, a list of dictionaries in the subgraph's order. See get_tensor_details().")
      .def("get_tensor_details", &BoundInterpreter::AllTensorDetails, py::arg("subgraph_index") = 0,
           R"(Returns the details of every tensor of a subgraph.

Each is a dictionary: "name" (str), "index" (int), "shape" (int32 array, as it is now), "shape_signature" (the same, -1 where unknown),
"dtype" (a numpy type such as numpy.float32; ``numpy.bytes_`` for strings), "quantization" (scale, zero point; zeros unless per tensor),
"quantization_parameters" ("scales", "zero_points", "quantized_dimension", "block_size") and "sparsity_parameters" (empty if dense).

Raises:
  ValueError: no such subgraph.)")
      .def(
          "get_signature_list", [](const BoundInterpreter& self) { return SignatureNames(self.model()); },
          R"(Returns {key: {"inputs": [names], "outputs": [names]}} of the file, names in alphabetical order; {} if it has no signature.)")
      .def("_get_full_signature_list", [](const BoundInterpreter& self) { return SignatureIndices(self.model()); })
      .def(
          "_get_op_details", [](const BoundInterpreter& self, size_t index) { return OperatorDetails(self.model(), index); },
          py::arg("op_index"))
      .def("_get_ops_details",
           [](const BoundInterpreter& self) {
             py::list details;
             for (size_t i = 0; i < OperatorCount(self.model()); ++i) details.append(OperatorDetails(self.model(), i));
             return details;
           })
      .def(
          "num_subgraphs", [](const BoundInterpreter& self) { return self.model().subgraphs_size(); },
          "Returns the number of subgraphs in the model.")
      .def_property_readonly("num_threads", [](const BoundInterpreter& self) { return self.interpreter()->num_threads(); })
      .def_property_readonly("precision", [](const BoundInterpreter& self) { return PrecisionName(self.interpreter()->precision()); });
}

}  // namespace sigrun::python
