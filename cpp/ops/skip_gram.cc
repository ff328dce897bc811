#include <string>
#include <vector>

#include "ops/op.h"
#include "ops/support/elements.h"

// SKIP_GRAM: all sequences of words of a sentence, up to a length, between which some words may be left out.
namespace sigrun::ops {
namespace {

struct SkipGram {
  int32_t length, skips;
  bool shorter_too;
};

std::vector<std::string_view> WordsOf(std::string_view sentence) {
  std::vector<std::string_view> words;
  constexpr std::string_view kBlanks = " \t\n\v\f\r";
  for (size_t at = sentence.find_first_not_of(kBlanks); at != std::string_view::npos;) {
    const size_t end = std::min(sentence.find_first_of(kBlanks, at), sentence.size());
    words.push_back(sentence.substr(at, end - at));
    at = sentence.find_first_not_of(kBlanks, end);
  }
  return words;
}

/// The sequences that begin with `words[chosen]` so far, and go on behind it; a sequence comes behind those that it begins.
void Extend(const SkipGram& s, const std::vector<std::string_view>& words, const std::string& text, size_t last, int32_t length,
            Strings& grams) {
  for (size_t next = last + 1; length < s.length && next < words.size() && next <= last + 1 + static_cast<size_t>(s.skips); ++next) {
    Extend(s, words, Concat(text, " ", words[next]), next, length + 1, grams);
  }
  if (length == s.length || s.shorter_too) grams.push_back(text);
}

void PrepareSkipGram(Prepare& p) {
  enum Field : int { kLength, kSkips, kShorterToo };
  p.CheckCounts(1, 1, 1);
  p.CheckOutputType(0, {TensorType::kString});
  p.Check(p.elements(0) == 1, "its input has shape ", ToString(p.shape(0)), ", expected one sentence");
  const SkipGram s{p.options().Scalar<int32_t>(kLength), p.options().Scalar<int32_t>(kSkips), p.options().Bool(kShorterToo)};
  p.Check(s.length >= 1 && s.skips >= 0, "sequences of ", s.length, " words that skip ", s.skips);
  const std::vector<std::string_view> words = WordsOf(p.KnownStrings(0)[0]);
  // As many as there may be are counted before they are made.
  double most = static_cast<double>(words.size()), sum = most;
  for (int32_t k = 1; k < s.length && static_cast<size_t>(k) < words.size() && sum < 1e6; ++k) sum += most *= s.skips + 1.0;
  p.Check(sum < 1e6, "too many sequences of ", s.length, " words");
  Strings grams;
  const bool enough = words.size() >= static_cast<size_t>(s.length);
  for (size_t first = 0; enough && first < words.size(); ++first) Extend(s, words, std::string(words[first]), first, 1, grams);
  p.SetShape(0, {static_cast<int32_t>(grams.size())});
  p.Emit([grams, y = p.out(0)](RunContext& run) noexcept { std::copy(grams.begin(), grams.end(), Elements<std::string>(run, y)); });
}

constexpr OpDef kOps[] = {{.name = "SKIP_GRAM", .prepare = PrepareSkipGram}};

}  // namespace

std::span<const OpDef> skip_gram_ops() { return kOps; }

}  // namespace sigrun::ops
