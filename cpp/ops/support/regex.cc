#include "ops/support/regex.h"

#include <algorithm>

#include "model/error.h"

namespace sigrun::ops {
namespace {

constexpr uint32_t kMostCode = 0x10ffff;

/// The code point at a place and how many bytes it takes; a byte that begins none stands for itself.
struct Code {
  uint32_t value;
  size_t bytes;
};
Code CodeAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t first = byte(0);
  const size_t bytes = first < 0x80 ? 1 : (first & 0xe0) == 0xc0 ? 2 : (first & 0xf0) == 0xe0 ? 3 : (first & 0xf8) == 0xf0 ? 4 : 1;
  if (bytes == 1 || at + bytes > text.size()) return {first, 1};
  uint32_t value = first & (0x7fu >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {first, 1};
    value = value << 6 | (byte(i) & 0x3fu);
  }
  return {value, bytes};
}

bool IsWord(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

}  // namespace

// Recursive descent; every part is compiled behind what there is, and parts are copied where they repeat.
class RegexCompiler {
 public:
  using Kind = Regex::Kind;
  using Instruction = Regex::Instruction;
  using Ranges = Regex::Ranges;
  using Part = std::vector<Instruction>;  // targets count from the instruction itself

  RegexCompiler(std::string_view pattern, Regex& regex) : pattern_(pattern), regex_(regex) {}

  void Compile() {
    Part all = {{Regex::kSave, 0}};
    Append(all, Alternatives(0));
    if (at_ < pattern_.size()) Fault("a ) too many");
    all.push_back({Regex::kSave, 1});
    all.push_back({Regex::kMatch});
    regex_.program_ = std::move(all);
  }

 private:
  static constexpr size_t kMostInstructions = 4000;
  static constexpr int kDeepest = 100, kMostRepeats = 1000;

  struct Flags {
    bool ignores_case = false, lines = false, dot_takes_lines = false, lazy = false;
  };

  [[noreturn]] void Fault(const std::string& what) const {
    Fail(StatusCode::kInvalidArgument, "the pattern '", std::string(pattern_), "' has ", what, " at ", at_);
  }
  bool AtEnd() const { return at_ >= pattern_.size(); }
  bool Take(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  uint32_t TakeCode() {
    if (AtEnd()) Fault("an end too early");
    const Code code = CodeAt(pattern_, at_);
    at_ += code.bytes;
    return code.value;
  }
  void Append(Part& to, const Part& part) const {
    to.insert(to.end(), part.begin(), part.end());
    if (to.size() > kMostInstructions) Fail(StatusCode::kInvalidArgument, "the pattern '", std::string(pattern_), "' is too large");
  }
  static int32_t Size(const Part& part) { return static_cast<int32_t>(part.size()); }

  Part Alternatives(int depth) {
    if (depth > kDeepest) Fault("groups too deep");
    Part part = Sequence(depth);
    while (Take("|")) {
      const Part other = Sequence(depth);
      Part fork = {{Regex::kFork, 1, Size(part) + 2}};
      Append(fork, part);
      fork.push_back({Regex::kJump, Size(other) + 1});
      Append(fork, other);
      part = std::move(fork);
    }
    return part;
  }

  Part Sequence(int depth) {
    Part part;
    for (;;) {
      if (!quoted_ && Take("\\Q")) quoted_ = true;
      if (quoted_ && Take("\\E")) {
        quoted_ = false;
      } else if (AtEnd() || (!quoted_ && (pattern_[at_] == '|' || pattern_[at_] == ')'))) {
        return part;
      } else {
        Append(part, Repeated(Atom(depth)));
      }
    }
  }

  Part Repeated(Part atom) {
    if (quoted_ && !Take("\\E")) return atom;
    quoted_ = false;
    for (;;) {
      int least = 0, most = -1;  // -1: any number
      if (Take("*")) {
      } else if (Take("+")) {
        least = 1;
      } else if (Take("?")) {
        most = 1;
      } else if (!TakeCounts(&least, &most)) {
        return atom;
      }
      const bool lazy = Take("?") != flags_.lazy;
      Part part;
      const auto fork = [&](int32_t in, int32_t past) {
        return lazy ? Instruction{Regex::kFork, past, in} : Instruction{Regex::kFork, in, past};
      };
      // A loop decides behind its part, so that a part that took nothing ends it.
      if (most < 0 && least == 0) part.push_back(fork(1, Size(atom) + 2));
      for (int i = 0; i < std::max(least, most < 0 ? 1 : 0); ++i) Append(part, atom);
      if (most < 0) part.push_back(fork(-Size(atom), 1));
      for (int i = least; i < most; ++i) {
        part.push_back(fork(1, (Size(atom) + 1) * (most - i)));
        Append(part, atom);
      }
      atom = std::move(part);
    }
  }

  // {2}, {2,} or {2,5}; anything else in braces stands for itself.
  bool TakeCounts(int* least, int* most) {
    size_t at = at_;
    const auto number = [&](int* to) {
      const size_t begin = at;
      for (*to = 0; at < pattern_.size() && pattern_[at] >= '0' && pattern_[at] <= '9' && *to <= kMostRepeats; ++at)
        *to = *to * 10 + (pattern_[at] - '0');
      return at > begin;
    };
    if (at >= pattern_.size() || pattern_[at++] != '{' || !number(least)) return false;
    *most = *least;
    if (at < pattern_.size() && pattern_[at] == ',') {
      ++at;
      if (!number(most)) *most = -1;
    }
    if (at >= pattern_.size() || pattern_[at] != '}') return false;
    if (*least > kMostRepeats || *most > kMostRepeats || (*most >= 0 && *most < *least)) Fault("bad counts");
    at_ = at + 1;
    return true;
  }

  Part Assert(Regex::Assertion assertion) const { return {{Regex::kAssert, assertion}}; }

  Part Atom(int depth) {
    if (quoted_) return Literal(TakeCode());
    if (Take("(")) return Group(depth);
    if (Take("[")) return Class(ReadClass());
    if (Take(".")) return Class(flags_.dot_takes_lines ? Ranges{{0, kMostCode}} : Ranges{{0, '\n' - 1}, {'\n' + 1, kMostCode}}, false);
    if (Take("^")) return Assert(flags_.lines ? Regex::kLineBegin : Regex::kTextBegin);
    if (Take("$")) return Assert(flags_.lines ? Regex::kLineEnd : Regex::kTextEnd);
    if (Take("\\A")) return Assert(Regex::kTextBegin);
    if (Take("\\z")) return Assert(Regex::kTextEnd);
    if (Take("\\b")) return Assert(Regex::kBorder);
    if (Take("\\B")) return Assert(Regex::kNoBorder);
    if (!AtEnd() && std::string_view("*+?").find(pattern_[at_]) != std::string_view::npos) Fault("a repetition of nothing");
    if (Ranges ranges; TakeNamedClass(ranges)) return Class(ranges);
    return Literal(Take("\\") ? ReadEscape() : TakeCode());
  }

  Part Literal(uint32_t code) { return Class({{code, code}}); }

  Part Group(int depth) {
    const Flags outside = flags_;
    bool captures = true;
    if (Take("?P<") || Take("?<")) {
      while (!AtEnd() && pattern_[at_] != '>') ++at_;
      if (!Take(">")) Fault("a name without an end");
    } else if (Take("?")) {
      captures = false;
      if (!ReadFlags()) return {};  // for the rest of the group around
    }
    const int32_t number = captures ? ++regex_.groups_ : 0;
    Part part;
    if (captures) part.push_back({Regex::kSave, 2 * number});
    Append(part, Alternatives(depth + 1));
    if (!Take(")")) Fault("a ( without an end");
    if (captures) part.push_back({Regex::kSave, 2 * number + 1});
    flags_ = outside;
    return part;
  }

  // Behind "(?". True if a group follows.
  bool ReadFlags() {
    for (bool on = true;;) {
      if (Take(":")) return true;
      if (Take(")")) return false;
      if (Take("-")) {
        on = false;
      } else if (Take("i")) {
        flags_.ignores_case = on;
      } else if (Take("m")) {
        flags_.lines = on;
      } else if (Take("s")) {
        flags_.dot_takes_lines = on;
      } else if (Take("U")) {
        flags_.lazy = on;
      } else {
        Fault("an unknown flag");
      }
    }
  }

  // --- classes ---

  Part Class(Ranges ranges, bool folds = true) {
    if (flags_.ignores_case && folds) {
      for (size_t i = 0, n = ranges.size(); i < n; ++i) {
        for (const uint32_t first : {uint32_t{'a'}, uint32_t{'A'}}) {
          const uint32_t low = std::max(ranges[i].first, first), high = std::min(ranges[i].second, first + 25);
          if (low <= high) ranges.emplace_back(low ^ 0x20, high ^ 0x20);
        }
      }
    }
    regex_.classes_.push_back(std::move(ranges));
    return {{Regex::kClass, static_cast<int32_t>(regex_.classes_.size()) - 1}};
  }

  static Ranges Others(Ranges ranges) {
    std::sort(ranges.begin(), ranges.end());
    Ranges rest;
    uint32_t next = 0;
    for (const auto& [first, last] : ranges) {
      if (first > next) rest.emplace_back(next, first - 1);
      next = std::max(next, last + 1);
    }
    if (next <= kMostCode) rest.emplace_back(next, kMostCode);
    return rest;
  }

  // \d and its kin.
  bool TakeNamedClass(Ranges& ranges) {
    if (Take("\\p") || Take("\\P")) Fail(StatusCode::kUnimplemented, "the pattern '", std::string(pattern_), "' has a Unicode class");
    const auto add = [&](const Ranges& more) {
      ranges.insert(ranges.end(), more.begin(), more.end());
      return true;
    };
    const Ranges digits = {{'0', '9'}}, blanks = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}},
                 word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    if (Take("\\d")) return add(digits);
    if (Take("\\D")) return add(Others(digits));
    if (Take("\\s")) return add(blanks);
    if (Take("\\S")) return add(Others(blanks));
    if (Take("\\w")) return add(word);
    if (Take("\\W")) return add(Others(word));
    return false;
  }

  // [:alpha:] and its kin.
  bool TakePosixClass(Ranges& ranges) {
    static const std::pair<const char*, Ranges> kPosix[] = {{"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
                                                            {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
                                                            {"ascii", {{0, 127}}},
                                                            {"blank", {{'\t', '\t'}, {' ', ' '}}},
                                                            {"cntrl", {{0, 31}, {127, 127}}},
                                                            {"digit", {{'0', '9'}}},
                                                            {"graph", {{'!', '~'}}},
                                                            {"lower", {{'a', 'z'}}},
                                                            {"print", {{' ', '~'}}},
                                                            {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
                                                            {"space", {{'\t', '\r'}, {' ', ' '}}},
                                                            {"upper", {{'A', 'Z'}}},
                                                            {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
                                                            {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}}};
    for (const auto& [name, members] : kPosix) {
      const bool other = Take(Concat("[:^", name, ":]"));
      if (!other && !Take(Concat("[:", name, ":]"))) continue;
      const Ranges more = other ? Others(members) : members;
      ranges.insert(ranges.end(), more.begin(), more.end());
      return true;
    }
    return false;
  }

  Ranges ReadClass() {
    const bool others = Take("^");
    Ranges ranges;
    for (bool first = true; first || !Take("]"); first = false) {
      if (AtEnd()) Fault("a [ without an end");
      if (TakeNamedClass(ranges) || TakePosixClass(ranges)) continue;
      const uint32_t low = Take("\\") ? ReadEscape() : TakeCode();
      uint32_t high = low;
      if (at_ + 1 < pattern_.size() && pattern_[at_] == '-' && pattern_[at_ + 1] != ']') {
        ++at_;
        high = Take("\\") ? ReadEscape() : TakeCode();
        if (high < low) Fault("a range that runs backwards");
      }
      ranges.emplace_back(low, high);
    }
    if (!others) return ranges;
    if (flags_.ignores_case) {  // so that the other case is left out, too
      const Part folded = Class(ranges);
      ranges = regex_.classes_[static_cast<size_t>(folded[0].first)];
      regex_.classes_.pop_back();
    }
    return Others(std::move(ranges));
  }

  // Behind a backslash.
  uint32_t ReadEscape() {
    const uint32_t code = TakeCode();
    switch (code) {
      case 'a': return 7;
      case 'f': return '\f';
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'v': return '\v';
      case 'x': return ReadHex();
      default: break;
    }
    if (code < 0x80 && IsWord(static_cast<char>(code)) && code != '_') Fault("an unknown escape");
    return code;
  }

  uint32_t ReadHex() {
    const bool braces = Take("{");
    uint32_t value = 0;
    for (int digits = 0; braces ? !Take("}") : digits < 2; ++digits) {
      const uint32_t c = TakeCode();
      const uint32_t digit = c >= '0' && c <= '9'   ? c - '0'
                             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                             : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                    : 16;
      value = value * 16 + digit;
      if (digit == 16 || value > kMostCode) Fault("a bad hexadecimal number");
    }
    return value;
  }

  std::string_view pattern_;
  Regex& regex_;
  size_t at_ = 0;
  Flags flags_;
  bool quoted_ = false;  // between \Q and \E
};

Regex::Regex(std::string_view pattern) { RegexCompiler(pattern, *this).Compile(); }

bool Regex::Holds(Assertion assertion, std::string_view text, size_t at) const {
  const bool before = at > 0 && IsWord(text[at - 1]), behind = at < text.size() && IsWord(text[at]);
  switch (assertion) {
    case kTextBegin: return at == 0;
    case kTextEnd: return at == text.size();
    case kLineBegin: return at == 0 || text[at - 1] == '\n';
    case kLineEnd: return at == text.size() || text[at] == '\n';
    case kBorder: return before != behind;
    case kNoBorder: return before == behind;
  }
  return false;
}

// A thread, through all that takes no character, those first that are preferred.
void Regex::Add(Threads& threads, uint32_t step, int32_t instruction, std::string_view text, size_t at, Groups groups) const {
  std::vector<Thread> left = {{instruction, std::move(groups)}};
  while (!left.empty()) {
    Thread thread = std::move(left.back());
    left.pop_back();
    const size_t place = static_cast<size_t>(thread.at);
    if (threads.seen[place] == step) continue;
    threads.seen[place] = step;
    const Instruction& i = program_[place];
    switch (i.kind) {
      case kJump: left.push_back({thread.at + i.first, std::move(thread.groups)}); break;
      case kFork:
        left.push_back({thread.at + i.second, thread.groups});
        left.push_back({thread.at + i.first, std::move(thread.groups)});
        break;
      case kSave:
        thread.groups[static_cast<size_t>(i.first)] = static_cast<int64_t>(at);
        left.push_back({thread.at + 1, std::move(thread.groups)});
        break;
      case kAssert:
        if (Holds(static_cast<Assertion>(i.first), text, at)) left.push_back({thread.at + 1, std::move(thread.groups)});
        break;
      default: threads.list.push_back(std::move(thread));
    }
  }
}

std::optional<Regex::Groups> Regex::Run(std::string_view text, size_t from, bool whole) const {
  Threads now{{}, std::vector<uint32_t>(program_.size(), 0)}, next = now;
  std::optional<Groups> found;
  const Groups none(2 * static_cast<size_t>(groups_ + 1), -1);
  uint32_t step = 0;
  for (size_t at = from;;) {
    // Once there is a match, one that begins later cannot be better.
    if (step == 0) ++step;
    if (!found && !(whole && at > from)) Add(now, step, 0, text, at, none);
    if (now.list.empty() && (found || whole)) break;
    const bool end = at >= text.size();
    const Code code = end ? Code{0, 1} : CodeAt(text, at);
    next.list.clear();
    for (Thread& thread : now.list) {
      const Instruction& i = program_[static_cast<size_t>(thread.at)];
      if (i.kind == kMatch) {
        if (whole && !end) continue;
        found = std::move(thread.groups);
        break;  // the threads behind are less preferred
      }
      const Ranges& ranges = classes_[static_cast<size_t>(i.first)];
      const auto within = [&](const auto& range) { return code.value >= range.first && code.value <= range.second; };
      if (!end && std::any_of(ranges.begin(), ranges.end(), within)) {
        Add(next, step + 1, thread.at + 1, text, at + code.bytes, std::move(thread.groups));
      }
    }
    if (end) break;
    std::swap(now, next);
    ++step;
    at += code.bytes;
  }
  return found;
}

std::optional<Regex::Groups> Regex::Find(std::string_view text, size_t from) const { return Run(text, from, false); }
bool Regex::MatchesAll(std::string_view text) const { return Run(text, 0, true).has_value(); }

void Regex::CheckRewrite(std::string_view rewrite) const {
  for (size_t i = 0; i < rewrite.size(); ++i) {
    if (rewrite[i] != '\\') continue;
    const char c = ++i < rewrite.size() ? rewrite[i] : '\0';
    if (c != '\\' && !(c >= '0' && c - '0' <= groups_ && c <= '9')) {
      Fail(StatusCode::kInvalidArgument, "the rewrite '", std::string(rewrite), "' names a group that is not there: there are ", groups_);
    }
  }
}

std::string Regex::Replace(const std::string& text, std::string_view rewrite, bool all) const {
  std::string result;
  size_t at = 0;
  for (std::optional<size_t> last; at <= text.size();) {
    const std::optional<Groups> match = Find(text, at);
    if (!match) break;
    const size_t begin = static_cast<size_t>((*match)[0]), end = static_cast<size_t>((*match)[1]);
    result.append(text, at, begin - at);
    if (begin == end && last == begin) {  // nothing at the end of the last match does not count again
      const size_t bytes = begin < text.size() ? CodeAt(text, begin).bytes : 1;
      result.append(text, begin, begin < text.size() ? bytes : 0);
      at = begin + bytes;
      continue;
    }
    for (size_t i = 0; i < rewrite.size(); ++i) {
      if (rewrite[i] != '\\') {
        result.push_back(rewrite[i]);
      } else if (rewrite[++i] == '\\') {
        result.push_back('\\');
      } else {
        const size_t group = 2 * static_cast<size_t>(rewrite[i] - '0');
        if ((*match)[group] >= 0)
          result.append(text, static_cast<size_t>((*match)[group]), static_cast<size_t>((*match)[group + 1] - (*match)[group]));
      }
    }
    at = end;
    last = end;
    if (!all) break;
  }
  if (at < text.size()) result.append(text, at);
  return result;
}

}  // namespace sigrun::ops
