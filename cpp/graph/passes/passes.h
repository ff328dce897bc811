#pragma once

#include "graph/graph.h"
#include "kernels/kernels.h"

// A pass changes a graph without changing what it computes, and says whether it changed anything. One file a pass.
namespace sigrun::passes {

/// Runs every node whose inputs are all constant and keeps the results as constants. Large float16 weights behind DEQUANTIZE become
/// constants that are widened where they are read.
bool FoldConstants(Graph& graph, const kernels::Kernels& kernels);

/// RELU, RELU6 and RELU_N1_TO_1 behind a producer that can fuse them (and of the same quantisation) become its activation.
bool FuseActivations(Graph& graph);

/// TensorFlow's write of one item of a list, list[: i] ++ item ++ list[i + 1 :], has a fixed shape only as a whole: it becomes one node.
bool FuseListUpdates(Graph& graph);

/// What is done to the float sums of a convolution or a product alone (an ADD of a tensor of the same shape, hard-swish, x * LOGISTIC(x),
/// LOGISTIC, TANH, LEAKY_RELU, PRELU with one slope a channel) becomes its epilogue.
bool FuseEpilogues(Graph& graph);

/// Operators that together map the bytes of one 8-bit tensor to bytes, x * LOGISTIC(x), x * RELU6(x + 3) / 6, or functions of floats
/// between DEQUANTIZE and QUANTIZE, become one table look-up.
bool FuseLookups(Graph& graph, const kernels::Kernels& kernels);

/// What convolutions do to lines [batch, width, channels], as images of one line between two reshapes: paddings, blocks and elementwise
/// operators between them take the images too, and the reshapes go.
bool WidenLines(Graph& graph);

/// SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND become one convolution whose taps lie apart.
bool FuseDilations(Graph& graph);

/// A PAD with zeros (or the zero point) over height and width in front of an unpadded convolution becomes the convolution's own padding.
bool FusePads(Graph& graph);

/// The operators of which a float32 layer normalisation along the last dimension consists become one.
bool FuseLayerNorms(Graph& graph);

/// The same of a float32 normalisation by the root of the mean or sum of squares along the last dimension.
bool FuseRmsNorms(Graph& graph);

/// The same of a float32 normalisation of groups, along the last dimension and others, with a scale and a shift for each channel.
bool FuseGroupNorms(Graph& graph);

/// A float32 MEAN of a transposed tensor takes the mean of the tensor itself, where the kept dimensions are in the same order.
bool ReduceUntransposed(Graph& graph);

/// BATCH_MATMUL, a scale, a mask, SOFTMAX and BATCH_MATMUL in float32 become one operator, with the transpositions of the heads around
/// them.
bool FuseAttention(Graph& graph);

/// Drops nodes of which no output is used.
bool RemoveDeadNodes(Graph& graph);

/// Which passes run: all, or none of those that rely on the shapes that the file gives its tensors, which inputs of other shapes belie.
enum class Reliance { kFileShapes, kNone };

/// All of them that may, in the order that serves.
void Run(Graph& graph, const kernels::Kernels& kernels, Reliance reliance = Reliance::kFileShapes);

}  // namespace sigrun::passes
