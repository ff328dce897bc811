#include "sigrun/interpreter.h"

#include <algorithm>
#include <cstring>

#include "model/error.h"
#include "run/model_impl.h"
#include "run/runner.h"

namespace sigrun {
namespace {

void Report(Status* to, Status status) {
  if (to != nullptr) *to = std::move(status);
}

std::vector<std::string> Names(const std::vector<std::pair<std::string, int32_t>>& map) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : map) names.push_back(name);
  return names;
}

std::string Quoted(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text.empty() ? "none" : text;
}

// The tensor behind a name, or -1.
int32_t TensorOf(const std::vector<std::pair<std::string, int32_t>>& map, const char* name) {
  for (const auto& [known, tensor] : map) {
    if (name != nullptr && known == name) return tensor;
  }
  return -1;
}

// Throws unless the output can become the input.
void CheckState(const std::string& key, const std::string& input_name, const Tensor& input, const std::string& output_name,
                const Tensor& output) {
  const auto refuse = [&](const auto&... why) {
    Fail(StatusCode::kInvalidArgument, "signature '", key, "': input '", input_name, "' cannot be bound to output '", output_name,
         "': ", why...);
  };
  if (input.type() != output.type()) refuse("they are ", TensorTypeName(input.type()), " and ", TensorTypeName(output.type()));
  if (input.type() == TensorType::kString) refuse("strings have no memory of fixed size");
  if (input.is_constant() || output.is_constant()) refuse("constants do not change");
  const Quantization &before = input.quantization(), &after = output.quantization();
  if (before.scale != after.scale || before.zero_point != after.zero_point) refuse("they are quantised differently");
}

}  // namespace

std::shared_ptr<const void> Tensor::Hold() const {
  std::shared_ptr<const void> lease = lease_.lock();
  if (lease == nullptr && memory_ != nullptr) {
    lease = std::make_shared<std::shared_ptr<const void>>(memory_);
    lease_ = lease;
  }
  return lease;
}

// --- SignatureRunner
// ----------------------------------------------------------------------------------------------------------------------

SignatureRunner::SignatureRunner(Signature signature, std::unique_ptr<Runner> runner)
    : signature_(std::move(signature)),
      input_names_(Names(signature_.inputs)),
      output_names_(Names(signature_.outputs)),
      runner_(std::move(runner)) {}
SignatureRunner::~SignatureRunner() = default;

const std::string& SignatureRunner::signature_key() const { return signature_.key; }
const std::vector<std::string>& SignatureRunner::input_names() const { return input_names_; }
const std::vector<std::string>& SignatureRunner::output_names() const { return output_names_; }

Status SignatureRunner::ResizeInputTensor(const char* input_name, const Shape& shape) {
  return Guard([&] {
    const int32_t tensor = TensorOf(signature_.inputs, input_name);
    if (tensor < 0) {
      Fail(StatusCode::kInvalidArgument, "Invalid Input name (", input_name == nullptr ? "null" : input_name, ") for SignatureDef '",
           signature_.key, "': its inputs are ", Quoted(input_names_));
    }
    runner_->ResizeInput(tensor, shape, false);
  });
}

Status SignatureRunner::AllocateTensors() {
  return Guard([&] { runner_->AllocateTensors(); });
}

Status SignatureRunner::Invoke() { return runner_->Invoke(); }
Status SignatureRunner::Invoke(const InvokeOptions& options) { return runner_->Invoke(options); }
bool SignatureRunner::CanLend(const Tensor& tensor) const { return runner_->CanLend(tensor); }
Status SignatureRunner::BindState(std::span<const std::pair<std::string, std::string>> pairs) {
  return Guard([&] {
    std::vector<NextState> states;
    for (const auto& [input_name, output_name] : pairs) {
      const int32_t input = TensorOf(signature_.inputs, input_name.c_str()), output = TensorOf(signature_.outputs, output_name.c_str());
      if (input < 0 || output < 0) {
        Fail(StatusCode::kInvalidArgument, "signature '", signature_.key, "' has no ", input < 0 ? "input '" : "output '",
             input < 0 ? input_name : output_name, "' to bind: there are ", Quoted(input < 0 ? input_names_ : output_names_));
      }
      for (const NextState& other : states) {
        if (other.input != input && other.output != output) continue;
        Fail(StatusCode::kInvalidArgument, "signature '", signature_.key, "': ", other.input == input ? "input '" : "output '",
             other.input == input ? input_name : output_name, "' is bound twice");
      }
      for (const auto& [name, tensor] : signature_.outputs) {
        if (tensor != input || tensor == output) continue;
        Fail(StatusCode::kInvalidArgument, "signature '", signature_.key, "': input '", input_name, "' cannot be bound: it is the output '",
             name, "' too, which is what the input was before the run");
      }
      CheckState(signature_.key, input_name, *runner_->tensor(input), output_name, *runner_->tensor(output));
      states.push_back({input, output});
    }
    runner_->BindState(std::move(states));
  });
}

void SignatureRunner::ResetState() { runner_->ResetState(); }
void SignatureRunner::Cancel() { runner_->Cancel(); }

Status SignatureRunner::ReportPlan(PlanReport* report) {
  if (!runner_->allocated()) return Status(StatusCode::kFailedPrecondition, "there is no plan yet: call AllocateTensors");
  return Guard([&] { *report = runner_->Report(); });
}

Status SignatureRunner::ProfileRuns(int count, Profile* profile) { return runner_->ProfileRuns(count, *profile); }

Tensor* SignatureRunner::input_tensor(const char* input_name) { return runner_->tensor(TensorOf(signature_.inputs, input_name)); }

const Tensor* SignatureRunner::output_tensor(const char* output_name) const {
  return runner_->tensor(TensorOf(signature_.outputs, output_name));
}

// --- Interpreter
// --------------------------------------------------------------------------------------------------------------------------

const char* PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kHighest: return "highest";
    case Precision::kHigh: return "high";
    case Precision::kMedium: return "medium";
  }
  return "";
}

Status ParsePrecision(std::string_view word, Precision* precision) {
  for (const Precision p : {Precision::kHighest, Precision::kHigh, Precision::kMedium}) {
    if (word != PrecisionName(p)) continue;
    *precision = p;
    return Status();
  }
  return Status(StatusCode::kInvalidArgument, Concat("precision should be 'highest', 'high' or 'medium', got '", word, "'"));
}

struct Interpreter::Impl {
  std::shared_ptr<const Model> model;
  RunnerOptions options;
  std::shared_ptr<ThreadPool> pool;
  std::shared_ptr<State> state = std::make_shared<State>();
  std::mutex mutex;
  std::unique_ptr<Runner> runner;  // of subgraph 0; made when it is first asked for
  std::vector<DeclaredVariable> variables;

  void Initialize();
  const DeclaredVariable& Declared(const char* name) const;
  Variable& Assignable(const DeclaredVariable& declared);
};

// Runs the subgraphs that CALL_ONCE would run.
void Interpreter::Impl::Initialize() {
  for (const uint32_t subgraph : InitializationSubgraphs(*model->impl().flat)) {
    if (state->HadFirstTurn(subgraph)) continue;
    Runner once(model, subgraph, pool, state, options);
    once.AllocateTensors();
    if (const Status status = once.Invoke(); !status.ok()) throw Error(status.code(), status.message());
    state->TakeFirstTurn(subgraph);
  }
}

const DeclaredVariable& Interpreter::Impl::Declared(const char* name) const {
  std::vector<std::string> names;
  for (const DeclaredVariable& variable : variables) {
    if (name != nullptr && variable.name == name) return variable;
    names.push_back(variable.name);
  }
  Fail(StatusCode::kInvalidArgument, "there is no variable '", name == nullptr ? "" : name, "', the model has ", Quoted(names));
}

Variable& Interpreter::Impl::Assignable(const DeclaredVariable& declared) {
  return *state->variable(state->VariableHandle(declared.container, declared.shared_name));
}

Interpreter::Interpreter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Interpreter::~Interpreter() = default;

std::unique_ptr<Interpreter> Interpreter::Create(std::shared_ptr<const Model> model, const InterpreterOptions& options, Status* status) {
  std::unique_ptr<Interpreter> interpreter;
  Report(status, Guard([&] {
           if (model == nullptr) Fail(StatusCode::kInvalidArgument, "the model is null");
           if (options.num_threads < 1) Fail(StatusCode::kInvalidArgument, "num_threads should >= 1, got ", options.num_threads);
           auto impl = std::make_unique<Impl>();
           impl->variables = DeclaredVariables(*model->impl().flat);
           impl->model = std::move(model);
           impl->options.precision = options.precision;
           impl->options.preserve_all_tensors = options.preserve_all_tensors;
           if (options.reference_kernels) impl->options.kernels = kernels::UpTo("scalar");
           constexpr int kMostThreads = 256;
           impl->pool = std::make_shared<ThreadPool>(std::min(options.num_threads, kMostThreads));
           interpreter.reset(new Interpreter(std::move(impl)));
         }));
  return interpreter;
}

const Model& Interpreter::model() const { return *impl_->model; }
int Interpreter::num_threads() const { return impl_->pool->threads(); }
Precision Interpreter::precision() const { return impl_->options.precision; }

std::vector<const std::string*> Interpreter::signature_keys() const {
  std::vector<const std::string*> keys;
  for (const Signature& signature : impl_->model->signatures()) keys.push_back(&signature.key);
  return keys;
}

std::unique_ptr<SignatureRunner> Interpreter::GetSignatureRunner(const char* key, Status* status) {
  std::unique_ptr<SignatureRunner> runner;
  Report(status, Guard([&] {
           const std::vector<Signature>& all = impl_->model->signatures();
           const Signature* found = nullptr;
           std::vector<std::string> keys;
           for (const Signature& signature : all) {
             keys.push_back(signature.key);
             if (key != nullptr && signature.key == key) found = &signature;
           }
           const Signature& fallback = impl_->model->default_signature();
           if (all.empty() && (key == nullptr || fallback.key == key)) found = &fallback;
           if (key == nullptr && all.size() == 1) found = &all[0];
           if (found == nullptr && key == nullptr) {
             Fail(StatusCode::kInvalidArgument, "SignatureDef signature_key is None and model has ", all.size(),
                  " Signatures. None is only allowed when the model has 1 SignatureDef. Its keys are ", Quoted(keys));
           }
           if (found == nullptr)
             Fail(StatusCode::kInvalidArgument, "Invalid signature_key provided: \"", key, "\". The model's keys are ", Quoted(keys));
           auto made = std::make_unique<Runner>(impl_->model, found->subgraph, impl_->pool, impl_->state, impl_->options);
           runner.reset(new SignatureRunner(*found, std::move(made)));
         }));
  return runner;
}

const std::vector<int32_t>& Interpreter::inputs() const { return impl_->model->inputs(0); }
const std::vector<int32_t>& Interpreter::outputs() const { return impl_->model->outputs(0); }

Runner* Interpreter::runner(Status* status) {
  Runner* found = nullptr;
  Report(status, Guard([&] {
           const std::lock_guard lock(impl_->mutex);
           if (impl_->runner == nullptr)
             impl_->runner = std::make_unique<Runner>(impl_->model, 0, impl_->pool, impl_->state, impl_->options);
           found = impl_->runner.get();
         }));
  return found;
}

Status Interpreter::ResizeInputTensor(int tensor_index, const Shape& shape) {
  Status status;
  Runner* r = runner(&status);
  return r == nullptr ? status : Guard([&] { r->ResizeInput(tensor_index, shape, false); });
}

Status Interpreter::ResizeInputTensorStrict(int tensor_index, const Shape& shape) {
  Status status;
  Runner* r = runner(&status);
  return r == nullptr ? status : Guard([&] { r->ResizeInput(tensor_index, shape, true); });
}

Status Interpreter::AllocateTensors() {
  Status status;
  Runner* r = runner(&status);
  return r == nullptr ? status : Guard([&] { r->AllocateTensors(); });
}

Status Interpreter::Invoke() {
  Status status;
  Runner* r = runner(&status);
  return r == nullptr ? status : r->Invoke();
}

Status Interpreter::ProfileRuns(int count, Profile* profile) {
  Status status;
  Runner* r = runner(&status);
  return r == nullptr ? status : r->ProfileRuns(count, *profile);
}

Status Interpreter::ResetVariables() {
  return Guard([&] { impl_->state->ResetVariables(); });
}

std::vector<std::string> Interpreter::variable_names() const {
  std::vector<std::string> names;
  for (const DeclaredVariable& variable : impl_->variables) names.push_back(variable.name);
  return names;
}

namespace {

// The memory of a variable tensor, and what it holds.
std::pair<std::byte*, VariableValue> ViewTensor(State& state, const FlatModel& model, const DeclaredVariable& declared) {
  const TensorInfo& tensor = model.subgraphs[declared.subgraph].tensors[static_cast<size_t>(declared.tensor)];
  VariableValue value{tensor.type, tensor.shape, {}, {}};
  value.bytes.resize(BytesOf(tensor.type, ElementCount(tensor.shape, Concat("variable '", declared.name, "'"))));
  return {state.VariableTensor(declared.subgraph, declared.tensor, value.bytes.size(), FillOf(tensor.type, tensor.quantization)),
          std::move(value)};
}

void CheckSame(const DeclaredVariable& declared, TensorType type, const Shape& shape, const VariableValue& value) {
  if (value.type == type && value.shape == shape) return;
  Fail(StatusCode::kInvalidArgument, "variable '", declared.name, "' is ", TensorTypeName(type), ToString(shape), ", the value is ",
       TensorTypeName(value.type), ToString(value.shape));
}

}  // namespace

Status Interpreter::GetVariable(const char* name, VariableValue* value) {
  return Guard([&] {
    const DeclaredVariable& declared = impl_->Declared(name);
    const std::lock_guard lock(impl_->state->mutex());
    if (declared.tensor >= 0) {
      auto [memory, held] = ViewTensor(*impl_->state, *impl_->model->impl().flat, declared);
      if (!held.bytes.empty()) std::memcpy(held.bytes.data(), memory, held.bytes.size());
      *value = std::move(held);
      return;
    }
    impl_->Initialize();
    const Variable& variable = impl_->Assignable(declared);
    if (!variable.assigned) Fail(StatusCode::kFailedPrecondition, "variable '", declared.name, "' has no value yet");
    const size_t bytes = BytesOf(variable.type, ElementCount(variable.shape, "a variable"));
    *value = {variable.type, variable.shape, {variable.bytes.data(), variable.bytes.data() + bytes}, variable.strings};
  });
}

Status Interpreter::SetVariable(const char* name, const VariableValue& value) {
  return Guard([&] {
    const DeclaredVariable& declared = impl_->Declared(name);
    const auto elements = static_cast<size_t>(ElementCount(value.shape, Concat("variable '", declared.name, "'")));
    const bool text = value.type == TensorType::kString;
    const size_t held = text ? value.strings.size() : value.bytes.size(),
                 needed = text ? elements : BytesOf(value.type, static_cast<int64_t>(elements));
    if (held != needed)
      Fail(StatusCode::kInvalidArgument, "variable '", declared.name, "': ", held, " bytes or strings, expected ", needed);
    const std::lock_guard lock(impl_->state->mutex());
    if (declared.tensor >= 0) {
      const auto [memory, is] = ViewTensor(*impl_->state, *impl_->model->impl().flat, declared);
      CheckSame(declared, is.type, is.shape, value);
      if (needed > 0) std::memcpy(memory, value.bytes.data(), needed);
      return;
    }
    impl_->Initialize();
    Variable& variable = impl_->Assignable(declared);
    if (variable.assigned) CheckSame(declared, variable.type, variable.shape, value);
    variable.Assign(value.type, value.shape, text ? reinterpret_cast<const std::byte*>(&value.strings) : value.bytes.data());
  });
}

Tensor* Interpreter::tensor(int tensor_index) {
  Runner* r = runner();
  return r == nullptr ? nullptr : r->tensor(tensor_index);
}

Tensor* Interpreter::input_tensor(size_t position) { return position < inputs().size() ? tensor(inputs()[position]) : nullptr; }

const Tensor* Interpreter::output_tensor(size_t position) { return position < outputs().size() ? tensor(outputs()[position]) : nullptr; }

}  // namespace sigrun
