#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/passes/conditions.h"
#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

namespace sigrun::passes {
namespace {

// Fields of the options of both convolutions.
constexpr int kStrideW = 1, kStrideH = 2;

// What SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND do along height and width: blocks, and the padding or cropping before and behind.
struct Blocks {
  std::array<int64_t, 2> block;
  std::array<int64_t, 4> edges;
};

std::optional<Blocks> ReadBlocks(const Graph& graph, const Node* node, std::string_view op) {
  if (node == nullptr || op != node->op->name || node->inputs.size() != 3 || node->outputs.size() != 1 || node->outputs[0] < 0) {
    return std::nullopt;
  }
  for (const int32_t v : node->inputs) {
    if (v < 0) return std::nullopt;
  }
  const std::vector<int64_t> block = ReadInts(graph.values[static_cast<size_t>(node->inputs[1])]),
                             edges = ReadInts(graph.values[static_cast<size_t>(node->inputs[2])]);
  const auto fits = [](int64_t least) { return [=](int64_t x) { return x >= least && x <= INT16_MAX; }; };
  if (block.size() != 2 || edges.size() != 4 || !std::ranges::all_of(block, fits(1)) || !std::ranges::all_of(edges, fits(0))) {
    return std::nullopt;
  }
  return Blocks{{block[0], block[1]}, {edges[0], edges[1], edges[2], edges[3]}};
}

// Whether the node's windows go from pixel to pixel and see nothing but the image.
bool IsPlain(const Graph& graph, const Node& conv) {
  if (conv.padding || conv.dilation != std::array<int32_t, 2>{1, 1} || conv.inputs.size() < 2 || conv.inputs[0] < 0 || conv.inputs[1] < 0 ||
      conv.outputs.size() != 1 || conv.outputs[0] < 0) {
    return false;
  }
  // Activations that are rounded to 8 bits have a scale for each entry of the batch.
  const TensorType input = graph.values[static_cast<size_t>(conv.inputs[0])].type,
                   filter = graph.values[static_cast<size_t>(conv.inputs[1])].type;
  if (input == TensorType::kFloat32 && filter != TensorType::kFloat32) return false;
  const auto& options = conv.info->options;
  return IsUnpadded(conv) && options.Scalar<int32_t>(kStrideW) == 1 && options.Scalar<int32_t>(kStrideH) == 1;
}

}  // namespace

bool FuseDilations(Graph& graph) {
  const std::vector<int32_t> uses = UseCounts(graph);
  std::vector<Node*> producer(graph.values.size(), nullptr);
  bool changed = false;
  for (Node& node : graph.nodes) {
    for (const int32_t v : node.outputs) {
      if (v >= 0) producer[static_cast<size_t>(v)] = &node;
    }
    const auto after = ReadBlocks(graph, &node, "BATCH_TO_SPACE_ND");
    if (!after || uses[static_cast<size_t>(node.inputs[0])] != 1) continue;
    Node* conv = producer[static_cast<size_t>(node.inputs[0])];
    if (conv == nullptr || (conv->op->traits & kFusesDilation) == 0 || !IsPlain(graph, *conv)) continue;
    const Node* split = producer[static_cast<size_t>(conv->inputs[0])];
    const auto before = ReadBlocks(graph, split, "SPACE_TO_BATCH_ND");
    // Pixel i of phase p is pixel i * block + p of the padded image, on both sides: the taps of a window lie a block apart.
    const auto value = [&](int32_t v) -> const Value& { return graph.values[static_cast<size_t>(v)]; };
    if (!before || before->block != after->block || !SameRepresentation(value(split->inputs[0]), value(conv->inputs[0])) ||
        !SameRepresentation(value(conv->outputs[0]), value(node.outputs[0]))) {
      continue;
    }
    std::array<int32_t, 4> padding{};
    for (size_t i = 0; i < 4; ++i) padding[i] = static_cast<int32_t>(before->edges[i] - after->edges[i]);
    if (std::ranges::any_of(padding, [](int32_t p) { return p < 0; })) continue;
    conv->padding = padding;
    conv->dilation = {static_cast<int32_t>(after->block[0]), static_cast<int32_t>(after->block[1])};
    conv->inputs[0] = split->inputs[0];
    conv->outputs = node.outputs;
    producer[static_cast<size_t>(node.outputs[0])] = conv;
    node.outputs.clear();
    changed = true;
  }
  if (changed) RemoveDeadNodes(graph);
  return changed;
}

}  // namespace sigrun::passes
