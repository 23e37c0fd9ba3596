#include "app/server/api/messages_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "app/server/api/errors.h"
#include "app/server/api/structured_fields.h"

namespace packhorse::server {
namespace {

/// Adds a line to a text.
void join(std::string& text, const std::string& more) {
  if (!text.empty()) text += '\n';
  text += more;
}

/// Text of what the system says. Claude Code signs each request with a block of its own, which is left out as in vLLM:
/// no prefix would be found in the cache again.
std::string system_text(const Json& content, const std::string& where) {
  const auto is_signature = [](const Json& block) {
    const auto text = block.is_object() ? block.find("text") : block.end();
    return text != block.end() && text->is_string() &&
           text->get_ref<const std::string&>().starts_with("x-anthropic-billing-header");
  };
  if (content.is_array() && content.empty()) return "";
  std::string text = text_of_content(content, where);
  if (!content.is_array() || std::none_of(content.begin(), content.end(), is_signature)) return text;
  Json blocks = Json::array();
  for (const Json& block : content) {
    if (!is_signature(block)) blocks.push_back(block);
  }
  return blocks.empty() ? "" : text_of_content(blocks, where);
}

/// One message of the body, which may be several for a template: each result of a tool is one of its own.
class MessageReader {
 public:
  MessageReader(const Fields& fields, bool is_answer, Json& out) : fields_(fields), is_answer_(is_answer), out_(out) {}

  void read() {
    const Json* content = fields_.find("content");
    const bool is_list = content && content->is_array() && !content->empty();
    const bool is_text = content && content->is_string() && *content != "";
    if (!is_list && !is_text) fields_.fail("content", "must be a text or a list of blocks, and not empty");
    if (is_text) {
      text_ = content->get<std::string>();
    } else {
      fields_.for_each_object("content",
                              [&](const Fields& fields, const Json&, const std::string&) { read_block(fields); });
    }
    append();
  }

 private:
  void read_block(const Fields& fields) {
    const std::string type = fields.text("type").value_or("");
    if (type == "text") {
      const auto text = fields.text("text");
      if (!text) fields.fail("text", "is missing");
      join(text_, *text);
    } else if (type == "tool_result" && !is_answer_) {
      read_result(fields);
    } else if (type == "tool_use" && is_answer_) {
      read_call(fields);
    } else if (type == "thinking" && is_answer_) {
      join(reasoning_, fields.text("thinking").value_or(""));
    } else if (type != "redacted_thinking" || !is_answer_) {
      fields.fail("type", fmt::format("'{}' is not supported here: this model reads text alone, and nothing is fetched",
                                      printable(type, 40)));
    }
  }

  void read_result(const Fields& fields) {
    const auto id = fields.text("tool_use_id");
    if (!id) fields.fail("tool_use_id", "is missing");
    const Json* content = fields.find("content");
    const bool is_empty = !content || (content->is_array() && content->empty());
    out_.push_back(Json{{"role", "tool"},
                        {"tool_call_id", *id},
                        {"content", is_empty ? "" : text_of_content(*content, fields.path("content"))}});
  }

  void read_call(const Fields& fields) {
    const auto name = fields.text("name");
    if (!name || name->empty()) fields.fail("name", "is missing");
    const Json* input = fields.object("input");
    calls_.push_back(Json{{"id", fields.text("id").value_or("")},
                          {"type", "function"},
                          {"function", {{"name", *name}, {"arguments", input ? *input : Json::object()}}}});
  }

  void append() {
    const bool has_rest = !calls_.empty() || !reasoning_.empty();
    if (text_.empty() && !has_rest) return;  // results alone
    Json message;
    message["role"] = is_answer_ ? "assistant" : "user";
    if (!reasoning_.empty()) message["reasoning"] = std::move(reasoning_);
    if (!calls_.empty()) message["tool_calls"] = std::move(calls_);
    if (!text_.empty()) message["content"] = std::move(text_);
    out_.push_back(std::move(message));
  }

  const Fields& fields_;
  const bool is_answer_;
  Json& out_;
  std::string text_, reasoning_;
  Json calls_ = Json::array();
};

/// All messages of a body. Templates seldom take a system message that is not the first one: what the system says
/// later on ends the turn of the user that it stands in or before, so that the prompt only ever grows at its end.
class ConversationReader {
 public:
  Json read(const Fields& body) {
    if (const Json* system = body.find("system")) add_system(system_text(*system, body.path("system")));
    const Json* messages = body.array("messages");
    if (!messages || messages->empty()) body.fail("messages", "must be a list of at least one message");
    body.for_each_object("messages", [&](const Fields& fields, const Json&, const std::string&) { add(fields); });
    end_turn();
    return std::move(out_);
  }

 private:
  void add(const Fields& fields) {
    const std::string role = fields.text("role").value_or("");
    if (role == "system") {
      const Json* content = fields.find("content");
      if (!content) fields.fail("content", "is missing");
      return add_system(system_text(*content, fields.path("content")));
    }
    const bool is_answer = role == "assistant";
    // ctx and msg are what Claude Code calls some of the user's.
    if (!is_answer && role != "user" && role != "ctx" && role != "msg") {
      fields.fail("role", fmt::format("must be 'user', 'assistant' or 'system' (got '{}')", printable(role, 40)));
    }
    if (is_answer) end_turn();
    MessageReader(fields, is_answer, out_).read();
    if (!is_answer) end_turn();
  }

  void add_system(const std::string& text) {
    if (text.empty()) return;
    if (out_.empty()) {
      out_.push_back(Json{{"role", "system"}, {"content", text}});
    } else if (out_.back().at("role") == "system") {
      add_paragraph(out_.back(), text);
    } else {
      if (!said_.empty()) said_ += "\n\n";
      said_ += text;
    }
  }

  /// Puts what the system said to the user's turn, which it is by itself where there is none.
  void end_turn() {
    if (said_.empty()) return;
    const bool is_turn = out_.back().at("role") != "assistant";
    if (!is_turn) out_.push_back(Json{{"role", "user"}, {"content", ""}});
    add_paragraph(out_.back(), std::exchange(said_, ""));
  }

  static void add_paragraph(Json& message, const std::string& more) {
    auto& text = message["content"].get_ref<std::string&>();
    if (!text.empty()) text += "\n\n";
    text += more;
  }

  Json out_ = Json::array();
  std::string said_;  // by the system, since the last turn
};

void read_choice(const Fields& body, ChatTools& tools) {
  const Json* choice = body.object("tool_choice");
  if (!choice) return;
  const Fields fields(*choice, body.path("tool_choice."));
  tools.is_parallel = !fields.flag("disable_parallel_tool_use").value_or(false);
  const std::string type = fields.text("type").value_or("");
  if (type == "none") {
    tools.mode = ToolMode::none;
  } else if (tools.definitions.is_null()) {
    body.fail("tool_choice", "needs tools");
  } else if (type == "any") {
    tools.mode = ToolMode::required;
  } else if (type == "tool") {
    choose_tool(tools, fields.text("name").value_or(""), fields.path("name"));
  } else if (type != "auto") {
    fields.fail("type", fmt::format("must be auto, any, tool or none (got '{}')", printable(type, 40)));
  }
}

ChatTools read_tools_of_messages(const Fields& body) {
  const auto add = [](ChatTools& tools, const Fields& fields, const Json&, const std::string& where) {
    if (fields.text("type").value_or("custom") != "custom") fields.fail("type", "must be 'custom'");
    Json function{{"name", fields.text("name").value_or("")}};
    if (auto description = fields.text("description")) function["description"] = *std::move(description);
    if (const Json* schema = fields.object("input_schema")) function["parameters"] = *schema;
    add_tool(tools, tool_definition(Fields(function, where + "."), function), where);
  };
  ChatTools tools = read_tool_list(body, add);
  read_choice(body, tools);
  return tools;
}

void read_thinking(const Fields& body, Json& kwargs) {
  const Json* thinking = body.object("thinking");
  if (!thinking) return;
  const std::string type = Fields(*thinking, body.path("thinking.")).text("type").value_or("");
  if (type == "disabled") {
    disable_thinking(kwargs);
  } else if (type == "enabled" || type == "adaptive") {
    for (const char* name : {"enable_thinking", "thinking"}) kwargs[name] = true;
  } else {
    body.fail("thinking", "type must be 'enabled', 'adaptive' or 'disabled'");
  }
}

void read_output_config(const Fields& body, ChatRequest& chat) {
  const Json* config = body.object("output_config");
  if (!config) return;
  const Fields fields(*config, body.path("output_config."));
  read_reasoning_effort(fields, "effort", chat.template_kwargs);
  if (const Json* format = fields.object("format")) {
    read_flat_format(body, "output_config", Fields(*format, fields.path("format.")), chat.params.structured_outputs);
  }
}

/// Whether the last message is the beginning of the answer. `messages` are those of ConversationReader.
bool is_prefill(const Json& messages) {
  const Json& last = messages.back();
  return last.at("role") == "assistant" && last.contains("content") && !last.contains("tool_calls");
}

}  // namespace

ChatRequest read_messages_chat(const ServerContext& context, const Fields& body, bool needs_max_tokens) {
  ChatRequest chat;
  chat.words.tool_choices = R"({"type": "any"} and {"type": "tool"})";
  chat.template_kwargs = template_kwargs(context, body.object("chat_template_kwargs"));
  read_thinking(body, chat.template_kwargs);
  const TemplateTraits traits =
      template_traits(template_of(context, chat), context.options.chat_template_content_format);
  const Json messages{{"messages", ConversationReader().read(body)}};
  chat.messages = read_messages(Fields(messages), "messages", traits);
  chat.continue_final_message = is_prefill(messages.at("messages"));
  chat.add_generation_prompt = !chat.continue_final_message;
  chat.tools = read_tools_of_messages(body);
  chat.params = read_sampling(context, body);
  if (chat.params.n != 1) body.fail("n", "must be 1: messages have one answer");
  read_output_config(body, chat);
  if (auto stops = body.texts("stop_sequences")) chat.params.stop = *std::move(stops);
  chat.params.max_tokens.reset();
  read_answer_length(body, "max_tokens", chat);
  if (needs_max_tokens && !chat.params.max_tokens) body.fail("max_tokens", "is missing");
  read_prompt_options(body, chat.prompt);
  chat.prompt.add_special_tokens = false;
  return chat;
}

}  // namespace packhorse::server
