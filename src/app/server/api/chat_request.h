#pragma once
// One chat as all chat APIs see it, once their own notation is read.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "app/server/api/chat_messages.h"
#include "app/server/api/chat_tools.h"
#include "app/server/api/fields.h"
#include "app/server/context.h"

namespace packhorse::server {

/// How errors name what all chat APIs have in common.
struct ChatWords {
  std::string_view prompt = "messages", max_tokens = "max_tokens";    // fields
  std::string_view tool_choices = "'required' and a named function";  // that work with any model
};

struct ChatRequest {
  Json messages = Json::array();  // as the template takes them
  ChatTools tools;
  Json template_kwargs = Json::object();
  std::string chat_template;  // instead of the model's own
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  Prompt prompt;                      // without its text: that is what the template makes of all this
  std::optional<int64_t> truncation;  // keep the last so many tokens of the prompt
  SamplingParams params;              // max_tokens as asked for
  bool include_reasoning = true;
  ChatWords words;
};

/// Template that a chat is rendered by.
const std::string& template_of(const ServerContext& context, const ChatRequest& chat);

/// What the template gets beside messages: the server's defaults, then `kwargs` (null or an object) over these. Throws
/// HttpError{400} for more names than a request may have.
Json template_kwargs(const ServerContext& context, const Json* kwargs);
/// How much a model should reason, as the field `name` says, under the names that templates know: "none" turns thinking
/// off. Throws HttpError{400}.
void read_reasoning_effort(const Fields& fields, std::string_view name, Json& kwargs);
/// Turns thinking off where the template can and the request did not say otherwise.
void disable_thinking(Json& kwargs);

/// Sets the most tokens of the answer, when the field `name` has a number of them.
void read_answer_length(const Fields& body, std::string_view name, ChatRequest& chat);
/// Throws HttpError{400} when more alternatives than the server allows are asked for; -1 is all tokens.
void require_top_logprobs(const ServerContext& context, const Fields& body, int64_t top);

/// The chat in the body of a chat completion, all but how it is to be answered. Throws HttpError{400}.
ChatRequest read_chat(const ServerContext& context, const Fields& body);

}  // namespace packhorse::server
