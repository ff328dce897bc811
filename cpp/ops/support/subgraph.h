#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.h"
#include "plan/plan.h"

// Running another subgraph from a step: as a frame where all shapes are known while planning, else through a runner.
namespace sigrun::ops {

/// Which of a frame's slots show an input or output, and from where in it.
struct Patch {
  int32_t slot;
  int32_t position;
  size_t offset;
};

/// Where an output of a plan is found when its steps have run.
struct OutputSource {
  enum Kind : uint8_t { kOwn, kInput, kOutput, kConstant };
  Kind kind = kOwn;
  int32_t position = -1;                // kInput, kOutput: the other input or output whose memory it is
  const std::byte* constant = nullptr;  // kConstant; of a string tensor, its Strings
};

/// A whole plan, seen from outside.
struct Interface {
  std::vector<Patch> inputs, outputs;  // outputs: those of kind kOwn
  std::vector<OutputSource> sources;   // by output
  std::vector<std::shared_ptr<const void>> owners;
};
Interface InterfaceOf(const Plan& plan);

/// Checks that inputs `first`... of the node have the types of the subgraph's inputs, its outputs those of the subgraph's outputs.
void CheckSubgraph(const Prepare& p, uint32_t subgraph, int first);

/// The shapes of inputs `first`...
std::vector<Shape> InputShapes(const Prepare& p, int first);

/// An input or output of a subgraph, in memory.
struct Operand {
  Shape shape;
  std::byte* data;  // a string tensor's Strings
};

/// Copies elements; both have the same number.
void CopyOperand(TensorType type, const std::byte* from, std::byte* to, size_t bytes) noexcept;

/// Gives a runner its inputs, and plans if their shapes have changed; an input whose `data` is null keeps what it has. Throws Error.
void Feed(Runner& runner, const std::vector<Operand>& inputs);
/// Runs it; throws Error.
void RunFed(Runner& runner);
/// Copies its output to a value that has no shape yet.
void TakeOutput(Runner& runner, size_t output, LateValue& to);

}  // namespace sigrun::ops
