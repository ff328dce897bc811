#include <algorithm>
#include <set>
#include <utility>

#include "bound.h"
#include "details.h"
#include "fast_call.h"

namespace sigrun::python {
namespace {

// Below this an argument is copied: the runner's own memory is as near.
constexpr size_t kWorthLending = 4096;

std::string Quoted(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text;
}

py::object Interned(const std::string& name) {
  PyObject* text = Text(name).release().ptr();
  PyUnicode_InternInPlace(&text);
  return py::reinterpret_steal<py::object>(text);
}

}  // namespace

BoundSignatureRunner::BoundSignatureRunner(std::shared_ptr<const Model> model, std::shared_ptr<Interpreter> interpreter,
                                           std::optional<std::string> key)
    : model_(std::move(model)), interpreter_(std::move(interpreter)) {
  Status status;
  {
    const WithoutGil released;
    runner_ = interpreter_->GetSignatureRunner(key ? key->c_str() : nullptr, &status);
  }
  Check(status, Fault::kSignature);
  const auto bind = [this](const std::string& name, const Tensor* tensor) {
    if (tensor == nullptr) throw std::runtime_error("the signature's '" + name + "' is neither an input nor an output of its subgraph");
    const std::vector<int32_t>& inputs = runner().graph().inputs;
    const auto position = std::find(inputs.begin(), inputs.end(), tensor->index()) - inputs.begin();
    return Port{Interned(name), name, const_cast<Tensor*>(tensor), static_cast<size_t>(position)};
  };
  for (const std::string& name : runner_->input_names()) inputs_.push_back(bind(name, runner_->input_tensor(name.c_str())));
  std::set<size_t> positions;
  for (const Port& input : inputs_) positions.insert(input.position);
  names_every_input_once_ = positions.size() == inputs_.size() && positions.size() == runner().graph().inputs.size();
  for (const std::string& name : runner_->output_names()) outputs_.push_back(bind(name, runner_->output_tensor(name.c_str())));
}

void BoundSignatureRunner::ThrowWrongInputs(PyObject* inputs) const {
  const py::dict given = py::reinterpret_borrow<py::dict>(inputs);
  std::vector<std::string> missing;
  for (const Port& input : inputs_) {
    if (!input.bound && !given.contains(input.name)) missing.push_back(input.text);
  }
  std::string message;
  const auto is_bound = [](const Port& input) { return input.bound; };
  if (given.size() != inputs_.size() && std::none_of(inputs_.begin(), inputs_.end(), is_bound)) {
    message = "Invalid number of inputs provided for running a SignatureDef, expected " + std::to_string(inputs_.size()) + " vs provided " +
              std::to_string(given.size()) + ".";
  }
  if (!missing.empty()) message += std::string(message.empty() ? "" : " ") + "Missing: " + Quoted(missing) + ".";
  for (const auto& [name, value] : given) {
    const py::handle key = name;
    const bool known = std::any_of(inputs_.begin(), inputs_.end(), [&](const Port& input) { return input.name.equal(key); });
    if (known) continue;
    const std::string prefix = "Invalid Input name (" + Utf8(key) + ") for SignatureDef '" + runner_->signature_key() + "'.";
    message = prefix + NameHint(key, runner_->input_names()) + (message.empty() ? "" : " ") + message;
    break;
  }
  Throw(Fault::kSignature, message);
}

// Positional arguments under their inputs' names, in alphabetical order, beside the keyword arguments, which may be null.
py::dict BoundSignatureRunner::NamePositional(PyObject* positional, PyObject* keywords) const {
  py::dict inputs;
  if (keywords != nullptr) inputs = py::reinterpret_steal<py::dict>(PyDict_Copy(keywords));
  const auto count = static_cast<size_t>(PyTuple_GET_SIZE(positional));
  if (count > inputs_.size()) {
    throw py::type_error("signature '" + runner_->signature_key() + "' takes " + std::to_string(inputs_.size()) + " inputs (" +
                         Quoted(runner_->input_names()) + "), got " + std::to_string(count) + " positional arguments");
  }
  for (size_t i = 0; i < count; ++i) {
    if (inputs.contains(inputs_[i].name)) throw py::type_error("got multiple values for input '" + inputs_[i].text + "'");
    inputs[inputs_[i].name] = py::handle(PyTuple_GET_ITEM(positional, static_cast<Py_ssize_t>(i)));
  }
  return inputs;
}

// `inputs` may be null for none.
BoundSignatureRunner::Arguments BoundSignatureRunner::ParseInputs(PyObject* inputs) const {
  const py::object given = inputs == nullptr ? py::object(py::dict()) : py::reinterpret_borrow<py::object>(inputs);
  const auto left_out = [&](const Port& input) { return input.bound && PyDict_Contains(given.ptr(), input.name.ptr()) == 0; };
  const auto states = static_cast<size_t>(std::count_if(inputs_.begin(), inputs_.end(), left_out));
  if (static_cast<size_t>(PyDict_GET_SIZE(given.ptr())) + states != inputs_.size()) ThrowWrongInputs(given.ptr());
  Arguments arguments;
  arguments.reserve(inputs_.size());
  for (const Port& input : inputs_) {
    PyObject* value = PyDict_GetItemWithError(given.ptr(), input.name.ptr());
    if (value == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
    if (value == nullptr && input.bound) {
      arguments.emplace_back();
      continue;
    }
    if (value == nullptr) ThrowWrongInputs(given.ptr());
    const py::object held = py::reinterpret_borrow<py::object>(value);  // converting it may run code that changes the dictionary
    arguments.emplace_back(std::in_place, held.ptr(), *input.tensor, input.text.c_str());
  }
  return arguments;
}

// A refused shape leaves the runner planned as it was.
void BoundSignatureRunner::FitShapes(const Arguments& arguments) {
  bool fits = runner().allocated();
  const auto is = [&](size_t i, const Shape& shape) {
    return arguments[i] ? arguments[i]->ShapeIs(shape) : inputs_[i].tensor->shape() == shape;
  };
  for (size_t i = 0; fits && i < inputs_.size(); ++i) fits = is(i, inputs_[i].tensor->shape());
  if (fits) return;
  const auto fit = [&](const std::vector<Shape>& shapes) {
    bool all = names_every_input_once_;
    for (size_t i = 0; all && i < inputs_.size(); ++i) all = is(i, shapes[inputs_[i].position]);
    return all;
  };
  if (runner().SwitchTo(fit)) return;
  Replan(arguments);
  for (size_t i = 0; i < inputs_.size(); ++i) {  // two names may stand for one tensor
    if (is(i, inputs_[i].tensor->shape())) continue;
    Throw(Fault::kShape, "input '" + inputs_[i].text + "' has the shape " + ShapeText(arguments[i]->shape()) +
                             ", but its tensor is also another input, of shape " + ShapeText(inputs_[i].tensor->shape()));
  }
}

// Plans for other shapes of the inputs, or leaves the runner as it was.
void BoundSignatureRunner::Replan(const Arguments& arguments) {
  std::vector<Shape> before;
  std::vector<Shape> wanted;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    before.push_back(runner().shape(inputs_[i].tensor->index()));
    wanted.push_back(arguments[i] ? arguments[i]->shape() : before.back());
  }
  const auto resize = [&](const std::vector<Shape>& shapes) {
    Status status;
    for (size_t i = 0; status.ok() && i < inputs_.size(); ++i) status = runner_->ResizeInputTensor(inputs_[i].text.c_str(), shapes[i]);
    return status;
  };
  Status status;
  {
    const WithoutGil released;
    const bool was_allocated = runner().allocated();
    status = resize(wanted);
    if (status.ok()) status = runner_->AllocateTensors();
    if (!status.ok() && resize(before).ok() && was_allocated) static_cast<void>(runner_->AllocateTensors());
  }
  Check(status);
}

// One an output; null where the caller gave none.
std::vector<py::object> BoundSignatureRunner::ParseTargets(PyObject* out) const {
  std::vector<py::object> targets(outputs_.size());
  Py_ssize_t found = 0;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    PyObject* target = PyDict_GetItemWithError(out, outputs_[i].name.ptr());
    if (target == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
    if (target == nullptr) continue;
    targets[i] = py::reinterpret_borrow<py::object>(target);
    CheckTarget(target, *outputs_[i].tensor, outputs_[i].text);
    ++found;
  }
  if (found == PyDict_GET_SIZE(out)) return targets;
  for (const auto& [name, value] : py::reinterpret_borrow<py::dict>(out)) {
    const py::handle key = name;
    const bool known = std::any_of(outputs_.begin(), outputs_.end(), [&](const Port& output) { return output.name.equal(key); });
    if (!known) Throw(Fault::kSignature, "out has no output '" + Utf8(key) + "' to take." + NameHint(key, runner_->output_names()));
  }
  return targets;
}

// Whether the array can stand in for the tensor's own memory; it overlaps none that does already.
bool BoundSignatureRunner::Lend(const py::object& array, const Tensor& tensor, std::vector<Lent>& lent) const {
  const py::detail::PyArray_Proxy& given = *py::detail::array_proxy(array.ptr());
  if ((given.flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0 || !runner_->CanLend(tensor)) return false;
  for (const Lent& other : lent) {
    const char *begin = static_cast<const char*>(other.data), *end = begin + other.tensor->bytes();
    if (other.tensor == &tensor || (given.data < end && begin < given.data + tensor.bytes())) return false;
  }
  lent.push_back({&tensor, given.data});
  return true;
}

py::dict BoundSignatureRunner::Run(PyObject* inputs, PyObject* out, double timeout_seconds) {
  Arguments arguments = ParseInputs(inputs);
  const std::vector<py::object> targets = out == nullptr ? std::vector<py::object>() : ParseTargets(out);
  py::dict results;
  const RunnerLock lock(runner().mutex());
  FitShapes(arguments);
  std::vector<Lent> lent;
  std::vector<char> is_lent(targets.size(), 0);
  for (size_t i = 0; i < targets.size(); ++i) {
    const Tensor& tensor = *outputs_[i].tensor;
    is_lent[i] = targets[i] && HasShape(targets[i].ptr(), tensor.shape()) && Lend(targets[i], tensor, lent);
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (!arguments[i]) continue;
    Tensor& tensor = *inputs_[i].tensor;
    const bool stands = tensor.bytes() >= kWorthLending && arguments[i]->StandsFor(tensor) && Lend(arguments[i]->object(), tensor, lent);
    if (!stands) arguments[i]->CopyTo(tensor);
  }
  Invoke({lent, timeout_seconds});
  for (size_t i = 0; i < targets.size(); ++i) {
    const Shape& shape = outputs_[i].tensor->shape();
    if (targets[i] && !HasShape(targets[i].ptr(), shape)) {
      Throw(Fault::kShape, "out['" + outputs_[i].text + "'] has the shape " + ShapeText(ToShape(targets[i].attr("shape"))) +
                               ", the output " + ShapeText(shape));
    }
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const Port& output = outputs_[i];
    const bool given = !targets.empty() && targets[i];
    if (output.bound && !given) continue;
    if (given && !is_lent[i]) CopyInto(targets[i].ptr(), *output.tensor);
    const py::object result = given ? targets[i] : CopyOf(*output.tensor);
    if (PyDict_SetItem(results.ptr(), output.name.ptr(), result.ptr()) != 0) throw py::error_already_set();
  }
  return results;
}

void BoundSignatureRunner::BindState(const py::list& names) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const py::handle& pair : names) {
    const auto both = py::reinterpret_borrow<py::tuple>(pair);
    pairs.emplace_back(Utf8(py::object(both[0])), Utf8(py::object(both[1])));
  }
  const RunnerLock lock(runner().mutex());
  Status status;
  {
    const WithoutGil released;
    status = runner_->BindState(pairs);
  }
  Check(status, Fault::kSignature);
  for (Port& input : inputs_) {
    input.bound = std::any_of(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.first == input.text; });
  }
  for (Port& output : outputs_) {
    output.bound = std::any_of(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.second == output.text; });
  }
}

void BoundSignatureRunner::ResetState() {
  const WithoutGil released;
  runner_->ResetState();
}

py::list BoundSignatureRunner::InputNames() const {
  py::list names;
  for (const Port& input : inputs_) names.append(input.name);
  return names;
}

py::list BoundSignatureRunner::OutputNames() const {
  py::list names;
  for (const Port& output : outputs_) names.append(output.name);
  return names;
}

BoundSignatureRunner::Port& BoundSignatureRunner::Find(std::vector<Port>& ports, const py::str& name, const char* kind) {
  for (Port& port : ports) {
    if (port.name.equal(name)) return port;
  }
  const bool input = &ports == &inputs_;
  Throw(Fault::kSignature, std::string("Invalid ") + kind + " name (" + Utf8(name) + ") for SignatureDef '" + runner_->signature_key() +
                               "'." + NameHint(name, input ? runner_->input_names() : runner_->output_names()));
}

void BoundSignatureRunner::ResizeInputTensor(py::str name, py::handle shape) {
  const Shape wanted = ToShape(shape);
  const Port& input = Find(inputs_, name, "Input");
  Status status;
  {
    const WithoutGil released;
    status = runner_->ResizeInputTensor(input.text.c_str(), wanted);
  }
  Check(status, Fault::kShape);
}

void BoundSignatureRunner::AllocateTensors() {
  Status status;
  {
    const WithoutGil released;
    status = runner_->AllocateTensors();
  }
  Check(status);
}

void BoundSignatureRunner::Invoke() { Invoke(InvokeOptions{}); }

void BoundSignatureRunner::Invoke(const InvokeOptions& options) {
  Status status;
  {
    const WithoutGil released;
    status = runner_->Invoke(options);
  }
  Check(status);
}

py::dict BoundSignatureRunner::ProfileRuns(int count) { return ProfileOf(runner(), count); }

py::dict BoundSignatureRunner::ReportPlan() {
  Runner& runner = this->runner();
  if (!runner.allocated()) ThrowValueError("There is no plan yet. Run allocate_tensors() first");
  PlanReport report;
  {
    const WithoutGil released;
    report = runner.Report();
  }
  return PlanFields(report);
}

py::object BoundSignatureRunner::InputView(py::str name) {
  const Port& input = Find(inputs_, name, "Input");
  const RunnerLock lock(runner().mutex());
  if (!runner().allocated()) ThrowValueError("Tensor data is null. Run allocate_tensors() first");
  return ViewOf(*input.tensor, model_);
}

py::object BoundSignatureRunner::OutputView(py::str name) {
  const Port& output = Find(outputs_, name, "Output");
  const RunnerLock lock(runner().mutex());
  if (!runner().allocated()) ThrowValueError("Tensor data is null. Run allocate_tensors() first");
  return ViewOf(*output.tensor, model_);
}

void BoundSignatureRunner::SetTensor(py::str name, py::handle value) {
  const Port& input = Find(inputs_, name, "Input");
  Argument argument(value.ptr(), *input.tensor, input.text.c_str());
  const RunnerLock lock(runner().mutex());
  if (!runner().allocated()) ThrowValueError("Cannot set tensor: Tensor is unallocated. Try calling allocate_tensors() first");
  if (!argument.ShapeIs(input.tensor->shape())) {
    Throw(Fault::kShape, "Cannot set tensor: Dimension mismatch. Got " + ShapeText(argument.shape()) + " but expected " +
                             ShapeText(input.tensor->shape()) + " for input '" + input.text + "'");
  }
  argument.CopyTo(*input.tensor);
}

py::object BoundSignatureRunner::GetTensor(py::str name) {
  const bool is_input = std::any_of(inputs_.begin(), inputs_.end(), [&](const Port& input) { return input.name.equal(name); });
  const bool is_output = std::any_of(outputs_.begin(), outputs_.end(), [&](const Port& output) { return output.name.equal(name); });
  const Port& port = is_input && !is_output ? Find(inputs_, name, "Input") : Find(outputs_, name, "Output");
  const RunnerLock lock(runner().mutex());
  if (!runner().allocated()) ThrowValueError("Tensor data is null. Run allocate_tensors() first");
  return CopyOf(*port.tensor);
}

py::dict BoundSignatureRunner::Details(const std::vector<Port>& ports) {
  const RunnerLock lock(runner().mutex());
  const size_t subgraph = runner().graph().subgraph;
  py::dict details;
  for (const Port& port : ports) {
    const Shape shape = runner().shape(port.tensor->index());
    details[port.name] = TensorDetails(*model_, subgraph, port.tensor->index(), &shape);
  }
  return details;
}

py::dict BoundSignatureRunner::InputDetails() { return Details(inputs_); }

py::dict BoundSignatureRunner::OutputDetails() { return Details(outputs_); }

namespace {

// tp_call of the class: `runner(*positional, **inputs)`.
PyObject* Call(PyObject* self, PyObject* positional, PyObject* inputs) {
  return Translate([&] {
    BoundSignatureRunner& runner = Self<BoundSignatureRunner>(self);
    const py::object named = PyTuple_GET_SIZE(positional) == 0 ? py::object() : runner.NamePositional(positional, inputs);
    return runner.Run(named ? named.ptr() : inputs, nullptr).release().ptr();
  });
}

py::object ToDict(PyObject* mapping) {
  return PyDict_CheckExact(mapping) ? py::reinterpret_borrow<py::object>(mapping)
                                    : py::object(py::dict(py::reinterpret_borrow<py::object>(mapping)));
}

PyObject* CallRun(PyObject* self, PyObject* const* values, Py_ssize_t positional, PyObject* keywords) {
  return Translate([&] {
    static constexpr const char* kNames[] = {"inputs", "out", "timeout"};
    const auto [inputs, out, timeout] = MatchArguments("_run", kNames, 1, values, positional, keywords);
    const py::object given = ToDict(inputs);
    const py::object targets = out == nullptr || out == Py_None ? py::object() : ToDict(out);
    const double seconds = timeout == nullptr || timeout == Py_None ? 0 : py::cast<double>(py::handle(timeout));
    if (seconds < 0 || (seconds == 0 && timeout != nullptr && timeout != Py_None)) ThrowValueError("timeout should be above 0");
    return Self<BoundSignatureRunner>(self).Run(given.ptr(), targets.ptr(), seconds).release().ptr();
  });
}

PyObject* CallInvoke(PyObject* self, PyObject*) {
  return Translate([&] {
    Self<BoundSignatureRunner>(self).Invoke();
    return py::none().release().ptr();
  });
}

PyMethodDef methods[] = {
    FastMethod("_run", CallRun, "_run($self, /, inputs, out=None, timeout=None)\n--\n\nSee sigrun.SignatureRunner.run."),
    {"invoke", CallInvoke, METH_NOARGS, R"(invoke($self, /)
--

Runs the signature on its inputs as they are. The GIL is released meanwhile.

Raises:
  RuntimeError: allocate_tensors() has not been called, or an operator refuses the values that it reads.)"},
    {}};

}  // namespace

void DefineSignatureRunner(py::module_& module) {
  const auto callable = py::custom_type_setup([](PyHeapTypeObject* type) { type->ht_type.tp_call = Call; });
  py::class_<BoundSignatureRunner> type(module, "SignatureRunner", callable);
  AddMethods(type, methods);
  type.def(py::init([](const BoundInterpreter& interpreter, const py::object& key) {
             const auto text = key.is_none() ? std::optional<std::string>() : Utf8(key);
             return std::make_unique<BoundSignatureRunner>(interpreter.model_pointer(), interpreter.interpreter(), text);
           }),
           py::arg("interpreter"), py::arg("signature_key") = py::none())
      .def("resize_input_tensor", &BoundSignatureRunner::ResizeInputTensor, py::arg("input_name"), py::arg("shape"),
           R"(Asks for a new shape of an input; allocate_tensors() makes it real.

Raises:
  ValueError: an unknown name, or a negative or too large shape.)")
      .def("allocate_tensors", &BoundSignatureRunner::AllocateTensors, R"(Plans for the current input shapes, unless they have not changed.

Raises:
  InvalidArgumentError: the operators cannot take these shapes (a ValueError and a RuntimeError).
  RuntimeError: memory that a held view shows would have to move.)")
      .def("_bind_state", &BoundSignatureRunner::BindState, py::arg("pairs"))
      .def("reset_state", &BoundSignatureRunner::ResetState, "Fills the inputs that bind_state() has bound with zeros.")
      .def("_profile", &BoundSignatureRunner::ProfileRuns, py::arg("count"))
      .def("_report", &BoundSignatureRunner::ReportPlan)
      .def("cancel", &BoundSignatureRunner::Cancel,
           R"(Ends the run that is under way in another thread, before its next operator; it raises CancelledError.

Nothing happens if there is none. The runner can be used again.)")
      .def("input_tensor", &BoundSignatureRunner::InputView, py::arg("input_name"),
           R"(Returns a view of an input's memory: an array, no copy.

It may be held while running, and keeps its memory alive by itself. While it lives, allocate_tensors() refuses other shapes for this tensor.

Raises:
  ValueError: an unknown name, tensors are not allocated, or strings or packed integers, which numpy cannot show in place.)")
      .def("output_tensor", &BoundSignatureRunner::OutputView, py::arg("output_name"),
           R"(Returns a view of an output's memory: an array, no copy.

The next run writes into it. See input_tensor().)")
      .def("set_tensor", &BoundSignatureRunner::SetTensor, py::arg("input_name"), py::arg("value"),
           R"(Copies `value` into an input; for strings, too.

Raises:
  ValueError: an unknown name, another dtype or shape, or tensors are not allocated.)")
      .def("get_tensor", &BoundSignatureRunner::GetTensor, py::arg("name"),
           R"(Returns a copy of an output, or of an input; for strings, too.

Raises:
  ValueError: an unknown name, or tensors are not allocated.)")
      .def("get_input_details", &BoundSignatureRunner::InputDetails,
           "Returns {name: details} of the inputs; see Interpreter.get_tensor_details() for the fields.")
      .def("get_output_details", &BoundSignatureRunner::OutputDetails,
           "Returns {name: details} of the outputs; see Interpreter.get_tensor_details() for the fields.")
      .def_property_readonly("signature_key", [](const BoundSignatureRunner& self) { return Text(self.key()); })
      .def_property_readonly("input_names", &BoundSignatureRunner::InputNames, "The inputs' names, in alphabetical order.")
      .def_property_readonly("output_names", &BoundSignatureRunner::OutputNames, "The outputs' names, in alphabetical order.");
}

}  // namespace sigrun::python
