#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "graph/graph.h"

// What TensorFlow's two checkpoint formats share.
namespace sigrun::ops {

inline constexpr char kCheckpoint[] = "the checkpoint";  // in messages

/// A TensorShapeProto.
std::string EncodeShape(const Shape& shape);
Shape DecodeShape(std::span<const uint8_t> proto);

/// Whoever reads the file sees the old one or the new one. Throws Error.
void WriteFile(const std::string& path, const std::string& bytes);
/// Throws Error if there is none.
std::string ReadFile(const std::string& path);

inline std::span<const uint8_t> AsBytes(const std::string& text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

}  // namespace sigrun::ops
