#pragma once

#include "graph/graph.h"
#include "model/schema.h"

// What several passes ask of values and nodes.
namespace sigrun::passes {

/// Whether the same bytes mean the same numbers: both values have the same type and quantisation.
inline bool SameRepresentation(const Value& a, const Value& b) {
  return a.type == b.type && a.quantization->scale == b.quantization->scale && a.quantization->zero_point == b.quantization->zero_point;
}

/// Whether the options of a convolution or a pooling add no padding; a pass may have, see Node::padding.
inline bool IsUnpadded(const Node& conv) {
  constexpr int kPadding = 0;  // field id of `padding` in the options of all of them
  return static_cast<schema::Padding>(conv.info->options.Scalar<int8_t>(kPadding)) == schema::Padding::kValid;
}

}  // namespace sigrun::passes
