#pragma once
// The JSON of /v1/completions: whole answers, and the events of a stream.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/server/api/answer_text.h"
#include "app/server/api/generation.h"

namespace packhorse::server {

/// What of the request the answer's shape depends on.
struct CompletionShape {
  std::string id, model;
  int64_t created = 0;
  int64_t n = 1;
  std::optional<int64_t> logprobs;
  bool echo = false;
  bool is_echo_only = false;  // max_tokens 0: the engine had to generate a token, which is left out
  bool prompt_logprobs = false;
  bool return_token_ids = false;
  bool tokens_as_ids = false;  // "token_id:5" instead of text in logprobs
  UsageDetails details{};
  StreamOptions stream{};
};

/// One request's answers on their way to JSON. Not thread-safe.
class CompletionFormat {
 public:
  /// `echo_texts` are the prompts as text, for `echo`; `engine` gives the text of a prompt's first token.
  CompletionFormat(CompletionShape shape, std::vector<std::string> echo_texts, size_t n_prompts, const Engine& engine);

  /// A part of a stream, with its deltas: events, or nothing.
  std::string chunks(size_t prompt_index, RequestOutput&& output);
  /// The end of a stream.
  std::string last_events(Usage usage) const;

  /// The complete output of a prompt.
  void keep(size_t prompt_index, RequestOutput&& output);
  /// Everything that was kept.
  std::string answer(Usage usage);

 private:
  struct PromptState {
    bool has_begun = false;
    std::string echo;
    std::vector<int32_t> ids;
    std::optional<std::vector<std::optional<TokenLogprobs>>> logprobs;
    std::vector<CompletionOutput> answers;
    int64_t n_tokens = 0, n_cached = 0;
  };
  struct ChoiceState {
    bool has_begun = false;
    int64_t offset = 0;  // characters so far, for text_offset
    int64_t n_tokens = 0;
  };

  void begin(PromptState& prompt, RequestOutput& output) const;
  std::string choice(const PromptState& prompt, const CompletionOutput& output, ChoiceState& state,
                     bool is_chunk) const;
  std::string logprobs_json(const PromptState& prompt, const CompletionOutput& output, ChoiceState& state,
                            bool with_prompt) const;

  CompletionShape shape_;
  const Engine& engine_;
  const std::string head_;  // of each JSON object, up to its choices
  std::vector<PromptState> prompts_;
  std::vector<ChoiceState> choices_;  // [prompt * n + index]
};

}  // namespace packhorse::server
