#pragma once
// Which tokens of which sequences the next forward pass computes, and the KV blocks for them.
//
// Continuous batching with chunked prefill: running sequences go on first, each by as many of its tokens as the budget
// allows, then waiting ones join, oldest first (or by priority, then age). When blocks run out, the last in that order
// gives all of its blocks back and waits to be computed anew; the first thus always finishes. Prompt tokens beside
// sequences that generate are few enough not to hold these up (ChunkSizer).

#include <cstdint>
#include <set>
#include <vector>

#include "cache/prefix_cache.h"
#include "engine/chunk_sizer.h"
#include "engine/request.h"

namespace packhorse {

struct SchedulerLimits {
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_prompt_rows = 64;  // rows of logits per step for prompt_logprobs
  int64_t n_blocks = 0;
  bool enable_prefix_caching = true;
  bool time_chunks = true;
};

/// The next `n_tokens` tokens of a sequence, from position `n_computed` on.
struct ScheduledSpan {
  Sequence* sequence = nullptr;
  int64_t n_tokens = 0;
  bool was_decoding = false;  // of its own output the last token alone was missing
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  /// Queues a sequence by request id and index. It must fit the pool when alone, and live until removed.
  void add(Sequence& sequence);
  /// Takes a sequence out, wherever it is, and frees its blocks.
  void remove(Sequence& sequence) noexcept;
  /// The spans of one step; their sequences own blocks for all positions of the span. When it throws, for lack of
  /// memory, all sequences are still queued.
  std::vector<ScheduledSpan> schedule();
  /// Records that the span was computed.
  void advance(const ScheduledSpan& span);
  /// Records how long the step of these spans, by now advanced, took.
  void observe(const std::vector<ScheduledSpan>& spans, double seconds);
  void reset_prefix_cache() { cache_.clear(); }

  /// Blocks taken by the last schedule(), whose content is undefined.
  const std::vector<int32_t>& fresh_blocks() const { return fresh_blocks_; }
  int64_t n_waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t n_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t n_free_blocks() const { return cache_.n_free(); }
  int64_t n_preemptions() const { return n_preemptions_; }

 private:
  struct Earlier {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };
  struct Budget {
    int64_t n_tokens, n_prompt_rows;
    int64_t n_prefill;  // prompt tokens of all sequences together
  };
  using Queue = std::set<Sequence*, Earlier>;

  int64_t prefill_budget();
  void continue_running(Budget& budget, std::vector<ScheduledSpan>& spans);
  void admit_waiting(Budget& budget, std::vector<ScheduledSpan>& spans);
  bool admit(Sequence& sequence, const Budget& budget);
  bool reserve(Sequence& sequence, int64_t n_tokens);
  void preempt_last() noexcept;
  void free_blocks(Sequence& sequence) noexcept;
  static int64_t chunk(const Sequence& sequence, const Budget& budget);
  static void spend(const ScheduledSpan& span, Budget& budget);

  SchedulerLimits limits_;
  PrefixCache cache_;
  ChunkSizer chunk_sizer_;
  Queue waiting_, running_;
  std::vector<int32_t> fresh_blocks_;
  int64_t n_preemptions_ = 0;
};

/// Blocks that hold n_tokens positions.
inline int64_t blocks_for(int64_t n_tokens) { return (n_tokens + kKvBlockTokens - 1) / kKvBlockTokens; }

}  // namespace packhorse
