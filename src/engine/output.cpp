#include <utility>

#include "engine/request.h"

namespace packhorse {
namespace {

/// Of all tokens, or with `delta` of those that no earlier output held.
CompletionOutput make_completion(Sequence& sequence, bool delta) {
  const auto from = static_cast<size_t>(delta ? sequence.n_reported : 0);
  const auto tokens = sequence.output_tokens().subspan(from);
  sequence.n_reported = sequence.n_output();
  CompletionOutput output;
  output.index = sequence.index;
  output.token_ids.assign(tokens.begin(), tokens.end());
  output.cumulative_logprob = sequence.cumulative_logprob;
  output.finish_reason = sequence.finish_reason;
  output.stop_string = sequence.stop_string;
  output.stop_token_id = sequence.stop_token_id;
  if (sequence.text) output.text = delta ? sequence.text->take_new() : std::string(sequence.text->visible());
  if (sequence.request->params.logprobs) {
    const auto first = sequence.logprobs.begin() + static_cast<ptrdiff_t>(from);
    output.logprobs.emplace(first, sequence.logprobs.end());
  }
  return output;
}

}  // namespace

RequestOutput make_output(Request& request) {
  const bool delta = request.params.output_kind == OutputKind::delta;
  const auto prompt_tokens = request.sequences[0]->prompt_tokens();
  RequestOutput output;
  output.request_id = request.id;
  if (!(delta && request.prompt_reported)) {
    output.prompt = request.prompt;
    output.prompt_token_ids.assign(prompt_tokens.begin(), prompt_tokens.end());
    request.prompt_reported = true;
  }
  output.finished = request.finished();
  output.num_cached_tokens = request.n_cached_tokens.value_or(0);
  output.metrics = request.metrics;
  output.refusal = request.refusal;
  if (request.params.prompt_logprobs && !(delta && request.prompt_logprobs_reported)) {
    output.prompt_logprobs = request.prompt_logprobs;
    request.prompt_logprobs_reported = true;
  }
  output.embedding = request.embedding;
  if (request.embedding) return output;
  for (const auto& sequence : request.sequences) {
    const bool has_news =
        sequence->n_output() > sequence->n_reported || (sequence->finished() && !sequence->end_reported);
    if (delta && !has_news) continue;
    sequence->end_reported = sequence->finished();
    output.outputs.push_back(make_completion(*sequence, delta));
  }
  return output;
}

}  // namespace packhorse
