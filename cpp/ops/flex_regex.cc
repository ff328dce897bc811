#include <algorithm>
#include <memory>
#include <string>

#include "ops/op.h"
#include "ops/support/elements.h"
#include "ops/support/flex.h"
#include "ops/support/regex.h"

// TensorFlow's regular expressions on strings: RegexReplace, RegexFullMatch, and both with a pattern that the node holds (Static...).
namespace sigrun::ops {
namespace {

// The texts are input 0; a pattern that changes from run to run is read anew.
std::shared_ptr<const Regex> ReadPattern(const Prepare& p, const FlexNode& node, bool in_node) {
  p.CheckType(0, {TensorType::kString});
  if (!in_node) p.Check(p.elements(1) == 1, "patterns of shape ", ToString(p.shape(1)));
  const std::string pattern = in_node ? std::string(node.Bytes("pattern", "")) : p.KnownStrings(1)[0];
  return std::make_shared<Regex>(pattern);
}

template <bool kStatic>
void PrepareReplace(Prepare& p) {
  p.CheckCounts(kStatic ? 1 : 3, kStatic ? 1 : 3, 1);
  p.CheckOutputType(0, {TensorType::kString});
  const FlexNode node(p);
  const auto regex = ReadPattern(p, node, kStatic);
  if (!kStatic) p.Check(p.elements(2) == 1, "rewrites of shape ", ToString(p.shape(2)));
  const std::string rewrite = kStatic ? std::string(node.Bytes("rewrite", "")) : p.KnownStrings(2)[0];
  regex->CheckRewrite(rewrite);
  p.SetShape(0, p.shape(0));
  p.Emit([=, all = node.Bool("replace_global", true), n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    std::transform(from, from + n, Elements<std::string>(run, y),
                   [&](const std::string& text) { return regex->Replace(text, rewrite, all); });
  });
}

template <bool kStatic>
void PrepareFullMatch(Prepare& p) {
  p.CheckCounts(kStatic ? 1 : 2, kStatic ? 1 : 2, 1);
  p.CheckOutputType(0, {TensorType::kBool});
  const auto regex = ReadPattern(p, FlexNode(p), kStatic);
  p.SetShape(0, p.shape(0));
  p.Emit([=, n = p.elements(0), x = p.in(0), y = p.out(0)](RunContext& run) noexcept {
    const std::string* from = Elements<const std::string>(run, x);
    std::transform(from, from + n, run.get<bool>(y), [&](const std::string& text) { return regex->MatchesAll(text); });
  });
}

constexpr OpDef kOps[] = {
    {.name = "FlexRegexFullMatch", .prepare = PrepareFullMatch<false>},
    {.name = "FlexRegexReplace", .prepare = PrepareReplace<false>},
    {.name = "FlexStaticRegexFullMatch", .prepare = PrepareFullMatch<true>},
    {.name = "FlexStaticRegexReplace", .prepare = PrepareReplace<true>},
};

}  // namespace

std::span<const OpDef> flex_regex_ops() { return kOps; }

}  // namespace sigrun::ops
