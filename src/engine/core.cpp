#include "engine/core.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>

#include "base/error.h"
#include "engine/sampler/random.h"

namespace packhorse {
namespace {

RequestLimits request_limits(const EngineLimits& limits, const Model& model, int64_t n_blocks) {
  return {.vocab_size = model.vocab_size(),
          .max_model_len = limits.max_model_len,
          .max_pool_tokens = n_blocks * kKvBlockTokens,
          .max_logprobs = limits.max_logprobs,
          .hidden_size = model.hidden_size(),
          .by_priority = limits.by_priority,
          .eos_token_ids = limits.eos_token_ids};
}

SchedulerLimits scheduler_limits(const EngineLimits& limits, int64_t n_blocks) {
  return {.max_num_seqs = limits.max_num_seqs,
          .max_num_batched_tokens = limits.max_num_batched_tokens,
          .max_prompt_rows = limits.max_prompt_rows,
          .n_blocks = n_blocks,
          .enable_prefix_caching = limits.enable_prefix_caching,
          .time_chunks = limits.time_chunks};
}

/// Last tokens of a span, not yet computed, whose hidden states go into the request's embedding.
int64_t n_pooled(const ScheduledSpan& span) {
  const Sequence& sequence = *span.sequence;
  if (is_mean(*sequence.request->pooling)) return span.n_tokens;
  return sequence.n_computed + span.n_tokens == sequence.n_tokens() ? 1 : 0;
}

}  // namespace

EngineCore::EngineCore(const Model& model, KvPool& kv, ThreadPool& pool, const Tokenizer* tokenizer,
                       const EngineLimits& limits)
    : model_(model),
      kv_(kv),
      pool_(pool),
      tokenizer_(tokenizer),
      limits_(limits),
      request_limits_(request_limits(limits, model, kv.n_blocks())),
      sampler_(pool),
      scheduler_(scheduler_limits(limits, kv.n_blocks())) {
  const auto require_positive = [](std::string_view name, int64_t value) {
    if (value < 1) fail(ErrorKind::usage, "{} must be at least 1, got {}", name, value);
  };
  require_positive("max_model_len", limits.max_model_len);
  require_positive("max_num_seqs", limits.max_num_seqs);
  require_positive("max_num_batched_tokens", limits.max_num_batched_tokens);
  require_positive("max_prompt_rows", limits.max_prompt_rows);
  for (const int32_t id : limits.eos_token_ids) {
    if (id < 0 || id >= model.vocab_size()) fail_model("eos_token_id: got {}, limit {}", id, model.vocab_size() - 1);
  }
  if (tokenizer) {
    grammars_ = std::make_unique<const GrammarCompiler>(*tokenizer, model.vocab_size(), limits.eos_token_ids);
    request_limits_.grammars = grammars_.get();
  }
}

std::unique_ptr<Request> EngineCore::with_id(std::unique_ptr<Request> request) {
  request->id = ++last_id_;
  const std::optional<int64_t> seed = request->params.seed;
  request->seed = seed ? static_cast<uint64_t>(*seed) : derived_seed(limits_.seed, request->id);
  request->metrics.arrival = now();
  return request;
}

void EngineCore::add(std::unique_ptr<Request> request) {
  Sequence& first = *request->sequences[0];  // the others follow once it has filled the prefix cache
  if (advanced_.capacity() <= requests_.size()) advanced_.reserve(2 * requests_.size() + 16);
  const auto place = requests_.emplace(request->id, std::move(request)).first;
  try {
    scheduler_.add(first);
  } catch (...) {
    requests_.erase(place);
    throw;
  }
}

std::vector<RequestOutput> EngineCore::step() {
  const std::vector<ScheduledSpan> spans = scheduler_.schedule();
  if (!spans.empty()) run(spans);
  return take_outputs();
}

void EngineCore::abort(uint64_t request_id) noexcept {
  const auto it = requests_.find(request_id);
  if (it != requests_.end()) end_all(*it->second, "abort");
}

void EngineCore::run(const std::vector<ScheduledSpan>& spans) {
  try {
    advance(spans);
  } catch (const std::exception& e) {
    for (const ScheduledSpan& span : spans) fail_request(*span.sequence->request, e.what());
    throw;
  }
}

void EngineCore::advance(const std::vector<ScheduledSpan>& spans) {
  if (limits_.poison_blocks) poison(scheduler_.fresh_blocks());
  const double begin = now();
  const Plan plan = make_plan(spans);
  const std::vector<RowResult> results = compute(plan);
  ++stats_.n_steps;
  pool_hidden(spans);
  for (const ScheduledSpan& span : spans) {
    stats_.n_computed_tokens += span.n_tokens;
    scheduler_.advance(span);
  }
  scheduler_.observe(spans, now() - begin);
  for (const ScheduledSpan& span : spans) {
    Sequence& sequence = *span.sequence;
    if (sequence.request->pooling && sequence.n_computed == sequence.n_tokens()) finish_embedding(sequence);
  }
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    Request& request = *plan.rows[i].sequence->request;
    if (plan.rows[i].sequence->finished()) continue;  // another row of the request failed
    try {
      apply(plan.rows[i], results[i]);
    } catch (const Error& e) {
      e.kind() == ErrorKind::request ? refuse_request(request, e.what()) : fail_request(request, e.what());
    } catch (const std::exception& e) {
      fail_request(request, e.what());
    }
  }
}

EngineCore::Plan EngineCore::make_plan(const std::vector<ScheduledSpan>& spans) {
  Plan plan;
  for (const ScheduledSpan& span : spans) {
    Sequence* sequence = span.sequence;
    const int64_t n_tokens = span.n_tokens;
    Request& request = *sequence->request;
    if (!request.n_cached_tokens) {
      request.n_cached_tokens = sequence->n_computed;
      request.metrics.first_scheduled = now();
      stats_.n_prompt_tokens += request.n_prompt;
      stats_.n_cached_tokens += sequence->n_computed;
    }
    Batch& batch = plan.batch;
    const auto first = static_cast<int64_t>(batch.tokens.size());
    const auto tokens = std::span(sequence->tokens).subspan(static_cast<size_t>(sequence->n_computed));
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.begin() + n_tokens);
    batch.spans.push_back({first, n_tokens, sequence->n_computed, sequence->blocks});
    const auto add_row = [&](int64_t position, int64_t prompt_position) {
      batch.logit_rows.push_back(static_cast<int32_t>(first + position - sequence->n_computed));
      plan.rows.push_back({sequence, prompt_position});
    };
    const PromptRows scored = prompt_rows(*sequence, n_tokens);
    for (int64_t position = scored.begin; position < scored.end; ++position) add_row(position, position + 1);
    const int64_t end = sequence->n_computed + n_tokens;
    if (request.pooling) {
      for (int64_t i = n_tokens - n_pooled(span); i < n_tokens; ++i)
        batch.hidden_rows.push_back(static_cast<int32_t>(first + i));
    } else if (end == sequence->n_tokens()) {
      add_row(end - 1, -1);
    }
  }
  return plan;
}

std::vector<RowResult> EngineCore::compute(const Plan& plan) {
  workspace_.reset();
  hidden_.resize(plan.batch.hidden_rows.size() * static_cast<size_t>(model_.hidden_size()));
  ForwardCtx context{.pool = pool_, .workspace = workspace_, .kv = kv_, .hidden = hidden_.data()};
  const Logits logits = model_.forward(plan.batch, context);
  std::vector<RowJob> jobs;
  jobs.reserve(plan.rows.size());
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    jobs.push_back(make_job(plan.rows[i], logits.row(static_cast<int64_t>(i))));
  }
  return sampler_.run(jobs);
}

RowJob EngineCore::make_job(const Row& row, std::span<const float> logits) const {
  const Sequence& sequence = *row.sequence;
  const Request& request = *sequence.request;
  RowJob job;
  job.logits = logits;
  job.params = &request.params;
  job.prompt_tokens = sequence.prompt_tokens();
  job.output_tokens = sequence.output_tokens();
  job.stop_tokens = request.stop_tokens;
  job.rules = request.rules.get();
  job.matcher = sequence.matcher.get();
  job.seed = request.seed;
  job.output_index = sequence.index;
  job.n_logprobs = row.prompt_position < 0 ? request.params.logprobs : request.params.prompt_logprobs;
  if (row.prompt_position >= 0) job.given_token = sequence.tokens[static_cast<size_t>(row.prompt_position)];
  return job;
}

void EngineCore::apply(const Row& row, const RowResult& result) {
  Sequence& sequence = *row.sequence;
  Request& request = *sequence.request;
  if (result.is_refusal) {
    refuse_request(request, result.error);
  } else if (result.error) {
    const int64_t position = row.prompt_position < 0 ? sequence.n_tokens() : row.prompt_position;
    fail_request(request, fmt::format("position {}: {}", position, result.error));
  } else if (row.prompt_position >= 0) {
    request.prompt_logprobs.emplace_back(with_text(result.scores, request));
  } else {
    accept_token(sequence, result);
  }
}

void EngineCore::pool_hidden(const std::vector<ScheduledSpan>& spans) {
  const auto hidden_size = static_cast<size_t>(model_.hidden_size());
  size_t row = 0;
  for (const ScheduledSpan& span : spans) {
    Request& request = *span.sequence->request;
    if (!request.pooling) continue;
    if (span.sequence->n_computed == 0) request.hidden_sum.reset();
    for (int64_t i = 0; i < n_pooled(span); ++i, ++row)
      request.hidden_sum.add(std::span(hidden_).subspan(row * hidden_size, hidden_size));
  }
}

void EngineCore::finish_embedding(Sequence& sequence) {
  Request& request = *sequence.request;
  request.embedding = request.hidden_sum.embedding(*request.pooling, request.n_prompt);
  request.metrics.first_token = request.metrics.last_token = now();
  const bool is_finite = std::ranges::all_of(*request.embedding, [](float x) { return std::isfinite(x); });
  if (!is_finite) return fail_request(request, "the model's hidden states are not finite");
  end(sequence, "stop");
}

void EngineCore::accept_token(Sequence& sequence, const RowResult& result) {
  Request& request = *sequence.request;
  if (sequence.matcher && !sequence.matcher->accept(result.token)) {
    if (const char* error = sequence.matcher->error()) fail(ErrorKind::request, "{}", error);
    fail(ErrorKind::internal, "structured_outputs: the grammar does not allow token {}", result.token);
  }
  sequence.tokens.push_back(result.token);
  ++stats_.n_generated_tokens;
  request.metrics.last_token = now();
  if (request.metrics.first_token == 0) request.metrics.first_token = request.metrics.last_token;
  if (request.params.logprobs) {
    const auto own = std::find_if(result.scores.begin(), result.scores.end(),
                                  [&](const TokenScore& score) { return score.token == result.token; });
    sequence.cumulative_logprob += static_cast<double>(own->logprob);
    sequence.logprobs.push_back(with_text(result.scores, request));
  }
  note_news(request);
  update_end(sequence, result.token);
  if (sequence.index == 0 && sequence.n_output() == 1) start_other_outputs(request);
}

void EngineCore::update_end(Sequence& sequence, int32_t token) {
  const Request& request = *sequence.request;
  const SamplingParams& params = request.params;
  const int64_t n_output = sequence.n_output();
  const auto& eos = limits_.eos_token_ids;
  std::string_view reason = n_output >= request.max_tokens ? "length" : "";

  // Before min_tokens such tokens are masked.
  const bool is_complete = sequence.matcher && sequence.matcher->ended();
  const bool is_eos = (!params.ignore_eos || is_complete) && std::find(eos.begin(), eos.end(), token) != eos.end();
  const auto& ids = params.stop_token_ids;
  const bool ends = is_eos || std::find(ids.begin(), ids.end(), token) != ids.end();
  // The main end-of-sequence token is what one expects; any other is told.
  if (ends && !(is_eos && token == eos[0])) sequence.stop_token_id = token;
  if (ends || is_complete) reason = "stop";
  if (sequence.text && (!ends || params.include_stop_str_in_output)) {
    const auto stop = sequence.text->add(token, n_output > params.min_tokens);
    if (stop) {
      reason = "stop";
      sequence.stop_string = params.stop[*stop];
      sequence.stop_token_id.reset();
    }
  }
  if (!reason.empty()) end(sequence, reason);
}

void EngineCore::start_other_outputs(Request& request) {
  for (size_t i = 1; i < request.sequences.size(); ++i) scheduler_.add(*request.sequences[i]);
}

void EngineCore::note_news(Request& request) noexcept {
  if (!std::exchange(request.has_news, true)) advanced_.push_back(&request);
}

void EngineCore::end(Sequence& sequence, std::string_view reason) noexcept {
  scheduler_.remove(sequence);
  sequence.finish_reason = reason;  // short enough to take no memory
  note_news(*sequence.request);
  try {
    if (sequence.text) sequence.text->finish();
  } catch (...) {
    sequence.finish_reason = "error";
  }
}

void EngineCore::end_all(Request& request, std::string_view reason) noexcept {
  for (const auto& sequence : request.sequences) {
    if (!sequence->finished()) end(*sequence, reason);
  }
}

void EngineCore::fail_request(Request& request, std::string_view why) noexcept {
  if (request.finished()) return;
  end_all(request, "error");
  try {
    if (limits_.log) limits_.log(fmt::format("request {}: {}", request.id, why));
  } catch (...) {  // no memory for a line: the output tells of the error
  }
}

void EngineCore::refuse_request(Request& request, std::string_view why) noexcept {
  try {
    request.refusal = why;
  } catch (...) {  // no memory for the reason: it is an error like any other
  }
  fail_request(request, why);
}

TokenLogprobs EngineCore::with_text(const std::vector<TokenScore>& scores, const Request& request) const {
  const bool has_text = tokenizer_ && request.params.detokenize;
  TokenLogprobs out;
  out.reserve(scores.size());
  for (const TokenScore& score : scores) {
    out.emplace_back(score.token, Logprob{.logprob = score.logprob,
                                          .rank = score.rank,
                                          .decoded_token = has_text ? tokenizer_->token_piece(score.token) : ""});
  }
  return out;
}

std::vector<RequestOutput> EngineCore::take_outputs() {
  std::vector<RequestOutput> outputs;
  outputs.reserve(advanced_.size());
  std::ranges::sort(advanced_, {}, &Request::id);
  size_t n_taken = 0;
  std::exception_ptr failure;
  try {
    for (; n_taken < advanced_.size(); ++n_taken) {
      Request& request = *advanced_[n_taken];
      if (request.finished() || request.params.output_kind != OutputKind::final_only)
        outputs.push_back(report(request));
      request.has_news = false;
      if (request.finished()) requests_.erase(request.id);
    }
  } catch (...) {  // the next step reports the others
    failure = std::current_exception();
  }
  advanced_.erase(advanced_.begin(), advanced_.begin() + static_cast<ptrdiff_t>(n_taken));
  if (failure && outputs.empty()) std::rethrow_exception(failure);
  return outputs;
}

/// What cannot be told is an error: of a part that was lost nobody could know.
RequestOutput EngineCore::report(Request& request) {
  try {
    return make_output(request);
  } catch (const std::exception& e) {
    fail_request(request, e.what());
    for (const auto& sequence : request.sequences) {
      sequence->finish_reason = "error";
      sequence->end_reported = false;
    }
    throw;
  }
}

void EngineCore::poison(const std::vector<int32_t>& blocks) {
  for (size_t i = 0; i < model_.cache_specs().size(); ++i) {
    const KvLayerView layer = kv_.layer(static_cast<int64_t>(i));
    const auto half = static_cast<size_t>(layer.spec.bytes_per_block() / 2);
    for (const int32_t block : blocks) {
      std::memset(layer.keys + block * layer.block_stride, 0xff, half);
      std::memset(layer.values + block * layer.block_stride, 0xff, half);
    }
  }
}

EngineStats EngineCore::stats() const {
  EngineStats stats = stats_;
  stats.n_running = scheduler_.n_running();
  stats.n_waiting = scheduler_.n_waiting();
  stats.n_blocks = kv_.n_blocks();
  stats.n_free_blocks = scheduler_.n_free_blocks();
  stats.n_preemptions = scheduler_.n_preemptions();
  return stats;
}

double EngineCore::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

}  // namespace packhorse
