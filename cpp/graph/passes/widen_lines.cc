#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/passes/constants.h"
#include "graph/passes/passes.h"
#include "ops/op.h"

namespace sigrun::passes {
namespace {

// Of a known width and number of channels: only the batch may be another than the file says.
bool IsLine(const Shape& shape) { return shape.size() == 3 && shape[1] > 0 && shape[2] > 0; }

// Where a 1 stands in the shape of an image that the shape of a line [batch, width, channels] has not: 1 or 2, or 0 if that is not so.
int AxisBetween(const Shape& line, const Shape& image) {
  if (!IsLine(line) || image.size() != 4) return 0;
  for (const int axis : {1, 2}) {
    Shape widened = line;
    widened.insert(widened.begin() + axis, 1);
    if (widened == image) return axis;
  }
  return 0;
}

class LineWidener {
 public:
  explicit LineWidener(Graph& graph)
      : graph_(graph), images_(graph.values.size()), wanted_(graph.values.size(), 0), same_(graph.values.size()) {
    for (size_t v = 0; v < same_.size(); ++v) same_[v] = static_cast<int32_t>(v);
  }

  bool Run() {
    if (!FindWanted()) return false;
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes) {
      for (int32_t& v : node.inputs) {
        if (v >= 0) v = same_[Index(v)];
      }
      Add(std::move(node));
    }
    RemoveDeadNodes(graph_);
    return changed_;
  }

 private:
  // The image that has the bytes of a line.
  struct Image {
    int32_t value = -1;
    int axis = 0;
  };

  static size_t Index(int32_t i) { return static_cast<size_t>(i); }
  static bool Is(const Node& node, std::string_view op) { return op == node.op->name; }
  const Shape& ShapeOf(int32_t v) const { return graph_.values[Index(v)].shape; }
  static bool IsWhole(const Node& node) {
    return node.outputs.size() == 1 && node.outputs[0] >= 0 && !node.inputs.empty() &&
           std::all_of(node.inputs.begin(), node.inputs.end(), [](int32_t v) { return v >= 0; });
  }

  // The lines that convolutions read as images, and what is padded or cut into such. False if there are none.
  bool FindWanted() {
    std::vector<char> convolved(graph_.values.size(), 0);
    bool any = false;
    for (auto node = graph_.nodes.rbegin(); node != graph_.nodes.rend(); ++node) {
      if (!IsWhole(*node)) continue;
      const size_t in = Index(node->inputs[0]), out = Index(node->outputs[0]);
      if ((node->op->traits & (kFusesPadding | kSkipsPadding)) != 0) convolved[in] = 1;
      if (Is(*node, "RESHAPE") && convolved[out]) wanted_[in] = AxisBetween(ShapeOf(node->inputs[0]), ShapeOf(node->outputs[0]));
      if (Is(*node, "PAD") || Is(*node, "SPACE_TO_BATCH_ND")) wanted_[in] = wanted_[out];
      any = any || wanted_[in] != 0;
    }
    return any;
  }

  void Add(Node node) {
    if (!IsWhole(node) || !AddAsImage(node)) graph_.nodes.push_back(std::move(node));
  }

  // False if the node stays as it is.
  bool AddAsImage(Node& node) {
    const int32_t in = node.inputs[0], out = node.outputs[0];
    if (Is(node, "RESHAPE")) return AddReshape(node, in, out);
    if (!IsLine(ShapeOf(out))) return false;
    if (Is(node, "PAD")) return AddPad(node, in, out);
    if (Is(node, "SPACE_TO_BATCH_ND") || Is(node, "BATCH_TO_SPACE_ND")) return AddBlocks(node, in, out);
    return AddElementwise(node, out);
  }

  bool AddReshape(const Node& node, int32_t in, int32_t out) {
    if (const int axis = AxisBetween(ShapeOf(out), ShapeOf(in))) SetImage(out, {in, axis});
    const int axis = AxisBetween(ShapeOf(in), ShapeOf(out));
    if (axis == 0) return false;
    const bool leaves = std::find(graph_.outputs.begin(), graph_.outputs.end(), out) != graph_.outputs.end();
    if (ImageOf(in).axis == axis && !leaves) {
      same_[Index(out)] = ImageOf(in).value;
      return changed_ = true;
    }
    graph_.nodes.push_back(node);
    if (ImageOf(in).axis == 0) SetImage(in, {out, axis});
    return true;
  }

  bool AddPad(Node& node, int32_t in, int32_t out) {
    std::vector<int64_t> rows = node.inputs.size() == 2 ? ReadInts(graph_.values[Index(node.inputs[1])]) : std::vector<int64_t>{};
    if (rows.size() != 6) return false;
    const int axis = AxisFor(in, out, node.index);
    if (axis == 0) return false;
    rows.insert(rows.begin() + 2 * axis, {0, 0});
    node.inputs[1] = AddConstant(graph_, TensorType::kInt64, rows, {4, 2});
    AddWide(node, axis);
    return true;
  }

  bool AddBlocks(Node& node, int32_t in, int32_t out) {
    if (node.inputs.size() != 3) return false;
    std::vector<int64_t> block = ReadInts(graph_.values[Index(node.inputs[1])]), edges = ReadInts(graph_.values[Index(node.inputs[2])]);
    if (block.size() != 1 || edges.size() != 2) return false;
    const int axis = AxisFor(in, out, node.index);
    if (axis == 0) return false;
    block.insert(block.begin() + axis - 1, 1);
    edges.insert(edges.begin() + 2 * (axis - 1), {0, 0});
    node.inputs[1] = AddConstant(graph_, TensorType::kInt64, block);
    node.inputs[2] = AddConstant(graph_, TensorType::kInt64, edges, {2, 2});
    AddWide(node, axis);
    return true;
  }

  bool AddElementwise(Node& node, int32_t out) {
    static constexpr std::string_view kElementwise[] = {"ADD",        "DEQUANTIZE", "ELU",          "GELU",  "HARD_SWISH",
                                                        "LEAKY_RELU", "LOGISTIC",   "MUL",          "PRELU", "QUANTIZE",
                                                        "RELU",       "RELU6",      "RELU_N1_TO_1", "SUB",   "TANH"};
    if (!std::ranges::binary_search(kElementwise, std::string_view(node.op->name)) || !HasOneScale(out)) return false;
    int axis = 0;
    for (const int32_t v : node.inputs) {
      if (IsOfChannels(graph_.values[Index(v)])) continue;
      const Image image = ImageOf(v);
      if (image.axis == 0 || (axis != 0 && image.axis != axis) || !HasOneScale(v)) return false;
      axis = image.axis;
    }
    if (axis == 0) return false;
    AddWide(node, axis);
    return true;
  }

  // Constants that stand beside an image as they do beside its line.
  static bool IsOfChannels(const Value& value) {
    const Shape& s = value.shape;
    return value.constant != nullptr && s.size() <= 3 &&
           (s.empty() || std::all_of(s.begin(), s.end() - 1, [](int32_t d) { return d == 1; }));
  }

  bool HasOneScale(int32_t v) const { return graph_.values[Index(v)].quantization->scale.size() <= 1; }

  // Values that are added here are images and constants, of which none has an image.
  Image ImageOf(int32_t v) const { return Index(v) < images_.size() ? images_[Index(v)] : Image{}; }

  // Variables change: their image is that of one moment.
  void SetImage(int32_t line, Image image) {
    if (Index(line) < images_.size() && !graph_.values[Index(line)].is_variable) images_[Index(line)] = image;
  }

  // The axis of the operand's image, which is made if a convolution reads the result as one; 0 if there is none.
  int AxisFor(int32_t in, int32_t out, int32_t index) {
    const int wanted = wanted_[Index(out)];
    if (ImageOf(in).axis == 0 && wanted != 0 && IsLine(ShapeOf(in)) && !graph_.values[Index(in)].is_variable) {
      SetImage(in, {AddImage(in, wanted), wanted});
      ChangeRank("EXPAND_DIMS", in, ImageOf(in).value, wanted, index);
    }
    return ImageOf(in).axis;
  }

  // The node on the images of its operands. Who wants a line of the result finds it without the axis.
  void AddWide(Node& node, int axis) {
    const int32_t line = node.outputs[0], image = AddImage(line, axis), index = node.index;
    for (int32_t& v : node.inputs) {
      if (ImageOf(v).axis == axis) v = ImageOf(v).value;
    }
    node.outputs[0] = image;
    graph_.nodes.push_back(std::move(node));
    ChangeRank("sigrun.drop_axis", image, line, axis, index);
    SetImage(line, {image, axis});
  }

  int32_t AddImage(int32_t line, int axis) {
    Value value = graph_.values[Index(line)];
    value.shape.insert(value.shape.begin() + axis, 1);
    graph_.values.push_back(std::move(value));
    return static_cast<int32_t>(graph_.values.size()) - 1;
  }

  void ChangeRank(std::string_view op, int32_t from, int32_t to, int axis, int32_t index) {
    static const OperatorInfo kNoInfo;
    Node node;
    node.op = ops::FindOp(op);
    node.index = index;
    node.inputs = {from, AddConstant(graph_, TensorType::kInt32, std::vector<int32_t>{axis})};
    node.outputs = {to};
    node.info = &kNoInfo;
    graph_.nodes.push_back(std::move(node));
  }

  Graph& graph_;
  std::vector<Image> images_;  // of the file's values
  std::vector<int> wanted_;    // the axis of the image that a convolution reads, or 0
  std::vector<int32_t> same_;  // values that are another one
  bool changed_ = false;
};

}  // namespace

bool WidenLines(Graph& graph) { return LineWidener(graph).Run(); }

}  // namespace sigrun::passes
