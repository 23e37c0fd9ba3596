#include "app/cli/message_source.h"

#include <fmt/format.h>

#include <utility>

#include "packhorse/packhorse.h"

namespace packhorse::cli {

TypedMessages::TypedMessages(const std::string& history_path) {
  if (!history_path.empty()) open_history(history_path);
}

void TypedMessages::open_history(const std::string& path) {
  try {
    ChatHistory history(path);
    for (const std::string& entry : history.load()) editor_.remember(entry);
    history_ = std::move(history);
  } catch (const Error& e) {
    write_note(fmt::format("without history: {}", e.what()));
  }
}

void TypedMessages::remember(const Message& message) {
  const std::string entry = retyped(message);
  editor_.remember(entry);
  if (!history_) return;
  try {
    history_->add(entry);
  } catch (const Error& e) {
    write_note(fmt::format("no longer kept: {}", e.what()));
    history_.reset();
  }
}

std::optional<Message> TypedMessages::next() {
  MessageLines lines;
  bool was_interrupted = false;
  for (;;) {
    const LineEditor::Input input = editor_.read(lines.is_partial() ? ". " : "> ");
    if (input.event == LineEditor::Event::end) return std::nullopt;
    if (input.event == LineEditor::Event::interrupt) {
      if (was_interrupted && input.text.empty() && !lines.is_partial()) return std::nullopt;
      was_interrupted = true;
      lines.clear();
      write_note("Ctrl-C again or Ctrl-D leaves");
      continue;
    }
    was_interrupted = false;
    const std::optional<Message> message = lines.add(input.text);
    if (!message || is_blank(*message)) continue;
    remember(*message);
    return message;
  }
}

PipedMessages::PipedMessages() : first_(read()) {
  if (!first_) throw Error(ErrorKind::usage, "no prompt: standard input is empty (-p PROMPT gives one)");
}

std::optional<Message> PipedMessages::read() {
  MessageLines lines;
  while (const std::optional<std::string> line = lines_.next()) {
    std::optional<Message> message = lines.add(*line);
    if (message && !is_blank(*message)) return message;
  }
  return lines.finish();
}

std::optional<Message> PipedMessages::next() { return first_ ? std::exchange(first_, std::nullopt) : read(); }

}  // namespace packhorse::cli
