#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sigrun::ops {

/// Regular expressions in the syntax of RE2, which TensorFlow uses, on UTF-8: literals, classes, groups, alternatives, repetitions (lazy
/// ones, too), anchors, word borders, and the flags i, m, s and U. The time to match is bounded by the product of the lengths of program
/// and text: all ways are followed side by side, in the order of their preference, so that the leftmost-first match is found.
class Regex {
 public:
  /// Throws Error (kInvalidArgument) if the pattern is malformed or too large, kUnimplemented for Unicode classes.
  explicit Regex(std::string_view pattern);

  /// Places in the text: begin and end of the match and of each group; -1 where a group took no part.
  using Groups = std::vector<int64_t>;
  /// The first match that begins at `from` or later.
  std::optional<Groups> Find(std::string_view text, size_t from) const;
  bool MatchesAll(std::string_view text) const;
  /// The first match, or all that do not overlap, rewritten: \0 to \9 are the match and its groups.
  std::string Replace(const std::string& text, std::string_view rewrite, bool all) const;
  /// Throws unless a rewrite names groups only that there are.
  void CheckRewrite(std::string_view rewrite) const;

 private:
  friend class RegexCompiler;
  using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;
  enum Kind : uint8_t { kClass, kFork, kJump, kSave, kAssert, kMatch };
  enum Assertion : int32_t { kTextBegin, kTextEnd, kLineBegin, kLineEnd, kBorder, kNoBorder };
  struct Instruction {
    Kind kind;
    int32_t first = 0;   // class, target that is preferred, place to save, assertion
    int32_t second = 0;  // the other target
  };
  struct Thread {
    int32_t at;
    Groups groups;
  };
  struct Threads {
    std::vector<Thread> list;
    std::vector<uint32_t> seen;  // by instruction: the step at which it was added
  };
  bool Holds(Assertion assertion, std::string_view text, size_t at) const;
  void Add(Threads& threads, uint32_t step, int32_t instruction, std::string_view text, size_t at, Groups groups) const;
  std::optional<Groups> Run(std::string_view text, size_t from, bool whole) const;

  std::vector<Instruction> program_;
  std::vector<Ranges> classes_;
  int32_t groups_ = 0;
};

}  // namespace sigrun::ops
