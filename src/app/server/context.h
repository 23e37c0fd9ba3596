#pragma once
// What all handlers share.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse::server {

class LogWriter;
class Metrics;

/// What of the command line the API looks at.
struct ApiOptions {
  std::vector<std::string> served_model_names;  // the first one names answers; all are accepted
  std::string response_role = "assistant";
  std::string tool_call_parser;                       // empty = what the chat template suggests
  std::string reasoning_parser;                       // likewise; "none" = no reasoning is told apart
  std::string default_chat_template_kwargs;           // JSON object, or empty
  std::string chat_template_content_format = "auto";  // of messages as the template sees them: string, openai
  PoolingParams::Pooling pooling = PoolingParams::Pooling::last;  // of embeddings
  bool enable_in_reasoning = false;     // answers that have to match do so from their first token on
  bool disable_any_whitespace = false;  // of all structured outputs
  bool enable_auto_tool_choice = true;
  bool exclude_tools_when_tool_choice_none = false;  // the template does not see tools that may not be called
  bool trust_request_chat_template = false;
  bool enable_prompt_tokens_details = false;
  bool enable_force_include_usage = false;
  bool return_tokens_as_token_ids = false;
  bool enable_tokenizer_info_endpoint = true;
  bool enable_log_requests = false;  // prompts and parameters may be logged
  int64_t max_log_len = -1;          // characters of a prompt in the log; -1 = all
  int64_t max_queue = 1024;          // prompts that wait; more are answered by 503
  int64_t max_n = 128;
  int64_t max_prompts = 1024;  // of one request

  bool operator==(const ApiOptions&) const = default;
};

struct ServerContext {
  AsyncEngine& engine;
  ApiOptions options;
  Metrics& metrics;
  int64_t created = 0;                // Unix time of the start
  std::atomic<int64_t> n_prompts{0};  // accepted and not yet finished: those that run and those that wait
  LogWriter* log = nullptr;           // for prompts and parameters, where enable_log_requests asks for them
};

}  // namespace packhorse::server
