#pragma once
// OpenAI's old notation of log-probabilities: four lists, one entry each per token.

#include <cstdint>
#include <string>
#include <string_view>

#include "packhorse/packhorse.h"

namespace packhorse::server {

class LogprobLists {
 public:
  /// `offset` is where the first token's text begins, in characters. `tokens_as_ids` shows "token_id:5" for text.
  LogprobLists(int64_t offset, bool tokens_as_ids) : offset_(offset), tokens_as_ids_(tokens_as_ids) {}

  void add(int32_t token, const TokenLogprobs& entries);
  /// A token whose probability nothing is known about: the first one of a prompt.
  void add_unknown(int32_t token, std::string_view text);

  std::string json() const;
  int64_t offset() const { return offset_; }

 private:
  void add_token(int32_t token, std::string_view text);

  int64_t offset_;
  bool tokens_as_ids_;
  std::string offsets_, logprobs_, tokens_, tops_;
};

/// vLLM's prompt_logprobs: [null, {"5": {"logprob", "rank", "decoded_token"}, ...}, ...].
std::string prompt_logprobs_json(const std::vector<std::optional<TokenLogprobs>>& positions);

}  // namespace packhorse::server
