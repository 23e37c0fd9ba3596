#include "app/server/api/chat_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "app/server/api/errors.h"
#include "app/server/parsers/json_scanner.h"

namespace packhorse::server {
namespace {

constexpr size_t kMaxRoleBytes = 64;

[[noreturn]] void refuse(const std::string& where, std::string_view message) {
  throw HttpError(400, fmt::format("{}: {}", where, message), where);
}

/// Text of one part. The types are those of chats and of responses.
std::string text_of_part(const Json& part, const std::string& where) {
  if (part.is_string()) return part.get<std::string>();
  if (!part.is_object()) refuse(where, "must be a text or an object with 'type'");
  const Fields fields(part, where + ".");
  const std::string type = fields.text("type").value_or("text");
  if (type == "text" || type == "input_text" || type == "output_text") {
    if (auto text = fields.text("text")) return *std::move(text);
    fields.fail("text", "is missing");
  }
  if (type == "refusal") return fields.text("refusal").value_or("");
  fields.fail("type", fmt::format("'{}' is not supported: this model reads text alone, and nothing is fetched",
                                  printable(type, 40)));
}

std::vector<std::string> texts_of_parts(const Json& parts, const std::string& where) {
  std::vector<std::string> texts;
  for (const Json& part : parts) texts.push_back(text_of_part(part, fmt::format("{}[{}]", where, texts.size())));
  return texts;
}

Json as_parts(std::vector<std::string> texts) {
  Json parts = Json::array();
  for (std::string& text : texts) parts.push_back(Json{{"type", "text"}, {"text", std::move(text)}});
  return parts;
}

Json read_content(const Json& content, const std::string& where, bool wants_parts) {
  if (!wants_parts) return text_of_content(content, where);
  if (content.is_string()) return as_parts({content.get<std::string>()});
  text_of_content(content, where);  // refuses what is neither
  return as_parts(texts_of_parts(content, where));
}

Json read_tool_call(const Json& call, const std::string& where) {
  if (!call.is_object()) refuse(where, "must be an object");
  const Fields fields(call, where + ".");
  if (fields.text("type").value_or("function") != "function") fields.fail("type", "must be 'function'");
  const Json* function = fields.object("function");
  if (!function) fields.fail("function", "is missing");
  const Fields inner(*function, where + ".function.");
  const auto name = inner.text("name");
  if (!name || name->empty()) inner.fail("name", "is missing");
  Json arguments = Json::object();
  if (const Json* given = inner.find("arguments")) {
    arguments = given->is_object() ? *given : arguments_object(*inner.text("arguments"), inner.path("arguments"));
  }
  Json out;
  if (auto id = fields.text("id")) out["id"] = *std::move(id);
  out["type"] = "function";
  out["function"] = Json{{"name", *name}, {"arguments", std::move(arguments)}};
  return out;
}

/// Adds what an assistant's message has beside its content.
void read_answer(const Fields& fields, Json& out) {
  if (fields.find("function_call")) fields.fail("function_call", "is not supported: tool_calls are");
  for (const char* name : {"reasoning", "reasoning_content", "thinking"}) {
    if (auto text = fields.text(name)) out[name] = *std::move(text);
  }
  const Json* calls = fields.array("tool_calls");
  if (calls && !calls->empty()) {
    Json& list = out["tool_calls"] = Json::array();
    for (const Json& call : *calls) {
      list.push_back(read_tool_call(call, fmt::format("{}[{}]", fields.path("tool_calls"), list.size())));
    }
  }
}

Json read_message(const Json& message, const std::string& where, const TemplateTraits& traits) {
  if (!message.is_object()) refuse(where, "must be an object with 'role' and 'content'");
  const Fields fields(message, where + ".");
  auto role = fields.text("role");
  if (!role) fields.fail("role", "is missing");
  if (role->empty() || role->size() > kMaxRoleBytes) {
    fields.fail("role", fmt::format("must be a text of 1 to {} bytes (got '{}')", kMaxRoleBytes, printable(*role, 40)));
  }
  const bool is_answer = *role == "assistant";
  // An answer may be calls or thoughts alone, and the result of a tool nothing at all.
  const bool may_be_empty = is_answer || *role == "tool";
  Json out;
  out["role"] = *role == "developer" && !traits.knows_developer ? "system" : *std::move(role);
  if (is_answer) read_answer(fields, out);
  const Json* content = fields.find("content");
  if (may_be_empty && (!content || *content == Json::array())) {
    out["content"] = traits.wants_parts ? Json::array() : Json("");  // templates read it without asking
  } else if (content) {
    out["content"] = read_content(*content, fields.path("content"), traits.wants_parts);
  } else {
    fields.fail("content", "must be a text or a list of text parts");
  }
  if (auto name = fields.text("name")) out["name"] = *std::move(name);
  if (auto id = fields.text("tool_call_id")) out["tool_call_id"] = *std::move(id);
  return out;
}

/// Whether a tag `for X in EXPRESSION` of the template goes over a message's content.
bool loops_over_content(std::string_view source) {
  constexpr std::array<std::string_view, 4> kEnds = {".content", "['content']", "[\"content\"]", " content"};
  for (size_t at = source.find("{%"); at != std::string_view::npos; at = source.find("{%", at + 2)) {
    const size_t end = source.find("%}", at);
    if (end == std::string_view::npos) return false;
    std::string_view tag = source.substr(at + 2, end - at - 2);
    while (!tag.empty() && (is_blank(tag.front()) || tag.front() == '-')) tag.remove_prefix(1);
    while (!tag.empty() && (is_blank(tag.back()) || tag.back() == '-')) tag.remove_suffix(1);
    if (!tag.starts_with("for ")) continue;
    if (std::any_of(kEnds.begin(), kEnds.end(), [&](std::string_view tail) { return tag.ends_with(tail); }))
      return true;
  }
  return false;
}

}  // namespace

TemplateTraits template_traits(std::string_view chat_template, std::string_view content_format) {
  const bool is_auto = content_format.empty() || content_format == "auto";
  return {.wants_parts = is_auto ? loops_over_content(chat_template) : content_format == "openai",
          .knows_developer = chat_template.find("developer") != std::string_view::npos};
}

Json read_messages(const Fields& body, std::string_view name, const TemplateTraits& traits) {
  const Json* messages = body.array(name);
  if (!messages || messages->empty()) body.fail(name, "must be a list of at least one message");
  Json out = Json::array();
  for (const Json& message : *messages) {
    out.push_back(read_message(message, fmt::format("{}[{}]", body.path(name), out.size()), traits));
  }
  return out;
}

std::string text_of_content(const Json& content, const std::string& where) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array() || content.empty()) refuse(where, "must be a text or a list of text parts");
  return fmt::format("{}", fmt::join(texts_of_parts(content, where), "\n"));
}

Json arguments_object(std::string_view text, const std::string& where) {
  if (std::all_of(text.begin(), text.end(), is_blank)) return Json::object();
  try {
    return parse_object(text);
  } catch (const HttpError&) {
    refuse(where, "must be a JSON object, as text");
  }
}

}  // namespace packhorse::server
