#pragma once
// A model's tokenizer and chat template together: what turns texts and chats into tokens and back.

#include <exception>
#include <optional>
#include <string>

#include "io/checkpoint.h"
#include "packhorse/packhorse.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace packhorse {

struct TextSide {
  std::string path;                    // of the checkpoint, for messages
  std::optional<Tokenizer> tokenizer;  // nothing with skip_tokenizer_init
  std::string chat_template;           // source; empty without

  TextSide(const CheckpointView& view, const EngineOptions& options);

  /// Throws Error{request} when there is none.
  const Tokenizer& need_tokenizer() const;
  /// Prompt text of a chat. Throws as Engine::render_chat does. Thread-safe.
  std::string render_chat(const ChatPrompt& chat) const;

 private:
  TemplateLimits limits_;
  std::optional<ChatTemplate> parsed_;  // of chat_template, unless it is empty or broken
  std::exception_ptr broken_;           // why it cannot be parsed
};

}  // namespace packhorse
