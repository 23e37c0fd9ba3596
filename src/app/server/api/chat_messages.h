#pragma once
// Messages of OpenAI's chat notation on their way to the chat template.

#include <string_view>

#include "app/server/api/fields.h"

namespace packhorse::server {

/// What a chat template makes of messages.
struct TemplateTraits {
  bool wants_parts = false;      // it loops over content: {"type": "text", "text"} parts; others get one text
  bool knows_developer = false;  // else that role is called "system"
};
/// `content_format` is vLLM's --chat-template-content-format: "string", "openai", or "auto" to look at the template.
TemplateTraits template_traits(std::string_view chat_template, std::string_view content_format);

/// The list `name` of a body, checked. Throws HttpError{400} for what is no message, and for parts that are no text:
/// nothing is ever fetched.
Json read_messages(const Fields& body, std::string_view name, const TemplateTraits& traits);

/// Text of a message's content: itself, or its text parts joined by line ends. `where` names it in errors.
std::string text_of_content(const Json& content, const std::string& where);

/// Arguments of a call, which come as JSON text, as the object that templates want.
Json arguments_object(std::string_view text, const std::string& where);

}  // namespace packhorse::server
