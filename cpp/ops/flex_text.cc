#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "ops/op.h"
#include "ops/support/broadcast.h"
#include "ops/support/elements.h"
#include "ops/support/fingerprint.h"
#include "ops/support/flex.h"
#include "ops/support/numbers.h"
#include "run/frame.h"

// TensorFlow's operators on strings: StringJoin, StringLength, StringLower, StringUpper, StringStrip, StringSplit (V2), Substr,
// StringToHashBucketFast, ReduceJoin.
namespace sigrun::ops {
namespace {

bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Calls f(std::string in) -> std::string on every element.
template <class F>
void EmitTexts(Prepare& p, F f) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kString});
  p.CheckOutputType(0, {TensorType::kString});
  p.SetShape(0, p.shape(0));
  p.Emit([f, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    std::transform(from, from + n, Elements<std::string>(run, y), f);
  });
}

// Letters of ASCII; with the encoding utf-8 also those of Latin-1, Greek and Cyrillic, which have two bytes and a pair at a fixed distance.
struct CaseOf {
  bool upper;
  bool utf8;

  uint32_t operator()(uint32_t c) const {
    const auto within = [c](uint32_t first, uint32_t last) { return c >= first && c <= last; };
    if (upper) {
      if (within('a', 'z')) return c - 32;
      if (!utf8) return c;
      if ((within(0xe0, 0xfe) && c != 0xf7) || (within(0x3b1, 0x3cb) && c != 0x3c2) || within(0x430, 0x44f)) return c - 32;
      return within(0x450, 0x45f) ? c - 80 : c == 0x3c2 ? 0x3a3 : c;
    }
    if (within('A', 'Z')) return c + 32;
    if (!utf8) return c;
    if ((within(0xc0, 0xde) && c != 0xd7) || (within(0x391, 0x3ab) && c != 0x3a2) || within(0x410, 0x42f)) return c + 32;
    return within(0x400, 0x40f) ? c + 80 : c;
  }

  std::string operator()(const std::string& text) const {
    std::string result = text;
    for (size_t i = 0; i < text.size(); ++i) {
      const uint8_t first = static_cast<uint8_t>(text[i]);
      const bool two = utf8 && (first & 0xe0) == 0xc0 && i + 1 < text.size();
      if (first < 0x80) result[i] = static_cast<char>((*this)(uint32_t{first}));
      if (!two) continue;
      const uint32_t c = (*this)((first & 0x1fu) << 6 | (static_cast<uint8_t>(text[i + 1]) & 0x3fu));
      result[i] = static_cast<char>(0xc0 | c >> 6);
      result[++i] = static_cast<char>(0x80 | (c & 0x3f));
    }
    return result;
  }
};

template <bool kUpper>
void PrepareCase(Prepare& p) {
  const FlexNode node(p);
  const std::string encoding(node.Bytes("encoding", ""));
  p.Check(encoding.empty() || encoding == "utf-8", "the encoding '", encoding, "'");
  EmitTexts(p, CaseOf{kUpper, !encoding.empty()});
}

void PrepareStrip(Prepare& p) {
  EmitTexts(p, [](const std::string& text) {
    const auto first = std::find_if_not(text.begin(), text.end(), IsBlank);
    const auto last = std::find_if_not(text.rbegin(), std::string::const_reverse_iterator(first), IsBlank).base();
    return std::string(first, last);
  });
}

void PrepareLength(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kString});
  p.CheckOutputType(0, {TensorType::kInt32});
  const FlexNode node(p);
  const std::string unit(node.Bytes("unit", "BYTE"));
  p.Check(unit == "BYTE" || unit == "UTF8_CHAR", "the unit '", unit, "'");
  p.SetShape(0, p.shape(0));
  p.Emit([bytes = unit == "BYTE", n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    const auto is_first = [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; };
    for (int64_t i = 0; i < n; ++i) {
      run.get<int32_t>(y)[i] =
          static_cast<int32_t>(bytes ? static_cast<ptrdiff_t>(from[i].size()) : std::count_if(from[i].begin(), from[i].end(), is_first));
    }
  });
}

// Inputs of one shape, and scalars, which go with each of the others' elements.
void PrepareJoin(Prepare& p) {
  p.CheckCounts(std::max(1, p.inputs()), std::max(1, p.inputs()), 1);
  p.CheckOutputType(0, {TensorType::kString});
  Shape shape;
  for (int i = 0; i < p.inputs(); ++i) {
    p.CheckType(i, {TensorType::kString});
    p.Check(p.shape(i).empty() || shape.empty() || p.shape(i) == shape, "inputs ", ToString(shape), " and ", ToString(p.shape(i)));
    if (!p.shape(i).empty()) shape = p.shape(i);
  }
  p.SetShape(0, shape);
  std::vector<std::pair<Slot, bool>> inputs;
  for (int i = 0; i < p.inputs(); ++i) inputs.emplace_back(p.in(i), p.shape(i).empty());
  const FlexNode node(p);
  p.Emit([inputs, separator = std::string(node.Bytes("separator", "")), n = p.output_elements(0), y = p.out(0)](RunContext& run) noexcept {
    for (int64_t e = 0; e < n; ++e) {
      std::string text;
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (i > 0) text += separator;
        text += Elements<const std::string>(run, inputs[i].first)[inputs[i].second ? 0 : e];
      }
      Elements<std::string>(run, y)[e] = std::move(text);
    }
  });
}

void PrepareHashBucketFast(Prepare& p) {
  p.CheckCounts(1, 1, 1);
  p.CheckType(0, {TensorType::kString});
  p.CheckOutputType(0, {TensorType::kInt64});
  const int64_t buckets = FlexNode(p).Integer("num_buckets", 0);
  p.Check(buckets >= 1, buckets, " buckets");
  p.SetShape(0, p.shape(0));
  p.Emit([buckets, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t hash = Fingerprint::Of(reinterpret_cast<const std::byte*>(from[i].data()), from[i].size());
      run.get<int64_t>(y)[i] = static_cast<int64_t>(hash % static_cast<uint64_t>(buckets));
    }
  });
}

// --- splitting: how much comes out depends on the text ---

/// Pieces between separators; an empty one stands for any blanks, and drops empty pieces. At most `most` cuts if that is not negative.
std::vector<std::string> Pieces(const std::string& text, const std::string& separator, int64_t most) {
  std::vector<std::string> pieces;
  size_t at = 0;
  if (separator.empty()) {
    const auto skip = [&] {
      while (at < text.size() && IsBlank(text[at])) ++at;
    };
    for (skip(); at < text.size(); skip()) {
      const size_t begin = at;
      const bool last = most >= 0 && static_cast<int64_t>(pieces.size()) == most;
      while (at < text.size() && (last || !IsBlank(text[at]))) ++at;
      pieces.push_back(text.substr(begin, at - begin));
    }
    return pieces;
  }
  while (most < 0 || static_cast<int64_t>(pieces.size()) < most) {
    const size_t next = text.find(separator, at);
    if (next == std::string::npos) break;
    pieces.push_back(text.substr(at, next - at));
    at = next + separator.size();
  }
  pieces.push_back(text.substr(at));
  return pieces;
}

/// Pieces at each of some characters; every character by itself if there are none.
std::vector<std::string> PiecesAtAny(const std::string& text, const std::string& characters, bool skip_empty) {
  std::vector<std::string> pieces;
  if (characters.empty()) {
    for (const char c : text) pieces.emplace_back(1, c);
    return pieces;
  }
  for (size_t at = 0;;) {
    const size_t next = text.find_first_of(characters, at);
    std::string piece = text.substr(at, next == std::string::npos ? next : next - at);
    if (!piece.empty() || !skip_empty) pieces.push_back(std::move(piece));
    if (next == std::string::npos) return pieces;
    at = next + 1;
  }
}

/// The result as a sparse matrix: a row an element, its pieces along the row.
void WriteRows(const std::vector<std::vector<std::string>>& rows, LateValue& indices, LateValue& values, int64_t* shape) {
  values.strings.clear();
  std::vector<int64_t> places;
  shape[0] = static_cast<int64_t>(rows.size());
  shape[1] = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    shape[1] = std::max(shape[1], static_cast<int64_t>(rows[r].size()));
    for (size_t c = 0; c < rows[r].size(); ++c) {
      places.insert(places.end(), {static_cast<int64_t>(r), static_cast<int64_t>(c)});
      values.strings.push_back(rows[r][c]);
    }
  }
  const int32_t count = static_cast<int32_t>(values.strings.size());
  values.shape = {count};
  std::byte* to = indices.Resize({count, 2}, places.size() * sizeof(int64_t));
  if (count > 0) std::memcpy(to, places.data(), places.size() * sizeof(int64_t));
}

template <bool kV2>
void PrepareSplit(Prepare& p) {
  p.CheckCounts(2, 2, 3);
  for (int i = 0; i < 2; ++i) p.CheckType(i, {TensorType::kString});
  p.Check(p.shape(0).size() == 1 && p.elements(1) == 1, "texts ", ToString(p.shape(0)), " and separators ", ToString(p.shape(1)));
  p.CheckOutputType(0, {TensorType::kInt64});
  p.CheckOutputType(1, {TensorType::kString});
  p.CheckOutputType(2, {TensorType::kInt64});
  p.SetShapeLater(0);
  p.SetShapeLater(1);
  p.SetShape(2, {2});
  const FlexNode node(p);
  const int64_t most = node.Integer("maxsplit", -1);
  const bool skip_empty = node.Bool("skip_empty", true);
  p.Emit([=, n = p.elements(0), x = p.in(0), d = p.in(1), i = p.out(0), v = p.out(1), s = p.out(2)](RunContext& run) noexcept {
    const Status status = Guard([&] {
      const std::string &separator = *Elements<const std::string>(run, d), *texts = Elements<const std::string>(run, x);
      std::vector<std::vector<std::string>> rows;
      for (int64_t r = 0; r < n; ++r)
        rows.push_back(kV2 ? Pieces(texts[r], separator, most) : PiecesAtAny(texts[r], separator, skip_empty));
      WriteRows(rows, *run.get<LateValue>(i), *run.get<LateValue>(v), run.get<int64_t>(s));
    });
    if (!status.ok()) run.Fail(status.message());
  });
}

// --- Substr, ReduceJoin ---

template <class I>
void EmitSubstr(Prepare& p) {
  p.SetShape(0, p.shape(0));
  const bool one = p.elements(1) == 1;
  p.Check(p.shape(1) == p.shape(2) && (one || p.shape(1) == p.shape(0)), "positions ", ToString(p.shape(1)), " and lengths ",
          ToString(p.shape(2)), " for texts ", ToString(p.shape(0)));
  p.Emit([one, n = p.elements(0), x = p.in(0), b = p.in(1), l = p.in(2), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t size = static_cast<int64_t>(from[i].size()), at = run.get<I>(b)[one ? 0 : i], length = run.get<I>(l)[one ? 0 : i];
      if (at < -size || at > size) return run.Fail(Concat("position ", at, " in a text of ", size, " bytes at index ", i));
      const int64_t begin = at < 0 ? at + size : at;
      Elements<std::string>(run, y)[i] = from[i].substr(static_cast<size_t>(begin), static_cast<size_t>(std::max<int64_t>(0, length)));
    }
  });
}

void PrepareSubstr(Prepare& p) {
  p.CheckCounts(3, 3, 1);
  p.CheckType(0, {TensorType::kString});
  p.CheckType(2, {p.type(1)});
  p.CheckOutputType(0, {TensorType::kString});
  const std::string unit(FlexNode(p).Bytes("unit", "BYTE"));
  if (unit != "BYTE") p.Refuse(StatusCode::kUnimplemented, Concat("the unit '", unit, "'"));
  WithType<I32, I64>(p, p.type(1), "positions", [&]<class I>(std::type_identity<I>) { EmitSubstr<I>(p); });
}

void PrepareReduceJoin(Prepare& p) {
  p.CheckCounts(2, 2, 1);
  p.CheckType(0, {TensorType::kString});
  p.CheckOutputType(0, {TensorType::kString});
  const Shape& input = p.shape(0);
  const FlexNode node(p);
  const bool keeps = node.Bool("keep_dims", false);
  std::vector<int64_t> axes = p.ConstantInts(1, "axes");
  if (axes.size() > 1) p.Refuse(StatusCode::kUnimplemented, Concat(axes.size(), " axes"));
  if (axes.empty()) return p.Refuse(StatusCode::kUnimplemented, "no axes");
  const size_t axis = ResolveAxis(p, axes[0], input.size());
  Shape shape = input;
  if (keeps) {
    shape[axis] = 1;
  } else {
    shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis));
  }
  p.SetShape(0, shape);
  const int64_t outer = Product(input, 0, axis), count = input[axis], inner = Product(input, axis + 1, input.size());
  p.Emit([=, separator = std::string(node.Bytes("separator", "")), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    for (int64_t e = 0; e < outer * inner; ++e) {
      std::string text;
      for (int64_t k = 0; k < count; ++k) {
        if (k > 0) text += separator;
        text += from[(e / inner * count + k) * inner + e % inner];
      }
      Elements<std::string>(run, y)[e] = std::move(text);
    }
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexReduceJoin", .prepare = PrepareReduceJoin},    {.name = "FlexStringJoin", .prepare = PrepareJoin},
    {.name = "FlexStringLength", .prepare = PrepareLength},      {.name = "FlexStringLower", .prepare = PrepareCase<false>},
    {.name = "FlexStringSplit", .prepare = PrepareSplit<false>}, {.name = "FlexStringSplitV2", .prepare = PrepareSplit<true>},
    {.name = "FlexStringStrip", .prepare = PrepareStrip},        {.name = "FlexStringToHashBucketFast", .prepare = PrepareHashBucketFast},
    {.name = "FlexStringUpper", .prepare = PrepareCase<true>},   {.name = "FlexSubstr", .prepare = PrepareSubstr},
};

}  // namespace

std::span<const OpDef> flex_text_ops() { return kOps; }

}  // namespace sigrun::ops
