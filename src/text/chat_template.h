#pragma once
// Chat templates: Jinja as transformers renders it, by an interpreter of our own that reaches nothing but its inputs.

#include <memory>
#include <string>
#include <string_view>

#include "text/chat_json.h"
#include "text/jinja/budget.h"

namespace packhorse {

namespace jinja {
struct Program;
}

/// One chat to render.
struct ChatInputs {
  OrderedJson messages;   // array of objects
  OrderedJson tools;      // array, or null
  OrderedJson kwargs;     // object of further template variables, or null
  std::string bos_token;  // empty: the template sees it undefined
  std::string eos_token;
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the text ends with the last message, left open
};

/// A template, parsed once. Rendering is const and may happen in several threads at once.
class ChatTemplate {
 public:
  /// Throws Error{model} with line and column on a syntax error and on an unknown tag, filter or test.
  explicit ChatTemplate(std::string source, const TemplateLimits& limits = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  /// `variables` is an object. Throws Error{request}: what the template raises, an undefined value used, a budget used
  /// up.
  std::string render(const OrderedJson& variables) const;
  /// The prompt of a chat. Throws Error{request} also for inputs that no template could take.
  std::string render(const ChatInputs& chat) const;

  const std::string& source() const { return source_; }

 private:
  std::string source_;
  TemplateLimits limits_;
  std::unique_ptr<const jinja::Program> program_;
};

/// The variables that transformers gives a template: messages without their null members, tools, documents,
/// add_generation_prompt, the special tokens, and the kwargs over these. Throws Error{request} when messages are not a
/// list of objects, or a kwarg has a reserved name.
OrderedJson chat_variables(const ChatInputs& chat);

/// Throws Error{request} when `kwargs` (null, or an object of template variables) sets a name that is not for it to
/// set, such as "messages" or "tokenize".
void check_template_kwargs(const OrderedJson& kwargs);

}  // namespace packhorse
