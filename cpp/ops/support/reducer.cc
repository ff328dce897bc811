#include "ops/support/reducer.h"

#include <string>

#include "model/flat_model.h"

namespace sigrun::ops {
namespace {

struct Known {
  std::string_view name;
  Reducer reducer;
};

constexpr Known kKnown[] = {
    {"ADD", Reducer::kAdd},         {"STABLEHLO_ADD", Reducer::kAdd},           {"MUL", Reducer::kMultiply},
    {"MAXIMUM", Reducer::kMaximum}, {"STABLEHLO_MAXIMUM", Reducer::kMaximum},   {"MINIMUM", Reducer::kMinimum},
    {"LOGICAL_AND", Reducer::kAnd}, {"STABLEHLO_MINIMUM", Reducer::kMinimum},   {"STABLEHLO_AND", Reducer::kAnd},
    {"LOGICAL_OR", Reducer::kOr},   {"STABLEHLO_MULTIPLY", Reducer::kMultiply}, {"STABLEHLO_OR", Reducer::kOr},
};

}  // namespace

Reducer ReadReducer(const Prepare& p, int32_t index) {
  const FlatModel& model = p.model();
  p.Check(index >= 0 && static_cast<size_t>(index) < model.subgraphs.size(), "its body is subgraph ", index, " of ",
          model.subgraphs.size());
  const SubgraphInfo& body = model.subgraphs[static_cast<size_t>(index)];
  p.Check(body.inputs.size() == 2 && body.outputs.size() == 1, "its body has ", body.inputs.size(), " inputs and ", body.outputs.size(),
          " outputs, expected 2 and 1");
  if (body.operators.empty() && body.outputs[0] == body.inputs[1]) return Reducer::kSecond;
  if (body.operators.size() == 1 && body.operators[0].outputs == body.outputs) {
    const OperatorInfo& op = body.operators[0];
    const std::vector<int32_t> swapped = {body.inputs[1], body.inputs[0]};
    const std::string name = model.operator_codes[op.code].name();
    for (const Known& known : kKnown) {
      if (known.name == name && (op.inputs == body.inputs || op.inputs == swapped)) return known.reducer;
    }
  }
  p.Refuse(StatusCode::kUnimplemented,
           Concat("its body, subgraph ", index, ", is not a single sum, product, maximum, minimum, AND or OR of its arguments"));
}

}  // namespace sigrun::ops
