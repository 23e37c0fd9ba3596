#include "app/server/api/completions_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "app/server/api/answer_text.h"
#include "app/server/api/json_text.h"
#include "app/server/api/logprob_lists.h"

namespace packhorse::server {
namespace {

/// The answer to max_tokens 0.
void drop_answer(CompletionOutput& output) {
  output.text.clear();
  output.token_ids.clear();
  if (output.logprobs) output.logprobs->clear();
  output.stop_string.reset();
  output.stop_token_id.reset();
  if (output.finished()) output.finish_reason = "length";
}

}  // namespace

CompletionFormat::CompletionFormat(CompletionShape shape, std::vector<std::string> echo_texts, size_t n_prompts,
                                   const Engine& engine)
    : shape_(std::move(shape)),
      engine_(engine),
      head_(fmt::format(R"({{"id":{},"object":"text_completion","created":{},"model":{},"choices":[)",
                        safe_json_string(shape_.id), shape_.created, safe_json_string(shape_.model))),
      prompts_(n_prompts),
      choices_(n_prompts * static_cast<size_t>(shape_.n)) {
  for (size_t i = 0; i < echo_texts.size(); ++i) prompts_[i].echo = std::move(echo_texts[i]);
}

/// Later outputs may come without what only the first one has to hold.
void CompletionFormat::begin(PromptState& prompt, RequestOutput& output) const {
  if (std::exchange(prompt.has_begun, true)) return;
  prompt.n_tokens = static_cast<int64_t>(output.prompt_token_ids.size());
  prompt.n_cached = output.num_cached_tokens;
  prompt.ids = std::move(output.prompt_token_ids);
  prompt.logprobs = std::move(output.prompt_logprobs);
}

std::string CompletionFormat::logprobs_json(const PromptState& prompt, const CompletionOutput& output,
                                            ChoiceState& state, bool with_prompt) const {
  LogprobLists lists(state.offset, shape_.tokens_as_ids);
  if (with_prompt && prompt.logprobs) {
    for (size_t i = 0; i < prompt.ids.size() && i < prompt.logprobs->size(); ++i) {
      const auto& entries = (*prompt.logprobs)[i];
      if (entries) {
        lists.add(prompt.ids[i], *entries);
      } else {
        lists.add_unknown(prompt.ids[i], engine_.detokenize({prompt.ids[i]}, false));
      }
    }
  }
  if (output.logprobs) {
    for (size_t i = 0; i < output.token_ids.size() && i < output.logprobs->size(); ++i) {
      lists.add(output.token_ids[i], (*output.logprobs)[i]);
    }
  }
  state.offset = lists.offset();
  return lists.json();
}

std::string CompletionFormat::choice(const PromptState& prompt, const CompletionOutput& output, ChoiceState& state,
                                     bool is_chunk) const {
  const bool is_first = !std::exchange(state.has_begun, true);
  const bool with_prompt = shape_.echo && is_first;
  const auto number = (&state - choices_.data());
  std::string out = fmt::format(R"({{"index":{},"text":)", number);
  append_json_string(out, with_prompt ? prompt.echo + output.text : output.text);
  out += R"(,"logprobs":)";
  out += shape_.logprobs ? logprobs_json(prompt, output, state, with_prompt) : "null";
  out += output.finished() ? fmt::format(R"(,"finish_reason":"{}")", output.finish_reason) : R"(,"finish_reason":null)";
  out += R"(,"stop_reason":)";
  append_stop_reason(out, output.stop_string, output.stop_token_id);
  if (shape_.return_token_ids) {
    if (is_first) {
      out += R"(,"prompt_token_ids":)";
      append_token_ids(out, prompt.ids);
    }
    out += R"(,"token_ids":)";
    append_token_ids(out, output.token_ids);
  }
  if (!is_chunk) {
    out += R"(,"prompt_logprobs":)";
    out += shape_.prompt_logprobs && prompt.logprobs ? prompt_logprobs_json(*prompt.logprobs) : "null";
  }
  return out += '}';
}

std::string CompletionFormat::chunks(size_t prompt_index, RequestOutput&& output) {
  PromptState& prompt = prompts_[prompt_index];
  begin(prompt, output);
  std::string events;
  for (CompletionOutput& part : output.outputs) {
    if (part.token_ids.empty() && !part.finished()) continue;
    ChoiceState& state = choices_[prompt_index * static_cast<size_t>(shape_.n) + static_cast<size_t>(part.index)];
    if (shape_.is_echo_only) {
      if (!part.finished()) continue;
      drop_answer(part);
    }
    state.n_tokens += static_cast<int64_t>(part.token_ids.size());
    std::string json = head_ + choice(prompt, part, state, true);
    json += ']';
    if (shape_.stream.continuous_usage) {
      json += R"(,"usage":)";
      append_usage(
          json,
          {.prompt_tokens = prompt.n_tokens, .completion_tokens = state.n_tokens, .cached_tokens = prompt.n_cached},
          shape_.details);
    } else if (shape_.stream.include_usage) {
      json += R"(,"usage":null)";
    }
    events += sse_event(json += '}');
  }
  return events;
}

std::string CompletionFormat::last_events(Usage usage) const {
  if (shape_.is_echo_only) usage.completion_tokens = 0;
  if (!shape_.stream.include_usage) return std::string(kSseDone);
  std::string json = head_ + R"(],"usage":)";
  append_usage(json, usage, shape_.details);
  return sse_event(json += '}').append(kSseDone);
}

void CompletionFormat::keep(size_t prompt_index, RequestOutput&& output) {
  PromptState& prompt = prompts_[prompt_index];
  begin(prompt, output);
  prompt.answers = std::move(output.outputs);
}

std::string CompletionFormat::answer(Usage usage) {
  if (shape_.is_echo_only) usage.completion_tokens = 0;
  std::string json = head_;
  for (PromptState& prompt : prompts_) {
    const size_t first = static_cast<size_t>(&prompt - prompts_.data()) * static_cast<size_t>(shape_.n);
    for (CompletionOutput& output : prompt.answers) {
      if (shape_.is_echo_only) drop_answer(output);
      const size_t number = first + static_cast<size_t>(output.index);
      if (json.back() == '}') json += ',';
      json += choice(prompt, output, choices_[number], false);
    }
  }
  json += R"(],"service_tier":null,"system_fingerprint":null,"usage":)";
  append_usage(json, usage, shape_.details);
  return json += '}';
}

}  // namespace packhorse::server
