#pragma once
// All news of one answer, put together.

#include "app/server/api/chat_run.h"

namespace packhorse::server {

struct ChatAnswer {
  OutputDelta said;  // each tool call once, with all of its arguments
  std::vector<int32_t> token_ids;
  std::optional<std::vector<TokenLogprobs>> logprobs;
  std::string finish_reason;
  std::optional<std::string> stop_string;
  std::optional<int64_t> stop_token_id;

  void add(ChatNews&& news);
};

}  // namespace packhorse::server
