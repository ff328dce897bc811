#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

// The file of sorted keys and values that TensorFlow's checkpoints are: blocks of entries, an index of the blocks, a footer.
namespace sigrun::ops {

/// CRC-32C, rotated and shifted: so that a checksum over data that holds checksums is no weaker.
uint32_t MaskedCrc(std::string_view bytes);

std::string WriteTable(const std::map<std::string, std::string>& entries);

/// The entries of a file. Throws Error if it is malformed, compressed, or a checksum is wrong.
std::map<std::string, std::string> ReadTable(std::span<const uint8_t> file);

}  // namespace sigrun::ops
