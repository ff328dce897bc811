#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arrays.h"
#include "run/runner.h"
#include "sigrun/interpreter.h"
#include "support.h"

// The Python faces of Interpreter and SignatureRunner.
namespace sigrun::python {

/// Tensor calls by index, as LiteRT's interpreter has them: they speak of subgraph 0.
class BoundInterpreter {
 public:
  BoundInterpreter(std::shared_ptr<const Model> model, int num_threads, std::string_view precision, bool reference, bool preserve);

  const std::shared_ptr<Interpreter>& interpreter() const { return interpreter_; }
  const Model& model() const { return *model_; }
  const std::shared_ptr<const Model>& model_pointer() const { return model_; }

  void AllocateTensors();
  void Invoke();
  void ResetAllVariables();
  std::vector<std::string> VariableNames() const { return interpreter_->variable_names(); }
  /// None for a variable without a value.
  py::object GetVariable(const std::string& name);
  void SetVariable(const std::string& name, const py::object& array);
  py::dict ProfileRuns(int count);
  void SetTensor(int index, py::handle value);
  py::object GetTensor(int index, int subgraph);
  py::object View(int index);
  void ResizeTensorInput(int index, py::handle shape, bool strict);
  py::list TensorDetailsOf(const std::vector<int32_t>& tensors);
  py::list AllTensorDetails(int subgraph);

 private:
  Runner& runner();
  Tensor& TensorAt(int index);
  py::dict Details(int32_t index);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Interpreter> interpreter_;
  Runner* runner_ = nullptr;  // of subgraph 0; made by the first call that needs it
};

/// A signature with memory of its own.
class BoundSignatureRunner {
 public:
  /// No key: the model's only signature, or the default one of a model without any.
  BoundSignatureRunner(std::shared_ptr<const Model> model, std::shared_ptr<Interpreter> interpreter, std::optional<std::string> key);

  /// Resizes where shapes differ, copies the inputs, runs and copies the outputs out, as one action. `out` may be null.
  py::dict Run(PyObject* inputs, PyObject* out, double timeout_seconds = 0);
  void Cancel() { runner_->Cancel(); }
  void BindState(const py::list& names);  // of tuples (input, output)
  void ResetState();

  py::dict NamePositional(PyObject* positional, PyObject* keywords) const;

  const std::string& key() const { return runner_->signature_key(); }
  py::list InputNames() const;
  py::list OutputNames() const;
  void ResizeInputTensor(py::str name, py::handle shape);
  void AllocateTensors();
  void Invoke();
  py::dict ProfileRuns(int count);
  py::dict ReportPlan();
  py::object InputView(py::str name);
  py::object OutputView(py::str name);
  void SetTensor(py::str name, py::handle value);
  py::object GetTensor(py::str name);
  py::dict InputDetails();
  py::dict OutputDetails();

 private:
  struct Port {
    py::object name;
    std::string text;
    Tensor* tensor;
    size_t position;     // of an input, among the graph's
    bool bound = false;  // a state, or its next value
  };
  Runner& runner() { return runner_->runner(); }
  using Arguments = std::vector<std::optional<Argument>>;  // one an input; none for a state that stays as it is
  Arguments ParseInputs(PyObject* inputs) const;
  void Invoke(const InvokeOptions& options);
  bool Lend(const py::object& array, const Tensor& tensor, std::vector<Lent>& lent) const;
  void FitShapes(const Arguments& arguments);
  void Replan(const Arguments& arguments);
  std::vector<py::object> ParseTargets(PyObject* out) const;
  [[noreturn]] void ThrowWrongInputs(PyObject* inputs) const;
  Port& Find(std::vector<Port>& ports, const py::str& name, const char* kind);
  py::dict Details(const std::vector<Port>& ports);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Interpreter> interpreter_;
  std::unique_ptr<SignatureRunner> runner_;
  bool names_every_input_once_ = false;
  std::vector<Port> inputs_, outputs_;
};

void DefineInterpreter(py::module_& module);
void DefineSignatureRunner(py::module_& module);
void DefineCustomOps(py::module_& module);

}  // namespace sigrun::python
