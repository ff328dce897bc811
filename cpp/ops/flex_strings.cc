#include <charconv>
#include <clocale>
#include <cmath>
#include <complex>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/float16.h"

// FlexAsString and FlexStringToNumber: TensorFlow's AsString and StringToNumber.
namespace sigrun::ops {
namespace {

// --- AsString ---

struct Format {
  char text[16];  // of printf, with width and precision as arguments
  int width, precision;
};

// What printf writes; the decimal point is a point in every locale.
template <class T>
std::string Print(const Format& format, T value) {
  char small[128];
  const int length = std::snprintf(small, sizeof(small), format.text, format.width, format.precision, value);
  if (length < 0) return {};
  std::string text(small, std::min(static_cast<size_t>(length), sizeof(small) - 1));
  if (static_cast<size_t>(length) >= sizeof(small)) {
    text.resize(static_cast<size_t>(length) + 1);
    std::snprintf(text.data(), text.size(), format.text, format.width, format.precision, value);
    text.pop_back();
  }
  if constexpr (std::is_floating_point_v<T>) {
    const std::string_view point = std::localeconv()->decimal_point;
    if (const size_t at = point == "." ? std::string::npos : text.find(point); at != std::string::npos) {
      text = Concat(std::string_view(text).substr(0, at), ".", std::string_view(text).substr(at + point.size()));
    }
  }
  return text;
}

template <class T>
std::string ToText(const Format& format, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return format.width == 0 ? value : Print(format, value.c_str());
  } else if constexpr (std::is_same_v<T, Half>) {
    return Print(format, static_cast<double>(static_cast<float>(value)));
  } else if constexpr (std::is_floating_point_v<T>) {
    return Print(format, static_cast<double>(value));
  } else if constexpr (std::is_same_v<T, std::complex<float>>) {
    return Concat("(", Print(format, static_cast<double>(value.real())), ",", Print(format, static_cast<double>(value.imag())), ")");
  } else if constexpr (std::is_signed_v<T>) {
    return Print(format, static_cast<long long>(value));
  } else {
    return Print(format, static_cast<unsigned long long>(value));
  }
}

Format ReadFormat(const Prepare& p, const FlexNode& node, bool real, const char* integer) {
  const bool scientific = node.Bool("scientific", false), shortest = node.Bool("shortest", false);
  const int64_t precision = node.Integer("precision", -1), width = node.Integer("width", -1);
  const std::string fill(node.Bytes("fill", ""));
  const char* type = TensorTypeName(p.type(0));
  p.Check(real || !(scientific || shortest), "scientific and shortest format not supported for ", type);
  p.Check(real || precision < 0, "precision not supported for ", type);
  p.Check(!(scientific && shortest), "cannot select both scientific and shortest notation");
  p.Check(fill.size() <= 1, "the fill string '", fill, "' is longer than one character");
  p.Check(fill.empty() || std::string_view(" +-0#").find(fill[0]) != std::string_view::npos, "fill argument not supported: \"", fill, "\"");
  constexpr int64_t kMost = 1 << 16;
  p.Check(width <= kMost && precision <= kMost, "width ", width, " and precision ", precision, ", supported up to ", kMost);
  Format format;
  const char* conversion = !real ? integer : shortest ? "g" : scientific ? "e" : "f";
  std::snprintf(format.text, sizeof(format.text), "%%%s*.*%s", fill.c_str(), conversion);
  format.width = static_cast<int>(std::max<int64_t>(width, 0));
  format.precision = static_cast<int>(std::max<int64_t>(precision, -1));
  return format;
}

template <class T>
void EmitAsString(Prepare& p, const FlexNode& node) {
  constexpr bool kReal = std::is_floating_point_v<T> || std::is_same_v<T, Half> || std::is_same_v<T, std::complex<float>>;
  const Format format = ReadFormat(p, node, kReal, std::is_same_v<T, std::string> ? "s" : std::is_signed_v<T> ? "lld" : "llu");
  p.Emit([format, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const T* from = Elements<const T>(run, x);
    std::string* to = Elements<std::string>(run, y);
    for (int64_t i = 0; i < n; ++i) to[i] = ToText(format, from[i]);
  });
}

void EmitBoolAsString(Prepare& p, const FlexNode& node) {
  ReadFormat(p, node, false, "d");
  p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const uint8_t* from = run.get<uint8_t>(x);
    std::string* to = Elements<std::string>(run, y);
    for (int64_t i = 0; i < n; ++i) to[i] = from[i] != 0 ? "true" : "false";
  });
}

void PrepareAsString(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kString});
  p.SetShape(0, p.shape(0));
  const FlexNode node(p);
  node.CheckType(p, "T", p.type(0));
  switch (p.type(0)) {
    case TensorType::kFloat32: return EmitAsString<float>(p, node);
    case TensorType::kFloat64: return EmitAsString<double>(p, node);
    case TensorType::kFloat16: return EmitAsString<Half>(p, node);
    case TensorType::kComplex64: return EmitAsString<std::complex<float>>(p, node);
    case TensorType::kInt8: return EmitAsString<int8_t>(p, node);
    case TensorType::kInt16: return EmitAsString<int16_t>(p, node);
    case TensorType::kInt32: return EmitAsString<int32_t>(p, node);
    case TensorType::kInt64: return EmitAsString<int64_t>(p, node);
    case TensorType::kUInt8: return EmitAsString<uint8_t>(p, node);
    case TensorType::kUInt16: return EmitAsString<uint16_t>(p, node);
    case TensorType::kUInt32: return EmitAsString<uint32_t>(p, node);
    case TensorType::kUInt64: return EmitAsString<uint64_t>(p, node);
    case TensorType::kString: return EmitAsString<std::string>(p, node);
    case TensorType::kBool: return EmitBoolAsString(p, node);
    default: p.Refuse(StatusCode::kUnimplemented, Concat("an input of type ", TensorTypeName(p.type(0))));
  }
}

// --- StringToNumber ---

constexpr std::string_view kBlanks = " \t\n\v\f\r";

std::string_view WithoutBlanks(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  return first == std::string_view::npos ? std::string_view() : text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

template <class T>
bool ParseInteger(std::string_view text, T* value) {
  text = WithoutBlanks(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// Whether a decimal number that is out of range is too large, not too small: by the exponent of its first digit that is not zero.
bool IsHuge(std::string_view decimal) {
  const size_t e = std::min(decimal.find_first_of("eE"), decimal.size());
  const std::string_view mantissa = decimal.substr(0, e);
  const int64_t point = static_cast<int64_t>(std::min(mantissa.find('.'), mantissa.size()));
  const size_t first = mantissa.find_first_of("123456789");
  if (first == std::string_view::npos) return false;
  std::string_view digits = e == decimal.size() ? std::string_view() : decimal.substr(e + 1);
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  int64_t exponent = 0;
  for (const char c : digits) exponent = std::min<int64_t>(exponent * 10 + (c - '0'), 1 << 30);
  return point - static_cast<int64_t>(first) + (negative ? -exponent : exponent) > 0;
}

// What strtod takes in the C locale, to its last character, with blanks around it.
template <class T>
bool ParseReal(std::string_view text, T* value) {
  text = WithoutBlanks(text);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] == '-') return false;
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  if (text.empty() || text[0] == '-') return false;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *value, hex ? std::chars_format::hex : std::chars_format::general);
  if (end != text.data() + text.size()) return false;
  if (error == std::errc::result_out_of_range) {
    const bool huge = hex ? text.find("p-") == text.npos && text.find("P-") == text.npos : IsHuge(text);
    *value = huge ? std::numeric_limits<T>::infinity() : T{0};
  } else if (error != std::errc()) {
    return false;
  }
  if (negative) *value = -*value;
  return true;
}

template <class T>
void EmitToNumber(Prepare& p) {
  p.Emit([n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    T* to = run.get<T>(y);
    for (int64_t i = 0; i < n; ++i) {
      bool parsed = false;
      if constexpr (std::is_integral_v<T>) {
        parsed = ParseInteger(from[i], to + i);
      } else {
        parsed = ParseReal(from[i], to + i);
      }
      if (!parsed) return run.Fail(Concat("StringToNumberOp could not correctly convert string: ", from[i]));
    }
  });
}

void PrepareStringToNumber(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kString});
  p.SetShape(0, p.shape(0));
  FlexNode(p).CheckType(p, "out_type", p.output_type(0));
  switch (p.output_type(0)) {
    case TensorType::kFloat32: return EmitToNumber<float>(p);
    case TensorType::kFloat64: return EmitToNumber<double>(p);
    case TensorType::kInt32: return EmitToNumber<int32_t>(p);
    case TensorType::kInt64: return EmitToNumber<int64_t>(p);
    default: p.Refuse(StatusCode::kUnimplemented, Concat("an output of type ", TensorTypeName(p.output_type(0))));
  }
}

constexpr OpDef kOps[] = {
    {.name = "FlexAsString", .prepare = PrepareAsString},
    {.name = "FlexStringToNumber", .prepare = PrepareStringToNumber},
};

}  // namespace

std::span<const OpDef> flex_strings_ops() { return kOps; }

}  // namespace sigrun::ops
