#include "sigrun/c_api.h"

#include <string>

#include "model/error.h"
#include "sigrun/interpreter.h"

struct sigrun_model {
  std::shared_ptr<const sigrun::Model> model;
};
struct sigrun_interpreter {
  std::unique_ptr<sigrun::Interpreter> interpreter;
};
struct sigrun_runner {
  std::unique_ptr<sigrun::SignatureRunner> runner;
};

namespace {

using sigrun::Status;
using sigrun::StatusCode;
using sigrun::Tensor;

thread_local std::string last_error;

sigrun_status Report(const Status& status) {
  last_error = status.message();
  switch (status.code()) {
    case StatusCode::kOk: return SIGRUN_OK;
    case StatusCode::kInvalidArgument: return SIGRUN_INVALID_ARGUMENT;
    case StatusCode::kFailedPrecondition: return SIGRUN_FAILED_PRECONDITION;
    case StatusCode::kUnimplemented: return SIGRUN_UNIMPLEMENTED;
    case StatusCode::kDataError: return SIGRUN_DATA_ERROR;
    case StatusCode::kOutOfMemory: return SIGRUN_OUT_OF_MEMORY;
    case StatusCode::kInternal: return SIGRUN_INTERNAL;
    case StatusCode::kHeldView: return SIGRUN_HELD_VIEW;
    case StatusCode::kCancelled: return SIGRUN_CANCELLED;
    case StatusCode::kDeadlineExceeded: return SIGRUN_DEADLINE_EXCEEDED;
  }
  return SIGRUN_INTERNAL;
}

template <class Handle, class T>
Handle* Wrap(T object, const Status& status) {
  Report(status);
  return object == nullptr ? nullptr : new Handle{std::move(object)};
}

// A sigrun_tensor is the runner's own Tensor under an opaque name.
Tensor* Unwrap(sigrun_tensor* tensor) { return reinterpret_cast<Tensor*>(tensor); }
const Tensor* Unwrap(const sigrun_tensor* tensor) { return reinterpret_cast<const Tensor*>(tensor); }

const char* NameAt(const std::vector<std::string>& names, size_t index) { return index < names.size() ? names[index].c_str() : nullptr; }

}  // namespace

const char* sigrun_version(void) { return SIGRUN_VERSION; }
const char* sigrun_last_error(void) { return last_error.c_str(); }

sigrun_model* sigrun_model_from_file(const char* path) {
  Status status;
  auto model = sigrun::Model::BuildFromFile(path, &status);
  return Wrap<sigrun_model>(std::move(model), status);
}

sigrun_model* sigrun_model_from_buffer(const void* data, size_t size) {
  Status status;
  auto model = sigrun::Model::BuildFromBuffer(data, size, nullptr, &status);
  return Wrap<sigrun_model>(std::move(model), status);
}

void sigrun_model_delete(sigrun_model* model) { delete model; }
size_t sigrun_model_signature_count(const sigrun_model* model) { return model->model->signatures().size(); }

const char* sigrun_model_signature_key(const sigrun_model* model, size_t index) {
  const auto& all = model->model->signatures();
  return index < all.size() ? all[index].key.c_str() : nullptr;
}

sigrun_interpreter* sigrun_interpreter_create(const sigrun_model* model, int num_threads) {
  return sigrun_interpreter_create_with_precision(model, num_threads, "highest");
}

sigrun_interpreter* sigrun_interpreter_create_with_precision(const sigrun_model* model, int num_threads, const char* precision) {
  sigrun::InterpreterOptions options{.num_threads = num_threads};
  Status status = sigrun::ParsePrecision(precision == nullptr ? "" : precision, &options.precision);
  std::unique_ptr<sigrun::Interpreter> interpreter;
  if (status.ok()) interpreter = sigrun::Interpreter::Create(model == nullptr ? nullptr : model->model, options, &status);
  return Wrap<sigrun_interpreter>(std::move(interpreter), status);
}

void sigrun_interpreter_delete(sigrun_interpreter* interpreter) { delete interpreter; }

sigrun_runner* sigrun_get_signature_runner(sigrun_interpreter* interpreter, const char* key) {
  Status status;
  auto runner = interpreter->interpreter->GetSignatureRunner(key, &status);
  return Wrap<sigrun_runner>(std::move(runner), status);
}

void sigrun_runner_delete(sigrun_runner* runner) { delete runner; }
size_t sigrun_runner_input_count(const sigrun_runner* runner) { return runner->runner->input_names().size(); }
size_t sigrun_runner_output_count(const sigrun_runner* runner) { return runner->runner->output_names().size(); }
const char* sigrun_runner_input_name(const sigrun_runner* runner, size_t index) { return NameAt(runner->runner->input_names(), index); }
const char* sigrun_runner_output_name(const sigrun_runner* runner, size_t index) { return NameAt(runner->runner->output_names(), index); }

sigrun_status sigrun_runner_resize_input(sigrun_runner* runner, const char* name, const int32_t* dims, size_t rank) {
  return Report(runner->runner->ResizeInputTensor(name, sigrun::Shape(dims, dims + rank)));
}

sigrun_status sigrun_runner_allocate_tensors(sigrun_runner* runner) { return Report(runner->runner->AllocateTensors()); }
sigrun_status sigrun_runner_invoke(sigrun_runner* runner) { return Report(runner->runner->Invoke()); }

sigrun_tensor* sigrun_runner_input_tensor(sigrun_runner* runner, const char* name) {
  return reinterpret_cast<sigrun_tensor*>(runner->runner->input_tensor(name));
}

const sigrun_tensor* sigrun_runner_output_tensor(const sigrun_runner* runner, const char* name) {
  return reinterpret_cast<const sigrun_tensor*>(runner->runner->output_tensor(name));
}

int32_t sigrun_tensor_type(const sigrun_tensor* tensor) { return static_cast<int32_t>(Unwrap(tensor)->type()); }
size_t sigrun_tensor_rank(const sigrun_tensor* tensor) { return Unwrap(tensor)->shape().size(); }

int32_t sigrun_tensor_dim(const sigrun_tensor* tensor, size_t index) {
  const sigrun::Shape& shape = Unwrap(tensor)->shape();
  return index < shape.size() ? shape[index] : -1;
}

size_t sigrun_tensor_bytes(const sigrun_tensor* tensor) { return Unwrap(tensor)->bytes(); }
void* sigrun_tensor_data(sigrun_tensor* tensor) { return Unwrap(tensor)->data(); }
const void* sigrun_tensor_const_data(const sigrun_tensor* tensor) { return Unwrap(tensor)->data(); }

const char* sigrun_tensor_string(const sigrun_tensor* tensor, size_t index, size_t* size) {
  const sigrun::Strings* strings = Unwrap(tensor)->strings();
  if (strings == nullptr || index >= strings->size()) return nullptr;
  if (size != nullptr) *size = (*strings)[index].size();
  return (*strings)[index].data();
}

sigrun_status sigrun_tensor_set_string(sigrun_tensor* tensor, size_t index, const char* data, size_t size) {
  return Report(sigrun::Guard([&] {
    sigrun::Strings* strings = Unwrap(tensor)->strings();
    if (strings == nullptr) sigrun::Fail(StatusCode::kInvalidArgument, "tensor '", Unwrap(tensor)->name(), "' holds no strings");
    if (index >= strings->size()) {
      sigrun::Fail(StatusCode::kInvalidArgument, "element ", index, " of tensor '", Unwrap(tensor)->name(), "', which has ",
                   strings->size());
    }
    (*strings)[index].assign(data, size);
  }));
}
