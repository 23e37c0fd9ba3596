#include "engine/admission.h"

#include <algorithm>

#include "base/error.h"

namespace packhorse {
namespace {

std::vector<int32_t> prompt_tokens(const Prompt& prompt, const Tokenizer* tokenizer, const RequestLimits& limits) {
  std::vector<int32_t> tokens;
  if (prompt.token_ids) {
    tokens.reserve(prompt.token_ids->size());
    for (const int64_t id : *prompt.token_ids) {
      if (id < 0 || id >= limits.vocab_size) {
        fail(ErrorKind::request, "prompt_token_ids: token id {} at index {} is out of vocabulary (got {}, limit {})",
             id, tokens.size(), id, limits.vocab_size - 1);
      }
      tokens.push_back(static_cast<int32_t>(id));
    }
  } else if (prompt.text) {
    if (!tokenizer) fail(ErrorKind::request, "prompt: text needs a tokenizer, and skip_tokenizer_init is set");
    tokens = tokenizer->encode(*prompt.text, prompt.add_special_tokens);
  }
  if (tokens.empty()) fail(ErrorKind::request, "prompt: it cannot be empty (got 0 tokens)");
  return tokens;
}

/// Output tokens that there is room for.
int64_t output_room(int64_t n_prompt, const SamplingParams& params, const RequestLimits& limits) {
  const int64_t context = limits.max_model_len;
  if (n_prompt >= context) {
    fail(ErrorKind::request,
         "prompt: {} tokens plus at least 1 output token are more than the maximum model length (got {}, limit {})",
         n_prompt, n_prompt + 1, context);
  }
  const int64_t pool = limits.max_pool_tokens + 1;  // the last output token needs no place in the cache
  const int64_t asked = std::min(params.max_tokens.value_or(1), context - n_prompt);
  if (n_prompt + asked > pool) {
    fail(ErrorKind::request, "prompt: {} tokens and max_tokens={} never fit the KV cache (got {}, limit {})", n_prompt,
         asked, n_prompt + asked, pool);
  }
  return std::min(params.max_tokens.value_or(context), std::min(context, pool) - n_prompt);
}

void check_logprobs(const char* parameter, const std::optional<int64_t>& asked, const RequestLimits& limits) {
  if (!asked) return;
  const int64_t count = *asked < 0 ? limits.vocab_size : *asked;
  const int64_t limit = limits.max_logprobs < 0 ? limits.vocab_size : limits.max_logprobs;
  if (count > limit) {
    fail(ErrorKind::request, "{}={} is more than max_logprobs allows (got {}, limit {})", parameter, *asked, count,
         limit);
  }
}

std::vector<int32_t> all_stop_tokens(const SamplingParams& params, const RequestLimits& limits) {
  std::vector<int32_t> tokens = limits.eos_token_ids;
  for (const int64_t id : params.stop_token_ids) {
    if (id < 0 || id >= limits.vocab_size) {
      fail(ErrorKind::request, "stop_token_ids: token id {} is out of vocabulary (got {}, limit {})", id, id,
           limits.vocab_size - 1);
    }
    tokens.push_back(static_cast<int32_t>(id));
  }
  return tokens;
}

void add_sequences(Request& request, const std::vector<int32_t>& tokens, const Tokenizer* tokenizer) {
  const SamplingParams& params = request.params;
  for (int64_t index = 0; index < params.n; ++index) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = &request;
    sequence->index = index;
    sequence->tokens = tokens;
    if (tokenizer && params.detokenize) {
      sequence->text.emplace(*tokenizer, tokens,
                             OutputText::Options{.skip_special_tokens = params.skip_special_tokens,
                                                 .spaces_between_special_tokens = params.spaces_between_special_tokens,
                                                 .include_stop_string = params.include_stop_str_in_output,
                                                 .stops = request.stop_strings.get()});
    }
    request.sequences.push_back(std::move(sequence));
  }
}

/// What may end an output that has to match a grammar; text that the caller wants to stop at is part of the grammar.
std::vector<int32_t> grammar_stop_tokens(const Request& request, const Tokenizer& tokenizer,
                                         const RequestLimits& limits) {
  std::vector<int32_t> tokens = limits.eos_token_ids;
  for (const int32_t id : request.stop_tokens) {
    if (tokenizer.is_special(id) && std::ranges::find(tokens, id) == tokens.end()) tokens.push_back(id);
  }
  return tokens;
}

void add_matchers(Request& request, const Tokenizer* tokenizer, const RequestLimits& limits) {
  if (!tokenizer || !limits.grammars) {
    fail(ErrorKind::request, "structured_outputs: they need a tokenizer, and skip_tokenizer_init is set");
  }
  const StructuredOutputs& wanted = *request.params.structured_outputs;
  const auto grammar = limits.grammars->compile(wanted);
  const auto markers = limits.grammars->markers(wanted, request.params.skip_special_tokens);
  const std::vector<int32_t> stop_tokens = grammar_stop_tokens(request, *tokenizer, limits);
  for (const auto& sequence : request.sequences) {
    sequence->matcher = std::make_unique<OutputMatcher>(grammar, stop_tokens, markers);
  }
}

std::vector<int32_t> take_prompt(Request& request, const Prompt& prompt, const Tokenizer* tokenizer,
                                 const RequestLimits& limits) {
  if (prompt.priority != 0 && !limits.by_priority) {
    fail(ErrorKind::request, "priority: only 0 is possible unless scheduling_policy is \"priority\" (got {})",
         prompt.priority);
  }
  std::vector<int32_t> tokens = prompt_tokens(prompt, tokenizer, limits);
  request.prompt = prompt.text;
  request.cache_salt = prompt.cache_salt;
  request.priority = prompt.priority;
  request.n_prompt = static_cast<int64_t>(tokens.size());
  return tokens;
}

}  // namespace

std::unique_ptr<Request> make_request(const Prompt& prompt, const SamplingParams& params, const Tokenizer* tokenizer,
                                      const RequestLimits& limits) {
  auto request = std::make_unique<Request>();
  request->params = params;
  request->params.validate_and_normalize();
  if (!params.stop.empty() && !tokenizer) {
    fail(ErrorKind::request, "stop: stop strings need a tokenizer, and skip_tokenizer_init is set");
  }
  check_logprobs("logprobs", params.logprobs, limits);
  check_logprobs("prompt_logprobs", params.prompt_logprobs, limits);
  request->stop_tokens = all_stop_tokens(params, limits);
  request->rules = make_token_rules(request->params, tokenizer, limits.vocab_size);
  const std::vector<int32_t> tokens = take_prompt(*request, prompt, tokenizer, limits);
  request->max_tokens = output_room(request->n_prompt, params, limits);
  if (params.prompt_logprobs) request->prompt_logprobs.emplace_back();
  if (!params.stop.empty()) request->stop_strings = std::make_unique<StopStrings>(params.stop);
  add_sequences(*request, tokens, tokenizer);
  if (params.structured_outputs) add_matchers(*request, tokenizer, limits);
  return request;
}

std::unique_ptr<Request> make_request(const Prompt& prompt, const PoolingParams& params, const Tokenizer* tokenizer,
                                      const RequestLimits& limits) {
  if (limits.hidden_size == 0) fail(ErrorKind::request, "embeddings: this model gives no hidden states");
  if (params.dimensions && (*params.dimensions < 1 || *params.dimensions > limits.hidden_size)) {
    fail(ErrorKind::request, "dimensions must be in [1, {}], got {}", limits.hidden_size, *params.dimensions);
  }
  auto request = std::make_unique<Request>();
  request->pooling = params;
  request->params.detokenize = false;
  const std::vector<int32_t> tokens = take_prompt(*request, prompt, tokenizer, limits);
  const int64_t most = std::min(limits.max_model_len, limits.max_pool_tokens);
  if (request->n_prompt > most) {
    fail(ErrorKind::request, "prompt: {} tokens are more than the maximum model length (got {}, limit {})",
         request->n_prompt, request->n_prompt, most);
  }
  add_sequences(*request, tokens, tokenizer);
  return request;
}

}  // namespace packhorse
