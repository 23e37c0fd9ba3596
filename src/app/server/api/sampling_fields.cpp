// The fields of a request that say how to sample: those of OpenAI and those that vLLM adds.

#include <fmt/format.h>

#include <charconv>

#include "app/server/api/errors.h"
#include "app/server/api/fields.h"
#include "app/server/api/structured_fields.h"

namespace packhorse::server {
namespace {

template <class T>
void set(T& member, std::optional<T>&& given) {
  if (given) member = std::move(*given);
}

/// Token ids are keys, and so texts.
std::map<int64_t, double> read_biases(const Fields& body) {
  std::map<int64_t, double> biases;
  const Json* object = body.object("logit_bias");
  if (!object) return biases;
  for (const auto& [key, bias] : object->items()) {
    int64_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0) {
      body.fail("logit_bias", fmt::format("keys must be token ids (got '{}')", printable(key)));
    }
    if (!bias.is_number()) body.fail("logit_bias", fmt::format("must hold numbers (got another value for {})", id));
    if (!biases.emplace(id, bias.get<double>()).second) {
      body.fail("logit_bias", fmt::format("token id {} is given twice", id));
    }
  }
  return biases;
}

void read_numbers(const Fields& body, SamplingParams& params) {
  set(params.temperature, body.number("temperature"));
  set(params.top_p, body.number("top_p"));
  set(params.top_k, body.whole_number("top_k"));
  set(params.min_p, body.number("min_p"));
  set(params.presence_penalty, body.number("presence_penalty"));
  set(params.frequency_penalty, body.number("frequency_penalty"));
  set(params.repetition_penalty, body.number("repetition_penalty"));
  set(params.min_tokens, body.whole_number("min_tokens"));
  if (const auto seed = body.whole_number("seed")) params.seed = seed;
}

void read_count(const ServerContext& context, const Fields& body, SamplingParams& params) {
  set(params.n, body.whole_number("n", 1, context.options.max_n));
  const auto best_of = body.whole_number("best_of");
  if (best_of && *best_of != params.n) {
    body.fail("best_of", fmt::format("must be equal to n, {} (got {})", params.n, *best_of));
  }
}

void read_stops(const Fields& body, SamplingParams& params) {
  set(params.stop, body.texts("stop"));
  set(params.stop_token_ids, body.whole_numbers("stop_token_ids"));
  set(params.ignore_eos, body.flag("ignore_eos"));
  set(params.include_stop_str_in_output, body.flag("include_stop_str_in_output"));
}

void read_token_rules(const Fields& body, SamplingParams& params) {
  params.logit_bias = read_biases(body);
  if (auto allowed = body.whole_numbers("allowed_token_ids")) params.allowed_token_ids = std::move(allowed);
  set(params.bad_words, body.texts("bad_words"));
}

/// Fields of vLLM that would change the answer and that this server has no use for: not even silently ignored.
void refuse_unsupported(const Fields& body) {
  if (body.flag("use_beam_search").value_or(false)) body.fail("use_beam_search", "beam search is not supported");
  const double length_penalty = body.number("length_penalty").value_or(1);
  if (length_penalty != 1) body.fail("length_penalty", "is not supported: only beam search has a use for it");
  for (const char* name :
       {"vllm_xargs", "logprob_token_ids", "logits_processors", "prompt_embeds", "thinking_token_budget",
        "repetition_detection", "kv_transfer_params", "mm_processor_kwargs", "prompt_logprob_token_ids"}) {
    const Json* value = body.find(name);
    if (value && !(value->is_structured() && value->empty())) body.fail(name, "is not supported");
  }
}

/// What the engine checks too, but says so that the field is known.
void require_valid(const SamplingParams& params) {
  SamplingParams checked = params;
  checked.max_tokens.reset();  // the caller's, as yet unknown
  checked.validate_and_normalize();
}

}  // namespace

SamplingParams read_sampling(const ServerContext& context, const Fields& body) {
  SamplingParams params = context.engine.engine().default_sampling_params();
  refuse_unsupported(body);
  read_numbers(body, params);
  read_count(context, body, params);
  read_stops(body, params);
  read_token_rules(body, params);
  set(params.skip_special_tokens, body.flag("skip_special_tokens"));
  set(params.spaces_between_special_tokens, body.flag("spaces_between_special_tokens"));
  if (const auto count = body.whole_number("prompt_logprobs")) params.prompt_logprobs = count;
  params.structured_outputs = read_structured_outputs(body);
  require_valid(params);
  return params;
}

}  // namespace packhorse::server
