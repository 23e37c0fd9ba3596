#include "app/cli/chat.h"

#include <fmt/format.h>

#include <csignal>

#include "app/cli/terminal.h"

namespace packhorse::cli {

void Chat::run(const Source& next_message) {
  while (const std::optional<Message> message = next_message()) {
    if (!take(*message)) return;
  }
}

void Chat::run_interactively(const Source& next_message) {
  SignalWatch watch({SIGINT});
  signals_ = &watch;
  while (const std::optional<Message> message = next_message()) {
    try {
      if (!take(*message)) break;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::request && e.kind() != ErrorKind::usage) throw;
      write_stderr(fmt::format("error: {}\n", e.what()));
    }
  }
  signals_ = nullptr;
}

bool Chat::take(const Message& message) {
  if (const std::optional<ChatCommand> command = parse_command(message)) return execute(*command);
  answer(message.text);
  return true;
}

bool Chat::execute(const ChatCommand& command) {
  switch (command.name) {
    case CommandName::help:
      write_stderr(help_text());
      break;
    case CommandName::system:
      change_system(command.argument);
      break;
    case CommandName::clear:
      conversation_.clear();
      write_note("what was said is forgotten");
      break;
    case CommandName::stats:
      change_stats(command.argument);
      break;
    case CommandName::exit:
      return false;
  }
  return true;
}

void Chat::change_system(const std::string& text) {
  if (!text.empty()) conversation_.set_system(text == "\"\"" ? "" : text);
  const std::string& system = conversation_.system();
  write_note(system.empty() ? "no system message: the template's own, if it has one, is used"
                            : "system message: " + without_controls(system));
}

void Chat::change_stats(const std::string& text) {
  if (text.empty()) return write_note(last_speed_.empty() ? "no answer yet" : last_speed_);
  shows_stats_ = text == "on";
  write_note(shows_stats_ ? "speed follows each answer" : "speed is shown by /stats");
}

void Chat::answer(const std::string& text) {
  const RequestOutput output = conversation_.ask(text, [this] { return signals_ && signals_->next() == SIGINT; });
  const CompletionOutput& said = output.outputs.front();
  last_speed_ = describe_speed(output);
  if (said.finish_reason == "abort")
    write_note(said.token_ids.empty() ? "stopped: the question is forgotten" : "stopped: what was said so far stays");
  if (said.finish_reason == "length" && conversation_.fills_context(output))
    write_note("the context is full: /clear starts anew, a larger --max-model-len holds more");
  if (shows_stats_) write_note(last_speed_);
}

}  // namespace packhorse::cli
