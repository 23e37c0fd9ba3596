#pragma once
// Where the messages of a chat come from: a person at a terminal, or lines of a pipe or file.

#include <optional>
#include <string>

#include "app/cli/chat_history.h"
#include "app/cli/chat_input.h"
#include "app/cli/line_editor.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {

/// Prompts and edits lines. Ctrl-C throws away what is typed, twice in a row it ends the messages, as Ctrl-D does.
class TypedMessages {
 public:
  /// `history_path` may be empty: then only lines of this chat can be brought back. A history that cannot be used is
  /// told and left out.
  explicit TypedMessages(const std::string& history_path);
  std::optional<Message> next();

 private:
  void open_history(const std::string& path);
  void remember(const Message& message);

  LineEditor editor_;
  std::optional<ChatHistory> history_;
};

/// Reads lines without a word of its own.
class PipedMessages {
 public:
  /// Waits for the first message. Throws Error{usage} when there is none.
  PipedMessages();
  std::optional<Message> next();

 private:
  std::optional<Message> read();

  StdinLines lines_;
  std::optional<Message> first_;
};

}  // namespace packhorse::cli
