#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sigrun/plan_report.h"
#include "sigrun/profile.h"
#include "sigrun/status.h"
#include "sigrun/types.h"

#define SIGRUN_API __attribute__((visibility("default")))

namespace sigrun {

class Runner;

/// A string tensor's elements in row-major order. Bytes, not necessarily text.
using Strings = std::vector<std::string>;

/// One named entry point of a model, as the file lists it.
struct Signature {
  std::string key;
  uint32_t subgraph = 0;
  std::vector<std::pair<std::string, int32_t>> inputs, outputs;  // name and tensor index, sorted by name
};

/// What the file says of a tensor.
struct TensorDescription {
  std::string name;
  int32_t index = 0;
  TensorType type = TensorType::kFloat32;
  Shape shape;            // unknown dimensions as 1
  Shape shape_signature;  // unknown dimensions as -1
  bool is_variable = false;
  Quantization quantization;
};

/// A parsed and checked .tflite file. Immutable and shared: any number of interpreters, in any threads, use one Model, its file mapping and
/// its packed weights.
class SIGRUN_API Model {
 public:
  /// Maps the file. Null on failure, with the reason in *status (if given): the path to the fault in a file that is no valid model.
  static std::shared_ptr<const Model> BuildFromFile(const char* path, Status* status = nullptr);
  /// Reads `size` bytes in place; `owner` is held as long as the Model lives, and without one the caller keeps the bytes alive.
  static std::shared_ptr<const Model> BuildFromBuffer(const void* data, size_t size, std::shared_ptr<const void> owner = nullptr,
                                                      Status* status = nullptr);
  ~Model();

  /// The signatures of the file, in its order; may be empty.
  const std::vector<Signature>& signatures() const;
  /// What runs when a model has no signature: subgraph 0 under the key "serving_default", names from its tensors.
  const Signature& default_signature() const;
  const std::string& description() const;
  /// Name and contents of the metadata entries; the bytes live as long as the Model.
  const std::vector<std::pair<std::string, std::string_view>>& metadata() const;

  size_t subgraphs_size() const;
  size_t tensors_size(size_t subgraph) const;
  TensorDescription tensor_description(size_t subgraph, size_t index) const;
  const std::vector<int32_t>& inputs(size_t subgraph) const;
  const std::vector<int32_t>& outputs(size_t subgraph) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A tensor of a runner: an input, an output or a constant. Its address is stable for the runner's life; data() may change with
/// AllocateTensors.
class SIGRUN_API Tensor {
 public:
  const std::string& name() const { return name_; }
  int32_t index() const { return index_; }
  TensorType type() const { return type_; }
  const Shape& shape() const { return shape_; }
  const Quantization& quantization() const { return *quantization_; }
  bool is_constant() const { return constant_; }

  /// Null before AllocateTensors, and for string tensors. Aligned to 64 bytes except in constants.
  void* data() { return data_; }
  const void* data() const { return data_; }
  template <class T>
  T* data_as() {
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* data_as() const {
    return static_cast<const T*>(data_);
  }
  size_t bytes() const { return bytes_; }

  /// The elements of a string tensor, as many as the shape says; null for other types.
  Strings* strings() { return strings_; }
  const Strings* strings() const { return strings_; }

  /// While the returned lease lives, data() stays valid, and an AllocateTensors that would move or reshape this tensor fails instead.
  /// Null if there is no memory yet.
  std::shared_ptr<const void> Hold() const;

 private:
  friend class Runner;
  std::string name_;
  int32_t index_ = -1;
  TensorType type_ = TensorType::kFloat32;
  Shape shape_;
  const Quantization* quantization_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Strings* strings_ = nullptr;
  bool constant_ = false;
  std::shared_ptr<const void> memory_;       // owner of data()
  mutable std::weak_ptr<const void> lease_;  // the lease that all holders share
};

/// Memory of the caller's that stands in for an input or output during one run, so that nothing is copied: data of the tensor's type and
/// shape, aligned to its element.
struct Lent {
  const Tensor* tensor;
  void* data;
};

struct InvokeOptions {
  std::span<const Lent> lent = {};
  double timeout_seconds = 0;  // after which the run ends, before its next operator; 0 for none
};

/// Runs one signature. Owns its memory: runners, also of one interpreter, may run at the same time in different threads. Calls on one
/// runner from several threads are serialised.
class SIGRUN_API SignatureRunner {
 public:
  ~SignatureRunner();
  SignatureRunner(const SignatureRunner&) = delete;
  SignatureRunner& operator=(const SignatureRunner&) = delete;

  const std::string& signature_key() const;
  /// Names in alphabetical order, as TFLite lists them.
  const std::vector<std::string>& input_names() const;
  const std::vector<std::string>& output_names() const;

  /// Records a new shape; takes effect with the next AllocateTensors. kInvalidArgument for an unknown name or a negative dimension.
  Status ResizeInputTensor(const char* input_name, const Shape& shape);
  /// Plans for the current input shapes, unless they have not changed. On failure the runner stays as it was.
  Status AllocateTensors();
  /// kFailedPrecondition before AllocateTensors; kDataError if an op refuses the values it reads.
  Status Invoke();
  /// The same with memory of the caller's, which must not overlap unless it is only read. kInvalidArgument, and nothing has run, if a
  /// tensor cannot be lent memory: see CanLend. kDeadlineExceeded, kCancelled: outputs have any content then, and the runner can be used
  /// again.
  Status Invoke(const InvokeOptions& options);
  /// Whether the next Invoke can use other memory for this tensor: no if its shape depends on data, it holds strings or is a constant, or
  /// if a view shows it, which would not see the run.
  bool CanLend(const Tensor& tensor) const;
  /// Makes outputs the next values of inputs, {input name, output name} each, in place of what was bound before: after a run, or while it
  /// runs, an input becomes what the output is. Where the operators allow it, as those that update a cache do, both are the same memory and
  /// nothing is copied. A run that fails leaves states with any content. kInvalidArgument for an unknown name or one that comes twice,
  /// strings, another type, quantisation or shape, an input that is another output; kHeldView if a view shows one. Nothing is changed then.
  Status BindState(std::span<const std::pair<std::string, std::string>> pairs);
  /// Fills the bound inputs with zeros, as they were after the first AllocateTensors.
  void ResetState();
  /// From any thread: ends the run that is under way, before its next operator. Nothing happens if there is none.
  void Cancel();
  /// Runs once, and then `count` times while timing each operator. Fails as Invoke does.
  Status ProfileRuns(int count, Profile* profile);
  /// The steps of the current plan and the memory they take. kFailedPrecondition before AllocateTensors.
  Status ReportPlan(PlanReport* report);

  /// Null for an unknown name.
  Tensor* input_tensor(const char* input_name);
  const Tensor* output_tensor(const char* output_name) const;

  Runner& runner() { return *runner_; }

 private:
  friend class Interpreter;
  SignatureRunner(Signature signature, std::unique_ptr<Runner> runner);
  Signature signature_;
  std::vector<std::string> input_names_, output_names_;
  std::unique_ptr<Runner> runner_;
};

/// A variable's value, copied: `strings` if its type is STRING, else `bytes`.
struct VariableValue {
  TensorType type = TensorType::kFloat32;
  Shape shape;
  std::vector<std::byte> bytes;
  Strings strings;
};

struct InterpreterOptions {
  int num_threads = 1;
  Precision precision = Precision::kHighest;
  /// The scalar kernels, which are the specification of all others; TFLite's BUILTIN_REF.
  bool reference_kernels = false;
  /// Keeps every tensor that the model computes, as Interpreter::tensor shows it; the results stay the same.
  bool preserve_all_tensors = false;
};

/// "highest", "high" or "medium".
SIGRUN_API const char* PrecisionName(Precision precision);
/// The other way round; kInvalidArgument, and *precision unchanged, for any other word.
SIGRUN_API Status ParsePrecision(std::string_view word, Precision* precision);

/// A Model ready to run. Its own tensor calls speak of subgraph 0 by tensor index, as TFLite's do; signatures run through runners, each
/// with memory of its own.
class SIGRUN_API Interpreter {
 public:
  /// Null on failure: a null model, or num_threads below 1.
  static std::unique_ptr<Interpreter> Create(std::shared_ptr<const Model> model, const InterpreterOptions& options = {},
                                             Status* status = nullptr);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  const Model& model() const;
  int num_threads() const;
  Precision precision() const;
  std::vector<const std::string*> signature_keys() const;

  /// A new, independent runner. A null key means the model's only signature, or the default one of a model without any. Null on failure.
  std::unique_ptr<SignatureRunner> GetSignatureRunner(const char* key = nullptr, Status* status = nullptr);

  const std::vector<int32_t>& inputs() const;
  const std::vector<int32_t>& outputs() const;
  Status ResizeInputTensor(int tensor_index, const Shape& shape);
  /// Like ResizeInputTensor, but only dimensions that the file leaves unknown may change.
  Status ResizeInputTensorStrict(int tensor_index, const Shape& shape);
  Status AllocateTensors();
  Status Invoke();
  /// Like SignatureRunner::ProfileRuns.
  Status ProfileRuns(int count, Profile* profile);
  /// Input, output or constant `tensor_index` of subgraph 0. Null for others: memory of intermediate tensors is reused while running.
  Tensor* tensor(int tensor_index);
  /// By position in inputs() and outputs().
  Tensor* input_tensor(size_t position);
  const Tensor* output_tensor(size_t position);

  /// Fills the tensors that the file marks as variable (the states of recurrent operators) as they were at first: what TFLite calls
  /// ResetVariableTensors. Variables that the model assigns stay as they are.
  Status ResetVariables();
  /// The names of all variables, those that the model assigns and its variable tensors, as the file declares them; of names that come twice
  /// the later ones are followed by '@' and what tells them apart.
  std::vector<std::string> variable_names() const;
  /// Runs what the model runs once to initialise its variables, unless that has happened, and copies a value. kInvalidArgument for an
  /// unknown name, kFailedPrecondition for a variable that has no value yet.
  Status GetVariable(const char* name, VariableValue* value);
  /// The same the other way round. kInvalidArgument as well if a variable that has a value is of another type or shape, or if there are too
  /// few bytes.
  Status SetVariable(const char* name, const VariableValue& value);

  /// The runner behind the calls above; null, with *status set, if subgraph 0 cannot be run by this build.
  Runner* runner(Status* status = nullptr);

 private:
  struct Impl;
  explicit Interpreter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// How this library was built and what it found on this machine.
struct BuildInfo {
  std::string version;
  std::string compiler;
  std::vector<std::string> compiled_tiers;   // lowest first
  std::vector<std::string> supported_tiers;  // those that this machine can run
  std::vector<std::string> cpu_features;     // detected
  std::string tier_in_use;                   // after SIGRUN_MAX_ISA
  /// Each word for a precision with what it comes to here: "float32", "bfloat16x6" (as exact), "bfloat16x3" or "bfloat16".
  std::vector<std::pair<std::string, std::string>> precisions;
};
SIGRUN_API BuildInfo GetBuildInfo();

}  // namespace sigrun
