#pragma once
// A chat: messages are answered in turn, commands carried out.

#include <functional>
#include <optional>
#include <string>

#include "app/cli/chat_input.h"
#include "app/cli/conversation.h"
#include "app/cli/signals.h"

namespace packhorse::cli {

class Chat {
 public:
  /// `conversation` must outlive it; `shows_stats` says whether speed follows each answer.
  Chat(Conversation& conversation, bool shows_stats) : conversation_(conversation), shows_stats_(shows_stats) {}

  using Source = std::function<std::optional<Message>()>;
  /// With a person: Ctrl-C stops an answer and a request that cannot be met is told; the chat goes on.
  void run_interactively(const Source& next_message);
  /// Without one: an error ends it, as a signal does.
  void run(const Source& next_message);

 private:
  /// False when the message says to leave.
  bool take(const Message& message);
  bool execute(const ChatCommand& command);
  void change_system(const std::string& text);
  void change_stats(const std::string& text);
  void answer(const std::string& text);

  Conversation& conversation_;
  bool shows_stats_;
  SignalWatch* signals_ = nullptr;  // of run_interactively
  std::string last_speed_;
};

}  // namespace packhorse::cli
