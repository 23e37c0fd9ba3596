#include "app/server/api/responses_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "app/server/api/errors.h"
#include "app/server/api/prompt_tokens.h"
#include "app/server/api/structured_fields.h"

namespace packhorse::server {
namespace {

/// Items of `input` as messages of a chat. What an assistant thought, said and called in a row is one message.
class InputReader {
 public:
  Json read(const Fields& body) {
    const Json* input = body.find("input");
    const bool is_list = input && input->is_array() && !input->empty();
    const bool is_text = input && input->is_string() && *input != "";
    if (!is_list && !is_text) body.fail("input", "must be a text or a list of items, and not empty");
    if (is_text) return Json::array({Json{{"role", "user"}, {"content", *input}}});
    body.for_each_object("input", [&](const Fields& item, const Json&, const std::string&) { read_item(item); });
    return std::move(out_);
  }

 private:
  void read_item(const Fields& fields) {
    const std::string type = fields.text("type").value_or("message");
    if (type == "message") {
      read_message(fields);
    } else if (type == "function_call") {
      read_call(fields);
    } else if (type == "function_call_output") {
      const Json* output = fields.find("output");
      if (!output) fields.fail("output", "is missing");
      const bool is_empty = output->is_array() && output->empty();
      out_.push_back(Json{{"role", "tool"},
                          {"tool_call_id", fields.text("call_id").value_or("")},
                          {"content", is_empty ? "" : text_of_content(*output, fields.path("output"))}});
    } else if (type == "reasoning") {
      read_reasoning(fields);
    } else {
      fields.fail("type", fmt::format("'{}' is not supported", printable(type, 40)));
    }
  }

  void read_message(const Fields& fields) {
    const Json* content = fields.find("content");
    if (!content) fields.fail("content", "is missing");
    const std::string role = fields.text("role").value_or("");
    const std::string text = text_of_content(*content, fields.path("content"));
    if (role == "assistant" && continues_answer() && !out_.back().contains("content")) {
      out_.back()["content"] = text;
    } else {
      out_.push_back(Json{{"role", role}, {"content", text}});
    }
  }

  void read_call(const Fields& fields) {
    const auto name = fields.text("name");
    if (!name || name->empty()) fields.fail("name", "is missing");
    Json& calls = answer()["tool_calls"];
    if (calls.is_null()) calls = Json::array();
    calls.push_back(
        Json{{"id", fields.text("call_id").value_or("")},
             {"type", "function"},
             {"function",
              {{"name", *name},
               {"arguments", arguments_object(fields.text("arguments").value_or(""), fields.path("arguments"))}}}});
  }

  void read_reasoning(const Fields& fields) {
    std::string text;
    for (const char* name : {"content", "summary"}) {
      const Json* parts = fields.array(name);
      if (!parts || !text.empty()) continue;
      for (const Json& part : *parts) {
        if (part.is_object()) text += Fields(part, fields.path(name)).text("text").value_or("");
      }
    }
    if (text.empty()) return;  // encrypted, or withheld
    out_.push_back(Json{{"role", "assistant"}, {"reasoning", std::move(text)}});
  }

  bool continues_answer() const { return !out_.empty() && out_.back().at("role") == "assistant"; }
  Json& answer() {
    if (!continues_answer()) out_.push_back(Json{{"role", "assistant"}});
    return out_.back();
  }

  Json out_ = Json::array();
};

void read_choice(const Fields& body, ChatTools& tools) {
  const Json* choice = body.find("tool_choice");
  if (!choice) return;
  const std::string where = body.path("tool_choice");
  if (choice->is_object()) {
    const Fields fields(*choice, where + ".");
    if (fields.text("type").value_or("") != "function") fields.fail("type", "must be 'function'");
    return choose_tool(tools, fields.text("name").value_or(""), where);
  }
  const std::string mode = *body.text("tool_choice");
  if (mode == "none") {
    tools.mode = ToolMode::none;
  } else if (mode == "required" && !tools.definitions.is_null()) {
    tools.mode = ToolMode::required;
  } else if (mode == "required") {
    body.fail("tool_choice", "needs tools");
  } else if (mode != "auto") {
    body.fail("tool_choice",
              fmt::format("must be 'none', 'auto', 'required' or a function (got '{}')", printable(mode, 40)));
  }
}

ChatTools read_tools_of_responses(const Fields& body) {
  const auto add = [](ChatTools& tools, const Fields& fields, const Json& tool, const std::string& where) {
    const std::string type = fields.text("type").value_or("");
    if (type != "function") {
      fields.fail("type", fmt::format("'{}' is not supported: functions are", printable(type, 40)));
    }
    add_tool(tools, tool_definition(fields, tool), where);
  };
  ChatTools tools = read_tool_list(body, add);
  tools.is_parallel = body.flag("parallel_tool_calls").value_or(true);
  read_choice(body, tools);
  return tools;
}

void read_text_format(const Fields& body, SamplingParams& params) {
  const Json* text = body.object("text");
  if (!text) return;
  const Json* format = Fields(*text, "text.").object("format");
  if (format) read_flat_format(body, "text", Fields(*format, "text.format."), params.structured_outputs);
}

void refuse_unsupported(const Fields& body) {
  if (body.flag("background").value_or(false)) body.fail("background", "is not supported");
  body.object("metadata");
  for (const char* name : {"prompt", "conversation"}) {
    if (body.find(name)) body.fail(name, "is not supported");
  }
  if (body.text("truncation").value_or("disabled") != "disabled") {
    body.fail("truncation", "must be 'disabled': a conversation that is too long is refused");
  }
}

void read_response_logprobs(const ServerContext& context, const Fields& body, SamplingParams& params) {
  const auto include = body.texts("include").value_or(std::vector<std::string>{});
  const auto top = body.whole_number("top_logprobs", 0, INT64_MAX);
  const bool wanted = std::find(include.begin(), include.end(), "message.output_text.logprobs") != include.end();
  require_top_logprobs(context, body, top.value_or(0));
  if (wanted || top.value_or(0) > 0) params.logprobs = top.value_or(0);
}

/// `name` as the client gave it, else `otherwise`.
Json given_or(const Fields& body, const char* name, const Json& otherwise) {
  const Json* value = body.find(name);
  return value ? *value : otherwise;
}

Json repeated_settings(const Fields& body, const SamplingParams& params, const ChatTools& tools) {
  Json out;
  out["instructions"] = given_or(body, "instructions", nullptr);
  out["max_output_tokens"] = given_or(body, "max_output_tokens", nullptr);
  out["metadata"] = given_or(body, "metadata", Json::object());
  out["parallel_tool_calls"] = tools.is_parallel;
  out["previous_response_id"] = given_or(body, "previous_response_id", nullptr);
  out["reasoning"] = given_or(body, "reasoning", Json{{"effort", nullptr}, {"summary", nullptr}});
  out["store"] = body.flag("store").value_or(true);
  out["temperature"] = params.temperature;
  out["text"] = given_or(body, "text", Json{{"format", {{"type", "text"}}}});
  out["tool_choice"] = given_or(body, "tool_choice", "auto");
  out["tools"] = given_or(body, "tools", Json::array());
  out["top_logprobs"] = params.logprobs.value_or(0);
  out["top_p"] = params.top_p;
  out["truncation"] = "disabled";
  out["user"] = given_or(body, "user", nullptr);
  return out;
}

Json joined(const Json& first, const Json& second) {
  Json out = first.is_array() ? first : Json::array();
  for (const Json& element : second) out.push_back(element);
  return out;
}

/// What was said before, and `input`, as the template takes them.
Json messages_for_template(const Json& earlier, const Json& input, const TemplateTraits& traits) {
  Json messages = read_messages(Fields(input), "input", traits);
  if (earlier.empty()) return messages;
  const Json kept{{"previous_response_id", earlier}};
  return joined(read_messages(Fields(kept), "previous_response_id", traits), messages);
}

}  // namespace

ResponsesRequest read_responses_chat(const ServerContext& context, const Fields& body, const Json& earlier) {
  refuse_unsupported(body);
  ResponsesRequest request;
  ChatRequest& chat = request.chat;
  chat.words.prompt = "input";
  chat.template_kwargs = template_kwargs(context, body.object("chat_template_kwargs"));
  if (const Json* reasoning = body.object("reasoning")) {
    read_reasoning_effort(Fields(*reasoning, "reasoning."), "effort", chat.template_kwargs);
  }
  const TemplateTraits traits =
      template_traits(template_of(context, chat), context.options.chat_template_content_format);
  const Json input{{"input", InputReader().read(body)}};
  request.conversation = joined(earlier, input.at("input"));
  chat.messages = messages_for_template(earlier, input, traits);
  if (const auto instructions = body.text("instructions")) {
    const Json system{{"instructions", Json::array({Json{{"role", "system"}, {"content", *instructions}}})}};
    chat.messages = joined(read_messages(Fields(system), "instructions", traits), chat.messages);
  }
  chat.tools = read_tools_of_responses(body);
  chat.params = read_sampling(context, body);
  if (chat.params.n != 1) body.fail("n", "must be 1: a response has one answer");
  read_text_format(body, chat.params);
  chat.params.max_tokens.reset();
  read_answer_length(body, "max_output_tokens", chat);
  read_response_logprobs(context, body, chat.params);
  read_prompt_options(body, chat.prompt);
  chat.prompt.add_special_tokens = false;
  chat.truncation = read_truncation(context, body);
  request.settings = repeated_settings(body, chat.params, chat.tools);
  return request;
}

}  // namespace packhorse::server
