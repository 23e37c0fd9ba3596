#pragma once
// The engine's loop: requests in, forward passes, tokens and texts out.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "cache/kv_pool.h"
#include "engine/admission.h"
#include "engine/sampler/sampler.h"
#include "engine/scheduler.h"
#include "nn/model.h"
#include "text/tokenizer.h"

namespace packhorse {

struct EngineLimits {
  int64_t max_model_len = 0;
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_prompt_rows = 64;  // rows of logits per step for prompt_logprobs
  int64_t max_logprobs = 20;     // -1 = whole vocabulary
  uint64_t seed = 0;
  bool by_priority = false;
  bool time_chunks = true;  // else steps take all prompt tokens that fit
  bool enable_prefix_caching = true;
  std::vector<int32_t> eos_token_ids = {};  // the main one first
#ifdef NDEBUG
  bool poison_blocks = false;
#else
  bool poison_blocks = true;  // fills blocks with NaN before they are written
#endif
  std::function<void(std::string_view)> log = {};  // one line per request that fails; may be empty
};

/// Single-threaded: calls must not overlap. All parameters of the constructor must outlive the object.
class EngineCore {
 public:
  EngineCore(const Model& model, KvPool& kv, ThreadPool& pool, const Tokenizer* tokenizer, const EngineLimits& limits);

  /// A request with an id of its own (1, 2, ...), not yet queued. Throws Error{request}. The one function that may run
  /// while another does, in any thread.
  template <class Params>  // SamplingParams or PoolingParams
  std::unique_ptr<Request> make(const Prompt& prompt, const Params& params) {
    return with_id(make_request(prompt, params, tokenizer_, request_limits_));
  }
  void add(std::unique_ptr<Request> request);
  template <class Params>
  uint64_t add(const Prompt& prompt, const Params& params) {
    std::unique_ptr<Request> request = make(prompt, params);
    const uint64_t id = request->id;
    add(std::move(request));
    return id;
  }
  /// One scheduling step; the requests that advanced, in order of id. When the forward pass throws, its requests end
  /// with finish_reason "error" in the next step's outputs, and the exception passes. Whatever throws, no output is
  /// lost and no request is forgotten.
  std::vector<RequestOutput> step();
  /// Frees what the request holds; the next step returns its last output. Unknown ids are ignored.
  void abort(uint64_t request_id) noexcept;
  /// Whether step() has anything left to do or to return.
  bool has_unfinished() const { return !requests_.empty(); }
  size_t num_unfinished() const { return requests_.size(); }

  void reset_prefix_cache() { scheduler_.reset_prefix_cache(); }
  EngineStats stats() const;

 private:
  std::unique_ptr<Request> with_id(std::unique_ptr<Request> request);
  /// What becomes of one row of logits: the next token of a sequence, or the score of a prompt token.
  struct Row {
    Sequence* sequence;
    int64_t prompt_position;  // of the token that is scored; -1 = a new token
  };
  struct Plan {
    Batch batch;
    std::vector<Row> rows;  // of batch.logit_rows
  };
  Plan make_plan(const std::vector<ScheduledSpan>& spans);
  void run(const std::vector<ScheduledSpan>& spans);
  void advance(const std::vector<ScheduledSpan>& spans);
  std::vector<RowResult> compute(const Plan& plan);
  RowJob make_job(const Row& row, std::span<const float> logits) const;
  void apply(const Row& row, const RowResult& result);
  void pool_hidden(const std::vector<ScheduledSpan>& spans);
  void finish_embedding(Sequence& sequence);
  void accept_token(Sequence& sequence, const RowResult& result);
  void update_end(Sequence& sequence, int32_t token);
  void start_other_outputs(Request& request);
  void note_news(Request& request) noexcept;
  void end(Sequence& sequence, std::string_view reason) noexcept;
  void end_all(Request& request, std::string_view reason) noexcept;
  void fail_request(Request& request, std::string_view why) noexcept;
  /// The same where the request is the cause itself, which its output tells.
  void refuse_request(Request& request, std::string_view why) noexcept;
  TokenLogprobs with_text(const std::vector<TokenScore>& scores, const Request& request) const;
  std::vector<RequestOutput> take_outputs();
  RequestOutput report(Request& request);
  void poison(const std::vector<int32_t>& blocks);
  double now() const;

  const Model& model_;
  KvPool& kv_;
  ThreadPool& pool_;
  const Tokenizer* tokenizer_;
  EngineLimits limits_;
  std::unique_ptr<const GrammarCompiler> grammars_;  // null without a tokenizer
  RequestLimits request_limits_;
  Workspace workspace_;
  std::vector<float> hidden_;  // [batch.hidden_rows, hidden_size] of the last step
  Sampler sampler_;
  Scheduler scheduler_;
  std::map<uint64_t, std::unique_ptr<Request>> requests_;  // unfinished, or with outputs not yet returned
  std::vector<Request*> advanced_;  // those with has_news; room for all, so that nothing can keep a request from ending
  std::atomic<uint64_t> last_id_{0};
  EngineStats stats_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace packhorse
