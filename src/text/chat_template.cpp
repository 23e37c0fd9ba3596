#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/jinja/chars.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace packhorse {
namespace {

/// Parameters of transformers' apply_chat_template: as kwargs they would not reach the template but change the call.
constexpr std::array<std::string_view, 14> kReservedNames = {"messages",
                                                             "conversation",
                                                             "tools",
                                                             "tokenize",
                                                             "chat_template",
                                                             "add_generation_prompt",
                                                             "padding",
                                                             "truncation",
                                                             "continue_final_message",
                                                             "max_length",
                                                             "return_tensors",
                                                             "return_dict",
                                                             "tokenizer_kwargs",
                                                             "return_assistant_tokens_mask"};

constexpr std::array<std::string_view, 3> kReasoningFields = {"reasoning_content", "thinking", "reasoning"};

// Marks where the last message ends in the rendered text. The blank shows whether the template trims its end.
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

void check_utf8(std::string_view source) {
  for (size_t i = 0; i < source.size();) {
    const Utf8Char c = decode_utf8(source.substr(i));
    if (!c.valid) fail_model("chat template: invalid UTF-8 at byte {}", i);
    i += c.n_bytes;
  }
}

/// All line ends as "\n", and none at the end.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_given(const OrderedJson& object, std::string_view key) {
  const auto it = object.find(key);
  return it != object.end() && !it->is_null();
}

/// Without null members; reasoning text under every name that templates know it by.
OrderedJson normalize_message(const OrderedJson& message) {
  OrderedJson out = OrderedJson::object();
  const auto* const field = std::find_if(kReasoningFields.begin(), kReasoningFields.end(),
                                         [&](std::string_view name) { return is_given(message, name); });
  const OrderedJson* reasoning = field == kReasoningFields.end() ? nullptr : &message.at(*field);
  if (reasoning && !is_given(message, "thinking")) append_member(out, "thinking", *reasoning);
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) append_member(out, key, value);
  }
  if (reasoning && !is_given(message, "reasoning_content")) append_member(out, "reasoning_content", *reasoning);
  return out;
}

OrderedJson normalize_messages(const OrderedJson& messages) {
  if (!messages.is_array()) fail(ErrorKind::request, "messages: expected a list (got {})", messages.type_name());
  if (messages.empty()) fail(ErrorKind::request, "messages: at least one message is needed");
  OrderedJson out = OrderedJson::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      fail(ErrorKind::request, "messages[{}]: expected an object (got {})", i, messages[i].type_name());
    }
    out.push_back(normalize_message(messages[i]));
  }
  return out;
}

/// The string that a message's text ends with: its content, or the last text among its parts. Null when it has none.
std::string* final_text(OrderedJson& message) {
  const auto content = message.find("content");
  if (content == message.end()) return nullptr;
  if (content->is_string()) return content->get_ptr<std::string*>();
  if (!content->is_array()) return nullptr;
  for (size_t i = content->size(); i-- > 0;) {
    OrderedJson& part = (*content)[i];
    if (!part.is_object()) continue;
    const auto text = part.find("text");
    if (text != part.end() && text->is_string()) return text->get_ptr<std::string*>();
  }
  return nullptr;
}

/// Cuts a text that was rendered with the tag at the end of its last message.
std::string cut_at_tag(std::string rendered, std::string_view final_message) {
  const std::string_view bare_tag = jinja::strip_space(kContinueTag);
  const size_t tag = rendered.rfind(bare_tag);
  const bool has_message = jinja::find_text(rendered, jinja::strip_space(final_message)) != std::string_view::npos;
  if (tag == std::string::npos || !has_message) {
    fail(ErrorKind::request, "continue_final_message: the chat template does not print the final message as it is");
  }
  const bool keeps_space = rendered.compare(tag, kContinueTag.size(), kContinueTag) == 0;
  rendered.resize(tag);
  if (!keeps_space) rendered.resize(jinja::strip_space(rendered, jinja::Side::right).size());
  return rendered;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, const TemplateLimits& limits)
    : source_(std::move(source)), limits_(limits) {
  if (source_.size() > static_cast<size_t>(limits.max_source_bytes)) {
    fail_model("chat template exceeded its budget (got {} bytes, limit {})", source_.size(), limits.max_source_bytes);
  }
  check_utf8(source_);
  const std::string normalized = normalize_newlines(source_);
  program_ = std::make_unique<const jinja::Program>(jinja::Parser(normalized, limits).parse());
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const OrderedJson& variables) const {
  return jinja::Interpreter(*program_, limits_, variables).run();
}

std::string ChatTemplate::render(const ChatInputs& chat) const {
  OrderedJson variables = chat_variables(chat);
  if (!chat.continue_final_message) return render(variables);
  if (chat.add_generation_prompt) {
    fail(ErrorKind::request, "continue_final_message and add_generation_prompt exclude each other");
  }
  std::string* text = final_text(variables["messages"].back());
  if (!text) fail(ErrorKind::request, "continue_final_message: the final message has no text");
  const std::string final_message = *text;
  *text += kContinueTag;
  return cut_at_tag(render(variables), final_message);
}

OrderedJson chat_variables(const ChatInputs& chat) {
  check_template_kwargs(chat.kwargs);
  if (!chat.tools.is_null() && !chat.tools.is_array()) {
    fail(ErrorKind::request, "tools: expected a list (got {})", chat.tools.type_name());
  }
  OrderedJson variables = OrderedJson::object();
  append_member(variables, "messages", normalize_messages(chat.messages));
  append_member(variables, "tools", chat.tools);
  append_member(variables, "add_generation_prompt", chat.add_generation_prompt);
  const auto append_default = [&](const char* name, OrderedJson value) {
    if (!chat.kwargs.is_object() || !chat.kwargs.contains(name)) append_member(variables, name, std::move(value));
  };
  append_default("documents", nullptr);
  if (!chat.bos_token.empty()) append_default("bos_token", chat.bos_token);
  if (!chat.eos_token.empty()) append_default("eos_token", chat.eos_token);
  if (chat.kwargs.is_object()) {
    for (const auto& [name, value] : chat.kwargs.items()) append_member(variables, name, value);
  }
  return variables;
}

void check_template_kwargs(const OrderedJson& kwargs) {
  if (kwargs.is_null()) return;
  if (!kwargs.is_object()) {
    fail(ErrorKind::request, "chat_template_kwargs: expected an object (got {})", kwargs.type_name());
  }
  for (const auto& [name, value] : kwargs.items()) {
    if (std::find(kReservedNames.begin(), kReservedNames.end(), name) != kReservedNames.end()) {
      fail(ErrorKind::request, "chat_template_kwargs: '{}' is reserved", name);
    }
  }
}

}  // namespace packhorse
