#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sigrun/interpreter.h"
#include "sigrun/status.h"
#include "sigrun/types.h"

// Operators of a program's own, for models whose converter left a custom operator behind.
namespace sigrun {

/// An operand of a custom operator.
struct CustomTensor {
  TensorType type = TensorType::kFloat32;
  Shape shape;                // of an output, while shapes are inferred: as in the model, with -1 for a dimension that is not fixed there
  std::byte* data = nullptr;  // null for strings, for an absent input, and while shapes are inferred unless it is a constant
  size_t bytes = 0;
  Strings* strings = nullptr;  // elements of a string tensor
  bool present = true;         // false for an optional input that the model leaves out; nothing else is set then
};

class SIGRUN_API CustomOp {
 public:
  virtual ~CustomOp();

  /// Sets the outputs' shapes. Called once for each set of input shapes, from any thread. What fails here fails AllocateTensors.
  /// Without an override, dimensions that the model does not fix are those of input 0.
  /// `options`: the operator's custom_options in the model.
  virtual Status InferShapes(std::span<const CustomTensor> inputs, std::span<CustomTensor> outputs, std::span<const uint8_t> options) const;

  /// Reads the inputs and writes every element of the outputs, whose memory is ready. Called from any thread, and from several at once for
  /// runners of their own. What fails here fails Invoke with kDataError.
  virtual Status Compute(std::span<const CustomTensor> inputs, std::span<CustomTensor> outputs, std::span<const uint8_t> options) const = 0;
};

/// Lets models that are loaded from now on use `op` for the custom operator `name`, also in the place of one that sigrun has.
/// kInvalidArgument if the name is empty or `op` is null. Thread-safe.
SIGRUN_API Status RegisterOp(const std::string& name, std::shared_ptr<const CustomOp> op);

}  // namespace sigrun
