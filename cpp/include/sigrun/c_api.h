#pragma once

#include <stddef.h>
#include <stdint.h>

/* The C API: what sigrun.h offers for signatures, for C and for languages that call C. Objects are opaque. Functions that can fail return a
 * status code (0 is success); sigrun_last_error() then says in one sentence what was wrong, in the calling thread, until its next call. */

#if defined(__cplusplus)
extern "C" {
#endif

#define SIGRUN_C_API __attribute__((visibility("default")))

typedef struct sigrun_model sigrun_model;
typedef struct sigrun_interpreter sigrun_interpreter;
typedef struct sigrun_runner sigrun_runner;
typedef struct sigrun_tensor sigrun_tensor; /* belongs to its runner */

typedef enum sigrun_status {
  SIGRUN_OK = 0,
  SIGRUN_INVALID_ARGUMENT = 1,
  SIGRUN_FAILED_PRECONDITION = 2,
  SIGRUN_UNIMPLEMENTED = 3,
  SIGRUN_DATA_ERROR = 4,
  SIGRUN_OUT_OF_MEMORY = 5,
  SIGRUN_INTERNAL = 6,
  SIGRUN_HELD_VIEW = 7,
  SIGRUN_CANCELLED = 8,
  SIGRUN_DEADLINE_EXCEEDED = 9
} sigrun_status;

SIGRUN_C_API const char* sigrun_version(void);
SIGRUN_C_API const char* sigrun_last_error(void);

/* Null on failure. A model may be deleted while interpreters use it; the bytes of a buffer must outlive all of them. */
SIGRUN_C_API sigrun_model* sigrun_model_from_file(const char* path);
SIGRUN_C_API sigrun_model* sigrun_model_from_buffer(const void* data, size_t size);
SIGRUN_C_API void sigrun_model_delete(sigrun_model* model);
SIGRUN_C_API size_t sigrun_model_signature_count(const sigrun_model* model);
SIGRUN_C_API const char* sigrun_model_signature_key(const sigrun_model* model, size_t index); /* null beyond the last */

SIGRUN_C_API sigrun_interpreter* sigrun_interpreter_create(const sigrun_model* model, int num_threads);
/* The same with a precision for products of floats: "highest" (as above), "high" or "medium". */
SIGRUN_C_API sigrun_interpreter* sigrun_interpreter_create_with_precision(const sigrun_model* model, int num_threads,
                                                                          const char* precision);
SIGRUN_C_API void sigrun_interpreter_delete(sigrun_interpreter* interpreter);

/* A null key means the only signature. Each runner has memory of its own and must be deleted before its interpreter. */
SIGRUN_C_API sigrun_runner* sigrun_get_signature_runner(sigrun_interpreter* interpreter, const char* key);
SIGRUN_C_API void sigrun_runner_delete(sigrun_runner* runner);
SIGRUN_C_API size_t sigrun_runner_input_count(const sigrun_runner* runner);
SIGRUN_C_API size_t sigrun_runner_output_count(const sigrun_runner* runner);
SIGRUN_C_API const char* sigrun_runner_input_name(const sigrun_runner* runner, size_t index);
SIGRUN_C_API const char* sigrun_runner_output_name(const sigrun_runner* runner, size_t index);
SIGRUN_C_API sigrun_status sigrun_runner_resize_input(sigrun_runner* runner, const char* name, const int32_t* dims, size_t rank);
SIGRUN_C_API sigrun_status sigrun_runner_allocate_tensors(sigrun_runner* runner);
SIGRUN_C_API sigrun_status sigrun_runner_invoke(sigrun_runner* runner);

/* Null for an unknown name. */
SIGRUN_C_API sigrun_tensor* sigrun_runner_input_tensor(sigrun_runner* runner, const char* name);
SIGRUN_C_API const sigrun_tensor* sigrun_runner_output_tensor(const sigrun_runner* runner, const char* name);

SIGRUN_C_API int32_t sigrun_tensor_type(const sigrun_tensor* tensor); /* TensorType of the .tflite schema */
SIGRUN_C_API size_t sigrun_tensor_rank(const sigrun_tensor* tensor);
SIGRUN_C_API int32_t sigrun_tensor_dim(const sigrun_tensor* tensor, size_t index); /* -1 beyond the rank */
SIGRUN_C_API size_t sigrun_tensor_bytes(const sigrun_tensor* tensor);
SIGRUN_C_API void* sigrun_tensor_data(sigrun_tensor* tensor); /* null for strings and before allocation */
SIGRUN_C_API const void* sigrun_tensor_const_data(const sigrun_tensor* tensor);

/* Element `index` of a string tensor, not terminated; null beyond the last, or if the tensor holds no strings. */
SIGRUN_C_API const char* sigrun_tensor_string(const sigrun_tensor* tensor, size_t index, size_t* size);
SIGRUN_C_API sigrun_status sigrun_tensor_set_string(sigrun_tensor* tensor, size_t index, const char* data, size_t size);

#if defined(__cplusplus)
}
#endif
