#include "app/server/api/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "app/server/api/errors.h"
#include "app/server/api/prompt_tokens.h"

namespace packhorse::server {
namespace {

void read_template(const ServerContext& context, const Fields& body, ChatRequest& chat) {
  if (auto source = body.text("chat_template")) {
    if (!context.options.trust_request_chat_template) {
      body.fail("chat_template", "is refused: the server runs without --trust-request-chat-template");
    }
    chat.chat_template = *std::move(source);
  }
  chat.add_generation_prompt = body.flag("add_generation_prompt").value_or(true);
  chat.continue_final_message = body.flag("continue_final_message").value_or(false);
  if (chat.continue_final_message) {
    // vLLM refuses both together. The default of the other one is no wish of the client.
    if (body.flag("add_generation_prompt") == true) {
      body.fail("continue_final_message", "excludes add_generation_prompt");
    }
    chat.add_generation_prompt = false;
  }
  chat.template_kwargs = template_kwargs(context, body.object("chat_template_kwargs"));
  if (const Json* documents = body.array("documents")) chat.template_kwargs["documents"] = *documents;
  read_reasoning_effort(body, "reasoning_effort", chat.template_kwargs);
}

/// logprobs and top_logprobs, which for chats are a flag and a number.
void read_chat_logprobs(const ServerContext& context, const Fields& body, SamplingParams& params) {
  const bool wanted = body.flag("logprobs").value_or(false);
  const auto top = body.whole_number("top_logprobs");
  if (top && *top < -1) body.fail("top_logprobs", fmt::format("must be -1 or more (got {})", *top));
  if (top && *top != 0 && !wanted) body.fail("top_logprobs", "needs logprobs to be true");
  if (!wanted) return;
  require_top_logprobs(context, body, top.value_or(0));
  params.logprobs = top.value_or(0);
}

}  // namespace

const std::string& template_of(const ServerContext& context, const ChatRequest& chat) {
  return chat.chat_template.empty() ? context.engine.engine().chat_template() : chat.chat_template;
}

Json template_kwargs(const ServerContext& context, const Json* kwargs) {
  const std::string& defaults = context.options.default_chat_template_kwargs;
  Json out = defaults.empty() ? Json::object() : Json::parse(defaults);
  if (!kwargs) return out;
  if (kwargs->size() > kMaxFields) {
    throw HttpError(400, fmt::format("chat_template_kwargs: more than {} names (got {})", kMaxFields, kwargs->size()),
                    "chat_template_kwargs");
  }
  for (const auto& [name, value] : kwargs->items()) out[name] = value;
  return out;
}

void read_reasoning_effort(const Fields& fields, std::string_view name, Json& kwargs) {
  const auto effort = fields.text(name);
  if (!effort) return;
  constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
  if (std::ranges::find(kEfforts, *effort) == kEfforts.end()) {
    fields.fail(name, fmt::format("must be one of {} (got '{}')", fmt::join(kEfforts, ", "), printable(*effort, 40)));
  }
  if (effort == "none") disable_thinking(kwargs);
  if (!kwargs.contains("reasoning_effort")) kwargs["reasoning_effort"] = *effort;
}

void disable_thinking(Json& kwargs) {
  for (const char* name : {"enable_thinking", "thinking"}) {
    if (!kwargs.contains(name)) kwargs[name] = false;
  }
}

void read_answer_length(const Fields& body, std::string_view name, ChatRequest& chat) {
  const auto length = body.whole_number(name);
  if (!length) return;
  if (*length < 1) body.fail(name, fmt::format("must be at least 1 (got {})", *length));
  chat.params.max_tokens = length;
  chat.words.max_tokens = name;
}

void require_top_logprobs(const ServerContext& context, const Fields& body, int64_t top) {
  const Engine& engine = context.engine.engine();
  const int64_t limit = engine.options().max_logprobs;
  if (limit >= 0 && (top == -1 ? engine.vocab_size() : top) > limit) {
    body.fail("top_logprobs", fmt::format("must be at most {} (got {}); the limit is --max-logprobs", limit, top));
  }
}

ChatRequest read_chat(const ServerContext& context, const Fields& body) {
  ChatRequest chat;
  read_template(context, body, chat);
  const TemplateTraits traits =
      template_traits(template_of(context, chat), context.options.chat_template_content_format);
  chat.messages = read_messages(body, "messages", traits);
  chat.tools = read_tools(body);
  chat.params = read_sampling(context, body);
  chat.params.max_tokens.reset();  // the default is no wish of the client
  for (const std::string_view name : {"max_tokens", "max_completion_tokens"}) read_answer_length(body, name, chat);
  read_chat_logprobs(context, body, chat.params);
  read_prompt_options(body, chat.prompt);
  chat.prompt.add_special_tokens = body.flag("add_special_tokens").value_or(false);
  chat.truncation = read_truncation(context, body);
  chat.include_reasoning = body.flag("include_reasoning").value_or(true);
  return chat;
}

}  // namespace packhorse::server
