#include <algorithm>

#include "plan/plan_builder.h"

// Chains of line steps in place of the steps themselves.
namespace sigrun {

void PlanBuilder::TruncateSteps(size_t count) {
  steps_.resize(count);
  while (!line_forms_.empty() && line_forms_.back().step >= count) line_forms_.pop_back();
}

// Whether a form reads what the one before it computes, and nobody else does.
bool PlanBuilder::Follows(size_t form, const std::vector<int32_t>& readers) const {
  const LineForm &before = line_forms_[form - 1], &after = line_forms_[form];
  return after.lines.input == before.lines.output && after.step == before.step + 1 && readers[Index(after.lines.input)] == 1;
}

// From `first_form` on. Where the cache sets the end, the chain ends with the smallest of the results that it could end with.
LineChain PlanBuilder::LongestChain(size_t first_form, const std::vector<int32_t>& readers) const {
  const auto bytes = [&](size_t form) {
    const LineGeometry& g = line_forms_[form].lines.geometry;
    return static_cast<size_t>(g.images) * static_cast<size_t>(g.out_lines) * g.out_bytes;
  };
  const auto continues = [&](size_t form) {
    const LineGeometry &before = line_forms_[form - 1].lines.geometry, &g = line_forms_[form].lines.geometry;
    // Few lines are no work for many threads.
    if (!Follows(form, readers) || g.images * g.out_lines < std::min(context_.workers, g.images * g.in_lines)) return false;
    if (bytes(form - 1) >= context_.lines.least_bytes) return true;
    // A pair that is small, and needs no line twice: each thread goes on with what it has computed, and waits for nobody.
    const bool is_small = bytes(form - 1) + before.weight_bytes + g.weight_bytes <= context_.lines.least_bytes;
    return context_.workers > 1 && form == first_form + 1 && is_small && before.extent > 1 && g.extent == 1 && g.stride == 1;
  };
  LineChain chain;
  size_t end = first_form;
  while (end < line_forms_.size() && (end == first_form || continues(end)) &&
         chain.Append(line_forms_[end].lines, context_.lines.cache_bytes))
    ++end;
  const bool cut = end < line_forms_.size() && end > first_form && continues(end);
  if (!cut || end < first_form + 3) return chain;
  size_t best = end;
  for (size_t e = end - 1; e >= first_form + 2; --e) {
    if (bytes(e - 1) < bytes(best - 1)) best = e;
  }
  LineChain shorter;
  for (size_t form = first_form; form < best; ++form) shorter.Append(line_forms_[form].lines, context_.lines.cache_bytes);
  return shorter;
}

LineChain PlanBuilder::ChainAt(size_t first_form, const std::vector<int32_t>& readers) const {
  const LineChain chain = LongestChain(first_form, readers);
  if (chain.size() != 2) return chain;
  const LineStep &first = line_forms_[first_form].lines, &second = line_forms_[first_form + 1].lines;
  const LineChain channels = LineChain::OfChannels(first, second, context_.lines.block_bytes);
  return channels.size() > 0 ? channels : chain;
}

void PlanBuilder::FuseLines() {
  if (line_forms_.size() < 2) return;
  const std::vector<int32_t> readers = UseCounts(graph_);
  std::vector<Step> steps;
  size_t form = 0;
  for (size_t i = 0; i < steps_.size();) {
    while (form < line_forms_.size() && line_forms_[form].step < i) ++form;
    const bool has_form = form < line_forms_.size() && line_forms_[form].step == i;
    const LineChain chain = has_form ? ChainAt(form, readers) : LineChain();
    if (chain.size() < 2 || !FuseChain(chain, form)) {
      steps.push_back(steps_[i++]);
      continue;
    }
    i += chain.size();
    steps.push_back(steps_.back());  // which FuseChain has added
    steps_.pop_back();
  }
  steps_ = std::move(steps);
}

// Adds the step that runs the chain. False, and no change, if its memory cannot be arranged.
bool PlanBuilder::FuseChain(const LineChain& chain, size_t first_form) {
  const LineForm &first = line_forms_[first_form], &last = line_forms_[first_form + chain.size() - 1];
  if (!SeparateOutput(chain, first_form)) return false;
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    const int32_t at = storage_of_[Index(chain.step(i).output)];
    if (std::count(storage_of_.begin(), storage_of_.end(), at) == 1) storages_[Index(at)].bytes = 0;
  }
  // All of the chain happens at once.
  for (Storage& s : storages_) {
    if (s.last < first.position || s.first > last.position) continue;
    s.first = std::min(s.first, first.position);
    s.last = std::max(s.last, last.position);
  }
  Storage buffers;
  buffers.bytes = chain.buffer_bytes() * static_cast<size_t>(context_.workers);
  buffers.first = first.position;
  buffers.last = last.position;
  struct Chained {
    LineChain chain;
    Slot buffers;
    int workers;
  };
  auto owned = std::make_shared<const Chained>(Chained{chain, Slot{NewSlot(NewStorage(buffers), 0)}, context_.workers});
  const auto run = [](const void* self, RunContext& context) noexcept {
    const auto& c = *static_cast<const Chained*>(self);
    c.chain.Run(context, c.buffers, c.workers);
  };
  const auto flushes = [&](const Step& step) { return step.flushes_denormals; };
  const auto begin = steps_.begin() + static_cast<ptrdiff_t>(first.step);
  const bool all_flush = std::all_of(begin, begin + static_cast<ptrdiff_t>(chain.size()), flushes);
  steps_.push_back({run, owned.get(), steps_[last.step].node, steps_[first.step].node, all_flush});
  owners_.push_back(std::move(owned));
  return true;
}

// An output that overwrites what the chain reads gets memory of its own: lines are read again after lines nearby were written.
bool PlanBuilder::SeparateOutput(const LineChain& chain, size_t first_form) {
  const LineForm &first = line_forms_[first_form], &last = line_forms_[first_form + chain.size() - 1];
  const int32_t output = last.lines.output, at = storage_of_[Index(output)];
  bool overwrites = false;
  for (int32_t position = first.position; position < last.position; ++position) {
    for (const int32_t v : graph_.nodes[Index(position)].inputs) overwrites = overwrites || (v >= 0 && storage_of_[Index(v)] == at);
  }
  if (!overwrites) return true;
  if (storages_[Index(at)].kind != Storage::kArena) return false;
  Storage own = storages_[Index(at)];
  own.first = first.position;
  storages_[Index(at)].last = last.position;
  const int32_t fresh = NewStorage(own);
  // The output, and what has taken its memory since.
  for (size_t position = Index(last.position); position < graph_.nodes.size(); ++position) {
    for (const int32_t v : graph_.nodes[position].outputs) {
      if (v < 0 || storage_of_[Index(v)] != at) continue;
      storage_of_[Index(v)] = fresh;
      if (slot_of_[Index(v)] >= 0) slots_[Index(slot_of_[Index(v)])].storage = fresh;
    }
  }
  return true;
}

}  // namespace sigrun
