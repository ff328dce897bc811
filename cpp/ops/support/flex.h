#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/op.h"

// TensorFlow operators inside a .tflite file: their custom options are a FlexBuffer vector of the operator's name and its serialised
// NodeDef.
namespace sigrun::ops {

/// TensorFlow's number of a type; 0 for those it does not have.
int64_t TensorFlowType(TensorType type);

/// An attribute of a NodeDef; the field that its type uses is set.
struct FlexAttribute {
  std::string_view bytes;
  int64_t integer = 0;  // also of a bool and of a type
  float real = 0.0f;
  std::vector<int64_t> integers;  // of a list
};

/// What a NodeDef says. Strings point into the model.
class FlexNode {
 public:
  /// Reads the node's custom options; throws if they are malformed. Every length is checked before it is followed.
  explicit FlexNode(const Prepare& p);

  std::string_view op() const { return op_; }
  int64_t Integer(std::string_view name, int64_t absent) const;
  bool Bool(std::string_view name, bool absent) const { return Integer(name, absent) != 0; }
  float Real(std::string_view name, float absent) const;
  std::string_view Bytes(std::string_view name, std::string_view absent) const;
  /// A list of integers; empty where it is absent.
  std::vector<int64_t> Integers(std::string_view name) const;
  /// Throws unless the attribute, if present, is the TensorFlow type of `type`.
  void CheckType(const Prepare& p, std::string_view name, TensorType type) const;

 private:
  const FlexAttribute* Find(std::string_view name) const;

  std::string_view op_;
  std::map<std::string_view, FlexAttribute> attributes_;
};

}  // namespace sigrun::ops
