#pragma once

#include <vector>

// What the pass that finds attention tells the operator that runs it.
namespace sigrun::ops {

enum class AttentionLayout : int { kDense, kTransposed, kSideBySide };

/// Beside queries, keys, values and a mask: a constant operand. Layouts of [tokens, channels]: dense matrices behind any dimensions;
/// [channels, tokens] matrices (keys); [batch, tokens, heads, channels].
struct AttentionOptions {
  static constexpr int kFields = 4;
  float scale = 1.0f;
  bool side_by_side = false;  // queries and output are [batch, tokens, heads, channels]
  AttentionLayout key = AttentionLayout::kDense, value = AttentionLayout::kDense;

  std::vector<float> Fields() const {
    return {scale, side_by_side ? 1.0f : 0.0f, static_cast<float>(static_cast<int>(key)), static_cast<float>(static_cast<int>(value))};
  }
  static AttentionOptions Read(const float* fields) {
    const auto layout = [](float x) { return static_cast<AttentionLayout>(static_cast<int>(x)); };
    return {fields[0], fields[1] != 0.0f, layout(fields[2]), layout(fields[3])};
  }
};

}  // namespace sigrun::ops
