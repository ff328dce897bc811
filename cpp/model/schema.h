#pragma once

#include <cstdint>

// Constants of the .tflite schema that more than one file needs. Field ids of an operator's options stand in that operator's own file.
namespace sigrun::schema {

/// The operator's name, or null for a code that the schema does not know.
const char* BuiltinName(int32_t code);
inline constexpr int32_t kCustomOperator = 32;

enum class Padding : int8_t { kSame = 0, kValid = 1 };

enum class Activation : int8_t { kNone = 0, kRelu = 1, kReluN1To1 = 2, kRelu6 = 3, kTanh = 4, kSignBit = 5 };

}  // namespace sigrun::schema
