#include "engine/scheduler.h"

#include <algorithm>
#include <tuple>

namespace packhorse {
namespace {

/// Leading tokens that may come from the prefix cache: the last one is computed for its logits, and so are positions
/// whose prompt logits are wanted.
int64_t max_cached_tokens(const Sequence& sequence) {
  const auto& pooling = sequence.request->pooling;
  if (pooling && is_mean(*pooling)) return 0;  // all hidden states are wanted
  const PromptRows rows = prompt_rows(sequence, sequence.n_tokens());
  return std::min(sequence.n_tokens() - 1, rows.count() > 0 ? rows.begin : sequence.n_tokens());
}

}  // namespace

bool Scheduler::Earlier::operator()(const Sequence* a, const Sequence* b) const {
  return std::tie(a->request->priority, a->request->id, a->index) <
         std::tie(b->request->priority, b->request->id, b->index);
}

Scheduler::Scheduler(const SchedulerLimits& limits)
    : limits_(limits), cache_(limits.n_blocks, limits.enable_prefix_caching) {}

void Scheduler::add(Sequence& sequence) { waiting_.insert(&sequence); }

void Scheduler::remove(Sequence& sequence) noexcept {
  waiting_.erase(&sequence);
  running_.erase(&sequence);
  free_blocks(sequence);
}

std::vector<ScheduledSpan> Scheduler::schedule() {
  fresh_blocks_.clear();
  std::vector<ScheduledSpan> spans;
  Budget budget{.n_tokens = limits_.max_num_batched_tokens,
                .n_prompt_rows = limits_.max_prompt_rows,
                .n_prefill = prefill_budget()};
  const int64_t n_preemptions_before = n_preemptions_;
  continue_running(budget, spans);
  if (n_preemptions_ == n_preemptions_before) admit_waiting(budget, spans);
  return spans;
}

int64_t Scheduler::prefill_budget() {
  if (!limits_.time_chunks) return limits_.max_num_batched_tokens;
  const auto n_decodes = std::ranges::count_if(running_, [](const Sequence* s) { return s->is_decoding(); });
  return chunk_sizer_.budget(n_decodes, limits_.max_num_batched_tokens);
}

void Scheduler::continue_running(Budget& budget, std::vector<ScheduledSpan>& spans) {
  for (auto it = running_.begin(); it != running_.end();) {
    Sequence& sequence = **it;
    const int64_t n_tokens = chunk(sequence, budget);
    if (n_tokens <= 0) {
      ++it;
      continue;
    }
    while (!reserve(sequence, sequence.n_computed + n_tokens)) {
      const bool is_last = *running_.rbegin() == &sequence;
      preempt_last();  // of those not yet in this step: earlier ones come first
      if (is_last) return;
    }
    spans.push_back({&sequence, n_tokens, sequence.is_decoding()});
    spend(spans.back(), budget);
    ++it;
  }
}

void Scheduler::admit_waiting(Budget& budget, std::vector<ScheduledSpan>& spans) {
  while (!waiting_.empty() && n_running() < limits_.max_num_seqs && budget.n_tokens > 0 && budget.n_prefill > 0) {
    Sequence& sequence = **waiting_.begin();
    if (!admit(sequence, budget)) return;
    running_.insert(waiting_.extract(waiting_.begin()));
    spans.push_back({&sequence, chunk(sequence, budget)});
    spend(spans.back(), budget);
  }
}

bool Scheduler::admit(Sequence& sequence, const Budget& budget) {
  const Request& request = *sequence.request;
  free_blocks(sequence);  // it has none, unless memory ran out the last time
  const auto cacheable = std::span(sequence.tokens).first(static_cast<size_t>(max_cached_tokens(sequence)));
  sequence.blocks = cache_.acquire(cacheable, request.cache_salt);
  sequence.n_known_blocks = static_cast<int64_t>(sequence.blocks.size());
  sequence.n_computed = sequence.n_known_blocks * kKvBlockTokens;
  const int64_t n_tokens = chunk(sequence, budget);
  // Room for all that is known of it, not for the first chunk alone: else it would soon be preempted in mid-prefill.
  const int64_t n_missing = blocks_for(sequence.n_tokens()) - sequence.n_known_blocks;
  if (n_tokens > 0 && n_missing <= cache_.n_free() && reserve(sequence, sequence.n_computed + n_tokens)) return true;
  free_blocks(sequence);
  return false;
}

bool Scheduler::reserve(Sequence& sequence, int64_t n_tokens) {
  const int64_t n_missing = blocks_for(n_tokens) - static_cast<int64_t>(sequence.blocks.size());
  if (n_missing > cache_.n_free()) return false;
  for (int64_t i = 0; i < n_missing; ++i) {
    fresh_blocks_.push_back(-1);  // a block is taken once both have room for it
    sequence.blocks.push_back(-1);
    sequence.blocks.back() = fresh_blocks_.back() = cache_.allocate();
  }
  return true;
}

void Scheduler::preempt_last() noexcept {
  Sequence& sequence = **running_.rbegin();
  free_blocks(sequence);
  ++sequence.request->metrics.n_preemptions;
  waiting_.insert(running_.extract(std::prev(running_.end())));
  ++n_preemptions_;
}

void Scheduler::free_blocks(Sequence& sequence) noexcept {
  cache_.release(sequence.blocks);
  sequence.blocks.clear();
  sequence.n_known_blocks = 0;
  sequence.n_computed = 0;
}

int64_t Scheduler::chunk(const Sequence& sequence, const Budget& budget) {
  int64_t n_tokens = std::min(sequence.n_tokens() - sequence.n_computed, budget.n_tokens);
  if (!sequence.is_decoding()) n_tokens = std::min(n_tokens, budget.n_prefill);
  const PromptRows rows = prompt_rows(sequence, n_tokens);
  if (rows.count() <= budget.n_prompt_rows) return n_tokens;
  return rows.begin + budget.n_prompt_rows - sequence.n_computed;
}

void Scheduler::spend(const ScheduledSpan& span, Budget& budget) {
  budget.n_tokens -= span.n_tokens;
  if (!span.was_decoding) budget.n_prefill -= span.n_tokens;
  budget.n_prompt_rows -= prompt_rows(*span.sequence, span.n_tokens).count();
}

void Scheduler::observe(const std::vector<ScheduledSpan>& spans, double seconds) {
  int64_t n_decodes = 0, n_prefill = 0;
  for (const ScheduledSpan& span : spans) {
    n_decodes += span.was_decoding;
    n_prefill += span.was_decoding ? 0 : span.n_tokens;
  }
  chunk_sizer_.observe(n_decodes, n_prefill, seconds);
}

void Scheduler::advance(const ScheduledSpan& span) {
  Sequence& sequence = *span.sequence;
  sequence.n_computed += span.n_tokens;
  const std::string& salt = sequence.request->cache_salt;
  for (int64_t& i = sequence.n_known_blocks; i < sequence.n_computed / kKvBlockTokens; ++i) {
    const auto block = static_cast<size_t>(i);
    const auto tokens = std::span(sequence.tokens).subspan(block * kKvBlockTokens, kKvBlockTokens);
    const int32_t parent = i == 0 ? -1 : sequence.blocks[block - 1];
    sequence.blocks[block] = cache_.insert(parent, tokens, salt, sequence.blocks[block]);
  }
}

}  // namespace packhorse
